//! What is sent: records, errors, the end of the session.
//!
//! A small record is built in the frame and sent by one call; a larger one is reserved at its full size and submitted.
//! Either way every byte of it is written. A full ring is counted.

use super::super::vcode::{Base, Constant, VInsn, VReg, VSrc};
use super::number::DECIMAL;
use super::{Failure, Memory, Result, Selector};
use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Size};
use tracer_common::ir::{Arg, Block, LongOp, RecordId, StrOp, StrVar, Ty};
use tracer_common::layout::align8;
use tracer_common::ledger::{self, Cell};
use tracer_common::record::{self, ErrorKind};

/// Bytes of an error's record.
const ERROR_SIZE: u32 = record::HEADER + 16;
/// Records up to this size are built in the frame and sent by one call; larger ones are reserved and filled.
const FRAME_RECORD: u32 = 128;
/// Length and slot size before the bytes of a string field.
const STRING_HEAD: u32 = 8;

impl Selector<'_, '_> {
    pub(super) fn emit_record(&mut self, id: RecordId, values: &[Arg]) -> Result {
        let fields = &self.shared.module.records[id.index()].fields;
        let size = |ty: &Ty| match ty {
            Ty::Long => 8,
            Ty::Str(capacity) => STRING_HEAD + align8(u32::from(*capacity)),
        };
        let total = record::HEADER + fields.iter().map(size).sum::<u32>();
        if total >= i16::MAX as u32 {
            return Err(super::CodegenError::Limit(alloc::format!(
                "one printf sends {total} bytes; the limit is 32 kB: print less, or lower MAXSTRINGLEN"
            )));
        }
        self.send(id.0 as u16, total, |s, to| {
            let mut at = record::HEADER;
            for (value, ty) in values.iter().zip(fields) {
                match (value, ty) {
                    (Arg::Long(value), Ty::Long) => {
                        let value = s.sent(*value);
                        s.store(Size::Dw, to.at(at), value);
                    }
                    (Arg::Str(value), Ty::Str(capacity)) => {
                        s.string_field(to.at(at), u32::from(*capacity), *value);
                    }
                    (value, ty) => panic!("this is a bug: {value:?} in a field of type {ty} (ir::verify)"),
                }
                at += size(ty);
            }
        });
        Ok(())
    }

    /// A number of a record.
    fn sent(&mut self, value: LongOp) -> VSrc {
        match value {
            LongOp::Var(var) => match self.waiting(var) {
                Some(home) => VSrc::Reg(self.load_from(Size::Dw, home)),
                None => self.source(value),
            },
            LongOp::Imm(_) => self.source(value),
        }
    }

    /// Reserves a record, writes its header, lets the caller write the rest, and submits it.
    pub(super) fn send(&mut self, number: u16, size: u32, fill: impl FnOnce(&mut Self, Memory)) {
        let site = self.site();
        let head = u32::from(number) | self.program << 16;
        if size <= FRAME_RECORD {
            let buffer = self.temporary(size);
            self.store(Size::W, buffer, head as i32);
            self.store(Size::W, buffer.at(4), site);
            fill(self, buffer);
            let from = self.address(buffer);
            return self.output(from, size, Cell::Lost);
        }
        let map = Constant::Map(self.shared.records());
        let record = self.call_for(Helper::RingbufReserve, &[map.into(), size.into(), 0i64.into()]);
        let (full, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Eq, record, 0, full);
        let to = Memory { base: Base::Reg(record), off: 0 };
        self.store(Size::W, to, head as i32);
        self.store(Size::W, to.at(4), site);
        fill(self, to);
        self.call(Helper::RingbufSubmit, &[record.into(), 0i64.into()]);
        self.jump(on);
        self.aside(full, |s| {
            s.count(Cell::Lost);
            s.jump(on);
        });
        self.at(on);
    }

    /// A string field: length, slot, bytes padded with zeros.
    fn string_field(&mut self, to: Memory, capacity: u32, value: StrOp) {
        let slot = align8(capacity);
        self.store(Size::W, to.at(4), slot as i32);
        let bytes = to.at(STRING_HEAD);
        self.store_zeros(bytes, slot);
        if let StrOp::Lit(id) = value {
            let text = &self.shared.module.strings[id.index()];
            let length = text.len().min(capacity as usize - 1) as i32;
            self.store(Size::W, to, length);
            self.string_key(bytes, capacity, value);
            return;
        }
        let StrOp::Var(var) = value else { return };
        let home = self.home(var);
        let (address, from) = (self.address(bytes), self.address(home));
        let length = self.call_for(Helper::ProbeReadKernelStr, &[address, capacity.into(), from]);
        let fine = self.block(false);
        self.jump_if(JumpOp::Sgt, length, 0, fine);
        self.constant(length, 1);
        self.jump(fine);
        self.at(fine);
        self.alu(AluOp::Sub, length, 1);
        self.store(Size::W, to, length);
    }

    /// Leaves for the catch block, or reports the error and ends.
    pub(super) fn raise(&mut self, kind: ErrorKind, argument: impl Into<VSrc>) {
        let argument = argument.into();
        if let Some(catch) = self.catch {
            // A report says it all; an error that is caught is only counted.
            match kind {
                _ if kind.around_address().is_some() => self.count(Cell::Faults),
                ErrorKind::Overflow => self.count(Cell::Refused),
                _ => {}
            }
            return self.catch_with(catch, kind, argument);
        }
        let failure = self.failure();
        let word = record::error_word(self.place.0, kind);
        let site = match self.entry.sites.as_slice() {
            [site] => *site,
            _ => record::NO_SITE,
        };
        let head = u32::from(record::ERROR) | self.program << 16;
        match argument {
            // All of it is known: a constant.
            VSrc::Imm(argument) => {
                let mut bytes = alloc::vec::Vec::with_capacity(ERROR_SIZE as usize);
                bytes.extend(head.to_le_bytes());
                bytes.extend(site.to_le_bytes());
                bytes.extend(i64::from(word).to_le_bytes());
                bytes.extend(i64::from(argument).to_le_bytes());
                let (map, at) = self.shared.constant(&bytes);
                self.push(VInsn::Constant { dst: failure.record, value: Constant::MapValue(map, at) });
            }
            VSrc::Reg(argument) => {
                let buffer = self.temporary(ERROR_SIZE);
                self.store(Size::W, buffer, head as i32);
                self.store(Size::W, buffer.at(4), site as i32);
                self.store(Size::Dw, buffer.at(record::HEADER), word);
                self.store(Size::Dw, buffer.at(record::HEADER + 8), argument);
                match self.address(buffer) {
                    super::Arg::Reg(address) => self.mov(failure.record, address),
                    super::Arg::Constant(value) => self.push(VInsn::Constant { dst: failure.record, value }),
                }
            }
        }
        self.jump(failure.label);
    }

    /// Goes to a catch block; where anybody asks for it, with the text of the error.
    fn catch_with(&mut self, catch: Block, kind: ErrorKind, argument: VSrc) {
        let target = self.labels[catch.index()];
        if self.storage.caught.1 == 0 {
            return self.jump(target);
        }
        match (kind.around_address(), argument) {
            (Some((before, after)), VSrc::Reg(address)) => {
                self.caught_literal(alloc::format!("{before}{:016}{after}", 0).as_bytes());
                let caught = self.caught_address();
                self.mov(caught, address);
                let label = self.digits_block(kind, catch, before.len() as u32);
                self.jump(label);
            }
            (None, VSrc::Reg(number)) if kind.around_number().is_some() => {
                let caught = self.caught_address();
                self.mov(caught, number);
                let label = self.decimal_block(kind, catch);
                self.jump(label);
            }
            (_, argument) => {
                let number = if let VSrc::Imm(number) = argument { number as u64 } else { 0 };
                let text = record::error_text(self.shared.module, kind, number);
                self.caught_literal(text.as_bytes());
                self.jump(target);
            }
        }
    }

    fn caught_memory(&self) -> Memory {
        let Some(scratch) = self.scratch else {
            panic!("this is a bug: the text of a caught error without a scratch slot (storage::Storage)")
        };
        Memory { base: Base::Reg(scratch), off: self.storage.caught.0 as i32 }
    }

    fn caught_literal(&mut self, text: &[u8]) {
        let capacity = self.storage.caught.1 as usize;
        let mut text = text[..text.len().min(capacity - 1)].to_vec();
        text.push(0);
        let (map, at) = self.shared.constant(&text);
        let memory = self.caught_memory();
        let to = self.address(memory);
        self.call(
            Helper::ProbeReadKernel,
            &[to, (text.len() as u32).into(), Constant::MapValue(map, at).into()],
        );
    }

    fn caught_address(&mut self) -> VReg {
        match self.caught {
            Some(reg) => reg,
            None => {
                let reg = self.reg();
                self.caught = Some(reg);
                reg
            }
        }
    }

    /// The one block that writes what was caught into an error's text, and goes on where it is handled.
    fn caught_block(
        &mut self,
        kind: ErrorKind,
        catch: Block,
        write: impl FnOnce(&mut Self, VReg, Memory),
    ) -> super::Label {
        if let Some((_, label)) = self.digits.iter().find(|(known, _)| *known == (kind, catch)) {
            return *label;
        }
        let label = self.block(true);
        self.digits.push(((kind, catch), label));
        let (target, caught, text) =
            (self.labels[catch.index()], self.caught_address(), self.caught_memory());
        self.aside(label, |s| {
            write(s, caught, text);
            s.jump(target);
        });
        label
    }

    /// The block that writes the address of a fault into the text of the error.
    fn digits_block(&mut self, kind: ErrorKind, catch: Block, at: u32) -> super::Label {
        self.caught_block(kind, catch, |s, caught, text| {
            for (shift, to) in [(32, text.at(at)), (0, text.at(at + 8))] {
                let digits = s.hexadecimal(caught, shift, b'a');
                s.store(Size::Dw, to, digits);
            }
            // What follows the zeros in front moves over them.
            let zeros = s.leading_zeros(caught);
            s.alu(AluOp::And, zeros, 15);
            let digits = s.within(text, zeros).at(at);
            let (to, from) = (s.address(text.at(at)), s.address(digits));
            let room = s.storage.caught.1 - at;
            s.call(Helper::ProbeReadKernelStr, &[to, room.into(), from]);
        })
    }

    /// The block that writes the text of an error with a number in it.
    fn decimal_block(&mut self, kind: ErrorKind, catch: Block) -> super::Label {
        let (before, after) = kind.around_number().unwrap_or_default();
        self.caught_block(kind, catch, |s, caught, text| {
            s.caught_literal(before.as_bytes());
            let number = s.decimal(caught);
            let behind = text.at(before.len() as u32);
            let to = s.address(behind);
            let length = s.call_for(Helper::ProbeReadKernelStr, &[to, DECIMAL.into(), number.into()]);
            if !after.is_empty() {
                // It takes the place of the NUL.
                s.alu(AluOp::Sub, length, 1);
                s.at_most(length, DECIMAL - 1, DECIMAL - 1);
                let end = s.within(behind, length);
                let mut bytes = after.as_bytes().to_vec();
                bytes.push(0);
                let (map, at) = s.shared.constant(&bytes);
                let to = s.address(end);
                let from = Constant::MapValue(map, at).into();
                s.call(Helper::ProbeReadKernel, &[to, (bytes.len() as u32).into(), from]);
            }
        })
    }

    /// Eight hexadecimal digits of 32 bits, the first in the lowest byte; `ten` is the digit of ten.
    pub(super) fn hexadecimal(&mut self, value: VReg, shift: i32, ten: u8) -> VReg {
        let (digits, other) = (self.reg(), self.reg());
        self.mov(digits, value);
        if shift != 0 {
            self.alu(AluOp::Rsh, digits, shift);
        } else {
            self.push(VInsn::Move32 { dst: digits, src: value });
        }
        // Four bits into each byte.
        for (shift, mask) in
            [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f)]
        {
            self.mov(other, digits);
            self.alu(AluOp::Lsh, other, shift);
            self.alu(AluOp::Or, digits, other);
            let mask = self.known(Constant::Number(mask));
            self.alu(AluOp::And, digits, mask);
        }
        // Bytes of ten and more get the distance from '9' + 1.
        let letters = self.reg();
        self.mov(letters, digits);
        let six = self.known(Constant::Number(0x0606_0606_0606_0606));
        self.alu(AluOp::Add, letters, six);
        self.alu(AluOp::Rsh, letters, 4);
        let ones = self.known(Constant::Number(0x0101_0101_0101_0101));
        self.alu(AluOp::And, letters, ones);
        self.alu(AluOp::Mul, letters, i32::from(ten - b'9' - 1));
        let zero = self.known(Constant::Number(0x3030_3030_3030_3030));
        self.alu(AluOp::Add, digits, zero);
        self.alu(AluOp::Add, digits, letters);
        self.push(VInsn::BigEndian { dst: digits });
        digits
    }

    /// The text of the error that led here.
    pub(super) fn caught_text(&mut self, dest: StrVar) {
        let home = self.home(dest);
        let memory = self.caught_memory();
        let from = self.address(memory);
        self.string_from(home, self.capacity(dest), from);
    }

    /// The same when a comparison holds.
    pub(super) fn raise_if(
        &mut self,
        op: JumpOp,
        left: VReg,
        right: impl Into<VSrc>,
        kind: ErrorKind,
        argument: impl Into<VSrc>,
    ) {
        let (bad, on) = (self.block(true), self.block(false));
        self.jump_if(op, left, right, bad);
        self.jump(on);
        self.aside(bad, |s| s.raise(kind, argument));
        self.at(on);
    }

    fn failure(&mut self) -> Failure {
        if let Some(failure) = self.failure {
            return failure;
        }
        let failure = Failure { label: self.block(true), record: self.reg() };
        self.failure = Some(failure);
        failure
    }

    /// The block that reports errors, when something can raise.
    pub(super) fn failure_block(&mut self) {
        let Some(failure) = self.failure else { return };
        self.at(failure.label);
        self.last_error_ends();
        self.output(failure.record.into(), ERROR_SIZE, Cell::Errors);
        self.jump(self.exit);
    }

    /// The kernel side ends at the error that is one too many, and does not run on until the report was read.
    fn last_error_ends(&mut self) {
        let allowed = self.shared.module.limits.errors;
        match allowed {
            0 => return self.close_session(),
            u32::MAX => return,
            _ => {}
        }
        let errors = self.header(ledger::ERRORS);
        let Base::Reg(base) = errors.base else { panic!("this is a bug: the ledger is in the frame") };
        let one = self.known(Constant::Number(1));
        self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base, off: errors.off, src: one });
        // Read after it was added to: whoever takes it past the limit sees that, on kernels without a fetching addition too.
        let count = self.load_from(Size::Dw, errors);
        let allowed = self.known(Constant::Number(i64::from(allowed)));
        let (end, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Gt, count, allowed, end);
        self.jump(on);
        self.aside(end, |s| {
            s.close_session();
            s.jump(on);
        });
        self.at(on);
    }

    /// Sends a record that lies ready; one that finds the ring full is counted.
    fn output(&mut self, from: super::Arg, size: u32, lost: Cell) {
        let map = Constant::Map(self.shared.records());
        let failed = self.call_for(Helper::RingbufOutput, &[map.into(), from, size.into(), 0i64.into()]);
        let (full, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Ne, failed, 0, full);
        self.jump(on);
        self.aside(full, |s| {
            s.count(lost);
            s.jump(on);
        });
        self.at(on);
    }

    /// `error("…")`.
    pub(super) fn raise_message(&mut self, message: StrOp) -> Result {
        if let Some(catch) = self.catch {
            if self.storage.caught.1 > 0 {
                let memory = self.caught_memory();
                self.string_to(memory, self.storage.caught.1, message);
            }
            self.jump(self.labels[catch.index()]);
            return Ok(());
        }
        let capacity = match message {
            StrOp::Var(var) => self.capacity(var),
            StrOp::Lit(id) => self.shared.module.strings[id.index()].len() as u32 + 1,
        };
        let place = self.place;
        let size = record::HEADER + 16 + STRING_HEAD + align8(capacity);
        self.last_error_ends();
        self.send(record::ERROR, size, |s, to| {
            s.store(Size::Dw, to.at(record::HEADER), record::error_word(place.0, ErrorKind::Message));
            s.store(Size::Dw, to.at(record::HEADER + 8), 0);
            s.string_field(to.at(record::HEADER + 16), capacity, message);
        });
        self.jump(self.exit);
        Ok(())
    }
}
