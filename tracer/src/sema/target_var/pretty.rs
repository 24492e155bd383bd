//! `$x$` and `$x$$`: the text of a structure, as pieces of text and of values.

use tracer_common::format::{Conversion, ConversionKind, Part};
use tracer_common::ir::Width;

use crate::debuginfo::model::{Shape, TypeId};
use crate::sema::program::PrettyPart;
use crate::sema::target_var::{At, WORD, Walk, plus};

/// Members that a deep pretty-printed value shows at the most.
const PRETTY_PARTS: usize = 48;

/// Structures inside structures; bytes of text between two values.
const DEPTH: usize = 12;
const LONGEST: usize = 2048;

impl Walk<'_> {
    /// The pieces of `$x$`: `{.a=1, .b={...}}`.
    pub(super) fn pretty(
        &mut self,
        at: At,
        ty: TypeId,
        deep: bool,
        depth: usize,
        parts: &mut Vec<PrettyPart>,
    ) {
        let text = |parts: &mut Vec<PrettyPart>, more: &str| match parts.last_mut() {
            Some(PrettyPart::Text(known)) => known.push_str(more),
            _ => parts.push(PrettyPart::Text(more.to_owned())),
        };
        let is_long = matches!(parts.last(), Some(PrettyPart::Text(known)) if known.len() > LONGEST);
        if parts.len() > PRETTY_PARTS || depth > DEPTH || is_long {
            return text(parts, "...");
        }
        match (self.types.shape(ty), at) {
            (Shape::Number { bytes, signed }, at) if matches!(bytes, 1 | 2 | 4 | 8) => {
                let kind = if signed { ConversionKind::Signed } else { ConversionKind::Unsigned };
                self.part(at, Width { bytes, signed }, number(kind, false), parts);
            }
            (Shape::Pointer(Some(to)), at) if self.types.is_character(to) => {
                let Ok(address) = self.read(at, WORD) else { return text(parts, "?") };
                text(parts, "\"");
                parts.push(PrettyPart::Text8(self.space, address));
                text(parts, "\"");
            }
            (Shape::Pointer(_) | Shape::Float(8), at) => {
                self.part(at, WORD, number(ConversionKind::HexLower, true), parts);
            }
            (Shape::Aggregate, at @ (At::Memory(..) | At::Pieces(..))) => {
                if depth > 0 && !deep {
                    return text(parts, "{...}");
                }
                text(parts, "{");
                let members = self.types.members(ty);
                for (n, member) in members.iter().enumerate() {
                    if n > 0 {
                        text(parts, ", ");
                    }
                    if parts.len() > PRETTY_PARTS {
                        text(parts, "...");
                        break;
                    }
                    // What has no name is called by what it is; a base class by its own name.
                    if member.name.is_empty() {
                        let name = self.types.name(member.ty);
                        let kind = name.split(' ').next().unwrap_or_default();
                        let is_anonymous = name.trim_end() == kind;
                        text(parts, &format!("<{}>=", if is_anonymous { kind } else { name.trim() }));
                    } else {
                        text(parts, &format!(".{}=", member.name));
                    }
                    let inner = further(&at, (member.bit_offset / 8) as i64);
                    match member.bits {
                        Some(bits) => {
                            let signed =
                                matches!(self.types.shape(member.ty), Shape::Number { signed: true, .. });
                            let kind = if signed { ConversionKind::Signed } else { ConversionKind::Unsigned };
                            match self.bit_field(inner, bits, member.bit_offset, signed) {
                                Ok(value) => parts.push(PrettyPart::Number(value, number(kind, false))),
                                Err(_) => text(parts, "?"),
                            }
                        }
                        None => self.pretty(inner, member.ty, deep, depth + 1, parts),
                    }
                }
                text(parts, "}");
            }
            (Shape::Array(element, count), at @ (At::Memory(..) | At::Pieces(..))) => {
                if let At::Memory(address, offset) = &at
                    && self.types.is_character(element)
                {
                    let (address, offset) = (address.clone(), *offset);
                    text(parts, "\"");
                    parts.push(PrettyPart::Text8(self.space, plus(address, offset)));
                    return text(parts, "\"");
                }
                if depth > 0 && !deep {
                    return text(parts, "[...]");
                }
                text(parts, "[");
                let size = self.types.size(element) as i64;
                let shown = count.unwrap_or(0).min(8);
                for n in 0..shown {
                    if n > 0 {
                        text(parts, ", ");
                    }
                    let inner = further(&at, (n as i64).saturating_mul(size));
                    self.pretty(inner, element, deep, depth + 1, parts);
                }
                if shown < count.unwrap_or(0) {
                    text(parts, ", ...");
                }
                text(parts, "]");
            }
            _ => text(parts, "?"),
        }
    }
}

impl Walk<'_> {
    /// A number, or a question mark where it cannot be read.
    fn part(&self, at: At, width: Width, format: Vec<Part>, parts: &mut Vec<PrettyPart>) {
        match self.read(at, width) {
            Ok(value) => parts.push(PrettyPart::Number(value, format)),
            Err(_) => parts.push(PrettyPart::Text("?".to_owned())),
        }
    }
}

/// So many bytes further.
fn further(at: &At, by: i64) -> At {
    match at {
        At::Memory(address, offset) => At::Memory(address.clone(), offset.wrapping_add(by)),
        At::Pieces(pieces, offset) => At::Pieces(pieces.clone(), offset.wrapping_add(by)),
        At::Value(value) => At::Value(value.clone()),
    }
}

fn number(kind: ConversionKind, alternate: bool) -> Vec<Part> {
    vec![Part::Conversion(Conversion {
        kind,
        left: false,
        zero: false,
        plus: false,
        space: false,
        alternate,
        width: None,
        precision: None,
    })]
}
