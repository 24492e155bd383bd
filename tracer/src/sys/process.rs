//! CPUs, pages, the command of `-c` that is held until the probes are armed, and waiting for processes.
//!
//! The child is forked at once, so that its process id is known, but waits on a pipe before it executes the command:
//! no instruction of the traced program runs before [`Child::release`].

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Number of possible CPUs: rows of a per-CPU value.
pub fn possible_cpus() -> io::Result<u32> {
    use std::sync::OnceLock;
    static CPUS: OnceLock<u32> = OnceLock::new();
    if let Some(cpus) = CPUS.get() {
        return Ok(*cpus);
    }
    let text = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<u32>().ok());
    let cpus = last.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))? + 1;
    Ok(*CPUS.get_or_init(|| cpus))
}

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: takes a number, returns a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// A command that waits to be released.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    /// The process becomes the program itself, not a shell that starts it.
    direct: bool,
    gate: Option<OwnedFd>,
}

impl Child {
    /// Forks a child that will run a shell command, `exec`ed so that the shell is gone when it is one program.
    pub fn hold(command: &str) -> io::Result<Child> {
        // A plain command is run directly: its process is then the traced program from its first instruction.
        let simple = !command.contains([
            '|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '\n',
        ]) && !command.split_whitespace().next().is_some_and(|first| first.contains('='));
        let words: Vec<CString> = if simple {
            command.split_whitespace().map(CString::new).collect::<Result<_, _>>()?
        } else {
            vec![c"sh".into(), c"-c".into(), CString::new(command)?]
        };
        if words.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        }
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: both descriptors are new and ours.
        let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        // SAFETY: the child calls only async-signal-safe functions, on memory prepared before the fork.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: as above; `execvp` searches PATH with memory that the parent prepared.
            unsafe {
                libc::close(write.as_raw_fd());
                let mut byte = 0u8;
                let got = libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1);
                if got == 1 {
                    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                    libc::execvp(pointers[0], pointers.as_ptr());
                    let message = b"tracer: cannot run the command of -c\n";
                    libc::write(2, message.as_ptr().cast(), message.len());
                }
                libc::_exit(127);
            }
        }
        Ok(Child { pid: pid as u32, direct: simple, gate: Some(write) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process becomes the traced program itself: a shell's children are processes of their own.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Lets it run.
    pub fn release(&mut self) -> io::Result<()> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        // SAFETY: writes one byte to a pipe of ours.
        let written = unsafe { libc::write(gate.as_raw_fd(), b"g".as_ptr().cast(), 1) };
        if written == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A child that was never released sees the gate close and ends by itself; one that runs on is told to end.
        if self.gate.take().is_none() {
            let mut status = 0;
            // SAFETY: both calls name our own child, which nobody else waits for.
            unsafe {
                if libc::waitpid(self.pid as i32, &raw mut status, libc::WNOHANG) == 0 {
                    libc::kill(self.pid as i32, libc::SIGTERM);
                }
            }
        }
    }
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
