//! Target expressions to accesses: a start (variable, register, argument), then `->member`, `[index]`, `&`.
//!
//! The same walk serves DWARF and BTF: both are [`Types`]. Widths and signs come from the types; bit fields are cut
//! out by shifts; arrays stand for their address, as in C.

use tracer_common::format::{Conversion, ConversionKind, Part};
use tracer_common::ir::{BinOp, Space, Width};

use crate::debuginfo::model::{LocOp, Location, Member, Shape, TypeId, Types};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::sema::program::{Access, PrettyPart, TargetValue};
use crate::source::Span;
use crate::syntax::ast::{ExprKind, PathStep, PathStepKind, Pretty, TargetExpr};

/// Where the walk is.
#[derive(Clone, Debug)]
pub enum At {
    /// A value.
    Value(Access),
    /// Memory at an address plus an offset.
    Memory(Access, i64),
}

/// A walk over target memory.
pub struct Walk<'t> {
    /// The types.
    pub types: &'t dyn Types,
    /// Whose memory.
    pub space: Space,
    /// Number of the next variable index.
    pub dynamic: u32,
}

/// The eight-byte word that pointers and registers are.
pub const WORD: Width = Width { bytes: 8, signed: false };

/// Members that a deep pretty-printed value shows at the most.
const PRETTY_PARTS: usize = 48;

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
        if let Some(pretty) = target.pretty {
            let mut parts = Vec::new();
            self.pretty(at, ty, pretty == Pretty::Deep, 0, &mut parts);
            return Ok(TargetValue::Pretty { parts });
        }
        if target.address_of {
            return match at {
                At::Memory(address, offset) => Ok(TargetValue::Value(plus(address, offset))),
                At::Value(_) => Err(Diagnostic::error(
                    Code::UnresolvedTarget,
                    span,
                    "this is in a register and has no address",
                )),
            };
        }
        self.value(at, ty, bits, span).map(TargetValue::Value)
    }

    fn step(
        &mut self,
        step: &PathStep,
        at: At,
        ty: TypeId,
    ) -> Result<(At, TypeId, Option<Member>), Diagnostic> {
        // Pointers are followed by either step.
        let (at, ty) = match self.types.shape(ty) {
            Shape::Pointer(Some(to)) => (At::Memory(self.read(at, WORD), 0), to),
            Shape::Pointer(None) => {
                return Err(Diagnostic::error(
                    Code::UnresolvedTarget,
                    step.span,
                    "this is a pointer to void: what it points to is not known",
                )
                .hint("@cast(pointer, \"type\") says what it points to"));
            }
            Shape::Array(..) if matches!(step.kind, PathStepKind::Index(_)) => {
                return self.index(step, at, ty);
            }
            _ => (at, ty),
        };
        match &step.kind {
            PathStepKind::Index(_) => self.index_from(step, at, ty),
            PathStepKind::Field(name) => {
                let Some(member) = self.types.member(ty, name) else {
                    return Err(self.no_member(ty, name, step.span));
                };
                let offset = (member.bit_offset / 8) as i64;
                let next = match at {
                    At::Memory(address, base) => At::Memory(address, base + offset),
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

    fn index(
        &mut self,
        step: &PathStep,
        at: At,
        ty: TypeId,
    ) -> Result<(At, TypeId, Option<Member>), Diagnostic> {
        let Shape::Array(element, _) = self.types.shape(ty) else {
            return self.index_from(step, at, ty);
        };
        self.index_from(step, at, element)
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
                let number = self.dynamic;
                self.dynamic += 1;
                let scaled = Access::Binary(
                    BinOp::Mul,
                    Box::new(Access::Dynamic(number)),
                    Box::new(Access::Constant(size)),
                );
                let base = plus(address, offset);
                At::Memory(Access::Binary(BinOp::Add, Box::new(base), Box::new(scaled)), 0)
            }
        };
        Ok((next, element, None))
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

    /// Reads a value of a width.
    pub fn read(&self, at: At, width: Width) -> Access {
        match at {
            At::Value(value) if width.bytes == 8 => value,
            At::Value(value) => Access::Extend(Box::new(value), width),
            At::Memory(address, offset) => load(self.space, address, offset, width),
        }
    }

    /// The value at the end of a path.
    fn value(&self, at: At, ty: TypeId, bits: Option<Member>, span: Span) -> Result<Access, Diagnostic> {
        match self.types.shape(ty) {
            Shape::Number { bytes, signed } if matches!(bytes, 1 | 2 | 4 | 8) => {
                if let Some(Member { bits: Some(bits), bit_offset, .. }) = bits {
                    return Ok(self.bit_field(at, bits, bit_offset, signed));
                }
                Ok(self.read(at, Width { bytes, signed }))
            }
            Shape::Pointer(_) => Ok(self.read(at, WORD)),
            Shape::Float(4) => Ok(self.read(at, Width { bytes: 4, signed: false })),
            Shape::Float(8) => Ok(self.read(at, WORD)),
            Shape::Array(..) => match at {
                At::Memory(address, offset) => Ok(plus(address, offset)),
                At::Value(value) => Ok(value),
            },
            Shape::Aggregate => Err(Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("this is a {}: a structure has no single value", self.types.name(ty)),
            )
            .hint("name a member with ->, take its address with &, or print all of it with a trailing $")),
            shape => Err(Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("a value of type {} cannot be read ({shape:?})", self.types.name(ty)),
            )),
        }
    }

    /// Bits of memory, or of a register that was shifted to their byte already.
    fn bit_field(&self, at: At, bits: u8, bit_offset: u64, signed: bool) -> Access {
        let within = bit_offset % 8;
        let bytes = (within + u64::from(bits)).div_ceil(8);
        let width = if bytes <= 1 {
            1
        } else if bytes <= 2 {
            2
        } else if bytes <= 4 {
            4
        } else {
            8
        };
        let raw = self.read(at, Width { bytes: width, signed: false });
        let shift =
            |op, value, by: u64| Access::Binary(op, Box::new(value), Box::new(Access::Constant(by as i64)));
        let up = shift(BinOp::Shl, raw, 64 - within - u64::from(bits));
        shift(if signed { BinOp::Sar } else { BinOp::Shr }, up, 64 - u64::from(bits))
    }

    /// The pieces of `$x$`: `{.a=1, .b={...}}`.
    fn pretty(&mut self, at: At, ty: TypeId, deep: bool, depth: usize, parts: &mut Vec<PrettyPart>) {
        let text = |parts: &mut Vec<PrettyPart>, more: &str| match parts.last_mut() {
            Some(PrettyPart::Text(known)) => known.push_str(more),
            _ => parts.push(PrettyPart::Text(more.to_owned())),
        };
        if parts.len() > PRETTY_PARTS {
            return text(parts, "...");
        }
        match (self.types.shape(ty), at) {
            (Shape::Number { bytes, signed }, at) if matches!(bytes, 1 | 2 | 4 | 8) => {
                let kind = if signed { ConversionKind::Signed } else { ConversionKind::Unsigned };
                parts.push(PrettyPart::Number(self.read(at, Width { bytes, signed }), number(kind, false)));
            }
            (Shape::Pointer(Some(to)), at)
                if matches!(self.types.shape(to), Shape::Number { bytes: 1, .. }) =>
            {
                text(parts, "\"");
                parts.push(PrettyPart::Text8(self.space, self.read(at, WORD)));
                text(parts, "\"");
            }
            (Shape::Pointer(_) | Shape::Float(8), at) => {
                parts.push(PrettyPart::Number(self.read(at, WORD), number(ConversionKind::HexLower, true)));
            }
            (Shape::Aggregate, At::Memory(address, offset)) => {
                if depth > 0 && !deep {
                    return text(parts, "{...}");
                }
                text(parts, "{");
                let members = self.types.members(ty);
                for (n, member) in members.iter().enumerate() {
                    if n > 0 {
                        text(parts, ", ");
                    }
                    if !member.name.is_empty() {
                        text(parts, &format!(".{}=", member.name));
                    }
                    let inner = At::Memory(address.clone(), offset + (member.bit_offset / 8) as i64);
                    match member.bits {
                        Some(bits) => {
                            let value = self.bit_field(inner, bits, member.bit_offset, false);
                            parts.push(PrettyPart::Number(value, number(ConversionKind::Unsigned, false)));
                        }
                        None => self.pretty(inner, member.ty, deep, depth + 1, parts),
                    }
                }
                text(parts, "}");
            }
            (Shape::Array(element, count), At::Memory(address, offset)) => {
                if matches!(self.types.shape(element), Shape::Number { bytes: 1, .. }) {
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
                    let inner = At::Memory(address.clone(), offset + n as i64 * size);
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

fn load(space: Space, address: Access, offset: i64, width: Width) -> Access {
    match i32::try_from(offset) {
        Ok(offset) => Access::Load { space, address: Box::new(address), offset, width },
        Err(_) => Access::Load { space, address: Box::new(plus(address, offset)), offset: 0, width },
    }
}

/// A location as the start of a walk. `at` is the address of the probe as linked: what was linked at another address
/// has moved by as much as the instruction pointer.
pub fn start(location: &Location, at: u64) -> Result<At, String> {
    match location {
        Location::Register(register) => Ok(At::Value(Access::Register(*register, WORD))),
        Location::Value(steps) => Ok(At::Value(run(steps, at)?)),
        Location::Memory(steps) => Ok(match run(steps, at)? {
            Access::Binary(BinOp::Add, address, offset) => match *offset {
                Access::Constant(offset) => At::Memory(*address, offset),
                other => At::Memory(Access::Binary(BinOp::Add, address, Box::new(other)), 0),
            },
            address => At::Memory(address, 0),
        }),
    }
}

/// Runs the steps of a location on accesses instead of numbers.
fn run(steps: &[LocOp], at: u64) -> Result<Access, String> {
    let mut stack: Vec<Access> = Vec::new();
    let empty = || "a location that takes more than it made".to_owned();
    for step in steps {
        let binary = match step {
            LocOp::Const(n) => {
                stack.push(Access::Constant(*n));
                continue;
            }
            LocOp::Register(register, offset) => {
                stack.push(plus(Access::Register(*register, WORD), *offset));
                continue;
            }
            LocOp::Address(address) => {
                // The instruction pointer at the hit, minus where it was linked, is how far the module moved.
                let distance = address.wrapping_sub(at) as i64;
                stack.push(plus(Access::Register(16, WORD), distance));
                continue;
            }
            LocOp::Deref(bytes) => {
                let address = stack.pop().ok_or_else(empty)?;
                stack.push(load(Space::User, address, 0, Width { bytes: *bytes, signed: false }));
                continue;
            }
            LocOp::Neg => {
                let value = stack.pop().ok_or_else(empty)?;
                stack.push(Access::Binary(BinOp::Sub, Box::new(Access::Constant(0)), Box::new(value)));
                continue;
            }
            LocOp::Not => {
                let value = stack.pop().ok_or_else(empty)?;
                stack.push(Access::Binary(BinOp::Xor, Box::new(value), Box::new(Access::Constant(-1))));
                continue;
            }
            LocOp::Pick(n) => {
                let index = stack.len().checked_sub(1 + usize::from(*n)).ok_or_else(empty)?;
                stack.push(stack[index].clone());
                continue;
            }
            LocOp::Swap => {
                let top = stack.len();
                if top < 2 {
                    return Err(empty());
                }
                stack.swap(top - 1, top - 2);
                continue;
            }
            LocOp::Drop => {
                stack.pop().ok_or_else(empty)?;
                continue;
            }
            LocOp::Add => BinOp::Add,
            LocOp::Sub => BinOp::Sub,
            LocOp::Mul => BinOp::Mul,
            LocOp::And => BinOp::And,
            LocOp::Or => BinOp::Or,
            LocOp::Xor => BinOp::Xor,
            LocOp::Shl => BinOp::Shl,
            LocOp::Shr => BinOp::Shr,
            LocOp::Sar => BinOp::Sar,
        };
        let (right, left) = (stack.pop().ok_or_else(empty)?, stack.pop().ok_or_else(empty)?);
        stack.push(match (binary, left, right) {
            (BinOp::Add, Access::Binary(BinOp::Add, base, inner), Access::Constant(more)) => match *inner {
                Access::Constant(known) => plus(*base, known.wrapping_add(more)),
                other => Access::Binary(
                    BinOp::Add,
                    Box::new(Access::Binary(BinOp::Add, base, Box::new(other))),
                    Box::new(Access::Constant(more)),
                ),
            },
            (BinOp::Add, left, Access::Constant(more)) => plus(left, more),
            (op, left, right) => Access::Binary(op, Box::new(left), Box::new(right)),
        });
    }
    stack.pop().ok_or_else(empty)
}

/// The message for a variable that does not exist, with those that do.
pub fn unknown(name: &str, known: &[String], span: Span, place: &str) -> Diagnostic {
    let mut diagnostic =
        Diagnostic::error(Code::UnresolvedTarget, span, format!("no variable ${name} at {place}"));
    if let Some(hint) = suggest::hint(name, known.iter().map(String::as_str)) {
        diagnostic = diagnostic.hint(hint);
    }
    let all: Vec<String> = known.iter().map(|name| format!("${name}")).collect();
    diagnostic.hint(if all.is_empty() {
        "there are none here".to_owned()
    } else {
        format!("there are: {}", all.join(", "))
    })
}
