//! Histograms as text: rows of `@`, a mark where empty rows were left out.
//!
//! The shape is SystemTap's: fifty columns for the longest bar, up to two empty rows on either side of the data, runs
//! of empty rows further than two from any data left out, an empty line after the last row.

use tracer_common::stat::{Cell, HistOp, LOG_ZERO, log_bucket_value};

/// Columns of the longest bar.
const WIDTH: usize = 50;
/// Empty rows that are shown around data.
const NEAR: usize = 2;

/// The histogram of a statistic; nothing for one without values.
pub fn histogram(hist: HistOp, cell: &Cell) -> Vec<u8> {
    let counts = &cell.buckets;
    let Some(first) = counts.iter().position(|count| *count > 0) else { return Vec::new() };
    let last = counts.iter().rposition(|count| *count > 0).unwrap_or(first);
    let rows = window(hist, counts, first, last);
    let most = counts.iter().copied().max().unwrap_or(0);
    let scale = ((most + WIDTH as i64 - 1) / WIDTH as i64).max(1);
    let labels: Vec<String> = rows.clone().map(|row| label(hist, counts.len(), row)).collect();
    let label_width = labels.iter().map(String::len).max().unwrap_or(0).max("value".len());
    let count_width = most.to_string().len();
    let mut out = format!("{:>label_width$} |{} count\n", "value", "-".repeat(WIDTH));
    let mut left_out = false;
    for (row, label) in rows.clone().zip(&labels) {
        let from = row.saturating_sub(NEAR).max(*rows.start());
        let to = (row + NEAR).min(*rows.end());
        if counts[from..=to].iter().all(|count| *count == 0) {
            left_out = true;
            continue;
        }
        if left_out {
            out.push_str(&format!("{:>label_width$} ~\n", ""));
            left_out = false;
        }
        let bar = "@".repeat((counts[row] / scale) as usize);
        out.push_str(&format!("{label:>label_width$} |{bar:WIDTH$} {:>count_width$}\n", counts[row]));
    }
    out.push('\n');
    out.into_bytes()
}

/// The rows that are shown: two more on either side of the data, where they exist.
fn window(hist: HistOp, counts: &[i64], first: usize, last: usize) -> std::ops::RangeInclusive<usize> {
    let (mut low, mut high) = (first, last);
    for _ in 0..NEAR {
        // A logarithmic histogram without negative values has no negative rows.
        if low > 0 && !(hist == HistOp::Log && low == LOG_ZERO) {
            low -= 1;
        }
        high = (high + 1).min(counts.len() - 1);
    }
    if let HistOp::Linear { .. } = hist {
        // Rows for what is below or above the range stand only when something is.
        if low == 0 && counts[0] == 0 {
            low = 1;
        }
        if high == counts.len() - 1 && counts[high] == 0 {
            high -= 1;
        }
    }
    low..=high
}

fn label(hist: HistOp, rows: usize, row: usize) -> String {
    match hist {
        HistOp::Log => log_bucket_value(row).to_string(),
        HistOp::Linear { low, .. } if row == 0 => format!("<{low}"),
        HistOp::Linear { low, width, .. } if row == rows - 1 => {
            format!(">{}", low.wrapping_add((row as i64 - 2).wrapping_mul(width)))
        }
        HistOp::Linear { low, width, .. } => {
            low.wrapping_add((row as i64 - 1).wrapping_mul(width)).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::stat::StatFields;

    /// Histograms that SystemTap 5.6 printed. Above each: its kind, then its values, `VALUE*TIMES`.
    const SYSTEMTAP: &str = include_str!("histogram/systemtap.txt");

    fn number(text: &str) -> i64 {
        text.parse().expect("a number")
    }

    fn kind(text: &str) -> HistOp {
        match text.split(' ').collect::<Vec<&str>>()[..] {
            ["log"] => HistOp::Log,
            ["linear", low, high, width] => {
                HistOp::Linear { low: number(low), high: number(high), width: number(width) }
            }
            _ => panic!("what is {text}?"),
        }
    }

    #[test]
    fn histograms_are_those_of_systemtap() {
        let mut seen = 0;
        for case in SYSTEMTAP.split("# ").skip(1) {
            let (head, expected) = case.split_once('\n').expect("a heading");
            let (hist, values) = head.split_once(": ").expect("kind and values");
            let hist = kind(hist);
            let fields = StatFields { count: true, hist: Some(hist), ..StatFields::default() };
            let mut cell = Cell::default();
            for value in values.split(' ') {
                let (value, times) = value.split_once('*').unwrap_or((value, "1"));
                for _ in 0..number(times) {
                    cell.add(number(value), &fields);
                }
            }
            assert_eq!(String::from_utf8_lossy(&histogram(hist, &cell)), expected, "{head}");
            seen += 1;
        }
        assert_eq!(seen, 59);
    }

    #[test]
    fn nothing_to_show_is_no_text() {
        assert_eq!(histogram(HistOp::Log, &Cell::default()), b"");
    }
}
