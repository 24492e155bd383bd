//! ELF files: symbols, sections, where an address lies in the file.
//!
//! **Not here:** which file has the debug information (`find`), what debug sections mean (`dwarf`), notes of marks (`sdt`), libraries and calls of them (`dynamic`).

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::{Object, ObjectKind, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

use super::instruction;
use crate::world::{FileBytes, Identity, Part, World};

/// Why a file cannot be used.
#[derive(Debug)]
pub enum ElfError {
    /// It cannot be read.
    Io(PathBuf, std::io::Error),
    /// It is no ELF file for this machine, or a broken one.
    Malformed(PathBuf, String),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ElfError::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            ElfError::Malformed(path, why) => write!(f, "{} is not a usable ELF file: {why}", path.display()),
        }
    }
}

/// A function symbol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its address as linked.
    pub address: u64,
    /// Its size in bytes; may be 0.
    pub size: u64,
    /// Whether other files can name it.
    pub is_exported: bool,
}

/// How much smaller compression makes a section at the most: deflate's bound, which zstd's differs little from.
const RATIO: u64 = 1032;
/// Bytes of a section.
const LARGEST: u64 = 16 << 30;

/// KiB that decompressing `.gnu_debugdata` may need, and bytes that it may give.
const DICTIONARY: u32 = 128 << 10;
const EMBEDDED: u64 = 256 << 20;

/// An opened file.
pub struct ElfFile {
    /// Where it is.
    pub path: PathBuf,
    bytes: FileBytes,
    kind: ObjectKind,
    segments: Vec<Segment>,
}

/// A part that is loaded.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// As linked.
    address: u64,
    /// In the file.
    size: u64,
    /// In the file.
    offset: u64,
    is_code: bool,
}

impl Segment {
    fn offset_of(&self, address: u64) -> Option<u64> {
        let within = address.checked_sub(self.address)?;
        if within < self.size { self.offset.checked_add(within) } else { None }
    }
}

/// Looks at how a file begins: `Err` says what it is, where it is nothing that can be traced here.
fn identify(bytes: &[u8]) -> Result<(), String> {
    const HEADER: usize = 64;
    /// Machines that Linux runs on (`e_machine`).
    const MACHINES: [(u16, &str); 9] = [
        (3, "i386"),
        (8, "MIPS"),
        (20, "PowerPC"),
        (21, "64-bit PowerPC"),
        (22, "s390"),
        (40, "32-bit ARM"),
        (183, "64-bit ARM"),
        (243, "RISC-V"),
        (258, "LoongArch"),
    ];
    const X86_64: u16 = 62;
    const CORE: u16 = 4;
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(line) = bytes.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(200)]);
        let program = line.split_whitespace().next().unwrap_or("its interpreter");
        return Err(format!("it is a script, and the program that runs is {program}"));
    }
    if bytes.starts_with(b"!<arch>") || bytes.starts_with(b"!<thin>") {
        return Err("it is an archive of object files; what is linked from it can be traced".to_owned());
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err("it does not begin as one does".to_owned());
    }
    let (Some(class), Some(order), Some(machine), Some(kind)) =
        (bytes.get(4), bytes.get(5), bytes.get(18..20), bytes.get(16..18))
    else {
        return Err("it is cut short".to_owned());
    };
    let number = |word: &[u8]| match order {
        2 => u16::from_be_bytes([word[0], word[1]]),
        _ => u16::from_le_bytes([word[0], word[1]]),
    };
    let machine = number(machine);
    if machine != X86_64 {
        let name = MACHINES.iter().find(|(known, _)| *known == machine).map(|(_, name)| *name);
        let name = name.map_or(format!("machine number {machine}"), str::to_owned);
        return Err(format!("it is for {name}, not for x86-64"));
    }
    match (class, order) {
        (2, 1) if bytes.len() < HEADER => Err("it is cut short".to_owned()),
        (2, 1) if number(kind) == CORE => {
            Err("it is a core dump; the program that wrote it can be traced".to_owned())
        }
        (2, 1) => Ok(()),
        (1, _) => Err("it is for 32-bit addresses (x32), which is not supported".to_owned()),
        _ => Err("its header is damaged".to_owned()),
    }
}

impl ElfFile {
    /// Opens a file.
    pub fn open(world: &dyn World, path: &Path) -> Result<ElfFile, ElfError> {
        let bytes = world.map_file(path).map_err(|error| ElfError::Io(path.to_owned(), error))?;
        ElfFile::read(path, bytes)
    }

    fn read(path: &Path, bytes: FileBytes) -> Result<ElfFile, ElfError> {
        let malformed = |why: String| ElfError::Malformed(path.to_owned(), why);
        identify(&bytes).map_err(malformed)?;
        let (kind, segments) = {
            let file = object::File::parse(&*bytes).map_err(|error| malformed(error.to_string()))?;
            let segments = file
                .segments()
                .map(|segment| {
                    let (offset, size) = segment.file_range();
                    let executable = segment.permissions().executable();
                    Segment { address: segment.address(), size, offset, is_code: executable }
                })
                .collect();
            (file.kind(), segments)
        };
        Ok(ElfFile { path: path.to_owned(), bytes, kind, segments })
    }

    /// Whether it is an object file that no linker has made a program or a library of.
    pub fn is_unlinked(&self) -> bool {
        self.kind == ObjectKind::Relocatable
    }

    fn parsed(&self) -> Option<object::File<'_>> {
        object::File::parse(&*self.bytes).ok()
    }

    /// The offset in the file of an address as linked.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| segment.offset_of(address))
    }

    /// The bytes of a section, decompressed; empty when there is none. What is not compressed is not copied.
    pub fn section(&self, name: &str) -> Part {
        self.try_section(name).unwrap_or_else(|| Part::Owned(Arc::new([])))
    }

    fn try_section(&self, name: &str) -> Option<Part> {
        let file = self.parsed()?;
        let section = file.section_by_name(name)?;
        // A damaged header must not make us ask for more memory than any file needs.
        let compressed = section.compressed_data().ok()?;
        if compressed.format == object::CompressionFormat::None {
            let (start, size) = section.file_range()?;
            let end = start.checked_add(size)?;
            return self.bytes.part(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
        }
        let most = (compressed.data.len() as u64).saturating_mul(RATIO).min(LARGEST);
        if compressed.uncompressed_size > most {
            return None;
        }
        Some(Part::Owned(compressed.decompress().ok()?.into()))
    }

    /// The address of a section; `None` when there is none.
    pub fn section_address(&self, name: &str) -> Option<u64> {
        Some(self.parsed()?.section_by_name(name)?.address())
    }

    /// Function symbols that are defined here, from both symbol tables, each address and name once.
    pub fn functions(&self) -> Vec<Symbol> {
        let Some(file) = self.parsed() else { return Vec::new() };
        let mut symbols: Vec<Symbol> = file
            .symbols()
            .chain(file.dynamic_symbols())
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition())
            .filter_map(|symbol| {
                let name = symbol.name().ok()?.to_owned();
                let is_exported = !symbol.is_local();
                Some(Symbol { name, address: symbol.address(), size: symbol.size(), is_exported })
            })
            .collect();
        symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
        symbols.dedup_by(|a, b| a.address == b.address && a.name == b.name);
        symbols
    }

    /// Addresses as linked of what symbols of this name are, in both symbol tables; thread-local ones have none.
    pub fn addresses(&self, name: &str) -> BTreeSet<u64> {
        let Some(file) = self.parsed() else { return BTreeSet::new() };
        file.symbols()
            .chain(file.dynamic_symbols())
            .filter(|symbol| symbol.is_definition() && symbol.kind() != SymbolKind::Tls)
            .filter(|symbol| symbol.name_bytes() == Ok(name.as_bytes()))
            .map(|symbol| symbol.address())
            .collect()
    }

    /// The file in `.gnu_debugdata`: the names of functions that the file itself has not, compressed.
    pub fn embedded(&self) -> Option<ElfFile> {
        let packed = self.section(".gnu_debugdata");
        if packed.is_empty() {
            return None;
        }
        let reader = lzma_rust2::XzReader::new_mem_limit(&*packed, true, DICTIONARY);
        let mut bytes = Vec::new();
        // What is damaged at its end is used up to there, if it is a file at all.
        let _ = reader.take(EMBEDDED).read_to_end(&mut bytes);
        ElfFile::read(&self.path, bytes.into()).ok()
    }

    /// Which file it is; `None` where it is none of its own.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.bytes.identity()
    }

    /// The build-id, in hexadecimal.
    pub fn build_id(&self) -> Option<String> {
        let id = self.parsed()?.build_id().ok()??.to_vec();
        Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The name and checksum in `.gnu_debuglink`.
    pub fn debug_link(&self) -> Option<(String, u32)> {
        let file = self.parsed()?;
        let (name, checksum) = file.gnu_debuglink().ok()??;
        Some((String::from_utf8_lossy(name).into_owned(), checksum))
    }

    /// Whether it is loaded at another address than it was linked at: a library or a position-independent program.
    pub fn is_moved(&self) -> bool {
        !matches!(self.kind, ObjectKind::Executable)
    }

    /// The address of the program's first instruction.
    pub fn entry(&self) -> Option<u64> {
        Some(self.parsed()?.entry()).filter(|address| *address != 0 && self.code_offset(*address).is_some())
    }

    /// Address, size in memory and alignment of the first segment of a kind.
    pub(super) fn program_header(&self, wanted: u32) -> Option<[u64; 3]> {
        const SIZE: usize = 56;
        let number = |at: usize, bytes: usize| -> Option<u64> {
            let mut word = [0; 8];
            word[..bytes].copy_from_slice(self.bytes.get(at..at.checked_add(bytes)?)?);
            Some(u64::from_le_bytes(word))
        };
        let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        if size as usize != SIZE {
            return None;
        }
        (0..count as usize).find_map(|n| {
            let at = usize::try_from(start).ok()?.checked_add(n.checked_mul(SIZE)?)?;
            (number(at, 4)? == u64::from(wanted)).then_some(())?;
            Some([number(at.checked_add(0x10)?, 8)?, number(at + 0x28, 8)?, number(at + 0x30, 8)?])
        })
    }

    /// The offset in the file of an address as linked, if code is there.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.is_code).find_map(|segment| segment.offset_of(address))
    }

    /// How far before its address as linked code is in the file, where that is the same for all of it.
    pub fn code_before(&self) -> Option<u64> {
        let mut all = self.segments.iter().filter(|segment| segment.is_code);
        let before = |segment: &Segment| segment.address.wrapping_sub(segment.offset);
        let first = before(all.next()?);
        all.all(|segment| before(segment) == first).then_some(first)
    }

    /// The address as linked of an offset in the file where code is.
    pub fn linked(&self, offset: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.is_code).find_map(|segment| {
            let within = offset.checked_sub(segment.offset)?;
            (within < segment.size).then(|| segment.address.checked_add(within))?
        })
    }

    /// Bytes at an address as linked.
    pub(super) fn bytes_at(&self, address: u64, count: usize) -> Option<&[u8]> {
        let offset = usize::try_from(self.file_offset(address)?).ok()?;
        self.bytes.get(offset..offset.checked_add(count)?)
    }

    /// The call instruction that returns to an address, and the address that it calls: only calls of fixed addresses.
    pub fn call_before(&self, back: u64) -> Option<(u64, u64)> {
        const CALL: u8 = 0xe8;
        let at = back.checked_sub(5)?;
        let [CALL, a, b, c, d] = *self.bytes_at(at, 5)? else { return None };
        let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
        self.code_offset(at)?;
        Some((at, back.wrapping_add_signed(distance)))
    }

    /// Whether code from an address up to another jumps back to where it begins.
    pub fn loops(&self, low: u64, high: u64) -> bool {
        let count = usize::try_from(high.saturating_sub(low)).unwrap_or(0);
        self.bytes_at(low, count).is_some_and(instruction::jumps_to_its_beginning)
    }

    /// Whether the file's bytes have this checksum: that of `.gnu_debuglink`.
    pub fn has_checksum(&self, wanted: u32) -> bool {
        crc32fast::hash(&self.bytes) == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_how_they_begin() {
        let header = |class: u8, order: u8, kind: u8, machine: u16| {
            let mut bytes = vec![0; 64];
            bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order]);
            let machine = if order == 2 { machine.to_be_bytes() } else { machine.to_le_bytes() };
            bytes[16 + usize::from(order == 2)] = kind;
            bytes[18..20].copy_from_slice(&machine);
            bytes
        };
        assert_eq!(identify(&header(2, 1, 3, 62)), Ok(()));
        for (bytes, words) in [
            (header(1, 1, 2, 3), "it is for i386, not for x86-64"),
            (header(2, 2, 2, 22), "it is for s390, not for x86-64"),
            (header(2, 1, 2, 9999), "it is for machine number 9999, not for x86-64"),
            (header(1, 1, 2, 62), "it is for 32-bit addresses (x32), which is not supported"),
            (header(2, 1, 4, 62), "it is a core dump; the program that wrote it can be traced"),
            (header(2, 1, 2, 62)[..40].to_vec(), "it is cut short"),
            (b"\x7fELF".to_vec(), "it is cut short"),
            (b"#! /bin/sh -e\necho".to_vec(), "it is a script, and the program that runs is /bin/sh"),
            (b"!<arch>\n".to_vec(), "it is an archive of object files; what is linked from it can be traced"),
            (b"hello".to_vec(), "it does not begin as one does"),
            (Vec::new(), "it is empty"),
        ] {
            assert_eq!(identify(&bytes), Err(words.to_owned()));
        }
    }
}
