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
use crate::world::{FileBytes, Part, World};

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

impl ElfFile {
    /// Opens a file.
    pub fn open(world: &dyn World, path: &Path) -> Result<ElfFile, ElfError> {
        let bytes = world.map_file(path).map_err(|error| ElfError::Io(path.to_owned(), error))?;
        ElfFile::read(path, bytes)
    }

    fn read(path: &Path, bytes: FileBytes) -> Result<ElfFile, ElfError> {
        let malformed = |why: String| ElfError::Malformed(path.to_owned(), why);
        let (kind, segments) = {
            let file = object::File::parse(&*bytes).map_err(|error| malformed(error.to_string()))?;
            if file.architecture() != object::Architecture::X86_64 {
                return Err(malformed(format!("it is for {:?}, not for x86-64", file.architecture())));
            }
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
                Some(Symbol { name, address: symbol.address(), size: symbol.size() })
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

    /// The offset in the file of an address as linked, if code is there.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().filter(|segment| segment.is_code).find_map(|segment| segment.offset_of(address))
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
    pub(super) fn loops(&self, low: u64, high: u64) -> bool {
        let count = usize::try_from(high.saturating_sub(low)).unwrap_or(0);
        self.bytes_at(low, count).is_some_and(instruction::jumps_to_its_beginning)
    }

    /// Whether the file's bytes have this checksum: that of `.gnu_debuglink`.
    pub fn has_checksum(&self, wanted: u32) -> bool {
        super::checksum::crc32(&self.bytes) == wanted
    }
}
