//! `foreach`: a snapshot, filtered, sorted and limited.
//!
//! Unsorted rows come in the order of insertion; sorting is stable, so ties keep that order. In SystemTap a sorted
//! foreach also leaves the array itself in that order; here an array keeps the order of its insertions.

use std::cmp::Ordering;
use std::vec::IntoIter;

use tracer_common::ir::SortBy;
use tracer_common::stat::{Cell, StatOp};

use crate::run::globals::{Item, Row};
use crate::run::value::Value;

/// Rows that are still to be visited.
#[derive(Debug, Default)]
pub(super) struct Iteration {
    rows: IntoIter<Row>,
}

impl Iteration {
    /// Over the elements of an array that match.
    pub(super) fn array(
        rows: Vec<Row>,
        keys: &[Option<Value>],
        sort: Option<(SortBy, bool)>,
        limit: Option<i64>,
    ) -> Iteration {
        let rows = rows.into_iter().filter(|row| matches(row, keys)).collect();
        Iteration::sorted(rows, sort, limit)
    }

    /// Over the buckets of a histogram.
    pub(super) fn histogram(cell: &Cell, sort: Option<(SortBy, bool)>, limit: Option<i64>) -> Iteration {
        let rows = cell
            .buckets
            .iter()
            .enumerate()
            .map(|(n, count)| Row {
                keys: vec![Value::Long(n as i64)],
                item: Item::Value(Value::Long(*count)),
            })
            .collect();
        Iteration::sorted(rows, sort, limit)
    }

    fn sorted(mut rows: Vec<Row>, sort: Option<(SortBy, bool)>, limit: Option<i64>) -> Iteration {
        if let Some((by, ascending)) = sort {
            rows.sort_by(|a, b| {
                let order = compare(by, a, b);
                if ascending { order } else { order.reverse() }
            });
        }
        if let Some(limit) = limit {
            rows.truncate(usize::try_from(limit).unwrap_or(0));
        }
        Iteration { rows: rows.into_iter() }
    }

    /// The next row: keys and value (the count, for a statistic).
    pub(super) fn next(&mut self) -> Option<(Vec<Value>, Value)> {
        let row = self.rows.next()?;
        let value = match row.item {
            Item::Value(value) => value,
            Item::Cell(cell) => Value::Long(cell.count),
        };
        Some((row.keys, value))
    }
}

fn compare(by: SortBy, a: &Row, b: &Row) -> Ordering {
    let number = |row: &Row, op| match &row.item {
        Item::Cell(cell) => cell.extract(op).unwrap_or(0),
        Item::Value(value) => value.long(),
    };
    match by {
        SortBy::Key(n) => match (a.keys.get(usize::from(n)), b.keys.get(usize::from(n))) {
            (Some(a), Some(b)) => a.order(b),
            _ => Ordering::Equal,
        },
        SortBy::Value => match (&a.item, &b.item) {
            (Item::Value(a), Item::Value(b)) => a.order(b),
            _ => number(a, StatOp::Count).cmp(&number(b, StatOp::Count)),
        },
        SortBy::Stat(op) => number(a, op).cmp(&number(b, op)),
    }
}

/// Whether a row's keys agree with a slice.
pub(super) fn matches(row: &Row, keys: &[Option<Value>]) -> bool {
    row.keys.iter().zip(keys).all(|(mine, wanted)| wanted.as_ref().is_none_or(|wanted| wanted == mine))
}
