//! The arithmetic against numbers that SystemTap 5.6 printed, and against itself: parts merged are the whole.

use super::*;

fn fields(variance: Option<u8>, hist: Option<HistOp>) -> StatFields {
    StatFields { count: true, sum: true, min: true, max: true, variance, hist }
}

fn cell(values: &[i64], fields: &StatFields) -> Cell {
    let mut cell = Cell::default();
    for value in values {
        cell.add(*value, fields);
    }
    cell
}

fn variance(values: &[i64], shift: u8) -> Option<i64> {
    Cell::total(&[cell(values, &fields(Some(shift), None))]).extract(StatOp::Variance)
}

/// Uneven numbers, the same in every run.
fn numbers(seed: u64, count: usize, spread: i64) -> Vec<i64> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(|_| (next() % (2 * spread as u64 + 1)) as i64 - spread).collect()
}

#[test]
fn variances_are_those_of_systemtap() {
    let hundred: Vec<i64> = (0..100).collect();
    let long: Vec<i64> = [3].repeat(700).into_iter().chain([900, 5000, -20]).collect();
    let cubes: Vec<i64> = (1..=12).map(|n: i64| n * n * n - 300).collect();
    let mixed: Vec<i64> = (0..50).map(|n: i64| (n * 2_654_435_761) % 10_007 - 5000).collect();
    let wide = [-5, 7, 0, -100_000];
    let cases: [(&[i64], u8, i64); 16] = [
        (&hundred, 0, 5741),
        (&hundred, 3, 841),
        (&[7], 0, 0),
        (&[7, 9], 0, 2),
        (&wide, 0, 2_500_058_358),
        (&wide, 3, 2_500_039_607),
        (&long, 0, 36_652),
        (&long, 5, 36_647),
        (&[-3, -3, -4], 0, 0),
        (&[1, 2], 0, 1),
        (&[-1, -2], 0, 1),
        (&[1_000_000, 3_000_000, 5_000_000], 0, 4_000_000_000_000),
        (&cubes, 0, 333_922),
        (&cubes, 1, 331_942),
        (&mixed, 0, 9_001_532),
        (&mixed, 3, 9_000_650),
    ];
    for (values, shift, expected) in cases {
        assert_eq!(variance(values, shift), Some(expected), "{values:?} shifted by {shift}");
    }
    assert_eq!(variance(&[0, 0, 0], 0), Some(0));
    assert_eq!(variance(&[], 0), None);
}

#[test]
fn elements_of_arrays_keep_their_own_mean() {
    // One CPU's cell of an element is taken as it is: no rounding by the mean of the sum.
    let mut element = Cell::default();
    element.merge(&cell(&(0..100).collect::<Vec<i64>>(), &fields(Some(0), None)));
    assert_eq!(element.extract(StatOp::Variance), Some(3316));
    let mut element = Cell::default();
    element.merge(&cell(&[10, 30], &fields(Some(0), None)));
    assert_eq!(element.extract(StatOp::Variance), Some(200));
}

#[test]
fn merged_parts_are_the_whole() {
    let hist = HistOp::Linear { low: -50, high: 50, width: 7 };
    for (seed, hist) in [(1, HistOp::Log), (2, hist), (3, HistOp::Log), (4, hist)] {
        let fields = fields(Some(8), Some(hist));
        let values = numbers(seed, 200, 90);
        let whole = cell(&values, &fields);
        for split in [0, 1, 17, 100, 199, 200] {
            let parts = [cell(&values[..split], &fields), cell(&values[split..], &fields)];
            let mut merged = parts[0].clone();
            merged.merge(&parts[1]);
            for merged in [merged, Cell::total(&parts)] {
                for op in [StatOp::Count, StatOp::Sum, StatOp::Min, StatOp::Max, StatOp::Avg] {
                    assert_eq!(merged.extract(op), whole.extract(op), "{op:?}, split at {split}");
                }
                assert_eq!(merged.buckets, whole.buckets, "split at {split}");
                let (a, b) = (merged.extract(StatOp::Variance), whole.extract(StatOp::Variance));
                let apart = a.zip(b).map(|(a, b)| (a - b).abs());
                assert!(apart.is_some_and(|apart| apart <= 1), "variance {a:?}, {b:?}, split at {split}");
            }
        }
    }
}

#[test]
fn variance_is_near_the_exact_one() {
    for seed in 1..20 {
        let values = numbers(seed, 150, 1000);
        let count = values.len() as i128;
        let sum: i128 = values.iter().map(|v| i128::from(*v)).sum();
        let squares: i128 = values.iter().map(|v| i128::from(*v) * i128::from(*v)).sum();
        let exact = (squares - sum * sum / count) / (count - 1);
        let got = i128::from(variance(&values, 10).expect("values"));
        assert!((got - exact).abs() <= exact / 1000 + 1, "{got}, exactly {exact}");
    }
}

#[test]
fn empty_parts_change_nothing() {
    let fields = fields(Some(0), Some(HistOp::Log));
    let whole = cell(&[5, -3], &fields);
    let mut merged = whole.clone();
    merged.merge(&Cell::default());
    assert_eq!(merged, whole);
    let mut merged = Cell::default();
    merged.merge(&whole);
    assert_eq!(merged, whole);
    assert_eq!(Cell::total(&[]), Cell::default());
    for op in [StatOp::Min, StatOp::Max, StatOp::Avg, StatOp::Variance] {
        assert_eq!(Cell::default().extract(op), None);
    }
    assert_eq!(Cell::default().extract(StatOp::Sum), Some(0));
}

#[test]
fn averages_round_towards_zero() {
    for (values, expected) in
        [(&[-1, -2][..], -1), (&[-3, -3, -4], -3), (&[1, 2], 1), (&[i64::MAX, i64::MIN, 5], 1)]
    {
        assert_eq!(cell(values, &fields(None, None)).extract(StatOp::Avg), Some(expected), "{values:?}");
    }
}

#[test]
fn logarithmic_buckets_hold_what_their_labels_say() {
    for (value, bucket) in [
        (0, 64),
        (1, 65),
        (2, 66),
        (3, 66),
        (4, 67),
        (i64::MAX, 127),
        (1 << 62, 127),
        ((1 << 62) - 1, 126),
        (-1, 63),
        (-2, 62),
        (-3, 62),
        (-4, 61),
        (-(1 << 62), 1),
        (-i64::MAX, 1),
        (i64::MIN, 0),
    ] {
        assert_eq!(log_bucket(value), bucket, "{value}");
    }
    for bucket in 0..LOG_BUCKETS {
        assert_eq!(log_bucket(log_bucket_value(bucket)), bucket);
    }
    for value in numbers(9, 500, i64::MAX / 2) {
        let low = log_bucket_value(log_bucket(value));
        assert!(low.unsigned_abs() <= value.unsigned_abs() && value.unsigned_abs() / 2 <= low.unsigned_abs());
    }
}

#[test]
fn linear_buckets_end_where_systemtap_ends_them() {
    // `@hist_linear(x, 0, 95, 10)`: the row of 90 takes all up to 99; 100 is above.
    for (value, low, high, width, bucket) in [
        (0, 0, 100, 10, 1),
        (-1, 0, 100, 10, 0),
        (100, 0, 100, 10, 11),
        (109, 0, 100, 10, 11),
        (110, 0, 100, 10, 12),
        (99, 0, 95, 10, 10),
        (100, 0, 95, 10, 11),
        (-51, -50, 50, 25, 0),
        (75, -50, 50, 25, 6),
        (i64::MAX, i64::MIN, i64::MAX, i64::MAX, 3),
        (i64::MIN, i64::MIN, i64::MAX, i64::MAX, 1),
        (i64::MIN, 0, 100, 10, 0),
        (i64::MAX, 0, 100, 10, 12),
    ] {
        assert_eq!(linear_bucket(value, low, high, width), bucket, "{value} in {low}..{high}");
    }
}

#[test]
fn hostile_cells_do_not_panic() {
    let worst = [i64::MIN, i64::MAX, -1, 0, 1, 2];
    for count in worst {
        for m2 in worst {
            let cell = Cell {
                count,
                sum: m2,
                mean: count,
                m2,
                shift: 62,
                buckets: vec![i64::MAX],
                ..Cell::default()
            };
            let mut merged = cell.clone();
            merged.merge(&cell);
            let total = Cell::total(&[cell, merged]);
            for op in [StatOp::Count, StatOp::Sum, StatOp::Min, StatOp::Max, StatOp::Avg, StatOp::Variance] {
                total.extract(op);
            }
        }
    }
}
