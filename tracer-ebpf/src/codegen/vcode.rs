//! Instructions over virtual registers: what selection makes and allocation colours.
//!
//! Registers 0 to 9 are the machine's own; all others are virtual. A call is written with its argument moves:
//! `r1 = …`, `call`, `x = r0`; allocation makes most of those moves disappear by giving the virtual register the
//! machine register's colour. Memory in the frame is named by slots, whose offsets are known only at emission.
//!
//! A block may end in several conditional jumps; it falls through to nothing: its last instruction is [`VInsn::Jump`]
//! or [`VInsn::Exit`].

use crate::isa::{AluOp, AtomicOp, Helper, JumpOp, Reg, Size};
use alloc::vec::Vec;
use tracer_common::ir::PlaceId;

/// A register, the machine's or a virtual one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct VReg(pub(crate) u32);

/// Registers below this number are the machine's.
pub(crate) const MACHINE: u32 = 10;

impl VReg {
    /// The machine register, if it is one.
    pub(crate) fn machine(self) -> Option<Reg> {
        if self.0 < MACHINE { Reg::new(self.0 as u8) } else { None }
    }
}

impl From<Reg> for VReg {
    fn from(reg: Reg) -> VReg {
        VReg(u32::from(reg.number()))
    }
}

/// A right operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VSrc {
    /// A register.
    Reg(VReg),
    /// A constant.
    Imm(i32),
}

impl From<VReg> for VSrc {
    fn from(reg: VReg) -> VSrc {
        VSrc::Reg(reg)
    }
}

impl From<i32> for VSrc {
    fn from(imm: i32) -> VSrc {
        VSrc::Imm(imm)
    }
}

/// A piece of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Slot(pub(crate) u32);

/// Where memory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// At an address.
    Reg(VReg),
    /// In the frame.
    Slot(Slot),
}

/// A basic block of virtual code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Label(pub(crate) u32);

/// A value that can be made again anywhere, without reading registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Constant {
    /// A number.
    Number(i64),
    /// A map, by index.
    Map(u32),
    /// An address in the first value of an array map.
    MapValue(u32, u32),
    /// The site's number, patched in before loading.
    Site,
    /// The address of a byte in a frame slot.
    Frame(Slot, i32),
    /// The address of a function of the object, by index: a callback.
    Function(u32),
}

/// One instruction over virtual registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum VInsn {
    /// `dst = src`
    Move { dst: VReg, src: VReg },
    /// `dst = constant`
    Constant { dst: VReg, value: Constant },
    /// `dst = dst op src`; negation reads `dst` alone.
    Alu { op: AluOp, wide: bool, dst: VReg, src: VSrc },
    /// `dst = (u32)src`
    Move32 { dst: VReg, src: VReg },
    /// `dst = (s8|s16|s32)src`, instruction set v4.
    SignExtend { bits: u8, dst: VReg, src: VReg },
    /// `dst = be64 dst`
    BigEndian { dst: VReg },
    /// `dst = *(size *)(base + off)`
    Load { size: Size, dst: VReg, base: Base, off: i32 },
    /// `*(size *)(base + off) = src`
    Store { size: Size, base: Base, off: i32, src: VSrc },
    /// Atomic on memory; with `fetch`, `src` receives the old value.
    Atomic { op: AtomicOp, fetch: bool, base: VReg, off: i32, src: VReg },
    /// Calls a helper with r1 … rN; clobbers r0 to r5.
    Call { helper: Helper },
    /// Calls a function of the object, by index, with r1; clobbers r0 to r5.
    CallFunction { function: u32 },
    /// Calls a function of the kernel, which has no arguments; clobbers r0 to r5.
    CallKernel { btf_id: i32 },
    /// Goes to a block.
    Jump { to: Label },
    /// Goes to a block when the comparison holds, else on to the next instruction.
    JumpIf { op: JumpOp, wide: bool, left: VReg, right: VSrc, to: Label },
    /// Goes on while the kernel's budget for loops lasts, then goes to a block.
    MayGoto { to: Label },
    /// Returns: 0 from a program; a callback also says with 1 that it has seen enough.
    Exit(i32),
}

/// A block of virtual code.
#[derive(Clone, Default, Debug)]
pub(crate) struct VBlock {
    /// Instructions, each with its place.
    pub(crate) insns: Vec<(VInsn, PlaceId)>,
    /// How deep in loops it is, for the cost of spilling.
    pub(crate) depth: u32,
    /// Whether it is on a path that errors take: laid out last.
    pub(crate) cold: bool,
    /// Whether its branch stays as it is, so that verifiers follow the jump behind it first, to its end, and forget it: they
    /// remember what they have not followed, at most 8192 branches.
    pub(crate) ends_first: bool,
}

/// A piece of the frame: size in bytes, a multiple of 8. Slots with the same `group` may share memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotInfo {
    pub(crate) size: u32,
    /// Offset inside the temporary area, for slots that live during one step only.
    pub(crate) temporary: Option<u32>,
}

/// A program over virtual registers.
#[derive(Clone, Debug)]
pub(crate) struct VCode {
    /// Blocks; the first is the entry.
    pub(crate) blocks: Vec<VBlock>,
    /// Number of registers, the machine's included.
    pub(crate) registers: u32,
    /// The frame.
    pub(crate) slots: Vec<SlotInfo>,
    /// Bytes of the frames of functions that it calls.
    pub(crate) below: u32,
    /// Whether cold code inside loops lies beside the hot (`loops`).
    pub(crate) loops_inline: bool,
}

impl VCode {
    /// Whether the cold successors of a block are to follow it.
    pub(crate) fn cold_falls_through(&self, block: &VBlock) -> bool {
        self.loops_inline && block.depth > 0
    }

    /// A new virtual register.
    pub(crate) fn register(&mut self) -> VReg {
        self.registers += 1;
        VReg(self.registers - 1)
    }
}

impl VInsn {
    /// Calls `visit` for every register that is read.
    pub(crate) fn uses(&self, mut visit: impl FnMut(VReg)) {
        let src = |s: &VSrc| if let VSrc::Reg(r) = s { Some(*r) } else { None };
        let base = |b: &Base| if let Base::Reg(r) = b { Some(*r) } else { None };
        match self {
            VInsn::Move { src, .. } | VInsn::Move32 { src, .. } | VInsn::SignExtend { src, .. } => {
                visit(*src);
            }
            VInsn::Constant { .. } | VInsn::Jump { .. } | VInsn::MayGoto { .. } | VInsn::Exit(_) => {}
            VInsn::BigEndian { dst } => visit(*dst),
            VInsn::Alu { dst, src: s, .. } => {
                visit(*dst);
                src(s).into_iter().for_each(visit);
            }
            VInsn::Load { base: b, .. } => base(b).into_iter().for_each(visit),
            VInsn::Store { base: b, src: s, .. } => {
                base(b).into_iter().for_each(&mut visit);
                src(s).into_iter().for_each(visit);
            }
            VInsn::Atomic { op, base, src, .. } => {
                visit(*base);
                visit(*src);
                if *op == AtomicOp::Cmpxchg {
                    visit(Reg::R0.into());
                }
            }
            VInsn::Call { helper } => (1..=helper.arity() as u32).map(VReg).for_each(visit),
            VInsn::CallFunction { .. } => visit(Reg::R1.into()),
            VInsn::CallKernel { .. } => {}
            VInsn::JumpIf { left, right, .. } => {
                visit(*left);
                src(right).into_iter().for_each(visit);
            }
        }
    }

    /// Calls `visit` for every register that is written.
    pub(crate) fn defs(&self, mut visit: impl FnMut(VReg)) {
        match self {
            VInsn::Move { dst, .. }
            | VInsn::Move32 { dst, .. }
            | VInsn::SignExtend { dst, .. }
            | VInsn::Constant { dst, .. }
            | VInsn::Alu { dst, .. }
            | VInsn::BigEndian { dst }
            | VInsn::Load { dst, .. } => visit(*dst),
            VInsn::Atomic { op, fetch, src, .. } => {
                if *op == AtomicOp::Cmpxchg {
                    visit(Reg::R0.into());
                } else if *fetch {
                    visit(*src);
                }
            }
            VInsn::Call { .. } | VInsn::CallFunction { .. } | VInsn::CallKernel { .. } => {
                (0..=5).map(VReg).for_each(visit);
            }
            VInsn::Store { .. }
            | VInsn::Jump { .. }
            | VInsn::JumpIf { .. }
            | VInsn::MayGoto { .. }
            | VInsn::Exit(_) => {}
        }
    }

    /// Replaces registers: `read` for those only read, `write` for those written (two-address ones included).
    pub(crate) fn map(&mut self, mut read: impl FnMut(VReg) -> VReg, mut write: impl FnMut(VReg) -> VReg) {
        let source = |s: &mut VSrc, read: &mut dyn FnMut(VReg) -> VReg| {
            if let VSrc::Reg(r) = s {
                *r = read(*r);
            }
        };
        let place = |b: &mut Base, read: &mut dyn FnMut(VReg) -> VReg| {
            if let Base::Reg(r) = b {
                *r = read(*r);
            }
        };
        match self {
            VInsn::Move { dst, src } | VInsn::Move32 { dst, src } | VInsn::SignExtend { dst, src, .. } => {
                *src = read(*src);
                *dst = write(*dst);
            }
            VInsn::Constant { dst, .. } | VInsn::BigEndian { dst } => *dst = write(*dst),
            VInsn::Alu { dst, src, .. } => {
                source(src, &mut read);
                *dst = write(*dst);
            }
            VInsn::Load { dst, base, .. } => {
                place(base, &mut read);
                *dst = write(*dst);
            }
            VInsn::Store { base, src, .. } => {
                place(base, &mut read);
                source(src, &mut read);
            }
            VInsn::Atomic { op, fetch, base, src, .. } => {
                *base = read(*base);
                *src = if *fetch && *op != AtomicOp::Cmpxchg { write(*src) } else { read(*src) };
            }
            VInsn::JumpIf { left, right, .. } => {
                *left = read(*left);
                source(right, &mut read);
            }
            VInsn::Call { .. }
            | VInsn::CallFunction { .. }
            | VInsn::CallKernel { .. }
            | VInsn::Jump { .. }
            | VInsn::MayGoto { .. }
            | VInsn::Exit(_) => {}
        }
    }

    /// Whether nothing but the written registers changes: it may go when those are dead.
    pub(crate) fn is_pure(&self) -> bool {
        match self {
            VInsn::Move { .. }
            | VInsn::Constant { .. }
            | VInsn::Alu { .. }
            | VInsn::Move32 { .. }
            | VInsn::SignExtend { .. }
            | VInsn::BigEndian { .. }
            | VInsn::Load { .. } => true,
            VInsn::Store { .. }
            | VInsn::Atomic { .. }
            | VInsn::Call { .. }
            | VInsn::CallFunction { .. }
            | VInsn::CallKernel { .. }
            | VInsn::Jump { .. }
            | VInsn::JumpIf { .. }
            | VInsn::MayGoto { .. }
            | VInsn::Exit(_) => false,
        }
    }
}

impl VBlock {
    /// The blocks that may follow.
    pub(crate) fn successors(&self) -> impl Iterator<Item = Label> {
        self.insns.iter().filter_map(|(insn, _)| match insn {
            VInsn::Jump { to } | VInsn::JumpIf { to, .. } | VInsn::MayGoto { to } => Some(*to),
            _ => None,
        })
    }
}
