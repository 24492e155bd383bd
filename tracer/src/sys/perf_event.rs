//! Perf events that programs are attached to: single kprobes and uprobes, samples.
//!
//! The PMU types of probes are read from sysfs, so tracefs need not be mounted. Minimum kernel: 4.17 for probe PMUs,
//! 4.20 for reference counters.
//!
//! **Not here:** attaching the program (`link`).

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tracer_common::manifest::Sampling;

use super::syscall::{Attr, Syscall, call, call_fd};
use super::uapi::perf;

/// An opened event.
#[derive(Debug)]
pub struct PerfEvent(OwnedFd);

impl AsFd for PerfEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The dynamic type number of a PMU.
pub(super) fn pmu_type(name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/sys/bus/event_source/devices/{name}/type"))?;
    text.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// A place in a user-space file; `pid` limits it to one process.
pub fn uprobe(
    path: &str,
    offset: u64,
    semaphore: u64,
    is_return: bool,
    pid: Option<u32>,
) -> io::Result<PerfEvent> {
    let path = CString::new(path)?;
    let config = u64::from(is_return) | semaphore << perf::UPROBE_REF_CTR_SHIFT;
    let mut attr = Attr::new()
        .u32(perf::TYPE, pmu_type("uprobe")?)
        .u32(perf::SIZE, perf::ATTR_SIZE)
        .u64(perf::CONFIG, config)
        .u64(perf::SAMPLE_PERIOD, 1)
        .u32(perf::WAKEUP_EVENTS, 1)
        .c_str(perf::CONFIG1, &path)
        .u64(perf::CONFIG2, offset);
    let (pid, cpu) = match pid {
        Some(pid) => (pid as i32, -1),
        None => (-1, 0),
    };
    call_fd(Syscall::PerfEventOpen { attr: &mut attr, pid, cpu }).map(PerfEvent)
}

/// A place in the kernel.
pub fn kprobe(symbol: &str, offset: u64, is_return: bool) -> io::Result<PerfEvent> {
    let symbol = CString::new(symbol)?;
    let mut attr = Attr::new()
        .u32(perf::TYPE, pmu_type("kprobe")?)
        .u32(perf::SIZE, perf::ATTR_SIZE)
        .u64(perf::CONFIG, u64::from(is_return))
        .u64(perf::SAMPLE_PERIOD, 1)
        .u32(perf::WAKEUP_EVENTS, 1)
        .c_str(perf::CONFIG1, &symbol)
        .u64(perf::CONFIG2, offset);
    call_fd(Syscall::PerfEventOpen { attr: &mut attr, pid: -1, cpu: 0 }).map(PerfEvent)
}

/// What opening an event on a CPU that is off fails with.
pub const NO_DEVICE: i32 = libc::ENODEV;

/// Samples of an event on one CPU.
pub fn sample(kind: u32, config: u64, sampling: Sampling, cpu: u32) -> io::Result<PerfEvent> {
    let (rate, flags) = match sampling {
        Sampling::Period(period) => (period, 0),
        Sampling::Frequency(frequency) => (frequency, perf::FREQ),
    };
    let mut attr = Attr::new()
        .u32(perf::TYPE, kind)
        .u32(perf::SIZE, perf::ATTR_SIZE)
        .u64(perf::CONFIG, config)
        .u64(perf::SAMPLE_PERIOD, rate)
        .u64(perf::FLAGS, flags);
    call_fd(Syscall::PerfEventOpen { attr: &mut attr, pid: -1, cpu: cpu as i32 }).map(PerfEvent)
}

/// What tasks map and execute, on one CPU: of a task and the children that it will have, or of all. Read by
/// [`super::perf_ring::PerfRing`]. Minimum kernel: 4.1.
pub(super) fn mappings(task: Option<u32>, cpu: u32) -> io::Result<PerfEvent> {
    let flags = perf::MMAP | perf::COMM | perf::TASK | perf::SAMPLE_ID_ALL | perf::MMAP2 | perf::COMM_EXEC;
    let mut attr = Attr::new()
        .u32(perf::TYPE, perf::TYPE_SOFTWARE)
        .u32(perf::SIZE, perf::ATTR_SIZE)
        .u64(perf::CONFIG, perf::SW_DUMMY)
        .u64(perf::SAMPLE_TYPE, perf::SAMPLE_TIME)
        .u64(perf::FLAGS, flags | if task.is_some() { perf::INHERIT } else { 0 });
    let pid = task.map_or(-1, |task| task as i32);
    call_fd(Syscall::PerfEventOpen { attr: &mut attr, pid, cpu: cpu as i32 }).map(PerfEvent)
}

impl PerfEvent {
    /// Attaches a program without a link and enables the event: kernels before 5.15.
    pub fn set_program(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let argument = program.as_raw_fd() as u64;
        call(Syscall::PerfEventIoctl {
            event: self.as_fd(),
            request: perf::PERF_EVENT_IOC_SET_BPF,
            argument,
        })?;
        call(Syscall::PerfEventIoctl {
            event: self.as_fd(),
            request: perf::PERF_EVENT_IOC_ENABLE,
            argument: 0,
        })?;
        Ok(())
    }
}
