//! The text form of a module, of a function and of an instruction (`docs/ir.md`).
//!
//! Invariants: the text is the same for equal modules; a module that passes `verify` reads back as itself; printing
//! what was read from a printed text gives that text again.
//! What equals its default is not printed: limits, array sizes, numbers of registers that the code shows anyway.

use super::parse::RESERVED;
use super::*;
use crate::format::{Conversion, Part, Size};
use crate::limits::Limits;
use crate::stat::{HistOp, StatFields};
use crate::text::{Name, Quoted};
use alloc::string::{String, ToString};
use core::fmt::{Display, Formatter, Result, Write};

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (name, value) in self.limits.all() {
            if Limits::STAP.get(name) != Some(value) {
                writeln!(f, "limit {name} {value}")?;
            }
        }
        for (n, place) in self.places.iter().enumerate() {
            let Place { file, start, end, text } = place;
            writeln!(f, "place @{n} {file}:{start}..{end} {}", Quoted(text.as_bytes()))?;
        }
        for (n, bytes) in self.strings.iter().enumerate() {
            writeln!(f, "string t{n} {}", Quoted(bytes))?;
        }
        for (n, format) in self.formats.iter().enumerate() {
            writeln!(f, "format p{n} {}", FormatText(format))?;
        }
        for (n, global) in self.globals.iter().enumerate() {
            writeln!(f, "global g{n} {}", GlobalText { global, limits: &self.limits })?;
        }
        for (n, record) in self.records.iter().enumerate() {
            writeln!(f, "record r{n} ({}) -> {}", List(&record.fields), record.continuation)?;
        }
        for handler in &self.handlers {
            write!(f, "handler ")?;
            match handler.when {
                When::Begin(order) => write!(f, "begin {order}")?,
                When::End(order) => write!(f, "end {order}")?,
                When::Error(order) => write!(f, "error {order}")?,
                When::Timer { period, randomize: 0 } => write!(f, "timer {period}")?,
                When::Timer { period, randomize } => write!(f, "timer {period} randomize {randomize}")?,
                When::Never => write!(f, "never")?,
            }
            writeln!(f, ", {}, site {}", handler.function, handler.site)?;
        }
        for n in 0..self.functions.len() {
            write!(f, "\n{}", self.function_text(FuncId(n as u32)))?;
        }
        Ok(())
    }
}

impl Module {
    /// The text of one function; its literals and formats are told in comments.
    pub fn function_text(&self, id: FuncId) -> impl Display {
        FunctionText { module: self, id }
    }
}

struct FunctionText<'m> {
    module: &'m Module,
    id: FuncId,
}

impl Display for FunctionText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Some(function) = self.module.functions.get(self.id.index()) else {
            return writeln!(f, "; no function {}", self.id);
        };
        let name = Name { name: &function.name, reserved: RESERVED };
        write!(f, "function {} {name} {} {}", self.id, function.domain, function.context)?;
        if !function.params.is_empty() {
            write!(f, " ({})", List(&function.params))?;
        }
        if let Some(ty) = function.result {
            write!(f, " -> {ty}")?;
        }
        writeln!(f, " {{")?;
        let seen = Registers::of(function);
        if function.longs != seen.longs {
            writeln!(f, "  longs {}", function.longs)?;
        }
        if !function.strings.is_empty() || seen.strings != 0 {
            writeln!(f, "  strings {}", List(&function.strings))?;
        }
        if function.iters != seen.iters {
            writeln!(f, "  iters {}", function.iters)?;
        }
        if !function.locks.is_empty() {
            writeln!(f, "  locks {}", List(&function.locks))?;
        }
        for (n, block) in function.blocks.iter().enumerate() {
            match block.catch {
                Some(catch) => writeln!(f, "b{n} catch {catch}:")?,
                None => writeln!(f, "b{n}:")?,
            }
            for (inst, place) in &block.insts {
                write!(f, "  {inst} {place}")?;
                let mut notes = Notes { module: self.module, text: String::new() };
                inst.visit(&mut notes);
                notes.format(inst);
                notes.write_to(f)?;
            }
            let (term, place) = &block.term;
            write!(f, "  {term} {place}")?;
            let mut notes = Notes { module: self.module, text: String::new() };
            term.visit(&mut notes);
            notes.write_to(f)?;
        }
        writeln!(f, "}}")
    }
}

/// The comment after an instruction: the literals that it names.
struct Notes<'m> {
    module: &'m Module,
    text: String,
}

impl Notes<'_> {
    fn add(&mut self, text: &str) {
        const MOST: usize = 60;
        if self.text.len() > MOST {
            return;
        }
        self.text.push(' ');
        match text.char_indices().nth(MOST) {
            Some((end, _)) => {
                self.text.push_str(&text[..end]);
                self.text.push_str("...");
            }
            None => self.text.push_str(text),
        }
    }

    fn format(&mut self, inst: &Inst) {
        if let Inst::Format { format, .. } | Inst::Print { format, .. } = inst
            && let Some(format) = self.module.formats.get(format.index())
        {
            self.add(&FormatText(format).to_string());
        }
    }

    fn write_to(&self, f: &mut Formatter<'_>) -> Result {
        if self.text.is_empty() { writeln!(f) } else { writeln!(f, " ;{}", self.text) }
    }
}

impl Visitor for Notes<'_> {
    fn read_str(&mut self, op: &StrOp) {
        if let StrOp::Lit(id) = op
            && let Some(bytes) = self.module.strings.get(id.index())
        {
            self.add(&Quoted(bytes).to_string());
        }
    }
}

impl Display for Inst {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Inst::Copy { dest, value } => write!(f, "{dest} = copy {value}"),
            Inst::Bin { op, dest, left, right } => write!(f, "{dest} = {op} {left}, {right}"),
            Inst::Cmp { op, dest, left, right } => write!(f, "{dest} = {op} {left}, {right}"),
            Inst::Extend { dest, value, width } => write!(f, "{dest} = extend {value}, {width}"),
            Inst::StrCopy { dest, value } => write!(f, "{dest} = copy {value}"),
            Inst::StrConcat { dest, left, right } => write!(f, "{dest} = concat {left}, {right}"),
            Inst::StrCmp { op, dest, left, right } => write!(f, "{dest} = {op} {left}, {right}"),
            Inst::Call { intrinsic, dest, args } => {
                write!(f, "{}call {}({})", Into(dest), intrinsic.name(), List(args))
            }
            Inst::CallFunction { function, dest, args } => {
                write!(f, "{}call {function}({})", Into(dest), List(args))
            }
            Inst::Context { dest, source: Source::Register(number), width } => {
                write!(f, "{dest} = register {number}, {width}")
            }
            Inst::Context { dest, source: Source::Argument(number), width } => {
                write!(f, "{dest} = argument {number}, {width}")
            }
            Inst::Context { dest, source: Source::Result, width } => {
                write!(f, "{dest} = result, {width}")
            }
            Inst::Load { dest, space, address, offset, width, on_fault } => {
                write!(f, "{dest} = load {space} {address}")?;
                match *offset {
                    0 => {}
                    offset if offset > 0 => write!(f, " + {offset}")?,
                    offset => write!(f, " - {}", offset.unsigned_abs())?,
                }
                write!(f, ", {width}")?;
                match on_fault {
                    OnFault::Raise => Ok(()),
                    OnFault::Flag(flag) => write!(f, ", fault {flag}"),
                    OnFault::Zero => f.write_str(", or zero"),
                }
            }
            Inst::Site { dest } => write!(f, "{dest} = site"),
            Inst::SiteText { dest, fact } => write!(f, "{dest} = site {fact}"),
            Inst::VarsText { dest, list, values } => {
                write!(f, "{dest} = vars {list}")?;
                for (value, flag) in values {
                    write!(f, ", {value}:{flag}")?;
                }
                Ok(())
            }
            Inst::Get { dest, element } => write!(f, "{dest} = get {element}"),
            Inst::Set { element, value } => write!(f, "set {element}, {value}"),
            Inst::Update { op, element, value, old, new } => {
                write!(f, "update {op} {element}, {value}")?;
                if let Some(old) = old {
                    write!(f, ", old {old}")?;
                }
                if let Some(new) = new {
                    write!(f, ", new {new}")?;
                }
                Ok(())
            }
            Inst::Contains { dest, global, keys } => write!(f, "{dest} = contains {global}{}", Keys(keys)),
            Inst::Delete { global, keys } => write!(f, "delete {global}{}", Keys(keys)),
            Inst::Clear { global } => write!(f, "clear {global}"),
            Inst::Aggregate { element, value } => write!(f, "aggregate {element}, {value}"),
            Inst::Stat { dest, op, global, keys } => write!(f, "{dest} = stat {op} {global}{}", Keys(keys)),
            Inst::Bucket { dest, hist, element, index } => {
                write!(f, "{dest} = bucket {hist} {element}, {index}")
            }
            Inst::PrintHist { hist, element } => write!(f, "print_hist {hist} {element}"),
            Inst::HistText { dest, hist, element } => write!(f, "{dest} = hist_text {hist} {element}"),
            Inst::Format { dest, format, args } => write!(f, "{dest} = format {format}{}", More(args)),
            Inst::Print { format, args } => write!(f, "print {format}{}", More(args)),
            Inst::Emit { record, values } => write!(f, "emit {record}{}", More(values)),
            Inst::Iterate { iter, global, keys, sort, limit } => {
                write!(f, "iterate {iter}, {global}{}{}", Keys(keys), Order { sort, limit })
            }
            Inst::IterateHist { iter, hist, element, sort, limit } => {
                write!(f, "iterate {iter}, {hist} {element}{}", Order { sort, limit })
            }
            Inst::Caught { dest } => write!(f, "{dest} = caught"),
            Inst::Enter => f.write_str("enter"),
            Inst::Tick { count } => write!(f, "tick {count}"),
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Term::Jump(to) => write!(f, "jump {to}"),
            Term::Branch { condition, then, otherwise } => {
                write!(f, "branch {condition}, {then}, {otherwise}")
            }
            Term::Return(None) => write!(f, "return"),
            Term::Return(Some(value)) => write!(f, "return {value}"),
            Term::Raise(message) => write!(f, "raise {message}"),
            Term::Next => write!(f, "next"),
            Term::IterNext { iter, keys, value, body, done } => {
                write!(f, "iter_next {iter}[{}]", List(keys))?;
                if let Some(value) = value {
                    write!(f, ", value {value}")?;
                }
                write!(f, ", {body}, {done}")
            }
        }
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.global)?;
        if self.keys.is_empty() { Ok(()) } else { write!(f, "[{}]", List(&self.keys)) }
    }
}

impl Display for HistOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            HistOp::Log => f.write_str("hist_log"),
            HistOp::Linear { low, high, width } => write!(f, "hist_linear({low}, {high}, {width})"),
        }
    }
}

impl Display for StatFields {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let StatFields { count, sum, min, max, variance, hist } = self;
        let mut first = true;
        let mut item = |f: &mut Formatter<'_>, text: &dyn Display| {
            let comma = if core::mem::take(&mut first) { "" } else { ", " };
            write!(f, "{comma}{text}")
        };
        for (wanted, name) in [(count, "count"), (sum, "sum"), (min, "min"), (max, "max")] {
            if *wanted {
                item(f, &name)?;
            }
        }
        if let Some(shift) = variance {
            item(f, &format_args!("variance {shift}"))?;
        }
        if let Some(hist) = hist {
            item(f, hist)?;
        }
        Ok(())
    }
}

struct GlobalText<'m> {
    global: &'m Global,
    limits: &'m Limits,
}

impl Display for GlobalText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Global { name, keys, ty, init, max_entries, wrap, forgets, ordered, shared, print_at_end } =
            self.global;
        write!(f, "{}", Name { name, reserved: &[] })?;
        if !keys.is_empty() {
            write!(f, "[{}]", List(keys))?;
        }
        match ty {
            GlobalTy::Value(ty) => write!(f, ": {ty}")?,
            GlobalTy::Stats(fields) => write!(f, ": stats({fields})")?,
        }
        match init {
            None => {}
            Some(Init::Long(value)) => write!(f, ", init {value}")?,
            Some(Init::Str(bytes)) => write!(f, ", init {}", Quoted(bytes))?,
        }
        if *max_entries != self.limits.map_entries {
            write!(f, ", max {max_entries}")?;
        }
        for (set, word) in [(wrap, "wrap"), (forgets, "forgets"), (ordered, "ordered"), (shared, "shared")] {
            if *set {
                write!(f, ", {word}")?;
            }
        }
        if let Some(place) = print_at_end {
            write!(f, ", print_at_end {place}")?;
        }
        Ok(())
    }
}

/// A format as quoted pieces; more than one where joining them would lose the border between two texts.
struct FormatText<'m>(&'m [Part]);

impl Display for FormatText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut piece: Option<String> = None;
        let mut after_text = false;
        for (n, part) in self.0.iter().enumerate() {
            match part {
                Part::Text(bytes) => {
                    if (after_text || bytes.is_empty())
                        && let Some(piece) = piece.replace(String::new())
                    {
                        write!(f, "\"{piece}\", ")?;
                    }
                    let quoted = Quoted(bytes).to_string().replace('%', "%%");
                    piece.get_or_insert_default().push_str(&quoted[1..quoted.len() - 1]);
                    after_text = true;
                    // An empty text is a piece of its own.
                    if bytes.is_empty() && n + 1 < self.0.len() {
                        write!(f, "\"\", ")?;
                        piece = None;
                        after_text = false;
                    }
                }
                Part::Conversion(conversion) => {
                    write!(piece.get_or_insert_default(), "{conversion}")?;
                    after_text = false;
                }
            }
        }
        match piece {
            Some(piece) => write!(f, "\"{piece}\""),
            None => Ok(()),
        }
    }
}

impl Display for Conversion {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Conversion { kind, left, zero, plus, space, alternate, width, precision } = self;
        f.write_str("%")?;
        for (set, flag) in [(left, '-'), (zero, '0'), (plus, '+'), (space, ' '), (alternate, '#')] {
            if *set {
                f.write_char(flag)?;
            }
        }
        if let Some(width) = width {
            write!(f, "{width}")?;
        }
        if let Some(precision) = precision {
            write!(f, ".{precision}")?;
        }
        f.write_char(kind.letter())
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Size::Fixed(size) => write!(f, "{size}"),
            Size::Argument => f.write_str("*"),
        }
    }
}

/// `v3 = `, or nothing.
struct Into<'m>(&'m Option<Dest>);

impl Display for Into<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.0 {
            Some(dest) => write!(f, "{dest} = "),
            None => Ok(()),
        }
    }
}

/// `a, b`
struct List<'m, T>(&'m [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (n, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if n > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// `, a, b`
struct More<'m, T>(&'m [T]);

impl<T: Display> Display for More<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.0.iter().try_for_each(|item| write!(f, ", {item}"))
    }
}

/// `[a, *]`
struct Keys<'m>(&'m [Key]);

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (n, key) in self.0.iter().enumerate() {
            f.write_str(if n > 0 { ", " } else { "[" })?;
            match key {
                Some(arg) => write!(f, "{arg}")?,
                None => f.write_str("*")?,
            }
        }
        if self.0.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

/// `, sort value up, limit 10`
struct Order<'m> {
    sort: &'m Option<(SortBy, bool)>,
    limit: &'m Option<LongOp>,
}

impl Display for Order<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some((by, ascending)) = self.sort {
            f.write_str(", sort ")?;
            match by {
                SortBy::Key(number) => write!(f, "key {number}")?,
                SortBy::Value => f.write_str("value")?,
                SortBy::Stat(op) => write!(f, "{op}")?,
            }
            f.write_str(if *ascending { " up" } else { " down" })?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit {limit}")?;
        }
        Ok(())
    }
}
