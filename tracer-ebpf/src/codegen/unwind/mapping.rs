//! What is mapped at an address of a task: the kernel's own tree of mappings, read as it is.
//!
//! Source: Linux `lib/rbtree.c`, and `lib/maple_tree.c` (`mtree_range_walk`).
//!
//! **Not here:** what is done with it (`super`), the offsets (`tracer::run::unwind::layout`).

use super::module::LIMIT;
use super::{ADDRESS_BITS, END, FLAGS, INODE, MM, NODE, PAGE_OFFSET, START, TEMPORARY, TYPE, Walk};
use crate::asm::Label;
use crate::isa::{AluOp, JumpOp, Reg};
use crate::target::Mappings;

/// Steps down a red-black tree of mappings: twice the logarithm of their number.
const DEPTH: u32 = 30;
/// Levels of a maple tree: each has ten times as many mappings.
const LEVELS: u32 = 6;
/// Pivots of its largest nodes.
const PIVOTS: i32 = 15;

impl Walk<'_> {
    /// Finds the mapping of the address in r8: its five words, or a jump. Nothing is locked, so that it can be done
    /// anywhere, in interrupts too: what changes meanwhile is missed, and only what has the address counts.
    pub(super) fn find_mapping(&mut self, missing: Label) {
        match self.layout.mappings {
            Mappings::RedBlack { root, node, .. } => self.search_tree((root, node), missing),
            Mappings::Maple { root, inner, leaf, slots } => {
                self.search_maple(root, inner, leaf, slots, missing);
            }
        }
        self.read_mapping();
    }

    /// Reads the last three words of the mapping in r9.
    pub(super) fn read_mapping(&mut self) {
        let (layout, no_file) = (self.layout, self.asm.label());
        for (to, from) in [(PAGE_OFFSET, layout.vm_pgoff), (FLAGS, layout.vm_flags), (INODE, layout.vm_file)]
        {
            self.mov(Reg::R3, Reg::R9);
            self.read_kernel(to, 8, Reg::R3, from);
        }
        self.load(Reg::R3, Reg::R6, INODE);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R3, 0, no_file);
        self.read_kernel(INODE, 8, Reg::R3, layout.f_inode);
        self.asm.bind(no_file);
    }

    /// Goes down the maple tree: leaves the mapping in r9. In a node, the slot is the one behind all pivots that are
    /// smaller than the address. Pivots that are not used are 0, which counts as the largest; what else a node may have in
    /// their place are addresses of the kernel, which are larger than all of a program.
    fn search_maple(&mut self, root: u32, inner: (u32, u32), leaf: u32, slots: u32, missing: Label) {
        let found = self.asm.label();
        self.load(Reg::R3, Reg::R6, MM);
        self.read_kernel(TEMPORARY, 8, Reg::R3, root);
        self.load(Reg::R9, Reg::R6, TEMPORARY);
        // A tree of one mapping at address 0 has no nodes.
        self.mov(Reg::R1, Reg::R9);
        self.alu(AluOp::And, Reg::R1, 3);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R1, 2, missing);
        for _ in 0..LEVELS {
            self.mov(Reg::R1, Reg::R9);
            self.alu(AluOp::Rsh, Reg::R1, 3);
            self.alu(AluOp::And, Reg::R1, 15);
            self.store(Reg::R6, TYPE, Reg::R1);
            self.alu(AluOp::Rsh, Reg::R9, 8);
            self.alu(AluOp::Lsh, Reg::R9, 8);
            self.mov(Reg::R3, Reg::R9);
            self.read_kernel(NODE, PIVOTS * 8, Reg::R3, 8);
            // Pages, less one: so that 0 becomes the largest.
            self.mov(Reg::R5, Reg::R8);
            self.alu(AluOp::Rsh, Reg::R5, 12);
            self.alu(AluOp::Sub, Reg::R5, 1);
            self.number(Reg::R4, 0);
            for pivot in 0..PIVOTS as i16 {
                self.load(Reg::R1, Reg::R6, NODE + pivot * 8);
                self.alu(AluOp::Rsh, Reg::R1, 12);
                self.alu(AluOp::Sub, Reg::R1, 1);
                self.alu(AluOp::Lsh, Reg::R1, 12);
                self.alu(AluOp::Rsh, Reg::R1, 12);
                self.alu(AluOp::Sub, Reg::R1, Reg::R5);
                self.alu(AluOp::Rsh, Reg::R1, 63);
                self.alu(AluOp::Add, Reg::R4, Reg::R1);
            }
            self.alu(AluOp::Lsh, Reg::R4, 3);
            self.keep_limit();
            self.mov(Reg::R3, Reg::R9);
            self.alu(AluOp::Add, Reg::R3, Reg::R4);
            let (other, read) = (self.asm.label(), self.asm.label());
            self.load(Reg::R1, Reg::R6, TYPE);
            self.asm.jump_if(JumpOp::Ne, true, Reg::R1, inner.0 as i32, other);
            self.alu(AluOp::Add, Reg::R3, inner.1 as i32);
            self.asm.jump(read);
            self.asm.bind(other);
            self.alu(AluOp::Add, Reg::R3, slots as i32);
            self.asm.bind(read);
            self.read_kernel(TEMPORARY, 8, Reg::R3, 0);
            self.load(Reg::R9, Reg::R6, TEMPORARY);
            self.asm.jump_if(JumpOp::Eq, true, Reg::R9, 0, missing);
            self.load(Reg::R1, Reg::R6, TYPE);
            self.asm.jump_if(JumpOp::Le, true, Reg::R1, leaf as i32, found);
        }
        self.asm.jump(missing);
        self.asm.bind(found);
        self.mov(Reg::R3, Reg::R9);
        self.read_kernel(START, 16, Reg::R3, self.layout.vm_start);
        self.load(Reg::R1, Reg::R6, START);
        self.load(Reg::R2, Reg::R6, END);
        self.asm.jump_if(JumpOp::Lt, true, Reg::R8, Reg::R1, missing);
        self.asm.jump_if(JumpOp::Ge, true, Reg::R8, Reg::R2, missing);
    }

    /// Remembers where the slot ends whose offset is in r4, which is where to go on behind it. What a node says nothing of
    /// ends where it ends itself: that is known from the node above.
    fn keep_limit(&mut self) {
        if !self.limits {
            return;
        }
        let unknown = self.asm.label();
        self.mov(Reg::R1, Reg::R6);
        self.alu(AluOp::Add, Reg::R1, Reg::R4);
        self.load(Reg::R1, Reg::R1, NODE);
        self.mov(Reg::R2, Reg::R1);
        self.alu(AluOp::Rsh, Reg::R2, ADDRESS_BITS);
        self.asm.jump_if(JumpOp::Ne, true, Reg::R2, 0, unknown);
        self.asm.jump_if(JumpOp::Eq, true, Reg::R1, 0, unknown);
        self.alu(AluOp::Add, Reg::R1, 1);
        self.store(Reg::R6, LIMIT, Reg::R1);
        self.asm.bind(unknown);
    }

    /// Goes down the red-black tree: leaves the mapping in r9.
    fn search_tree(&mut self, (root, node): (u32, u32), missing: Label) {
        let (found, layout) = (self.asm.label(), self.layout);
        self.load(Reg::R3, Reg::R6, MM);
        self.read_kernel(TEMPORARY, 8, Reg::R3, root);
        self.load(Reg::R9, Reg::R6, TEMPORARY);
        for _ in 0..DEPTH {
            let (left, next) = (self.asm.label(), self.asm.label());
            self.asm.jump_if(JumpOp::Eq, true, Reg::R9, 0, missing);
            self.mov(Reg::R3, Reg::R9);
            self.alu(AluOp::Sub, Reg::R3, node as i32);
            self.read_kernel(START, 16, Reg::R3, layout.vm_start);
            self.load(Reg::R1, Reg::R6, START);
            self.load(Reg::R2, Reg::R6, END);
            // `struct rb_node`: the parent, right, left.
            self.mov(Reg::R3, Reg::R9);
            self.alu(AluOp::Add, Reg::R3, 8);
            self.asm.jump_if(JumpOp::Lt, true, Reg::R8, Reg::R2, left);
            self.asm.jump(next);
            self.asm.bind(left);
            self.asm.jump_if(JumpOp::Ge, true, Reg::R8, Reg::R1, found);
            self.alu(AluOp::Add, Reg::R3, 8);
            self.asm.bind(next);
            self.read_kernel(TEMPORARY, 8, Reg::R3, 0);
            self.load(Reg::R9, Reg::R6, TEMPORARY);
        }
        self.asm.jump(missing);
        self.asm.bind(found);
        self.alu(AluOp::Sub, Reg::R9, node as i32);
    }
}
