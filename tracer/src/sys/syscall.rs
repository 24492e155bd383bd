//! The one door to `bpf(2)` and `perf_event_open(2)`, and the argument block they share.
//!
//! Unit tests put a fake behind the door with `fake::install`; it sees every call and answers it, so that loading
//! and attaching can be tested without root.
//!
//! Invariant: an [`Attr`] borrows everything that its pointers point to, so a call never sees a dead buffer.
//!
//! **Not here:** mmap (`map_view`), processes (`process`).

use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One call of a tracing system call.
pub(super) enum Syscall<'c, 'a> {
    /// `bpf(cmd, attr)`.
    Bpf { cmd: u32, attr: &'c mut Attr<'a> },
    /// `perf_event_open(attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)`.
    PerfEventOpen { attr: &'c mut Attr<'a>, pid: i32, cpu: i32 },
    /// `ioctl(event, request, argument)`.
    PerfEventIoctl { event: BorrowedFd<'c>, request: u64, argument: u64 },
}

/// Performs a call. `EAGAIN` of `bpf` (a signal arrived while the verifier worked) is tried again.
pub(super) fn call(mut syscall: Syscall<'_, '_>) -> io::Result<i64> {
    for _ in 0..5 {
        match call_once(&mut syscall) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && matches!(syscall, Syscall::Bpf { .. }) => {}
            result => return result,
        }
    }
    call_once(&mut syscall)
}

/// Performs a call that returns a descriptor.
pub(super) fn call_fd(syscall: Syscall<'_, '_>) -> io::Result<OwnedFd> {
    let fd = call(syscall)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel (or a test's fake) has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call_once(syscall: &mut Syscall<'_, '_>) -> io::Result<i64> {
    #[cfg(test)]
    if let Some(answer) = fake::answer(syscall) {
        return answer;
    }
    let result = match syscall {
        Syscall::Bpf { cmd, attr } => {
            // SAFETY: the block is as long as `size` says, and every pointer in it borrows what it points to.
            unsafe { libc::syscall(libc::SYS_bpf, *cmd, attr.words.as_mut_ptr(), attr.size) }
        }
        Syscall::PerfEventOpen { attr, pid, cpu } => {
            // SAFETY: as above; the block's own `size` field bounds what the kernel reads.
            unsafe {
                libc::syscall(
                    libc::SYS_perf_event_open,
                    attr.words.as_mut_ptr(),
                    *pid,
                    *cpu,
                    -1,
                    super::uapi::perf::PERF_FLAG_FD_CLOEXEC,
                )
            }
        }
        Syscall::PerfEventIoctl { event, request, argument } => {
            // SAFETY: both requests that we use take an integer.
            unsafe { libc::syscall(libc::SYS_ioctl, event.as_raw_fd(), *request, *argument) }
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Words of the block: longer than any kernel's `union bpf_attr` that we fill.
const WORDS: usize = 20;

/// The argument block: `union bpf_attr` or `struct perf_event_attr`, written by field offset.
pub(super) struct Attr<'a> {
    words: [u64; WORDS],
    /// One past the last byte written: what the kernel is told as the size, so that old kernels see no unknown field.
    size: u32,
    borrowed: PhantomData<&'a mut [u8]>,
}

impl<'a> Attr<'a> {
    /// All zeros.
    pub(super) fn new() -> Attr<'a> {
        Attr { words: [0; WORDS], size: 0, borrowed: PhantomData }
    }

    fn reaches(&mut self, end: usize) {
        self.size = self.size.max(end as u32);
    }

    /// Puts a 32-bit field.
    pub(super) fn u32(mut self, at: usize, value: u32) -> Attr<'a> {
        let shift = (at % 8) * 8;
        let word = &mut self.words[at / 8];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
        self.reaches(at + 4);
        self
    }

    /// Puts a 64-bit field.
    pub(super) fn u64(mut self, at: usize, value: u64) -> Attr<'a> {
        self.words[at / 8] = value;
        self.reaches(at + 8);
        self
    }

    /// Puts a descriptor.
    pub(super) fn fd(self, at: usize, fd: BorrowedFd<'a>) -> Attr<'a> {
        self.u32(at, fd.as_raw_fd() as u32)
    }

    /// Puts the address of what the kernel reads.
    pub(super) fn input<T: Plain>(self, at: usize, data: &'a [T]) -> Attr<'a> {
        self.u64(at, if data.is_empty() { 0 } else { data.as_ptr() as u64 })
    }

    /// Puts the address of what the kernel writes.
    pub(super) fn output(self, at: usize, data: &'a mut [u8]) -> Attr<'a> {
        self.u64(at, data.as_mut_ptr() as u64)
    }

    /// Puts the address of a string.
    pub(super) fn c_str(self, at: usize, text: &'a CStr) -> Attr<'a> {
        self.u64(at, text.as_ptr() as u64)
    }

    /// Puts an object name: at most 15 bytes, and only the characters that the kernel allows.
    pub(super) fn name(mut self, at: usize, name: &str) -> Attr<'a> {
        for (index, byte) in name.bytes().take(15).enumerate() {
            let byte = if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.' { byte } else { b'_' };
            self.words[(at + index) / 8] |= u64::from(byte) << ((at + index) % 8 * 8);
        }
        self.reaches(at + 16);
        self
    }

    /// Reads a 32-bit field back.
    pub(super) fn get_u32(&self, at: usize) -> u32 {
        (self.words[at / 8] >> ((at % 8) * 8)) as u32
    }
}

/// Plain numbers, which the kernel may read as bytes.
pub(super) trait Plain {}
impl Plain for u8 {}
impl Plain for u32 {}
impl Plain for u64 {}

/// The fake behind the door.
#[cfg(test)]
pub(super) mod fake {
    use super::*;
    use std::cell::RefCell;

    /// What a fake does with a call.
    type Answer = Box<dyn FnMut(&Seen) -> io::Result<i64>>;

    thread_local! { static FAKE: RefCell<Option<Answer>> = const { RefCell::new(None) }; }

    /// A call as the fake sees it.
    pub(in crate::sys) struct Seen {
        /// `bpf` command, or `u32::MAX` for `perf_event_open` and `u32::MAX - 1` for its ioctl.
        pub(in crate::sys) cmd: u32,
        /// The block.
        pub(in crate::sys) words: Vec<u64>,
        /// Its size.
        pub(in crate::sys) size: u32,
    }

    impl Seen {
        /// A 32-bit field.
        pub(in crate::sys) fn u32(&self, at: usize) -> u32 {
            (self.words[at / 8] >> ((at % 8) * 8)) as u32
        }
    }

    /// Answers all calls of this thread until the guard is dropped.
    pub(in crate::sys) fn install(answer: impl FnMut(&Seen) -> io::Result<i64> + 'static) -> Guard {
        FAKE.with(|fake| *fake.borrow_mut() = Some(Box::new(answer)));
        Guard
    }

    /// Takes the fake away.
    pub(in crate::sys) struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            FAKE.with(|fake| *fake.borrow_mut() = None);
        }
    }

    pub(super) fn answer(syscall: &Syscall<'_, '_>) -> Option<io::Result<i64>> {
        FAKE.with(|fake| {
            let mut fake = fake.borrow_mut();
            let answer = fake.as_mut()?;
            let seen = match syscall {
                Syscall::Bpf { cmd, attr } => Seen { cmd: *cmd, words: attr.words.to_vec(), size: attr.size },
                Syscall::PerfEventOpen { attr, .. } => {
                    Seen { cmd: u32::MAX, words: attr.words.to_vec(), size: attr.size }
                }
                Syscall::PerfEventIoctl { .. } => Seen { cmd: u32::MAX - 1, words: Vec::new(), size: 0 },
            };
            Some(answer(&seen))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_share_words() {
        let attr = Attr::new().u32(4, 0xaabb_ccdd).u32(0, 1).u64(8, 7).u32(4, 2);
        assert_eq!((attr.words[0], attr.words[1], attr.size), (0x2_0000_0001, 7, 16));
        assert_eq!((attr.get_u32(0), attr.get_u32(4)), (1, 2));
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        let attr = Attr::new().name(28, "a/b.c<d>efghijklmno");
        let bytes: Vec<u8> = attr.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert_eq!(&bytes[28..44], b"a_b.c_d_efghijk\0");
        assert_eq!(attr.size, 44);
    }

    #[test]
    fn an_interrupted_verifier_is_asked_again() {
        let mut left = 2;
        let _fake = fake::install(move |seen| {
            assert_eq!((seen.cmd, seen.u32(0), seen.size), (5, 3, 4));
            left -= 1;
            if left > 0 { Err(io::Error::from_raw_os_error(libc::EAGAIN)) } else { Ok(9) }
        });
        let mut attr = Attr::new().u32(0, 3);
        assert_eq!(call(Syscall::Bpf { cmd: 5, attr: &mut attr }).expect("the second answer"), 9);
    }
}
