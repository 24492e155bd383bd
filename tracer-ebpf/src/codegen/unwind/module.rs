//! Where a file is loaded in the process that was hit: a function of the object that programs call.
//!
//! A file is known by its inode, as in walks. Where it was found last in this process is remembered, as a place to look at
//! first; what is there is looked at each time, so that nothing wrong comes of a library that was unloaded, or of a
//! process that executed another program. Else all mappings of the process are looked at, in the order of their addresses.
//! Only what is mapped as code counts: programs also map files to read in them.
//!
//! **Not here:** who knows inodes (`tracer::run::unwind`), what is done with the address (`select::stack`).

use super::{
    CodegenError, END, EXECUTABLE, FLAGS, INODE, MM, Maps, PAGE_OFFSET, START, STATE as WALK, Shared, Walk,
    finish,
};
use crate::asm::{Assembler, FuncRef, Label};
use crate::isa::{AluOp, Helper, Insn, JumpOp, Reg};
use crate::target::{Mappings, Unwind};
use tracer_common::unwind;

/// Offsets in the state, besides those of mappings. The key of what is remembered: the task's memory, and which file, which the
/// caller sets.
const KEY: i16 = 0;
pub(in crate::codegen) const NUMBER: i16 = 8;
/// The inode of the file.
const WANTED: i16 = 16;
/// The answer.
const BASE: i16 = 24;
/// Where to go on: an address, or the next mapping itself.
const CURSOR: i16 = 32;
/// The end of what was found last in a maple tree.
pub(super) const LIMIT: i16 = 40;
/// Behind the largest node's pivots, a word that is 0.
const AFTER_PIVOTS: i16 = WALK as i16;
/// Bytes of the state.
pub(in crate::codegen) const STATE: u32 = WALK + 8;

/// Mappings that are looked at in a process: more than the kernel lets it have by default.
const MAPPINGS: i32 = 1 << 17;
/// Those that the kernel's verifier follows, where it has no loop.
const FOLLOWED: i32 = 1024;

/// Indices of the maps.
struct Files {
    modules: u32,
    hints: u32,
}

/// The function: its result is where the file's offset 0 would be, or 0.
pub(in crate::codegen) fn base(shared: &mut Shared<'_>, layout: &Unwind) -> Result<u32, CodegenError> {
    let files = Files {
        modules: shared.map(unwind::MODULES, || unwind::map(unwind::MODULES)),
        hints: shared.map(unwind::HINTS, || unwind::map(unwind::HINTS)),
    };
    let maps = Maps { files: 0, index: 0, rows: 0, rules: 0, records: 0 };
    let walk = || Walk { asm: Assembler::new(), layout, maps, limits: true };
    let step = if shared.target.features.bpf_loop {
        let code = finish(walk().write_mapping())?;
        Some(FuncRef(shared.function("module_step".into(), || code)))
    } else {
        None
    };
    let code = finish(walk().write_base(&files, step))?;
    Ok(shared.function("module_base".into(), || code))
}

impl Walk<'_> {
    fn write_base(mut self, files: &Files, step: Option<FuncRef>) -> Assembler {
        let (end, all, found) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.mov(Reg::R6, Reg::R1);
        self.set(BASE, 0);
        self.set(AFTER_PIVOTS, 0);
        self.task_memory(end);
        self.store(Reg::R6, KEY, Reg::R1);
        self.map(Reg::R1, files.modules);
        self.state(Reg::R2, NUMBER);
        self.asm.push(Insn::Call { helper: Helper::MapLookupElem });
        self.asm.jump_if(JumpOp::Eq, true, Reg::R0, 0, end);
        self.load(Reg::R1, Reg::R0, 0);
        self.store(Reg::R6, WANTED, Reg::R1);
        self.map(Reg::R1, files.hints);
        self.state(Reg::R2, KEY);
        self.asm.push(Insn::Call { helper: Helper::MapLookupElem });
        self.asm.jump_if(JumpOp::Eq, true, Reg::R0, 0, all);
        self.load(Reg::R8, Reg::R0, 0);
        self.find_mapping(all);
        self.is_wanted(end);
        self.asm.bind(all);
        self.first_mapping();
        if let Some(step) = step {
            self.repeat(step, MAPPINGS);
        } else {
            let head = self.asm.label();
            self.number(Reg::R7, 0);
            self.asm.bind(head);
            self.asm.jump_if(JumpOp::Ge, true, Reg::R7, FOLLOWED, found);
            self.alu(AluOp::Add, Reg::R7, 1);
            self.mapping(head, found);
        }
        self.asm.bind(found);
        self.load(Reg::R1, Reg::R6, BASE);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, end);
        self.map(Reg::R1, files.hints);
        self.state(Reg::R2, KEY);
        self.state(Reg::R3, START);
        self.number(Reg::R4, 0);
        self.asm.push(Insn::Call { helper: Helper::MapUpdateElem });
        self.asm.bind(end);
        self.load(Reg::R0, Reg::R6, BASE);
        self.asm.push(Insn::Exit);
        self.asm
    }

    /// One mapping, as the kernel's loop calls it: with its number, and the address of the state's.
    fn write_mapping(mut self) -> Assembler {
        let (again, end) = (self.asm.label(), self.asm.label());
        self.load(Reg::R6, Reg::R2, 0);
        self.mapping(again, end);
        for (label, result) in [(end, 1), (again, 0)] {
            self.asm.bind(label);
            self.number(Reg::R0, result);
            self.asm.push(Insn::Exit);
        }
        self.asm
    }

    /// Sets [`BASE`] and jumps where the mapping is the file's code.
    fn is_wanted(&mut self, yes: Label) {
        let other = self.asm.label();
        self.load(Reg::R1, Reg::R6, INODE);
        self.load(Reg::R2, Reg::R6, WANTED);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R1, Reg::R2, other);
        self.load(Reg::R1, Reg::R6, FLAGS);
        self.alu(AluOp::And, Reg::R1, EXECUTABLE);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, other);
        self.load(Reg::R1, Reg::R6, START);
        self.load(Reg::R2, Reg::R6, PAGE_OFFSET);
        self.alu(AluOp::Lsh, Reg::R2, 12);
        self.alu(AluOp::Sub, Reg::R1, Reg::R2);
        self.store(Reg::R6, BASE, Reg::R1);
        self.asm.jump(yes);
        self.asm.bind(other);
    }

    fn first_mapping(&mut self) {
        match self.layout.mappings {
            Mappings::RedBlack { first, .. } => {
                self.load(Reg::R3, Reg::R6, MM);
                self.read_kernel(CURSOR, 8, Reg::R3, first);
            }
            Mappings::Maple { .. } => self.set(CURSOR, 0),
        }
    }

    /// Looks at the next mapping: goes on at `again`, or at `end` where it is the file's, or the last.
    fn mapping(&mut self, again: Label, end: Label) {
        match self.layout.mappings {
            Mappings::RedBlack { next, .. } => {
                self.load(Reg::R9, Reg::R6, CURSOR);
                self.asm.jump_if(JumpOp::Eq, true, Reg::R9, 0, end);
                self.read_kernel(CURSOR, 8, Reg::R9, next);
                self.read_kernel(START, 16, Reg::R9, self.layout.vm_start);
                self.read_mapping();
                self.is_wanted(end);
                self.asm.jump(again);
            }
            Mappings::Maple { .. } => {
                let missing = self.asm.label();
                self.load(Reg::R8, Reg::R6, CURSOR);
                self.set(LIMIT, 0);
                self.find_mapping(missing);
                self.is_wanted(end);
                self.load(Reg::R1, Reg::R6, END);
                self.store(Reg::R6, CURSOR, Reg::R1);
                self.asm.jump(again);
                self.asm.bind(missing);
                self.load(Reg::R1, Reg::R6, LIMIT);
                self.asm.jump_if(JumpOp::Le, true, Reg::R1, Reg::R8, end);
                self.store(Reg::R6, CURSOR, Reg::R1);
                self.asm.jump(again);
            }
        }
    }
}
