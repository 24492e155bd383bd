//! Programs and their BTF: loading, and what the kernel tells about them.
//!
//! A program is loaded without a log; only when the kernel refuses is it tried again with one, so that the usual case
//! pays nothing. Minimum kernel: 5.10 for everything here.
//!
//! **Not here:** instructions (`tracer_ebpf::isa`), what a refusal means for the user (`run::loader`), maps.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::syscall::{Attr, Syscall, call, call_fd};
use super::uapi::{BPF_F_SLEEPABLE, attach_type, cmd};

/// `enum bpf_prog_type`, as far as we use it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ProgType {
    /// kprobes and uprobes, single and multi.
    Kprobe = 2,
    /// perf tracepoints.
    Tracepoint = 5,
    /// perf events.
    PerfEvent = 7,
    /// Raw tracepoints by name.
    RawTracepoint = 17,
    /// fentry, fexit, raw tracepoints by BTF.
    Tracing = 26,
}

/// `enum bpf_attach_type`, as far as programs are loaded for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachType {
    /// The program type says it all.
    None,
    /// tp_btf.
    RawTracepoint,
    /// Function entry by trampoline.
    Fentry,
    /// Function exit by trampoline.
    Fexit,
    /// Many kernel functions (5.18).
    KprobeMulti,
    /// Entry and return of many kernel functions (6.10).
    KprobeSession,
    /// Many places of a user file (6.6).
    UprobeMulti,
    /// Entry and return of many user functions (6.13).
    UprobeSession,
}

impl AttachType {
    pub(super) fn number(self) -> u32 {
        match self {
            AttachType::None => 0,
            AttachType::RawTracepoint => attach_type::BPF_TRACE_RAW_TP,
            AttachType::Fentry => attach_type::BPF_TRACE_FENTRY,
            AttachType::Fexit => attach_type::BPF_TRACE_FEXIT,
            AttachType::KprobeMulti => attach_type::BPF_TRACE_KPROBE_MULTI,
            AttachType::KprobeSession => attach_type::BPF_TRACE_KPROBE_SESSION,
            AttachType::UprobeMulti => attach_type::BPF_TRACE_UPROBE_MULTI,
            AttachType::UprobeSession => attach_type::BPF_TRACE_UPROBE_SESSION,
        }
    }
}

/// Function and line tables of a program, in the kernel's `struct bpf_func_info` and `struct bpf_line_info`.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The loaded BTF that the tables refer to.
    pub btf: BorrowedFd<'a>,
    /// Rows of 8 bytes: instruction, type.
    pub functions: &'a [u8],
    /// Rows of 16 bytes: instruction, file, text, line and column.
    pub lines: &'a [u8],
}

/// A program to load.
#[derive(Clone, Copy, Debug)]
pub struct ProgLoad<'a> {
    /// Shown by the kernel; cut to 15 bytes.
    pub name: &'a str,
    /// Its type.
    pub prog_type: ProgType,
    /// What it will be attached to.
    pub attach_type: AttachType,
    /// For [`ProgType::Tracing`]: the function's or tracepoint's type in the kernel's BTF.
    pub attach_btf_id: Option<u32>,
    /// May fault while it reads user memory.
    pub sleepable: bool,
    /// Instructions, 8 bytes each.
    pub insns: &'a [u8],
    /// `GPL`, mostly.
    pub license: &'a CStr,
    /// Tables that let the log show script lines, and that callbacks need.
    pub lines: Option<Lines<'a>>,
}

/// A refused program.
#[derive(Debug)]
pub struct LoadRefused {
    /// The kernel's answer.
    pub error: io::Error,
    /// The verifier's log; empty where it never ran.
    pub log: String,
}

impl fmt::Display for LoadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refused the program: {}", self.error)
    }
}

impl std::error::Error for LoadRefused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A loaded program.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sizes of the log that are tried, until the whole log fits.
const LOG_SIZES: [usize; 4] = [64 << 10, 1 << 20, 8 << 20, 64 << 20];

/// Loads a program.
pub fn prog_load(load: &ProgLoad<'_>) -> Result<Program, LoadRefused> {
    let error = match load_once(load, &mut []) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    // Without permission, or with a malformed request, the verifier has nothing to say.
    if matches!(error.raw_os_error(), Some(libc::EPERM | libc::E2BIG)) {
        let mut log = vec![0; 4096];
        return match load_once(load, &mut log) {
            Ok(program) => Ok(program),
            Err(_) => Err(LoadRefused { error, log: text(&log) }),
        };
    }
    let mut last = (error, String::new());
    for size in LOG_SIZES {
        let mut log = vec![0; size];
        match load_once(load, &mut log) {
            Ok(program) => return Ok(program),
            Err(error) => {
                let full = error.raw_os_error() == Some(libc::ENOSPC);
                // Where the log is cut, the first answer is the one that tells.
                last = (if full { last.0 } else { error }, text(&log));
                if !full {
                    break;
                }
            }
        }
    }
    Err(LoadRefused { error: last.0, log: last.1 })
}

/// Loads a program whose refusal is an answer too: without a log.
pub fn prog_load_quietly(load: &ProgLoad<'_>) -> io::Result<Program> {
    load_once(load, &mut [])
}

/// The text of a log buffer.
fn text(log: &[u8]) -> String {
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

fn load_once(load: &ProgLoad<'_>, log: &mut [u8]) -> io::Result<Program> {
    let mut attr = Attr::new()
        .u32(0, load.prog_type as u32)
        .u32(4, (load.insns.len() / 8) as u32)
        .input(8, load.insns)
        .c_str(16, load.license)
        .name(48, load.name)
        .u32(68, load.attach_type.number());
    if load.sleepable {
        attr = attr.u32(44, BPF_F_SLEEPABLE);
    }
    if !log.is_empty() {
        attr = attr.u32(24, 1).u32(28, log.len() as u32).output(32, log);
    }
    if let Some(lines) = &load.lines {
        attr = attr.fd(72, lines.btf);
        if !lines.functions.is_empty() {
            attr = attr.u32(76, 8).input(80, lines.functions).u32(88, (lines.functions.len() / 8) as u32);
        }
        if !lines.lines.is_empty() {
            attr = attr.u32(92, 16).input(96, lines.lines).u32(104, (lines.lines.len() / 16) as u32);
        }
    }
    if let Some(id) = load.attach_btf_id {
        attr = attr.u32(108, id);
    }
    call_fd(Syscall::Bpf { cmd: cmd::BPF_PROG_LOAD, attr: &mut attr }).map(Program)
}

/// Loads BTF.
pub fn btf_load(btf: &[u8]) -> Result<OwnedFd, LoadRefused> {
    let load = |log: &mut [u8]| {
        let mut attr = Attr::new().input(0, btf).u32(16, btf.len() as u32);
        if !log.is_empty() {
            attr = attr.u32(20, log.len() as u32).u32(24, 1).output(8, log);
        }
        call_fd(Syscall::Bpf { cmd: cmd::BPF_BTF_LOAD, attr: &mut attr })
    };
    load(&mut []).or_else(|error| {
        let mut log = vec![0; 256 << 10];
        load(&mut log).map_err(|_| LoadRefused { error, log: text(&log) })
    })
}

/// What the kernel counts for a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ProgInfo {
    /// Its number, as bpftool shows it.
    pub id: u32,
    /// Nanoseconds and runs, while `kernel.bpf_stats_enabled` is on.
    pub run_time_ns: u64,
    /// Runs, as above.
    pub run_count: u64,
    /// Runs that were left out because the program was already running on that CPU (5.12).
    pub recursion_misses: u64,
    /// Instructions that the verifier walked through (5.16).
    pub verified_insns: u32,
}

impl Program {
    /// Asks the kernel about the program. Fields that the kernel does not know are 0.
    pub fn info(&self) -> io::Result<ProgInfo> {
        let info = object_info::<224>(self.as_fd())?;
        Ok(ProgInfo {
            id: u32_at(&info, 4),
            run_time_ns: u64_at(&info, 192),
            run_count: u64_at(&info, 200),
            recursion_misses: u64_at(&info, 208),
            verified_insns: u32_at(&info, 216),
        })
    }

    /// Runs the program once, on this CPU, with these words as its context: [`ProgType::RawTracepoint`] only (5.10).
    pub fn test_run(&self, words: &[u64]) -> io::Result<()> {
        let mut attr = Attr::new().fd(0, self.as_fd()).u32(40, size_of_val(words) as u32).input(48, words);
        call(Syscall::Bpf { cmd: cmd::BPF_PROG_TEST_RUN, attr: &mut attr })?;
        Ok(())
    }
}

/// `BPF_OBJ_GET_INFO_BY_FD`; what the kernel does not fill stays 0.
pub(super) fn object_info<const N: usize>(fd: BorrowedFd<'_>) -> io::Result<[u8; N]> {
    let mut info = [0; N];
    let mut attr = Attr::new().fd(0, fd).u32(4, N as u32).output(8, &mut info);
    call(Syscall::Bpf { cmd: cmd::BPF_OBJ_GET_INFO_BY_FD, attr: &mut attr })?;
    Ok(info)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::super::syscall::fake;
    use super::super::testing::{exit_program, root};
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn load(insns: &[u8]) -> ProgLoad<'_> {
        ProgLoad {
            name: "test",
            prog_type: ProgType::Kprobe,
            attach_type: AttachType::None,
            attach_btf_id: None,
            sleepable: false,
            insns,
            license: c"GPL",
            lines: None,
        }
    }

    #[test]
    fn a_log_is_asked_for_after_a_refusal_only() {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&calls);
        let _fake = fake::install(move |call| {
            seen.borrow_mut().push((call.cmd, call.u32(24), call.u32(28), call.u32(68)));
            // The third log is large enough.
            let errno = if call.u32(28) < 8 << 20 && call.u32(24) == 1 { libc::ENOSPC } else { libc::EINVAL };
            Err(io::Error::from_raw_os_error(errno))
        });
        let insns = exit_program();
        let refused = prog_load(&ProgLoad { attach_type: AttachType::UprobeMulti, ..load(&insns) });
        let error = refused.expect_err("the fake refuses").error;
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let sizes: Vec<_> = calls.borrow().iter().map(|(_, level, size, _)| (*level, *size)).collect();
        assert_eq!(sizes, [(0, 0), (1, 64 << 10), (1, 1 << 20), (1, 8 << 20)]);
        assert!(calls.borrow().iter().all(|(cmd, _, _, attach)| (*cmd, *attach) == (5, 48)));
    }

    #[test]
    fn the_kernel_loads_and_counts() {
        if !root() {
            return;
        }
        let insns = exit_program();
        let program = prog_load(&load(&insns)).expect("r0 = 0; exit");
        let info = program.info().expect("about our own program");
        assert!(info.id > 0 && info.verified_insns == 2, "{info:?}");
    }

    #[test]
    fn the_verifier_tells_why() {
        if !root() {
            return;
        }
        // exit, without a value in r0.
        let refused = prog_load(&load(&[0x95, 0, 0, 0, 0, 0, 0, 0])).expect_err("r0 is not set");
        assert!(refused.log.contains("R0 !read_ok"), "{refused:?}");
    }

    #[test]
    fn bad_btf_is_refused() {
        if root() {
            assert!(btf_load(b"not BTF at all, not at all").is_err());
        }
    }
}
