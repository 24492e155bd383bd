//! `printf`: values to text, byte for byte as SystemTap 5.6 does it.
//!
//! Where C and SystemTap differ, SystemTap is right: `0` pads only when no other flag stands before it, a negative `*`
//! is no width (and, for a string, a precision of nothing), `%#o` of 0 is `00`, `%b` pads with NULs.
//!
//! **Not here:** reading a format (`syntax::format`), reading the memory that `%m` and `%M` show.

use tracer_common::format::{Conversion, ConversionKind, Format, Part, Size};

use crate::run::value::Value;

/// The largest width or precision that is honoured.
const WIDEST: i64 = 65_536;

/// Formats values. Pass 2 made sure that there are as many as the format takes; a missing one prints as 0 or "".
pub fn format(format: &Format, args: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut args = args.iter();
    for part in format {
        match part {
            Part::Text(text) => out.extend_from_slice(text),
            Part::Conversion(conversion) => {
                let mut size = |size: Option<Size>| {
                    size.map(|size| match size {
                        Size::Fixed(n) => i64::from(n),
                        Size::Argument => args.next().map_or(0, Value::long),
                    })
                };
                let width = size(conversion.width).map(|n| n.clamp(0, WIDEST) as usize);
                let precision = size(conversion.precision).map(|n| n.clamp(0, WIDEST) as usize);
                if let ConversionKind::Memory | ConversionKind::MemoryHex = conversion.kind {
                    let words = args.by_ref().take(conversion.values()).map(Value::long);
                    let mut bytes: Vec<u8> = words.flat_map(i64::to_le_bytes).collect();
                    bytes.truncate(conversion.bytes());
                    memory(&mut out, conversion, width, &bytes);
                } else {
                    convert(&mut out, conversion, width, precision, args.next());
                }
            }
        }
    }
    out
}

fn convert(
    out: &mut Vec<u8>,
    conversion: &Conversion,
    width: Option<usize>,
    precision: Option<usize>,
    value: Option<&Value>,
) {
    let number = value.map_or(0, Value::long);
    let bytes = value.map_or(&b""[..], Value::bytes);
    let (left, columns) = (conversion.left, width.unwrap_or(0));
    match conversion.kind {
        ConversionKind::String => {
            pad(out, left, columns, b' ', &bytes[..bytes.len().min(precision.unwrap_or(usize::MAX))]);
            if conversion.zero {
                // `%0s` ends the text with a NUL, for readers of binary output.
                out.push(0);
            }
        }
        ConversionKind::Character => {
            let byte = [number as u8];
            if conversion.alternate {
                pad(out, left, columns, b' ', &escaped(byte[0], b'\''));
            } else {
                pad(out, left, columns, b' ', &byte);
            }
        }
        ConversionKind::Binary => {
            let size = |n: Option<usize>| n.filter(|n| matches!(n, 1 | 2 | 4 | 8));
            let bytes = size(precision).or(size(width)).unwrap_or(8);
            pad(out, left, columns, 0, &number.to_le_bytes()[..bytes]);
        }
        // These have their own function.
        ConversionKind::Memory | ConversionKind::MemoryHex => {}
        ConversionKind::Signed
        | ConversionKind::Unsigned
        | ConversionKind::HexLower
        | ConversionKind::HexUpper
        | ConversionKind::Octal
        | ConversionKind::Pointer => digits(out, conversion, columns, precision, number),
    }
}

/// Memory was read where the hit is; here are its bytes.
fn memory(out: &mut Vec<u8>, conversion: &Conversion, width: Option<usize>, bytes: &[u8]) {
    let (left, columns) = (conversion.left, width.unwrap_or(0));
    if conversion.kind == ConversionKind::MemoryHex {
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        pad(out, left, columns, b' ', text.as_bytes());
    } else {
        pad(out, left, columns, b' ', bytes);
    }
}

fn digits(out: &mut Vec<u8>, conversion: &Conversion, width: usize, precision: Option<usize>, number: i64) {
    let (digits, prefix) = match conversion.kind {
        ConversionKind::Signed => {
            let sign = match (number < 0, conversion.plus, conversion.space) {
                (true, _, _) => "-",
                (false, true, _) => "+",
                (false, false, true) => " ",
                (false, false, false) => "",
            };
            (number.unsigned_abs().to_string(), sign)
        }
        ConversionKind::HexLower => (format!("{number:x}"), if conversion.alternate { "0x" } else { "" }),
        ConversionKind::HexUpper => (format!("{number:X}"), if conversion.alternate { "0X" } else { "" }),
        ConversionKind::Octal => (format!("{number:o}"), if conversion.alternate { "0" } else { "" }),
        ConversionKind::Pointer => (format!("{number:x}"), "0x"),
        ConversionKind::Unsigned
        | ConversionKind::Character
        | ConversionKind::String
        | ConversionKind::Binary
        | ConversionKind::Memory
        | ConversionKind::MemoryHex => ((number as u64).to_string(), ""),
    };
    let left = conversion.left;
    let zeros = precision.unwrap_or(0).saturating_sub(digits.len());
    let body = prefix.len() + zeros + digits.len();
    let fill = width.saturating_sub(body);
    // After another flag a 0 belongs to the width.
    let padded = conversion.zero && !left && !conversion.plus && !conversion.space && !conversion.alternate;
    if !left && !padded {
        out.resize(out.len() + fill, b' ');
    }
    out.extend_from_slice(prefix.as_bytes());
    out.resize(out.len() + zeros + if padded { fill } else { 0 }, b'0');
    out.extend_from_slice(digits.as_bytes());
    if left {
        out.resize(out.len() + fill, b' ');
    }
}

fn pad(out: &mut Vec<u8>, left: bool, width: usize, with: u8, bytes: &[u8]) {
    let fill = width.saturating_sub(bytes.len());
    if !left {
        out.resize(out.len() + fill, with);
    }
    out.extend_from_slice(bytes);
    if left {
        out.resize(out.len() + fill, with);
    }
}

/// A byte as in a literal of C that stands between these marks.
pub(crate) fn escaped(byte: u8, mark: u8) -> Vec<u8> {
    match byte {
        0x07 => b"\\a".to_vec(),
        0x08 => b"\\b".to_vec(),
        b'\t' => b"\\t".to_vec(),
        b'\n' => b"\\n".to_vec(),
        0x0b => b"\\v".to_vec(),
        0x0c => b"\\f".to_vec(),
        b'\r' => b"\\r".to_vec(),
        b'\\' => b"\\\\".to_vec(),
        _ if byte == mark => vec![b'\\', mark],
        0x20..0x7f => vec![byte],
        _ => format!("\\{byte:03o}").into_bytes(),
    }
}

#[cfg(test)]
mod tests;
