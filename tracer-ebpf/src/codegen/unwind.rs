//! The walk along a user stack by unwind tables: a function of the object that programs call.
//!
//! Its memory is a part of the caller's scratch slot (`STATE`), then the addresses that it finds. Nothing of it lives in
//! registers for longer than a frame, so that to the kernel's verifier every frame begins alike, and it need not follow
//! more than one of the ways through a frame to the end of the stack. Searches take no jumps for the same reason. Where the
//! kernel has a loop that calls a function, it looks at one frame only.
//!
//! What no table knows is stepped over by the frame pointer: code that was made at run time, files whose table was
//! not there yet. A stack that does not end where its thread began was cut, and is counted.
//!
//! **Not here:** what tables say (`tracer_common::unwind`), who fills them (`tracer::run::unwind`), texts of addresses
//! (`select::stack`).

mod mapping;
pub(super) mod module;

use super::{CodegenError, Shared};
use crate::asm::{Assembler, Code, FuncRef, Label};
use crate::isa::{AluOp, Helper, Imm64, Insn, JumpOp, Reg, Size, Src};
use crate::object;
use crate::target::{Returns, Unwind};
use alloc::format;
use alloc::vec;
use tracer_common::layout::{MapKind, MapSpec};
use tracer_common::manifest::ProgramKind;
use tracer_common::record;
use tracer_common::unwind::{self, Kind, Rule, word};

/// Offsets in the state. The first words are those that rules name.
const fn at(word: u8) -> i16 {
    word as i16 * 8
}
/// Registers of the frame: set by the caller for the innermost.
pub(super) const RSP: i16 = at(word::RSP);
pub(super) const RBP: i16 = at(word::RBP);
pub(super) const RBX: i16 = at(word::RBX);
pub(super) const R10: i16 = at(word::R10);
const LOST: i16 = at(word::LOST);
const AT_RBP: i16 = at(word::AT_RBP);
/// Where the frame's code is: set by the caller for the innermost.
pub(super) const PC: i16 = 112;
/// 1 in frames that called something: the call is before the address. 0 in those that were interrupted.
const BEFORE: i16 = 120;
/// The mapping that the last address was in: five words.
const START: i16 = 128;
const END: i16 = 136;
const PAGE_OFFSET: i16 = 144;
const FLAGS: i16 = 152;
const INODE: i16 = 160;
/// What is known of its file.
const INDEX: i16 = 168;
const FIRST: i16 = 176;
const PAGES: i16 = 184;
/// The address that return probes put in place of return addresses, and the next that they replaced.
const REPLACED: i16 = 192;
const INSTANCE: i16 = 200;
/// Addresses found.
const COUNT: i16 = 208;
/// 1 when the stack was cut.
pub(super) const CUT: i16 = 216;
const RULE: i16 = 224;
const MM: i16 = 232;
const TEMPORARY: i16 = 240;
/// Whether the innermost frame is at a function's first instruction: set by the caller.
pub(super) const IS_ENTRY: i16 = 256;
/// A record.
const RECORD: i16 = 264;
/// The type of a maple tree's node, and its pivots.
const TYPE: i16 = 296;
const NODE: i16 = 304;
/// Bytes of the state; the addresses follow.
pub(super) const STATE: u32 = 424;

/// Bytes of the walk's own frame and of its step's, as the kernel counts them.
pub(super) const FRAMES: u32 = 64;
/// Frames that the programs of a handler may walk without a loop of the kernel's: the verifier follows each of them, some
/// 8,000 instructions, of the million that it looks at.
pub(super) const FOLLOWED: u32 = 120;

/// Return probes that are looked at for a frame.
const INSTANCES: u32 = 12;
/// `VM_EXEC`.
const EXECUTABLE: i32 = 4;
/// Bits of a user-space address that are in use.
const ADDRESS_BITS: i32 = 47;
/// Bytes of a task's kernel stack, and of the registers at its end.
const KERNEL_STACK: i32 = 16 << 10;
/// `__USER_CS`: the code is 64-bit.
const USER_CS: i32 = 0x33;

/// Where the innermost frame's registers come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Begin {
    /// The caller has set them.
    Given,
    /// They are those with which the task entered the kernel.
    Task,
}

/// The walk; its result is the number of addresses.
pub(super) fn walk(shared: &mut Shared<'_>, layout: &Unwind, begin: Begin) -> Result<u32, CodegenError> {
    let maps = Maps {
        files: shared.map(unwind::FILES, || unwind::map(unwind::FILES)),
        index: shared.map(unwind::INDEX, || unwind::map(unwind::INDEX)),
        rows: shared.map(unwind::ROWS, || unwind::map(unwind::ROWS)),
        rules: shared.map(unwind::RULES, || unwind::map(unwind::RULES)),
        records: shared.records(),
    };
    let limit = shared.module.limits.backtrace;
    let helper = shared.target.features.task_pt_regs;
    let name = match begin {
        Begin::Given => "walk",
        Begin::Task => "walk_task",
    };
    let step = if shared.target.features.bpf_loop {
        let code = finish(Walk { asm: Assembler::new(), layout, maps, limits: false }.write_step(limit))?;
        Some(FuncRef(shared.function("walk_frame".into(), || code)))
    } else {
        None
    };
    let code = finish(
        Walk { asm: Assembler::new(), layout, maps, limits: false }.write(begin, helper, limit, step),
    )?;
    Ok(shared.function(name.into(), || code))
}

/// Name of the map that [`identify`] leaves its answer in.
pub const FOUND: &str = "found";
/// Offset there of the inode of the file that is mapped at the address; 0 for none.
pub const FOUND_INODE: usize = INODE as usize;

/// A program that tells how the walk will name the file that is mapped at an address of the task that runs it: for a
/// raw tracepoint that is never attached, with the address as its argument.
pub fn identify(layout: &Unwind) -> Result<object::Parts, CodegenError> {
    let maps = Maps { files: 0, index: 0, rows: 0, rules: 0, records: 0 };
    let mut walk = Walk { asm: Assembler::new(), layout, maps, limits: false };
    let (missing, end) = (walk.asm.label(), walk.asm.label());
    walk.load(Reg::R8, Reg::R1, 0);
    walk.map_value(Reg::R6, 0);
    walk.set(INODE, 0);
    walk.task_memory(end);
    walk.find_mapping(missing);
    walk.asm.bind(missing);
    walk.asm.bind(end);
    walk.number(Reg::R0, 0);
    walk.asm.push(Insn::Exit);
    let found =
        MapSpec { name: FOUND.into(), kind: MapKind::Array, key_size: 4, value_size: STATE, max_entries: 1 };
    let code = finish(walk.asm)?;
    let program =
        object::Program { name: "identify".into(), kind: ProgramKind::RawTracepoint, sleepable: false, code };
    Ok(object::Parts { maps: vec![found], rodata: vec![], functions: vec![], programs: vec![program] })
}

fn finish(asm: Assembler) -> Result<Code, CodegenError> {
    asm.finish().map_err(|error| CodegenError::Limit(format!("{error}")))
}

/// Indices of the maps.
#[derive(Clone, Copy)]
struct Maps {
    files: u32,
    index: u32,
    rows: u32,
    rules: u32,
    records: u32,
}

/// r6 is the state; r7 the number of frames; r8 and r9 addresses that outlive a call.
struct Walk<'l> {
    asm: Assembler,
    layout: &'l Unwind,
    maps: Maps,
    /// Whether searches in a maple tree say where what they found ends.
    limits: bool,
}

/// Where frames go on.
struct Labels {
    /// By the frame pointer.
    guess: Label,
    /// With the caller's frame at r8.
    frame: Label,
    /// With the return address in r9.
    caller: Label,
    /// The stack ends before it should.
    cut: Label,
    /// It ends.
    end: Label,
}

impl Walk<'_> {
    /// The walk: by a loop of the kernel's, which the verifier looks into once, or by one that it follows.
    fn write(mut self, begin: Begin, helper: bool, limit: u32, step: Option<FuncRef>) -> Assembler {
        let labels = self.labels();
        self.mov(Reg::R6, Reg::R1);
        self.prepare(&labels);
        if begin == Begin::Task {
            self.task_registers(helper, &labels);
        }
        if let Some(step) = step {
            self.repeat(step, limit as i32);
        } else {
            let head = self.asm.label();
            self.number(Reg::R7, 0);
            self.asm.bind(head);
            self.asm.jump_if(JumpOp::Ge, true, Reg::R7, limit as i32, labels.end);
            self.frame(&labels, head, limit);
        }
        self.asm.bind(labels.end);
        self.load(Reg::R0, Reg::R6, COUNT);
        self.asm.push(Insn::Exit);
        self.asm
    }

    /// The kernel's loop: so many calls of a step at the most, with the address of the state's address.
    fn repeat(&mut self, step: FuncRef, limit: i32) {
        self.store(Reg::FRAME, -8, Reg::R6);
        self.number(Reg::R1, limit);
        self.asm.address(Reg::R2, step);
        self.mov(Reg::R3, Reg::FRAME);
        self.alu(AluOp::Add, Reg::R3, -8);
        self.number(Reg::R4, 0);
        self.asm.push(Insn::Call { helper: Helper::Loop });
    }

    /// One frame, as the kernel's loop calls it: with its number, and the address of the state's.
    fn write_step(mut self, limit: u32) -> Assembler {
        let (labels, again) = (self.labels(), self.asm.label());
        self.load(Reg::R6, Reg::R2, 0);
        self.mov(Reg::R7, Reg::R1);
        self.frame(&labels, again, limit);
        self.asm.bind(labels.end);
        self.number(Reg::R0, 1);
        self.asm.push(Insn::Exit);
        self.asm.bind(again);
        self.number(Reg::R0, 0);
        self.asm.push(Insn::Exit);
        self.asm
    }

    fn labels(&mut self) -> Labels {
        let asm = &mut self.asm;
        Labels {
            guess: asm.label(),
            frame: asm.label(),
            caller: asm.label(),
            cut: asm.label(),
            end: asm.label(),
        }
    }

    /// The frame whose number is in r7: its address is kept, its caller found. Goes on at `again`, or behind itself where
    /// the stack ends.
    fn frame(&mut self, labels: &Labels, again: Label, limit: u32) {
        let (have, find, unmapped) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.load(Reg::R8, Reg::R6, PC);
        self.mov(Reg::R1, Reg::R7);
        self.alu(AluOp::And, Reg::R1, (limit + 1).next_power_of_two() as i32 - 1);
        self.alu(AluOp::Lsh, Reg::R1, 3);
        self.alu(AluOp::Add, Reg::R1, Reg::R6);
        self.store(Reg::R1, STATE as i16, Reg::R8);
        self.alu(AluOp::Add, Reg::R7, 1);
        self.store(Reg::R6, COUNT, Reg::R7);
        self.load(Reg::R1, Reg::R6, BEFORE);
        self.alu(AluOp::Sub, Reg::R8, Reg::R1);
        // Most frames are in the file of the one before.
        self.load(Reg::R1, Reg::R6, START);
        self.load(Reg::R2, Reg::R6, END);
        self.asm.jump_if(JumpOp::Lt, true, Reg::R8, Reg::R1, find);
        self.asm.jump_if(JumpOp::Lt, true, Reg::R8, Reg::R2, have);
        self.asm.bind(find);
        self.set(PAGES, 0);
        self.find_mapping(unmapped);
        self.load(Reg::R1, Reg::R6, FLAGS);
        self.alu(AluOp::And, Reg::R1, EXECUTABLE);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, unmapped);
        self.find_file(labels);
        self.asm.bind(have);
        self.find_rule(labels);
        self.apply(labels);
        self.asm.bind(labels.frame);
        self.leave_frame(labels);
        self.asm.bind(labels.caller);
        self.go_on(labels, again);
        self.asm.bind(labels.guess);
        self.guess(labels);
        // No code is there: whatever led here was wrong. The innermost is where the program was hit.
        self.asm.bind(unmapped);
        self.set(END, 0);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R7, 1, labels.cut);
        self.alu(AluOp::Sub, Reg::R7, 1);
        self.store(Reg::R6, COUNT, Reg::R7);
        self.asm.bind(labels.cut);
        self.set(CUT, 1);
    }

    /// What holds for the whole stack.
    fn prepare(&mut self, labels: &Labels) {
        for word in 0..word::WINDOW {
            self.set(at(word), 0);
        }
        for offset in [LOST, AT_RBP, BEFORE, START, END, INDEX, FIRST, PAGES, REPLACED, INSTANCE, COUNT, CUT]
        {
            self.set(offset, 0);
        }
        self.task_memory(labels.end);
        let Some(returns) = self.layout.returns.clone() else { return };
        let Returns { area, vaddr, utask, instances, .. } = returns;
        let done = self.asm.label();
        self.load(Reg::R3, Reg::R6, MM);
        self.read_kernel(TEMPORARY, 8, Reg::R3, area);
        self.load(Reg::R3, Reg::R6, TEMPORARY);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R3, 0, done);
        self.read_kernel(REPLACED, 8, Reg::R3, vaddr);
        self.asm.push(Insn::Call { helper: Helper::GetCurrentTask });
        self.mov(Reg::R3, Reg::R0);
        self.read_kernel(TEMPORARY, 8, Reg::R3, utask);
        self.load(Reg::R3, Reg::R6, TEMPORARY);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R3, 0, done);
        self.read_kernel(INSTANCE, 8, Reg::R3, instances);
        self.asm.bind(done);
    }

    /// Sets [`MM`]; a task without has no user stack.
    fn task_memory(&mut self, none: Label) {
        self.asm.push(Insn::Call { helper: Helper::GetCurrentTask });
        self.mov(Reg::R3, Reg::R0);
        self.read_kernel(MM, 8, Reg::R3, self.layout.mm);
        self.load(Reg::R1, Reg::R6, MM);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, none);
    }

    /// Reads the registers with which the task entered the kernel: into the window, then where they belong.
    fn task_registers(&mut self, helper: bool, labels: &Labels) {
        if helper {
            self.asm.push(Insn::Call { helper: Helper::GetCurrentTaskBtf });
            self.mov(Reg::R1, Reg::R0);
            self.asm.push(Insn::Call { helper: Helper::TaskPtRegs });
            self.mov(Reg::R8, Reg::R0);
        } else {
            self.asm.push(Insn::Call { helper: Helper::GetCurrentTask });
            self.mov(Reg::R3, Reg::R0);
            self.read_kernel(TEMPORARY, 8, Reg::R3, self.layout.stack);
            self.load(Reg::R8, Reg::R6, TEMPORARY);
            self.alu(AluOp::Add, Reg::R8, KERNEL_STACK - 168);
        }
        self.mov(Reg::R3, Reg::R8);
        // rbp, rbx, r11, r10.
        self.read_kernel(0, 32, Reg::R3, 32);
        self.mov(Reg::R3, Reg::R8);
        // rip, cs, flags, rsp.
        self.read_kernel(32, 32, Reg::R3, 128);
        self.load(Reg::R1, Reg::R6, 40);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R1, USER_CS, labels.end);
        for (from, to) in [(0, RBP), (8, RBX), (24, R10), (32, PC), (56, RSP)] {
            self.load(Reg::R1, Reg::R6, from);
            self.store(Reg::R6, to, Reg::R1);
        }
    }

    /// Looks up what is known of the file; tells once of one that is not.
    fn find_file(&mut self, labels: &Labels) {
        let known = self.asm.label();
        self.load(Reg::R1, Reg::R6, INODE);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, labels.guess);
        self.map(Reg::R1, self.maps.files);
        self.state(Reg::R2, INODE);
        self.asm.push(Insn::Call { helper: Helper::MapLookupElem });
        self.asm.jump_if(JumpOp::Ne, true, Reg::R0, 0, known);
        self.tell_of_file(labels);
        self.asm.bind(known);
        for (n, to) in [INDEX, FIRST, PAGES].into_iter().enumerate() {
            let off = n as i16 * 4;
            self.asm.push(Insn::Load { size: Size::W, signed: false, dst: Reg::R1, base: Reg::R0, off });
            self.store(Reg::R6, to, Reg::R1);
        }
    }

    fn tell_of_file(&mut self, labels: &Labels) {
        const ONLY_NEW: i32 = 1;
        self.set(TEMPORARY, 0);
        self.set(TEMPORARY + 8, 0);
        self.map(Reg::R1, self.maps.files);
        self.state(Reg::R2, INODE);
        self.state(Reg::R3, TEMPORARY);
        self.number(Reg::R4, ONLY_NEW);
        self.asm.push(Insn::Call { helper: Helper::MapUpdateElem });
        self.asm.jump_if(JumpOp::Ne, true, Reg::R0, 0, labels.guess);
        let head = u64::from(record::FILE) | u64::from(record::NO_SITE) << 32;
        self.asm.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::Value(head) });
        self.store(Reg::R6, RECORD, Reg::R1);
        self.asm.push(Insn::Call { helper: Helper::GetCurrentPidTgid });
        self.alu(AluOp::Rsh, Reg::R0, 32);
        self.store(Reg::R6, RECORD + 8, Reg::R0);
        self.store(Reg::R6, RECORD + 16, Reg::R8);
        self.load(Reg::R1, Reg::R6, INODE);
        self.store(Reg::R6, RECORD + 24, Reg::R1);
        self.map(Reg::R1, self.maps.records);
        self.state(Reg::R2, RECORD);
        self.number(Reg::R3, 32);
        self.number(Reg::R4, 0);
        self.asm.push(Insn::Call { helper: Helper::RingbufOutput });
        self.asm.jump_if(JumpOp::Eq, true, Reg::R0, 0, labels.guess);
        // Nobody was told: the next one tells.
        self.map(Reg::R1, self.maps.files);
        self.state(Reg::R2, INODE);
        self.asm.push(Insn::Call { helper: Helper::MapDeleteElem });
        self.asm.jump(labels.guess);
    }

    /// Finds the rule for the address in r8 of the mapping that is known: into [`RULE`].
    fn find_rule(&mut self, labels: &Labels) {
        self.load(Reg::R1, Reg::R6, START);
        self.mov(Reg::R9, Reg::R8);
        self.alu(AluOp::Sub, Reg::R9, Reg::R1);
        self.load(Reg::R1, Reg::R6, PAGE_OFFSET);
        self.alu(AluOp::Lsh, Reg::R1, 12);
        self.alu(AluOp::Add, Reg::R9, Reg::R1);
        self.mov(Reg::R1, Reg::R9);
        self.alu(AluOp::Rsh, Reg::R1, unwind::PAGE_BITS as i32);
        self.load(Reg::R2, Reg::R6, FIRST);
        self.asm.jump_if(JumpOp::Lt, true, Reg::R1, Reg::R2, labels.guess);
        self.alu(AluOp::Sub, Reg::R1, Reg::R2);
        self.load(Reg::R2, Reg::R6, PAGES);
        self.asm.jump_if(JumpOp::Ge, true, Reg::R1, Reg::R2, labels.guess);
        self.load(Reg::R2, Reg::R6, INDEX);
        self.alu(AluOp::Add, Reg::R1, Reg::R2);
        self.alu(AluOp::And, Reg::R1, unwind::INDEX_LIMIT as i32 - 1);
        self.alu(AluOp::Lsh, Reg::R1, 2);
        self.map_value(Reg::R2, self.maps.index);
        self.alu(AluOp::Add, Reg::R2, Reg::R1);
        self.load_word(Reg::R3, Reg::R2, 0);
        self.load_word(Reg::R4, Reg::R2, 4);
        self.map_value(Reg::R5, self.maps.rows);
        for bit in (0..unwind::PAGE_BITS).rev() {
            self.mov(Reg::R0, Reg::R3);
            self.alu(AluOp::Add, Reg::R0, 1 << bit);
            self.mov(Reg::R1, Reg::R0);
            self.alu(AluOp::And, Reg::R1, unwind::ROW_LIMIT as i32 - 1);
            self.alu(AluOp::Lsh, Reg::R1, 3);
            self.mov(Reg::R2, Reg::R5);
            self.alu(AluOp::Add, Reg::R2, Reg::R1);
            self.load_word(Reg::R2, Reg::R2, 0);
            // 1 where the row begins at or before the address, and is one of the page's.
            self.at_most(Reg::R2, Reg::R9);
            self.at_most(Reg::R0, Reg::R4);
            self.alu(AluOp::And, Reg::R2, Reg::R0);
            self.alu(AluOp::Lsh, Reg::R2, bit as i32);
            self.alu(AluOp::Add, Reg::R3, Reg::R2);
        }
        self.alu(AluOp::And, Reg::R3, unwind::ROW_LIMIT as i32 - 1);
        self.alu(AluOp::Lsh, Reg::R3, 3);
        self.alu(AluOp::Add, Reg::R5, Reg::R3);
        self.load_word(Reg::R1, Reg::R5, 4);
        self.alu(AluOp::And, Reg::R1, unwind::RULE_LIMIT as i32 - 1);
        self.alu(AluOp::Lsh, Reg::R1, 3);
        self.map_value(Reg::R2, self.maps.rules);
        self.alu(AluOp::Add, Reg::R2, Reg::R1);
        self.load(Reg::R1, Reg::R2, 0);
        self.store(Reg::R6, RULE, Reg::R1);
    }

    /// 1 where a register is at most another, else 0; both are below 2^63.
    fn at_most(&mut self, left: Reg, right: Reg) {
        self.alu(AluOp::Sub, left, right);
        self.alu(AluOp::Sub, left, 1);
        self.alu(AluOp::Rsh, left, 63);
    }

    /// Follows the rule in r1.
    fn apply(&mut self, labels: &Labels) {
        let signal = self.asm.label();
        self.mov(Reg::R2, Reg::R1);
        self.alu(AluOp::And, Reg::R2, 0xff);
        for (kind, to) in
            [(Kind::Outermost, labels.end), (Kind::Unknown, labels.guess), (Kind::Signal, signal)]
        {
            self.asm.jump_if(JumpOp::Eq, true, Reg::R2, kind as i32, to);
        }
        self.named(Reg::R8, Reg::R1, 8);
        self.alu(AluOp::Arsh, Reg::R1, 32);
        self.alu(AluOp::Add, Reg::R8, Reg::R1);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R2, Kind::Memory as i32, labels.frame);
        self.mov(Reg::R3, Reg::R8);
        self.read_user(TEMPORARY, 8);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R0, 0, labels.cut);
        self.load(Reg::R3, Reg::R6, RBP);
        self.read_user(AT_RBP, 8);
        self.load(Reg::R8, Reg::R6, TEMPORARY);
        self.asm.jump(labels.frame);
        self.asm.bind(signal);
        // `ucontext_t` on top of the stack: rbp at 120, rbx, rdx, rax, rcx, rsp, rip.
        self.load(Reg::R3, Reg::R6, RSP);
        self.alu(AluOp::Add, Reg::R3, 120);
        self.read_user(0, 56);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R0, 0, labels.cut);
        for (from, to) in [(0, RBP), (8, RBX), (40, RSP)] {
            self.load(Reg::R1, Reg::R6, from);
            self.store(Reg::R6, to, Reg::R1);
        }
        self.set(R10, 0);
        self.set(BEFORE, 0);
        self.load(Reg::R9, Reg::R6, 48);
        self.asm.jump(labels.caller);
    }

    /// The value of the word whose number is in some byte of the rule in a register.
    fn named(&mut self, dst: Reg, rule: Reg, shift: i32) {
        self.mov(Reg::R3, rule);
        self.alu(AluOp::Rsh, Reg::R3, shift);
        self.alu(AluOp::And, Reg::R3, 15);
        self.alu(AluOp::Lsh, Reg::R3, 3);
        self.mov(Reg::R4, Reg::R6);
        self.alu(AluOp::Add, Reg::R4, Reg::R3);
        self.load(dst, Reg::R4, 0);
    }

    /// With the canonical frame address in r8: reads what is below it, restores the caller's registers.
    fn leave_frame(&mut self, labels: &Labels) {
        let read = self.asm.label();
        self.load(Reg::R1, Reg::R6, RSP);
        self.asm.jump_if(JumpOp::Le, true, Reg::R8, Reg::R1, labels.cut);
        self.mov(Reg::R3, Reg::R8);
        self.alu(AluOp::Sub, Reg::R3, 64);
        self.read_user(0, 64);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R0, 0, read);
        // The frame may be the first of a stack that is nothing but it.
        self.mov(Reg::R3, Reg::R8);
        self.alu(AluOp::Sub, Reg::R3, 8);
        self.read_user(56, 8);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R0, 0, labels.cut);
        self.asm.bind(read);
        self.load(Reg::R5, Reg::R6, RULE);
        self.named(Reg::R1, Reg::R5, 16);
        self.named(Reg::R2, Reg::R5, 24);
        self.store(Reg::R6, RBP, Reg::R1);
        self.store(Reg::R6, RBX, Reg::R2);
        self.store(Reg::R6, RSP, Reg::R8);
        self.set(R10, 0);
        self.set(BEFORE, 1);
        self.load(Reg::R9, Reg::R6, 56);
    }

    /// With the return address in r9.
    fn go_on(&mut self, labels: &Labels, head: Label) {
        let (replaced, next) = (self.asm.label(), self.asm.label());
        self.asm.jump_if(JumpOp::Eq, true, Reg::R9, 0, labels.end);
        self.load(Reg::R1, Reg::R6, REPLACED);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R9, Reg::R1, replaced);
        self.asm.bind(next);
        self.mov(Reg::R1, Reg::R9);
        self.alu(AluOp::Rsh, Reg::R1, ADDRESS_BITS);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R1, 0, labels.cut);
        self.store(Reg::R6, PC, Reg::R9);
        self.asm.jump(head);
        self.asm.bind(replaced);
        let Some(returns) = self.layout.returns.clone() else {
            self.asm.jump(labels.cut);
            return;
        };
        // Instances are kept from the innermost on, as frames are walked.
        let found = self.asm.label();
        self.load(Reg::R8, Reg::R6, RSP);
        self.alu(AluOp::Sub, Reg::R8, 8);
        self.load(Reg::R9, Reg::R6, INSTANCE);
        for _ in 0..INSTANCES {
            self.asm.jump_if(JumpOp::Eq, true, Reg::R9, 0, labels.cut);
            self.mov(Reg::R3, Reg::R9);
            self.read_kernel(TEMPORARY, 8, Reg::R3, returns.stack);
            self.load(Reg::R1, Reg::R6, TEMPORARY);
            self.asm.jump_if(JumpOp::Eq, true, Reg::R1, Reg::R8, found);
            self.mov(Reg::R3, Reg::R9);
            self.read_kernel(TEMPORARY, 8, Reg::R3, returns.next);
            self.load(Reg::R9, Reg::R6, TEMPORARY);
        }
        self.asm.jump(labels.cut);
        self.asm.bind(found);
        self.store(Reg::R6, INSTANCE, Reg::R9);
        self.mov(Reg::R3, Reg::R9);
        self.read_kernel(TEMPORARY, 8, Reg::R3, returns.original);
        self.load(Reg::R9, Reg::R6, TEMPORARY);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R9, 0, next);
        self.asm.jump(labels.cut);
    }

    /// Without a rule: at a function's first instruction the return address is on top of the stack; elsewhere frame
    /// pointers lead on, if anything does.
    fn guess(&mut self, labels: &Labels) {
        let chain = self.asm.label();
        self.load(Reg::R1, Reg::R6, IS_ENTRY);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, chain);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R7, 1, chain);
        self.asm.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::Value(Rule::ENTRY.to_word()) });
        self.store(Reg::R6, RULE, Reg::R1);
        self.load(Reg::R8, Reg::R6, RSP);
        self.alu(AluOp::Add, Reg::R8, 8);
        self.asm.jump(labels.frame);
        self.asm.bind(chain);
        self.load(Reg::R8, Reg::R6, RBP);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R8, 0, labels.end);
        self.load(Reg::R1, Reg::R6, RSP);
        self.asm.jump_if(JumpOp::Lt, true, Reg::R8, Reg::R1, labels.cut);
        self.mov(Reg::R3, Reg::R8);
        self.read_user(48, 16);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R0, 0, labels.cut);
        self.load(Reg::R1, Reg::R6, 48);
        self.store(Reg::R6, RBP, Reg::R1);
        self.alu(AluOp::Add, Reg::R8, 16);
        self.store(Reg::R6, RSP, Reg::R8);
        self.set(R10, 0);
        self.set(BEFORE, 1);
        self.load(Reg::R9, Reg::R6, 56);
        self.asm.jump(labels.caller);
    }

    /// Reads user memory at r3 into the state.
    fn read_user(&mut self, to: i16, bytes: i32) {
        self.state(Reg::R1, to);
        self.number(Reg::R2, bytes);
        self.asm.push(Insn::Call { helper: Helper::ProbeReadUser });
    }

    /// Reads kernel memory at an offset from r3 into the state; zeros where there is none.
    fn read_kernel(&mut self, to: i16, bytes: i32, base: Reg, offset: u32) {
        if base != Reg::R3 {
            self.mov(Reg::R3, base);
        }
        if offset != 0 {
            self.alu(AluOp::Add, Reg::R3, offset as i32);
        }
        self.state(Reg::R1, to);
        self.number(Reg::R2, bytes);
        self.asm.push(Insn::Call { helper: Helper::ProbeReadKernel });
    }

    /// The address of a part of the state.
    fn state(&mut self, dst: Reg, offset: i16) {
        self.mov(dst, Reg::R6);
        if offset != 0 {
            self.alu(AluOp::Add, dst, i32::from(offset));
        }
    }

    fn set(&mut self, offset: i16, number: i32) {
        let src = Src::Imm(number);
        self.asm.push(Insn::Store { size: Size::Dw, base: Reg::R6, off: offset, src });
    }

    fn load(&mut self, dst: Reg, base: Reg, off: i16) {
        self.asm.push(Insn::Load { size: Size::Dw, signed: false, dst, base, off });
    }

    fn load_word(&mut self, dst: Reg, base: Reg, off: i16) {
        self.asm.push(Insn::Load { size: Size::W, signed: false, dst, base, off });
    }

    fn store(&mut self, base: Reg, off: i16, src: Reg) {
        self.asm.push(Insn::Store { size: Size::Dw, base, off, src: Src::Reg(src) });
    }

    fn mov(&mut self, dst: Reg, src: Reg) {
        self.alu(AluOp::Mov, dst, src);
    }

    fn number(&mut self, dst: Reg, number: i32) {
        self.alu(AluOp::Mov, dst, number);
    }

    fn alu(&mut self, op: AluOp, dst: Reg, src: impl Into<Src>) {
        self.asm.push(Insn::Alu { op, wide: true, dst, src: src.into() });
    }

    fn map(&mut self, dst: Reg, map: u32) {
        self.asm.push(Insn::LoadImm64 { dst, value: Imm64::Map(map as i32) });
    }

    fn map_value(&mut self, dst: Reg, map: u32) {
        self.asm.push(Insn::LoadImm64 { dst, value: Imm64::MapValue { fd: map as i32, offset: 0 } });
    }
}
