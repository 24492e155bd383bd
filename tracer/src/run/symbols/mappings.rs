//! The mappings of a process: which file is where.
//!
//! **Not here:** what the files say (`module`).

use std::path::{Path, PathBuf};

use crate::world::World;

/// A piece of a file in a process's memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mapping {
    /// Where it begins.
    pub(super) start: u64,
    /// Where it ends.
    pub(super) end: u64,
    /// Offset in the file of its beginning.
    pub(super) offset: u64,
    /// Where the file's first piece begins.
    pub(super) base: u64,
    /// The file.
    pub(super) path: PathBuf,
    /// When the kernel told of it; 0 for what was there before.
    pub(super) time: u64,
}

impl Mapping {
    /// The offset in the file of an address inside.
    pub(super) fn offset_of(&self, address: u64) -> u64 {
        (address - self.start).saturating_add(self.offset)
    }
}

/// All of one process. They are read again where an address is in none: programs load libraries, and `execve` begins
/// anew.
#[derive(Default, Debug)]
pub(super) struct Mappings {
    mappings: Vec<Mapping>,
    /// Addresses that were not found in what is known.
    missing: Vec<u64>,
    /// The process that it was made by, and whose program it still runs.
    parent: Option<i64>,
}

impl Mappings {
    /// The mapping of an address.
    pub(super) fn find(&mut self, world: &dyn World, pid: i64, address: u64) -> Option<&Mapping> {
        /// As many are asked for again and again.
        const MISSING: usize = 256;
        if self.at(address).is_none() && !self.missing.contains(&address) {
            // A process that has gone says nothing, and what was known of it stays.
            let mut read = read(world, pid);
            if let (true, Some(parent)) = (read.is_empty(), self.parent) {
                read = self::read(world, parent);
            }
            if !read.is_empty() {
                self.mappings = read;
            }
            if self.at(address).is_none() {
                if self.missing.len() >= MISSING {
                    self.missing.clear();
                }
                self.missing.push(address);
            }
        }
        self.at(address)
    }

    /// A file was mapped, over whatever was there.
    pub(super) fn add(&mut self, time: u64, (start, size): (u64, u64), offset: u64, path: PathBuf) {
        let end = start.saturating_add(size);
        self.mappings.retain(|old| old.end <= start || end <= old.start || old.time > time);
        // Only code is told; the file's first piece was mapped below it.
        let base = start.saturating_sub(offset);
        self.mappings.push(Mapping { start, end, offset, base, path, time });
        self.missing.clear();
    }

    /// A new program: what was there before has gone.
    pub(super) fn execute(&mut self, time: u64) {
        self.mappings.retain(|old| old.time > time);
        self.missing.clear();
        self.parent = None;
    }

    /// What a child of this process begins with.
    pub(super) fn inherited(&self, parent: i64) -> Mappings {
        Mappings { mappings: self.mappings.clone(), missing: Vec::new(), parent: Some(parent) }
    }

    fn at(&self, address: u64) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| (mapping.start..mapping.end).contains(&address))
    }
}

/// What a process that is there maps.
fn read(world: &dyn World, pid: i64) -> Vec<Mapping> {
    parse(&world.read_text(Path::new(&format!("/proc/{pid}/maps"))).unwrap_or_default())
}

/// The files in the text of `/proc/PID/maps` (proc(5)).
fn parse(text: &str) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        let mut words = line.splitn(6, ' ');
        let range = words.next().and_then(|range| range.split_once('-'));
        let offset = words.nth(1);
        let path = words.nth(2).map(str::trim_start);
        let (Some((start, end)), Some(offset), Some(path)) = (range, offset, path) else { continue };
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let (Some(start), Some(end), Some(offset)) = (number(start), number(end), number(offset)) else {
            continue;
        };
        // `[vdso]`, `[stack]`, and what has no file.
        if !path.starts_with('/') {
            continue;
        }
        let path = PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path));
        let base = found.iter().find(|mapping| mapping.path == path).map_or(start, |mapping| mapping.base);
        found.push(Mapping { start, end, offset, base, path, time: 0 });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::MemoryWorld;

    const MAPS: &str = "\
00400000-00401000 r--p 00000000 fe:00 131 /usr/bin/a program
00401000-00480000 r-xp 00001000 fe:00 131 /usr/bin/a program
01000000-01021000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 r-xp 00002000 fe:00 77                 /lib/gone.so (deleted)
7fff00000000-7fff00001000 rw-p 00000000 00:00 0
nonsense
";

    fn world() -> MemoryWorld {
        let files = [(PathBuf::from("/proc/5/maps"), MAPS.into())];
        MemoryWorld { files: files.into() }
    }

    #[test]
    fn files_are_found_by_address() {
        let world = world();
        let mut mappings = Mappings::default();
        let found = mappings.find(&world, 5, 0x0040_1615).expect("the program");
        assert_eq!((found.path.to_str(), found.base), (Some("/usr/bin/a program"), 0x0040_0000));
        assert_eq!(found.offset_of(0x0040_1615), 0x1615);
        let library = mappings.find(&world, 5, 0x7f00_0000_0010).expect("the library");
        assert_eq!(
            (library.path.to_str(), library.offset_of(0x7f00_0000_0010)),
            (Some("/lib/gone.so"), 0x2010)
        );
        assert_eq!(mappings.find(&world, 5, 0x0100_0000), None);
    }

    #[test]
    fn the_kernel_tells_of_programs_that_begin() {
        let nothing = MemoryWorld::default();
        let mut mappings = Mappings::default();
        mappings.add(1, (0x1000, 0x1000), 0x1000, "/bin/old".into());
        mappings.add(4, (0x8000, 0x1000), 0, "/lib/new.so".into());
        mappings.execute(3);
        assert_eq!(mappings.find(&nothing, 5, 0x1010), None);
        mappings.add(5, (0x1000, 0x1000), 0x1000, "/bin/new".into());
        let found = mappings.find(&nothing, 5, 0x1010).expect("the program");
        assert_eq!((found.path.to_str(), found.base), (Some("/bin/new"), 0));
        assert!(mappings.find(&nothing, 5, 0x8000).is_some());
        mappings.add(6, (0x8800, 0x1000), 0, "/lib/over.so".into());
        assert_eq!(mappings.find(&nothing, 5, 0x8000), None);
    }

    #[test]
    fn a_child_that_is_gone_had_what_its_parent_has() {
        let mut child = Mappings::default().inherited(5);
        assert!(child.find(&world(), 9, 0x0040_1000).is_some());
        let mut other = Mappings::default().inherited(5);
        other.execute(1);
        assert!(other.find(&world(), 9, 0x0040_1000).is_none());
    }

    #[test]
    fn what_was_known_outlives_the_process() {
        let world = world();
        let mut mappings = Mappings::default();
        assert!(mappings.find(&world, 5, 0x0040_1000).is_some());
        let nothing = MemoryWorld::default();
        assert!(mappings.find(&nothing, 5, 0x0040_1000).is_some());
        assert!(mappings.find(&nothing, 5, 0x0900_0000).is_none());
        assert!(mappings.find(&nothing, 5, 0x0040_1001).is_some());
    }
}
