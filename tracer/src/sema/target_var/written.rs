//! Which accesses can be assigned to, and what of memory that changes.
//!
//! A place that can be written is user memory: eBPF writes neither kernel memory nor the registers of a probe.

use tracer_common::ir::{BinOp, Space, Width};

use crate::sema::program::Access;

/// Memory that an assignment changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written<'a> {
    /// Address.
    pub address: &'a Access,
    /// Added to it.
    pub offset: i32,
    /// What is read, and written.
    pub width: Width,
    /// Of a bit field: bits below it, and its own.
    pub bits: Option<(u8, u8)>,
    /// Whether that has a sign.
    pub signed: bool,
}

impl Access {
    /// The memory behind an access, or why it has none that can be written.
    pub fn written(&self) -> Result<Written<'_>, &'static str> {
        match self {
            Access::Load { space: Space::User, address, offset, width } => {
                Ok(Written { address, offset: *offset, width: *width, bits: None, signed: width.signed })
            }
            Access::Load { space: Space::Kernel, .. } => Err("eBPF cannot write memory of the kernel"),
            // A bit field is shifted up, so that what is above it falls off, and down again.
            Access::Binary(op @ (BinOp::Shr | BinOp::Sar), shifted, down) => match (&**shifted, &**down) {
                (Access::Binary(BinOp::Shl, memory, up), Access::Constant(down)) => {
                    let memory = memory.written()?;
                    let Access::Constant(up) = **up else { return Err(NOT_IN_MEMORY) };
                    let bits = u8::try_from(64 - down).map_err(|_| NOT_IN_MEMORY)?;
                    let below = u8::try_from(down - up).map_err(|_| NOT_IN_MEMORY)?;
                    Ok(Written { bits: Some((below, bits)), signed: *op == BinOp::Sar, ..memory })
                }
                _ => Err(NOT_IN_MEMORY),
            },
            Access::Saved(_) | Access::AtEntry(_) | Access::Entered(_) => {
                Err("it is a value of the function's entry")
            }
            Access::Register(..) | Access::Argument(..) | Access::Extend(..) => {
                Err("it is in a register, and eBPF cannot write those of the traced program")
            }
            Access::Constant(_)
            | Access::Binary(..)
            | Access::Compare(..)
            | Access::Module(_)
            | Access::Task
            | Access::ThreadPointer
            | Access::Dynamic(_) => Err(NOT_IN_MEMORY),
        }
    }
}

const NOT_IN_MEMORY: &str = "it is no variable in memory";

#[cfg(test)]
mod tests {
    use super::*;

    fn load(space: Space, bytes: u8) -> Access {
        let width = Width { bytes, signed: false };
        Access::Load {
            space,
            address: Box::new(Access::Register(7, Width { bytes: 8, signed: false })),
            offset: 8,
            width,
        }
    }

    #[test]
    fn memory_of_the_program_can_be_written() {
        assert_eq!(
            load(Space::User, 4).written().map(|w| (w.offset, w.width.bytes, w.bits)),
            Ok((8, 4, None))
        );
    }

    #[test]
    fn a_bit_field_is_bits_of_its_memory() {
        let shift = |op, value, by| Access::Binary(op, Box::new(value), Box::new(Access::Constant(by)));
        let field = shift(BinOp::Sar, shift(BinOp::Shl, load(Space::User, 1), 56), 59);
        assert_eq!(field.written().map(|w| w.bits), Ok(Some((3, 5))));
    }

    #[test]
    fn registers_and_the_kernel_cannot() {
        assert!(load(Space::Kernel, 8).written().is_err());
        assert!(Access::Register(0, Width { bytes: 8, signed: false }).written().is_err());
        assert!(Access::Constant(5).written().is_err());
    }
}
