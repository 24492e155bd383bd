//! CPUs, pages, and waiting for processes and handlers.
//!
//! **Not here:** the command of `-c` (`command`).

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Number of possible CPUs: rows of a per-CPU value.
pub fn possible_cpus() -> io::Result<u32> {
    use std::sync::OnceLock;
    static CPUS: OnceLock<u32> = OnceLock::new();
    if let Some(cpus) = CPUS.get() {
        return Ok(*cpus);
    }
    const POSSIBLE: &str = "/sys/devices/system/cpu/possible";
    let text = fs::read_to_string(POSSIBLE)
        .map_err(|error| io::Error::new(error.kind(), format!("{POSSIBLE}: {error}; is /sys mounted?")))?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<u32>().ok());
    let cpus = last.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))? + 1;
    Ok(*CPUS.get_or_init(|| cpus))
}

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: takes a number, returns a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Waits until every handler that was running has ended: a grace period of the kernel's read-copy-update, under which
/// programs run (`membarrier(2)`, `MEMBARRIER_CMD_GLOBAL`, 4.16). Where the kernel refuses, nothing is waited for.
pub fn wait_for_handlers() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes numbers, touches no memory of ours.
    unsafe {
        libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
    }
}

/// Leaves closing this process's descriptors to a child that outlives it by a moment: detaching a uprobe keeps whoever
/// closes its link waiting for a twentieth of a second, which nobody needs to watch. Whether that could be arranged.
///
/// The child has no terminal and none of our standard streams, does nothing but wait for us to end, and then ends too.
pub fn close_in_background() -> bool {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return false;
    }
    // SAFETY: the child calls only async-signal-safe functions.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above; the byte is ours.
        unsafe {
            libc::setsid();
            libc::close(ends[1]);
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            for stream in 0..3 {
                libc::dup2(null, stream);
            }
            let mut byte = 0u8;
            // Ends when the last writer is gone: when our parent has ended.
            libc::read(ends[0], (&raw mut byte).cast(), 1);
            libc::_exit(0);
        }
    }
    // SAFETY: closes what was opened above and is used by nobody here; the other end stays open until this process ends.
    unsafe {
        libc::close(ends[0]);
        if pid < 0 {
            libc::close(ends[1]);
        }
    }
    pid > 0
}

/// Waits for a process to end.
#[derive(Debug)]
pub struct Waiter(OwnedFd);

impl Waiter {
    /// A process, child or not (`pidfd_open`, 5.3).
    pub fn new(pid: u32) -> io::Result<Waiter> {
        // SAFETY: takes numbers, returns a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours.
        Ok(Waiter(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// The descriptor that becomes readable when the process has ended.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}
