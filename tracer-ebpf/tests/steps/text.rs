//! Words of a step.

pub(crate) fn number(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.map(|v| (v as i64).wrapping_mul(sign)).map_err(|_| format!("{text} is not a number"))
}

/// The bytes of `"text\x00"`.
pub(crate) fn quoted(text: &str) -> Result<Vec<u8>, String> {
    let inner =
        text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or(format!("{text} is not quoted"))?;
    let mut out = Vec::new();
    let mut bytes = inner.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match (bytes.next(), bytes.next(), bytes.next()) {
            (Some(b'x'), Some(high), Some(low)) => {
                let hex = [high, low];
                let hex = std::str::from_utf8(&hex).map_err(|e| e.to_string())?;
                out.push(u8::from_str_radix(hex, 16).map_err(|e| e.to_string())?);
            }
            _ => return Err("only \\xHH is known".into()),
        }
    }
    Ok(out)
}

/// Words, quoted strings, and brackets, commas and dots of their own.
pub(crate) fn tokens(step: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut inside = false;
    for c in step.chars() {
        match c {
            '"' => {
                word.push(c);
                inside = !inside;
            }
            _ if inside => word.push(c),
            ' ' | '[' | ']' | '(' | ')' | ',' | '.' => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
                if c != ' ' {
                    out.push(c.to_string());
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    out
}
