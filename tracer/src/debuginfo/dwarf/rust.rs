//! What is Rust's own: enumerations with data, slices, strings, vectors.
//!
//! Slices and references to `str` are structures of a pointer and a length; the inside of the library's `Vec` and `String`
//! differs between versions, so the pointer is looked for.

use gimli::AttributeValue;

use super::types::{DwarfTypes, offset_of, unit_of};
use super::{Entry, Unit};
use crate::debuginfo::model::{Member, Sequence, Shape, TypeId, Types, Variants};

/// Variants of an enumeration, at the most.
const VARIANTS: usize = 1024;
/// Structures inside structures that are looked into for a vector's pointer.
const DEPTH: usize = 8;

impl DwarfTypes<'_> {
    /// Whether a type is Rust's.
    pub(super) fn is_rust(&self, ty: TypeId) -> bool {
        let Some(unit) = self.info.unit(unit_of(ty)) else { return false };
        let Ok(mut tree) = unit.entries_tree(None) else { return false };
        tree.root().is_ok_and(|root| {
            root.entry().attr_value(gimli::DW_AT_language)
                == Some(AttributeValue::Language(gimli::DW_LANG_Rust))
        })
    }

    pub(super) fn variants_of(&self, ty: TypeId) -> Option<Variants> {
        let ty = self.strip(ty)?;
        let unit = self.info.unit(unit_of(ty))?;
        let mut tree = unit.entries_tree(Some(offset_of(ty))).ok()?;
        let mut children = tree.root().ok()?.children();
        while let Ok(Some(child)) = children.next() {
            if child.entry().tag() != gimli::DW_TAG_variant_part {
                continue;
            }
            let discriminant = match child.entry().attr_value(gimli::DW_AT_discr) {
                Some(AttributeValue::UnitRef(at)) => Some(self.member_of(unit, &unit.entry(at).ok()?)?),
                Some(_) => return None,
                None => None,
            };
            let mut all = Vec::new();
            let mut variants = child.children();
            while let Ok(Some(variant)) = variants.next() {
                if variant.entry().tag() != gimli::DW_TAG_variant || all.len() >= VARIANTS {
                    continue;
                }
                // A list of values is none that the compiler makes.
                if variant.entry().attr_value(gimli::DW_AT_discr_list).is_some() {
                    return None;
                }
                let value = value(variant.entry());
                let mut inside = variant.children();
                while let Ok(Some(member)) = inside.next() {
                    if member.entry().tag() == gimli::DW_TAG_member {
                        all.push((value, self.member_of(unit, member.entry())?));
                        break;
                    }
                }
            }
            let is_told = discriminant.is_some() || all.len() == 1;
            return is_told.then_some(Variants { discriminant, all });
        }
        None
    }

    pub(super) fn sequence_of(&self, ty: TypeId) -> Option<Sequence> {
        let (unit, entry) = self.entry(self.strip(ty)?)?;
        if entry.tag() != gimli::DW_TAG_structure_type || !self.is_rust(ty) {
            return None;
        }
        let name = self.info.name_of(unit, &entry)?;
        if let (Some(data), Some(length)) = (self.member(ty, "data_ptr"), self.member(ty, "length")) {
            let Shape::Pointer(Some(element)) = self.shape(data.ty) else { return None };
            let is_text = name.ends_with("str") || name.contains("<str");
            return Some(Sequence { data, length, element, is_text });
        }
        if name == "String" {
            let vec = self.member(ty, "vec")?;
            let inner = self.sequence_of(vec.ty)?;
            let moved = |member: Member| Member {
                bit_offset: member.bit_offset.saturating_add(vec.bit_offset),
                ..member
            };
            let (data, length) = (moved(inner.data), moved(inner.length));
            return Some(Sequence { data, length, element: inner.element, is_text: true });
        }
        if name.starts_with("Vec<") {
            let length = self.member(ty, "len").filter(|length| self.size(length.ty) == 8)?;
            let element = self.argument(unit, &entry, "T")?;
            let data = self.pointer_in(self.member(ty, "buf")?, 0)?;
            return Some(Sequence { data, length, element, is_text: false });
        }
        None
    }

    /// The first pointer in a member.
    fn pointer_in(&self, member: Member, depth: usize) -> Option<Member> {
        match self.shape(member.ty) {
            Shape::Pointer(_) => Some(member),
            Shape::Aggregate if depth < DEPTH => self.members(member.ty).into_iter().find_map(|inner| {
                let bit_offset = inner.bit_offset.saturating_add(member.bit_offset);
                self.pointer_in(Member { bit_offset, ..inner }, depth + 1)
            }),
            _ => None,
        }
    }

    /// The type that a generic one was made for.
    fn argument(&self, unit: &Unit, generic: &Entry<'_>, name: &str) -> Option<TypeId> {
        let mut tree = unit.entries_tree(Some(generic.offset())).ok()?;
        let mut children = tree.root().ok()?.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if entry.tag() == gimli::DW_TAG_template_type_parameter
                && self.info.name_of(unit, entry).as_deref() == Some(name)
            {
                return self.inner(unit, entry);
            }
        }
        None
    }
}

fn value(variant: &Entry<'_>) -> Option<i64> {
    let value = variant.attr_value(gimli::DW_AT_discr_value)?;
    value.udata_value().map(|value| value as i64).or_else(|| value.sdata_value())
}
