//! The eleven registers.

use core::fmt;

/// A machine register: `r0` results, `r1`-`r5` arguments, `r6`-`r9` kept across calls, `r10` the frame (read only).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(u8);

#[expect(missing_docs, reason = "their names are their numbers")]
impl Reg {
    pub const R0: Reg = Reg(0);
    pub const R1: Reg = Reg(1);
    pub const R2: Reg = Reg(2);
    pub const R3: Reg = Reg(3);
    pub const R4: Reg = Reg(4);
    pub const R5: Reg = Reg(5);
    pub const R6: Reg = Reg(6);
    pub const R7: Reg = Reg(7);
    pub const R8: Reg = Reg(8);
    pub const R9: Reg = Reg(9);
    pub const R10: Reg = Reg(10);
    /// The frame pointer.
    pub const FRAME: Reg = Reg::R10;
    /// Registers that a program may write.
    pub const WRITABLE: u8 = 10;
}

impl Reg {
    /// The register of a number, 0 to 10.
    pub fn new(number: u8) -> Option<Reg> {
        (number <= 10).then_some(Reg(number))
    }

    /// The n-th argument of a call, from 1 to 5.
    pub fn argument(n: u8) -> Option<Reg> {
        (1..=5).contains(&n).then_some(Reg(n))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// As an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
