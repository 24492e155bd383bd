//! Instruction selection: IR instructions to virtual code.
//!
//! A helper call is written as moves into r1 … r5, the call, and a move out of r0; allocation removes most of the
//! moves. Temporary memory of one IR instruction (keys, values to insert, read buffers) lies in an area of the frame
//! that the next instruction uses again.
//!
//! Rooms, in reading order: this file (the selector's tools, terminators), `entry` (what every program does first and
//! last), `sleep` (programs that fetch pages), `scalar`, `memory`, `string`, `compare`,
//! `bytes` (of any value, as text), `number` (as text), `find` (one string in another), `parse` and `piece` (strings that are taken apart),
//! `regex` and `matched`, `array`, `routine` (what helpers call back), `slice`, `visit` (`foreach`),
//! `statistic`, `bucket`, `variance`, `record` (what is sent, errors included),
//! `diagnostic` (what programs tell about themselves).

mod array;
mod bucket;
pub(super) mod bytes;
mod compare;
mod diagnostic;
pub(super) mod entry;
pub(super) mod find;
pub(super) mod matched;
mod memory;
mod moment;
mod number;
pub(super) mod parse;
pub(super) mod piece;
pub(super) mod quote;
mod record;
mod regex;
mod routine;
mod scalar;
pub(super) mod sleep;
mod slice;
pub(crate) mod stack;
mod statistic;
mod string;
mod substr;
mod variance;
mod visit;

use self::sleep::Sleep;
use super::loops::{self, Loop};
use super::sent;
use super::storage::{FRAME_KEY, Home, Storage};
use super::vcode::{Base, Constant, Label, MACHINE, Slot, SlotInfo, VBlock, VCode, VInsn, VReg, VSrc};
use super::{CodegenError, Shared, Wanted};
use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Reg, Size};
use crate::target::Target;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{
    Block, CmpOp, Dest, Function, GlobalId, Inst, Iter, LongOp, Module, PlaceId, StrVar, Term, UpdateOp, Var,
    Visitor,
};
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::{Manifest, Program};
use tracer_common::record::ErrorKind;

type Result<T = ()> = core::result::Result<T, CodegenError>;

/// Selects a program of the manifest.
pub(super) fn select(shared: &mut Shared<'_>, program: u32) -> Result<VCode> {
    let entry = &shared.manifest.programs[program as usize];
    let function = &shared.module.functions[entry.function.index()];
    let storage = Storage::new(function, shared.module, shared.layout);
    let sleep = shared.sleeps[program as usize].clone();
    let loops_inline = !shared.target.features.may_goto;
    let mut code =
        VCode { blocks: Vec::new(), registers: MACHINE, slots: Vec::new(), below: 0, loops_inline };
    let longs = (0..function.longs).map(|_| code.register()).collect();
    let ctx = code.register();
    let mut selector = Selector {
        uses: count_uses(function),
        frame_strings: vec![None; function.strings.len()],
        shared,
        entry,
        function,
        program,
        code,
        current: Label(0),
        place: function.blocks[0].term.1,
        labels: Vec::new(),
        longs,
        storage,
        ctx,
        sleep,
        held: None,
        row: None,
        scratch: None,
        ticks: None,
        temporary: 0,
        position: (0, 0),
        key_slots: Vec::new(),
        catch: None,
        plain_exit: Label(0),
        exit: Label(0),
        leave: Label(0),
        failure: None,
        caught: None,
        digits: Vec::new(),
        visits: Vec::new(),
    };
    selector.function()?;
    Ok(selector.code)
}

/// The block that reports errors, and the register that carries the record's address there.
#[derive(Clone, Copy)]
struct Failure {
    label: Label,
    record: VReg,
}

/// An argument of a helper call.
#[derive(Clone, Copy)]
enum Arg {
    Reg(VReg),
    Constant(Constant),
}

impl From<VReg> for Arg {
    fn from(reg: VReg) -> Arg {
        Arg::Reg(reg)
    }
}

impl From<i64> for Arg {
    fn from(number: i64) -> Arg {
        Arg::Constant(Constant::Number(number))
    }
}

impl From<u32> for Arg {
    fn from(number: u32) -> Arg {
        Arg::from(i64::from(number))
    }
}

impl From<Constant> for Arg {
    fn from(constant: Constant) -> Arg {
        Arg::Constant(constant)
    }
}

/// Memory at a base and an offset.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Memory {
    base: Base,
    off: i32,
}

impl Memory {
    fn at(self, more: u32) -> Memory {
        Memory { off: self.off + more as i32, ..self }
    }
}

struct Selector<'s, 'm> {
    shared: &'s mut Shared<'m>,
    entry: &'m Program,
    function: &'m Function,
    program: u32,
    code: VCode,
    current: Label,
    place: PlaceId,
    /// The label of each IR block.
    labels: Vec<Label>,
    longs: Vec<VReg>,
    /// How often each long register is read.
    uses: Vec<u32>,
    storage: Storage,
    frame_strings: Vec<Option<Memory>>,
    /// Block and index of the current instruction.
    position: (usize, usize),
    /// Frame slots of keys that strings are written into, by instruction.
    key_slots: Vec<((usize, usize), Memory)>,
    ctx: VReg,
    /// How the program sleeps, if it does.
    sleep: Option<Sleep>,
    /// Where a program that takes its locks late notes that it has.
    held: Option<Memory>,
    /// Address of this program's counters.
    row: Option<VReg>,
    /// Address of the claimed scratch slot.
    scratch: Option<VReg>,
    /// Statements so far.
    ticks: Option<VReg>,
    /// Bytes of the temporary area that the current instruction uses.
    temporary: u32,
    catch: Option<Block>,
    /// Ends a program that took nothing.
    plain_exit: Label,
    /// Gives back what was taken, and ends.
    exit: Label,
    /// Where the end of a handler leads: the plain exit while the hit is only looked at.
    leave: Label,
    failure: Option<Failure>,
    /// The address of the last caught fault.
    caught: Option<VReg>,
    /// Blocks that write a fault's address into the text and go to a catch block.
    digits: Vec<((ErrorKind, Block), Label)>,
    /// Iterators.
    visits: Vec<(Iter, visit::Visit)>,
}

impl Selector<'_, '_> {
    fn function(&mut self) -> Result {
        let first = self.block(false);
        self.current = first;
        self.exit = self.block(false);
        for _ in &self.function.blocks {
            let label = self.block(false);
            self.labels.push(label);
        }
        self.mark_loops();
        self.place_keys();
        self.open();
        if !self.function.has_guard() {
            self.enter()?;
        }
        self.jump(self.labels[0]);
        for (n, block) in self.function.blocks.iter().enumerate() {
            self.current = self.labels[n];
            self.catch = block.catch;
            let fused = self.fused(n);
            let count = block.insts.len() - usize::from(fused);
            for (index, (inst, place)) in block.insts[..count].iter().enumerate() {
                self.lock_late(n, index)?;
                self.position = (n, index);
                self.place = *place;
                self.temporary = 0;
                self.inst(inst)?;
                self.put_aside(inst);
            }
            self.place = block.term.1;
            self.lock_late(n, block.insts.len())?;
            self.temporary = 0;
            let compare = if fused { block.insts.last().map(|(inst, _)| inst) } else { None };
            self.term(&block.term.0, compare)?;
        }
        let heads = self.loop_heads();
        if self.shared.target.features.may_goto && !heads.is_empty() {
            self.converge(&heads);
        }
        self.close();
        self.initialise();
        Ok(())
    }

    /// Blocks that are reached again from themselves, each with the place of its end.
    fn loop_heads(&self) -> Vec<(Label, PlaceId)> {
        let blocks = &self.function.blocks;
        let again = |head: usize| {
            let mut seen = vec![false; blocks.len()];
            let mut work: Vec<usize> = blocks[head].term.0.successors().map(Block::index).collect();
            while let Some(n) = work.pop() {
                if n == head {
                    return true;
                }
                if !core::mem::replace(&mut seen[n], true) {
                    work.extend(blocks[n].term.0.successors().map(Block::index));
                    work.extend(blocks[n].catch.map(Block::index));
                }
            }
            false
        };
        // A loop is entered at its head: some jump to it comes from a later block of the text, or from itself.
        let back = |head: usize| {
            let targets =
                |n: usize| blocks[n].term.0.successors().chain(blocks[n].catch).any(|b| b.index() == head);
            (head..blocks.len()).any(targets)
        };
        let heads = (0..blocks.len()).filter(|n| back(*n) && again(*n));
        heads.map(|n| (self.labels[n], blocks[n].term.1)).collect()
    }

    fn converge(&mut self, heads: &[(Label, PlaceId)]) {
        let mut loops = Vec::with_capacity(heads.len());
        for (head, place) in heads {
            let out = self.block(true);
            self.place = *place;
            self.aside(out, |s| {
                s.catch = None;
                s.raise(ErrorKind::Action, 0);
            });
            loops.push(Loop { head: *head, out });
        }
        let zero = Constant::MapValue(self.shared.ledger(), ledger::ZERO);
        loops::converge(&mut self.code, &loops, zero);
    }

    /// Whether a block's last instruction is a comparison that only its own branch looks at.
    fn fused(&self, n: usize) -> bool {
        let block = &self.function.blocks[n];
        match (block.insts.last(), &block.term.0) {
            (Some((Inst::Cmp { dest, .. }, _)), Term::Branch { condition: LongOp::Var(var), .. }) => {
                dest == var && self.uses[var.index()] == 1
            }
            _ => false,
        }
    }

    fn inst(&mut self, inst: &Inst) -> Result {
        match inst {
            Inst::Copy { dest, value } => {
                let dst = self.longs[dest.index()];
                self.set(dst, *value);
                Ok(())
            }
            Inst::Bin { op, dest, left, right } => self.bin(*op, *dest, *left, *right),
            Inst::Cmp { op, dest, left, right } => {
                self.cmp(*op, *dest, *left, *right);
                Ok(())
            }
            Inst::Extend { dest, value, width } => {
                let dst = self.longs[dest.index()];
                self.set(dst, *value);
                self.extend(dst, *width);
                Ok(())
            }
            Inst::StrCopy { dest, value } => self.str_copy(*dest, *value),
            Inst::StrConcat { dest, left, right } => self.str_concat(*dest, *left, *right),
            Inst::StrCmp { op, dest, left, right } => self.str_cmp(*op, *dest, *left, *right),
            Inst::Call { intrinsic, dest, args } => self.intrinsic(*intrinsic, *dest, args),
            Inst::CallFunction { .. } => self.unsupported("a call of a function that was not inlined"),
            Inst::Context { dest, source, width } => self.context(*dest, *source, *width),
            Inst::Load { dest, space, address, offset, width, on_fault } => {
                self.load(*dest, *space, *address, *offset, *width, *on_fault)
            }
            Inst::Site { dest } => {
                let dst = self.longs[dest.index()];
                self.site_into(dst);
                Ok(())
            }
            Inst::SiteText { dest, fact } => self.site_text(*dest, *fact),
            Inst::Get { dest, element } => self.get(*dest, element),
            Inst::Set { element, value } => self.set_element(element, *value),
            Inst::Update { op, element, value, old, new } => self.update(*op, element, *value, *old, *new),
            Inst::Contains { dest, global, keys } => self.contains(*dest, *global, keys),
            Inst::Delete { global, keys } => self.delete(*global, keys),
            Inst::Clear { global } => self.clear(*global),
            Inst::Aggregate { element, value } => self.aggregate(element, *value),
            Inst::Emit { record, values } => self.emit_record(*record, values),
            Inst::Enter => self.enter(),
            Inst::Tick { count } => {
                self.tick(*count);
                Ok(())
            }
            Inst::Stat { dest, op, global, keys } => self.stat(*dest, *op, *global, keys),
            Inst::Format { dest, format, args } => self.format_number(*dest, *format, args),
            Inst::Caught { dest } => {
                self.caught_text(*dest);
                Ok(())
            }
            Inst::Iterate { iter, keys, sort, limit, .. } => self.iterate(*iter, keys, *sort, *limit),
            Inst::Bucket { dest, hist, element, index } => self.bucket(*dest, *hist, element, *index),
            Inst::VarsText { .. }
            | Inst::PrintHist { .. }
            | Inst::HistText { .. }
            | Inst::Print { .. }
            | Inst::IterateHist { .. } => {
                panic!("this is a bug: {inst:?} belongs to the user domain (pass 3; dump with -p3)")
            }
        }
    }

    fn term(&mut self, term: &Term, compare: Option<&Inst>) -> Result {
        match term {
            Term::Jump(to) => self.jump(self.labels[to.index()]),
            Term::Branch { condition, then, otherwise } => {
                let (then, otherwise) = (self.labels[then.index()], self.labels[otherwise.index()]);
                match (compare, condition) {
                    (Some(Inst::Cmp { op, left, right, .. }), _) => {
                        self.compare_jump(*op, *left, *right, then);
                    }
                    (_, LongOp::Imm(0)) => {}
                    (_, LongOp::Imm(_)) => {
                        self.jump(then);
                        return Ok(());
                    }
                    (_, LongOp::Var(var)) => {
                        let left = self.longs[var.index()];
                        self.jump_if(JumpOp::Ne, left, 0, then);
                    }
                }
                self.jump(otherwise);
            }
            // A handler returns nothing; inlined functions have no returns left.
            Term::Return(_) | Term::Next => self.jump(self.leave),
            Term::Raise(message) => return self.raise_message(*message),
            Term::IterNext { iter, keys, value, body, done } => {
                let (body, done) = (self.labels[body.index()], self.labels[done.index()]);
                return self.iter_next(*iter, (keys, *value), body, done);
            }
        }
        Ok(())
    }

    /// Numbers that wait for their record in the scratch slot go there at once.
    fn put_aside(&mut self, inst: &Inst) {
        if self.storage.sent.iter().all(Option::is_none) {
            return;
        }
        for var in sent::written(inst) {
            if let Some(home) = self.waiting(var) {
                self.store(Size::Dw, home, self.var(var));
            }
        }
    }

    /// Where a number waits for its record.
    fn waiting(&self, var: Var) -> Option<Memory> {
        let at = self.storage.sent[var.index()]?;
        let Some(scratch) = self.scratch else {
            panic!("this is a bug: a number waits without a scratch slot (codegen::sent)")
        };
        Some(Memory { base: Base::Reg(scratch), off: at as i32 })
    }

    // ---- tools

    fn block(&mut self, cold: bool) -> Label {
        self.code.blocks.push(VBlock { insns: Vec::new(), depth: 0, cold, ends_first: false });
        Label(self.code.blocks.len() as u32 - 1)
    }

    fn push(&mut self, insn: VInsn) {
        let place = self.place;
        self.code.blocks[self.current.0 as usize].insns.push((insn, place));
    }

    fn reg(&mut self) -> VReg {
        self.code.register()
    }

    fn mov(&mut self, dst: VReg, src: VReg) {
        self.push(VInsn::Move { dst, src });
    }

    fn constant(&mut self, dst: VReg, value: impl Into<i64>) {
        self.push(VInsn::Constant { dst, value: Constant::Number(value.into()) });
    }

    fn known(&mut self, value: Constant) -> VReg {
        let dst = self.reg();
        self.push(VInsn::Constant { dst, value });
        dst
    }

    fn alu(&mut self, op: AluOp, dst: VReg, src: impl Into<VSrc>) {
        self.push(VInsn::Alu { op, wide: true, dst, src: src.into() });
    }

    fn load_from(&mut self, size: Size, from: Memory) -> VReg {
        let dst = self.reg();
        self.push(VInsn::Load { size, dst, base: from.base, off: from.off });
        dst
    }

    fn store(&mut self, size: Size, to: Memory, src: impl Into<VSrc>) {
        self.push(VInsn::Store { size, base: to.base, off: to.off, src: src.into() });
    }

    fn jump(&mut self, to: Label) {
        self.push(VInsn::Jump { to });
    }

    fn jump_if(&mut self, op: JumpOp, left: VReg, right: impl Into<VSrc>, to: Label) {
        self.push(VInsn::JumpIf { op, wide: true, left, right: right.into(), to });
    }

    /// A number without a sign that is larger than `most` becomes `instead`.
    fn at_most(&mut self, number: VReg, most: u32, instead: u32) {
        let fine = self.block(false);
        self.jump_if(JumpOp::Le, number, most as i32, fine);
        self.constant(number, instead);
        self.jump(fine);
        self.at(fine);
    }

    /// Calls a helper; the result is in r0.
    fn call(&mut self, helper: Helper, args: &[Arg]) {
        for (n, arg) in args.iter().enumerate() {
            let dst = VReg(n as u32 + 1);
            match arg {
                Arg::Reg(src) => self.mov(dst, *src),
                Arg::Constant(value) => self.push(VInsn::Constant { dst, value: *value }),
            }
        }
        self.push(VInsn::Call { helper });
    }

    /// Calls a helper and keeps the result.
    fn call_for(&mut self, helper: Helper, args: &[Arg]) -> VReg {
        self.call(helper, args);
        let dst = self.reg();
        self.mov(dst, Reg::R0.into());
        dst
    }

    /// Calls a function of the object with an address, and keeps the result.
    fn call_function(&mut self, function: u32, memory: Memory) -> VReg {
        match self.address(memory) {
            Arg::Reg(src) => self.mov(Reg::R1.into(), src),
            Arg::Constant(value) => self.push(VInsn::Constant { dst: Reg::R1.into(), value }),
        }
        self.push(VInsn::CallFunction { function });
        let dst = self.reg();
        self.mov(dst, Reg::R0.into());
        dst
    }

    /// Continues in a block.
    fn at(&mut self, label: Label) {
        self.current = label;
    }

    /// Runs code in another block, then continues where we are.
    fn aside(&mut self, label: Label, code: impl FnOnce(&mut Self)) {
        let here = core::mem::replace(&mut self.current, label);
        code(self);
        self.current = here;
    }

    /// A long operand in a register that must not be written.
    fn read(&mut self, value: LongOp) -> VReg {
        match value {
            LongOp::Var(var) => self.longs[var.index()],
            LongOp::Imm(number) => self.known(Constant::Number(number)),
        }
    }

    /// A long operand as a right operand: a constant where it fits.
    fn source(&mut self, value: LongOp) -> VSrc {
        match value {
            LongOp::Imm(number) => match i32::try_from(number) {
                Ok(imm) => VSrc::Imm(imm),
                Err(_) => VSrc::Reg(self.known(Constant::Number(number))),
            },
            LongOp::Var(var) => VSrc::Reg(self.longs[var.index()]),
        }
    }

    /// `dst = value`
    fn set(&mut self, dst: VReg, value: LongOp) {
        match value {
            LongOp::Var(var) => self.mov(dst, self.longs[var.index()]),
            LongOp::Imm(number) => self.constant(dst, number),
        }
    }

    fn var(&self, var: Var) -> VReg {
        self.longs[var.index()]
    }

    /// Temporary frame memory for the current instruction, or scratch memory when it is large.
    fn temporary(&mut self, size: u32) -> Memory {
        let size = size.next_multiple_of(8);
        if size > FRAME_KEY {
            return self.area();
        }
        self.frame_temporary(size)
    }

    /// The same, in the frame however large it is.
    fn frame_temporary(&mut self, size: u32) -> Memory {
        self.code.slots.push(SlotInfo { size, temporary: Some(self.temporary) });
        self.temporary += size;
        Memory { base: Base::Slot(Slot(self.code.slots.len() as u32 - 1)), off: 0 }
    }

    /// The scratch slot's area for large temporaries.
    fn area(&self) -> Memory {
        let Some(scratch) = self.scratch else {
            panic!("this is a bug: a large temporary without a scratch slot (storage::Storage)")
        };
        Memory { base: Base::Reg(scratch), off: self.storage.area.0 as i32 }
    }

    /// Frame memory for the whole function.
    fn slot(&mut self, size: u32) -> Memory {
        self.code.slots.push(SlotInfo { size, temporary: None });
        Memory { base: Base::Slot(Slot(self.code.slots.len() as u32 - 1)), off: 0 }
    }

    /// Gives the keys that strings are written into memory of their own.
    fn place_keys(&mut self) {
        for inside in self.storage.inside.clone() {
            let memory = self.slot(inside.key_size.next_multiple_of(8));
            self.key_slots.push((inside.at, memory));
            self.frame_strings[inside.var.index()] = Some(memory.at(inside.offset));
        }
    }

    /// The address of memory, for a call.
    fn address(&mut self, memory: Memory) -> Arg {
        match memory.base {
            Base::Slot(slot) => Constant::Frame(slot, memory.off).into(),
            Base::Reg(reg) if memory.off == 0 => reg.into(),
            Base::Reg(reg) => {
                let dst = self.reg();
                self.mov(dst, reg);
                self.alu(AluOp::Add, dst, memory.off);
                dst.into()
            }
        }
    }

    /// Where a string register lives.
    fn home(&mut self, var: StrVar) -> Memory {
        match self.storage.homes[var.index()] {
            Home::Frame => match self.frame_strings[var.index()] {
                Some(memory) => memory,
                None => {
                    let size = u32::from(self.function.strings[var.index()]).next_multiple_of(8);
                    let memory = self.slot(size);
                    self.frame_strings[var.index()] = Some(memory);
                    memory
                }
            },
            Home::Scratch(at) => {
                let Some(scratch) = self.scratch else {
                    panic!("this is a bug: a string without a scratch slot (storage::Storage)")
                };
                Memory { base: Base::Reg(scratch), off: at as i32 }
            }
        }
    }

    fn capacity(&self, var: StrVar) -> u32 {
        u32::from(self.function.strings[var.index()])
    }

    /// Adds one to a counter of the ledger.
    fn count(&mut self, cell: Cell) {
        // The row's address is a constant that every program begins with: kept where a register is free.
        let Some(base) = self.row else { panic!("this is a bug: something is counted before the hit is") };
        let off = (ledger::offset(self.program, cell) - ledger::offset(self.program, Cell::Hits)) as i32;
        let one = self.known(Constant::Number(1));
        self.push(VInsn::Atomic { op: AtomicOp::Add, fetch: false, base, off, src: one });
        self.diagnose(cell);
    }

    /// What this kernel does not let a program do, and the first version that does.
    fn kernel_lacks(&self, what: &'static str, since: &'static str) -> Result {
        Err(CodegenError::Kernel { place: self.place, what, wanted: Wanted::Version(since) })
    }

    fn unsupported(&self, what: &str) -> Result {
        Err(CodegenError::Unsupported { place: self.place, what: String::from(what) })
    }

    /// Loop depth of blocks, by back edges in the order of the text: good enough for the price of spilling.
    fn mark_loops(&mut self) {
        for (from, block) in self.function.blocks.iter().enumerate() {
            for to in block.term.0.successors() {
                if to.index() <= from {
                    for n in to.index()..=from {
                        self.code.blocks[self.labels[n].0 as usize].depth += 1;
                    }
                }
            }
        }
    }
}

/// Globals that some program updates by and, or or xor, or whose old value it wants, on a kernel that has only an
/// atomic addition.
pub(super) fn fragile(module: &Module, manifest: &Manifest, target: &Target) -> Vec<GlobalId> {
    if target.features.atomics_fetch {
        return Vec::new();
    }
    let functions = manifest.programs.iter().map(|program| &module.functions[program.function.index()]);
    let mut found: Vec<GlobalId> = functions
        .flat_map(|function| &function.blocks)
        .flat_map(|block| &block.insts)
        .filter_map(|(inst, _)| match inst {
            Inst::Update { op, element, old, new, .. } => {
                (*op != UpdateOp::Add || old.is_some() || new.is_some()).then_some(element.global)
            }
            _ => None,
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Whether an instruction writes a global.
fn writes(inst: &Inst) -> Option<GlobalId> {
    match inst {
        Inst::Set { element, .. } | Inst::Update { element, .. } => Some(element.global),
        Inst::Clear { global } | Inst::Delete { global, .. } => Some(*global),
        _ => None,
    }
}

/// Counts reads of long registers.
struct Uses(Vec<u32>);

impl Visitor for Uses {
    fn read_long(&mut self, op: &LongOp) {
        if let LongOp::Var(var) = op {
            self.0[var.index()] += 1;
        }
    }
}

fn count_uses(function: &Function) -> Vec<u32> {
    let mut uses = Uses(vec![0; function.longs as usize]);
    for block in &function.blocks {
        for (inst, _) in &block.insts {
            inst.visit(&mut uses);
        }
        block.term.0.visit(&mut uses);
    }
    uses.0
}

/// The signed jump of a comparison.
fn jump_op(op: CmpOp) -> JumpOp {
    match op {
        CmpOp::Eq => JumpOp::Eq,
        CmpOp::Ne => JumpOp::Ne,
        CmpOp::Lt => JumpOp::Slt,
        CmpOp::Le => JumpOp::Sle,
        CmpOp::Gt => JumpOp::Sgt,
        CmpOp::Ge => JumpOp::Sge,
    }
}

/// The long register of a destination; pass 3 promised one.
fn long_dest(intrinsic: Intrinsic, dest: Option<Dest>) -> Option<Var> {
    match dest {
        Some(Dest::Long(var)) => Some(var),
        None => None,
        Some(Dest::Str(_)) => panic!("this is a bug: {} gives a long (ir::verify)", intrinsic.name()),
    }
}
