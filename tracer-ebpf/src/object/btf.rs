//! A small writer of BTF: the kinds that map definitions and functions need.
//!
//! Reference: Documentation/bpf/btf.rst in the kernel's tree.
//!
//! **Not here:** reading BTF (`tracer::debuginfo`).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// The magic number and version of `.BTF` and `.BTF.ext`.
pub(super) const MAGIC: [u8; 4] = [0x9f, 0xeb, 1, 0];

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;

/// A type's number; 0 is void.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct TypeId(pub u32);

/// Collects types and strings.
pub(super) struct Btf {
    types: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    known: BTreeMap<String, u32>,
}

impl Btf {
    pub(super) fn new() -> Btf {
        Btf { types: Vec::new(), count: 0, strings: Vec::from([0]), known: BTreeMap::new() }
    }

    /// The offset of a string, made ASCII: aya panics on a verifier log that is not UTF-8, and the kernel cuts lines
    /// at any byte.
    pub(super) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(offset) = self.known.get(text) {
            return *offset;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend(text.chars().map(|c| match c {
            ' '..='~' => c as u8,
            _ => b'?',
        }));
        self.strings.push(0);
        self.known.insert(text.into(), offset);
        offset
    }

    /// A name that the kernel takes for a C identifier.
    fn identifier(&mut self, name: &str) -> u32 {
        let mut name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            name.insert(0, '_');
        }
        self.string(&name)
    }

    fn add(&mut self, name: u32, kind: u32, vlen: u32, size_or_type: u32, rest: &[u32]) -> TypeId {
        for word in [name, kind << 24 | vlen, size_or_type].iter().chain(rest) {
            self.types.extend(word.to_le_bytes());
        }
        self.count += 1;
        TypeId(self.count)
    }

    /// `int`.
    pub(super) fn int(&mut self) -> TypeId {
        let name = self.string("int");
        // Signed, 32 bits.
        self.add(name, KIND_INT, 0, 4, &[1 << 24 | 32])
    }

    pub(super) fn pointer(&mut self, to: TypeId) -> TypeId {
        self.add(0, KIND_PTR, 0, to.0, &[])
    }

    pub(super) fn array(&mut self, element: TypeId, index: TypeId, count: u32) -> TypeId {
        self.add(0, KIND_ARRAY, 0, 0, &[element.0, index.0, count])
    }

    /// An anonymous structure of pointers.
    pub(super) fn pointers(&mut self, members: &[(&str, TypeId)]) -> TypeId {
        let mut rest = Vec::with_capacity(members.len() * 3);
        for (index, (name, ty)) in members.iter().enumerate() {
            let name = self.string(name);
            rest.extend([name, ty.0, index as u32 * 64]);
        }
        self.add(0, KIND_STRUCT, members.len() as u32, members.len() as u32 * 8, &rest)
    }

    /// A global variable.
    pub(super) fn variable(&mut self, name: &str, ty: TypeId) -> TypeId {
        let name = self.string(name);
        self.add(name, KIND_VAR, 0, ty.0, &[1])
    }

    /// A section of variables: each with its offset and size.
    pub(super) fn section(&mut self, name: &str, variables: &[(TypeId, u32, u32)]) -> TypeId {
        let name = self.string(name);
        let size = variables.last().map_or(0, |(_, offset, size)| offset + size);
        let rest: Vec<u32> = variables.iter().flat_map(|(ty, offset, size)| [ty.0, *offset, *size]).collect();
        self.add(name, KIND_DATASEC, variables.len() as u32, size, &rest)
    }

    /// `result f(void *ctx)`.
    pub(super) fn prototype(&mut self, result: TypeId, param: TypeId) -> TypeId {
        let name = self.string("ctx");
        self.add(0, KIND_FUNC_PROTO, 1, result.0, &[name, param.0])
    }

    pub(super) fn function(&mut self, name: &str, prototype: TypeId, is_static: bool) -> TypeId {
        let name = self.identifier(name);
        self.add(name, KIND_FUNC, u32::from(!is_static), prototype.0, &[])
    }

    /// The section's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = Vec::from(MAGIC);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.types);
        out.extend(self.strings);
        out
    }
}
