//! Names that the author may have meant.

/// At most this many are suggested.
const MOST: usize = 3;

/// The candidates nearest to a name, best first, if any is near at all.
pub fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // All names of one character are one slip apart.
    if name.chars().count() < 2 {
        return Vec::new();
    }
    // One slip in three characters, and at least one: `prinft`, `pdi`.
    let limit = (name.chars().count() / 3).max(1);
    // Of equally near names the one of the same length is the likelier.
    let mut near: Vec<(usize, usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len().abs_diff(name.len()) <= 2 * limit)
        .filter_map(|candidate| {
            Some((distance(name, candidate, limit)?, candidate.len().abs_diff(name.len()), candidate))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, _, candidate)| candidate).collect()
}

/// `similar: 'a', 'b'`, ready to be a hint.
pub fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = similar(name, candidates);
    if near.is_empty() {
        return None;
    }
    let quoted: Vec<String> = near.iter().map(|candidate| format!("'{candidate}'")).collect();
    Some(format!("similar: {}", quoted.join(", ")))
}

/// How many insertions, deletions, replacements and swaps of neighbours lie between two names, up to a limit.
fn distance(left: &str, right: &str, limit: usize) -> Option<usize> {
    let left: Vec<char> = left.chars().flat_map(char::to_lowercase).collect();
    let right: Vec<char> = right.chars().flat_map(char::to_lowercase).collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, &l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &r) in right.iter().enumerate() {
            let mut cost = (last[j] + usize::from(l != r)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && l == right[j - 1] && left[i - 1] == r {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        if row.iter().all(|cost| *cost > limit) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|cost| *cost <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_best_first() {
        let names = ["printf", "sprintf", "print", "pid", "ppid", "execname", "gettimeofday_us"];
        assert_eq!(similar("prinft", names), ["printf", "print", "sprintf"]);
        assert_eq!(similar("execnane", names), ["execname"]);
        assert_eq!(similar("gettimeofday_usec", names), ["gettimeofday_us"]);
        assert_eq!(similar("PID", names), ["pid", "ppid"]);
        assert!(similar("zebra", names).is_empty());
        assert_eq!(hint("pdi", names).as_deref(), Some("similar: 'pid'"));
    }
}
