//! Instructions and ends of blocks.

use super::Parser;
use crate::intrinsic::Intrinsic;
use crate::ir::*;
use crate::stat::StatOp;
use crate::text::{Kind, Result};
use alloc::format;
use alloc::vec::Vec;

type Sort = Option<(SortBy, bool)>;

impl Parser<'_> {
    /// The end of a block, if that is what comes next.
    pub(super) fn term(&mut self) -> Result<Option<Term>> {
        let r = &mut self.reader;
        if r.peek().kind != Kind::Word {
            return Ok(None);
        }
        let word = r.peek().text;
        if !matches!(word, "jump" | "branch" | "return" | "raise" | "next" | "iter_next") {
            return Ok(None);
        }
        r.next()?;
        Ok(Some(match word {
            "jump" => Term::Jump(Block(r.entity('b')?)),
            "branch" => {
                let condition = self.long_op()?;
                self.reader.expect(",")?;
                let (then, otherwise) = self.two_blocks()?;
                Term::Branch { condition, then, otherwise }
            }
            "return" => {
                let bare = r.at_line_end() || r.peek().kind == Kind::Place;
                Term::Return(if bare { None } else { Some(self.arg()?) })
            }
            "raise" => Term::Raise(self.str_op()?),
            "next" => Term::Next,
            _ => {
                let iter = Iter(r.entity('i')?);
                r.expect("[")?;
                let keys = self.dests("]")?;
                self.reader.expect(",")?;
                let mut value = None;
                if self.reader.eat("value")? {
                    value = Some(self.dest()?);
                    self.reader.expect(",")?;
                }
                let (body, done) = self.two_blocks()?;
                Term::IterNext { iter, keys, value, body, done }
            }
        }))
    }

    fn two_blocks(&mut self) -> Result<(Block, Block)> {
        let first = Block(self.reader.entity('b')?);
        self.reader.expect(",")?;
        Ok((first, Block(self.reader.entity('b')?)))
    }

    pub(super) fn inst(&mut self) -> Result<Inst> {
        if self.reader.entity_ahead('v').is_none() && self.reader.entity_ahead('s').is_none() {
            return self.effect();
        }
        let dest = self.dest()?;
        self.reader.expect("=")?;
        match dest {
            Dest::Long(var) => self.long_result(var),
            Dest::Str(var) => self.str_result(var),
        }
    }

    /// An instruction without a result.
    fn effect(&mut self) -> Result<Inst> {
        let token = self.reader.peek();
        Ok(match self.reader.word("an instruction")? {
            "call" => self.call(None)?,
            "set" => {
                let element = self.element()?;
                self.reader.expect(",")?;
                Inst::Set { element, value: self.arg()? }
            }
            "update" => {
                let op = self.reader.one_of("add, and, or or xor", UpdateOp::by_word)?;
                let element = self.element()?;
                self.reader.expect(",")?;
                let value = self.long_op()?;
                let (mut old, mut new) = (None, None);
                while self.reader.eat(",")? {
                    let which = if self.reader.eat("old")? {
                        &mut old
                    } else {
                        self.reader.expect("new")?;
                        &mut new
                    };
                    *which = Some(Var(self.reader.entity('v')?));
                }
                Inst::Update { op, element, value, old, new }
            }
            "delete" => {
                let (global, keys) = self.slice()?;
                Inst::Delete { global, keys }
            }
            "clear" => Inst::Clear { global: GlobalId(self.reader.entity('g')?) },
            "aggregate" => {
                let element = self.element()?;
                self.reader.expect(",")?;
                Inst::Aggregate { element, value: self.long_op()? }
            }
            "print_hist" => Inst::PrintHist { hist: self.hist()?, element: self.element()? },
            "print" => Inst::Print { format: self.format_id()?, args: self.more()? },
            "emit" => {
                let record = RecordId(self.reader.entity('r')?);
                if !self.ends() && !self.reader.at(",") {
                    // `emit r0 v1, v2`, as people write it.
                    let mut values = Vec::from([self.arg()?]);
                    values.append(&mut self.more()?);
                    return Ok(Inst::Emit { record, values });
                }
                Inst::Emit { record, values: self.more()? }
            }
            "iterate" => self.iterate()?,
            "enter" => Inst::Enter,
            "tick" => Inst::Tick { count: self.reader.number()? },
            _ => return Err(self.reader.error_at(token, "no such instruction")),
        })
    }

    fn long_result(&mut self, dest: Var) -> Result<Inst> {
        let token = self.reader.peek();
        let word = self.reader.word("an operation")?;
        Ok(match word {
            "copy" => Inst::Copy { dest, value: self.long_op()? },
            "extend" => {
                let value = self.long_op()?;
                Inst::Extend { dest, value, width: self.width()? }
            }
            "call" => self.call(Some(Dest::Long(dest)))?,
            "register" => {
                let source = Source::Register(self.reader.number()?);
                Inst::Context { dest, source, width: self.width()? }
            }
            "argument" => {
                let source = Source::Argument(self.reader.number()?);
                Inst::Context { dest, source, width: self.width()? }
            }
            "result" => Inst::Context { dest, source: Source::Result, width: self.width()? },
            "load" => self.load(dest)?,
            "site" => Inst::Site { dest },
            "get" => Inst::Get { dest: Dest::Long(dest), element: self.element()? },
            "contains" => {
                let (global, keys) = self.slice()?;
                Inst::Contains { dest, global, keys }
            }
            "stat" => {
                let op = self.reader.one_of("count, sum, min, max, avg or variance", StatOp::by_word)?;
                let (global, keys) = self.slice()?;
                Inst::Stat { dest, op, global, keys }
            }
            "bucket" => {
                let hist = self.hist()?;
                let element = self.element()?;
                self.reader.expect(",")?;
                Inst::Bucket { dest, hist, element, index: self.long_op()? }
            }
            _ => {
                if let Some(op) = BinOp::by_word(word) {
                    let left = self.long_op()?;
                    self.reader.expect(",")?;
                    return Ok(Inst::Bin { op, dest, left, right: self.long_op()? });
                }
                let Some(op) = CmpOp::by_word(word) else {
                    return Err(self.reader.error_at(token, "no such operation with a long result"));
                };
                let left = self.arg()?;
                self.reader.expect(",")?;
                match left {
                    Arg::Long(left) => Inst::Cmp { op, dest, left, right: self.long_op()? },
                    Arg::Str(left) => Inst::StrCmp { op, dest, left, right: self.str_op()? },
                }
            }
        })
    }

    fn str_result(&mut self, dest: StrVar) -> Result<Inst> {
        let token = self.reader.peek();
        Ok(match self.reader.word("an operation")? {
            "copy" => Inst::StrCopy { dest, value: self.str_op()? },
            "concat" => {
                let left = self.str_op()?;
                self.reader.expect(",")?;
                Inst::StrConcat { dest, left, right: self.str_op()? }
            }
            "call" => self.call(Some(Dest::Str(dest)))?,
            "site" => {
                let what = "probe_point, function, name, provider or alias";
                Inst::SiteText { dest, fact: self.reader.one_of(what, SiteFact::by_word)? }
            }
            "vars" => {
                let list = self.reader.number()?;
                let mut values = Vec::new();
                while self.reader.eat(",")? {
                    let value = self.long_op()?;
                    let flag = if self.reader.eat(":")? { self.long_op()? } else { LongOp::Imm(0) };
                    values.push((value, flag));
                }
                Inst::VarsText { dest, list, values }
            }
            "get" => Inst::Get { dest: Dest::Str(dest), element: self.element()? },
            "hist_text" => Inst::HistText { dest, hist: self.hist()?, element: self.element()? },
            "format" => Inst::Format { dest, format: self.format_id()?, args: self.more()? },
            "caught" => Inst::Caught { dest },
            _ => return Err(self.reader.error_at(token, "no such operation with a string result")),
        })
    }

    /// An intrinsic or a function, and its arguments.
    fn call(&mut self, dest: Option<Dest>) -> Result<Inst> {
        if let Some(number) = self.reader.entity_ahead('f') {
            self.reader.next()?;
            return Ok(Inst::CallFunction { function: FuncId(number), dest, args: self.call_args()? });
        }
        let intrinsic = self.reader.one_of("a function or an intrinsic", Intrinsic::by_name)?;
        Ok(Inst::Call { intrinsic, dest, args: self.call_args()? })
    }

    fn call_args(&mut self) -> Result<Vec<Arg>> {
        let mut args = Vec::new();
        if self.reader.eat("(")? {
            while !self.reader.eat(")")? {
                args.push(self.arg()?);
                if !self.reader.at(")") {
                    self.reader.expect(",")?;
                }
            }
        }
        Ok(args)
    }

    fn load(&mut self, dest: Var) -> Result<Inst> {
        let space = self.reader.one_of("kernel or user", Space::by_word)?;
        let address = self.long_op()?;
        let token = self.reader.peek();
        let offset: i64 = if self.reader.eat("+")? {
            self.reader.long()?
        } else if self.reader.eat("-")? {
            self.reader.long()?.wrapping_neg()
        } else if token.kind == Kind::Number {
            // `v1 -8`
            self.reader.long()?
        } else {
            0
        };
        let offset = i32::try_from(offset)
            .map_err(|_| self.reader.error_at(token, format!("offset {offset} does not fit 32 bits")))?;
        let width = self.width()?;
        let on_fault = if !self.reader.eat(",")? {
            OnFault::Raise
        } else if self.reader.eat("or")? {
            self.reader.expect("zero")?;
            OnFault::Zero
        } else {
            self.reader.expect("fault")?;
            OnFault::Flag(Var(self.reader.entity('v')?))
        };
        Ok(Inst::Load { dest, space, address, offset, width, on_fault })
    }

    fn iterate(&mut self) -> Result<Inst> {
        let iter = Iter(self.reader.entity('i')?);
        self.reader.expect(",")?;
        if self.reader.entity_ahead('g').is_some() {
            let (global, keys) = self.slice()?;
            let (sort, limit) = self.order_and_limit()?;
            return Ok(Inst::Iterate { iter, global, keys, sort, limit });
        }
        let hist = self.hist()?;
        let element = self.element()?;
        let (sort, limit) = self.order_and_limit()?;
        Ok(Inst::IterateHist { iter, hist, element, sort, limit })
    }

    fn order_and_limit(&mut self) -> Result<(Sort, Option<LongOp>)> {
        let (mut sort, mut limit) = (None, None);
        let mut comma = self.reader.eat(",")?;
        if comma && self.reader.eat("sort")? {
            let by = if self.reader.eat("key")? {
                SortBy::Key(self.reader.number()?)
            } else if self.reader.eat("value")? {
                SortBy::Value
            } else {
                SortBy::Stat(self.reader.one_of("key, value or a statistic", StatOp::by_word)?)
            };
            let ascending = self.reader.eat("up")?;
            if !ascending {
                self.reader.expect("down")?;
            }
            sort = Some((by, ascending));
            comma = self.reader.eat(",")?;
        }
        if comma {
            self.reader.expect("limit")?;
            limit = Some(self.long_op()?);
        }
        Ok((sort, limit))
    }

    fn width(&mut self) -> Result<Width> {
        self.reader.expect(",")?;
        self.reader.one_of("a width, i8 to u64", Width::by_word)
    }

    fn element(&mut self) -> Result<Element> {
        let global = GlobalId(self.reader.entity('g')?);
        let mut keys = Vec::new();
        if self.reader.eat("[")? {
            while !self.reader.eat("]")? {
                keys.push(self.arg()?);
                if !self.reader.at("]") {
                    self.reader.expect(",")?;
                }
            }
        }
        Ok(Element { global, keys })
    }

    fn slice(&mut self) -> Result<(GlobalId, Vec<Key>)> {
        let global = GlobalId(self.reader.entity('g')?);
        let mut keys = Vec::new();
        if self.reader.eat("[")? {
            while !self.reader.eat("]")? {
                keys.push(if self.reader.eat("*")? { None } else { Some(self.arg()?) });
                if !self.reader.at("]") {
                    self.reader.expect(",")?;
                }
            }
        }
        Ok((global, keys))
    }

    /// `, a, b` up to the end of the instruction.
    fn more(&mut self) -> Result<Vec<Arg>> {
        let mut args = Vec::new();
        while self.reader.eat(",")? {
            args.push(self.arg()?);
        }
        Ok(args)
    }

    fn ends(&self) -> bool {
        self.reader.at_line_end() || self.reader.peek().kind == Kind::Place
    }

    pub(super) fn dest(&mut self) -> Result<Dest> {
        if self.reader.entity_ahead('s').is_some() {
            return self.reader.entity('s').map(|n| Dest::Str(StrVar(n)));
        }
        if self.reader.entity_ahead('v').is_some() {
            return self.reader.entity('v').map(|n| Dest::Long(Var(n)));
        }
        Err(self.reader.expected("a register"))
    }

    fn arg(&mut self) -> Result<Arg> {
        if self.reader.peek().kind == Kind::Number || self.reader.entity_ahead('v').is_some() {
            return self.long_op().map(Arg::Long);
        }
        let string = self.reader.peek().kind == Kind::Str
            || self.reader.entity_ahead('s').is_some()
            || self.reader.entity_ahead('t').is_some();
        if string {
            self.str_op().map(Arg::Str)
        } else {
            Err(self.reader.expected("a register, a number or a string"))
        }
    }

    fn long_op(&mut self) -> Result<LongOp> {
        if self.reader.peek().kind == Kind::Number {
            return self.reader.long().map(LongOp::Imm);
        }
        if self.reader.entity_ahead('v').is_none() {
            return Err(self.reader.expected("a long register or a number"));
        }
        self.reader.entity('v').map(|n| LongOp::Var(Var(n)))
    }

    fn str_op(&mut self) -> Result<StrOp> {
        if self.reader.peek().kind == Kind::Str {
            let bytes = self.reader.bytes()?;
            let next = StringId(self.module.strings.len() as u32);
            let id = *self.strings.entry(bytes.clone()).or_insert(next);
            if id == next {
                self.module.strings.push(bytes);
            }
            return Ok(StrOp::Lit(id));
        }
        if self.reader.entity_ahead('t').is_some() {
            return self.reader.entity('t').map(|n| StrOp::Lit(StringId(n)));
        }
        if self.reader.entity_ahead('s').is_none() {
            return Err(self.reader.expected("a string register or a string"));
        }
        self.reader.entity('s').map(|n| StrOp::Var(StrVar(n)))
    }
}
