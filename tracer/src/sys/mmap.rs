//! Files mapped into memory, read-only.
//!
//! A file that somebody truncates while it is mapped makes reads beyond its new end fault: as with every other tool
//! that maps object files, the machine's owner is trusted not to do that.
//!
//! Mappings are shared where the file lets them: into private ones the kernel writes the breakpoints of uprobes, those of
//! other tracers too, and code would be read with them (`valid_vma` in kernel/events/uprobes.c).

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use stable_deref_trait::{CloneStableDeref, StableDeref};

/// A mapping; unmapped when dropped.
#[derive(Debug)]
pub struct Mapped {
    address: *mut libc::c_void,
    length: usize,
}

// SAFETY: the mapping is read-only; sharing it between threads shares plain bytes.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the first `length` bytes of a file; `length` is not 0.
    pub fn new(file: &File, length: u64) -> io::Result<Mapped> {
        let length = usize::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let map = |kind| {
            // SAFETY: a fresh read-only mapping of an open file; the kernel chooses the address and checks the rest.
            let address = unsafe {
                libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, kind, file.as_raw_fd(), 0)
            };
            if address == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            Ok(Mapped { address, length })
        };
        // The kernel's own types, for one, are not to be shared.
        map(libc::MAP_SHARED).or_else(|_| map(libc::MAP_PRIVATE))
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is that long, readable, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.address.cast(), self.length) }
    }
}

/// Bytes that stay where they are for as long as somebody has them: a part of a mapped file, or bytes of our own.
#[derive(Clone, Debug)]
pub enum Part {
    /// Of a file.
    Mapped(Arc<Mapped>, Range<usize>),
    /// Ours.
    Owned(Arc<[u8]>),
}

impl Deref for Part {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Part::Mapped(file, range) => file.get(range.clone()).unwrap_or_default(),
            Part::Owned(bytes) => bytes,
        }
    }
}

// SAFETY: what both variants point to is behind an `Arc`: moving a `Part` does not move the bytes.
unsafe impl StableDeref for Part {}
// SAFETY: a clone shares the `Arc`, and so has the same bytes at the same address.
unsafe impl CloneStableDeref for Part {}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and is not used after this.
        unsafe {
            libc::munmap(self.address, self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_breakpoints_of_others_are_in_a_mapping() {
        let path = std::env::current_exe().expect("our own file");
        let mapping =
            Mapped::new(&File::open(path).expect("it can be read"), 4096).expect("it can be mapped");
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("our mappings");
        let begin = format!("{:x}-", mapping.address as usize);
        let ours = maps.lines().skip_while(|line| !line.starts_with(&begin));
        let flags = ours.filter_map(|line| line.strip_prefix("VmFlags:")).next().expect("its flags");
        assert!(flags.split(' ').any(|flag| flag == "ms"), "it may be shared: {flags}");
    }
}
