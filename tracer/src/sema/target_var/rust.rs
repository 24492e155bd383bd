//! Steps that only Rust has: the fields of an enumeration's variant, the elements of slices and vectors.
//!
//! What is not there at the hit (another variant, an index beyond the end) has no value: its address becomes 0, and
//! reading it is an error of the handler.

use tracer_common::ir::{BinOp, CmpOp, Width};

use crate::debuginfo::model::{Member, Sequence, Shape, TypeId, Variants};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::sema::program::Access;
use crate::sema::target_var::{At, WORD, Walk, plus, pretty::further};
use crate::source::Span;
use crate::syntax::ast::{ExprKind, PathStep, PathStepKind};

fn binary(op: BinOp, left: Access, right: Access) -> Access {
    Access::Binary(op, Box::new(left), Box::new(right))
}

fn compare(op: CmpOp, left: Access, right: Access) -> Access {
    Access::Compare(op, Box::new(left), Box::new(right))
}

impl Walk<'_> {
    /// What tells the variants of a value apart, as a number without a sign; and each variant's number.
    pub(super) fn discriminant(&self, at: &At, variants: &Variants) -> Result<Access, String> {
        let Some(member) = &variants.discriminant else { return Ok(Access::Constant(0)) };
        let bytes = match self.types.shape(member.ty) {
            Shape::Number { bytes, .. } => bytes,
            Shape::Pointer(_) => 8,
            Shape::Array(..) | Shape::Aggregate | Shape::Float(_) | Shape::Nothing => 0,
        };
        if !matches!(bytes, 1 | 2 | 4 | 8) {
            return Err("what tells its variants apart is no number".to_owned());
        }
        self.read(further(at, (member.bit_offset / 8) as i64), Width { bytes, signed: false })
    }

    /// The number of a variant as [`Walk::discriminant`] gives it.
    pub(super) fn number_of(&self, value: i64, variants: &Variants) -> i64 {
        match variants.discriminant.as_ref().map(|member| self.types.size(member.ty)) {
            Some(bytes @ 1..8) => value & ((1 << (bytes * 8)) - 1),
            _ => value,
        }
    }

    /// A variant by its name, where the value is that variant.
    pub(super) fn variant(
        &self,
        name: &str,
        at: At,
        ty: TypeId,
        span: Span,
    ) -> Result<(At, Member), Diagnostic> {
        let fail = |why: String| Diagnostic::error(Code::UnresolvedTarget, span, why);
        let variants = self.types.variants(ty).unwrap_or(Variants { discriminant: None, all: Vec::new() });
        let Some((wanted, member)) = variants.all.iter().find(|(_, member)| member.name == name) else {
            let names: Vec<&str> = variants.all.iter().map(|(_, member)| member.name.as_str()).collect();
            let diagnostic = fail(format!("{} has no variant {name}", self.types.name(ty)));
            return Err(match suggest::hint(name, names.iter().copied()) {
                Some(hint) => diagnostic.hint(hint),
                None => diagnostic.hint(format!("its variants: {}", names[..names.len().min(12)].join(", "))),
            });
        };
        let is_that = match (wanted, variants.all.len()) {
            (_, 1) => None,
            (Some(value), _) => {
                let number = self.number_of(*value, &variants);
                let told = self.discriminant(&at, &variants).map_err(&fail)?;
                Some(compare(CmpOp::Eq, told, Access::Constant(number)))
            }
            (None, _) => {
                let told = self.discriminant(&at, &variants).map_err(&fail)?;
                let others = variants.all.iter().filter_map(|(value, _)| *value);
                let differs = |value| {
                    let number = Access::Constant(self.number_of(value, &variants));
                    compare(CmpOp::Ne, told.clone(), number)
                };
                others.map(differs).reduce(|all, one| binary(BinOp::And, all, one))
            }
        };
        let offset = (member.bit_offset / 8) as i64;
        let at = match (is_that, at) {
            (None, at) => further(&at, offset),
            (Some(is_that), At::Memory(address, base)) => {
                let there = plus(address, base.wrapping_add(offset));
                At::Memory(binary(BinOp::Mul, there, is_that), 0)
            }
            (Some(_), At::Value(_) | At::Pieces(..) | At::Pointer(_)) => {
                return Err(fail(
                    "this is in registers, where nothing can be said of one variant alone".to_owned(),
                )
                .hint("print all of it with a trailing $"));
            }
        };
        Ok((at, member.clone()))
    }

    /// Where a sequence begins, and how long it is.
    pub(super) fn ends(&self, at: &At, sequence: &Sequence) -> Result<(Access, Access), String> {
        let word = |member: &Member| self.read(further(at, (member.bit_offset / 8) as i64), WORD);
        Ok((word(&sequence.data)?, word(&sequence.length)?))
    }

    pub(super) fn index_sequence(
        &mut self,
        step: &PathStep,
        at: At,
        sequence: &Sequence,
    ) -> Result<(At, TypeId, Option<Member>), Diagnostic> {
        let PathStepKind::Index(index) = &step.kind else { return Ok((at, sequence.element, None)) };
        let fail = |why: String| {
            Diagnostic::error(Code::UnresolvedTarget, step.span, format!("this cannot be read here: {why}"))
        };
        let (data, length) = self.ends(&at, sequence).map_err(fail)?;
        let index = match &index.kind {
            ExprKind::Number(n) => Access::Constant(*n),
            _ => self.operand(),
        };
        let size = Access::Constant(self.types.size(sequence.element) as i64);
        let there = binary(BinOp::Add, data, binary(BinOp::Mul, index.clone(), size));
        let mut has = compare(CmpOp::Lt, index.clone(), length);
        if !matches!(index, Access::Constant(0..)) {
            has = binary(BinOp::And, has, compare(CmpOp::Ge, index, Access::Constant(0)));
        }
        Ok((At::Memory(binary(BinOp::Mul, there, has), 0), sequence.element, None))
    }
}
