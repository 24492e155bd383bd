//! What this kernel can do, found by trying.
//!
//! Each question costs one small system call or two; nothing is asked twice in a session, and nothing by version.
//!
//! **Not here:** what follows from the answers (`tracer_ebpf::codegen`, `run::attach`).

use std::io;
use std::path::Path;

use tracer_common::layout::{MapKind, MapSpec};
use tracer_ebpf::isa::{AluOp, AtomicOp, Helper, Insn, Reg, Size, Src, encode};
use tracer_ebpf::target::{Arch, Features, Target};

use super::bpf::{AttachType, ProgLoad, ProgType, Program, prog_load_quietly};
use super::bpf_map::BpfMap;
use super::link::{UserPlaces, kprobe_multi, uprobe_multi};
use super::process::{page_size, possible_cpus};

/// Scratch slots for each CPU.
const SCRATCH_SLOTS: u32 = 4;

/// Bytes of a program's stack (`MAX_BPF_STACK`), and of the longest key before Linux 5.11.
const MAX_STACK: u32 = 512;

/// Asks the running kernel. `kprobes`: whether the script has kernel probes, whose questions cost more. `function`: the
/// type of a function that it probes, in the kernel's BTF.
/// `uprobes`: whether it has probes in programs. `guru`: whether it may write memory of programs.
pub fn target(
    ring_size: u32,
    uprobes: bool,
    kprobes: bool,
    guru: bool,
    function: Option<u32>,
) -> io::Result<Target> {
    let mut features = Features::NONE;
    let zero = Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R0, src: Src::Imm(0) };
    let call = |helper| [Insn::Call { helper }, zero, Insn::Exit];
    features.ringbuf = true;
    features.probe_read_kernel = true;
    features.attach_cookie = loads(ProgType::Kprobe, &call(Helper::GetAttachCookie));
    if features.attach_cookie {
        features.get_func_ip = true;
        features.attach_cookie_raw_tracepoint =
            loads(ProgType::RawTracepoint, &call(Helper::GetAttachCookie));
    }
    features.long_keys = features.attach_cookie || has_long_keys();
    features.atomics_fetch = features.attach_cookie
        || loads(
            ProgType::Kprobe,
            &[
                Insn::Store { size: Size::Dw, base: Reg::FRAME, off: -8, src: Src::Imm(0) },
                zero,
                Insn::Atomic {
                    op: AtomicOp::Xchg,
                    fetch: true,
                    wide: true,
                    base: Reg::FRAME,
                    off: -8,
                    src: Reg::R0,
                },
                zero,
                Insn::Exit,
            ],
        );
    features.isa_v4 = features.attach_cookie
        && loads(
            ProgType::Kprobe,
            &[zero, Insn::MovSx { wide: true, bits: 8, dst: Reg::R0, src: Reg::R0 }, zero, Insn::Exit],
        );
    // It must go somewhere: Linux 6.12 refuses one of no distance.
    features.may_goto =
        features.isa_v4 && loads(ProgType::Kprobe, &[zero, Insn::MayGoto { off: 1 }, zero, Insn::Exit]);
    features.for_each_map_elem = features.attach_cookie || knows(Helper::ForEachMapElem);
    features.task_pt_regs = features.attach_cookie && knows(Helper::TaskPtRegs);
    features.bpf_loop = features.isa_v4 || (features.attach_cookie && knows(Helper::Loop));
    features.lookup_percpu_elem = features.isa_v4 || knows(Helper::MapLookupPercpuElem);
    features.uprobe_multi = features.isa_v4 && has_uprobe_multi();
    features.copy_from_user = uprobes && features.atomics_fetch && sleeps();
    features.private_stack = uprobes && features.may_goto && has_private_stacks();
    features.probe_write_user = guru && knows(Helper::ProbeWriteUser);
    if kprobes {
        features.kprobe = Path::new("/sys/bus/event_source/devices/kprobe/type").exists();
        features.kprobe_multi = features.kprobe && features.attach_cookie && has_kprobe_multi();
        features.fentry = features.attach_cookie && function.is_some_and(has_trampolines);
    }
    Ok(Target {
        arch: Arch::X86_64,
        features,
        cpus: possible_cpus()?,
        page_size: page_size() as u32,
        ring_size,
        scratch_slots: SCRATCH_SLOTS,
        diagnostics: false,
        unwind: None,
        stay: None,
    })
}

/// Whether the kernel preempts programs, as far as it says: while a trampoline's program is preempted, the kernel leaves
/// out all hits of other tasks on that CPU (measured: 44 % in a storm of six threads with `preempt=full`).
pub fn preempts() -> bool {
    let version = std::fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
    let mode = std::fs::read_to_string("/sys/kernel/debug/sched/preempt").unwrap_or_default();
    preempts_by(&version, &mode)
}

/// By the kernel's build, and by the mode that was chosen at boot where that can be: `none (voluntary) full`.
fn preempts_by(version: &str, mode: &str) -> bool {
    version.contains("PREEMPT") && !mode.contains("(none)") && !mode.contains("(voluntary)")
}

fn try_load(prog_type: ProgType, attach_type: AttachType, insns: &[Insn]) -> io::Result<Program> {
    load_small(None, false, prog_type, attach_type, insns)
}

fn load_small(
    function: Option<u32>,
    sleepable: bool,
    prog_type: ProgType,
    attach_type: AttachType,
    insns: &[Insn],
) -> io::Result<Program> {
    let mut bytes = Vec::with_capacity(insns.len() * 8);
    for insn in insns {
        encode(insn, &mut bytes);
    }
    prog_load_quietly(&ProgLoad {
        name: "feature",
        prog_type,
        attach_type,
        attach_btf_id: function,
        sleepable,
        insns: &bytes,
        license: c"GPL",
        lines: None,
    })
}

fn loads(prog_type: ProgType, insns: &[Insn]) -> bool {
    try_load(prog_type, AttachType::None, insns).is_ok()
}

/// Whether there is a helper: a call with arguments that are not set is refused for those (`EACCES`) only where the
/// verifier knows what the helper wants (`EINVAL` otherwise).
fn knows(helper: Helper) -> bool {
    match try_load(ProgType::Kprobe, AttachType::None, &[Insn::Call { helper }, Insn::Exit]) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(libc::EACCES),
    }
}

/// Whether a key may be longer than a program's stack.
fn has_long_keys() -> bool {
    let spec = MapSpec {
        name: "feature".into(),
        kind: MapKind::Hash,
        key_size: MAX_STACK + 8,
        value_size: 8,
        max_entries: 1,
    };
    BpfMap::create(&spec).is_ok()
}

fn nothing() -> [Insn; 2] {
    [Insn::Alu { op: AluOp::Mov, wide: true, dst: Reg::R0, src: Src::Imm(0) }, Insn::Exit]
}

/// Whether there can be a trampoline at a function that gives its arguments by number.
fn has_trampolines(function: u32) -> bool {
    let mov = |dst, src| Insn::Alu { op: AluOp::Mov, wide: true, dst, src };
    let insns = [
        Insn::Store { size: Size::Dw, base: Reg::FRAME, off: -8, src: Src::Imm(0) },
        mov(Reg::R2, Src::Imm(0)),
        mov(Reg::R3, Src::Reg(Reg::FRAME)),
        Insn::Alu { op: AluOp::Add, wide: true, dst: Reg::R3, src: Src::Imm(-8) },
        Insn::Call { helper: Helper::GetFuncArg },
        mov(Reg::R0, Src::Imm(0)),
        Insn::Exit,
    ];
    load_small(Some(function), false, ProgType::Tracing, AttachType::Fentry, &insns).is_ok()
}

/// Whether programs for uprobes may sleep, and then fetch memory of the program that they are in.
fn sleeps() -> bool {
    let mov = |dst, src| Insn::Alu { op: AluOp::Mov, wide: true, dst, src };
    let insns = [
        mov(Reg::R1, Src::Reg(Reg::FRAME)),
        Insn::Alu { op: AluOp::Add, wide: true, dst: Reg::R1, src: Src::Imm(-8) },
        mov(Reg::R2, Src::Imm(8)),
        mov(Reg::R3, Src::Imm(0)),
        Insn::Call { helper: Helper::CopyFromUser },
        mov(Reg::R0, Src::Imm(0)),
        Insn::Exit,
    ];
    load_small(None, true, ProgType::Kprobe, AttachType::None, &insns).is_ok()
}

/// Whether frames are not on the kernel's stack, whose limit two of these together exceed.
fn has_private_stacks() -> bool {
    let fill =
        |size: i32| Insn::Store { size: Size::Dw, base: Reg::FRAME, off: -(size as i16), src: Src::Imm(0) };
    let [zero, exit] = nothing();
    let insns = [fill(400), Insn::CallLocal { off: 2 }, zero, exit, fill(400), zero, exit];
    loads(ProgType::Kprobe, &insns)
}

/// Whether programs for uprobes may call these functions, which have no arguments.
pub fn calls(functions: &[i32]) -> bool {
    let mut insns: Vec<Insn> = functions.iter().map(|btf_id| Insn::CallKfunc { btf_id: *btf_id }).collect();
    insns.extend(nothing());
    loads(ProgType::Kprobe, &insns)
}

/// A kernel that knows the link looks at the path, and finds a directory: `EBADF`.
fn has_uprobe_multi() -> bool {
    let Ok(program) = try_load(ProgType::Kprobe, AttachType::UprobeMulti, &nothing()) else { return false };
    let places = UserPlaces { path: "/".into(), offsets: vec![0], ..UserPlaces::default() };
    match uprobe_multi(&program, &places, false, None) {
        Ok(_) => true,
        Err(error) => error.raw_os_error() == Some(libc::EBADF),
    }
}

/// A kernel that knows the link looks for the function, and finds none.
fn has_kprobe_multi() -> bool {
    let Ok(program) = try_load(ProgType::Kprobe, AttachType::KprobeMulti, &nothing()) else { return false };
    match kprobe_multi(&program, &["no such function".into()], &[0], false) {
        Ok(_) => true,
        Err(error) => !matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preemption_by_build_and_by_mode() {
        assert!(!preempts_by("#1 SMP Debian 5.10.1-1", ""));
        assert!(preempts_by("#1 SMP PREEMPT Debian", ""));
        assert!(preempts_by("#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1", ""), "nobody says otherwise");
        assert!(preempts_by("#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1", "none voluntary (full) lazy\n"));
        assert!(preempts_by("#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1", "none voluntary full (lazy)\n"));
        assert!(!preempts_by("#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1", "none (voluntary) full\n"));
    }
}
