//! Intrinsics: what no script can express.

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{PlaceId, Space};
use tracer_common::packed;
use tracer_common::record::{ErrorKind, NO_REGISTERS, NUMBERS, error_text};

use super::{Evaluator, RuntimeError, float, quote, string, wide};
use crate::run::value::Value;

/// Bytes of a page.
const PAGE: usize = 4096;

impl Evaluator<'_> {
    /// Calls an intrinsic. `capacity` is that of a string result, its NUL included.
    pub(super) fn intrinsic(
        &mut self,
        intrinsic: Intrinsic,
        args: &[Value],
        capacity: usize,
        place: PlaceId,
    ) -> Result<Option<Value>, RuntimeError> {
        let long = |n: usize| args.get(n).map_or(0, Value::long);
        let text = |n: usize| args.get(n).map_or(&b""[..], Value::bytes);
        let space = |n: usize| if long(n) == 0 { Space::User } else { Space::Kernel };
        let room = capacity.saturating_sub(1);
        let at_most = |n: usize| usize::try_from(long(n)).unwrap_or(0).min(room);
        Ok(Some(match intrinsic {
            Intrinsic::Pid => Value::Long(self.host.pid()),
            Intrinsic::Tid => Value::Long(self.host.tid()),
            Intrinsic::Uid => Value::Long(self.host.uid()),
            Intrinsic::Gid => Value::Long(self.host.gid()),
            Intrinsic::Execname => Value::Str(self.host.execname()),
            Intrinsic::UserStack => Value::Str(self.stack_text(Space::User)),
            Intrinsic::KernelStack => Value::Str(self.stack_text(Space::Kernel)),
            Intrinsic::UserFrame => Value::Long(self.stack_frame(Space::User, long(0))),
            Intrinsic::KernelFrame => Value::Long(self.stack_frame(Space::Kernel, long(0))),
            Intrinsic::Cpu => Value::Long(self.host.cpu()),
            Intrinsic::MonotonicNs => Value::Long(self.host.monotonic_ns()),
            Intrinsic::RealtimeNs => Value::Long(self.host.realtime_ns()),
            Intrinsic::Target => Value::Long(self.host.target()),
            Intrinsic::TaskCurrent => Value::Long(self.host.task()),
            Intrinsic::Register => return Err(RuntimeError::new(NO_REGISTERS, place)),
            Intrinsic::SendSignal | Intrinsic::Unseen | Intrinsic::ModuleBase | Intrinsic::ModuleNeeded => {
                panic!("this is a bug: {intrinsic:?} in the user domain (ir::verify)")
            }
            Intrinsic::Hz => Value::Long(1_000_000_000 / self.host.tick_ns()),
            Intrinsic::Jiffies => Value::Long(self.host.jiffies()),
            Intrinsic::KernelNumber => self.number_at(long(0), long(1), place)?,
            Intrinsic::UserMode | Intrinsic::IsReturn => Value::Long(0),
            Intrinsic::UserString => self.text_at(Space::User, long(0), room, place)?,
            Intrinsic::UserStringN => self.text_at(Space::User, long(0), at_most(1), place)?,
            Intrinsic::KernelString => self.text_at(Space::Kernel, long(0), room, place)?,
            Intrinsic::KernelStringN => self.text_at(Space::Kernel, long(0), at_most(1), place)?,
            Intrinsic::UserBytes => {
                self.bytes_at(Space::User, [long(0), long(1), long(2)], capacity, place)?
            }
            Intrinsic::KernelBytes => {
                self.bytes_at(Space::Kernel, [long(0), long(1), long(2)], capacity, place)?
            }
            Intrinsic::Strlen => Value::Long(text(0).len() as i64),
            Intrinsic::Substr => Value::Str(string::substr(text(0), long(1), long(2))),
            Intrinsic::Isinstr => Value::Long(i64::from(string::contains(text(0), text(1)))),
            Intrinsic::Search => Value::Long(i64::from(self.host.kept().finds(text(1), text(0)))),
            Intrinsic::KeepSearch => {
                self.host.kept().search = (text(0).to_vec(), long(1));
                return Ok(None);
            }
            Intrinsic::SearchText => Value::Str(self.host.kept().search.0.clone()),
            Intrinsic::SearchNumber => Value::Long(self.host.kept().search.1),
            Intrinsic::Matched | Intrinsic::Ngroups => {
                let value = match intrinsic {
                    Intrinsic::Matched => {
                        string::group(text(0), string::pattern(text(2), long(1)), long(3)).map(Value::Str)
                    }
                    _ => string::groups(string::pattern(text(1), long(0))).map(Value::Long),
                };
                value.map_err(|(kind, number)| {
                    RuntimeError::new(error_text(self.module, kind, number as u64), place)
                })?
            }
            Intrinsic::Stringat => {
                let byte = usize::try_from(long(1)).ok().and_then(|at| text(0).get(at).copied());
                Value::Long(i64::from(byte.unwrap_or(0)))
            }
            Intrinsic::Strtol => Value::Long(string::strtol(text(0), long(1))),
            Intrinsic::Strpos => Value::Long(string::position(text(0), text(1))),
            Intrinsic::StrReplace => Value::Str(string::replace(text(0), text(1), text(2))),
            Intrinsic::Quote => {
                let most = usize::try_from(long(1)).ok().filter(|most| (1..=room).contains(most));
                Value::Str(quote::text(text(0), most.unwrap_or(room), long(2) != 0))
            }
            Intrinsic::QuoteBytes => {
                let most = usize::try_from(long(1)).unwrap_or(0).min(room);
                Value::Str(quote::bytes(&packed::unpack(text(0)), most))
            }
            Intrinsic::Wide => {
                let bytes = packed::unpack(text(0));
                let longest = usize::from(self.module.limits.string_len) - 1;
                match wide::text(&bytes, long(1) as usize, long(2) as u64, space(3), longest) {
                    Ok(text) => Value::Str(text),
                    Err(message) => return Err(RuntimeError::new(message, place)),
                }
            }
            Intrinsic::Word => {
                let n = usize::try_from(long(1)).ok().and_then(|n| n.checked_sub(1));
                let word = n.and_then(|n| text(0).split(|byte| *byte == b' ').nth(n));
                Value::Str(word.unwrap_or_default().to_vec())
            }
            Intrinsic::WordNumber => {
                let mut words = text(0).split(|byte| *byte == b' ');
                Value::Long(words.position(|word| word == text(1)).map_or(0, |n| n as i64 + 1))
            }
            Intrinsic::Hit => {
                self.host.hit(long(0));
                return Ok(None);
            }
            Intrinsic::Symbol => Value::Str(self.symbol(space(2), long(0) as u64, long(1)).into()),
            Intrinsic::ModuleOf => match self.host.module_of(space(1), long(0) as u64) {
                Some(path) => Value::Str(path.into()),
                None if space(1) == Space::User => {
                    return Err(RuntimeError::new("module cannot be found", place));
                }
                None => return Err(RuntimeError::new("Cannot determine kernel module name", place)),
            },
            Intrinsic::SymbolLines => Value::Str(self.symbol_lines(space(2), text(0), long(1)).into()),
            Intrinsic::PrintSymbols => {
                let lines = self.symbol_lines(space(2), text(0), long(1));
                self.host.sink().print(lines.as_bytes());
                return Ok(None);
            }
            Intrinsic::FirstWords => {
                let most = usize::try_from(long(1)).ok().filter(|most| *most != 0).unwrap_or(usize::MAX);
                let words = text(0).split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                Value::Str(words.take(most).collect::<Vec<_>>().join(&b' '))
            }
            Intrinsic::Ctime => match string::ctime(long(0)) {
                Ok(text) => Value::Str(text.into()),
                Err(kind) => return Err(RuntimeError::new(error_text(self.module, kind, 0), place)),
            },
            Intrinsic::TzOffset => Value::Long(self.host.time_zone().0),
            Intrinsic::TzName => Value::Str(self.host.time_zone().1),
            Intrinsic::Tokenize => {
                self.host.kept().pieces = text(0).to_vec();
                self.next_piece(text(1))
            }
            Intrinsic::TokenizeNext => self.next_piece(text(0)),
            Intrinsic::ProcessName => Value::Str(self.host.process_name(long(0))),
            Intrinsic::Float => Value::Long(float::compute(long(0), long(1), long(2))),
            Intrinsic::FloatText => Value::Str(float::text(long(0), long(1)).into()),
            Intrinsic::FloatOf => {
                let value = float::parse(text(0));
                Value::Long(value.map_err(|message| RuntimeError::new(message, place))?)
            }
            Intrinsic::Random => Value::Long(self.host.random()),
            Intrinsic::Cycles => Value::Long(self.host.cycles()),
            Intrinsic::Speculate => {
                self.host.kept().speculate(long(0), text(1));
                return Ok(None);
            }
            Intrinsic::Commit => {
                let text = self.host.kept().take(long(0));
                self.host.sink().print(&text);
                return Ok(None);
            }
            Intrinsic::Discard => {
                self.host.kept().take(long(0));
                return Ok(None);
            }
            Intrinsic::System => {
                self.host.system(text(0));
                return Ok(None);
            }
            Intrinsic::SwitchFile => {
                self.host.sink().switch();
                return Ok(None);
            }
            Intrinsic::KernelLog => {
                self.host.kernel_log(long(0), text(1));
                return Ok(None);
            }
            Intrinsic::Log => {
                self.host.sink().print(&[text(0), b"\n"].concat());
                return Ok(None);
            }
            Intrinsic::Warn => {
                self.host.warn(text(0));
                return Ok(None);
            }
            Intrinsic::UserWrite => {
                let (address, bytes) = (long(0) as u64, long(1).to_le_bytes());
                let bytes = usize::try_from(long(2)).ok().and_then(|count| bytes.get(..count));
                let Some(bytes) = bytes else {
                    panic!("this is a bug: a write of {} bytes (ir::verify)", long(2))
                };
                if !self.host.write(address, bytes) {
                    let text = error_text(self.module, ErrorKind::UserWriteFault, address);
                    return Err(RuntimeError::new(text, place));
                }
                return Ok(None);
            }
            Intrinsic::Leave => panic!("this is a bug: leave is the end of a block (lower)"),
            Intrinsic::Exit => {
                self.host.exit();
                return Ok(None);
            }
        }))
    }

    /// Takes the next piece from the text of `tokenize`.
    fn next_piece(&mut self, separators: &[u8]) -> Value {
        let kept = self.host.kept();
        let (piece, rest) = string::token(&kept.pieces, separators);
        let (piece, rest) = (piece.to_vec(), rest.to_vec());
        kept.pieces = rest;
        Value::Str(piece)
    }

    /// So many bytes at an address, packed; where `wide` is not 0, without what is missing behind the first page.
    fn bytes_at(
        &mut self,
        space: Space,
        [address, count, wide]: [i64; 3],
        capacity: usize,
        place: PlaceId,
    ) -> Result<Value, RuntimeError> {
        let most = packed::most(capacity as u32) as usize;
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(most).min(most)];
        let address = address as u64;
        if !self.host.read(space, address, &mut bytes) {
            let rest = PAGE - (address % PAGE as u64) as usize;
            bytes = vec![0; rest.min(bytes.len())];
            if wide == 0 || !self.host.read(space, address, &mut bytes) {
                return Err(self.fault(ErrorKind::bytes_fault(space, wide != 0), address, place));
            }
        }
        Ok(Value::Str(packed::pack(&bytes)))
    }

    /// At most `most` bytes of the text at an address, up to its NUL.
    fn number_at(&mut self, address: i64, which: i64, place: PlaceId) -> Result<Value, RuntimeError> {
        let Some((kind, width)) = NUMBERS.get(which as usize) else {
            panic!("this is a bug: a kernel number of no kind (ir::verify)")
        };
        let mut bytes = [0; 8];
        if !self.host.read(Space::Kernel, address as u64, &mut bytes[..usize::from(width.bytes)]) {
            return Err(self.fault(*kind, address as u64, place));
        }
        Ok(Value::Long(width.apply(i64::from_le_bytes(bytes))))
    }

    fn text_at(
        &mut self,
        space: Space,
        address: i64,
        most: usize,
        place: PlaceId,
    ) -> Result<Value, RuntimeError> {
        let mut text = Vec::new();
        while text.len() < most {
            let mut byte = [0];
            let at = (address as u64).wrapping_add(text.len() as u64);
            if !self.host.read(space, at, &mut byte) {
                return Err(self.fault(ErrorKind::string_fault(space), address as u64, place));
            }
            if byte == [0] {
                break;
            }
            text.push(byte[0]);
        }
        Ok(Value::Str(text))
    }
}
