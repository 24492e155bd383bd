//! A mapped array: the first value of a `BPF_F_MMAPABLE` array as atomic words, read without a system call.
//!
//! Programs write to the same memory at any time, so every access is atomic, word by word: a word is never torn, a
//! longer value can be. Minimum kernel: 5.5.
//!
//! **Not here:** what the words mean (`tracer_common::ledger`, `layout`), mapped files.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bpf_map::BpfMap;
use super::process::page_size;

/// The value, mapped.
#[derive(Debug)]
pub struct MapView {
    words: NonNull<AtomicU64>,
    /// Bytes of the value.
    size: usize,
    /// Bytes of the mapping.
    mapped: usize,
}

// SAFETY: the memory is shared with the kernel anyway; all accesses are atomic, and only `drop` unmaps it.
unsafe impl Send for MapView {}
// SAFETY: as above.
unsafe impl Sync for MapView {}

impl MapView {
    /// Maps a one-entry array.
    pub fn new(map: &BpfMap) -> io::Result<MapView> {
        MapView::shared(map.as_fd(), map.value_size())
    }

    /// Maps the memory behind a file that it shares with the kernel.
    pub(super) fn shared(file: BorrowedFd<'_>, size: usize) -> io::Result<MapView> {
        let mapped = size.next_multiple_of(page_size());
        // SAFETY: a new shared mapping of a file; the kernel checks that there is memory of at least this size.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(MapView { words, size, mapped })
    }

    /// Bytes of the value.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The word at a byte offset, which must be a multiple of 8 inside the value.
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(
            offset.is_multiple_of(8) && offset < self.size,
            "this is a bug: offset {offset} of a mapped value of {} bytes",
            self.size
        );
        // SAFETY: aligned, and inside the mapping (whole pages); the kernel changes the word only as a whole.
        unsafe { self.words.add(offset / 8).as_ref() }
    }

    /// Reads a word.
    pub fn load(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes a word.
    pub fn store(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Reads bytes, word by word.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        for (index, chunk) in bytes.chunks_mut(8).enumerate() {
            let word = self.load(offset + index * 8).to_ne_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// Writes bytes, word by word; a last word that is not full is filled with zeros.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.store(offset + index * 8, u64::from_ne_bytes(word));
        }
    }
}

impl Drop for MapView {
    fn drop(&mut self) {
        // SAFETY: our own mapping; references into it borrow `self`.
        unsafe {
            libc::munmap(self.words.as_ptr().cast(), self.mapped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bpf_map::Update;
    use super::super::testing::root;
    use super::*;
    use tracer_common::layout::{MapKind, MapSpec};

    #[test]
    fn memory_and_map_are_the_same() {
        if !root() {
            return;
        }
        let spec = MapSpec {
            name: "view".into(),
            kind: MapKind::MappedArray,
            key_size: 4,
            value_size: 40,
            max_entries: 1,
        };
        let map = BpfMap::create(&spec).expect("a map");
        let view = MapView::new(&map).expect("a mapping");
        map.update(&[0; 4], &[5; 40], Update::Any).expect("update");
        assert_eq!(view.load(32), 0x0505_0505_0505_0505);
        view.word(32).fetch_add(1, Ordering::Relaxed);
        view.write(8, b"hello word");
        let mut back = [0; 40];
        map.lookup(&[0; 4], &mut back).expect("lookup");
        assert_eq!((back[32], back[33]), (6, 5));
        assert_eq!(&back[8..26], b"hello word\0\0\0\0\0\0\x05\x05");
        let mut text = [0; 10];
        view.read(8, &mut text);
        assert_eq!(&text, b"hello word");
    }

    #[test]
    #[should_panic(expected = "this is a bug: offset 40")]
    fn nothing_beyond_the_value() {
        if !root() {
            panic!("this is a bug: offset 40 (no root, nothing to map)");
        }
        let spec = MapSpec {
            name: "view".into(),
            kind: MapKind::MappedArray,
            key_size: 4,
            value_size: 40,
            max_entries: 1,
        };
        let map = BpfMap::create(&spec).expect("a map");
        MapView::new(&map).expect("a mapping").load(40);
    }
}
