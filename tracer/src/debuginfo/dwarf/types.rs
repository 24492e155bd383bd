//! DWARF types as the format-neutral model has them.

use gimli::{AttributeValue, UnitOffset};

use super::{DebugInfo, Entry, Unit};
use crate::debuginfo::model::{Member, Shape, TypeId, Types};

/// Chains of qualifiers and typedefs longer than this are broken.
const CHAIN: usize = 64;

/// The types of a file.
#[derive(Clone, Copy)]
pub struct DwarfTypes<'d> {
    pub(super) info: &'d DebugInfo,
}

impl DwarfTypes<'_> {
    fn entry(&self, ty: TypeId) -> Option<(&Unit, Entry<'_>)> {
        let unit = self.info.units().get((ty.0 >> 40) as usize)?;
        let entry = unit.entry(UnitOffset((ty.0 & ((1 << 40) - 1)) as usize)).ok()?;
        Some((unit, entry))
    }

    fn inner(&self, unit: &Unit, entry: &Entry<'_>) -> Option<TypeId> {
        let value = entry.attr_value(gimli::DW_AT_type)?;
        let (owner, offset) = self.info.reference(unit, value)?;
        Some(self.info.type_id(owner, offset))
    }

    fn number(entry: &Entry<'_>, at: gimli::DwAt) -> Option<u64> {
        entry.attr_value(at).and_then(|value| value.udata_value())
    }

    /// Takes qualifiers and typedefs off.
    fn strip(&self, mut ty: TypeId) -> Option<TypeId> {
        for _ in 0..CHAIN {
            let (unit, entry) = self.entry(ty)?;
            match entry.tag() {
                gimli::DW_TAG_typedef
                | gimli::DW_TAG_const_type
                | gimli::DW_TAG_volatile_type
                | gimli::DW_TAG_restrict_type
                | gimli::DW_TAG_atomic_type => ty = self.inner(unit, &entry)?,
                _ => return Some(ty),
            }
        }
        None
    }

    fn name_within(&self, ty: TypeId, depth: usize) -> String {
        let Some((unit, entry)) = self.entry(ty).filter(|_| depth < CHAIN) else { return "void".into() };
        let own = self.info.name_of(unit, &entry, 0).unwrap_or_default();
        let inner =
            || self.inner(unit, &entry).map_or("void".to_owned(), |to| self.name_within(to, depth + 1));
        match entry.tag() {
            gimli::DW_TAG_pointer_type => format!("{}*", inner()),
            gimli::DW_TAG_reference_type | gimli::DW_TAG_rvalue_reference_type => format!("{}&", inner()),
            gimli::DW_TAG_structure_type => format!("struct {own}"),
            gimli::DW_TAG_union_type => format!("union {own}"),
            gimli::DW_TAG_class_type => format!("class {own}"),
            gimli::DW_TAG_enumeration_type => format!("enum {own}"),
            gimli::DW_TAG_const_type => format!("const {}", inner()),
            gimli::DW_TAG_volatile_type | gimli::DW_TAG_restrict_type => inner(),
            gimli::DW_TAG_array_type => format!("{}[]", inner()),
            gimli::DW_TAG_subroutine_type => "function".into(),
            _ => own,
        }
    }
}

impl Types for DwarfTypes<'_> {
    fn shape(&self, ty: TypeId) -> Shape {
        let Some((unit, entry)) = self.strip(ty).and_then(|ty| self.entry(ty)) else { return Shape::Nothing };
        let bytes = Self::number(&entry, gimli::DW_AT_byte_size);
        match entry.tag() {
            gimli::DW_TAG_base_type => {
                let encoding = match entry.attr_value(gimli::DW_AT_encoding) {
                    Some(AttributeValue::Encoding(encoding)) => encoding,
                    _ => gimli::DW_ATE_unsigned,
                };
                let bytes = bytes.unwrap_or(0).min(255) as u8;
                match encoding {
                    gimli::DW_ATE_float | gimli::DW_ATE_complex_float | gimli::DW_ATE_decimal_float => {
                        Shape::Float(bytes)
                    }
                    gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => Shape::Number { bytes, signed: true },
                    _ => Shape::Number { bytes, signed: false },
                }
            }
            gimli::DW_TAG_enumeration_type => {
                let signed = match self.inner(unit, &entry).map(|ty| self.shape(ty)) {
                    Some(Shape::Number { signed, .. }) => signed,
                    _ => false,
                };
                Shape::Number { bytes: bytes.unwrap_or(4).min(8) as u8, signed }
            }
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => Shape::Pointer(self.inner(unit, &entry)),
            gimli::DW_TAG_array_type => match self.inner(unit, &entry) {
                Some(element) => Shape::Array(element, self.count(unit, &entry)),
                None => Shape::Nothing,
            },
            gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type | gimli::DW_TAG_class_type => {
                Shape::Aggregate
            }
            _ => Shape::Nothing,
        }
    }

    fn size(&self, ty: TypeId) -> u64 {
        match self.shape(ty) {
            Shape::Pointer(_) => 8,
            Shape::Array(element, count) => self.size(element).saturating_mul(count.unwrap_or(0)),
            Shape::Nothing => 0,
            Shape::Number { bytes, .. } | Shape::Float(bytes) => u64::from(bytes),
            Shape::Aggregate => self
                .strip(ty)
                .and_then(|ty| self.entry(ty))
                .and_then(|(_, entry)| Self::number(&entry, gimli::DW_AT_byte_size))
                .unwrap_or(0),
        }
    }

    fn members(&self, ty: TypeId) -> Vec<Member> {
        let mut found = Vec::new();
        let Some(ty) = self.strip(ty) else { return found };
        let Some(unit) = self.info.units().get((ty.0 >> 40) as usize) else { return found };
        let offset = UnitOffset((ty.0 & ((1 << 40) - 1)) as usize);
        let Ok(mut tree) = unit.entries_tree(Some(offset)) else { return found };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if !matches!(entry.tag(), gimli::DW_TAG_member | gimli::DW_TAG_inheritance) {
                continue;
            }
            let Some(member_type) = self.inner(unit, entry) else { continue };
            let bits = Self::number(entry, gimli::DW_AT_bit_size).map(|n| n.min(64) as u8);
            let bytes = Self::number(entry, gimli::DW_AT_data_member_location).unwrap_or(0);
            let bit_offset = match Self::number(entry, gimli::DW_AT_data_bit_offset) {
                Some(offset) => offset,
                None => bytes.saturating_mul(8).saturating_add(self.old_bit_offset(entry, member_type, bits)),
            };
            found.push(Member {
                // A base class is searched like an anonymous member.
                name: self.info.name_of(unit, entry, 0).unwrap_or_default(),
                ty: member_type,
                bit_offset,
                bits,
            });
        }
        found
    }

    fn name(&self, ty: TypeId) -> String {
        self.name_within(ty, 0)
    }
}

impl DwarfTypes<'_> {
    /// DWARF 3's bit offset counts from the most significant bit of the storage unit.
    fn old_bit_offset(&self, entry: &Entry<'_>, ty: TypeId, bits: Option<u8>) -> u64 {
        let (Some(offset), Some(bits)) = (Self::number(entry, gimli::DW_AT_bit_offset), bits) else {
            return 0;
        };
        let storage = Self::number(entry, gimli::DW_AT_byte_size).unwrap_or_else(|| self.size(ty)) * 8;
        storage.saturating_sub(offset).saturating_sub(u64::from(bits))
    }

    fn count(&self, unit: &Unit, array: &Entry<'_>) -> Option<u64> {
        let mut tree = unit.entries_tree(Some(array.offset())).ok()?;
        let mut children = tree.root().ok()?.children();
        let mut total = 1u64;
        let mut any = false;
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            let count = Self::number(entry, gimli::DW_AT_count)
                .or_else(|| Self::number(entry, gimli::DW_AT_upper_bound).and_then(|n| n.checked_add(1)));
            total = total.saturating_mul(count?);
            any = true;
        }
        any.then_some(total)
    }
}
