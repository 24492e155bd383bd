//! Conditions that are known at compile time: `@defined` and what is made of it and of constants.

use super::{Outcome, Outcomes};
use crate::syntax::ast::{BinaryOp, Expr, ExprKind, UnaryOp};

/// The truth of a condition, when it does not depend on anything at run time.
pub(crate) fn truth(outcomes: &Outcomes, expr: &Expr) -> Option<bool> {
    match &expr.kind {
        ExprKind::Number(n) => Some(*n != 0),
        ExprKind::Defined(_) => match outcomes.get(&expr.id) {
            Some(Outcome::Defined(defined)) => Some(*defined),
            _ => None,
        },
        ExprKind::Unary { op: UnaryOp::Not, operand } => truth(outcomes, operand).map(|known| !known),
        ExprKind::Binary { op: BinaryOp::And, left, right, .. } => {
            match (truth(outcomes, left), truth(outcomes, right)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }
        }
        ExprKind::Binary { op: BinaryOp::Or, left, right, .. } => {
            match (truth(outcomes, left), truth(outcomes, right)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }
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
