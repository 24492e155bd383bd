//! Rows of numbers and texts as one piece of bytes: what an index is, in memory as in a file of the cache.
//!
//! Invariants: nothing is believed of the bytes. What they say of places outside of them is 0, or an empty text.
//!
//! **Not here:** what the columns are (`index`), whether the bytes are those that were written (`cache`).

use std::collections::HashMap;
use std::ops::Range;

use crate::world::Part;

/// Bytes of a number.
const NUMBER: usize = 4;
/// Numbers that stand before the rows of each table: its width, its rows, the bytes of its texts.
const HEAD: usize = 3 * NUMBER;

/// A table; columns are counted in numbers, of which addresses and texts take two.
#[derive(Debug)]
pub(super) struct Table {
    bytes: Part,
    width: usize,
    count: usize,
    rows: Range<usize>,
    texts: Range<usize>,
}

impl Table {
    /// The tables that are in some bytes; `None` when these are not so many, of these widths, and nothing else.
    pub(super) fn read<const N: usize>(bytes: &Part, widths: [usize; N]) -> Option<[Table; N]> {
        let mut at = 0_usize;
        let mut tables = Vec::with_capacity(N);
        for width in widths {
            let head = |n: usize| number(bytes, at.checked_add(n * NUMBER)?);
            let (is, count, texts) = (head(0)?, head(1)? as usize, head(2)? as usize);
            if is as usize != width {
                return None;
            }
            let first = at.checked_add(HEAD)?;
            let last = count.checked_mul(width)?.checked_mul(NUMBER)?.checked_add(first)?;
            let end = last.checked_add(texts)?;
            bytes.get(first..end)?;
            tables.push(Table { bytes: bytes.clone(), width, count, rows: first..last, texts: last..end });
            at = end;
        }
        if at != bytes.len() {
            return None;
        }
        tables.try_into().ok()
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A number.
    pub(super) fn number(&self, row: usize, column: usize) -> u32 {
        let at = || {
            let within = row.checked_mul(self.width)?.checked_add(column)?.checked_mul(NUMBER)?;
            self.rows.start.checked_add(within).filter(|at| *at < self.rows.end)
        };
        at().and_then(|at| number(&self.bytes, at)).unwrap_or(0)
    }

    /// An address.
    pub(super) fn long(&self, row: usize, column: usize) -> u64 {
        u64::from(self.number(row, column)) | u64::from(self.number(row, column + 1)) << 32
    }

    /// A text.
    pub(super) fn text(&self, row: usize, column: usize) -> &str {
        let (at, length) = (self.number(row, column) as usize, self.number(row, column + 1) as usize);
        let bytes = || {
            let texts = self.bytes.get(self.texts.clone())?;
            std::str::from_utf8(texts.get(at..at.checked_add(length)?)?).ok()
        };
        bytes().unwrap_or_default()
    }

    /// The rows that have a text in a column by which the rows are sorted.
    pub(super) fn rows_with(&self, column: usize, text: &str) -> Range<usize> {
        self.point(|row| self.text(row, column) < text)..self.point(|row| self.text(row, column) <= text)
    }

    /// The first row that is not before; rows are sorted so.
    pub(super) fn point(&self, is_before: impl Fn(usize) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(NUMBER)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// Makes a table, row after row, column after column.
pub(super) struct Writer {
    width: usize,
    rows: Vec<u8>,
    texts: Vec<u8>,
    /// Where texts are that many rows have.
    shared: HashMap<String, u32>,
    /// Where the last text is: rows are sorted, and neighbours often have one name.
    last: (u32, u32),
}

impl Writer {
    pub(super) fn new(width: usize) -> Writer {
        Writer { width, rows: Vec::new(), texts: Vec::new(), shared: HashMap::new(), last: (0, 0) }
    }

    pub(super) fn number(&mut self, number: u32) {
        self.rows.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn long(&mut self, number: u64) {
        self.number(number as u32);
        self.number((number >> 32) as u32);
    }

    /// A text that the next row may have again.
    pub(super) fn text(&mut self, text: &str) {
        let (at, length) = (self.last.0 as usize, self.last.1 as usize);
        if self.texts.get(at..at + length) != Some(text.as_bytes()) {
            self.last = (self.add(text), text.len() as u32);
        }
        let (at, length) = self.last;
        self.number(at);
        self.number(length);
    }

    /// A text that any row may have again.
    pub(super) fn shared(&mut self, text: &str) {
        let at = match self.shared.get(text) {
            Some(at) => *at,
            None if text.is_empty() => 0,
            None => {
                let at = self.add(text);
                self.shared.insert(text.to_owned(), at);
                at
            }
        };
        self.number(at);
        self.number(text.len() as u32);
    }

    fn add(&mut self, text: &str) -> u32 {
        let at = self.texts.len() as u32;
        self.texts.extend_from_slice(text.as_bytes());
        at
    }

    /// The bytes of some tables. `None` where they are more than the numbers can count.
    pub(super) fn finish<const N: usize>(tables: [Writer; N]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for table in tables {
            let count = table.rows.len() / (table.width * NUMBER);
            for number in [table.width, count, table.texts.len()] {
                bytes.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
            }
            bytes.extend_from_slice(&table.rows);
            bytes.extend_from_slice(&table.texts);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        let mut names = Writer::new(5);
        for (name, scope, number) in [("ann", "", 1), ("ann", "über", 2), ("bob", "über", 3)] {
            names.text(name);
            names.shared(scope);
            names.number(number);
        }
        let mut places = Writer::new(2);
        places.long(0xffff_8000_0000_0001);
        Writer::finish([names, places]).expect("it is small")
    }

    fn read(bytes: &[u8]) -> Option<[Table; 2]> {
        Table::read(&Part::Owned(bytes.into()), [5, 2])
    }

    #[test]
    fn what_was_written_is_read() {
        let [names, places] = read(&bytes()).expect("as it was written");
        assert_eq!((names.count(), places.count()), (3, 1));
        assert_eq!((names.text(1, 0), names.text(1, 2), names.number(1, 4)), ("ann", "über", 2));
        assert_eq!(names.rows_with(0, "ann"), 0..2);
        assert_eq!(names.rows_with(0, "bob"), 2..3);
        assert_eq!(names.rows_with(0, "b"), 2..2);
        assert_eq!(places.long(0, 0), 0xffff_8000_0000_0001);
        // Neighbours share a text, and so do all rows that have one scope.
        assert_eq!(names.texts.len(), "annüberbob".len());
    }

    #[test]
    fn whatever_the_bytes_say_is_inside_of_them() {
        let good = bytes();
        for at in 0..good.len() {
            assert!(read(&good[..at]).is_none(), "it was cut at {at}");
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let Some(tables) = read(&bytes) else { continue };
                for table in &tables {
                    for row in 0..table.count() + 2 {
                        for column in 0..6 {
                            let _ = (table.text(row, column), table.long(row, column));
                        }
                    }
                    let _ = table.rows_with(0, "ann");
                }
            }
        }
        assert!(Table::read(&Part::Owned(good.as_slice().into()), [5]).is_none(), "more than was asked for");
    }
}
