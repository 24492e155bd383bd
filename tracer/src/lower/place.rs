//! Assignment: to locals, globals and elements.
//!
//! `g = g + e` is turned into the atomic update that it means, so that concurrent hits lose nothing.

use tracer_common::ir::{Arg, BinOp, Dest, Inst, LongOp, StrOp, UpdateOp};

use crate::lower::body::Body;
use crate::lower::usage::is_atomic;
use crate::sema::program::{Element, Expr, ExprKind, Place};
use crate::source::Span;

impl<'p> Body<'_, 'p> {
    pub(super) fn assign_long(&mut self, place: &'p Place, value: &'p Expr) -> LongOp {
        match place {
            Place::Local(local) => {
                let value = self.long(value);
                let Dest::Long(dest) = self.local(*local) else {
                    panic!("this is a bug: a long assigned to a string local")
                };
                self.push(Inst::Copy { dest, value });
                LongOp::Var(dest)
            }
            Place::Global(element) => {
                if let Some((op, op_span, operand)) = as_update(element, value) {
                    return self.modify(place, op, op_span, operand, true);
                }
                let span = element.span;
                let element = self.element(element);
                let value = self.kept_long(value);
                self.at(span);
                self.push(Inst::Set { element, value: Arg::Long(value) });
                value
            }
            Place::Target(target) => {
                let place = self.target_place(target, value.span);
                let value = self.kept_long(value);
                self.write_target(&place, value);
                value
            }
        }
    }

    pub(super) fn assign_string(&mut self, place: &'p Place, value: &'p Expr) -> StrOp {
        match place {
            Place::Local(local) => {
                let Dest::Str(dest) = self.local(*local) else {
                    panic!("this is a bug: a string assigned to a long local")
                };
                self.string_into(value, dest);
                StrOp::Var(dest)
            }
            Place::Global(element) => {
                let span = element.span;
                let element = self.element(element);
                let value = self.string(value);
                self.at(span);
                self.push(Inst::Set { element, value: Arg::Str(value) });
                value
            }
            Place::Target(_) => panic!("this is a bug: a string assigned to a target variable (pass 2)"),
        }
    }

    pub(super) fn append(&mut self, place: &'p Place, value: &'p Expr) -> StrOp {
        match place {
            Place::Local(local) => {
                let Dest::Str(dest) = self.local(*local) else {
                    panic!("this is a bug: a string appended to a long local")
                };
                let right = self.string(value);
                self.push(Inst::StrConcat { dest, left: StrOp::Var(dest), right });
                StrOp::Var(dest)
            }
            Place::Global(element) => {
                let global = element.global;
                let element = self.element(element);
                let capacity = self.lower.capacities.global(global.0);
                let dest = self.f.string(capacity);
                self.push(Inst::Get { dest: Dest::Str(dest), element: element.clone() });
                let right = self.string(value);
                self.push(Inst::StrConcat { dest, left: StrOp::Var(dest), right });
                self.push(Inst::Set { element, value: Arg::Str(StrOp::Var(dest)) });
                StrOp::Var(dest)
            }
            Place::Target(_) => panic!("this is a bug: a string assigned to a target variable (pass 2)"),
        }
    }

    /// `place op= value`; the value after it when `wanted`.
    pub(super) fn modify(
        &mut self,
        place: &'p Place,
        op: BinOp,
        op_span: Span,
        value: &'p Expr,
        wanted: bool,
    ) -> LongOp {
        match place {
            Place::Local(local) => {
                let right = self.long(value);
                let Dest::Long(dest) = self.local(*local) else {
                    panic!("this is a bug: arithmetic on a string local")
                };
                self.at(op_span);
                self.push(Inst::Bin { op, dest, left: LongOp::Var(dest), right });
                LongOp::Var(dest)
            }
            Place::Global(element) if is_atomic(op) => {
                let span = element.span;
                let element = self.element(element);
                let mut value = self.long(value);
                self.at(op_span);
                if op == BinOp::Sub {
                    value = match value {
                        LongOp::Imm(n) => LongOp::Imm(n.wrapping_neg()),
                        LongOp::Var(_) => self.bin(BinOp::Sub, LongOp::Imm(0), value),
                    };
                }
                let op = match op {
                    BinOp::And => UpdateOp::And,
                    BinOp::Or => UpdateOp::Or,
                    BinOp::Xor => UpdateOp::Xor,
                    _ => UpdateOp::Add,
                };
                let new = wanted.then(|| self.f.long());
                self.at(span);
                self.push(Inst::Update { op, element, value, old: None, new });
                new.map_or(LongOp::Imm(0), LongOp::Var)
            }
            Place::Global(element) => {
                let span = element.span;
                let element = self.element(element);
                let left = self.f.long();
                self.push(Inst::Get { dest: Dest::Long(left), element: element.clone() });
                let right = self.long(value);
                self.at(op_span);
                let value = self.bin(op, LongOp::Var(left), right);
                self.at(span);
                self.push(Inst::Set { element, value: Arg::Long(value) });
                value
            }
            Place::Target(target) => {
                let place = self.target_place(target, op_span);
                let left = self.read_target(&place);
                let right = self.long(value);
                self.at(op_span);
                let value = self.bin(op, left, right);
                self.write_target(&place, value);
                value
            }
        }
    }

    pub(super) fn crement_effect(&mut self, place: &'p Place, by: i64) {
        match place {
            Place::Global(element) => {
                let span = element.span;
                let element = self.element(element);
                self.at(span);
                self.push(Inst::Update {
                    op: UpdateOp::Add,
                    element,
                    value: LongOp::Imm(by),
                    old: None,
                    new: None,
                });
            }
            Place::Local(_) | Place::Target(_) => {
                self.crement(place, by, true);
            }
        }
    }

    pub(super) fn crement(&mut self, place: &'p Place, by: i64, prefix: bool) -> LongOp {
        match place {
            Place::Local(local) => {
                let Dest::Long(dest) = self.local(*local) else {
                    panic!("this is a bug: ++ on a string local")
                };
                let before = self.f.long();
                if !prefix {
                    self.push(Inst::Copy { dest: before, value: LongOp::Var(dest) });
                }
                self.push(Inst::Bin {
                    op: BinOp::Add,
                    dest,
                    left: LongOp::Var(dest),
                    right: LongOp::Imm(by),
                });
                LongOp::Var(if prefix { dest } else { before })
            }
            Place::Global(element) => {
                let span = element.span;
                let element = self.element(element);
                self.at(span);
                let result = self.f.long();
                let (old, new) = if prefix { (None, Some(result)) } else { (Some(result), None) };
                self.push(Inst::Update { op: UpdateOp::Add, element, value: LongOp::Imm(by), old, new });
                LongOp::Var(result)
            }
            Place::Target(target) => {
                let span = self.lower.span_of(self.owner);
                let place = self.target_place(target, span);
                let old = self.read_target(&place);
                let new = self.bin(BinOp::Add, old, LongOp::Imm(by));
                self.write_target(&place, new);
                if prefix { new } else { old }
            }
        }
    }
}

/// Recognises `g = g op e` and `g = e op g` with an operator that has an atomic form.
fn as_update<'p>(element: &Element, value: &'p Expr) -> Option<(BinOp, Span, &'p Expr)> {
    let ExprKind::Binary { op, op_span, left, right } = &value.kind else { return None };
    if !is_atomic(*op) {
        return None;
    }
    let same = |e: &Expr| matches!(&e.kind, ExprKind::Get(other) if same_element(other, element));
    if same(left) {
        Some((*op, *op_span, right))
    } else if *op != BinOp::Sub && same(right) {
        Some((*op, *op_span, left))
    } else {
        None
    }
}

/// Whether two elements are the same whatever happens between their evaluations.
fn same_element(a: &Element, b: &Element) -> bool {
    a.global == b.global
        && a.keys.len() == b.keys.len()
        && a.keys.iter().zip(&b.keys).all(|(a, b)| match (&a.kind, &b.kind) {
            (ExprKind::Number(a), ExprKind::Number(b)) => a == b,
            (ExprKind::Str(a), ExprKind::Str(b)) => a == b,
            (ExprKind::Local(a), ExprKind::Local(b)) => a == b,
            (
                ExprKind::Intrinsic { intrinsic: a, args: x },
                ExprKind::Intrinsic { intrinsic: b, args: y },
            ) => a == b && x.is_empty() && y.is_empty(),
            _ => false,
        })
}
