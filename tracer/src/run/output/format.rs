//! `printf`: values to text, as SystemTap's runtime does it (checked against SystemTap 5.6).

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
                let mut size = |size: Option<Size>| match size {
                    None => None,
                    Some(Size::Fixed(n)) => Some(i64::from(n)),
                    Some(Size::Argument) => Some(args.next().map_or(0, Value::long)),
                };
                let width = size(conversion.width);
                let precision = size(conversion.precision);
                // A negative width means left-aligned.
                let left = conversion.left || width.is_some_and(|w| w < 0);
                let width = width.map_or(0, |w| w.saturating_abs().min(WIDEST) as usize);
                let precision = precision.filter(|p| *p >= 0).map(|p| p.min(WIDEST) as usize);
                convert(&mut out, conversion, left, width, precision, args.next());
            }
        }
    }
    out
}

fn convert(
    out: &mut Vec<u8>,
    conversion: &Conversion,
    left: bool,
    width: usize,
    precision: Option<usize>,
    value: Option<&Value>,
) {
    let number = value.map_or(0, Value::long);
    match conversion.kind {
        ConversionKind::String => {
            let bytes = value.map_or(&b""[..], Value::bytes);
            let quoted;
            let bytes = if conversion.alternate {
                quoted = escaped(bytes);
                &quoted
            } else {
                bytes
            };
            let bytes = &bytes[..bytes.len().min(precision.unwrap_or(usize::MAX))];
            pad(out, left, width, bytes);
        }
        ConversionKind::Character => {
            let byte = [number as u8];
            let quoted;
            let bytes = if conversion.alternate {
                quoted = escaped(&byte);
                &quoted[..]
            } else {
                &byte[..]
            };
            pad(out, left, width, bytes);
        }
        ConversionKind::Binary => {
            let bytes = match precision.unwrap_or(width) {
                n @ (1 | 2 | 4 | 8) => n,
                _ => 8,
            };
            out.extend_from_slice(&number.to_le_bytes()[..bytes]);
        }
        // Memory is read where the hit is; what arrives here is its bytes.
        ConversionKind::Memory => out.extend_from_slice(value.map_or(b"", Value::bytes)),
        ConversionKind::MemoryHex => {
            for byte in value.map_or(&b""[..], Value::bytes) {
                out.extend_from_slice(format!("{byte:02x}").as_bytes());
            }
        }
        ConversionKind::Signed
        | ConversionKind::Unsigned
        | ConversionKind::HexLower
        | ConversionKind::HexUpper
        | ConversionKind::Octal
        | ConversionKind::Pointer => digits(out, conversion, left, width, precision, number),
    }
}

fn digits(
    out: &mut Vec<u8>,
    conversion: &Conversion,
    left: bool,
    width: usize,
    precision: Option<usize>,
    number: i64,
) {
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
        _ => ((number as u64).to_string(), ""),
    };
    let zeros = precision.unwrap_or(0).saturating_sub(digits.len());
    let body = prefix.len() + zeros + digits.len();
    let fill = width.saturating_sub(body);
    let padded = conversion.zero && !left;
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

fn pad(out: &mut Vec<u8>, left: bool, width: usize, bytes: &[u8]) {
    let fill = width.saturating_sub(bytes.len());
    if !left {
        out.resize(out.len() + fill, b' ');
    }
    out.extend_from_slice(bytes);
    if left {
        out.resize(out.len() + fill, b' ');
    }
}

/// Bytes that are no printable ASCII as C escapes.
pub fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0b => out.extend_from_slice(b"\\v"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..0x7f => out.push(*byte),
            _ => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
        }
    }
    out
}
