//! `foreach`: a snapshot, filtered, sorted and limited.
//!
//! Unsorted rows come in the array's order. Sorting is stable and leaves the array itself in the new order, as in
//! SystemTap: ties keep the order they had, and a later unsorted `foreach` shows the sorted one. With a small limit only
//! the first rows are sorted ([`first_sorted`]). What SystemTap does not do, and this does: a histogram's buckets can be
//! sorted. Arrays of statistics keep the order of insertion here; in SystemTap theirs is that of a hash.

use std::cmp::Ordering;
use std::vec::IntoIter;

use tracer_common::ir::SortBy;
use tracer_common::stat::{Cell, StatOp};

use crate::run::globals::{Item, Row};
use crate::run::value::Value;

/// Up to this limit only the first rows of an array are sorted.
const FEW: usize = 30;

/// Rows that are still to be visited.
#[derive(Debug, Default)]
pub(super) struct Iteration {
    rows: IntoIter<Row>,
}

impl Iteration {
    /// Over the elements of an array that match. A sort leaves `rows` in the order in which the array is to be left.
    pub(super) fn array(
        rows: &mut Vec<Row>,
        keys: &[Option<Value>],
        sort: Option<(SortBy, bool)>,
        limit: Option<i64>,
    ) -> Iteration {
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(0));
        if let Some(sort) = sort {
            let sliced = keys.iter().any(Option::is_some);
            match limit {
                Some(few) if !sliced && (1..=FEW).contains(&few) => first_sorted(rows, sort, few),
                _ => rows.sort_by(|a, b| compare(sort, a, b)),
            }
        }
        let limit = limit.unwrap_or(usize::MAX);
        let found: Vec<Row> = match sort {
            Some(_) => rows.iter().filter(|row| matches(row, keys)).take(limit).cloned().collect(),
            None => std::mem::take(rows).into_iter().filter(|row| matches(row, keys)).take(limit).collect(),
        };
        Iteration { rows: found.into_iter() }
    }

    /// Over the buckets of a histogram.
    pub(super) fn histogram(cell: &Cell, sort: Option<(SortBy, bool)>, limit: Option<i64>) -> Iteration {
        let mut rows = cell
            .buckets
            .iter()
            .enumerate()
            .map(|(n, count)| Row {
                keys: vec![Value::Long(n as i64)],
                item: Item::Value(Value::Long(*count)),
            })
            .collect();
        Iteration::array(&mut rows, &[], sort, limit)
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

/// Brings the first `few` rows of the sorted order to the front; all others keep their order, but that a row which
/// loses its place at the front comes right after it. SystemTap does no more, and a later `foreach` can tell.
fn first_sorted(rows: &mut [Row], sort: (SortBy, bool), few: usize) {
    let front = few.min(rows.len());
    rows[..front].sort_by(|a, b| compare(sort, a, b));
    for n in front..rows.len() {
        let at = rows[..front].partition_point(|row| compare(sort, row, &rows[n]).is_le());
        if at < front {
            rows[at..=n].rotate_right(1);
        }
    }
}

fn compare((by, ascending): (SortBy, bool), a: &Row, b: &Row) -> Ordering {
    let number = |row: &Row, op| match &row.item {
        Item::Cell(cell) => cell.extract(op).unwrap_or(0),
        Item::Value(value) => value.long(),
    };
    let order = match by {
        SortBy::Key(n) => match (a.keys.get(usize::from(n)), b.keys.get(usize::from(n))) {
            (Some(a), Some(b)) => a.order(b),
            _ => Ordering::Equal,
        },
        SortBy::Value => match (&a.item, &b.item) {
            (Item::Value(a), Item::Value(b)) => a.order(b),
            _ => number(a, StatOp::Count).cmp(&number(b, StatOp::Count)),
        },
        SortBy::Stat(op) => number(a, op).cmp(&number(b, op)),
    };
    if ascending { order } else { order.reverse() }
}

/// Whether a row's keys agree with a slice.
pub(super) fn matches(row: &Row, keys: &[Option<Value>]) -> bool {
    row.keys.iter().zip(keys).all(|(mine, wanted)| wanted.as_ref().is_none_or(|wanted| wanted == mine))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(i64, i64)]) -> Vec<Row> {
        values
            .iter()
            .map(|(key, value)| Row { keys: vec![Value::Long(*key)], item: Item::Value(Value::Long(*value)) })
            .collect()
    }

    fn keys(rows: impl IntoIterator<Item = Row>) -> Vec<i64> {
        rows.into_iter().map(|row| row.keys[0].long()).collect()
    }

    fn visit(rows: &mut Vec<Row>, by: SortBy, ascending: bool, limit: Option<i64>) -> Vec<i64> {
        keys(Iteration::array(rows, &[None], Some((by, ascending)), limit).rows)
    }

    #[test]
    fn an_array_is_left_as_systemtap_leaves_it() {
        let mut a = rows(&[(5, 50), (3, 10), (9, 30), (1, 30), (7, 20)]);
        assert_eq!(visit(&mut a, SortBy::Key(0), true, None), [1, 3, 5, 7, 9]);
        a.extend(rows(&[(4, 1)]));
        assert_eq!(visit(&mut a, SortBy::Value, false, Some(2)), [5, 1]);
        assert_eq!(keys(a.clone()), [5, 1, 3, 7, 9, 4]);
        assert_eq!(visit(&mut a, SortBy::Value, true, None), [4, 3, 7, 1, 9, 5]);
        assert_eq!(visit(&mut a, SortBy::Key(0), false, None), [9, 7, 5, 4, 3, 1]);
        assert_eq!(visit(&mut a, SortBy::Value, true, None), [4, 3, 7, 9, 1, 5]);
        assert_eq!(keys(a), [4, 3, 7, 9, 1, 5]);
    }

    #[test]
    fn a_limited_sort_shows_the_same_rows_as_a_whole_one() {
        for limit in 0..40 {
            let unsorted: Vec<(i64, i64)> = (0..35).map(|n| (n, n * 7919 % 11)).collect();
            for (by, ascending) in [(SortBy::Value, true), (SortBy::Value, false), (SortBy::Key(0), false)] {
                let mut sorted = rows(&unsorted);
                let mut expected = visit(&mut sorted, by, ascending, None);
                expected.truncate(limit as usize);
                assert_eq!(visit(&mut rows(&unsorted), by, ascending, Some(limit)), expected);
            }
        }
        assert_eq!(visit(&mut rows(&[(1, 1)]), SortBy::Value, true, Some(-1)), []);
    }
}
