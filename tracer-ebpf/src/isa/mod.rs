//! The eBPF instruction set: registers, opcodes, instructions, helpers, and their bytes and text.
//!
//! [`Insn`] is the instruction as we think of it, `encode` and `decode` turn it into the kernel's eight-byte slots
//! and back (an instruction with a 64-bit constant takes two), `disasm` prints it as the kernel's verifier does.
//! Reference: RFC 9669 and `include/uapi/linux/bpf.h`; numbers in [`op`] keep the kernel's spelling.
//!
//! **Not here:** labels and relocations (`asm`), virtual registers (`codegen::vcode`).

mod decode;
mod disasm;
mod encode;
pub mod helper;
mod insn;
pub mod op;
mod reg;
#[cfg(test)]
mod tests;

pub use decode::{DecodeError, decode};
pub use disasm::{Text, listing};
pub use encode::encode;
pub use helper::Helper;
pub use insn::{AluOp, AtomicOp, Endian, Imm64, Insn, JumpOp, Size, Src};
pub use reg::Reg;
