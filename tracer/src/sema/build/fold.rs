//! Conditions that are known at compile time: `@defined`, script arguments, and what is made of them and of constants.

use super::{Outcome, Outcomes};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, Text, UnaryOp};

/// A value that is known at compile time.
enum Known {
    Long(i64),
    Str(Text),
}

/// The truth of a condition, when it does not depend on anything at run time.
pub(crate) fn truth(outcomes: &Outcomes, expr: &Expr) -> Option<bool> {
    match known(outcomes, expr)? {
        Known::Long(value) => Some(value != 0),
        Known::Str(_) => None,
    }
}

fn known(outcomes: &Outcomes, expr: &Expr) -> Option<Known> {
    let long = |value| Some(Known::Long(value));
    match &expr.kind {
        ExprKind::Number(n) => long(*n),
        ExprKind::Str(text) => Some(Known::Str(text.clone())),
        ExprKind::Defined(_) => match outcomes.get(&expr.id) {
            Some(Outcome::Defined(defined)) => long(i64::from(*defined)),
            _ => None,
        },
        ExprKind::Unary { op, operand } => match (op, known(outcomes, operand)?) {
            (UnaryOp::Plus, Known::Long(value)) => long(value),
            (UnaryOp::Neg, Known::Long(value)) => long(value.wrapping_neg()),
            (UnaryOp::Not, Known::Long(value)) => long(i64::from(value == 0)),
            (UnaryOp::BitNot, Known::Long(value)) => long(!value),
            (_, Known::Str(_)) => None,
        },
        ExprKind::Binary { op: BinaryOp::And, left, right, .. } => {
            match (truth(outcomes, left), truth(outcomes, right)) {
                (Some(false), _) => long(0),
                // Whether the left side is evaluated for its effects is not our business here: it is an `@defined`.
                (None, Some(false)) if mentions_defined(right) => long(0),
                (Some(true), Some(right)) => long(i64::from(right)),
                _ => None,
            }
        }
        ExprKind::Binary { op: BinaryOp::Or, left, right, .. } => {
            match (truth(outcomes, left), truth(outcomes, right)) {
                (Some(true), _) => long(1),
                (None, Some(true)) if mentions_defined(right) => long(1),
                (Some(false), Some(right)) => long(i64::from(right)),
                _ => None,
            }
        }
        ExprKind::Binary { op, left, right, .. } => {
            let order = match (known(outcomes, left)?, known(outcomes, right)?) {
                (Known::Long(left), Known::Long(right)) => left.cmp(&right),
                (Known::Str(left), Known::Str(right)) => left.cmp(&right),
                _ => return None,
            };
            let holds = match op {
                BinaryOp::Eq => order.is_eq(),
                BinaryOp::Ne => order.is_ne(),
                BinaryOp::Lt => order.is_lt(),
                BinaryOp::Le => order.is_le(),
                BinaryOp::Gt => order.is_gt(),
                BinaryOp::Ge => order.is_ge(),
                _ => return None,
            };
            long(i64::from(holds))
        }
        _ => None,
    }
}

/// Whether a condition has an `@defined` in it: only those decide which branch is looked at.
pub(crate) fn mentions_defined(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Defined(_) => true,
        ExprKind::Unary { operand, .. } => mentions_defined(operand),
        ExprKind::Binary { left, right, .. } => mentions_defined(left) || mentions_defined(right),
        _ => false,
    }
}
