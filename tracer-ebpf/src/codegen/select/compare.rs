//! Comparison of strings, and strings byte by byte.
//!
//! What follows a string's NUL is unspecified, so a comparison stops there.

use super::super::vcode::{Base, Constant, Label, VInsn, VReg};
use super::{Memory, Result, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use tracer_common::ir::{CmpOp, LongOp, StrOp, StrVar, Var};
use tracer_common::layout::align8;

impl Selector<'_, '_> {
    pub(super) fn str_cmp(&mut self, op: CmpOp, dest: Var, left: StrOp, right: StrOp) -> Result {
        let dst = self.var(dest);
        match (left, right) {
            (StrOp::Lit(a), StrOp::Lit(b)) => {
                let strings = &self.shared.module.strings;
                let order = strings[a.index()].cmp(&strings[b.index()]);
                let holds = match op {
                    CmpOp::Eq => order.is_eq(),
                    CmpOp::Ne => order.is_ne(),
                    CmpOp::Lt => order.is_lt(),
                    CmpOp::Le => order.is_le(),
                    CmpOp::Gt => order.is_gt(),
                    CmpOp::Ge => order.is_ge(),
                };
                self.constant(dst, i64::from(holds));
            }
            (StrOp::Var(var), StrOp::Lit(_)) | (StrOp::Lit(_), StrOp::Var(var))
                if matches!(op, CmpOp::Eq | CmpOp::Ne) =>
            {
                let text = self.literal(left).or_else(|| self.literal(right)).unwrap_or(b"").to_vec();
                self.equals_literal(dst, op == CmpOp::Eq, var, &text);
            }
            _ => self.compare_words(op, dst, left, right),
        }
        Ok(())
    }

    /// Compares with a literal by words, up to and with its NUL.
    fn equals_literal(&mut self, dst: VReg, equal: bool, var: StrVar, text: &[u8]) {
        let result = self.reg();
        self.constant(result, i64::from(!equal));
        let done = self.block(false);
        let mut bytes = text.to_vec();
        bytes.push(0);
        if bytes.len() as u32 <= self.capacity(var) {
            let home = self.home(var);
            let mut at = 0;
            while at < bytes.len() {
                let left = bytes.len() - at;
                let size = [Size::Dw, Size::W, Size::H, Size::B]
                    .into_iter()
                    .find(|size| size.bytes() as usize <= left)
                    .unwrap_or(Size::B);
                let width = size.bytes() as usize;
                let mut word = [0; 8];
                word[..width].copy_from_slice(&bytes[at..at + width]);
                let wanted = self.source(LongOp::Imm(i64::from_le_bytes(word)));
                let found = self.load_from(size, home.at(at as u32));
                self.jump_if(JumpOp::Ne, found, wanted, done);
                at += width;
            }
            self.constant(result, i64::from(equal));
        }
        self.jump(done);
        self.at(done);
        self.mov(dst, result);
    }

    /// Compares word by word, in a loop that the verifier can count. What follows a NUL does not matter.
    fn compare_words(&mut self, op: CmpOp, dst: VReg, left: StrOp, right: StrOp) {
        let limit = align8(self.string_capacity(left).min(self.string_capacity(right)));
        let (a, b) = (self.loop_base(left), self.loop_base(right));
        let result = self.reg();
        let (equal, done) = (self.block(false), self.block(false));
        let (x, y) = self.first_difference((a, b), limit, equal);
        let unsigned = match op {
            CmpOp::Eq | CmpOp::Ne => None,
            CmpOp::Lt | CmpOp::Le => Some(JumpOp::Lt),
            CmpOp::Gt | CmpOp::Ge => Some(JumpOp::Gt),
        };
        self.constant(result, i64::from(op != CmpOp::Eq));
        if let Some(unsigned) = unsigned {
            self.by_first_byte(x, y);
            self.jump_if(unsigned, x, y, done);
            self.constant(result, 0);
        }
        self.jump(done);
        self.at(equal);
        self.constant(result, i64::from(matches!(op, CmpOp::Eq | CmpOp::Le | CmpOp::Ge)));
        self.jump(done);
        self.at(done);
        self.mov(dst, result);
    }

    /// The words where strings differ, as they are in memory; goes to `equal` where they do not within `limit` bytes.
    pub(super) fn first_difference(
        &mut self,
        (a, b): (VReg, VReg),
        limit: u32,
        equal: Label,
    ) -> (VReg, VReg) {
        let index = self.reg();
        self.constant(index, 0);
        let (head, differ) = (self.block(false), self.block(false));
        self.jump(head);
        self.at(head);
        let (x, y) = (self.word_at(a, index), self.word_at(b, index));
        self.jump_if(JumpOp::Ne, x, y, differ);
        let end = self.zero_byte(x);
        self.jump_if(JumpOp::Ne, end, 0, equal);
        self.alu(AluOp::Add, index, 8);
        self.jump_if(JumpOp::Lt, index, limit as i32, head);
        self.jump(equal);
        self.at(differ);
        // Below the lowest bit that differs both words are the same; a NUL there ends both strings.
        let (lowest, same) = (self.reg(), self.reg());
        self.mov(lowest, x);
        self.alu(AluOp::Xor, lowest, y);
        self.mov(same, lowest);
        self.alu(AluOp::Neg, same, 0);
        self.alu(AluOp::And, same, lowest);
        self.alu(AluOp::Sub, same, 1);
        self.alu(AluOp::Xor, same, -1);
        self.alu(AluOp::Or, same, x);
        let end = self.zero_byte(same);
        self.jump_if(JumpOp::Ne, end, 0, equal);
        (x, y)
    }

    /// Makes words numbers that compare, without signs, as their bytes do.
    pub(super) fn by_first_byte(&mut self, x: VReg, y: VReg) {
        self.push(VInsn::BigEndian { dst: x });
        self.push(VInsn::BigEndian { dst: y });
    }

    /// The first word of a string, as a number that compares, with its sign, as the string does.
    pub(super) fn first_word(&mut self, text: Memory) -> VReg {
        let word = self.load_from(Size::Dw, text);
        // What is behind the NUL goes: the lowest bit that is set stands for it.
        let (end, kept) = (self.zero_byte(word), self.reg());
        self.mov(kept, end);
        self.alu(AluOp::Neg, kept, 0);
        self.alu(AluOp::And, kept, end);
        self.alu(AluOp::Sub, kept, 1);
        self.alu(AluOp::And, word, kept);
        self.push(VInsn::BigEndian { dst: word });
        let sign = self.known(Constant::Number(i64::MIN));
        self.alu(AluOp::Xor, word, sign);
        word
    }

    fn word_at(&mut self, base: VReg, index: VReg) -> VReg {
        let at = self.reg();
        self.mov(at, base);
        self.alu(AluOp::Add, at, index);
        self.load_from(Size::Dw, Memory { base: Base::Reg(at), off: 0 })
    }

    /// Not 0 exactly when a byte of the word is 0.
    fn zero_byte(&mut self, word: VReg) -> VReg {
        let (less, high) = (self.reg(), self.reg());
        self.mov(less, word);
        let ones = self.known(Constant::Number(0x0101_0101_0101_0101));
        self.alu(AluOp::Sub, less, ones);
        self.mov(high, word);
        self.alu(AluOp::Xor, high, -1);
        self.alu(AluOp::And, less, high);
        let tops = self.known(Constant::Number(0x8080_8080_8080_8080u64 as i64));
        self.alu(AluOp::And, less, tops);
        less
    }

    /// The address of a string for reads at variable offsets: map memory.
    fn loop_base(&mut self, op: StrOp) -> VReg {
        if let StrOp::Lit(_) = op {
            // Constants may be read at variable offsets only as map values: copy to the scratch area.
            let area = self.area();
            let (address, from) = (self.address(area), self.string_address(op));
            self.call(Helper::ProbeReadKernelStr, &[address, self.string_capacity(op).into(), from]);
            return self.held(area);
        }
        let StrOp::Var(var) = op else {
            unreachable!("this is a bug: an operand is a literal or a register")
        };
        let home = self.home(var);
        self.held(home)
    }

    fn held(&mut self, memory: Memory) -> VReg {
        match self.address(memory) {
            super::Arg::Reg(reg) => reg,
            super::Arg::Constant(value) => self.known(value),
        }
    }
}
