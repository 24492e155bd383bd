//! UTF-16 and UTF-32 from the memory of programs, as UTF-8.

use tracer_common::ir::Space;
use tracer_common::packed;

/// Characters of so many bytes, 2 or 4, up to one that is 0, in at most `longest` bytes. `Err` with SystemTap's words for what
/// is no character, and for memory that ends before the text does. `address` is where the bytes were.
pub(super) fn text(
    bytes: &[u8],
    unit: usize,
    address: u64,
    space: Space,
    longest: usize,
) -> Result<Vec<u8>, String> {
    let unit = if unit == 2 { 2 } else { 4 };
    let most = packed::most(packed::capacity((longest * unit) as u32)) as usize;
    let at = |n: usize| address.wrapping_add((n * unit) as u64);
    let numbers =
        bytes.chunks_exact(unit).map(|unit| unit.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte)));
    let numbers: Vec<u32> = numbers.collect();
    let mut out = Vec::new();
    let mut n = 0;
    loop {
        let Some(number) = numbers.get(n) else {
            if bytes.len() >= most / unit * unit {
                return Ok(out);
            }
            let space = if space == Space::Kernel { "kernel" } else { "user" };
            return Err(format!("{space} string copy fault at 0x{:x} [man error::fault]", at(n)));
        };
        if *number == 0 {
            return Ok(out);
        }
        let (value, taken) = match (unit, number, numbers.get(n + 1)) {
            (2, 0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                (0x1_0000 + ((number - 0xd800) << 10) + (low - 0xdc00), 2)
            }
            _ => (*number, 1),
        };
        let Some(character) = char::from_u32(value) else {
            return Err(format!("invalid UTF-{} character U+{value:04X} at 0x{:x}", unit * 8, at(n)));
        };
        let mut encoded = [0; 4];
        let encoded = character.encode_utf8(&mut encoded).as_bytes();
        if out.len() + encoded.len() > longest {
            return Ok(out);
        }
        out.extend_from_slice(encoded);
        n += taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(units: &[u16]) -> Result<String, String> {
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        text(&bytes, 2, 0x1000, Space::User, 100).map(|text| String::from_utf8(text).expect("UTF-8"))
    }

    #[test]
    fn texts_end_at_a_zero() {
        let units: Vec<u16> = "hi é€😀!".encode_utf16().chain([0, 65]).collect();
        assert_eq!(utf16(&units), Ok("hi é€😀!".into()));
        let bytes: Vec<u8> = "h😀".chars().chain(['\0']).flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(text(&bytes, 4, 0, Space::User, 100), Ok("h😀".into()));
        // What is longer than a string is cut at a character.
        assert_eq!(text(&bytes, 4, 0, Space::User, 4), Ok("h".into()));
    }

    #[test]
    fn what_is_no_character_is_named() {
        // As SystemTap 5.6 says it.
        let words = "invalid UTF-16 character U+D83D at 0x1002";
        assert_eq!(utf16(&[0x61, 0xd83d, 0x62, 0]), Err(words.into()));
        assert_eq!(utf16(&[0xd83d]), Err("invalid UTF-16 character U+D83D at 0x1000".into()));
        let words = "invalid UTF-32 character U+110000 at 0x10";
        assert_eq!(text(&0x11_0000u32.to_le_bytes(), 4, 0x10, Space::User, 9), Err(words.into()));
        let words = "user string copy fault at 0x1004 [man error::fault]";
        assert_eq!(utf16(&[65, 66]), Err(words.into()));
    }
}
