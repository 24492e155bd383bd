//! Arithmetic and comparison of longs.

use super::super::vcode::{VInsn, VReg, VSrc};
use super::{Result, Selector, jump_op};
use crate::isa::{AluOp, JumpOp};
use tracer_common::ir::{BinOp, CmpOp, LongOp, Var, Width};
use tracer_common::record::ErrorKind;

impl Selector<'_, '_> {
    pub(super) fn bin(&mut self, op: BinOp, dest: Var, left: LongOp, right: LongOp) -> Result {
        let alu = match op {
            BinOp::Add => AluOp::Add,
            BinOp::Sub => AluOp::Sub,
            BinOp::Mul => AluOp::Mul,
            BinOp::And => AluOp::And,
            BinOp::Or => AluOp::Or,
            BinOp::Xor => AluOp::Xor,
            BinOp::Shl => AluOp::Lsh,
            BinOp::Shr => AluOp::Rsh,
            BinOp::Sar => AluOp::Arsh,
            BinOp::Div | BinOp::Rem => {
                self.divide(op == BinOp::Rem, dest, left, right);
                return Ok(());
            }
        };
        let dst = self.var(dest);
        let commutes = matches!(op, BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor);
        let (left, right) = match (left, right) {
            (LongOp::Imm(_), LongOp::Var(_)) if commutes => (right, left),
            (_, LongOp::Var(var)) if var == dest && commutes => (right, left),
            other => other,
        };
        if op == BinOp::Sub && left == LongOp::Imm(0) {
            self.set(dst, right);
            self.alu(AluOp::Neg, dst, 0);
            return Ok(());
        }
        let right = match (op, right) {
            (BinOp::Shl | BinOp::Shr | BinOp::Sar, LongOp::Imm(count)) => VSrc::Imm((count & 63) as i32),
            _ => self.source(right),
        };
        if right == VSrc::Reg(dst) {
            // `d = x - d`: the right side must outlive the move.
            let result = self.reg();
            self.set(result, left);
            self.alu(alu, result, right);
            self.mov(dst, result);
        } else {
            self.set(dst, left);
            self.alu(alu, dst, right);
        }
        Ok(())
    }

    /// Signed division, towards zero, from the unsigned instruction: instruction set v4 has a signed one, but what
    /// it does for the most negative number divided by -1 differs between kernels.
    fn divide(&mut self, remainder: bool, dest: Var, left: LongOp, right: LongOp) {
        let dst = self.var(dest);
        let op = if remainder { AluOp::Mod } else { AluOp::Div };
        let divisor = match right {
            LongOp::Imm(0) => {
                self.raise(ErrorKind::Division, 0);
                let dead = self.block(true);
                self.at(dead);
                return;
            }
            LongOp::Imm(-1) if remainder => return self.constant(dst, 0),
            LongOp::Imm(number) => match i32::try_from(number.unsigned_abs()) {
                Ok(imm) => VSrc::Imm(imm),
                Err(_) => VSrc::Reg(self.read(LongOp::Imm(number.unsigned_abs() as i64))),
            },
            LongOp::Var(var) => {
                let right = self.var(var);
                self.raise_if(JumpOp::Eq, right, 0, ErrorKind::Division, 0);
                let magnitude = self.reg();
                self.mov(magnitude, right);
                self.make_positive(magnitude);
                VSrc::Reg(magnitude)
            }
        };
        let left = self.read(left);
        let result = self.reg();
        self.mov(result, left);
        let (negative, done) = (self.block(false), self.block(false));
        self.jump_if(JumpOp::Slt, left, 0, negative);
        self.alu(op, result, divisor);
        self.jump(done);
        self.at(negative);
        self.alu(AluOp::Neg, result, 0);
        self.alu(op, result, divisor);
        self.alu(AluOp::Neg, result, 0);
        self.jump(done);
        self.at(done);
        if !remainder {
            match right {
                LongOp::Imm(number) if number < 0 => self.alu(AluOp::Neg, result, 0),
                LongOp::Imm(_) => {}
                LongOp::Var(var) => {
                    let right = self.var(var);
                    let positive = self.block(false);
                    self.jump_if(JumpOp::Sge, right, 0, positive);
                    self.alu(AluOp::Neg, result, 0);
                    self.jump(positive);
                    self.at(positive);
                }
            }
        }
        self.mov(dst, result);
    }

    fn make_positive(&mut self, reg: VReg) {
        let positive = self.block(false);
        self.jump_if(JumpOp::Sge, reg, 0, positive);
        self.alu(AluOp::Neg, reg, 0);
        self.jump(positive);
        self.at(positive);
    }

    /// 0 or 1.
    pub(super) fn cmp(&mut self, op: CmpOp, dest: Var, left: LongOp, right: LongOp) {
        let result = self.reg();
        self.constant(result, 1);
        let done = self.block(false);
        self.compare_jump(op, left, right, done);
        self.constant(result, 0);
        self.jump(done);
        self.at(done);
        self.mov(self.var(dest), result);
    }

    /// Goes to a block when a comparison holds.
    pub(super) fn compare_jump(&mut self, op: CmpOp, left: LongOp, right: LongOp, to: super::Label) {
        let (op, left, right) = match (left, right) {
            (LongOp::Imm(_), LongOp::Var(_)) => (jump_op(op).swapped(), right, left),
            _ => (jump_op(op), left, right),
        };
        let left = self.read(left);
        let right = self.source(right);
        self.jump_if(op, left, right, to);
    }

    /// Keeps the low bytes of a register, extended.
    pub(super) fn extend(&mut self, reg: VReg, width: Width) {
        let bits = u32::from(width.bytes) * 8;
        match (width.bytes, width.signed) {
            (8, _) => {}
            (_, true) if self.shared.target.features.isa_v4 => {
                self.push(VInsn::SignExtend { bits: bits as u8, dst: reg, src: reg });
            }
            (4, false) => self.push(VInsn::Move32 { dst: reg, src: reg }),
            (1 | 2, false) => self.alu(AluOp::And, reg, (1i32 << bits) - 1),
            (_, signed) => {
                self.alu(AluOp::Lsh, reg, 64 - bits as i32);
                self.alu(if signed { AluOp::Arsh } else { AluOp::Rsh }, reg, 64 - bits as i32);
            }
        }
    }
}
