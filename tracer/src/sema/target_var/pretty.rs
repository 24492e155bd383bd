//! `$x$` and `$x$$`: the text of a structure, as pieces of text and of values.

use tracer_common::format::{Conversion, ConversionKind, Part, Size};
use tracer_common::ir::{CmpOp, Width};

use crate::debuginfo::model::{Member, Sequence, Shape, TypeId, Variants};
use crate::sema::program::{Access, PrettyPart};
use crate::sema::target_var::{At, WORD, Walk, plus};

/// Values that a pretty-printed one shows at the most, as in SystemTap.
const VALUES: usize = 32;

/// Values that are looked at, in variants that are not kept in the end too.
const SHOWN: usize = 1000;

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
        let is_long = matches!(parts.last(), Some(PrettyPart::Text(known)) if known.len() > LONGEST);
        self.shown += 1;
        if count(parts) >= VALUES || self.shown > SHOWN || depth > DEPTH || is_long {
            return text(parts, "...");
        }
        // A structure in a register is bits of it.
        let at = match at {
            At::Value(value) if matches!(self.types.shape(ty), Shape::Aggregate) => {
                At::Pieces(vec![(Some(At::Value(value)), 8)], 0)
            }
            at => at,
        };
        if matches!(self.types.shape(ty), Shape::Aggregate) {
            if let Some(sequence) = self.types.sequence(ty) {
                return self.sequence(&at, &sequence, deep, depth, parts);
            }
            if let Some(variants) = self.types.variants(ty) {
                return self.variants(&at, &variants, depth, parts);
            }
        }
        match (self.types.shape(ty), at) {
            (Shape::Number { bytes: 1, signed }, at) if self.types.is_character(ty) => {
                self.part(at, Width { bytes: 1, signed }, character(), parts);
            }
            (Shape::Number { bytes, signed }, at) if matches!(bytes, 1 | 2 | 4 | 8) => {
                let kind = if signed { ConversionKind::Signed } else { ConversionKind::Unsigned };
                self.part(at, Width { bytes, signed }, number(kind, false), parts);
            }
            (Shape::Pointer(Some(to)), at) if self.types.is_character(to) => {
                let Ok(address) = self.read(at, WORD) else { return text(parts, "?") };
                parts.push(PrettyPart::Text8(self.space, address, 0));
            }
            (Shape::Float(4), at) => {
                let width = Width { bytes: 4, signed: false };
                self.part(at, width, number(ConversionKind::HexLower, true), parts);
            }
            (Shape::Pointer(_) | Shape::Float(8), at) => {
                self.part(at, WORD, number(ConversionKind::HexLower, true), parts);
            }
            // The bits of a long double: sign and exponent, then the fraction. Of other long numbers, two words.
            (Shape::Float(10..=16), at) => {
                let high = Width { bytes: 2, signed: false };
                self.part(further(&at, 8), high, number(ConversionKind::HexLower, true), parts);
                self.part(at, WORD, digits(), parts);
            }
            (Shape::Number { bytes: 16, .. }, at) => {
                self.part(further(&at, 8), WORD, number(ConversionKind::HexLower, true), parts);
                self.part(at, WORD, digits(), parts);
            }
            (Shape::Aggregate, at @ (At::Memory(..) | At::Pieces(..))) => {
                if depth > 0 && !deep {
                    return text(parts, "{...}");
                }
                let members = self.types.members(ty);
                let is_tuple = !members.is_empty() && members.iter().enumerate().all(is_numbered);
                text(parts, if is_tuple { "(" } else { "{" });
                for (n, member) in members.iter().enumerate() {
                    if n > 0 {
                        text(parts, ", ");
                    }
                    if count(parts) >= VALUES {
                        text(parts, "...");
                        break;
                    }
                    // What has no name is called by what it is; a base class by its own name.
                    if member.name.is_empty() {
                        let name = self.types.name(member.ty);
                        let kind = name.split(' ').next().unwrap_or_default();
                        let is_anonymous = name.trim_end() == kind;
                        // SystemTap calls structures without a name so.
                        let kind = if kind == "struct" { "class" } else { kind };
                        text(parts, &format!("<{}>=", if is_anonymous { kind } else { name.trim() }));
                    } else if !is_tuple {
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
                text(parts, if is_tuple { ")" } else { "}" });
            }
            (Shape::Array(..), At::Memory(..) | At::Pieces(..)) if depth > 0 && !deep => {
                text(parts, "[...]");
            }
            (Shape::Array(element, length), at @ (At::Memory(..) | At::Pieces(..))) => {
                if let At::Memory(address, offset) = &at
                    && self.types.is_character(element)
                {
                    let (address, offset) = (address.clone(), *offset);
                    let most = length.and_then(|length| u32::try_from(length).ok()).unwrap_or(0);
                    parts.push(PrettyPart::Text8(self.space, plus(address, offset), most));
                    return;
                }
                text(parts, "[");
                let size = self.types.size(element) as i64;
                let shown = length.unwrap_or(0).min(ELEMENTS);
                for n in 0..shown {
                    if n > 0 {
                        text(parts, ", ");
                    }
                    if count(parts) >= VALUES {
                        text(parts, "...]");
                        return;
                    }
                    let inner = further(&at, (n as i64).saturating_mul(size));
                    self.pretty(inner, element, deep, depth + 1, parts);
                }
                if shown < length.unwrap_or(0) {
                    text(parts, ", ...");
                }
                text(parts, "]");
            }
            _ => text(parts, "?"),
        }
    }
}

/// Appends text.
fn text(parts: &mut Vec<PrettyPart>, more: &str) {
    match parts.last_mut() {
        Some(PrettyPart::Text(known)) => known.push_str(more),
        _ => parts.push(PrettyPart::Text(more.to_owned())),
    }
}

/// Whether a member is one of a tuple: `__0`, `__1`, as Rust numbers them.
fn is_numbered((n, member): (usize, &Member)) -> bool {
    member.name.strip_prefix("__").is_some_and(|number| *number == n.to_string())
}

/// Elements that are shown of an array or a sequence.
const ELEMENTS: u64 = 8;

impl Walk<'_> {
    /// `"text"`, or `[1, 2, 3]`: as many as there are at the hit.
    fn sequence(
        &mut self,
        at: &At,
        sequence: &Sequence,
        deep: bool,
        depth: usize,
        parts: &mut Vec<PrettyPart>,
    ) {
        let Ok((data, length)) = self.ends(at, sequence) else { return text(parts, "?") };
        if sequence.is_text {
            // Where an empty text would be may be nowhere.
            let zero = Box::new(Access::Constant(0));
            let of = Access::Compare(CmpOp::Gt, Box::new(length.clone()), zero);
            let inside = vec![PrettyPart::TextOf(self.space, data, length)];
            text(parts, "\"");
            parts.push(PrettyPart::Choice { of, arms: vec![(Some(1), inside)] });
            return text(parts, "\"");
        }
        if depth > 0 && !deep {
            return text(parts, "[...]");
        }
        let size = self.types.size(sequence.element);
        let mut first = Vec::new();
        let mut costs = count(parts);
        while (first.len() as u64) < ELEMENTS {
            let offset = (first.len() as u64).saturating_mul(size) as i64;
            let mut inside = Vec::new();
            self.pretty(At::Memory(data.clone(), offset), sequence.element, deep, depth + 1, &mut inside);
            costs += count(&inside);
            if costs > VALUES {
                break;
            }
            first.push(inside);
        }
        parts.push(PrettyPart::Elements { length, first });
    }

    /// `Name`, `Name(1, 2)`, `Name{.a=1}`: the variant that it is at the hit.
    fn variants(&mut self, at: &At, variants: &Variants, depth: usize, parts: &mut Vec<PrettyPart>) {
        let Ok(of) = self.discriminant(at, variants) else { return text(parts, "?") };
        let mut arms = Vec::new();
        let mut all = variants.all.clone();
        // The one for all other values comes last.
        all.sort_by_key(|(value, _)| value.is_none());
        for (value, member) in all {
            let mut inside = vec![PrettyPart::Text(member.name.clone())];
            if !self.types.members(member.ty).is_empty() {
                let payload = further(at, (member.bit_offset / 8) as i64);
                // What an enumeration holds is shown with it.
                self.pretty(payload, member.ty, true, depth + 1, &mut inside);
            }
            let full = count(parts) + count(&inside) > VALUES;
            if full {
                inside = vec![PrettyPart::Text(format!("{}...", member.name))];
            }
            arms.push((value.map(|value| self.number_of(value, variants)), inside));
        }
        if let (None, [(value, _)]) = (&variants.discriminant, &mut arms[..]) {
            *value = None;
        }
        parts.push(PrettyPart::Choice { of, arms });
    }

    /// A number, or a question mark where it cannot be read.
    fn part(&self, at: At, width: Width, format: Vec<Part>, parts: &mut Vec<PrettyPart>) {
        match self.read(at, width) {
            Ok(value) => parts.push(PrettyPart::Number(value, format)),
            Err(_) => parts.push(PrettyPart::Text("?".to_owned())),
        }
    }
}

/// So many bytes further.
pub fn further(at: &At, by: i64) -> At {
    match at {
        At::Memory(address, offset) => At::Memory(address.clone(), offset.wrapping_add(by)),
        At::Pieces(pieces, offset) => At::Pieces(pieces.clone(), offset.wrapping_add(by)),
        At::Value(value) if by == 0 => At::Value(value.clone()),
        // What is behind it in the same register is bits of it.
        At::Value(value) => At::Pieces(vec![(Some(At::Value(value.clone())), 8)], by),
        At::Pointer(to) => At::Pointer(to.clone()),
    }
}

/// Values, and those inside them.
fn count(parts: &[PrettyPart]) -> usize {
    parts.iter().map(PrettyPart::count).sum()
}

/// `'x'`, as C would write it.
fn character() -> Vec<Part> {
    let quote = || Part::Text(b"'".to_vec());
    let mut format = vec![quote()];
    format.extend(number(ConversionKind::Character, true));
    format.push(quote());
    format
}

/// All digits of a word: what follows others.
fn digits() -> Vec<Part> {
    vec![Part::Conversion(Conversion {
        zero: true,
        width: Some(Size::Fixed(16)),
        ..Conversion::plain(ConversionKind::HexLower)
    })]
}

fn number(kind: ConversionKind, alternate: bool) -> Vec<Part> {
    vec![Part::Conversion(Conversion { alternate, ..Conversion::plain(kind) })]
}
