//! Memory, as handlers of the user domain read it: they have no hit, so what they look at is what is there now.
//!
//! The kernel's is read by a program of our own that is run once for each read: it faults as a probe would, and needs
//! nothing but what probes need. That of a process is its `/proc/PID/mem`.
//!
//! **Not here:** what a bad address means to the script (`run::eval`).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use tracer_common::layout::{MapKind, MapSpec};
use tracer_ebpf::isa::{AluOp, Helper, Imm64, Insn, JumpOp, Reg, Size, Src, encode};

use crate::sys::bpf::{AttachType, ProgLoad, ProgType, Program, prog_load_quietly};
use crate::sys::bpf_map::BpfMap;

/// Bytes that are read at a time; behind them the map's value has the helper's answer, the address of our task, and the
/// kernel's count of ticks.
const MOST: u32 = 256;

/// Reads memory. What cannot be read at all reads as bad addresses do.
#[derive(Default)]
pub struct Memory {
    kernel: Option<Option<Reader>>,
}

impl Memory {
    /// Fills bytes from the kernel's memory; false when the address is bad.
    pub fn read_kernel(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        let Some(reader) = self.kernel.get_or_insert_with(Reader::new) else { return false };
        let mut at = address;
        bytes.chunks_mut(MOST as usize).all(|part| {
            let read = reader.read(at, part);
            at = at.wrapping_add(part.len() as u64);
            read
        })
    }

    /// The address of the `struct task_struct` that runs us; 0 where it cannot be known.
    pub fn task(&mut self) -> i64 {
        self.answer(8)
    }

    /// The kernel's count of ticks; 0 where it cannot be known.
    pub fn jiffies(&mut self) -> i64 {
        self.answer(16)
    }

    fn answer(&mut self, offset: usize) -> i64 {
        let reader = self.kernel.get_or_insert_with(Reader::new).as_ref();
        let value = reader.and_then(|reader| reader.run(0, 0));
        let at = MOST as usize + offset;
        value.and_then(|value| value[at..at + 8].try_into().ok()).map_or(0, i64::from_le_bytes)
    }

    /// Fills bytes from a process's memory; false when the address is bad, or there is no process.
    pub fn read_process(&mut self, pid: i64, address: u64, bytes: &mut [u8]) -> bool {
        pid > 0
            && i64::try_from(address).is_ok()
            && File::open(format!("/proc/{pid}/mem"))
                .is_ok_and(|memory| memory.read_exact_at(bytes, address).is_ok())
    }
}

/// A program that copies kernel memory into a map.
struct Reader {
    program: Program,
    found: BpfMap,
}

impl Reader {
    fn new() -> Option<Reader> {
        let spec = MapSpec {
            name: "memory".to_owned(),
            kind: MapKind::Array,
            key_size: 4,
            value_size: MOST + 24,
            max_entries: 1,
        };
        let found = BpfMap::create(&spec).ok()?;
        let program = prog_load_quietly(&ProgLoad {
            name: "memory",
            prog_type: ProgType::RawTracepoint,
            attach_type: AttachType::None,
            attach_btf_id: None,
            sleepable: false,
            insns: &copies(found.as_fd().as_raw_fd()),
            license: c"GPL",
            lines: None,
        })
        .ok()?;
        Some(Reader { program, found })
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let Some(value) = self.run(address, bytes.len()) else { return false };
        let (copied, answers) = value.split_at(MOST as usize);
        bytes.copy_from_slice(&copied[..bytes.len()]);
        answers[..8] == [0; 8]
    }

    fn run(&self, address: u64, count: usize) -> Option<Vec<u8>> {
        self.program.test_run(&[address, count as u64]).ok()?;
        let mut value = vec![0; self.found.value_size()];
        self.found.lookup(&[0; 4], &mut value).ok()?.then_some(value)
    }
}

/// Copies as many bytes as its second argument says, from the address that is its first, into the map, and says what
/// task it runs in, and when.
fn copies(map: i32) -> Vec<u8> {
    let word = |dst, off| Insn::Load { size: Size::Dw, signed: false, dst, base: Reg::R1, off };
    let value = |dst| Insn::LoadImm64 { dst, value: Imm64::MapValue { fd: map, offset: 0 } };
    let copy = |dst, src: Src| Insn::Alu { op: AluOp::Mov, wide: true, dst, src };
    let program = [
        word(Reg::R3, 0),
        word(Reg::R2, 8),
        copy(Reg::R0, Src::Imm(-1)),
        Insn::JumpIf { op: JumpOp::Gt, wide: true, left: Reg::R2, right: Src::Imm(MOST as i32), off: 3 },
        value(Reg::R1),
        Insn::Call { helper: Helper::ProbeReadKernel },
        value(Reg::R1),
        Insn::Store { size: Size::Dw, base: Reg::R1, off: MOST as i16, src: Src::Reg(Reg::R0) },
        Insn::Call { helper: Helper::GetCurrentTask },
        value(Reg::R1),
        Insn::Store { size: Size::Dw, base: Reg::R1, off: MOST as i16 + 8, src: Src::Reg(Reg::R0) },
        Insn::Call { helper: Helper::Jiffies64 },
        value(Reg::R1),
        Insn::Store { size: Size::Dw, base: Reg::R1, off: MOST as i16 + 16, src: Src::Reg(Reg::R0) },
        copy(Reg::R0, Src::Imm(0)),
        Insn::Exit,
    ];
    let mut out = Vec::new();
    program.iter().for_each(|insn| encode(insn, &mut out));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_process_is_read_and_bad_addresses_are_known() {
        let value = 0x1234_5678_9abc_def0_u64;
        let (here, pid) = (std::ptr::from_ref(&value) as u64, i64::from(std::process::id()));
        let mut bytes = [0; 8];
        assert!(Memory::default().read_process(pid, here, &mut bytes));
        assert_eq!(bytes, value.to_ne_bytes());
        for (pid, address) in [(pid, 0), (pid, u64::MAX), (0, here), (-1, here)] {
            assert!(!Memory::default().read_process(pid, address, &mut bytes), "{pid} {address:#x}");
        }
    }
}
