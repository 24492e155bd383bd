//! Target expressions to accesses: a start (variable, register, argument), then `->member`, `[index]`, `&`.
//!
//! The same walk serves DWARF and BTF: both are [`Types`]. Widths and signs come from the types; bit fields are cut
//! out by shifts; arrays stand for their address, as in C. What the compiler scattered over registers is read piece by
//! piece.
//!
//! Rooms, in reading order: this file (the walk), `location` (where it starts), `rust` (steps that only Rust has),
//! `pretty` (`$x$`),
//! `written` (what can be assigned to).

mod location;
mod pretty;
mod rust;
mod written;

use tracer_common::ir::{BinOp, Space, Width};

use crate::debuginfo::model::{Member, Shape, TypeId, Types, VirtualBase};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::sema::program::{Access, PrettyPart, TargetValue};
use crate::source::Span;
use crate::syntax::ast::{ExprKind, PathStep, PathStepKind, Pretty, TargetExpr, TargetRoot};

pub use location::{Loaded, Moved, start};
pub use pretty::further;
pub use written::Written;

/// Where the walk is.
#[derive(Clone, Debug)]
pub enum At {
    /// A value.
    Value(Access),
    /// Memory at an address plus an offset.
    Memory(Access, i64),
    /// Scattered: where each part is, unless it was dropped, and its bytes; and how far in the walk is.
    Pieces(Vec<(Option<At>, u64)>, i64),
    /// A pointer that exists no more, though it is known where what it pointed to is.
    Pointer(Box<At>),
}

/// Pointers to pointers that `->` follows.
const POINTERS: usize = 4;

/// A walk over target memory.
pub struct Walk<'t> {
    /// The types.
    pub types: &'t dyn Types,
    /// Whose memory.
    pub space: Space,
    /// Number of the next variable index.
    pub dynamic: u32,
    /// Values that were pretty-printed so far.
    pub shown: usize,
}

/// The eight-byte word that pointers and registers are.
pub const WORD: Width = Width { bytes: 8, signed: false };

impl Walk<'_> {
    /// Follows a target expression's path and gives its value.
    pub fn resolve(
        &mut self,
        target: &TargetExpr,
        start: At,
        ty: TypeId,
        span: Span,
    ) -> Result<TargetValue, Diagnostic> {
        let (mut at, mut ty, mut bits) = (start, ty, None);
        for step in &target.path {
            (at, ty, bits) = self.step(step, at, ty)?;
        }
        if target.address_of && bits.is_some() {
            return Err(Diagnostic::error(Code::UnresolvedTarget, span, "a bit field has no address"));
        }
        if let Some(pretty) = target.pretty {
            let mut parts = Vec::new();
            if target.address_of {
                self.pretty(at, ty, pretty == Pretty::Deep, 0, &mut parts);
            } else {
                self.show(at, ty, pretty, &mut parts).map_err(|why| unreadable(why, span))?;
            }
            return Ok(TargetValue::Pretty { parts });
        }
        if target.address_of {
            return match at {
                At::Memory(address, offset) => Ok(TargetValue::Value(plus(address, offset))),
                At::Value(_) | At::Pieces(..) | At::Pointer(_) => Err(Diagnostic::error(
                    Code::UnresolvedTarget,
                    span,
                    "this is in a register and has no address",
                )),
            };
        }
        self.value(at, ty, bits, span).map(TargetValue::Value)
    }

    /// `$x$`: a pointer to a structure shows the structure, a reference what it refers to; pointers inside are shown as
    /// addresses.
    pub fn show(
        &mut self,
        at: At,
        ty: TypeId,
        pretty: Pretty,
        parts: &mut Vec<PrettyPart>,
    ) -> Result<(), String> {
        let (at, ty) = match self.types.shape(ty) {
            Shape::Pointer(Some(to))
                if matches!(self.types.shape(to), Shape::Aggregate)
                    || self.types.is_referred(to)
                    || self.types.is_reference(ty) =>
            {
                (self.pointed(at)?, to)
            }
            _ => (at, ty),
        };
        self.pretty(at, ty, pretty == Pretty::Deep, 0, parts);
        Ok(())
    }

    /// The type that the expression's value points to, as `@cast` takes it.
    pub fn pointee(&mut self, target: &TargetExpr, start: At, ty: TypeId) -> Option<String> {
        let is_cast = matches!(target.root, TargetRoot::Cast { .. }) && target.path.is_empty();
        let (mut at, mut ty) = (start, ty);
        for step in &target.path {
            (at, ty, _) = self.step(step, at, ty).ok()?;
        }
        let to = match self.types.shape(ty) {
            _ if target.pretty.is_some() => return None,
            _ if target.address_of || is_cast => ty,
            Shape::Pointer(to) => to?,
            Shape::Array(element, ..) => element,
            _ => return None,
        };
        let name = self.types.name(to);
        (!name.is_empty() && !name.ends_with('*')).then_some(name)
    }

    /// The type of the expression's value, by its name in C.
    pub fn type_name(&mut self, target: &TargetExpr, start: At, ty: TypeId) -> Option<String> {
        let (mut at, mut ty) = (start, ty);
        for step in &target.path {
            (at, ty, _) = self.step(step, at, ty).ok()?;
        }
        (!target.address_of && target.pretty.is_none()).then(|| self.types.name(ty))
    }

    fn step(
        &mut self,
        step: &PathStep,
        at: At,
        ty: TypeId,
    ) -> Result<(At, TypeId, Option<Member>), Diagnostic> {
        // Pointers are followed by either step; by a member's name, pointers to pointers too.
        let (mut at, mut ty) = (at, ty);
        if matches!(step.kind, PathStepKind::Field(_)) {
            for _ in 0..POINTERS {
                let Shape::Pointer(Some(to)) = self.types.shape(ty) else { break };
                if !matches!(self.types.shape(to), Shape::Pointer(_)) {
                    break;
                }
                (at, ty) = (self.behind(at, step.span)?, to);
            }
        }
        let through_pointer =
            matches!(self.types.shape(ty), Shape::Pointer(_)) && !self.types.is_reference(ty);
        let (at, ty) = match self.types.shape(ty) {
            Shape::Pointer(Some(to)) => (self.behind(at, step.span)?, to),
            Shape::Pointer(None) => {
                return Err(Diagnostic::error(
                    Code::UnresolvedTarget,
                    step.span,
                    "this is a pointer to void: what it points to is not known",
                )
                .hint("@cast(pointer, \"type\") says what it points to"));
            }
            _ => (at, ty),
        };
        match &step.kind {
            PathStepKind::Index(_) => match (self.types.shape(ty), self.types.sequence(ty)) {
                (_, Some(sequence)) => self.index_sequence(step, at, &sequence),
                (Shape::Array(element, _), _) if !through_pointer || self.types.is_referred(ty) => {
                    self.index_from(step, at, element)
                }
                _ => self.index_from(step, at, ty),
            },
            PathStepKind::Field(name) if self.types.variants(ty).is_some() => {
                let (at, member) = self.variant(name, at, ty, step.span)?;
                Ok((at, member.ty, None))
            }
            PathStepKind::Field(name) => {
                let (at, member) = match self.types.member(ty, name) {
                    Some(member) => (at, member),
                    None => match self.inherited(&at, ty, name, 0) {
                        Some(found) => found,
                        None => return Err(self.no_member(ty, name, step.span)),
                    },
                };
                let offset = (member.bit_offset / 8) as i64;
                let next = match at {
                    At::Memory(address, base) => At::Memory(address, base.wrapping_add(offset)),
                    At::Pieces(pieces, base) => At::Pieces(pieces, base.wrapping_add(offset)),
                    at @ At::Pointer(_) => at,
                    At::Value(_) if offset >= 8 => {
                        return Err(Diagnostic::error(
                            Code::UnresolvedTarget,
                            step.span,
                            "this member is not in the register that holds the others",
                        ));
                    }
                    At::Value(value) => {
                        // A structure in a register: its members are bits of it.
                        At::Value(Access::Binary(
                            BinOp::Shr,
                            Box::new(value),
                            Box::new(Access::Constant((offset * 8) & 63)),
                        ))
                    }
                };
                Ok((next, member.ty, member.bits.is_some().then_some(member)))
            }
        }
    }

    /// A member of a virtual base class, and where that class is.
    fn inherited(&self, at: &At, ty: TypeId, name: &str, depth: usize) -> Option<(At, Member)> {
        /// Virtual bases of virtual bases.
        const DEPTH: usize = 8;
        if depth > DEPTH {
            return None;
        }
        self.types.virtual_bases(ty).iter().find_map(|base| {
            let part = self.virtual_base(at, base)?;
            match self.types.member(base.ty, name) {
                Some(member) => Some((part, member)),
                None => self.inherited(&part, base.ty, name, depth + 1),
            }
        })
    }

    /// Where a virtual base of an object in memory is.
    fn virtual_base(&self, at: &At, base: &VirtualBase) -> Option<At> {
        let At::Memory(address, offset) = at else { return None };
        let object = plus(address.clone(), offset.checked_add_unsigned(base.within)?);
        let table = load(self.space, object.clone(), 0, WORD);
        let distance = load(self.space, table, -i64::try_from(base.before).ok()?, WORD);
        Some(At::Memory(Access::Binary(BinOp::Add, Box::new(object), Box::new(distance)), 0))
    }

    /// Indexes memory that holds elements of a type.
    fn index_from(
        &mut self,
        step: &PathStep,
        at: At,
        element: TypeId,
    ) -> Result<(At, TypeId, Option<Member>), Diagnostic> {
        let PathStepKind::Index(index) = &step.kind else { return Ok((at, element, None)) };
        let size = self.types.size(element).max(1) as i64;
        let At::Memory(address, offset) = at else {
            return Err(Diagnostic::error(
                Code::UnresolvedTarget,
                step.span,
                "only pointers and arrays can be indexed",
            ));
        };
        let next = match &index.kind {
            ExprKind::Number(n) => At::Memory(address, offset.wrapping_add(n.wrapping_mul(size))),
            _ => {
                let scaled =
                    Access::Binary(BinOp::Mul, Box::new(self.operand()), Box::new(Access::Constant(size)));
                let base = plus(address, offset);
                At::Memory(Access::Binary(BinOp::Add, Box::new(base), Box::new(scaled)), 0)
            }
        };
        Ok((next, element, None))
    }

    /// The value of the next index that is known only at run time.
    fn operand(&mut self) -> Access {
        let number = self.dynamic;
        self.dynamic += 1;
        Access::Dynamic(number)
    }

    fn no_member(&self, ty: TypeId, name: &str, span: Span) -> Diagnostic {
        let members = self.types.members(ty);
        let type_name = self.types.name(ty);
        if members.is_empty() {
            return Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("{type_name} has no members: it is no structure, or only declared"),
            );
        }
        let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).filter(|n| !n.is_empty()).collect();
        let mut diagnostic =
            Diagnostic::error(Code::UnresolvedTarget, span, format!("{type_name} has no member {name}"));
        diagnostic = match suggest::hint(name, names.iter().copied()) {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic.hint(format!("its members: {}", names[..names.len().min(12)].join(", "))),
        };
        diagnostic
    }

    /// Reads a value of a width; parts of it may have been dropped.
    pub fn read(&self, at: At, width: Width) -> Result<Access, String> {
        match at {
            At::Value(value) if width.bytes == 8 => Ok(value),
            At::Value(value) => Ok(Access::Extend(Box::new(value), width)),
            At::Memory(address, offset) => Ok(load(self.space, address, offset, width)),
            At::Pointer(_) => Err("the compiler optimized the pointer out, not what it points to".to_owned()),
            At::Pieces(pieces, offset) => {
                let mut start = 0i64;
                for (piece, bytes) in pieces {
                    let end = start.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
                    if start <= offset && offset.saturating_add(i64::from(width.bytes)) <= end {
                        return match piece {
                            None => Err("the compiler dropped this part of it".to_owned()),
                            Some(At::Value(_)) if offset - start >= 8 => {
                                Err("it is in a vector register".to_owned())
                            }
                            Some(At::Value(value)) => {
                                let by = Access::Constant((offset - start) * 8);
                                let shifted = Access::Binary(BinOp::Shr, Box::new(value), Box::new(by));
                                self.read(At::Value(shifted), width)
                            }
                            Some(At::Memory(address, base)) => {
                                self.read(At::Memory(address, base.wrapping_add(offset - start)), width)
                            }
                            Some(pointer @ At::Pointer(_)) => self.read(pointer, width),
                            Some(At::Pieces(..)) => Err("it is in pieces of pieces".to_owned()),
                        };
                    }
                    start = end;
                }
                Err("it is spread over several places".to_owned())
            }
        }
    }

    /// What a pointer points to.
    fn behind(&self, at: At, span: Span) -> Result<At, Diagnostic> {
        self.pointed(at).map_err(|why| unreadable(why, span))
    }

    fn pointed(&self, at: At) -> Result<At, String> {
        match at {
            At::Pointer(to) => Ok(*to),
            // A pointer that is one of several parts.
            At::Pieces(pieces, offset) => {
                let mut start = 0;
                for (piece, bytes) in &pieces {
                    if let (true, Some(At::Pointer(to))) = (start == offset, piece) {
                        return Ok((**to).clone());
                    }
                    start = start.saturating_add(i64::try_from(*bytes).unwrap_or(i64::MAX));
                }
                Ok(At::Memory(self.read(At::Pieces(pieces, offset), WORD)?, 0))
            }
            at => Ok(At::Memory(self.read(at, WORD)?, 0)),
        }
    }

    /// As [`Walk::read`], with the place in the script for the message.
    pub fn read_at(&self, at: At, width: Width, span: Span) -> Result<Access, Diagnostic> {
        self.read(at, width).map_err(|why| unreadable(why, span))
    }

    /// The value at the end of a path.
    fn value(&self, at: At, ty: TypeId, bits: Option<Member>, span: Span) -> Result<Access, Diagnostic> {
        match self.types.shape(ty) {
            Shape::Number { bytes, signed } if matches!(bytes, 1 | 2 | 4 | 8) => {
                if let Some(Member { bits: Some(bits), bit_offset, .. }) = bits {
                    return self.bit_field(at, bits, bit_offset, signed).map_err(|why| {
                        Diagnostic::error(Code::UnresolvedTarget, span, format!("this cannot be read: {why}"))
                    });
                }
                self.read_at(at, Width { bytes, signed }, span)
            }
            Shape::Pointer(_) => self.read_at(at, WORD, span),
            Shape::Float(4) => self.read_at(at, Width { bytes: 4, signed: false }, span),
            Shape::Float(8) => self.read_at(at, WORD, span),
            Shape::Array(..) => match at {
                At::Memory(address, offset) => Ok(plus(address, offset)),
                At::Value(_) | At::Pieces(..) | At::Pointer(_) => Err(Diagnostic::error(
                    Code::UnresolvedTarget,
                    span,
                    "this array is not in memory and has no address",
                )),
            },
            Shape::Aggregate if self.types.sequence(ty).is_some_and(|sequence| sequence.is_text) => {
                Err(Diagnostic::error(
                    Code::UnresolvedTarget,
                    span,
                    format!("this is a {}: a text is no number", self.types.name(ty)),
                )
                .hint("print it with a trailing $; its bytes are there with [i]"))
            }
            Shape::Aggregate => Err(Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("this is a {}: a structure has no single value", self.types.name(ty)),
            )
            .hint("name a member with ->, take its address with &, or print all of it with a trailing $")),
            Shape::Number { bytes, .. } | Shape::Float(bytes) => {
                let name = self.types.name(ty);
                let message =
                    format!("a value of type {name} has {bytes} bytes, and a number of the script has 8");
                let parts = match bytes {
                    10..=16 => {
                        "a trailing $ shows its bits; @cast(&$x, \"unsigned long\")[0] is its first word"
                    }
                    _ => "@cast(&$x, \"unsigned char\")[0] is its first byte",
                };
                Err(Diagnostic::error(Code::UnresolvedTarget, span, message).hint(parts))
            }
            Shape::Nothing => Err(Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("a value of type {} cannot be read", self.types.name(ty)),
            )),
        }
    }

    /// Bits of memory, or of a register that was shifted to their byte already.
    fn bit_field(&self, at: At, bits: u8, bit_offset: u64, signed: bool) -> Result<Access, String> {
        let mut within = bit_offset % 8;
        let bytes = (within + u64::from(bits)).div_ceil(8);
        if bits == 0 || bytes > 8 {
            return Err("a bit field that is spread over nine bytes".to_owned());
        }
        let width = bytes.next_power_of_two();
        // What must be read beside it is before it, where that is the same structure: the next page may not be there.
        let before = (width - bytes).min(bit_offset / 8);
        let at = match at {
            At::Memory(address, offset) => {
                within += 8 * before;
                At::Memory(address, offset.wrapping_sub(before as i64))
            }
            At::Pieces(pieces, offset) => {
                within += 8 * before;
                At::Pieces(pieces, offset.wrapping_sub(before as i64))
            }
            at @ (At::Value(_) | At::Pointer(_)) => at,
        };
        let raw = self.read(at, Width { bytes: width as u8, signed: false })?;
        let shift =
            |op, value, by: u64| Access::Binary(op, Box::new(value), Box::new(Access::Constant(by as i64)));
        let up = shift(BinOp::Shl, raw, 64 - within - u64::from(bits));
        Ok(shift(if signed { BinOp::Sar } else { BinOp::Shr }, up, 64 - u64::from(bits)))
    }
}

fn unreadable(why: String, span: Span) -> Diagnostic {
    Diagnostic::error(Code::UnresolvedTarget, span, format!("this cannot be read here: {why}"))
}

/// An address plus an offset.
pub fn plus(address: Access, offset: i64) -> Access {
    match (address, offset) {
        (address, 0) => address,
        (Access::Constant(base), offset) => Access::Constant(base.wrapping_add(offset)),
        (address, offset) => {
            Access::Binary(BinOp::Add, Box::new(address), Box::new(Access::Constant(offset)))
        }
    }
}

/// Reads memory at an address plus an offset.
pub fn load(space: Space, address: Access, offset: i64, width: Width) -> Access {
    match i32::try_from(offset) {
        Ok(offset) => Access::Load { space, address: Box::new(address), offset, width },
        Err(_) => Access::Load { space, address: Box::new(plus(address, offset)), offset: 0, width },
    }
}

/// The message for a variable that does not exist, with those that do.
pub fn unknown(name: &str, known: &[String], span: Span, place: &str) -> Diagnostic {
    let mut diagnostic =
        Diagnostic::error(Code::UnresolvedTarget, span, format!("no variable ${name} at {place}"));
    let other = match name {
        "retval" | "ret" | "rc" | "result" => Some("the result is $return, in a .return probe".to_owned()),
        _ => name
            .strip_prefix("arg")
            .and_then(|n| n.parse::<u8>().ok())
            .filter(|n| *n > 0 && !known.iter().any(|name| name == "arg1"))
            .map(|n| format!("argument {n} by its number, at a function's entry: long_arg({n})")),
    };
    diagnostic.hints.extend(other.or_else(|| suggest::hint(name, known.iter().map(String::as_str))));
    let all: Vec<String> = known.iter().map(|name| format!("${name}")).collect();
    diagnostic.hint(if all.is_empty() {
        "there are none here".to_owned()
    } else {
        format!("there are: {}", all.join(", "))
    })
}
