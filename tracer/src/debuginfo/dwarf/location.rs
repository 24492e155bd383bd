//! Location expressions to steps; the CFA from call frame information.

use gimli::{
    AttributeValue, BaseAddresses, CfaRule, Expression, Operation, Register, UnwindContext, UnwindSection,
};

use super::{DebugInfo, Entry, Function, Slice, Unit};
use crate::debuginfo::elf::ElfFile;
use crate::debuginfo::model::{Absence, LocOp, Location};

/// Call frame information of a file.
pub(crate) struct Frames {
    eh: gimli::EhFrame<Slice>,
    bases: BaseAddresses,
}

impl Frames {
    pub(super) fn load(code: &ElfFile) -> Frames {
        let slice = Slice::new(code.section(".eh_frame").into(), gimli::LittleEndian);
        let mut bases = BaseAddresses::default();
        if let Some(address) = code.section_address(".eh_frame") {
            bases = bases.set_eh_frame(address);
        }
        if let Some(address) = code.section_address(".text") {
            bases = bases.set_text(address);
        }
        if let Some(address) = code.section_address(".got") {
            bases = bases.set_got(address);
        }
        Frames { eh: gimli::EhFrame::from(slice), bases }
    }

    /// Register and offset that give the canonical frame address at an address.
    fn cfa(&self, at: u64) -> Option<(u8, i64)> {
        let mut context = UnwindContext::new();
        let row = self
            .eh
            .unwind_info_for_address(&self.bases, &mut context, at, gimli::EhFrame::cie_from_offset)
            .ok()?;
        match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Some((number(*register)?, *offset)),
            CfaRule::Expression(_) => None,
        }
    }
}

fn number(register: Register) -> Option<u8> {
    u8::try_from(register.0).ok().filter(|n| *n <= 16)
}

/// A variable's surroundings.
pub(super) struct Place<'a> {
    pub(super) info: &'a DebugInfo,
    pub(super) unit: &'a Unit,
    pub(super) function: &'a Function,
    pub(super) at: u64,
    pub(super) frame_base: Option<AttributeValue<Slice>>,
}

/// Steps of an expression, at the most.
const STEPS: usize = 256;

impl Place<'_> {
    /// Where a variable is, and whether one expression says so for the whole function.
    pub(super) fn variable(&self, entry: &Entry<'_>) -> (Result<Location, Absence>, bool) {
        if let Some(value) = entry.attr_value(gimli::DW_AT_const_value) {
            let constant = match value {
                AttributeValue::Sdata(n) => Some(n),
                other => other.udata_value().map(|n| n as i64),
            };
            return match constant {
                Some(n) => (Ok(Location::Value(vec![LocOp::Const(n)])), false),
                None => (Err(Absence::Unsupported("a constant that is no number".into())), false),
            };
        }
        match entry.attr_value(gimli::DW_AT_location) {
            None => (Err(Absence::OptimizedOut), false),
            Some(AttributeValue::Exprloc(expression)) => (self.expression(expression), true),
            Some(value) => (self.list(value), false),
        }
    }

    fn list(&self, value: AttributeValue<Slice>) -> Result<Location, Absence> {
        let broken = || Absence::Unsupported("a location list that is broken".into());
        let offset = self.info.dwarf().attr_locations_offset(self.unit, value).map_err(|_| broken())?;
        let offset = offset.ok_or_else(broken)?;
        let mut entries = self.info.dwarf().locations(self.unit, offset).map_err(|_| broken())?;
        let mut later: Option<u64> = None;
        while let Some(entry) = entries.next().map_err(|_| broken())? {
            if entry.range.begin <= self.at && self.at < entry.range.end {
                return self.expression(entry.data);
            }
            if entry.range.begin > self.at {
                later = Some(later.map_or(entry.range.begin, |known| known.min(entry.range.begin)));
            }
        }
        Err(later.map_or(Absence::OptimizedOut, Absence::NotHere))
    }

    fn expression(&self, expression: Expression<Slice>) -> Result<Location, Absence> {
        let mut steps = Vec::new();
        let mut operations = expression.operations(self.unit.encoding());
        let unsupported = |what: &str| Absence::Unsupported(what.to_owned());
        let mut result = None;
        let mut any = false;
        while let Some(operation) =
            operations.next().map_err(|_| unsupported("an operation that is broken"))?
        {
            any = true;
            if result.is_some() || steps.len() > STEPS {
                return Err(unsupported("a value in several pieces"));
            }
            match operation {
                Operation::Register { register } => {
                    result = Some(Location::Register(
                        number(register).ok_or_else(|| unsupported("a vector register"))?,
                    ));
                }
                Operation::RegisterOffset { register, offset, .. } => {
                    let register = number(register).ok_or_else(|| unsupported("a vector register"))?;
                    steps.push(LocOp::Register(register, offset));
                }
                Operation::FrameOffset { offset } => {
                    steps.extend(self.frame()?);
                    if offset != 0 {
                        steps.extend([LocOp::Const(offset), LocOp::Add]);
                    }
                }
                Operation::CallFrameCFA => {
                    let (register, offset) = self
                        .info
                        .frames()
                        .cfa(self.at)
                        .ok_or_else(|| unsupported("a frame without unwind rules"))?;
                    steps.push(LocOp::Register(register, offset));
                }
                Operation::Address { address } => steps.push(LocOp::Address(address)),
                Operation::AddressIndex { index } => {
                    let address = self
                        .info
                        .dwarf()
                        .address(self.unit, index)
                        .map_err(|_| unsupported("an address index that is broken"))?;
                    steps.push(LocOp::Address(address));
                }
                Operation::UnsignedConstant { value } => steps.push(LocOp::Const(value as i64)),
                Operation::SignedConstant { value } => steps.push(LocOp::Const(value)),
                Operation::PlusConstant { value } => steps.extend([LocOp::Const(value as i64), LocOp::Add]),
                Operation::Deref { size, space: false, .. } => steps.push(LocOp::Deref(size)),
                Operation::Plus => steps.push(LocOp::Add),
                Operation::Minus => steps.push(LocOp::Sub),
                Operation::Mul => steps.push(LocOp::Mul),
                Operation::And => steps.push(LocOp::And),
                Operation::Or => steps.push(LocOp::Or),
                Operation::Xor => steps.push(LocOp::Xor),
                Operation::Shl => steps.push(LocOp::Shl),
                Operation::Shr => steps.push(LocOp::Shr),
                Operation::Shra => steps.push(LocOp::Sar),
                Operation::Neg => steps.push(LocOp::Neg),
                Operation::Not => steps.push(LocOp::Not),
                Operation::Pick { index } => steps.push(LocOp::Pick(index)),
                Operation::Swap => steps.push(LocOp::Swap),
                Operation::Drop => steps.push(LocOp::Drop),
                Operation::Nop => {}
                Operation::StackValue => result = Some(Location::Value(std::mem::take(&mut steps))),
                // What a register held at entry is in it still, when that is where we are.
                Operation::EntryValue { expression } if self.at == self.function.low => {
                    let inner = Expression(expression);
                    match self.expression(inner)? {
                        Location::Register(register) => steps.push(LocOp::Register(register, 0)),
                        _ => return Err(unsupported("the value of memory at entry")),
                    }
                }
                Operation::EntryValue { .. } => return Err(unsupported("the value at entry")),
                Operation::Piece { .. } => return Err(unsupported("a value in several pieces")),
                Operation::ImplicitPointer { .. } => {
                    return Err(unsupported("a pointer to what was optimized out"));
                }
                Operation::TLS => return Err(unsupported("thread-local storage")),
                _ => return Err(unsupported("an operation that is not known")),
            }
        }
        if !any {
            return Err(Absence::OptimizedOut);
        }
        Ok(result.unwrap_or(Location::Memory(steps)))
    }

    /// The frame base of the function, as steps that leave its value.
    fn frame(&self) -> Result<Vec<LocOp>, Absence> {
        let unsupported = |what: &str| Absence::Unsupported(what.to_owned());
        let location = match self.frame_base.clone() {
            Some(AttributeValue::Exprloc(expression)) => self.expression(expression)?,
            Some(value) => self.list(value)?,
            None => return Err(unsupported("a frame base that the function does not have")),
        };
        Ok(match location {
            // The frame base is the register's value, not what it points to.
            Location::Register(register) => vec![LocOp::Register(register, 0)],
            Location::Memory(steps) | Location::Value(steps) => steps,
        })
    }
}
