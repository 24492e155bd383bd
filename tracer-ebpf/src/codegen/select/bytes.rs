//! Bytes of memory as a string: read into the area, then packed a group at a time (`tracer_common::packed`).
//!
//! The area is zeroed first, so that what was there before is in no group.

use super::super::vcode::{Base, Constant, VInsn, VReg};
use super::memory::reader;
use super::{Arg, Memory, Selector};
use crate::isa::{AluOp, Helper, JumpOp, Size};
use tracer_common::ir::{LongOp, Space, StrVar};
use tracer_common::layout::align8;
use tracer_common::packed;
use tracer_common::record::ErrorKind;

/// Numbers of groups for fewer bytes than there is room for.
const FEW: [u32; 2] = [8, 40];

/// Bytes wanted of the scratch slot's area for a string of a capacity: the last group is read as a whole word.
pub(in crate::codegen) fn area(capacity: u32) -> u32 {
    align8(packed::most(capacity) + 8)
}

impl Selector<'_, '_> {
    /// `wide`: whether what follows the address's page may be missing.
    pub(super) fn read_bytes(
        &mut self,
        space: Space,
        dest: StrVar,
        address: LongOp,
        count: LongOp,
        wide: bool,
    ) {
        let capacity = self.capacity(dest);
        let most = packed::most(capacity);
        let from = self.read(address);
        let bytes = self.area();
        self.store_zeros(bytes, area(capacity));
        let size = self.reg();
        self.set(size, count);
        // Without a sign, what is negative is very large.
        self.at_most(size, most, most);
        let to = self.address(bytes);
        let failed = self.call_for(reader(space), &[to, size.into(), from.into()]);
        self.missing(space, failed, bytes, (size, most), from, wide);
        self.raise_if(JumpOp::Ne, failed, 0, ErrorKind::bytes_fault(space, wide), from);
        let home = self.home(dest);
        self.pack(bytes, home, size, most / packed::GROUP);
        // Behind the last digit of the last byte.
        let end = self.reg();
        self.mov(end, size);
        self.alu(AluOp::Lsh, end, 3);
        self.alu(AluOp::Add, end, 6);
        self.alu(AluOp::Div, end, 7);
        // For the verifier, which may have forgotten what it was.
        self.at_most(end, most / packed::GROUP * 8, 0);
        let Base::Reg(base) = home.base else {
            panic!("this is a bug: packed bytes live in the frame (storage::Storage)")
        };
        self.alu(AluOp::Add, end, base);
        self.store(Size::B, Memory { base: Base::Reg(end), off: home.off }, 0);
    }

    /// After a read that `failed`: sleeps for the pages, and tries with the rest of the first page alone.
    fn missing(
        &mut self,
        space: Space,
        failed: VReg,
        bytes: Memory,
        (size, most): (VReg, u32),
        from: VReg,
        wide: bool,
    ) {
        let sleeps = space == Space::User && self.may_sleep();
        if !sleeps && !wide {
            return;
        }
        let page_size = self.shared.target.page_size as i32;
        let (absent, on) = (self.block(true), self.block(false));
        self.jump_if(JumpOp::Ne, failed, 0, absent);
        self.jump(on);
        self.aside(absent, |s| {
            let again = |s: &mut Self, helper| {
                s.at_most(size, most, 0);
                let to = s.address(bytes);
                let args: [Arg; 3] = [to, size.into(), from.into()];
                s.call(helper, &args);
                s.mov(failed, VReg(0));
            };
            if sleeps {
                again(s, Helper::CopyFromUser);
                s.jump_if(JumpOp::Eq, failed, 0, on);
            }
            if wide {
                let within = s.reg();
                s.mov(within, from);
                s.alu(AluOp::And, within, page_size - 1);
                let rest = s.reg();
                s.constant(rest, page_size);
                s.alu(AluOp::Sub, rest, within);
                s.jump_if(JumpOp::Ge, rest, size, on);
                s.mov(size, rest);
                again(s, reader(space));
                if sleeps {
                    s.jump_if(JumpOp::Eq, failed, 0, on);
                    again(s, Helper::CopyFromUser);
                }
            }
            s.jump(on);
        });
        self.at(on);
    }

    /// Packs as many groups as `size` bytes may have: all, or a smaller number where that is enough. A loop of a number of rounds
    /// that the verifier knows.
    fn pack(&mut self, bytes: Memory, home: Memory, size: VReg, groups: u32) {
        let (from, to) = (self.pointer(bytes), self.pointer(home));
        let left = self.reg();
        let head = self.block(false);
        for few in FEW.into_iter().filter(|few| *few < groups) {
            self.constant(left, few);
            self.jump_if(JumpOp::Le, size, (few * packed::GROUP) as i32, head);
        }
        self.constant(left, groups);
        self.jump(head);
        self.at(head);
        let digits = self.seven_bits(Memory { base: Base::Reg(from), off: 0 });
        self.store(Size::Dw, Memory { base: Base::Reg(to), off: 0 }, digits);
        self.alu(AluOp::Add, from, packed::GROUP as i32);
        self.alu(AluOp::Add, to, 8);
        self.alu(AluOp::Sub, left, 1);
        self.jump_if(JumpOp::Ne, left, 0, head);
        let done = self.block(false);
        self.jump(done);
        self.at(done);
    }

    /// An address in a register that moves on.
    fn pointer(&mut self, memory: Memory) -> VReg {
        let Base::Reg(base) = memory.base else {
            panic!("this is a bug: bytes in the frame (storage::Storage)")
        };
        let at = self.reg();
        self.mov(at, base);
        self.alu(AluOp::Add, at, memory.off);
        at
    }

    /// Seven bytes as eight digits of seven bits.
    fn seven_bits(&mut self, from: Memory) -> VReg {
        let (digits, high) = (self.load_from(Size::Dw, from), self.reg());
        for (bits, mask) in
            [(28, 0x0000_0000_0fff_ffff), (14, 0x0000_3fff_0000_3fff), (7, 0x007f_007f_007f_007f_i64)]
        {
            // The upper half of each field moves up by as many bits as it was cut short.
            self.mov(high, digits);
            self.alu(AluOp::Rsh, high, bits);
            let low = self.known(Constant::Number(mask));
            self.alu(AluOp::And, high, low);
            self.alu(AluOp::Lsh, high, bits + bits / 7);
            self.alu(AluOp::And, digits, low);
            self.alu(AluOp::Or, digits, high);
        }
        let top = self.reg();
        self.push(VInsn::Constant { dst: top, value: Constant::Number(0x8080_8080_8080_8080_u64 as i64) });
        self.alu(AluOp::Or, digits, top);
        digits
    }
}
