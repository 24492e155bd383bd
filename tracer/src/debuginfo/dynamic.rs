//! What the dynamic linker reads: needed libraries, the interpreter, stubs of calls into libraries.
//!
//! Source: System V ABI, "Dynamic Linking"; its AMD64 supplement, "Procedure Linkage Table".

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use super::elf::ElfFile;
use crate::world::World;

/// A stub of the procedure linkage table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stub {
    /// Its address as linked.
    pub address: u64,
    /// The function that it calls.
    pub name: String,
}

/// Where a library keeps how to find its thread-local storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadSlot {
    /// How far from the thread pointer what has this offset in the storage is.
    Distance {
        /// Its address as linked.
        slot: u64,
        /// The offset.
        of: u64,
    },
    /// The number of the storage in the thread's table.
    Number {
        /// Its address as linked.
        slot: u64,
    },
}

/// The storage that each thread gets for a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadLocal {
    address: u64,
    size: u64,
    align: u64,
}

impl ThreadLocal {
    /// How far below the thread pointer a program's own storage begins.
    pub fn distance(self) -> i64 {
        let padding = self.address.wrapping_neg().wrapping_sub(self.size) & (self.align - 1);
        self.size.wrapping_add(padding) as i64
    }
}

const NEEDED: u64 = 1;
const SONAME: u64 = 14;
const FLAGS: u64 = 0x6fff_fffb;
const PIE: u64 = 0x0800_0000;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// A text that ends at its NUL.
fn text(bytes: &[u8], at: u64) -> Option<String> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

impl ElfFile {
    fn dynamic(&self, wanted: u64) -> Vec<String> {
        let (entries, names) = (self.section(".dynamic"), self.section(".dynstr"));
        let pairs = entries.chunks_exact(16).filter_map(|pair| Some((word(pair, 0)?, word(pair, 8)?)));
        pairs.filter(|(tag, _)| *tag == wanted).filter_map(|(_, at)| text(&names, at)).collect()
    }

    /// Names of the libraries that it needs.
    pub fn needed(&self) -> Vec<String> {
        self.dynamic(NEEDED)
    }

    /// Whether it is a program, not a library.
    pub fn is_program(&self) -> bool {
        let entries = self.section(".dynamic");
        let flags = entries.chunks_exact(16).find(|pair| word(pair, 0) == Some(FLAGS));
        let is_pie = flags.and_then(|pair| word(pair, 8)).is_some_and(|flags| flags & PIE != 0);
        !self.is_moved() || is_pie || self.interpreter().is_some() && self.dynamic(SONAME).is_empty()
    }

    /// Whether it is part of glibc, or linked with it.
    pub fn uses_glibc(&self) -> bool {
        const GLIBC: [&str; 2] = ["libc.so.6", "ld-linux-x86-64.so.2"];
        self.needed().iter().chain(&self.dynamic(SONAME)).any(|name| GLIBC.contains(&name.as_str()))
    }

    /// The storage that each thread gets for it.
    pub fn thread_local(&self) -> Option<ThreadLocal> {
        const THREAD_LOCAL: u32 = 7;
        let [address, size, align] = self.program_header(THREAD_LOCAL)?;
        let align = align.max(1);
        (align.is_power_of_two() && size < 1 << 32).then_some(ThreadLocal { address, size, align })
    }

    /// A slot that tells where a library's thread-local storage is.
    pub fn thread_slot(&self) -> Option<ThreadSlot> {
        const NUMBER: u64 = 16;
        const DISTANCE: u64 = 18;
        let symbols = self.section(".dynsym");
        let mut found = None;
        for section in [".rela.dyn", ".rela.plt"] {
            for entry in self.section(section).chunks_exact(24) {
                let (Some(slot), Some(info), Some(addend)) =
                    (word(entry, 0), word(entry, 8), word(entry, 16))
                else {
                    continue;
                };
                let kind = info & 0xffff_ffff;
                if kind != NUMBER && kind != DISTANCE {
                    continue;
                }
                // A symbol that is defined elsewhere is in another storage.
                let of = match (info >> 32) as usize {
                    0 => Some(addend),
                    n => defined(&symbols, n).map(|value| value.wrapping_add(addend)),
                };
                match of {
                    Some(of) if kind == DISTANCE => return Some(ThreadSlot::Distance { slot, of }),
                    Some(_) => found = found.or(Some(ThreadSlot::Number { slot })),
                    None => {}
                }
            }
        }
        found
    }

    /// Folders in which it wants its libraries looked for first.
    pub fn run_path(&self) -> Vec<PathBuf> {
        let own = self.path.parent().map_or(String::new(), |dir| dir.display().to_string());
        [RUNPATH, RPATH]
            .into_iter()
            .flat_map(|tag| self.dynamic(tag))
            .flat_map(|list| list.split(':').map(str::to_owned).collect::<Vec<_>>())
            .map(|folder| PathBuf::from(folder.replace("$ORIGIN", &own).replace("${ORIGIN}", &own)))
            .collect()
    }

    /// The dynamic linker that it names.
    pub fn interpreter(&self) -> Option<String> {
        text(&self.section(".interp"), 0)
    }

    /// Stubs of calls into libraries: code in a linkage table that jumps through a slot which a relocation fills.
    pub fn stubs(&self) -> Vec<Stub> {
        const ENTRY: usize = 16;
        let slots = self.slots();
        let mut found = Vec::new();
        for (section, size) in [(".plt.sec", ENTRY), (".plt", ENTRY), (".plt.got", 8), (".plt.got", ENTRY)] {
            let Some(address) = self.section_address(section) else { continue };
            for (n, code) in self.section(section).chunks_exact(size).enumerate() {
                let start = address.wrapping_add((n * size) as u64);
                let Some(name) = jump(code, start).and_then(|slot| slots.get(&slot)) else { continue };
                // `.plt` only leads to the linker where `.plt.sec` has the stubs.
                found.push(Stub { address: start, name: name.clone() });
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Addresses of slots and the functions that they will hold.
    fn slots(&self) -> HashMap<u64, String> {
        /// Relocations that put a function's address into a slot: GLOB_DAT and JUMP_SLOT.
        const KINDS: [u64; 2] = [6, 7];
        let (symbols, names) = (self.section(".dynsym"), self.section(".dynstr"));
        let mut slots = HashMap::new();
        for section in [".rela.plt", ".rela.dyn"] {
            for entry in self.section(section).chunks_exact(24) {
                let (Some(slot), Some(info)) = (word(entry, 0), word(entry, 8)) else { continue };
                if !KINDS.contains(&(info & 0xffff_ffff)) {
                    continue;
                }
                let symbol = (info >> 32) as usize * 24;
                let name = symbols
                    .get(symbol..symbol + 4)
                    .and_then(|at| at.try_into().ok())
                    .and_then(|at| text(&names, u64::from(u32::from_le_bytes(at))));
                if let Some(name) = name.filter(|name| !name.is_empty()) {
                    slots.insert(slot, name);
                }
            }
        }
        slots
    }
}

/// The libraries that a file needs, and those that they need, where the dynamic linker would find them.
pub fn needed_libraries(world: &dyn World, elf: &ElfFile) -> Vec<PathBuf> {
    const LIBRARIES: usize = 512;
    let mut folders = library_folders(world);
    let mut found: Vec<PathBuf> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queue: VecDeque<String> = elf.needed().into();
    if let Some(interpreter) = elf.interpreter() {
        queue.push_back(interpreter);
    }
    for folder in elf.run_path().into_iter().rev() {
        folders.insert(0, folder);
    }
    while let Some(name) = queue.pop_front() {
        if found.len() >= LIBRARIES || !seen.insert(name.clone()) {
            continue;
        }
        let path = if name.contains('/') {
            Some(PathBuf::from(&name))
        } else {
            folders.iter().map(|folder| folder.join(&name)).find(|path| world.exists(path))
        };
        let Some(path) = path.filter(|path| world.exists(path)) else { continue };
        if let Ok(library) = ElfFile::open(world, &path) {
            queue.extend(library.needed());
        }
        found.push(path);
    }
    found
}

/// Folders that the dynamic linker looks in.
fn library_folders(world: &dyn World) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut configuration = vec![PathBuf::from("/etc/ld.so.conf")];
    let mut more = world.read_dir(Path::new("/etc/ld.so.conf.d")).unwrap_or_default();
    more.sort();
    configuration.extend(more);
    for file in configuration {
        let text = world.read_text(&file).unwrap_or_default();
        folders.extend(text.lines().map(str::trim).filter(|line| line.starts_with('/')).map(PathBuf::from));
    }
    folders.extend(
        ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
            .map(PathBuf::from),
    );
    folders
}

/// The value of a symbol of the dynamic table, if it is defined there.
fn defined(symbols: &[u8], number: usize) -> Option<u64> {
    const SYMBOL: usize = 24;
    let at = number.checked_mul(SYMBOL)?;
    let symbol = symbols.get(at..at.checked_add(SYMBOL)?)?;
    let section = u16::from_le_bytes([symbol[6], symbol[7]]);
    if section == 0 { None } else { word(symbol, 8) }
}

/// The slot that a stub jumps through: `jmp *distance(%rip)`, after `endbr64` and with a `bnd` perhaps.
fn jump(code: &[u8], start: u64) -> Option<u64> {
    let mut at = 0;
    if code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) {
        at = 4;
    }
    if code.get(at) == Some(&0xf2) {
        at += 1;
    }
    let [0xff, 0x25, a, b, c, d] = *code.get(at..at + 6)? else { return None };
    let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
    Some(start.wrapping_add(at as u64 + 6).wrapping_add_signed(distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_storage_ends_at_the_thread_pointer_as_aligned_as_it_wants() {
        let distance = |address, size, align| ThreadLocal { address, size, align }.distance();
        assert_eq!(distance(0x3df0, 0x10, 8), 0x10);
        assert_eq!(distance(0x3df4, 0x1d, 4), 0x20);
        assert_eq!(distance(0x3de0, 0x44, 32), 0x60);
        // What begins off the boundary lies as far off it below the thread pointer.
        assert_eq!(distance(0x1008, 0x10, 64), 0x38);
    }

    #[test]
    fn stubs_jump_through_slots() {
        let plain = [0xff, 0x25, 0xca, 0x2f, 0, 0, 0x68, 0, 0, 0, 0, 0xe9, 0xe0, 0xff, 0xff, 0xff];
        assert_eq!(jump(&plain, 0x1030), Some(0x1030 + 6 + 0x2fca));
        let marked =
            [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(jump(&marked, 0x1050), Some(0x1050 + 11 - 8));
        assert_eq!(jump(&[0x68; 16], 0), None);
        assert_eq!(jump(&[0xff, 0x25], 0), None);
    }
}
