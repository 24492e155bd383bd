//! A userspace BPF machine for tests: runs what the code generator made, and is stricter than the kernel.
//!
//! Everything a program touches is a region of one flat address space with gaps between regions: the stack, the
//! context, map values, reserved records, constants, and the user and kernel memory that a test lays out. **Every
//! byte knows whether it was written**: reading a register, stack byte or record byte that was not, or handing one to
//! a helper, is a fault. So a run that ends proves that no old byte reached userspace on its path. Reservations that
//! were not given back, writes to constants, unaligned stack accesses and wrong argument kinds are faults too.
//!
//! A [`Thread`] can be stepped, so that tests interleave programs at any instruction; CPUs are data
//! ([`Machine::cpu`]).
//!
//! Rooms, in reading order: this file (threads, jumps, loads and stores), `memory` (regions), `alu`, `map`, `helpers`.
//!
//! **Not here:** the kernel's verifier; that a program is *accepted* is shown by loading it.

mod alu;
mod helpers;
mod map;
mod memory;

use crate::asm::Code;
use crate::isa::{AtomicOp, Helper, Imm64, Insn, JumpOp, Reg, Size, Src, Text};
use crate::link::link;
use crate::object::Parts;
use crate::target::Stay;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use map::Map;
pub use memory::Space;
use memory::{Kind, Memory};

/// A program did what a correct one does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The slot of the instruction.
    pub slot: usize,
    /// The instruction and what is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", self.slot, self.message)
    }
}

type Result<T = ()> = core::result::Result<T, String>;

/// Who runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Thread group.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name, at most 15 bytes.
    pub comm: Vec<u8>,
    /// Return addresses of its user stack.
    pub stack: Vec<u64>,
    /// Whether the kernel pads a name that it copies with zeros.
    pub padded: bool,
    /// Address of its `task_struct`.
    pub address: u64,
}

/// What the context argument is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Context {
    /// `struct pt_regs`, by words: may be read in parts.
    Registers(Vec<u64>),
    /// Words that may only be read whole.
    Words(Vec<u64>),
}

/// The world around programs: maps, memory, clock, task.
pub struct Machine {
    memory: Memory,
    maps: Vec<Map>,
    /// Linked programs: instructions by slot.
    programs: Vec<Vec<Option<Insn>>>,
    /// Whether each may sleep.
    sleepable: Vec<bool>,
    /// The CPU that runs.
    pub cpu: u32,
    cpus: u32,
    /// CLOCK_MONOTONIC; each reading adds [`Machine::tick`].
    pub clock: u64,
    /// Nanoseconds between readings of the clock.
    pub tick: u64,
    /// The current task.
    pub task: Task,
    /// What `bpf_get_attach_cookie` gives.
    pub cookie: u64,
    /// What `bpf_get_func_ip` gives.
    pub function: u64,
    /// The number of arguments of a function that is traced by trampoline: its result is the next word of the context.
    pub arguments: Option<u64>,
    /// Offsets of lock words in the map of scalars: no program sleeps while one of them is set.
    pub locks: Vec<u32>,
    /// The kernel functions that keep a program on its CPU.
    pub stay: Option<Stay>,
    /// How often programs slept.
    pub sleeps: u32,
    /// Whether the larger frames of programs without a tail call are memory of the CPU, as Linux 6.13 has it for kprobe
    /// programs: nothing keeps those of uprobes apart.
    pub private_stack: bool,
    /// Such frames, by program and CPU.
    private: BTreeMap<(usize, u32), u64>,
    /// Instructions that one run may take.
    pub fuel: u64,
    /// Records that were sent.
    pub records: Vec<Vec<u8>>,
    /// Diagnostics sent, oldest first.
    pub logs: Vec<Vec<u8>>,
    /// Bytes that the ring still takes; a record takes its size rounded up to 8, and 8 more.
    pub ring_room: usize,
}

/// A run in progress.
pub struct Thread {
    program: usize,
    pc: usize,
    regs: [Option<u64>; 11],
    frames: Vec<Frame>,
    reserved: Vec<u64>,
    reserved_sizes: Vec<usize>,
    cpu: u32,
    fuel: u64,
    /// How often it asked to stay on its CPU, and did not take it back.
    stays: u32,
    done: Option<u64>,
}

/// A caller's state.
struct Frame {
    back: usize,
    kept: [Option<u64>; 5],
    stack: u64,
}

/// Bytes of a frame.
const STACK: u64 = 512;

/// Whether the kernel has the first frame of a program elsewhere: it has 64 bytes, rounded up, and makes no tail call.
/// `check_max_stack_depth` in kernel/bpf/verifier.c.
fn is_private(program: &[Option<Insn>]) -> bool {
    let depth = |insn: &Insn| match *insn {
        Insn::Store { base: Reg::FRAME, off, .. } | Insn::Load { base: Reg::FRAME, off, .. } => {
            -i32::from(off)
        }
        Insn::Alu { op: crate::isa::AluOp::Add, src: Src::Imm(off), .. } => -off,
        _ => 0,
    };
    let calls = |insn: &Insn| matches!(insn, Insn::Call { helper: Helper::TAIL_CALL });
    let insns = || program.iter().flatten();
    insns().map(depth).max().unwrap_or(0) > 48 && !insns().any(calls)
}

impl Machine {
    /// Makes the maps and links the programs.
    pub fn new(parts: &Parts, cpus: u32) -> Machine {
        let mut memory = Memory::default();
        let maps = parts.maps.iter().map(|spec| Map::new(spec, cpus, &parts.rodata, &mut memory)).collect();
        let functions: Vec<&Code> = parts.functions.iter().map(|function| &function.code).collect();
        Machine {
            memory,
            maps,
            programs: parts
                .programs
                .iter()
                .map(|program| slots(&link(&program.code, &functions).code))
                .collect(),
            sleepable: parts.programs.iter().map(|program| program.sleepable).collect(),
            cpu: 0,
            cpus,
            clock: 1_000_000,
            tick: 1000,
            task: Task {
                pid: 100,
                tid: 101,
                uid: 1000,
                gid: 1001,
                comm: b"task".to_vec(),
                stack: Vec::new(),
                padded: false,
                address: 0,
            },
            cookie: 0,
            function: 0,
            arguments: None,
            locks: Vec::new(),
            stay: None,
            sleeps: 0,
            private_stack: false,
            private: BTreeMap::new(),
            fuel: 1_000_000,
            records: Vec::new(),
            logs: Vec::new(),
            ring_room: 1 << 20,
        }
    }

    /// Lays out memory that programs can read.
    pub fn lay_out(&mut self, space: Space, address: u64, bytes: &[u8]) {
        self.memory.lay_out(space, address, bytes);
    }

    /// Takes the page at an address of the user's out of memory, until somebody sleeps for it.
    pub fn page_out(&mut self, address: u64) {
        self.memory.page_out(address);
    }

    /// Replaces an instruction, as a loader does that patches a site's number in.
    pub fn patch(&mut self, program: usize, slot: usize, insn: Insn) {
        if let Some(place) = self.programs[program].get_mut(slot) {
            *place = Some(insn);
        }
    }

    /// Runs a program to its end; the result is r0.
    pub fn run(&mut self, program: usize, context: &Context) -> core::result::Result<u64, Fault> {
        let mut thread = self.start(program, context);
        loop {
            if let Some(result) = self.step(&mut thread)? {
                return Ok(result);
            }
        }
    }

    /// Starts a program on the current CPU.
    pub fn start(&mut self, program: usize, context: &Context) -> Thread {
        let (words, kind) = match context {
            Context::Registers(words) => (words, Kind::Registers),
            Context::Words(words) => (words, Kind::Words),
        };
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let context = self.memory.add_written(kind, &bytes);
        let stack = self.first_frame(program);
        let mut regs = [None; 11];
        regs[1] = Some(context);
        regs[10] = Some(stack + STACK);
        Thread {
            program,
            pc: 0,
            regs,
            frames: Vec::new(),
            reserved: Vec::new(),
            reserved_sizes: Vec::new(),
            cpu: self.cpu,
            fuel: self.fuel,
            stays: 0,
            done: None,
        }
    }

    /// The frame of a program that starts.
    fn first_frame(&mut self, program: usize) -> u64 {
        if !self.private_stack || !is_private(&self.programs[program]) {
            return self.memory.add(Kind::Stack, STACK as usize);
        }
        let memory = &mut self.memory;
        *self.private.entry((program, self.cpu)).or_insert_with(|| memory.add(Kind::Stack, STACK as usize))
    }

    /// Runs one instruction; `Some` is the end, with r0.
    pub fn step(&mut self, thread: &mut Thread) -> core::result::Result<Option<u64>, Fault> {
        if thread.done.is_some() {
            return Ok(thread.done);
        }
        let slot = thread.pc;
        let fault = |message: String| Fault { slot, message };
        let Some(Some(insn)) = self.programs[thread.program].get(slot).copied() else {
            return Err(fault("runs past the end of the code".into()));
        };
        thread.fuel = thread.fuel.checked_sub(1).ok_or_else(|| fault("runs too long".into()))?;
        let cpu = core::mem::replace(&mut self.cpu, thread.cpu);
        let outcome = self.execute(thread, &insn);
        self.cpu = cpu;
        outcome.map_err(|message| fault(format!("{}: {message}", Text(&insn))))?;
        Ok(thread.done)
    }

    fn execute(&mut self, thread: &mut Thread, insn: &Insn) -> Result {
        let next = thread.pc + insn.slots();
        let jump = |off: i32| (next as i64 + i64::from(off)) as usize;
        let mut to = next;
        match *insn {
            Insn::Alu { op, wide, dst, src } => {
                let right = thread.src(src, op != crate::isa::AluOp::Neg)?;
                let left = if op == crate::isa::AluOp::Mov { 0 } else { thread.read(dst)? };
                thread.write(dst, alu::alu(op, wide, left, right)?)?;
            }
            Insn::MovSx { wide, bits, dst, src } => {
                thread.write(dst, alu::sign_extend(wide, bits, thread.read(src)?))?;
            }
            Insn::Endian { to, bits, dst } => {
                thread.write(dst, alu::endian(to, bits, thread.read(dst)?))?;
            }
            Insn::Load { size, signed, dst, base, off } => {
                let value = self.load(thread, size, base, off)?;
                let bits = size.bytes() as u8 * 8;
                thread.write(dst, if signed { alu::sign_extend(true, bits, value) } else { value })?;
            }
            Insn::Store { size, base, off, src } => {
                let value = thread.src(src, true)?;
                let address = thread.address(base, off, size)?;
                self.memory.write(address, &value.to_le_bytes()[..size.bytes() as usize])?;
            }
            Insn::Atomic { op, fetch, wide, base, off, src } => {
                self.atomic(thread, op, fetch, wide, (base, off), src)?;
            }
            Insn::LoadImm64 { dst, value } => {
                let value = match value {
                    Imm64::Value(value) => value,
                    Imm64::Map(map) => self.map(map)?.address,
                    Imm64::MapValue { fd, offset } => {
                        let map = self.map(fd)?;
                        map.first().ok_or("no direct values in this map")? + u64::from(offset)
                    }
                    // From the load's second slot.
                    Imm64::Func(off) => (next as i64 - 1 + i64::from(off)) as u64,
                };
                thread.write(dst, value)?;
            }
            Insn::Jump { off } => to = jump(off.into()),
            Insn::JumpFar { off } => to = jump(off),
            Insn::JumpIf { op, wide, left, right, off } => {
                let (left, right) = (thread.read(left)?, thread.src(right, true)?);
                if holds(op, wide, left, right) {
                    to = jump(off.into());
                }
            }
            Insn::MayGoto { .. } => {}
            Insn::Call { helper } => self.call(thread, helper)?,
            Insn::CallLocal { off } => {
                if thread.frames.len() == 7 {
                    return Err("more than 8 frames".into());
                }
                let stack = self.memory.add(Kind::Stack, STACK as usize);
                let r = &thread.regs;
                thread.frames.push(Frame { back: next, kept: [r[6], r[7], r[8], r[9], r[10]], stack });
                thread.regs[0] = None;
                thread.regs[6..10].fill(None);
                thread.regs[10] = Some(stack + STACK);
                to = jump(off);
            }
            Insn::CallKfunc { btf_id } => {
                match self.stay {
                    Some(stay) if btf_id == stay.begin => thread.stays += 1,
                    Some(stay) if btf_id == stay.end => {
                        let less = thread.stays.checked_sub(1);
                        thread.stays = less.ok_or("a program leaves a CPU that it was free to leave")?;
                    }
                    _ => return Err("other kernel functions are not emulated".into()),
                }
                thread.regs[..6].fill(None);
            }
            Insn::Exit => {
                let result = thread.read(Reg::R0)?;
                match thread.frames.pop() {
                    Some(frame) => {
                        thread.regs[6..11].copy_from_slice(&frame.kept);
                        thread.regs[1..6].fill(None);
                        self.memory.remove(frame.stack);
                        to = frame.back;
                    }
                    None if !thread.reserved.is_empty() => return Err("a record was not submitted".into()),
                    None if thread.stays > 0 => return Err("a program ends that keeps its CPU".into()),
                    None => thread.done = Some(result),
                }
            }
        }
        thread.pc = to;
        Ok(())
    }

    fn load(&mut self, thread: &Thread, size: Size, base: Reg, off: i16) -> Result<u64> {
        let address = thread.address(base, off, size)?;
        if self.memory.kind_at(address) == Some(Kind::Words) && (size != Size::Dw || address % 8 != 0) {
            return Err("a word of the context is read in part".into());
        }
        let mut bytes = [0; 8];
        let count = size.bytes() as usize;
        bytes[..count].copy_from_slice(&self.memory.read(address, count)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn atomic(
        &mut self,
        thread: &mut Thread,
        op: AtomicOp,
        fetch: bool,
        wide: bool,
        (base, off): (Reg, i16),
        src: Reg,
    ) -> Result {
        let size = if wide { Size::Dw } else { Size::W };
        let old = self.load(thread, size, base, off)?;
        let operand = thread.read(src)?;
        let cut = |value: u64| if wide { value } else { u64::from(value as u32) };
        let new = match op {
            AtomicOp::Add => old.wrapping_add(operand),
            AtomicOp::Or => old | operand,
            AtomicOp::And => old & operand,
            AtomicOp::Xor => old ^ operand,
            AtomicOp::Xchg => operand,
            AtomicOp::Cmpxchg if cut(thread.read(Reg::R0)?) == old => operand,
            AtomicOp::Cmpxchg => old,
        };
        let address = thread.address(base, off, size)?;
        self.memory.write(address, &new.to_le_bytes()[..size.bytes() as usize])?;
        match op {
            AtomicOp::Cmpxchg => thread.write(Reg::R0, old),
            _ if fetch => thread.write(src, old),
            _ => Ok(()),
        }
    }

    fn call(&mut self, thread: &mut Thread, helper: Helper) -> Result {
        let mut args = [0; 5];
        for (n, arg) in args.iter_mut().enumerate().take(helper.arity()) {
            *arg = thread.regs[n + 1].ok_or_else(|| format!("r{} was not written", n + 1))?;
        }
        let result = helpers::call(self, thread, helper, &args)?;
        thread.regs[1..6].fill(None);
        thread.regs[0] = result;
        Ok(())
    }

    fn map(&self, index: i32) -> Result<&Map> {
        usize::try_from(index).ok().and_then(|index| self.maps.get(index)).ok_or("no such map".into())
    }
}

impl Thread {
    /// Whether it may be preempted now.
    pub fn may_be_preempted(&self) -> bool {
        self.stays == 0
    }

    /// The slot that runs next.
    pub fn slot(&self) -> usize {
        self.pc
    }

    fn read(&self, reg: Reg) -> Result<u64> {
        self.regs[reg.index()].ok_or_else(|| format!("{reg} was not written"))
    }

    fn write(&mut self, reg: Reg, value: u64) -> Result {
        if reg == Reg::FRAME {
            return Err("the frame pointer is read-only".into());
        }
        self.regs[reg.index()] = Some(value);
        Ok(())
    }

    fn src(&self, src: Src, wanted: bool) -> Result<u64> {
        match src {
            Src::Imm(imm) => Ok(i64::from(imm) as u64),
            Src::Reg(reg) if wanted => self.read(reg),
            Src::Reg(_) => Ok(0),
        }
    }

    /// An address; accesses to the stack must be aligned.
    fn address(&self, base: Reg, off: i16, size: Size) -> Result<u64> {
        let address = self.read(base)?.wrapping_add(i64::from(off) as u64);
        if base == Reg::FRAME && !address.is_multiple_of(u64::from(size.bytes())) {
            return Err("an unaligned access to the stack".into());
        }
        Ok(address)
    }
}

/// Instructions by slot.
fn slots(code: &Code) -> Vec<Option<Insn>> {
    let mut slots = alloc::vec![None; code.slots()];
    for (slot, insn) in &code.insns {
        slots[*slot] = Some(*insn);
    }
    slots
}

fn holds(op: JumpOp, wide: bool, left: u64, right: u64) -> bool {
    let (left, right, sleft, sright) = if wide {
        (left, right, left as i64, right as i64)
    } else {
        let (left, right) = (left as u32, right as u32);
        (left.into(), right.into(), i64::from(left as i32), i64::from(right as i32))
    };
    match op {
        JumpOp::Eq => left == right,
        JumpOp::Ne => left != right,
        JumpOp::Gt => left > right,
        JumpOp::Ge => left >= right,
        JumpOp::Lt => left < right,
        JumpOp::Le => left <= right,
        JumpOp::Sgt => sleft > sright,
        JumpOp::Sge => sleft >= sright,
        JumpOp::Slt => sleft < sright,
        JumpOp::Sle => sleft <= sright,
        JumpOp::Set => left & right != 0,
    }
}
