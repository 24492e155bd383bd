//! The arithmetic of statistics: cells, merging, buckets. The reference that emitted code must match.
//!
//! Integer arithmetic throughout, wrapping at 64 bits as SystemTap's runtime does.

use alloc::vec;
use alloc::vec::Vec;

/// Which number is extracted from a statistic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum StatOp {
    /// `@count`.
    Count,
    /// `@sum`.
    Sum,
    /// `@min`.
    Min,
    /// `@max`.
    Max,
    /// `@avg`: the integer quotient.
    Avg,
    /// `@variance`.
    Variance,
}

/// The two histograms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum HistOp {
    /// `@hist_log`: [`LOG_BUCKETS`] powers of two of both signs.
    Log,
    /// `@hist_linear(x, low, high, width)`: one bucket for less than `low`, one for more than `high`.
    Linear {
        /// Start of the first regular bucket.
        low: i64,
        /// Values above this count as overflow.
        high: i64,
        /// Width of a bucket, at least 1.
        width: i64,
    },
}

/// Buckets of `@hist_log`.
pub const LOG_BUCKETS: usize = 128;
/// Where `@hist_log` counts zero.
pub const LOG_ZERO: usize = 64;

/// The bucket of a value in `@hist_log`: 64 for 0, 65 for 1, 66 for 2..3, …, 127 for 2^62 and more; 63 for -1,
/// 62 for -2..-3, …, 0 for the most negative.
pub fn log_bucket(value: i64) -> usize {
    let bits = |v: u64| 64 - v.leading_zeros() as usize;
    if value >= 0 {
        LOG_ZERO + bits(value as u64)
    } else {
        LOG_ZERO - bits(value.unsigned_abs()).min(LOG_ZERO)
    }
}

/// The lowest magnitude that lands in a bucket of `@hist_log`: what is printed beside the bar.
pub fn log_bucket_value(bucket: usize) -> i64 {
    if bucket > LOG_ZERO {
        1i64 << (bucket - LOG_ZERO - 1)
    } else if bucket < LOG_ZERO {
        (1u64 << (LOG_ZERO - bucket - 1)).wrapping_neg() as i64
    } else {
        0
    }
}

/// Number of buckets of `@hist_linear`, underflow and overflow included.
pub fn linear_buckets(low: i64, high: i64, width: i64) -> usize {
    ((high as i128 - low as i128) / width as i128 + 3) as usize
}

/// The bucket of a value in `@hist_linear`; 0 is underflow, the last is overflow.
pub fn linear_bucket(value: i64, low: i64, high: i64, width: i64) -> usize {
    let last = linear_buckets(low, high, width) - 1;
    if value < low {
        return 0;
    }
    let index = (value as i128 - low as i128) / width as i128 + 1;
    if index >= last as i128 { last } else { index as usize }
}

/// One accumulated statistic. Fields that no extractor asks for stay zero.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cell {
    /// Values seen.
    pub count: i64,
    /// Their sum, wrapping.
    pub sum: i64,
    /// Smallest; meaningless while `count` is 0.
    pub min: i64,
    /// Largest; meaningless while `count` is 0.
    pub max: i64,
    /// Running mean of the values shifted left by `shift`.
    pub mean: i64,
    /// Running sum of squared deviations (Welford), of the shifted values.
    pub m2: i64,
    /// Bit shift of `@variance`: more bits, more exact and sooner an overflow.
    pub shift: u8,
    /// Histogram counts, empty without a histogram.
    pub buckets: Vec<i64>,
}

/// What a statistic must keep, so that its extractors can be answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StatFields {
    /// `@count`, or anything that needs to know whether the cell is empty.
    pub count: bool,
    /// `@sum`, `@avg`.
    pub sum: bool,
    /// `@min`.
    pub min: bool,
    /// `@max`.
    pub max: bool,
    /// `@variance` with its bit shift.
    pub variance: Option<u8>,
    /// A histogram.
    pub hist: Option<HistOp>,
}

impl HistOp {
    /// Number of buckets.
    pub fn buckets(self) -> usize {
        match self {
            HistOp::Log => LOG_BUCKETS,
            HistOp::Linear { low, high, width } => linear_buckets(low, high, width),
        }
    }

    /// The bucket of a value.
    pub fn bucket(self, value: i64) -> usize {
        match self {
            HistOp::Log => log_bucket(value).min(LOG_BUCKETS - 1),
            HistOp::Linear { low, high, width } => linear_bucket(value, low, high, width),
        }
    }
}

impl Cell {
    /// Adds a value, keeping what `fields` asks for.
    pub fn add(&mut self, value: i64, fields: &StatFields) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(value);
        if let Some(shift) = fields.variance {
            self.shift = shift;
            self.deviate(shifted(value, shift));
        }
        if let Some(hist) = fields.hist {
            if self.buckets.is_empty() {
                self.buckets = vec![0; hist.buckets()];
            }
            self.buckets[hist.bucket(value)] += 1;
        }
    }

    /// Welford's step; `count` holds the value already. SystemTap keeps the deviation in 32 bits, and is wrong beyond
    /// them; here it has 64.
    fn deviate(&mut self, value: i64) {
        if self.count == 1 {
            (self.mean, self.m2) = (value, 0);
            return;
        }
        let deviation = value.wrapping_sub(self.mean);
        self.mean = self.mean.wrapping_add(quotient(deviation, self.count));
        self.m2 = self.m2.wrapping_add(deviation.wrapping_mul(value.wrapping_sub(self.mean)));
    }

    /// Merges the cell of another CPU, as SystemTap does for an element of an array: two at a time.
    pub fn merge(&mut self, other: &Cell) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = other.clone();
            return;
        }
        let (mean, m2) = join(&[&*self, other]);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
        (self.mean, self.m2) = (mean, m2);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.wrapping_add(*theirs);
        }
    }

    /// The cells of all CPUs as one, as SystemTap does for a scalar: all at once, around the mean that the sum gives. Also the
    /// elements of a slice: their order does not matter.
    /// `@variance` can differ by rounding from merging two at a time; with one CPU too.
    pub fn total(cells: &[Cell]) -> Cell {
        let seen: Vec<&Cell> = cells.iter().filter(|cell| !cell.is_empty()).collect();
        let mut total = Cell::default();
        for cell in &seen {
            total.merge(cell);
        }
        if !seen.is_empty() {
            (total.mean, total.m2) = join(&seen);
        }
        total
    }

    fn is_empty(&self) -> bool {
        self.count == 0 && self.buckets.iter().all(|count| *count == 0)
    }

    /// Variance of the shifted values.
    fn variance(&self) -> i64 {
        if self.count < 2 { 0 } else { quotient(self.m2, self.count - 1) }
    }

    /// An extracted number. `None` for all but `@count` and `@sum` when nothing was accumulated: SystemTap raises
    /// `empty aggregate` there.
    pub fn extract(&self, op: StatOp) -> Option<i64> {
        match op {
            StatOp::Count => Some(self.count),
            StatOp::Sum => Some(self.sum),
            StatOp::Min | StatOp::Max | StatOp::Avg | StatOp::Variance if self.count == 0 => None,
            StatOp::Min => Some(self.min),
            StatOp::Max => Some(self.max),
            StatOp::Avg => Some(quotient(self.sum, self.count)),
            StatOp::Variance => Some(self.variance() >> (2 * u32::from(self.shift)).min(63)),
        }
    }
}

/// A value as `@variance(x, shift)` accumulates it.
fn shifted(value: i64, shift: u8) -> i64 {
    value.wrapping_shl(u32::from(shift))
}

/// Towards zero; the divisor is a count, hostile or not.
fn quotient(value: i64, by: i64) -> i64 {
    if by == 0 { 0 } else { value.wrapping_div(by) }
}

/// Mean and sum of squared deviations of several cells: the total variance, which is what each varies in itself plus
/// what their means vary around the mean of all. Rounded where SystemTap rounds, so that the numbers are the same.
fn join(cells: &[&Cell]) -> (i64, i64) {
    let count = cells.iter().fold(0i64, |count, cell| count.wrapping_add(cell.count));
    let sum = cells.iter().fold(0i64, |sum, cell| sum.wrapping_add(cell.sum));
    let shift = cells.first().map_or(0, |cell| cell.shift);
    let mean = quotient(shifted(sum, shift), count);
    let mut squares = 0i64;
    for cell in cells {
        let apart = cell.mean.wrapping_sub(mean);
        squares = squares
            .wrapping_add(cell.count.wrapping_mul(apart).wrapping_mul(apart))
            .wrapping_add(cell.count.wrapping_sub(1).wrapping_mul(cell.variance()));
    }
    // A part of what is left over by the division is never seen again.
    let degrees = count.wrapping_sub(1);
    (mean, quotient(squares, degrees).wrapping_mul(degrees))
}

#[cfg(test)]
mod tests;
