//! Maps as bytes: lookup, update, delete, walking, batches, per-CPU values, freezing.
//!
//! Key and value sizes are known only when the script is compiled, so everything here works on byte slices whose
//! lengths are checked against the map's. A per-CPU value is one row of `value_stride` bytes for each possible CPU.
//! Minimum kernel: batches 5.6; where a map or a kernel refuses them, [`BpfMap::entries`] walks key by key.
//!
//! **Not here:** what the bytes mean (`tracer_common::layout`), mapped arrays (`map_view`), ring buffers (aya).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::process::possible_cpus;
use super::syscall::{Attr, Syscall, call, call_fd};
use super::uapi::{BPF_F_MMAPABLE, cmd, map_type};
use tracer_common::layout::{MapKind, MapSpec};

/// A map with its sizes.
#[derive(Debug)]
pub struct BpfMap {
    fd: OwnedFd,
    key_size: usize,
    /// Bytes of a value as the kernel copies it: all CPUs for per-CPU maps.
    value_size: usize,
    /// Bytes from one CPU's value to the next; 0 when the map is not per CPU.
    stride: usize,
    max_entries: u32,
    hash: bool,
}

/// The error number of an insert into a full hash (`E2BIG`).
pub const FULL: i32 = libc::E2BIG;

/// What an update may do (`BPF_ANY`, `BPF_NOEXIST`, `BPF_EXIST`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Update {
    /// Insert or replace.
    Any = 0,
    /// Insert only: `EEXIST` otherwise.
    Insert = 1,
    /// Replace only: `ENOENT` otherwise.
    Replace = 2,
}

/// Entries of a map, packed: `keys` and `values` are rows of the map's sizes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entries {
    /// Keys, one after the other.
    pub keys: Vec<u8>,
    /// Values, one after the other.
    pub values: Vec<u8>,
    /// Number of entries.
    pub len: usize,
}

impl AsFd for BpfMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl BpfMap {
    /// Creates a map.
    pub fn create(spec: &MapSpec) -> io::Result<BpfMap> {
        let (kind, flags) = match spec.kind {
            MapKind::Array => (map_type::BPF_MAP_TYPE_ARRAY, 0),
            MapKind::MappedArray => (map_type::BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE),
            MapKind::PerCpuArray => (map_type::BPF_MAP_TYPE_PERCPU_ARRAY, 0),
            MapKind::Hash => (map_type::BPF_MAP_TYPE_HASH, 0),
            MapKind::LruHash => (map_type::BPF_MAP_TYPE_LRU_HASH, 0),
            MapKind::PerCpuHash => (map_type::BPF_MAP_TYPE_PERCPU_HASH, 0),
            MapKind::Stack => (map_type::BPF_MAP_TYPE_STACK, 0),
            MapKind::RingBuf => (map_type::BPF_MAP_TYPE_RINGBUF, 0),
            MapKind::StackTrace => (map_type::BPF_MAP_TYPE_STACK_TRACE, 0),
        };
        let mut attr = Attr::new()
            .u32(0, kind)
            .u32(4, spec.key_size)
            .u32(8, spec.value_size)
            .u32(12, spec.max_entries)
            .u32(16, flags)
            .name(28, &spec.name);
        let fd = call_fd(Syscall::Bpf { cmd: cmd::BPF_MAP_CREATE, attr: &mut attr })?;
        BpfMap::with_sizes(fd, kind, spec.key_size, spec.value_size, spec.max_entries)
    }

    /// Takes over a map; its sizes are asked of the kernel.
    pub fn from_fd(fd: OwnedFd) -> io::Result<BpfMap> {
        // struct bpf_map_info: type, id, key_size, value_size, max_entries.
        let info = super::bpf::object_info::<24>(fd.as_fd())?;
        let word = |at| super::bpf::u32_at(&info, at);
        BpfMap::with_sizes(fd, word(0), word(8), word(12), word(16))
    }

    fn with_sizes(fd: OwnedFd, kind: u32, key: u32, value: u32, max_entries: u32) -> io::Result<BpfMap> {
        let per_cpu = matches!(
            kind,
            map_type::BPF_MAP_TYPE_PERCPU_ARRAY
                | map_type::BPF_MAP_TYPE_PERCPU_HASH
                | map_type::BPF_MAP_TYPE_LRU_PERCPU_HASH
        );
        let stride = if per_cpu { (value as usize).next_multiple_of(8) } else { 0 };
        let value_size = if per_cpu { stride * possible_cpus()? as usize } else { value as usize };
        let hash = matches!(
            kind,
            map_type::BPF_MAP_TYPE_HASH
                | map_type::BPF_MAP_TYPE_LRU_HASH
                | map_type::BPF_MAP_TYPE_PERCPU_HASH
                | map_type::BPF_MAP_TYPE_LRU_PERCPU_HASH
        );
        Ok(BpfMap { fd, key_size: key as usize, value_size, stride, max_entries, hash })
    }

    /// A second handle on the same map.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of a value: of all CPUs together for per-CPU maps.
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    /// Bytes from one CPU's value to the next; `None` when the map is not per CPU.
    pub fn stride(&self) -> Option<usize> {
        (self.stride > 0).then_some(self.stride)
    }

    /// Most entries.
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Reads the value of a key into `value`; false if there is none.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        self.check(key.len(), value.len())?;
        let attr = Attr::new().fd(0, self.as_fd()).input(8, key).output(16, value).u64(24, 0);
        found(self.call(cmd::BPF_MAP_LOOKUP_ELEM, attr))
    }

    /// Writes the value of a key. A full map answers `E2BIG`.
    pub fn update(&self, key: &[u8], value: &[u8], how: Update) -> io::Result<()> {
        self.check(key.len(), value.len())?;
        let attr = Attr::new().fd(0, self.as_fd()).input(8, key).input(16, value).u64(24, how as u64);
        self.call(cmd::BPF_MAP_UPDATE_ELEM, attr)
    }

    /// Removes a key; false if it was not there.
    pub fn delete(&self, key: &[u8]) -> io::Result<bool> {
        self.check(key.len(), self.value_size)?;
        found(self.call(cmd::BPF_MAP_DELETE_ELEM, Attr::new().fd(0, self.as_fd()).input(8, key)))
    }

    /// The key after `key` (or the first), into `next`; false at the end. A key that has gone starts over.
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        self.check(next.len(), self.value_size)?;
        if let Some(key) = key {
            self.check(key.len(), self.value_size)?;
        }
        let attr = Attr::new().fd(0, self.as_fd()).input(8, key.unwrap_or(&[])).output(16, next);
        found(self.call(cmd::BPF_MAP_GET_NEXT_KEY, attr))
    }

    /// Pushes a value onto a stack.
    pub fn push(&self, value: &[u8]) -> io::Result<()> {
        self.update(&[], value, Update::Any)
    }

    /// All entries.
    pub fn entries(&self) -> io::Result<Entries> {
        match self.batches(cmd::BPF_MAP_LOOKUP_BATCH) {
            Err(error) if no_batches(&error) => self.walk(false),
            result => result,
        }
    }

    /// All entries, which are removed as they are read.
    pub fn take_entries(&self) -> io::Result<Entries> {
        match self.batches(cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH) {
            Err(error) if no_batches(&error) => self.walk(true),
            result => result,
        }
    }

    /// Removes these keys (rows of the key size); keys that are not there do not matter.
    pub fn delete_all(&self, keys: &[u8]) -> io::Result<()> {
        if self.key_size == 0 || !keys.len().is_multiple_of(self.key_size) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut left = keys;
        while !left.is_empty() {
            let mut attr = Attr::new()
                .input(16, left)
                .u32(32, (left.len() / self.key_size) as u32)
                .fd(36, self.as_fd())
                .u64(40, 0)
                .u64(48, 0);
            let result = call(Syscall::Bpf { cmd: cmd::BPF_MAP_DELETE_BATCH, attr: &mut attr });
            let done = match result {
                Ok(_) => return Ok(()),
                // The count is how many went well before the missing one.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => attr.get_u32(32) as usize,
                Err(error) if no_batches(&error) => {
                    for key in left.chunks_exact(self.key_size) {
                        self.delete(key)?;
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            left = left.get((done + 1) * self.key_size..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Removes all entries.
    pub fn clear(&self) -> io::Result<()> {
        let mut keys = Vec::new();
        let mut next = vec![0; self.key_size];
        let mut last: Option<Vec<u8>> = None;
        while keys.len() < self.max_entries as usize * self.key_size
            && self.next_key(last.as_deref(), &mut next)?
        {
            keys.extend_from_slice(&next);
            last = Some(next.clone());
        }
        self.delete_all(&keys)
    }

    /// Makes the map constant for user space.
    pub fn freeze(&self) -> io::Result<()> {
        self.call(cmd::BPF_MAP_FREEZE, Attr::new().fd(0, self.as_fd()))
    }

    /// Reads the map in batches. Entries that others insert or remove meanwhile may or may not be seen.
    fn batches(&self, command: u32) -> io::Result<Entries> {
        let mut all = Entries::default();
        // The position is a bucket number for hashes and a key for arrays.
        let mut position = vec![0; self.key_size.max(8)];
        let mut first = true;
        let mut count = (self.max_entries as usize).clamp(1, 4096);
        loop {
            let (keys_at, values_at) = (all.keys.len(), all.values.len());
            all.keys.resize(keys_at + count * self.key_size, 0);
            all.values.resize(values_at + count * self.value_size, 0);
            let from = position.clone();
            let mut attr = Attr::new()
                .input(0, if first { &[] } else { from.as_slice() })
                .output(8, &mut position)
                .output(16, &mut all.keys[keys_at..])
                .output(24, &mut all.values[values_at..])
                .u32(32, count as u32)
                .fd(36, self.as_fd())
                .u64(40, 0)
                .u64(48, 0);
            let result = call(Syscall::Bpf { cmd: command, attr: &mut attr });
            let got = attr.get_u32(32) as usize;
            let (got, end) = match &result {
                Ok(_) => (got, false),
                // ENOENT marks the last batch, whose entries count.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => (got, true),
                // A bucket that holds more than the batch: nothing of it was copied.
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) && count < 1 << 24 => {
                    all.keys.truncate(keys_at);
                    all.values.truncate(values_at);
                    position = from;
                    count *= 2;
                    continue;
                }
                Err(_) => (0, true),
            };
            let got = got.min(count);
            all.keys.truncate(keys_at + got * self.key_size);
            all.values.truncate(values_at + got * self.value_size);
            all.len += got;
            match result {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ if end => return Ok(all),
                _ => first = false,
            }
        }
    }

    /// Reads the map key by key.
    fn walk(&self, delete: bool) -> io::Result<Entries> {
        let mut all = Entries::default();
        let mut next = vec![0; self.key_size];
        let mut value = vec![0; self.value_size];
        let mut last: Option<Vec<u8>> = None;
        // A removed key would start over, so the next key is found before the last one is removed.
        let mut more = self.next_key(None, &mut next)?;
        while more && all.len < self.max_entries as usize {
            let key = next.clone();
            if self.lookup(&key, &mut value)? {
                all.keys.extend_from_slice(&key);
                all.values.extend_from_slice(&value);
                all.len += 1;
            }
            more = self.next_key(Some(&key), &mut next)?;
            if let Some(gone) = last.replace(key).filter(|_| delete && self.hash) {
                self.delete(&gone)?;
            }
        }
        if let Some(gone) = last.filter(|_| delete && self.hash) {
            self.delete(&gone)?;
        }
        Ok(all)
    }

    fn check(&self, key: usize, value: usize) -> io::Result<()> {
        if key == self.key_size && value == self.value_size {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }

    fn call(&self, command: u32, mut attr: Attr<'_>) -> io::Result<()> {
        call(Syscall::Bpf { cmd: command, attr: &mut attr }).map(|_| ())
    }
}

/// `ENOTSUPP`: the kernel's own number for "this map cannot".
const ENOTSUPP: i32 = 524;

/// Whether an error says that batches are not there: `ENOTSUPP` for this kind of map, `EINVAL` for this kernel.
fn no_batches(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOTSUPP | libc::EINVAL | libc::EOPNOTSUPP))
}

/// `ENOENT` as false.
fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::syscall::fake;
    use super::super::testing::root;
    use super::*;

    fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> BpfMap {
        let spec = MapSpec { name: "test".into(), kind, key_size, value_size, max_entries };
        BpfMap::create(&spec).expect("a map")
    }

    /// Sorted pairs of numbers: key, first word of the value.
    fn pairs(map: &BpfMap, entries: &Entries) -> Vec<(u64, u64)> {
        let word = |b: &[u8]| u64::from_ne_bytes(b[..8].try_into().expect("8 bytes"));
        let mut pairs: Vec<_> = entries
            .keys
            .chunks_exact(map.key_size())
            .zip(entries.values.chunks_exact(map.value_size()))
            .map(|(k, v)| (word(k), word(v)))
            .collect();
        assert_eq!(pairs.len(), entries.len);
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn elements_come_and_go() {
        if !root() {
            return;
        }
        let map = map(MapKind::Hash, 16, 24, 2);
        let (a, b, c) = ([1; 16], [2; 16], [3; 16]);
        let mut value = [0; 24];
        assert!(!map.lookup(&a, &mut value).expect("lookup"));
        map.update(&a, &[7; 24], Update::Any).expect("insert");
        assert!(map.lookup(&a, &mut value).expect("lookup"));
        assert_eq!(value, [7; 24]);
        let error = map.update(&a, &[8; 24], Update::Insert).expect_err("it is there");
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        let error = map.update(&b, &[8; 24], Update::Replace).expect_err("it is not there");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        map.update(&b, &[8; 24], Update::Any).expect("insert");
        let error = map.update(&c, &[8; 24], Update::Any).expect_err("the map is full");
        assert_eq!(error.raw_os_error(), Some(libc::E2BIG));
        assert!(map.delete(&a).expect("delete") && !map.delete(&a).expect("delete"));
        assert!(map.lookup(&[1; 15], &mut value).is_err(), "a wrong size does not reach the kernel");
    }

    #[test]
    fn all_entries_in_batches_and_by_walking() {
        if !root() {
            return;
        }
        for count in [0u64, 1, 7, 5000] {
            let map = map(MapKind::Hash, 8, 8, 6000);
            for n in 0..count {
                map.update(&n.to_ne_bytes(), &(n * 3).to_ne_bytes(), Update::Any).expect("insert");
            }
            let expected: Vec<_> = (0..count).map(|n| (n, n * 3)).collect();
            assert_eq!(pairs(&map, &map.entries().expect("entries")), expected);
            assert_eq!(pairs(&map, &map.walk(false).expect("entries")), expected);
            if count == 7 {
                assert_eq!(pairs(&map, &map.walk(true).expect("entries")), expected);
            } else {
                assert_eq!(pairs(&map, &map.take_entries().expect("entries")), expected);
            }
            assert_eq!(map.entries().expect("entries").len, 0);
        }
    }

    #[test]
    fn a_batch_smaller_than_a_bucket_grows() {
        if !root() {
            return;
        }
        // A hash of one bucket would be needed to force it; the fake plays the kernel's part.
        let real = map(MapKind::Hash, 8, 8, 2);
        let mut sizes = vec![8, 4, 2];
        let _fake = fake::install(move |seen| {
            assert_eq!((seen.cmd, Some(seen.u32(32))), (24, sizes.pop()));
            let errno = if sizes.is_empty() { libc::ENOENT } else { libc::ENOSPC };
            Err(io::Error::from_raw_os_error(errno))
        });
        assert_eq!(real.entries().expect("the third answer").len, 8);
    }

    #[test]
    fn keys_are_deleted_together() {
        if !root() {
            return;
        }
        let map = map(MapKind::Hash, 8, 8, 100);
        for n in 0..10u64 {
            map.update(&n.to_ne_bytes(), &[0; 8], Update::Any).expect("insert");
        }
        let keys: Vec<u8> = [1u64, 99, 3, 98, 97, 5].iter().flat_map(|n| n.to_ne_bytes()).collect();
        map.delete_all(&keys).expect("missing keys do not matter");
        assert_eq!(map.entries().expect("entries").len, 7);
        map.clear().expect("clear");
        assert_eq!(map.entries().expect("entries").len, 0);
        map.clear().expect("clear of nothing");
    }

    #[test]
    fn per_cpu_values_are_rows() {
        if !root() {
            return;
        }
        for kind in [MapKind::PerCpuHash, MapKind::PerCpuArray] {
            let key: &[u8] = if kind == MapKind::PerCpuHash { &[0; 8] } else { &[0; 4] };
            let map = map(kind, key.len() as u32, 12, 1);
            let cpus = possible_cpus().expect("CPUs") as usize;
            assert_eq!((map.stride(), map.value_size()), (Some(16), 16 * cpus));
            let mut row = vec![0; map.value_size()];
            for (cpu, value) in row.chunks_exact_mut(16).enumerate() {
                value[..12].fill(cpu as u8 + 1);
            }
            map.update(key, &row, Update::Any).expect("update");
            let mut back = vec![0; row.len()];
            assert!(map.lookup(key, &mut back).expect("lookup"));
            for (cpu, value) in back.chunks_exact(16).enumerate() {
                assert_eq!(value[..12], [cpu as u8 + 1; 12]);
            }
            assert_eq!(map.entries().expect("entries").values, back);
        }
    }

    #[test]
    fn stacks_and_frozen_maps() {
        if !root() {
            return;
        }
        let stack = map(MapKind::Stack, 0, 8, 1);
        stack.push(&[1; 8]).expect("push");
        assert!(stack.push(&[1; 8]).is_err(), "full");
        let array = map(MapKind::Array, 4, 8, 1);
        array.freeze().expect("freeze");
        let error = array.update(&[0; 4], &[0; 8], Update::Any).expect_err("frozen");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
