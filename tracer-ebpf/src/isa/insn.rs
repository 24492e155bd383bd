//! The instruction as we think of it.

use super::helper::Helper;
use super::reg::Reg;

/// Width of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Size {
    /// One byte.
    B,
    /// Two bytes.
    H,
    /// Four bytes.
    W,
    /// Eight bytes.
    Dw,
}

impl Size {
    /// Number of bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::Dw => 8,
        }
    }

    /// The size of so many bytes: 1, 2, 4 or 8.
    pub fn from_bytes(bytes: u32) -> Option<Size> {
        [Size::B, Size::H, Size::W, Size::Dw].into_iter().find(|size| size.bytes() == bytes)
    }
}

/// Two-address arithmetic: `dst = dst op src`; `Mov` and `Neg` read one operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AluOp {
    /// `+=`
    Add,
    /// `-=`
    Sub,
    /// `*=`
    Mul,
    /// Unsigned `/=`; by 0 gives 0.
    Div,
    /// Signed `/=` (instruction set v4).
    Sdiv,
    /// `|=`
    Or,
    /// `&=`
    And,
    /// `<<=`
    Lsh,
    /// `>>=`
    Rsh,
    /// `= -dst`; the source is not read.
    Neg,
    /// Unsigned `%=`; by 0 leaves `dst`.
    Mod,
    /// Signed `%=` (instruction set v4).
    Smod,
    /// `^=`
    Xor,
    /// `=`
    Mov,
    /// `s>>=`
    Arsh,
}

/// Comparison of a conditional jump.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JumpOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// Unsigned `>`
    Gt,
    /// Unsigned `>=`
    Ge,
    /// Unsigned `<`
    Lt,
    /// Unsigned `<=`
    Le,
    /// Signed `>`
    Sgt,
    /// Signed `>=`
    Sge,
    /// Signed `<`
    Slt,
    /// Signed `<=`
    Sle,
    /// `left & right` is not 0
    Set,
}

impl JumpOp {
    /// The comparison that holds exactly when this one does not; `Set` has none.
    pub fn negated(self) -> Option<JumpOp> {
        Some(match self {
            JumpOp::Eq => JumpOp::Ne,
            JumpOp::Ne => JumpOp::Eq,
            JumpOp::Gt => JumpOp::Le,
            JumpOp::Le => JumpOp::Gt,
            JumpOp::Ge => JumpOp::Lt,
            JumpOp::Lt => JumpOp::Ge,
            JumpOp::Sgt => JumpOp::Sle,
            JumpOp::Sle => JumpOp::Sgt,
            JumpOp::Sge => JumpOp::Slt,
            JumpOp::Slt => JumpOp::Sge,
            JumpOp::Set => return None,
        })
    }

    /// The comparison with its operands exchanged.
    pub fn swapped(self) -> JumpOp {
        match self {
            JumpOp::Eq | JumpOp::Ne | JumpOp::Set => self,
            JumpOp::Gt => JumpOp::Lt,
            JumpOp::Lt => JumpOp::Gt,
            JumpOp::Ge => JumpOp::Le,
            JumpOp::Le => JumpOp::Ge,
            JumpOp::Sgt => JumpOp::Slt,
            JumpOp::Slt => JumpOp::Sgt,
            JumpOp::Sge => JumpOp::Sle,
            JumpOp::Sle => JumpOp::Sge,
        }
    }
}

/// Atomic read-modify-write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AtomicOp {
    /// `+=`
    Add,
    /// `|=`
    Or,
    /// `&=`
    And,
    /// `^=`
    Xor,
    /// Exchange; always fetches.
    Xchg,
    /// Compare with r0 and exchange; r0 receives the old value.
    Cmpxchg,
}

/// What an endian instruction makes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endian {
    /// Host to little endian.
    Little,
    /// Host to big endian.
    Big,
    /// Unconditional swap (instruction set v4).
    Swap,
}

/// The right operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Src {
    /// A register.
    Reg(Reg),
    /// A constant, sign-extended to the width of the operation.
    Imm(i32),
}

impl From<Reg> for Src {
    fn from(reg: Reg) -> Src {
        Src::Reg(reg)
    }
}

impl From<i32> for Src {
    fn from(imm: i32) -> Src {
        Src::Imm(imm)
    }
}

/// What a two-slot load puts into a register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64 {
    /// A number.
    Value(u64),
    /// A map, by file descriptor.
    Map(i32),
    /// The address of a byte in the first value of an array map.
    MapValue {
        /// File descriptor.
        fd: i32,
        /// Offset in the value.
        offset: u32,
    },
    /// A function of the program, as an offset in slots from the load's second slot: a callback.
    Func(i32),
}

/// One instruction. Jump offsets count slots from the end of the instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the variant's sentence names its fields")]
pub enum Insn {
    /// Arithmetic on 64 bits, or on the low 32 with the upper half cleared.
    Alu { op: AluOp, wide: bool, dst: Reg, src: Src },
    /// `dst = (s8)src` and so on, for 8, 16 or 32 bits (instruction set v4).
    MovSx { wide: bool, bits: u8, dst: Reg, src: Reg },
    /// Byte order of the low 16, 32 or 64 bits; the rest is cleared.
    Endian { to: Endian, bits: u8, dst: Reg },
    /// `dst = *(size *)(base + off)`, zero-extended, or sign-extended (instruction set v4).
    Load { size: Size, signed: bool, dst: Reg, base: Reg, off: i16 },
    /// `*(size *)(base + off) = src`
    Store { size: Size, base: Reg, off: i16, src: Src },
    /// Atomic operation on 4 or 8 bytes; with `fetch`, `src` receives the old value.
    Atomic { op: AtomicOp, fetch: bool, wide: bool, base: Reg, off: i16, src: Reg },
    /// `dst = …` in two slots.
    LoadImm64 { dst: Reg, value: Imm64 },
    /// Unconditional jump.
    Jump { off: i16 },
    /// Unconditional far jump (instruction set v4).
    JumpFar { off: i32 },
    /// Conditional jump on 64 or on the low 32 bits.
    JumpIf { op: JumpOp, wide: bool, left: Reg, right: Src, off: i16 },
    /// Falls through while the kernel's loop budget lasts, then jumps.
    MayGoto { off: i16 },
    /// Calls a helper.
    Call { helper: Helper },
    /// Calls a function of the program, at an offset in slots.
    CallLocal { off: i32 },
    /// Calls a kernel function by the id of its BTF type.
    CallKfunc { btf_id: i32 },
    /// Returns r0.
    Exit,
}

impl Insn {
    /// Number of eight-byte slots.
    pub fn slots(&self) -> usize {
        if matches!(self, Insn::LoadImm64 { .. }) { 2 } else { 1 }
    }
}
