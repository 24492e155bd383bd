//! Links: programs attached to places; a link that is closed detaches.
//!
//! Minimum kernel: perf event links with cookies 5.15, kprobe_multi 5.18, uprobe_multi 6.6, raw tracepoints 4.17, trampolines 5.5.
//!
//! **Not here:** which kind of link to use (`run::attach`).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::bpf::{object_info, u32_at, u64_at};
use super::perf_event::PerfEvent;
use super::syscall::{Attr, Syscall, call_fd};
use super::uapi::{MULTI_RETURN, attach_type, cmd};

/// An attached program.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
    kind: Kind,
    places: usize,
    /// The event behind a perf link, which must outlive it.
    _event: Option<PerfEvent>,
}

/// What holds a program at its places.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Many places of a user-space file.
    UprobeMulti,
    /// Many kernel functions.
    KprobeMulti,
    /// A perf event.
    PerfEvent,
    /// A raw tracepoint.
    RawTracepoint,
    /// A function's trampoline.
    Trampoline,
}

impl Kind {
    /// Its name, as BPF documentation has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::UprobeMulti => "uprobe_multi",
            Kind::KprobeMulti => "kprobe_multi",
            Kind::PerfEvent => "perf event",
            Kind::RawTracepoint => "raw tracepoint",
            Kind::Trampoline => "trampoline",
        }
    }
}

impl Link {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// At how many places.
    pub fn places(&self) -> usize {
        self.places
    }

    /// Hits for which the kernel could not even start the program: it was inside another probe, or had no memory for one
    /// more return. Counted since 6.7 for functions of the kernel; 0 where the kernel does not count.
    pub fn missed(&self) -> u64 {
        // Offsets in `struct bpf_link_info`.
        const KPROBE: u32 = 3;
        const KRETPROBE: u32 = 4;
        match (self.kind, object_info::<64>(self.fd.as_fd())) {
            (Kind::KprobeMulti, Ok(info)) => u64_at(&info, 32),
            (Kind::PerfEvent, Ok(info)) if matches!(u32_at(&info, 16), KPROBE | KRETPROBE) => {
                u64_at(&info, 48)
            }
            _ => 0,
        }
    }
}

/// Places of one user-space file for one link.
#[derive(Clone, Debug, Default)]
pub struct UserPlaces {
    /// The file.
    pub path: String,
    /// Offsets in it.
    pub offsets: Vec<u64>,
    /// Offsets of semaphores; empty when no place has one, 0 where one has none.
    pub semaphores: Vec<u64>,
    /// What `bpf_get_attach_cookie` gives at each place.
    pub cookies: Vec<u64>,
}

/// Many places of a user-space file.
pub fn uprobe_multi(
    program: &impl AsFd,
    places: &UserPlaces,
    is_return: bool,
    pid: Option<u32>,
) -> io::Result<Link> {
    let path = CString::new(places.path.as_str())?;
    let mut attr = Attr::new()
        .fd(0, program.as_fd())
        .u32(8, attach_type::BPF_TRACE_UPROBE_MULTI)
        .c_str(16, &path)
        .input(24, &places.offsets)
        .input(32, &places.semaphores)
        .input(40, &places.cookies)
        .u32(48, places.offsets.len() as u32)
        .u32(52, if is_return { MULTI_RETURN } else { 0 })
        .u32(56, pid.unwrap_or(0));
    link(&mut attr, Kind::UprobeMulti, places.offsets.len())
}

/// Many kernel functions.
pub fn kprobe_multi(
    program: &impl AsFd,
    symbols: &[String],
    cookies: &[u64],
    is_return: bool,
) -> io::Result<Link> {
    let names = symbols.iter().map(|s| CString::new(s.as_str())).collect::<Result<Vec<_>, _>>()?;
    let pointers: Vec<u64> = names.iter().map(|name| name.as_ptr() as u64).collect();
    let mut attr = Attr::new()
        .fd(0, program.as_fd())
        .u32(8, attach_type::BPF_TRACE_KPROBE_MULTI)
        .u32(16, if is_return { MULTI_RETURN } else { 0 })
        .u32(20, symbols.len() as u32)
        .input(24, &pointers)
        .input(40, cookies);
    link(&mut attr, Kind::KprobeMulti, symbols.len())
}

/// A perf event, with a cookie.
pub fn perf_event(program: &impl AsFd, event: PerfEvent, cookie: u64) -> io::Result<Link> {
    let fd = {
        let mut attr = Attr::new()
            .fd(0, program.as_fd())
            .fd(4, event.as_fd())
            .u32(8, attach_type::BPF_PERF_EVENT)
            .u64(16, cookie);
        call_fd(Syscall::Bpf { cmd: cmd::BPF_LINK_CREATE, attr: &mut attr })?
    };
    Ok(Link { fd, kind: Kind::PerfEvent, places: 1, _event: Some(event) })
}

/// A perf event on a kernel without perf links: the program is set on the event itself.
pub fn perf_event_without_link(program: &impl AsFd, event: PerfEvent) -> io::Result<Link> {
    event.set_program(program.as_fd())?;
    let fd = event.as_fd().try_clone_to_owned()?;
    Ok(Link { fd, kind: Kind::PerfEvent, places: 1, _event: Some(event) })
}

/// A raw tracepoint by name.
pub fn raw_tracepoint(program: &impl AsFd, name: &str, cookie: Option<u64>) -> io::Result<Link> {
    let name = CString::new(name)?;
    let mut attr = Attr::new().c_str(0, &name).fd(8, program.as_fd());
    if let Some(cookie) = cookie {
        attr = attr.u64(16, cookie);
    }
    let fd = call_fd(Syscall::Bpf { cmd: cmd::BPF_RAW_TRACEPOINT_OPEN, attr: &mut attr })?;
    Ok(Link { fd, kind: Kind::RawTracepoint, places: 1, _event: None })
}

/// The function that a tracing program was loaded for.
pub fn trampoline(program: &impl AsFd) -> io::Result<Link> {
    let mut attr = Attr::new().u64(0, 0).fd(8, program.as_fd());
    let fd = call_fd(Syscall::Bpf { cmd: cmd::BPF_RAW_TRACEPOINT_OPEN, attr: &mut attr })?;
    Ok(Link { fd, kind: Kind::Trampoline, places: 1, _event: None })
}

fn link(attr: &mut Attr<'_>, kind: Kind, places: usize) -> io::Result<Link> {
    let fd = call_fd(Syscall::Bpf { cmd: cmd::BPF_LINK_CREATE, attr })?;
    Ok(Link { fd, kind, places, _event: None })
}
