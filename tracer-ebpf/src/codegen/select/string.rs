//! Strings: copies, concatenation, comparison, context functions that give or take strings.
//!
//! A string is NUL-terminated inside its capacity; what follows the NUL is unspecified, but written. The kernel's
//! own string reader copies between our buffers, and measures: on a string of ours it cannot fault.

use super::super::storage::written;
use super::super::vcode::{Base, Constant, VInsn, VReg};
use super::{Memory, Result, Selector, long_dest};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use alloc::vec::Vec;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, Dest, Function, LongOp, SiteFact, Space, StrOp, StrVar, Term, Var, Visitor};
use tracer_common::layout::{MapKind, MapSpec, align8};
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::ProgramKind;
use tracer_common::record::{self, ErrorKind};

/// Longer literals are copied from the constants instead of being built by stores.
const STORED_LITERAL: u32 = 64;
/// Bytes of a task's name.
const COMM: u32 = 16;

impl Selector<'_, '_> {
    /// Writes bytes and zeros up to `size`, a multiple of 8.
    pub(super) fn store_bytes(&mut self, to: Memory, bytes: &[u8], size: u32) {
        for at in (0..size).step_by(8) {
            let mut word = [0u8; 8];
            for (n, byte) in word.iter_mut().enumerate() {
                *byte = bytes.get(at as usize + n).copied().unwrap_or(0);
            }
            let value = i64::from_le_bytes(word);
            match i32::try_from(value) {
                Ok(imm) => self.store(Size::Dw, to.at(at), imm),
                Err(_) => {
                    self.store(Size::W, to.at(at), value as i32);
                    self.store(Size::W, to.at(at + 4), (value >> 32) as i32);
                }
            }
        }
    }

    /// Zeros, by stores or, where they are many, by one copy.
    pub(super) fn store_zeros(&mut self, to: Memory, size: u32) {
        if size <= STORED_LITERAL {
            return self.store_bytes(to, b"", size);
        }
        let (map, at) = self.shared.constant(&alloc::vec![0; size as usize]);
        let address = self.address(to);
        self.call(Helper::ProbeReadKernel, &[address, size.into(), Constant::MapValue(map, at).into()]);
    }

    /// Makes a string register empty.
    pub(super) fn make_empty(&mut self, var: StrVar) {
        let home = self.home(var);
        match home.base {
            // The frame is read whole, so it is written whole.
            Base::Slot(_) => self.store_bytes(home, b"", align8(self.capacity(var))),
            Base::Reg(_) => self.store(Size::B, home, 0),
        }
    }

    pub(super) fn literal(&self, op: StrOp) -> Option<&'_ [u8]> {
        match op {
            StrOp::Lit(id) => Some(&self.shared.module.strings[id.index()]),
            StrOp::Var(_) => None,
        }
    }

    /// The address of a string operand.
    pub(super) fn string_address(&mut self, op: StrOp) -> super::Arg {
        match op {
            StrOp::Var(var) => {
                let home = self.home(var);
                self.address(home)
            }
            StrOp::Lit(id) => {
                let mut text = self.shared.module.strings[id.index()].clone();
                text.push(0);
                let (map, at) = self.shared.constant(&text);
                Constant::MapValue(map, at).into()
            }
        }
    }

    pub(super) fn string_capacity(&self, op: StrOp) -> u32 {
        match op {
            StrOp::Var(var) => self.capacity(var),
            StrOp::Lit(id) => self.shared.module.strings[id.index()].len() as u32 + 1,
        }
    }

    /// Copies a string into `capacity` bytes of memory that is written up to the next multiple of 8.
    pub(super) fn string_to(&mut self, to: Memory, capacity: u32, value: StrOp) {
        if let Some(text) = self.literal(value)
            && align8(capacity) <= STORED_LITERAL
        {
            let mut text: Vec<u8> = text.to_vec();
            text.truncate(capacity as usize - 1);
            return self.store_bytes(to, &text, align8(capacity));
        }
        if let Base::Slot(_) = to.base {
            // The frame is read by words, also behind a NUL.
            self.store_bytes(to, b"", align8(capacity));
        } else if !capacity.is_multiple_of(8) {
            self.store(Size::Dw, to.at(align8(capacity) - 8), 0);
        }
        let address = self.address(to);
        let from = self.string_address(value);
        self.call(Helper::ProbeReadKernelStr, &[address, capacity.into(), from]);
        if self.string_capacity(value) > capacity {
            self.count_truncation(capacity);
        }
    }

    /// After a copy that may have been cut: r0 is the capacity when it was, or the string just fitted. Only the caller
    /// of a shorter destination asks, so a fit is counted as a cut by mistake only when it is exact.
    fn count_truncation(&mut self, capacity: u32) {
        let length = self.reg();
        self.mov(length, VReg(0));
        self.count_cut(JumpOp::Eq, length, capacity);
    }

    /// Counts a string as cut where its length compares so with its capacity.
    pub(super) fn count_cut(&mut self, op: JumpOp, length: VReg, capacity: u32) {
        let (cut, on) = (self.block(true), self.block(false));
        self.jump_if(op, length, capacity as i32, cut);
        self.jump(on);
        self.aside(cut, |s| {
            s.count(Cell::Truncated);
            s.jump(on);
        });
        self.at(on);
    }

    /// A string as a key: NUL-padded with zeros.
    pub(super) fn string_key(&mut self, to: Memory, capacity: u32, value: StrOp) {
        if self.literal(value).is_some() && align8(capacity) <= STORED_LITERAL {
            return self.string_to(to, capacity, value);
        }
        if let StrOp::Var(var) = value
            && self.home(var) == to
        {
            // It was written there in the first place.
            return;
        }
        if let StrOp::Var(var) = value
            && self.is_padded(var)
            && self.capacity(var) <= capacity
        {
            let from = self.home(var);
            let mine = align8(self.capacity(var));
            for at in (0..mine).step_by(8) {
                let word = self.load_from(Size::Dw, from.at(at));
                self.store(Size::Dw, to.at(at), word);
            }
            return self.store_bytes(to.at(mine), b"", align8(capacity) - mine);
        }
        self.store_zeros(to, align8(capacity));
        let address = self.address(to);
        let from = self.string_address(value);
        self.call(Helper::ProbeReadKernelStr, &[address, capacity.into(), from]);
    }

    /// Whether every value that a register gets is padded with zeros: the kernel pads task names, we pad literals.
    fn is_padded(&self, var: StrVar) -> bool {
        use tracer_common::ir::Inst;
        let small = align8(self.capacity(var)) <= STORED_LITERAL;
        let visited = |term: &Term| match term {
            Term::IterNext { keys, value, .. } => keys.iter().chain(value).any(|d| *d == Dest::Str(var)),
            _ => false,
        };
        if self.function.blocks.iter().any(|block| visited(&block.term.0)) {
            return false;
        }
        self.function.blocks.iter().flat_map(|block| &block.insts).all(|(inst, _)| {
            written(inst) != Some(var)
                || matches!(inst, Inst::Call { intrinsic: Intrinsic::Execname, .. })
                || (small && matches!(inst, Inst::StrCopy { value: StrOp::Lit(_), .. }))
        })
    }

    pub(super) fn str_copy(&mut self, dest: StrVar, value: StrOp) -> Result {
        if value != StrOp::Var(dest) {
            let home = self.home(dest);
            self.string_to(home, self.capacity(dest), value);
        }
        Ok(())
    }

    /// Bytes before the NUL, at most `capacity - 1`: a register with bounds that the verifier sees.
    pub(super) fn measure(&mut self, value: StrOp) -> VReg {
        if let Some(text) = self.literal(value) {
            let length = text.len() as i64;
            return self.known(Constant::Number(length));
        }
        let address = self.string_address(value);
        let capacity = self.string_capacity(value);
        // Reading a string onto itself changes nothing and gives its length.
        let length = self.call_for(Helper::ProbeReadKernelStr, &[address, capacity.into(), address]);
        self.bounded(length, capacity);
        length
    }

    /// A string reader's result to a length without NUL, bounded below `capacity`.
    fn bounded(&mut self, length: VReg, capacity: u32) {
        self.alu(AluOp::Sub, length, 1);
        let fine = self.block(false);
        self.jump_if(JumpOp::Lt, length, capacity as i32, fine);
        self.constant(length, 0);
        self.jump(fine);
        self.at(fine);
    }

    pub(super) fn str_concat(&mut self, dest: StrVar, left: StrOp, right: StrOp) -> Result {
        let home = self.home(dest);
        let capacity = self.capacity(dest);
        // The right side would be overwritten while it is read, so it moves away first.
        let moved = if right == StrOp::Var(dest) {
            let area = self.area();
            self.string_to(area, capacity, right);
            Some(self.address(area))
        } else {
            None
        };
        let length = if left == StrOp::Var(dest) {
            self.measure(left)
        } else {
            let (to, from) = (self.address(home), self.string_address(left));
            let length = self.call_for(Helper::ProbeReadKernelStr, &[to, capacity.into(), from]);
            self.bounded(length, capacity);
            length
        };
        let end = self.reg();
        let Base::Reg(base) = home.base else {
            panic!("this is a bug: an appended string lives in the frame (storage::Storage)")
        };
        self.mov(end, base);
        // Tested again where it is used: a length that waited in the frame has lost its bounds for older verifiers.
        let near = self.reg();
        self.mov(near, length);
        let fine = self.block(false);
        self.jump_if(JumpOp::Lt, near, capacity as i32, fine);
        self.constant(near, 0);
        self.jump(fine);
        self.at(fine);
        self.alu(AluOp::Add, end, near);
        if home.off != 0 {
            self.alu(AluOp::Add, end, home.off);
        }
        let size = self.string_capacity(right);
        let from = match moved {
            Some(from) => from,
            None => self.string_address(right),
        };
        let added = self.call_for(Helper::ProbeReadKernelStr, &[end.into(), size.into(), from]);
        self.store(Size::B, home.at(capacity - 1), 0);
        if self.string_capacity(left).min(capacity) + size - 1 > capacity {
            self.alu(AluOp::Add, added, length);
            self.count_cut(JumpOp::Sgt, added, capacity);
        }
        Ok(())
    }

    pub(super) fn intrinsic(&mut self, intrinsic: Intrinsic, dest: Option<Dest>, args: &[Arg]) -> Result {
        match (intrinsic, args) {
            (Intrinsic::Pid, _) => self.halves(Helper::GetCurrentPidTgid, true, intrinsic, dest),
            (Intrinsic::Tid, _) => self.halves(Helper::GetCurrentPidTgid, false, intrinsic, dest),
            (Intrinsic::Gid, _) => self.halves(Helper::GetCurrentUidGid, true, intrinsic, dest),
            (Intrinsic::Uid, _) => self.halves(Helper::GetCurrentUidGid, false, intrinsic, dest),
            (Intrinsic::Cpu, _) => self.plain(Helper::GetSmpProcessorId, intrinsic, dest),
            (Intrinsic::MonotonicNs, _) => self.plain(Helper::KtimeGetNs, intrinsic, dest),
            (Intrinsic::Jiffies, _) => self.plain(Helper::Jiffies64, intrinsic, dest),
            (Intrinsic::KernelNumber, [Arg::Long(address), Arg::Long(LongOp::Imm(which))]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    return self.kernel_number(var, *address, *which);
                }
            }
            (Intrinsic::SendSignal, [Arg::Long(signal)]) => self.send_signal(*signal, dest),
            (Intrinsic::Unseen, _) => self.count(Cell::SkippedEntry),
            (Intrinsic::Random, _) => self.plain(Helper::GetPrandomU32, intrinsic, dest),
            (Intrinsic::TaskCurrent, _) => self.plain(Helper::GetCurrentTask, intrinsic, dest),
            (Intrinsic::Register, [Arg::Str(name), Arg::Long(signed)]) => {
                return self.register_named(dest, *name, *signed);
            }
            (Intrinsic::UserMode | Intrinsic::IsReturn, _) => {
                let kinds = match intrinsic {
                    Intrinsic::UserMode => [ProgramKind::Uprobe, ProgramKind::Uretprobe].as_slice(),
                    _ => &[ProgramKind::Uretprobe, ProgramKind::Kretprobe, ProgramKind::Fexit],
                };
                if let Some(var) = long_dest(intrinsic, dest) {
                    let value = kinds.contains(&self.entry.kind);
                    self.constant(self.var(var), i64::from(value));
                }
            }
            (Intrinsic::RealtimeNs, _) => {
                self.plain(Helper::KtimeGetNs, intrinsic, dest);
                let offset = self.header(ledger::REALTIME_OFFSET);
                let offset = self.load_from(Size::Dw, offset);
                if let Some(var) = long_dest(intrinsic, dest) {
                    let dst = self.var(var);
                    self.alu(AluOp::Add, dst, offset);
                }
            }
            (Intrinsic::Target, _) => {
                let target = self.header(ledger::TARGET);
                let target = self.load_from(Size::Dw, target);
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.mov(self.var(var), target);
                }
            }
            (Intrinsic::Hz, _) => {
                let hz = self.header(ledger::HZ);
                let hz = self.load_from(Size::Dw, hz);
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.mov(self.var(var), hz);
                }
            }
            (Intrinsic::Execname, _) => self.execname(dest),
            (Intrinsic::UserString, [Arg::Long(address)]) => {
                self.read_string(Space::User, dest, *address, None);
            }
            (Intrinsic::UserStringN, [Arg::Long(address), Arg::Long(size)]) => {
                self.read_string(Space::User, dest, *address, Some(*size));
            }
            (Intrinsic::KernelString, [Arg::Long(address)]) => {
                self.read_string(Space::Kernel, dest, *address, None);
            }
            (Intrinsic::KernelStringN, [Arg::Long(address), Arg::Long(size)]) => {
                self.read_string(Space::Kernel, dest, *address, Some(*size));
            }
            (
                Intrinsic::UserBytes | Intrinsic::KernelBytes,
                [Arg::Long(address), Arg::Long(count), Arg::Long(wide)],
            ) => {
                let wide = *wide != LongOp::Imm(0);
                if let Some(Dest::Str(dest)) = dest {
                    self.read_bytes(space_of(intrinsic), dest, *address, *count, wide);
                }
            }
            (Intrinsic::UserStack | Intrinsic::KernelStack, _) => {
                if let Some(Dest::Str(dest)) = dest {
                    return self.stack(space_of(intrinsic), dest);
                }
            }
            (Intrinsic::UserFrame | Intrinsic::KernelFrame, [Arg::Long(number)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    return self.frame_of(space_of(intrinsic), var, *number);
                }
            }
            (Intrinsic::ModuleBase, [Arg::Str(StrOp::Lit(path))]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    return self.module_base(var, *path);
                }
            }
            (Intrinsic::ModuleNeeded, [Arg::Str(StrOp::Lit(path)), Arg::Long(base)]) => {
                let value = self.reg();
                self.set(value, *base);
                self.raise_if(JumpOp::Eq, value, 0, ErrorKind::NotLoaded, path.index() as i32);
            }
            (Intrinsic::UserWrite, [Arg::Long(address), Arg::Long(value), Arg::Long(LongOp::Imm(bytes))]) => {
                return self.write_user(*address, *value, *bytes);
            }
            (Intrinsic::Strlen, [Arg::Str(text)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    let dst = self.var(var);
                    match self.literal(*text).map(<[u8]>::len) {
                        Some(length) => self.constant(dst, length as i64),
                        None => {
                            let length = self.measure(*text);
                            self.mov(dst, length);
                        }
                    }
                }
            }
            (Intrinsic::Stringat, [Arg::Str(text), Arg::Long(index)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.byte_at(var, *text, *index);
                }
            }
            (Intrinsic::Substr, [Arg::Str(text), Arg::Long(start), Arg::Long(length)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.substr(dest, *text, *start, *length);
                }
            }
            (Intrinsic::Search, [Arg::Str(text), Arg::Str(pattern)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.search(var, *text, *pattern);
                }
            }
            (Intrinsic::Isinstr | Intrinsic::Strpos, [Arg::Str(text), Arg::Str(needle)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.occurrence(var, *text, *needle, intrinsic == Intrinsic::Isinstr);
                }
            }
            (Intrinsic::StrReplace, [Arg::Str(text), Arg::Str(needle), Arg::Str(with)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.replace(dest, [*text, *needle, *with]);
                }
            }
            (Intrinsic::Quote, [Arg::Str(text), Arg::Long(most), Arg::Long(marks)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.quote(dest, *text, *most, *marks);
                }
            }
            (Intrinsic::Ctime, [Arg::Long(seconds)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    return self.ctime(dest, *seconds);
                }
            }
            (Intrinsic::Strtol, [Arg::Str(text), Arg::Long(base)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.strtol(var, *text, *base);
                }
            }
            (Intrinsic::Word, [Arg::Str(text), Arg::Long(number)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.word(dest, *text, *number);
                }
            }
            (Intrinsic::FirstWords, [Arg::Str(text), Arg::Long(number)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.first_words(dest, *text, *number);
                }
            }
            (Intrinsic::WordNumber, [Arg::Str(text), Arg::Str(word)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.word_number(var, *text, *word);
                }
            }
            (Intrinsic::Tokenize, [Arg::Str(text), Arg::Str(separators)]) => {
                self.begin_pieces(*text);
                if let Some(Dest::Str(dest)) = dest {
                    self.next_piece(dest, *separators);
                }
            }
            (Intrinsic::TokenizeNext, [Arg::Str(separators)]) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.next_piece(dest, *separators);
                }
            }
            (Intrinsic::KeepSearch, [Arg::Str(text), Arg::Long(number)]) => self.keep_search(*text, *number),
            (Intrinsic::SearchText, _) => {
                if let Some(Dest::Str(dest)) = dest {
                    self.search_text(dest);
                }
            }
            (Intrinsic::SearchNumber, _) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.search_number(var);
                }
            }
            (
                Intrinsic::Matched,
                [Arg::Str(text), Arg::Long(number), Arg::Str(patterns), Arg::Long(group)],
            ) => {
                if let Some(Dest::Str(dest)) = dest {
                    return self.matched(dest, *text, (*number, *patterns), *group);
                }
            }
            (Intrinsic::Ngroups, [Arg::Long(number), Arg::Str(patterns)]) => {
                if let Some(var) = long_dest(intrinsic, dest) {
                    self.ngroups(var, *number, *patterns);
                }
            }
            (Intrinsic::Exit, _) => self.exit_session(),
            _ => return self.unsupported(&alloc::format!("{}()", intrinsic.name())),
        }
        Ok(())
    }

    fn plain(&mut self, helper: Helper, intrinsic: Intrinsic, dest: Option<Dest>) {
        let Some(var) = long_dest(intrinsic, dest) else { return };
        self.call(helper, &[]);
        self.mov(self.var(var), VReg(0));
    }

    /// One half of a helper's result.
    fn halves(&mut self, helper: Helper, upper: bool, intrinsic: Intrinsic, dest: Option<Dest>) {
        let Some(var) = long_dest(intrinsic, dest) else { return };
        let dst = self.var(var);
        self.call(helper, &[]);
        if upper {
            self.mov(dst, VReg(0));
            self.alu(AluOp::Rsh, dst, 32);
        } else {
            self.push(VInsn::Move32 { dst, src: VReg(0) });
        }
    }

    fn execname(&mut self, dest: Option<Dest>) {
        let Some(Dest::Str(var)) = dest else { return };
        let home = self.home(var);
        let capacity = self.capacity(var);
        // The helper of 6.0 to 6.2 writes nothing behind the name's end (strscpy; commit f3f213497797, in 6.3, made it
        // strscpy_pad): without zeros there, one name would be many keys.
        // Instruction set v4 (6.6) is younger than that, and asks for no run of the helper to find out.
        let told = capacity.min(COMM);
        if !self.shared.target.features.isa_v4 || align8(capacity) > COMM {
            self.store_bytes(home, b"", align8(capacity));
        }
        let address = self.address(home);
        self.call(Helper::GetCurrentComm, &[address, told.into()]);
    }

    fn read_string(&mut self, space: Space, dest: Option<Dest>, address: LongOp, size: Option<LongOp>) {
        let Some(Dest::Str(var)) = dest else { return };
        let capacity = self.capacity(var);
        let from = self.read(address);
        let home = self.home(var);
        if let Base::Slot(_) = home.base {
            self.store_bytes(home, b"", align8(capacity));
        }
        let to = self.address(home);
        let size: super::Arg = match size {
            None => capacity.into(),
            Some(LongOp::Imm(n)) => i64::from(capacity).min(n.max(0).saturating_add(1)).into(),
            Some(LongOp::Var(n)) => {
                let size = self.reg();
                self.mov(size, self.var(n));
                let (positive, fine) = (self.block(false), self.block(false));
                self.jump_if(JumpOp::Sge, size, 0, positive);
                self.constant(size, 0);
                self.jump(positive);
                self.at(positive);
                self.alu(AluOp::Add, size, 1);
                self.jump_if(JumpOp::Le, size, capacity as i32, fine);
                self.constant(size, capacity);
                self.jump(fine);
                self.at(fine);
                size.into()
            }
        };
        let helper = match space {
            Space::User => Helper::ProbeReadUserStr,
            Space::Kernel => Helper::ProbeReadKernelStr,
        };
        let length = self.call_for(helper, &[to, size, from.into()]);
        self.fetch_string(space, length, home, capacity, size, from);
        self.raise_if(JumpOp::Slt, length, 0, ErrorKind::string_fault(space), from);
    }

    /// The address of a string, in a register that may be changed.
    pub(super) fn string_start(&mut self, text: StrOp) -> VReg {
        let at = self.reg();
        match self.string_address(text) {
            super::Arg::Reg(reg) => self.mov(at, reg),
            super::Arg::Constant(value) => self.push(VInsn::Constant { dst: at, value }),
        }
        at
    }

    pub(super) fn byte_at(&mut self, dest: Var, text: StrOp, index: LongOp) {
        let length = self.measure(text);
        let dst = self.reg();
        self.constant(dst, 0);
        let done = self.block(false);
        let position = self.reg();
        self.set(position, index);
        // Against a constant first: from a comparison of two unknowns older verifiers learn nothing.
        self.jump_if(JumpOp::Ge, position, self.string_capacity(text) as i32, done);
        self.jump_if(JumpOp::Ge, position, length, done);
        let at = self.string_start(text);
        // An address for the reader: a plain number to the verifier, so its bounds do not matter.
        self.alu(AluOp::Add, position, at);
        let buffer = self.temporary(8);
        let to = self.address(buffer);
        self.call(Helper::ProbeReadKernel, &[to, 1i64.into(), position.into()]);
        self.push(VInsn::Load { size: Size::B, dst, base: buffer.base, off: buffer.off });
        self.jump(done);
        self.at(done);
        self.mov(self.var(dest), dst);
    }

    /// `exit()`: no program runs on from here on, and the session is told.
    fn exit_session(&mut self) {
        self.close_session();
        self.send(record::EXIT, record::HEADER, |_, _| {});
    }

    /// No handler begins from now on.
    pub(super) fn close_session(&mut self) {
        let state = self.header(ledger::STATE);
        self.store(Size::W, state, 1);
    }

    /// A fact about the site, from the constants when there is one site, else from the map of texts.
    pub(super) fn site_text(&mut self, dest: StrVar, fact: SiteFact) -> Result {
        let home = self.home(dest);
        let capacity = self.capacity(dest);
        if let [site] = self.entry.sites.as_slice() {
            let text = self.shared.manifest.sites[*site as usize].fact(fact).as_bytes();
            let mut text = text[..text.len().min(capacity as usize - 1)].to_vec();
            if align8(capacity) <= STORED_LITERAL {
                self.store_bytes(home, &text, align8(capacity));
            } else {
                text.push(0);
                let (map, at) = self.shared.constant(&text);
                self.string_from(home, capacity, Constant::MapValue(map, at).into());
            }
            return Ok(());
        }
        let offset = self.site_field(fact, capacity);
        let sites = self.shared.manifest.sites.len() as u32;
        let map = self.shared.map(super::super::SITES, || MapSpec {
            name: super::super::SITES.into(),
            kind: MapKind::Array,
            key_size: 4,
            value_size: 0,
            max_entries: sites,
        });
        self.shared.maps[map as usize].value_size = self.shared.site_texts.row;
        let key = self.temporary(8);
        let site = self.site();
        self.store(Size::W, key, site);
        let key = self.address(key);
        let row = self.call_for(Helper::MapLookupElem, &[Constant::Map(map).into(), key]);
        let (missing, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Eq, row, 0, missing);
        self.alu(AluOp::Add, row, offset as i32);
        self.string_from(home, capacity, row.into());
        self.jump(on);
        self.aside(missing, |s| {
            s.make_empty(dest);
            s.jump(on);
        });
        self.at(on);
        Ok(())
    }

    /// Copies a string that is not an operand.
    pub(super) fn string_from(&mut self, home: Memory, capacity: u32, from: super::Arg) {
        if let Base::Slot(_) = home.base {
            self.store_bytes(home, b"", align8(capacity));
        }
        let to = self.address(home);
        self.call(Helper::ProbeReadKernelStr, &[to, capacity.into(), from]);
    }

    /// The field of a fact in the rows of the sites map.
    fn site_field(&mut self, fact: SiteFact, capacity: u32) -> u32 {
        let texts = &mut self.shared.site_texts;
        let fits = |known: &&(SiteFact, u32, u16)| known.0 == fact && u32::from(known.2) >= capacity;
        if let Some((_, offset, _)) = texts.fields.iter().find(fits) {
            return *offset;
        }
        let offset = texts.row;
        texts.fields.push((fact, offset, capacity as u16));
        texts.row += align8(capacity);
        offset
    }
}

/// String registers that may be read before they are written, by a forward scan of the first writes on all paths.
pub(super) fn read_before_written(function: &Function) -> Vec<StrVar> {
    let count = function.strings.len();
    let mut before: Vec<Option<Vec<bool>>> = alloc::vec![None; function.blocks.len()];
    let mut suspects = alloc::vec![false; count];
    let mut work = alloc::vec![(0usize, alloc::vec![false; count])];
    while let Some((n, entering)) = work.pop() {
        let known = match &before[n] {
            Some(known) => {
                let both: Vec<bool> = known.iter().zip(&entering).map(|(a, b)| *a && *b).collect();
                if both == *known {
                    continue;
                }
                both
            }
            None => entering,
        };
        before[n] = Some(known.clone());
        let mut scan = Scan { written: known, suspects: &mut suspects };
        let block = &function.blocks[n];
        if let Some(catch) = block.catch {
            // Any instruction may be the one that raised: nothing of this block counts.
            work.push((catch.index(), scan.written.clone()));
        }
        for (inst, _) in &block.insts {
            inst.visit(&mut scan);
        }
        block.term.0.visit(&mut scan);
        for next in block.term.0.successors() {
            work.push((next.index(), scan.written.clone()));
        }
    }
    (0..count).filter(|n| suspects[*n]).map(|n| StrVar(n as u32)).collect()
}

struct Scan<'a> {
    written: Vec<bool>,
    suspects: &'a mut Vec<bool>,
}

impl Visitor for Scan<'_> {
    fn read_str(&mut self, op: &StrOp) {
        if let StrOp::Var(var) = op
            && !self.written[var.index()]
        {
            self.suspects[var.index()] = true;
        }
    }

    fn write_str(&mut self, var: &StrVar) {
        self.written[var.index()] = true;
    }
}

/// Whose stack or memory an intrinsic looks at.
fn space_of(intrinsic: Intrinsic) -> Space {
    match intrinsic {
        Intrinsic::KernelStack | Intrinsic::KernelFrame | Intrinsic::KernelBytes => Space::Kernel,
        _ => Space::User,
    }
}
