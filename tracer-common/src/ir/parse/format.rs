//! Formats: quoted pieces in the notation of `printf`.

use super::Parser;
use crate::format::{Conversion, ConversionKind, Format, Part, Size};
use crate::ir::FormatId;
use crate::text::{Kind, Result};
use alloc::string::String;
use alloc::vec::Vec;

impl Parser<'_> {
    /// `"text %d", "more"`: an empty piece is an empty text.
    pub(super) fn format_pieces(&mut self) -> Result<Format> {
        let mut parts = Vec::new();
        while self.reader.peek().kind == Kind::Str {
            let token = self.reader.peek();
            let bytes = self.reader.bytes()?;
            piece(&bytes, &mut parts).map_err(|message| self.reader.error_at(token, message))?;
            if !self.reader.eat(",")? {
                break;
            }
        }
        Ok(parts)
    }

    /// `p3`, or a quoted piece, which gets an id.
    pub(super) fn format_id(&mut self) -> Result<FormatId> {
        if self.reader.peek().kind != Kind::Str {
            return self.reader.entity('p').map(FormatId);
        }
        let token = self.reader.peek();
        let bytes = self.reader.bytes()?;
        let mut format = Vec::new();
        piece(&bytes, &mut format).map_err(|message| self.reader.error_at(token, message))?;
        let next = FormatId(self.module.formats.len() as u32);
        let id = *self.inline_formats.entry(format.clone()).or_insert(next);
        if id == next {
            self.module.formats.push(format);
        }
        Ok(id)
    }
}

fn piece(bytes: &[u8], parts: &mut Format) -> core::result::Result<(), String> {
    let mut text = Vec::new();
    let mut rest = bytes;
    if rest.is_empty() {
        parts.push(Part::Text(Vec::new()));
    }
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            text.push(*byte);
        } else if let Some(tail) = rest.strip_prefix(b"%") {
            text.push(b'%');
            rest = tail;
        } else {
            if !text.is_empty() {
                parts.push(Part::Text(core::mem::take(&mut text)));
            }
            parts.push(Part::Conversion(conversion(&mut rest)?));
        }
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(())
}

/// What follows the `%`.
fn conversion(rest: &mut &[u8]) -> core::result::Result<Conversion, String> {
    let mut conversion = Conversion::plain(ConversionKind::Signed);
    loop {
        let flag = match rest.first() {
            Some(b'-') => &mut conversion.left,
            Some(b'0') => &mut conversion.zero,
            Some(b'+') => &mut conversion.plus,
            Some(b' ') => &mut conversion.space,
            Some(b'#') => &mut conversion.alternate,
            _ => break,
        };
        *flag = true;
        *rest = &rest[1..];
    }
    conversion.width = size(rest)?;
    if let Some(tail) = rest.strip_prefix(b".") {
        *rest = tail;
        conversion.precision = Some(size(rest)?.unwrap_or(Size::Fixed(0)));
    }
    let Some((letter, tail)) = rest.split_first() else {
        return Err("the format ends in a conversion".into());
    };
    *rest = tail;
    conversion.kind = match letter {
        b'd' | b'i' => ConversionKind::Signed,
        b'u' => ConversionKind::Unsigned,
        b'x' => ConversionKind::HexLower,
        b'X' => ConversionKind::HexUpper,
        b'o' => ConversionKind::Octal,
        b'p' => ConversionKind::Pointer,
        b'c' => ConversionKind::Character,
        b's' => ConversionKind::String,
        b'b' => ConversionKind::Binary,
        b'm' => ConversionKind::Memory,
        b'M' => ConversionKind::MemoryHex,
        _ => return Err("no such conversion".into()),
    };
    Ok(conversion)
}

fn size(rest: &mut &[u8]) -> core::result::Result<Option<Size>, String> {
    if let Some(tail) = rest.strip_prefix(b"*") {
        *rest = tail;
        return Ok(Some(Size::Argument));
    }
    let mut size: Option<u32> = None;
    while let Some((digit @ b'0'..=b'9', tail)) = rest.split_first() {
        *rest = tail;
        let next = size.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u32::from(digit - b'0')));
        size = Some(next.ok_or("the width or precision is too large")?);
    }
    Ok(size.map(Size::Fixed))
}
