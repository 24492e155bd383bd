//! Functions that helpers call back, written with the selector's tools instead of by hand.
//!
//! A routine gets its arguments in r1 to r4, like any function, and says with its exit whether the helper goes on (0)
//! or has seen enough (1). It may use labels, registers and temporaries, but nothing that belongs to the program:
//! no locals, no scratch slot, no counters, and it cannot raise.
//!
//! Verifiers before 6.7 follow a callback once, and take what it leaves in the caller's frame for the only outcome: so
//! what routines change there is, from the start, a number that no verifier knows ([`Selector::unknown_zero`]). What is
//! in maps they do not know anyway.
//!
//! **Not here:** callbacks that are a few instructions (`codegen::callback`).

use super::super::vcode::{Constant, MACHINE, VCode, VInsn, VReg};
use super::super::{emit, regalloc};
use super::{CodegenError, Result, Selector};
use crate::isa::Size;
use alloc::string::String;
use alloc::vec::Vec;
use tracer_common::ledger;

/// What one called function takes of the kernel's stack, which counts in such steps.
pub(super) const CALLEE: u32 = 32;

impl Selector<'_, '_> {
    /// The function of this name, which is made when it is not there.
    pub(super) fn routine(
        &mut self,
        name: String,
        build: impl FnOnce(&mut Self, [VReg; 4]) -> Result,
    ) -> Result<Constant> {
        if let Some(index) = self.shared.functions.iter().position(|function| function.name == name) {
            return Ok(Constant::Function(index as u32));
        }
        let (loops_inline, blocks, slots) = (self.code.loops_inline, Vec::new(), Vec::new());
        let code = VCode { blocks, registers: MACHINE, slots, below: 0, loops_inline };
        let outer = core::mem::replace(&mut self.code, code);
        let (current, temporary) = (self.current, core::mem::take(&mut self.temporary));
        self.current = self.block(false);
        let arguments = [1, 2, 3, 4].map(|n| {
            let reg = self.reg();
            self.mov(reg, VReg(n));
            reg
        });
        let built = build(self, arguments);
        let mut code = core::mem::replace(&mut self.code, outer);
        (self.current, self.temporary) = (current, temporary);
        built?;
        let Some(colours) = regalloc::allocate(&mut code) else {
            return Err(CodegenError::Limit(alloc::format!("{name} needs more registers than can be found")));
        };
        let (code, _) = emit::emit(&code, &colours, false)?;
        Ok(Constant::Function(self.shared.function(name, || code)))
    }

    /// Leaves room for functions that are called while the program's frame is there.
    pub(super) fn calls_back(&mut self, functions: u32) {
        self.code.below = self.code.below.max(functions * CALLEE);
    }

    /// Ends a routine.
    pub(super) fn give(&mut self, result: i32) {
        self.push(VInsn::Exit(result));
    }

    /// A block that ends a routine.
    pub(super) fn giving(&mut self, result: i32) -> super::Label {
        let label = self.block(false);
        self.aside(label, |s| s.give(result));
        label
    }

    /// 0, which no verifier knows.
    pub(super) fn unknown_zero(&mut self) -> VReg {
        let zero = self.header(ledger::ZERO);
        self.load_from(Size::Dw, zero)
    }
}
