//! Location expressions to steps.
//!
//! DWARF 5's typed values are kept as 64-bit numbers, extended as their type says; what works on them is cut to the
//! type again. Floating point is not computed.

use gimli::{AttributeValue, Expression, Operation, Reader, UnitOffset};

use super::Slice;
use super::frame::number;
use super::location::{Place, implicit};
use crate::debuginfo::model::{Absence, Entry, LocOp, Location, Relation};

/// Steps of an expression, at the most.
const STEPS: usize = 256;
/// Pieces of a value, at the most.
const PIECES: usize = 64;
/// Expressions inside expressions.
const DEPTH: usize = 8;
/// The stack pointer, by its DWARF number.
const RSP: u8 = 7;

/// Bytes and sign of a typed value; `None` for the generic type.
type Typed = Option<(u8, bool)>;

fn unsupported(what: &str) -> Absence {
    Absence::Unsupported(what.to_owned())
}

/// An expression being read.
#[derive(Default)]
struct Reading {
    steps: Vec<LocOp>,
    /// Types of what is on the stack.
    types: Vec<Typed>,
    /// What is known to be the location, when an operation said so.
    result: Option<Location>,
    pieces: Vec<(Option<Location>, u64)>,
}

impl Reading {
    fn push(&mut self, step: LocOp) {
        self.steps.push(step);
        self.types.push(None);
    }

    fn unary(&mut self, step: LocOp) -> Result<(), Absence> {
        let typed = self.types.last().copied().ok_or_else(broken)?;
        self.steps.push(step);
        self.cut(typed);
        Ok(())
    }

    fn binary(&mut self, step: LocOp) -> Result<(), Absence> {
        self.types.pop().ok_or_else(broken)?;
        let typed = self.types.last().copied().ok_or_else(broken)?;
        self.steps.push(step);
        self.cut(typed);
        Ok(())
    }

    fn compare(&mut self, relation: Relation) -> Result<(), Absence> {
        self.types.pop().ok_or_else(broken)?;
        let typed = self.types.pop().ok_or_else(broken)?;
        if matches!(typed, Some((8, false))) {
            return Err(unsupported("a comparison of unsigned numbers"));
        }
        self.push(LocOp::Compare(relation));
        Ok(())
    }

    fn cut(&mut self, typed: Typed) {
        if let Some((bytes, signed)) = typed.filter(|(bytes, _)| *bytes < 8) {
            self.steps.push(LocOp::Extend(bytes, signed));
        }
    }
}

/// A probe has the general registers; the kernel keeps the others where they were, in the processor.
fn in_vector_register() -> Absence {
    Absence::Unreadable("it is in a vector register, which eBPF cannot read".to_owned())
}

fn broken() -> Absence {
    unsupported("an expression that is broken")
}

impl Place<'_> {
    pub(super) fn expression(&self, expression: Expression<Slice>) -> Result<Location, Absence> {
        if self.depth.get() >= DEPTH {
            return Err(broken());
        }
        self.depth.set(self.depth.get() + 1);
        let found = self.read(expression);
        self.depth.set(self.depth.get() - 1);
        found
    }

    fn read(&self, expression: Expression<Slice>) -> Result<Location, Absence> {
        let mut reading = Reading::default();
        let mut operations = expression.operations(self.unit.encoding());
        let mut any = false;
        while let Some(operation) = operations.next().map_err(|_| broken())? {
            any = true;
            if reading.steps.len() > STEPS || reading.pieces.len() > PIECES {
                return Err(unsupported("an expression that is very long"));
            }
            if reading.result.is_some() && !matches!(operation, Operation::Piece { .. } | Operation::Nop) {
                return Err(broken());
            }
            self.operation(operation, &mut reading)?;
        }
        if !any {
            return Err(Absence::OptimizedOut);
        }
        if reading.pieces.is_empty() {
            return Ok(reading.result.unwrap_or(Location::Memory(reading.steps)));
        }
        if reading.result.is_some() || !reading.steps.is_empty() {
            return Err(broken());
        }
        if reading.pieces.iter().all(|(piece, _)| piece.is_none()) {
            return Err(Absence::OptimizedOut);
        }
        Ok(Location::Pieces(reading.pieces))
    }

    fn operation(&self, operation: Operation<Slice>, reading: &mut Reading) -> Result<(), Absence> {
        match operation {
            Operation::Register { register } => {
                let register = number(register).ok_or_else(in_vector_register)?;
                reading.result = Some(Location::Register(register));
            }
            Operation::RegisterOffset { register, offset, base_type } => {
                let register = number(register).ok_or_else(in_vector_register)?;
                let settled =
                    if register == RSP && self.counts_from_stack_pointer() { self.settled()? } else { 0 };
                let offset = offset.checked_add(settled).ok_or_else(broken)?;
                reading.push(LocOp::Register(register, offset));
                if base_type.0 != 0 {
                    self.convert(base_type, reading)?;
                }
            }
            Operation::FrameOffset { offset } => {
                let steps = self.frame()?;
                reading.steps.extend(steps);
                reading.types.push(None);
                if offset != 0 {
                    reading.steps.extend([LocOp::Const(offset), LocOp::Add]);
                }
            }
            Operation::CallFrameCFA => {
                let cfa = self.info.frames().cfa(self.at);
                let (register, offset) = cfa.ok_or_else(|| unsupported("a frame without unwind rules"))?;
                reading.push(LocOp::Register(register, offset));
            }
            Operation::Address { address } => reading.push(LocOp::Address(address)),
            Operation::AddressIndex { index } => {
                let address =
                    self.info.dwarf_of(self.unit).address(self.unit, index).map_err(|_| broken())?;
                reading.push(LocOp::Address(address));
            }
            Operation::ConstantIndex { index } => {
                let value = self.info.dwarf_of(self.unit).address(self.unit, index).map_err(|_| broken())?;
                reading.push(LocOp::Const(value as i64));
            }
            Operation::UnsignedConstant { value } => reading.push(LocOp::Const(value as i64)),
            Operation::SignedConstant { value } => reading.push(LocOp::Const(value)),
            Operation::TypedLiteral { base_type, value } => {
                let bytes = value.to_slice().map_err(|_| broken())?;
                let Ok(Location::Value(steps)) = implicit(&bytes) else {
                    return Err(unsupported("a long constant"));
                };
                reading.steps.extend(steps);
                reading.types.push(None);
                self.convert(base_type, reading)?;
            }
            Operation::Convert { base_type } | Operation::Reinterpret { base_type } => {
                if base_type.0 == 0 {
                    *reading.types.last_mut().ok_or_else(broken)? = None;
                } else {
                    self.convert(base_type, reading)?;
                }
            }
            Operation::PlusConstant { value } => {
                reading.steps.push(LocOp::Const(value as i64));
                reading.types.push(None);
                reading.binary(LocOp::Add)?;
            }
            Operation::Deref { size, space: false, base_type } => {
                if !matches!(size, 1 | 2 | 4 | 8) {
                    return Err(broken());
                }
                reading.types.pop().ok_or_else(broken)?;
                reading.push(LocOp::Deref(size));
                if base_type.0 != 0 {
                    self.convert(base_type, reading)?;
                }
            }
            Operation::Plus => reading.binary(LocOp::Add)?,
            Operation::Minus => reading.binary(LocOp::Sub)?,
            Operation::Mul => reading.binary(LocOp::Mul)?,
            Operation::And => reading.binary(LocOp::And)?,
            Operation::Or => reading.binary(LocOp::Or)?,
            Operation::Xor => reading.binary(LocOp::Xor)?,
            Operation::Shl => reading.binary(LocOp::Shl)?,
            // What is shifted in from above differs when a typed value is kept with its sign.
            Operation::Shr => match reading.types.iter().rev().nth(1) {
                Some(Some((bytes, true))) if *bytes < 8 => {
                    return Err(unsupported("a shift of a signed number"));
                }
                _ => reading.binary(LocOp::Shr)?,
            },
            Operation::Shra => reading.binary(LocOp::Sar)?,
            Operation::Neg => reading.unary(LocOp::Neg)?,
            Operation::Not => reading.unary(LocOp::Not)?,
            Operation::Eq => reading.compare(Relation::Equal)?,
            Operation::Ne => reading.compare(Relation::Unequal)?,
            Operation::Lt => reading.compare(Relation::Less)?,
            Operation::Le => reading.compare(Relation::LessOrEqual)?,
            Operation::Gt => reading.compare(Relation::Greater)?,
            Operation::Ge => reading.compare(Relation::GreaterOrEqual)?,
            Operation::Pick { index } => {
                let from = reading.types.len().checked_sub(1 + usize::from(index)).ok_or_else(broken)?;
                let typed = reading.types[from];
                reading.push(LocOp::Pick(index));
                *reading.types.last_mut().ok_or_else(broken)? = typed;
            }
            Operation::Swap => {
                let top = reading.types.len();
                if top < 2 {
                    return Err(broken());
                }
                reading.types.swap(top - 1, top - 2);
                reading.steps.push(LocOp::Swap);
            }
            Operation::Drop => {
                reading.types.pop().ok_or_else(broken)?;
                reading.steps.push(LocOp::Drop);
            }
            Operation::Nop => {}
            Operation::StackValue => {
                reading.types.clear();
                reading.result = Some(Location::Value(std::mem::take(&mut reading.steps)));
            }
            Operation::ImplicitValue { data } => {
                let bytes = data.to_slice().map_err(|_| broken())?;
                reading.result = Some(implicit(&bytes)?);
            }
            Operation::EntryValue { expression } => {
                let Location::Register(register) = self.expression(Expression(expression))? else {
                    return Err(unsupported("the value of memory at entry"));
                };
                let cfa = self.info.frames().cfa(self.at).ok_or_else(|| {
                    unsupported("a value of the function's entry, in a frame without unwind rules")
                })?;
                let entry = Entry { low: self.function.low, high: self.function.high, cfa };
                reading.push(LocOp::Entered(register, entry));
            }
            Operation::Piece { size_in_bits, bit_offset } => {
                if bit_offset.is_some_and(|offset| offset != 0) || size_in_bits % 8 != 0 {
                    return Err(unsupported("a piece of some bits"));
                }
                let steps = std::mem::take(&mut reading.steps);
                reading.types.clear();
                let part = reading.result.take().or((!steps.is_empty()).then_some(Location::Memory(steps)));
                if matches!(part, Some(Location::Pieces(_))) {
                    return Err(unsupported("pieces of pieces"));
                }
                reading.pieces.push((part, size_in_bits / 8));
            }
            Operation::ImplicitPointer { value, byte_offset } => {
                reading.result = Some(Location::Pointer(Box::new(self.pointee(value)?), byte_offset));
            }
            Operation::TLS => {
                reading.types.pop().ok_or_else(broken)?;
                reading.push(LocOp::ThreadLocal);
            }
            Operation::Div | Operation::Mod | Operation::Abs => {
                return Err(unsupported("a division"));
            }
            _ => return Err(unsupported("an operation that is not known")),
        }
        Ok(())
    }

    /// Where the variable is that a pointer pointed to, before the pointer was optimized out.
    fn pointee(&self, entry: gimli::DebugInfoOffset) -> Result<Location, Absence> {
        if self.depth.get() >= DEPTH {
            return Err(broken());
        }
        let source = self.info.source(self.unit);
        let (unit, offset) = self.info.unit_at(source, entry.0).ok_or_else(broken)?;
        let place = Place { unit, ..self.copy() };
        place.depth.set(self.depth.get() + 1);
        place.variable(&unit.entry(offset).map_err(|_| broken())?).0
    }

    /// Makes the top a value of a base type.
    fn convert(&self, base_type: UnitOffset, reading: &mut Reading) -> Result<(), Absence> {
        let entry = self.unit.entry(base_type).map_err(|_| broken())?;
        let bytes = entry.attr_value(gimli::DW_AT_byte_size).and_then(|value| value.udata_value());
        let signed = match entry.attr_value(gimli::DW_AT_encoding) {
            Some(AttributeValue::Encoding(gimli::DW_ATE_signed | gimli::DW_ATE_signed_char)) => true,
            Some(AttributeValue::Encoding(
                gimli::DW_ATE_unsigned
                | gimli::DW_ATE_unsigned_char
                | gimli::DW_ATE_boolean
                | gimli::DW_ATE_address
                | gimli::DW_ATE_UTF,
            )) => false,
            _ => return Err(unsupported("floating point")),
        };
        let bytes = match bytes {
            Some(bytes @ (1 | 2 | 4 | 8)) => bytes as u8,
            _ => return Err(unsupported("a number of unusual size")),
        };
        // What was floating point never got here, so the bits are the number.
        *reading.types.last_mut().ok_or_else(broken)? = Some((bytes, signed));
        reading.cut(Some((bytes, signed)));
        Ok(())
    }

    /// The frame base of the function, as steps that leave its value.
    fn frame(&self) -> Result<Vec<LocOp>, Absence> {
        let location = match self.frame_base.clone() {
            Some(AttributeValue::Exprloc(expression)) => self.expression(expression)?,
            Some(value) => {
                if self.depth.get() >= DEPTH {
                    return Err(broken());
                }
                self.list(value)?
            }
            None => return Err(unsupported("a frame base that the function does not have")),
        };
        Ok(match location {
            // The frame base is the register's value, not what it points to.
            Location::Register(RSP) => vec![LocOp::Register(RSP, self.settled()?)],
            Location::Register(register) => vec![LocOp::Register(register, 0)],
            Location::Memory(steps) | Location::Value(steps) => steps,
            Location::Pieces(_) | Location::Pointer(..) => {
                return Err(unsupported("a frame base in pieces"));
            }
        })
    }

    /// Whether the frame base is the stack pointer itself, as LLVM has it in functions without a frame pointer.
    fn counts_from_stack_pointer(&self) -> bool {
        let Some(AttributeValue::Exprloc(base)) = &self.frame_base else { return false };
        let mut operations = base.clone().operations(self.unit.encoding());
        matches!(operations.next(), Ok(Some(Operation::Register { register: gimli::X86_64::RSP })))
    }

    /// What has to be added to the stack pointer here to have what it is in the function's body. Where LLVM counts from the
    /// stack pointer, it means the one that the prologue leaves, also in the prologue and where arguments are pushed.
    fn settled(&self) -> Result<i64, Absence> {
        let frames = self.info.frames();
        match (frames.cfa(self.at), frames.depth(self.function.low)) {
            (Some((RSP, here)), Some((body, true))) => Ok(here - body),
            (Some((RSP, here)), Some((body, false))) if here == body => Ok(0),
            _ => Err(Absence::Unreadable(
                "it is in a frame whose size here the call frame information does not tell".to_owned(),
            )),
        }
    }
}
