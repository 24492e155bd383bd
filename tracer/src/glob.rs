//! Shell wildcards: `*`, `?` and `[a-z]`, as the language uses them in conditions and probe points.
//!
//! Invariant: time is at most pattern length times text length.

/// Whether the whole text fits the pattern.
pub fn glob_match(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go back to when a character does not fit: after the last `*`, one character further on.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if let Some(len) = pattern.get(p..).and_then(|rest| match_one(rest, text[t])) {
            p += len;
            t += 1;
        } else if let Some((star, from)) = retry {
            p = star;
            t = from + 1;
            retry = Some((star, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether a text has characters that [`glob_match`] gives a meaning.
pub fn has_wildcards(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// How many bytes of the pattern fit one character, if they do.
fn match_one(pattern: &[u8], character: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match match_class(&pattern[1..], character) {
            Some((len, true)) => Some(len + 1),
            Some((_, false)) => None,
            // Not closed: an ordinary bracket.
            None => (character == b'[').then_some(1),
        },
        byte => (byte == character).then_some(1),
    }
}

/// The length of a bracket class after its `[`, and whether the character is in it; none if it is not closed.
fn match_class(class: &[u8], character: u8) -> Option<(usize, bool)> {
    let negated = matches!(class.first(), Some(b'!' | b'^'));
    let first = usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        let low = *class.get(at)?;
        // A bracket that closes at once is a member.
        if low == b']' && at > first {
            return Some((at + 1, found != negated));
        }
        let high = match (class.get(at + 1), class.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                at += 3;
                high
            }
            _ => {
                at += 1;
                low
            }
        };
        found |= (low..=high).contains(&character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_texts() {
        for (pattern, text, fits) in [
            ("vfs_*", "vfs_read", true),
            ("vfs_*", "xvfs_read", false),
            ("*read*", "vfs_readv", true),
            ("i?86", "i686", true),
            ("i?86", "x86_64", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[x", "[x", true),
            ("**", "", true),
            ("", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(glob_match(pattern, text), fits, "{pattern} {text}");
        }
    }
}
