//! DWARF types as the format-neutral model has them.

use gimli::{AttributeValue, Operation, UnitOffset};

use super::{DebugInfo, Entry, Unit};
use crate::debuginfo::model::{Member, Sequence, Shape, TypeId, Types, Variants, VirtualBase};

/// Chains of qualifiers and typedefs longer than this are broken.
const CHAIN: usize = 64;
/// Members of an aggregate, at the most.
const MEMBERS: usize = 4096;

/// A type's number: the unit, then how many dimensions of an array were taken off, then the entry's offset.
pub(super) const UNIT_SHIFT: u32 = 40;
const DIMENSION_SHIFT: u32 = 36;

pub(super) fn unit_of(ty: TypeId) -> usize {
    (ty.0 >> UNIT_SHIFT) as usize
}

fn dimension_of(ty: TypeId) -> usize {
    (ty.0 >> DIMENSION_SHIFT & 15) as usize
}

pub(super) fn offset_of(ty: TypeId) -> UnitOffset {
    UnitOffset((ty.0 & ((1 << DIMENSION_SHIFT) - 1)) as usize)
}

fn is_aggregate(tag: gimli::DwTag) -> bool {
    matches!(tag, gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type | gimli::DW_TAG_class_type)
}

/// The types of a file.
#[derive(Clone, Copy)]
pub struct DwarfTypes<'d> {
    pub(super) info: &'d DebugInfo,
}

impl DwarfTypes<'_> {
    pub(super) fn entry(&self, ty: TypeId) -> Option<(&Unit, Entry<'_>)> {
        let unit = self.info.unit(unit_of(ty))?;
        let entry = unit.entry(offset_of(ty)).ok()?;
        Some((unit, entry))
    }

    /// The definition of an aggregate that is only declared where it is used.
    fn complete(&self, ty: TypeId) -> TypeId {
        let Some((unit, entry)) = self.entry(ty) else { return ty };
        if entry.attr_value(gimli::DW_AT_declaration).is_none() {
            return ty;
        }
        let Some(name) = self.info.name_of(unit, &entry) else { return ty };
        let same = |other: &&TypeId| self.entry(**other).is_some_and(|(_, other)| is_aggregate(other.tag()));
        self.info.types_named(&name).iter().find(same).copied().unwrap_or(ty)
    }

    pub(super) fn inner(&self, unit: &Unit, entry: &Entry<'_>) -> Option<TypeId> {
        let value = entry.attr_value(gimli::DW_AT_type)?;
        let (owner, offset) = self.info.reference(unit, value)?;
        Some(self.info.type_id(owner, offset))
    }

    fn number(entry: &Entry<'_>, at: gimli::DwAt) -> Option<u64> {
        entry.attr_value(at).and_then(|value| value.udata_value())
    }

    /// Takes qualifiers and typedefs off.
    pub(super) fn strip(&self, mut ty: TypeId) -> Option<TypeId> {
        for _ in 0..CHAIN {
            let (unit, entry) = self.entry(ty)?;
            match entry.tag() {
                gimli::DW_TAG_typedef
                | gimli::DW_TAG_const_type
                | gimli::DW_TAG_volatile_type
                | gimli::DW_TAG_restrict_type
                | gimli::DW_TAG_atomic_type => ty = self.inner(unit, &entry)?,
                tag if is_aggregate(tag) => return Some(self.complete(ty)),
                _ => return Some(ty),
            }
        }
        None
    }

    /// The entry of an enumeration, behind typedefs.
    pub(super) fn enumeration(&self, ty: TypeId) -> Option<(&Unit, UnitOffset)> {
        let (unit, entry) = self.entry(self.strip(ty)?)?;
        (entry.tag() == gimli::DW_TAG_enumeration_type).then(|| (unit, entry.offset()))
    }

    fn name_within(&self, ty: TypeId, depth: usize) -> String {
        let Some((unit, entry)) = self.entry(ty).filter(|_| depth < CHAIN) else { return "void".into() };
        let own = self.info.name_of(unit, &entry).unwrap_or_default();
        let inner =
            || self.inner(unit, &entry).map_or("void".to_owned(), |to| self.name_within(to, depth + 1));
        match entry.tag() {
            gimli::DW_TAG_pointer_type => format!("{}*", inner()),
            gimli::DW_TAG_reference_type => format!("{}&", inner()),
            gimli::DW_TAG_rvalue_reference_type => format!("{}&&", inner()),
            gimli::DW_TAG_ptr_to_member_type => {
                let class = entry
                    .attr_value(gimli::DW_AT_containing_type)
                    .and_then(|value| self.info.reference(unit, value))
                    .and_then(|(owner, offset)| self.info.name_of(owner, &owner.entry(offset).ok()?))
                    .unwrap_or_default();
                format!("{} {class}::*", inner())
            }
            gimli::DW_TAG_structure_type => format!("struct {own}"),
            gimli::DW_TAG_union_type => format!("union {own}"),
            gimli::DW_TAG_class_type => format!("class {own}"),
            gimli::DW_TAG_enumeration_type => format!("enum {own}"),
            // As SystemTap writes it: `char const*`.
            gimli::DW_TAG_const_type => format!("{} const", inner()),
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
                // Its underlying type is a base type; looking no further, a damaged file cannot lead in a circle.
                let underlying = self.inner(unit, &entry).and_then(|ty| self.strip(ty));
                let signed = underlying.and_then(|ty| self.entry(ty)).is_some_and(|(_, base)| {
                    matches!(
                        base.attr_value(gimli::DW_AT_encoding),
                        Some(AttributeValue::Encoding(gimli::DW_ATE_signed | gimli::DW_ATE_signed_char))
                    )
                });
                Shape::Number { bytes: bytes.unwrap_or(4).min(8) as u8, signed }
            }
            gimli::DW_TAG_pointer_type
            | gimli::DW_TAG_reference_type
            | gimli::DW_TAG_rvalue_reference_type => Shape::Pointer(self.inner(unit, &entry)),
            // Where in an object a member is; of a function, its address or where in the table it is.
            gimli::DW_TAG_ptr_to_member_type => {
                let to = self.inner(unit, &entry).and_then(|ty| self.strip(ty)).and_then(|ty| self.entry(ty));
                match to {
                    Some((_, to)) if to.tag() == gimli::DW_TAG_subroutine_type => Shape::Pointer(None),
                    _ => Shape::Number { bytes: 8, signed: true },
                }
            }
            gimli::DW_TAG_array_type => {
                let ty = self.strip(ty).unwrap_or(ty);
                let counts = self.counts(unit, &entry);
                let dimension = dimension_of(ty);
                let element = if dimension + 1 < counts.len() {
                    Some(TypeId(ty.0 + (1 << DIMENSION_SHIFT)))
                } else {
                    self.inner(unit, &entry)
                };
                match element {
                    Some(element) => Shape::Array(element, counts.get(dimension).copied().flatten()),
                    None => Shape::Nothing,
                }
            }
            gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type | gimli::DW_TAG_class_type => {
                Shape::Aggregate
            }
            _ => Shape::Nothing,
        }
    }

    fn size(&self, ty: TypeId) -> u64 {
        let (mut ty, mut times) = (ty, 1u64);
        for _ in 0..CHAIN {
            let bytes = match self.shape(ty) {
                Shape::Pointer(_) => 8,
                Shape::Array(element, count) => {
                    times = times.saturating_mul(count.unwrap_or(0));
                    ty = element;
                    continue;
                }
                Shape::Nothing => 0,
                Shape::Number { bytes, .. } | Shape::Float(bytes) => u64::from(bytes),
                Shape::Aggregate => self
                    .strip(ty)
                    .and_then(|ty| self.entry(ty))
                    .and_then(|(_, entry)| Self::number(&entry, gimli::DW_AT_byte_size))
                    .unwrap_or(0),
            };
            return times.saturating_mul(bytes);
        }
        0
    }

    fn members(&self, ty: TypeId) -> Vec<Member> {
        let mut found = Vec::new();
        let Some(ty) = self.strip(ty) else { return found };
        let Some(unit) = self.info.unit(unit_of(ty)) else { return found };
        let Ok(mut tree) = unit.entries_tree(Some(offset_of(ty))) else { return found };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if !matches!(entry.tag(), gimli::DW_TAG_member | gimli::DW_TAG_inheritance) {
                continue;
            }
            // A static member of a class has no place in the object.
            let is_static = [gimli::DW_AT_external, gimli::DW_AT_declaration]
                .iter()
                .any(|at| entry.attr_value(*at).is_some());
            if is_static || found.len() >= MEMBERS {
                continue;
            }
            found.extend(self.member_of(unit, entry));
        }
        found
    }

    fn name(&self, ty: TypeId) -> String {
        self.name_within(ty, 0)
    }

    fn variants(&self, ty: TypeId) -> Option<Variants> {
        self.variants_of(ty)
    }

    fn sequence(&self, ty: TypeId) -> Option<Sequence> {
        self.sequence_of(ty)
    }

    fn virtual_bases(&self, ty: TypeId) -> Vec<VirtualBase> {
        let mut found = Vec::new();
        self.find_virtual_bases(ty, 0, 0, &mut found);
        found
    }

    fn is_reference(&self, ty: TypeId) -> bool {
        self.strip(ty).and_then(|ty| self.entry(ty)).is_some_and(|(_, entry)| {
            matches!(entry.tag(), gimli::DW_TAG_reference_type | gimli::DW_TAG_rvalue_reference_type)
        })
    }

    fn is_referred(&self, ty: TypeId) -> bool {
        self.is_rust(ty) && matches!(self.shape(ty), Shape::Array(..))
    }

    fn is_character(&self, ty: TypeId) -> bool {
        self.strip(ty).and_then(|ty| self.entry(ty)).is_some_and(|(_, entry)| {
            matches!(
                entry.attr_value(gimli::DW_AT_encoding),
                Some(AttributeValue::Encoding(gimli::DW_ATE_signed_char | gimli::DW_ATE_unsigned_char))
            ) && Self::number(&entry, gimli::DW_AT_byte_size) == Some(1)
        })
    }
}

/// Classes inside classes, and all virtual bases of one, at the most.
const BASES: usize = 16;

impl DwarfTypes<'_> {
    fn find_virtual_bases(&self, ty: TypeId, within: u64, depth: usize, found: &mut Vec<VirtualBase>) {
        let Some(ty) = self.strip(ty).filter(|_| depth < BASES) else { return };
        let Some(unit) = self.info.unit(unit_of(ty)) else { return };
        let Ok(mut tree) = unit.entries_tree(Some(offset_of(ty))) else { return };
        let Ok(root) = tree.root() else { return };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if entry.tag() != gimli::DW_TAG_inheritance || found.len() >= BASES {
                continue;
            }
            let Some(base) = self.inner(unit, entry) else { continue };
            if let Some(offset) = Self::member_offset(unit, entry) {
                self.find_virtual_bases(base, within.saturating_add(offset), depth + 1, found);
            } else if let Some(before) = Self::before_table(unit, entry)
                && !found.iter().any(|known| known.ty == base)
            {
                found.push(VirtualBase { ty: base, within, before });
            }
        }
    }

    /// How far before its table of virtual functions a class keeps where a virtual base is: what compilers write as an
    /// expression.
    fn before_table(unit: &Unit, entry: &Entry<'_>) -> Option<u64> {
        let Some(AttributeValue::Exprloc(expression)) = entry.attr_value(gimli::DW_AT_data_member_location)
        else {
            return None;
        };
        let mut operations = expression.operations(unit.encoding());
        let mut next = || operations.next().ok().flatten();
        let is_word = |operation| matches!(operation, Some(Operation::Deref { size: 8, space: false, .. }));
        let is_known = matches!(next(), Some(Operation::Pick { index: 0 })) && is_word(next());
        let before = match next() {
            Some(Operation::UnsignedConstant { value }) => value,
            Some(Operation::SignedConstant { value }) => u64::try_from(value).ok()?,
            _ => return None,
        };
        let is_known = is_known
            && matches!(next(), Some(Operation::Minus))
            && is_word(next())
            && matches!(next(), Some(Operation::Plus))
            && next().is_none();
        is_known.then_some(before).filter(|before| *before < 1 << 20)
    }

    /// A member of an aggregate; `None` for a virtual base, whose place depends on the object.
    pub(super) fn member_of(&self, unit: &Unit, entry: &Entry<'_>) -> Option<Member> {
        let ty = self.inner(unit, entry)?;
        let bits = Self::number(entry, gimli::DW_AT_bit_size).map(|n| n.min(64) as u8);
        let bytes = Self::member_offset(unit, entry)?;
        let bit_offset = match Self::number(entry, gimli::DW_AT_data_bit_offset) {
            Some(offset) => offset,
            None => bytes.saturating_mul(8).saturating_add_signed(self.old_bit_offset(entry, ty, bits)),
        };
        // A base class is searched like an anonymous member.
        let name = self.info.name_of(unit, entry).unwrap_or_default();
        Some(Member { name, ty, bit_offset, bits })
    }

    fn member_offset(unit: &Unit, entry: &Entry<'_>) -> Option<u64> {
        match entry.attr_value(gimli::DW_AT_data_member_location) {
            None => Some(0),
            // DWARF 2: an expression that adds to the object's address.
            Some(AttributeValue::Exprloc(expression)) => {
                let mut operations = expression.operations(unit.encoding());
                let Ok(Some(Operation::PlusConstant { value })) = operations.next() else { return None };
                matches!(operations.next(), Ok(None)).then_some(value)
            }
            Some(value) => value.udata_value(),
        }
        .filter(|offset| *offset < 1 << 40)
    }

    /// DWARF 3's bit offset counts from the most significant bit of the storage unit. It is negative for a packed member
    /// that reaches into the bytes behind its unit.
    fn old_bit_offset(&self, entry: &Entry<'_>, ty: TypeId, bits: Option<u8>) -> i64 {
        let offset = entry.attr_value(gimli::DW_AT_bit_offset);
        let offset = offset.and_then(|value| value.udata_value().map(|n| n as i64).or(value.sdata_value()));
        let (Some(offset), Some(bits)) = (offset, bits) else { return 0 };
        let bytes = Self::number(entry, gimli::DW_AT_byte_size).unwrap_or_else(|| self.size(ty));
        let storage = i64::try_from(bytes.saturating_mul(8)).unwrap_or(i64::MAX);
        storage.saturating_sub(offset).saturating_sub(i64::from(bits))
    }

    /// Elements of each dimension.
    fn counts(&self, unit: &Unit, array: &Entry<'_>) -> Vec<Option<u64>> {
        const DIMENSIONS: usize = 15;
        let mut counts = Vec::new();
        let Ok(mut tree) = unit.entries_tree(Some(array.offset())) else { return counts };
        let Ok(root) = tree.root() else { return counts };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if !matches!(entry.tag(), gimli::DW_TAG_subrange_type | gimli::DW_TAG_enumeration_type)
                || counts.len() >= DIMENSIONS
            {
                continue;
            }
            counts
                .push(Self::number(entry, gimli::DW_AT_count).or_else(|| {
                    Self::number(entry, gimli::DW_AT_upper_bound).and_then(|n| n.checked_add(1))
                }));
        }
        counts
    }
}
