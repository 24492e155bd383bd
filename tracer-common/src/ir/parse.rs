//! Reads the text form of a module (`docs/ir.md`).
//!
//! Invariants: any text gives a module or an error with its line and column, in linear time and memory; numbers of
//! entities come in order, so a text cannot ask for more than it holds. [`MAX_REGISTERS`] bounds the rest.
//! What the text leaves out gets a default: see the functions here, and `docs/ir.md`.
//! **Not here:** whether the module makes sense: that is `verify`.

mod format;
mod inst;

use super::verify::Location;
use super::*;
use crate::limits::Limits;
use crate::stat::{HistOp, StatFields};
use crate::text::{Kind, ParseError, Reader, Result};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Most registers of one kind, and most iterators, of a function.
pub const MAX_REGISTERS: u32 = 1 << 16;

/// Words that end a function's name where it is written without quotes.
pub(crate) const RESERVED: &[&str] = &["kernel", "user", "none", "registers", "words", "perf"];

/// Reads a module.
pub fn module(text: &str) -> core::result::Result<Module, ParseError> {
    module_with_lines(text).map(|(module, _)| module)
}

/// The line, from 1, on which each thing stands.
pub type Lines = BTreeMap<Location, u32>;

/// Reads a module and tells where its parts stand, so that a violation can be shown in the text.
pub fn module_with_lines(text: &str) -> core::result::Result<(Module, Lines), ParseError> {
    let mut parser = Parser {
        reader: Reader::new(text)?,
        module: Module {
            limits: Limits::STAP,
            globals: Vec::new(),
            strings: Vec::new(),
            formats: Vec::new(),
            records: Vec::new(),
            places: Vec::new(),
            functions: Vec::new(),
            handlers: Vec::new(),
        },
        strings: BTreeMap::new(),
        inline_formats: BTreeMap::new(),
        placeless: false,
        lines: Lines::new(),
    };
    parser.items()?;
    Ok((parser.module, parser.lines))
}

struct Parser<'t> {
    reader: Reader<'t>,
    module: Module,
    /// Literals that have an id.
    strings: BTreeMap<Vec<u8>, StringId>,
    /// Formats that were written where they are used.
    inline_formats: BTreeMap<crate::format::Format, FormatId>,
    /// Whether an instruction left out its place.
    placeless: bool,
    lines: Lines,
}

/// Numbers of registers that a function tells, instead of leaving them to its code.
#[derive(Default)]
struct Told {
    longs: Option<u32>,
    strings: Option<Vec<u16>>,
    iters: Option<u32>,
}

impl Parser<'_> {
    fn items(&mut self) -> Result<()> {
        loop {
            self.reader.skip_lines()?;
            if self.reader.peek().kind == Kind::End {
                break;
            }
            let token = self.reader.peek();
            let line = token.line;
            match self.reader.word("a header line or a function")? {
                "limit" => self.limit()?,
                "place" => self.place()?,
                "string" => {
                    self.next_id('t', self.module.strings.len())?;
                    let bytes = self.reader.bytes()?;
                    let id = StringId(self.module.strings.len() as u32);
                    self.strings.entry(bytes.clone()).or_insert(id);
                    self.module.strings.push(bytes);
                    self.lines.insert(Location::String(id), line);
                }
                "format" => {
                    self.next_id('p', self.module.formats.len())?;
                    let format = self.format_pieces()?;
                    self.lines.insert(Location::Format(FormatId(self.module.formats.len() as u32)), line);
                    self.module.formats.push(format);
                }
                "global" => {
                    self.next_id('g', self.module.globals.len())?;
                    let global = self.global()?;
                    self.lines.insert(Location::Global(GlobalId(self.module.globals.len() as u32)), line);
                    self.module.globals.push(global);
                }
                "record" => {
                    self.next_id('r', self.module.records.len())?;
                    let fields = self.types("(", ")")?;
                    self.reader.expect("->")?;
                    let continuation = FuncId(self.reader.entity('f')?);
                    self.lines.insert(Location::Record(RecordId(self.module.records.len() as u32)), line);
                    self.module.records.push(RecordDef { fields, continuation });
                }
                "handler" => {
                    let handler = self.handler()?;
                    self.lines.insert(Location::Handler(self.module.handlers.len() as u32), line);
                    self.module.handlers.push(handler);
                }
                "function" => {
                    let id = FuncId(self.module.functions.len() as u32);
                    self.next_id('f', id.index())?;
                    self.lines.insert(Location::Function(id), line);
                    let function = self.function(id)?;
                    self.module.functions.push(function);
                }
                _ => return Err(self.reader.error_at(token, "expected a header line or a function")),
            }
            self.reader.line_end()?;
        }
        if self.placeless && self.module.places.is_empty() {
            self.module.places.push(Place { file: 0, start: 0, end: 0, text: "?".into() });
        }
        Ok(())
    }

    /// The id of a new entry of a table: entries come in order.
    fn next_id(&mut self, letter: char, next: usize) -> Result<()> {
        if self.reader.entity_ahead(letter).map(|n| n as usize) != Some(next) {
            return Err(self.reader.expected(&format!("`{letter}{next}`")));
        }
        self.reader.next().map(drop)
    }

    fn limit(&mut self) -> Result<()> {
        let token = self.reader.peek();
        if !self.module.globals.is_empty() {
            return Err(self.reader.error("limits come before globals"));
        }
        let name = self.reader.word("the name of a limit")?;
        let value = self.reader.number()?;
        self.module.limits.set(name, value).map_err(|message| self.reader.error_at(token, message))
    }

    fn place(&mut self) -> Result<()> {
        self.next_id('@', self.module.places.len())?;
        let file = self.reader.number()?;
        self.reader.expect(":")?;
        let start = self.reader.number()?;
        self.reader.expect("..")?;
        let end = self.reader.number()?;
        let text = self.reader.string()?;
        self.module.places.push(Place { file, start, end, text });
        Ok(())
    }

    fn global(&mut self) -> Result<Global> {
        let name = self.reader.name()?;
        let keys = if self.reader.at("[") { self.types("[", "]")? } else { Vec::new() };
        self.reader.expect(":")?;
        let ty = if self.reader.eat("stats")? {
            GlobalTy::Stats(self.fields()?)
        } else {
            GlobalTy::Value(self.ty()?)
        };
        let mut global = Global {
            name,
            keys,
            ty,
            init: None,
            max_entries: self.module.limits.map_entries,
            wrap: false,
            forgets: false,
            ordered: false,
            shared: false,
            print_at_end: None,
        };
        while self.reader.eat(",")? {
            let token = self.reader.peek();
            match self.reader.word("a property of the global")? {
                "init" if self.reader.peek().kind == Kind::Str => {
                    global.init = Some(Init::Str(self.reader.bytes()?));
                }
                "init" => global.init = Some(Init::Long(self.reader.long()?)),
                "max" => global.max_entries = self.reader.number()?,
                "wrap" => global.wrap = true,
                "forgets" => global.forgets = true,
                "ordered" => global.ordered = true,
                "shared" => global.shared = true,
                "print_at_end" => global.print_at_end = Some(self.reader.number()?),
                _ => {
                    return Err(self.reader.error_at(
                        token,
                        "expected init, max, wrap, forgets, ordered, shared or print_at_end",
                    ));
                }
            }
        }
        Ok(global)
    }

    /// What a statistic keeps.
    fn fields(&mut self) -> Result<StatFields> {
        let mut fields = StatFields::default();
        self.reader.expect("(")?;
        while !self.reader.eat(")")? {
            let token = self.reader.peek();
            match token.text {
                "count" | "sum" | "min" | "max" | "variance" => {
                    self.reader.next()?;
                    match token.text {
                        "count" => fields.count = true,
                        "sum" => fields.sum = true,
                        "min" => fields.min = true,
                        "max" => fields.max = true,
                        _ => fields.variance = Some(self.reader.number()?),
                    }
                }
                _ => fields.hist = Some(self.hist()?),
            }
            if !self.reader.at(")") {
                self.reader.expect(",")?;
            }
        }
        Ok(fields)
    }

    fn hist(&mut self) -> Result<HistOp> {
        if self.reader.eat("hist_log")? {
            return Ok(HistOp::Log);
        }
        if !self.reader.eat("hist_linear")? {
            return Err(self.reader.expected("a histogram"));
        }
        self.reader.expect("(")?;
        let low = self.reader.long()?;
        self.reader.expect(",")?;
        let high = self.reader.long()?;
        self.reader.expect(",")?;
        let width = self.reader.long()?;
        self.reader.expect(")")?;
        Ok(HistOp::Linear { low, high, width })
    }

    fn handler(&mut self) -> Result<UserHandler> {
        let token = self.reader.peek();
        let when = match self.reader.word("begin, end, error, timer or never")? {
            "begin" => When::Begin(self.order()?),
            "end" => When::End(self.order()?),
            "error" => When::Error(self.order()?),
            "timer" => {
                let period = self.reader.number()?;
                let randomize = if self.reader.eat("randomize")? { self.reader.number()? } else { 0 };
                When::Timer { period, randomize }
            }
            "never" => When::Never,
            _ => return Err(self.reader.error_at(token, "expected begin, end, error, timer or never")),
        };
        self.reader.eat(",")?;
        let function = FuncId(self.reader.entity('f')?);
        let site = if self.reader.eat(",")? {
            self.reader.expect("site")?;
            self.reader.number()?
        } else {
            0
        };
        Ok(UserHandler { when, function, site })
    }

    fn order(&mut self) -> Result<i64> {
        if self.reader.peek().kind == Kind::Number { self.reader.long() } else { Ok(0) }
    }

    /// From after the function's id to its closing brace.
    fn function(&mut self, id: FuncId) -> Result<Function> {
        let named = self.reader.peek().kind == Kind::Str
            || self.reader.peek().kind == Kind::Word && !RESERVED.contains(&self.reader.peek().text);
        let name = if named { self.reader.name()? } else { format!("{id}") };
        let domain = if matches!(self.reader.peek().text, "kernel" | "user") {
            self.reader.one_of("a domain", Domain::by_word)?
        } else {
            Domain::User
        };
        let context = if self.reader.peek().kind == Kind::Word {
            self.reader.one_of("none, registers, words or perf", ContextKind::by_word)?
        } else {
            ContextKind::None
        };
        let params = if self.reader.eat("(")? { self.dests(")")? } else { Vec::new() };
        let result = if self.reader.eat("->")? { Some(self.ty()?) } else { None };
        self.reader.expect("{")?;
        self.reader.line_end()?;
        let blocks = Vec::new();
        let mut function = Function {
            name,
            domain,
            context,
            params,
            result,
            longs: 0,
            strings: vec![],
            iters: 0,
            locks: vec![],
            blocks,
        };
        let told = self.directives(&mut function)?;
        self.blocks(id, &mut function)?;
        let seen = Registers::of(&function);
        if seen.longs.max(seen.strings).max(seen.iters) > MAX_REGISTERS {
            return Err(self
                .reader
                .error(format!("a function has at most {MAX_REGISTERS} registers of a kind")));
        }
        function.longs = told.longs.unwrap_or(seen.longs);
        function.strings =
            told.strings.unwrap_or_else(|| vec![self.module.limits.string_len; seen.strings as usize]);
        function.iters = told.iters.unwrap_or(seen.iters);
        Ok(function)
    }

    /// The lines before the first block.
    fn directives(&mut self, function: &mut Function) -> Result<Told> {
        let mut told = Told::default();
        loop {
            self.reader.skip_lines()?;
            if self.reader.eat("longs")? {
                told.longs = Some(self.reader.number()?);
            } else if self.reader.eat("iters")? {
                told.iters = Some(self.reader.number()?);
            } else if self.reader.eat("strings")? {
                let mut capacities = Vec::new();
                while !self.reader.at_line_end() {
                    capacities.push(self.reader.number()?);
                    self.reader.eat(",")?;
                }
                told.strings = Some(capacities);
            } else if self.reader.eat("locks")? {
                while !self.reader.at_line_end() {
                    function.locks.push(GlobalId(self.reader.entity('g')?));
                    self.reader.eat(",")?;
                }
            } else {
                return Ok(told);
            }
            self.reader.line_end()?;
        }
    }

    fn blocks(&mut self, id: FuncId, function: &mut Function) -> Result<()> {
        loop {
            self.reader.skip_lines()?;
            if self.reader.eat("}")? {
                return Ok(());
            }
            let block = Block(function.blocks.len() as u32);
            self.lines.insert(Location::Block(id, block), self.reader.peek().line);
            self.next_id('b', block.index())?;
            let catch = if self.reader.eat("catch")? { Some(Block(self.reader.entity('b')?)) } else { None };
            self.reader.expect(":")?;
            self.reader.line_end()?;
            let mut insts = Vec::new();
            let term = loop {
                self.reader.skip_lines()?;
                if self.reader.at("}") || self.reader.entity_ahead('b').is_some() {
                    return Err(self.reader.error(format!(
                        "{block} has no end: jump, branch, return, raise, next or iter_next"
                    )));
                }
                let at = Location::Inst(id, block, insts.len() as u32);
                self.lines.insert(at, self.reader.peek().line);
                if let Some(term) = self.term()? {
                    break (term, self.place_of()?);
                }
                let inst = self.inst()?;
                insts.push((inst, self.place_of()?));
            };
            function.blocks.push(BlockData { catch, insts, term });
        }
    }

    /// The place at the end of an instruction's line.
    fn place_of(&mut self) -> Result<PlaceId> {
        let place = if self.reader.at_line_end() {
            self.placeless = true;
            PlaceId(0)
        } else {
            PlaceId(self.reader.entity('@')?)
        };
        self.reader.line_end()?;
        Ok(place)
    }

    fn ty(&mut self) -> Result<Ty> {
        if self.reader.eat("long")? {
            return Ok(Ty::Long);
        }
        if !self.reader.eat("str")? {
            return Err(self.reader.expected("long or str"));
        }
        self.reader.expect("<")?;
        let capacity = self.reader.number()?;
        self.reader.expect(">")?;
        Ok(Ty::Str(capacity))
    }

    fn types(&mut self, open: &str, close: &str) -> Result<Vec<Ty>> {
        let mut types = Vec::new();
        self.reader.expect(open)?;
        while !self.reader.eat(close)? {
            types.push(self.ty()?);
            if !self.reader.at(close) {
                self.reader.expect(",")?;
            }
        }
        Ok(types)
    }

    /// Registers up to the closing character.
    fn dests(&mut self, close: &str) -> Result<Vec<Dest>> {
        let mut dests = Vec::new();
        while !self.reader.eat(close)? {
            dests.push(self.dest()?);
            if !self.reader.at(close) {
                self.reader.expect(",")?;
            }
        }
        Ok(dests)
    }
}
