//! ELF files: symbols, sections, where an address lies in the file.
//!
//! **Not here:** what debug sections mean (`dwarf`), notes of marks (`sdt`).

use std::fmt;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

use crate::world::{FileBytes, World};

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

/// An opened file.
pub struct ElfFile {
    /// Where it is.
    pub path: PathBuf,
    bytes: FileBytes,
    /// Address as linked, size in the file, offset in the file, of each loaded segment.
    segments: Vec<(u64, u64, u64)>,
}

impl ElfFile {
    /// Opens a file.
    pub fn open(world: &dyn World, path: &Path) -> Result<ElfFile, ElfError> {
        let bytes = world.map_file(path).map_err(|error| ElfError::Io(path.to_owned(), error))?;
        let malformed = |why: String| ElfError::Malformed(path.to_owned(), why);
        let segments = {
            let file = object::File::parse(&*bytes).map_err(|error| malformed(error.to_string()))?;
            if file.architecture() != object::Architecture::X86_64 {
                return Err(malformed(format!("it is for {:?}, not for x86-64", file.architecture())));
            }
            file.segments()
                .map(|segment| {
                    let (offset, size) = segment.file_range();
                    (segment.address(), size, offset)
                })
                .collect()
        };
        Ok(ElfFile { path: path.to_owned(), bytes, segments })
    }

    fn parsed(&self) -> Option<object::File<'_>> {
        object::File::parse(&*self.bytes).ok()
    }

    /// The offset in the file of an address as linked.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|(start, size, offset)| {
            let within = address.checked_sub(*start)?;
            (within < *size).then_some(offset + within)
        })
    }

    /// The bytes of a section, decompressed; empty when there is none.
    pub fn section(&self, name: &str) -> Vec<u8> {
        let Some(file) = self.parsed() else { return Vec::new() };
        let Some(section) = file.section_by_name(name) else { return Vec::new() };
        section.uncompressed_data().map(std::borrow::Cow::into_owned).unwrap_or_default()
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

    /// The build-id, in hexadecimal.
    pub fn build_id(&self) -> Option<String> {
        let id = self.parsed()?.build_id().ok()??.to_vec();
        Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The name in `.gnu_debuglink`.
    pub fn debug_link(&self) -> Option<String> {
        let file = self.parsed()?;
        let (name, _) = file.gnu_debuglink().ok()??;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// Where the debug information of this file may be, in the order of looking.
    pub fn debug_paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.path.clone()];
        if let Some(id) = self.build_id()
            && id.len() > 2
        {
            paths.push(PathBuf::from(format!("/usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..])));
        }
        if let (Some(link), Some(dir)) = (self.debug_link(), self.path.parent()) {
            paths.push(dir.join(&link));
            paths.push(dir.join(".debug").join(&link));
            let below = dir.strip_prefix("/").unwrap_or(dir);
            paths.push(Path::new("/usr/lib/debug").join(below).join(&link));
        }
        paths
    }
}
