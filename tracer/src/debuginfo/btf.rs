//! The kernel's own types: BTF of vmlinux, read in place.
//!
//! Format: `Documentation/bpf/btf.rst` in the kernel's tree. Every offset is checked; a broken table gives
//! [`BtfError`], a broken reference gives `void`.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use crate::debuginfo::model::{Member, Shape, TypeId, Types};
use crate::glob::glob_match;
use crate::world::{FileBytes, World};

/// Where the running kernel shows its types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why a table cannot be read.
#[derive(Debug)]
pub enum BtfError {
    /// No such file, or not readable.
    Io(std::io::Error),
    /// Not BTF, or cut short.
    Malformed(&'static str),
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => write!(
                f,
                "the kernel does not tell its types: there is no {VMLINUX}; it was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted"
            ),
            BtfError::Io(error) => write!(f, "cannot read the kernel's types ({VMLINUX}): {error}"),
            BtfError::Malformed(why) => write!(f, "the kernel's types ({VMLINUX}) are malformed: {why}"),
        }
    }
}

/// A table.
pub struct Btf {
    bytes: FileBytes,
    /// Offset of each type's record; the first is type 1.
    records: Vec<u32>,
    strings: (usize, usize),
    /// Names that were looked for so far.
    searches: Cell<u32>,
    /// Hashes of all names with their types, sorted; made when many names are looked for.
    index: OnceCell<Vec<(u64, u32)>>,
}

/// So many names are looked for by reading the whole table each time; a wildcard looks for thousands.
const SEARCHES: u32 = 16;

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Chains of qualifiers and typedefs longer than this are broken.
const CHAIN: usize = 64;

/// A function's parameters and result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prototype {
    /// The function's own type.
    pub id: TypeId,
    /// Names and types, in order.
    pub params: Vec<(String, TypeId)>,
    /// What it returns; `None` for void.
    pub result: Option<TypeId>,
}

impl Btf {
    /// The running kernel's.
    pub fn load(world: &dyn World) -> Result<Btf, BtfError> {
        Btf::parse(world.map_file(Path::new(VMLINUX)).map_err(BtfError::Io)?)
    }

    /// Reads a table: one pass over its records.
    pub fn parse(bytes: FileBytes) -> Result<Btf, BtfError> {
        let word = |at: usize| read_u32(&bytes, at).ok_or(BtfError::Malformed("it is cut short"));
        if bytes.get(..2) != Some(&[0x9f, 0xeb]) {
            return Err(BtfError::Malformed("it does not begin with BTF's magic number"));
        }
        let header = word(4)? as usize;
        let section = |offset: u32, length: u32| {
            let start = header.checked_add(offset as usize)?;
            let end = start.checked_add(length as usize)?;
            (end <= bytes.len()).then_some((start, end))
        };
        let types = section(word(8)?, word(12)?).ok_or(BtfError::Malformed("its types are out of bounds"))?;
        let strings =
            section(word(16)?, word(20)?).ok_or(BtfError::Malformed("its strings are out of bounds"))?;
        let mut records = Vec::with_capacity((types.1 - types.0) / 20);
        let mut at = types.0;
        while at < types.1 {
            records.push(at as u32);
            let info = word(at + 4)?;
            let count = (info & 0xffff) as usize;
            let more = match (info >> 24) & 0x1f {
                kind::INT | kind::VAR | kind::DECL_TAG => 4,
                kind::ARRAY => 12,
                kind::STRUCT | kind::UNION | kind::ENUM64 | kind::DATASEC => count * 12,
                kind::ENUM | kind::FUNC_PROTO => count * 8,
                kind::PTR
                | kind::FWD
                | kind::TYPEDEF
                | kind::VOLATILE
                | kind::CONST
                | kind::RESTRICT
                | kind::FUNC
                | kind::FLOAT
                | kind::TYPE_TAG => 0,
                _ => return Err(BtfError::Malformed("it has a kind of type that is not known")),
            };
            at += 12 + more;
        }
        if at != types.1 {
            return Err(BtfError::Malformed("its last type is cut short"));
        }
        Ok(Btf { bytes, records, strings, searches: Cell::new(0), index: OnceCell::new() })
    }

    fn record(&self, ty: TypeId) -> Option<Record<'_>> {
        let index = usize::try_from(ty.0).ok()?.checked_sub(1)?;
        let at = *self.records.get(index)? as usize;
        Some(Record { btf: self, at })
    }

    fn string(&self, offset: u32) -> &str {
        let Some(start) = self.strings.0.checked_add(offset as usize) else { return "" };
        let Some(bytes) = self.bytes.get(start..self.strings.1) else { return "" };
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&bytes[..end]).unwrap_or("")
    }

    /// A type by kind and name.
    fn find(&self, kinds: &[u32], name: &str) -> Option<TypeId> {
        let wanted = name.as_bytes();
        let is_it = |ty: &TypeId| {
            self.record(*ty).is_some_and(|record| kinds.contains(&record.kind()) && record.name_is(wanted))
        };
        if self.searches.get() < SEARCHES {
            self.searches.set(self.searches.get() + 1);
            return (1..=self.records.len() as u64).map(TypeId).find(is_it);
        }
        let index = self.index.get_or_init(|| self.names());
        let hash = hash(wanted);
        let start = index.partition_point(|(other, _)| *other < hash);
        let same = index[start..].iter().take_while(|(other, _)| *other == hash);
        same.map(|(_, ty)| TypeId(u64::from(*ty))).find(is_it)
    }

    fn names(&self) -> Vec<(u64, u32)> {
        let mut names: Vec<(u64, u32)> = (1..=self.records.len() as u32)
            .filter_map(|ty| {
                let name = self.string(self.record(TypeId(u64::from(ty)))?.word(0));
                (!name.is_empty()).then(|| (hash(name.as_bytes()), ty))
            })
            .collect();
        names.sort_unstable();
        names
    }

    /// A structure, union, enumeration, typedef or base type by its name in C: `task_struct`, `struct task_struct`.
    pub fn type_by_name(&self, name: &str) -> Option<TypeId> {
        let name = name.trim();
        let (kinds, name): (&[u32], &str) = match name.split_once(' ') {
            Some(("struct", rest)) => (&[kind::STRUCT], rest),
            Some(("union", rest)) => (&[kind::UNION], rest),
            Some(("enum", rest)) => (&[kind::ENUM, kind::ENUM64], rest),
            _ => (&[kind::STRUCT, kind::UNION, kind::TYPEDEF, kind::INT, kind::ENUM, kind::ENUM64], name),
        };
        self.find(kinds, name.trim())
    }

    /// The value of a constant of some enumeration.
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        (1..=self.records.len() as u64).find_map(|ty| {
            let constants = self.constants(TypeId(ty))?;
            constants.into_iter().find_map(|(known, value)| (known == name).then_some(value))
        })
    }

    /// The constants of an enumeration by its name in C, or that of a typedef for it.
    pub fn enumeration(&self, name: &str) -> Option<Vec<(String, i64)>> {
        let constants = self.constants(self.strip(self.type_by_name(name)?))?;
        Some(constants.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn constants(&self, ty: TypeId) -> Option<Vec<(&str, i64)>> {
        let record = self.record(ty)?;
        let constant = |n: usize| match record.kind() {
            kind::ENUM => {
                let value = record.word(16 + n * 8);
                let value = if record.kind_flag() { i64::from(value as i32) } else { i64::from(value) };
                Some((self.string(record.word(12 + n * 8)), value))
            }
            kind::ENUM64 => {
                let (low, high) = (record.word(16 + n * 12), record.word(20 + n * 12));
                Some((self.string(record.word(12 + n * 12)), (u64::from(high) << 32 | u64::from(low)) as i64))
            }
            _ => None,
        };
        matches!(record.kind(), kind::ENUM | kind::ENUM64)
            .then(|| (0..record.count()).filter_map(constant).collect())
    }

    /// A function's prototype by name.
    pub fn function(&self, name: &str) -> Option<Prototype> {
        let function = self.find(&[kind::FUNC], name)?;
        self.prototype(function)
    }

    fn prototype(&self, function: TypeId) -> Option<Prototype> {
        let proto = self.record(TypeId(u64::from(self.record(function)?.size_or_type())))?;
        if proto.kind() != kind::FUNC_PROTO {
            return None;
        }
        let id = function;
        let mut params = Vec::with_capacity(proto.count());
        for n in 0..proto.count() {
            let name = self.string(proto.word(12 + n * 8)).to_owned();
            params.push((name, TypeId(u64::from(proto.word(16 + n * 8)))));
        }
        let result = TypeId(u64::from(proto.size_or_type()));
        Some(Prototype { id, params, result: (result.0 != 0).then_some(result) })
    }

    /// Names of functions that match a pattern, sorted.
    pub fn functions(&self, pattern: &str) -> Vec<String> {
        let mut names: Vec<String> = (1..=self.records.len() as u64)
            .filter_map(|n| self.record(TypeId(n)))
            .filter(|record| record.kind() == kind::FUNC)
            .map(|record| self.string(record.word(0)))
            .filter(|name| glob_match(pattern, name))
            .map(str::to_owned)
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// A tracepoint's arguments: those of `__traceiter_NAME` after the first, which is the tracer's own.
    pub fn tracepoint(&self, name: &str) -> Option<Vec<(String, TypeId)>> {
        let mut params = self.function(&format!("__traceiter_{name}"))?.params;
        if !params.is_empty() {
            params.remove(0);
        }
        Some(params)
    }

    /// Names of tracepoints that match a pattern.
    pub fn tracepoints(&self, pattern: &str) -> Vec<String> {
        let prefix = "__traceiter_";
        self.functions(&format!("{prefix}{pattern}"))
            .into_iter()
            .filter_map(|name| name.strip_prefix(prefix).map(str::to_owned))
            .collect()
    }

    /// Takes qualifiers and typedefs off.
    fn strip(&self, mut ty: TypeId) -> TypeId {
        for _ in 0..CHAIN {
            let Some(record) = self.record(ty) else { return ty };
            match record.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    ty = TypeId(u64::from(record.size_or_type()));
                }
                _ => return ty,
            }
        }
        TypeId(0)
    }

    fn name_within(&self, ty: TypeId, depth: usize) -> String {
        let Some(record) = self.record(ty) else { return "void".into() };
        if depth > CHAIN {
            return "?".into();
        }
        let name = self.string(record.word(0)).to_owned();
        let inner = || self.name_within(TypeId(u64::from(record.size_or_type())), depth + 1);
        match record.kind() {
            kind::PTR => format!("{}*", inner()),
            kind::STRUCT => format!("struct {name}"),
            kind::UNION => format!("union {name}"),
            kind::ENUM | kind::ENUM64 => format!("enum {name}"),
            kind::CONST => format!("{} const", inner()),
            kind::VOLATILE | kind::RESTRICT | kind::TYPE_TAG => inner(),
            kind::ARRAY => {
                format!(
                    "{}[{}]",
                    self.name_within(TypeId(u64::from(record.word(12))), depth + 1),
                    record.word(20)
                )
            }
            kind::FUNC_PROTO => "function".into(),
            _ => name,
        }
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

struct Record<'b> {
    btf: &'b Btf,
    at: usize,
}

impl Record<'_> {
    /// A word of the record; past the end of the table reads 0.
    fn word(&self, offset: usize) -> u32 {
        read_u32(&self.btf.bytes, self.at + offset).unwrap_or(0)
    }

    fn name_is(&self, wanted: &[u8]) -> bool {
        let start = self.btf.strings.0 + self.word(0) as usize;
        self.btf.bytes.get(start..start + wanted.len()) == Some(wanted)
            && self.btf.bytes.get(start + wanted.len()) == Some(&0)
    }

    fn kind(&self) -> u32 {
        (self.word(4) >> 24) & 0x1f
    }

    fn kind_flag(&self) -> bool {
        self.word(4) >> 31 == 1
    }

    fn count(&self) -> usize {
        (self.word(4) & 0xffff) as usize
    }

    fn size_or_type(&self) -> u32 {
        self.word(8)
    }
}

impl Types for Btf {
    fn shape(&self, ty: TypeId) -> Shape {
        let Some(record) = self.record(self.strip(ty)) else { return Shape::Nothing };
        match record.kind() {
            kind::INT => Shape::Number {
                bytes: record.size_or_type().min(16) as u8,
                signed: record.word(12) >> 24 & 1 == 1,
            },
            kind::ENUM | kind::ENUM64 => {
                Shape::Number { bytes: record.size_or_type().min(8) as u8, signed: record.kind_flag() }
            }
            kind::PTR => {
                let to = TypeId(u64::from(record.size_or_type()));
                Shape::Pointer((to.0 != 0).then_some(to))
            }
            kind::ARRAY => Shape::Array(TypeId(u64::from(record.word(12))), Some(u64::from(record.word(20)))),
            kind::STRUCT | kind::UNION => Shape::Aggregate,
            kind::FLOAT => Shape::Float(record.size_or_type().min(16) as u8),
            _ => Shape::Nothing,
        }
    }

    fn is_character(&self, ty: TypeId) -> bool {
        // A truth value is none, and neither is an enumeration.
        const BOOL: u32 = 4;
        self.record(self.strip(ty)).is_some_and(|record| {
            record.kind() == kind::INT && record.size_or_type() == 1 && record.word(12) >> 24 & 15 & BOOL == 0
        })
    }

    fn size(&self, mut ty: TypeId) -> u64 {
        let mut count = 1u64;
        for _ in 0..CHAIN {
            let size = match self.shape(ty) {
                Shape::Pointer(_) => 8,
                Shape::Array(element, elements) => {
                    count = count.saturating_mul(elements.unwrap_or(0));
                    ty = element;
                    continue;
                }
                Shape::Nothing => 0,
                _ => self.record(self.strip(ty)).map_or(0, |record| u64::from(record.size_or_type())),
            };
            return count.saturating_mul(size);
        }
        0
    }

    fn members(&self, ty: TypeId) -> Vec<Member> {
        let Some(record) = self.record(self.strip(ty)) else { return Vec::new() };
        if !matches!(record.kind(), kind::STRUCT | kind::UNION) {
            return Vec::new();
        }
        (0..record.count())
            .map(|n| {
                let at = 12 + n * 12;
                let raw = record.word(at + 8);
                // With the kind flag, the upper byte is the width of a bitfield.
                let (bit_offset, bits) = if record.kind_flag() {
                    (u64::from(raw & 0xff_ffff), (raw >> 24 != 0).then_some((raw >> 24) as u8))
                } else {
                    (u64::from(raw), None)
                };
                Member {
                    name: self.string(record.word(at)).to_owned(),
                    ty: TypeId(u64::from(record.word(at + 4))),
                    bit_offset,
                    bits,
                }
            })
            .collect()
    }

    fn name(&self, ty: TypeId) -> String {
        self.name_within(ty, 0)
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemWorld;

    #[test]
    fn this_kernels_types() {
        let Ok(btf) = Btf::load(&SystemWorld::default()) else { return };
        let task = btf.type_by_name("struct task_struct").expect("every kernel has tasks");
        let pid = btf.member(task, "pid").expect("every task has a pid");
        assert_eq!(btf.shape(pid.ty), Shape::Number { bytes: 4, signed: true });
        assert_eq!(btf.name(pid.ty), "pid_t");
        let read = btf.function("vfs_read").expect("vfs_read");
        let names: Vec<&str> = read.params.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["file", "buf", "count", "pos"]);
        assert_eq!(btf.name(read.params[0].1), "struct file*");
        assert!(btf.functions("vfs_rea*").contains(&"vfs_read".to_owned()));
        for _ in 0..SEARCHES {
            assert!(btf.function("no such function").is_none());
        }
        assert_eq!(btf.function("vfs_read"), Some(read), "by the index");
        assert!(
            btf.tracepoint("sched_switch").is_some_and(|args| args.iter().any(|(name, _)| name == "prev"))
        );
    }

    #[test]
    fn damaged_tables_are_errors_or_void() {
        let Ok(bytes) = SystemWorld::default().map_file(Path::new(VMLINUX)) else { return };
        let small = bytes[..bytes.len().min(4096)].to_vec();
        assert!(Btf::parse(small.into()).is_err());
        assert!(Btf::parse(Vec::new().into()).is_err());
        // A table of one pointer to itself: chains end.
        let mut table = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0];
        table.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0, 0]);
        let btf = Btf::parse(table.into()).expect("well-formed, if useless");
        assert_eq!(btf.shape(TypeId(1)), Shape::Nothing);
        assert_eq!(btf.name(TypeId(9)), "void");
        // And one of an array of itself.
        let mut table = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0];
        table.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0]);
        let btf = Btf::parse(table.into()).expect("well-formed, if useless");
        assert_eq!(btf.size(TypeId(1)), 0);
    }
}
