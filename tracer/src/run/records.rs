//! Ring-buffer bytes to typed values. Lengths are checked, never trusted.

use tracer_common::ir::{Module, Ty};
use tracer_common::record::{self, ErrorKind, split_error_word};

use crate::run::value::Value;

/// A record.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// `exit()`.
    Exit,
    /// A handler failed.
    Error {
        /// The site, or `record::NO_SITE`.
        site: u32,
        /// Index into the module's places.
        place: u32,
        /// Why.
        kind: ErrorKind,
        /// An address, a global, or 0.
        argument: u64,
        /// The script's text, for `error("…")`.
        message: Vec<u8>,
    },
    /// A file whose unwind table is wanted.
    File {
        /// A process that has it mapped.
        pid: i64,
        /// Where.
        address: u64,
        /// The address of its inode.
        inode: u64,
    },
    /// Values for a continuation.
    Values {
        /// Index into the module's records.
        record: u16,
        /// The site.
        site: u32,
        /// One for each field.
        values: Vec<Value>,
    },
}

/// Takes a record apart; `None` when it is not what it claims to be.
pub fn decode(module: &Module, bytes: &[u8]) -> Option<Record> {
    let mut reader = Reader { bytes, at: 0 };
    let head = reader.take(4)?;
    let number = u16::from_le_bytes([head[0], head[1]]);
    let site = u32::from_le_bytes(reader.take(4)?.try_into().ok()?);
    match number {
        record::EXIT => Some(Record::Exit),
        record::FILE => {
            let (pid, address) = (reader.long()?, reader.long()? as u64);
            Some(Record::File { pid, address, inode: reader.long()? as u64 })
        }
        record::ERROR => {
            let (place, kind) = split_error_word(reader.long()? as u64)?;
            let argument = reader.long()? as u64;
            let message = if kind == ErrorKind::Message { reader.string()? } else { Vec::new() };
            Some(Record::Error { site, place, kind, argument, message })
        }
        number => {
            let fields = &module.records.get(usize::from(number))?.fields;
            let mut values = Vec::with_capacity(fields.len());
            for field in fields {
                values.push(match field {
                    Ty::Long => Value::Long(reader.long()?),
                    Ty::Str(_) => Value::Str(reader.string()?),
                });
            }
            Some(Record::Values { record: number, site, values })
        }
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?) as usize;
        let slot = u32::from_le_bytes(self.take(4)?.try_into().ok()?) as usize;
        let bytes = self.take(slot)?;
        Some(bytes.get(..length)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module() -> Module {
        tracer_common::ir::parse::module(
            "record r0 (long, str<16>) -> f0\nfunction f0 c user none (v0, s0) {\n  strings 16\nb0:\n  return\n}\n",
        )
        .expect("a module")
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0, 0, 1, 0, 7, 0, 0, 0];
        bytes.extend_from_slice(&(-5i64).to_le_bytes());
        bytes.extend_from_slice(&[2, 0, 0, 0, 8, 0, 0, 0]);
        bytes.extend_from_slice(b"ab\0\0\0\0\0\0");
        bytes
    }

    #[test]
    fn values_arrive_as_sent() {
        let values = vec![Value::Long(-5), Value::Str(b"ab".to_vec())];
        assert_eq!(decode(&module(), &bytes()), Some(Record::Values { record: 0, site: 7, values }));
    }

    #[test]
    fn short_and_lying_records_are_refused() {
        let module = module();
        for end in 0..bytes().len() {
            assert_eq!(decode(&module, &bytes()[..end]), None, "cut at {end}");
        }
        let mut lying = bytes();
        lying[16] = 9;
        assert_eq!(decode(&module, &lying), None, "longer than its slot");
        let mut unknown = bytes();
        unknown[0] = 3;
        assert_eq!(decode(&module, &unknown), None, "no such record");
    }
}
