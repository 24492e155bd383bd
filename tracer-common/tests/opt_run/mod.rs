//! Random kernel functions, and a small interpreter of the instructions that they are made of.
//!
//! The interpreter is for comparing a function with itself: it keeps a trace of all that others can see.

use std::collections::BTreeMap;
use std::fmt::Write;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::*;

/// What others can see of a run: writes and raised errors, in order, each with its place.
pub(crate) type Trace = Vec<(String, PlaceId)>;

/// Runs `f0`; `input` is what intrinsics and memory give.
pub(crate) fn run(module: &Module, input: i64) -> Trace {
    let mut machine = Machine {
        module,
        input,
        fuel: 400,
        globals: [Value::Long(3), Value::Str(b"init".to_vec())],
        trace: Vec::new(),
    };
    let end = machine.call(FuncId(0), &[]);
    machine.note(format!("{end:?}"), PlaceId(0));
    machine.trace
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Long(i64),
    Str(Vec<u8>),
}

/// How a function ends.
#[derive(Debug)]
enum End {
    Return(Option<Value>),
    Next,
    Raise(String, PlaceId),
    OutOfFuel,
}

struct Machine<'m> {
    module: &'m Module,
    input: i64,
    fuel: u32,
    globals: [Value; 2],
    trace: Trace,
}

struct Frame<'m> {
    function: &'m Function,
    longs: BTreeMap<Var, i64>,
    strings: BTreeMap<StrVar, Vec<u8>>,
    caught: String,
}

impl Machine<'_> {
    fn note(&mut self, what: String, place: PlaceId) {
        self.trace.push((what, place));
    }

    fn call(&mut self, id: FuncId, args: &[Value]) -> End {
        let function = &self.module.functions[id.index()];
        let mut frame =
            Frame { function, longs: BTreeMap::new(), strings: BTreeMap::new(), caught: String::new() };
        for (param, arg) in function.params.iter().zip(args) {
            frame.put(*param, arg.clone());
        }
        let mut at = Block(0);
        'blocks: loop {
            let block = &function.blocks[at.index()];
            for (inst, place) in &block.insts {
                let raised = match self.step(&mut frame, inst, *place) {
                    Ok(()) => continue,
                    Err(End::Raise(message, place)) => (message, place),
                    Err(end) => return end,
                };
                match block.catch {
                    Some(catch) => {
                        frame.caught = raised.0;
                        at = catch;
                        continue 'blocks;
                    }
                    None => return End::Raise(raised.0, raised.1),
                }
            }
            let (term, place) = &block.term;
            at = match term {
                Term::Jump(to) => *to,
                Term::Branch { condition, then, otherwise } => {
                    if frame.long(condition) != 0 {
                        *then
                    } else {
                        *otherwise
                    }
                }
                Term::Return(value) => {
                    let value = value.as_ref().map(|value| self.arg(&frame, value));
                    return End::Return(match (value, function.result) {
                        (Some(Value::Str(text)), Some(Ty::Str(capacity))) => {
                            Some(Value::Str(cut(text, capacity)))
                        }
                        (None, Some(Ty::Long)) => Some(Value::Long(0)),
                        (None, Some(Ty::Str(_))) => Some(Value::Str(Vec::new())),
                        (value, _) => value,
                    });
                }
                Term::Raise(message) => {
                    let message = String::from_utf8_lossy(&self.str(&frame, message)).into_owned();
                    match block.catch {
                        Some(catch) => {
                            frame.caught = message;
                            catch
                        }
                        None => return End::Raise(message, *place),
                    }
                }
                Term::Next => return End::Next,
                Term::IterNext { .. } => unreachable!("not made here"),
            };
            // Loops of empty blocks end too.
            if self.fuel == 0 {
                return End::OutOfFuel;
            }
        }
    }

    fn step(&mut self, frame: &mut Frame<'_>, inst: &Inst, place: PlaceId) -> Result<(), End> {
        match inst {
            Inst::Copy { dest, value } => frame.set(*dest, frame.long(value)),
            Inst::Bin { op, dest, left, right } => match op.apply(frame.long(left), frame.long(right)) {
                Some(value) => frame.set(*dest, value),
                None => return Err(End::Raise("division by 0".into(), place)),
            },
            Inst::Cmp { op, dest, left, right } => {
                frame.set(*dest, op.apply(&frame.long(left), &frame.long(right)).into());
            }
            Inst::Extend { dest, value, width } => frame.set(*dest, width.apply(frame.long(value))),
            Inst::StrCopy { dest, value } => {
                let text = self.str(frame, value);
                frame.put(Dest::Str(*dest), Value::Str(text));
            }
            Inst::StrConcat { dest, left, right } => {
                let mut text = self.str(frame, left);
                text.extend(self.str(frame, right));
                frame.put(Dest::Str(*dest), Value::Str(text));
            }
            Inst::StrCmp { op, dest, left, right } => {
                let value = op.apply(&self.str(frame, left), &self.str(frame, right));
                frame.set(*dest, value.into());
            }
            Inst::Call { intrinsic: Intrinsic::Pid, dest, .. } => {
                if let Some(dest) = dest {
                    frame.put(*dest, Value::Long(self.input));
                }
            }
            Inst::Call { intrinsic: Intrinsic::Strlen, dest, args } => {
                if let (Some(dest), Value::Str(text)) = (dest, self.arg(frame, &args[0])) {
                    frame.put(*dest, Value::Long(text.len() as i64));
                }
            }
            Inst::CallFunction { function, dest, args } => {
                let args: Vec<Value> = args.iter().map(|arg| self.arg(frame, arg)).collect();
                match self.call(*function, &args) {
                    End::Return(value) => {
                        if let (Some(dest), Some(value)) = (dest, value) {
                            frame.put(*dest, value);
                        }
                    }
                    end => return Err(end),
                }
            }
            Inst::Load { dest, address, offset, on_fault, .. } => {
                let address = frame.long(address).wrapping_add(i64::from(*offset));
                // Odd addresses are bad.
                let bad = address & 1 != 0;
                match on_fault {
                    OnFault::Raise if bad => return Err(End::Raise(format!("fault at {address}"), place)),
                    OnFault::Raise | OnFault::Zero => {}
                    OnFault::Flag(flag) => frame.set(*flag, bad.into()),
                }
                frame.set(*dest, if bad { 0 } else { address ^ self.input });
            }
            Inst::Get { dest, element } => frame.put(*dest, self.globals[element.global.index()].clone()),
            Inst::Set { element, value } => {
                let value = self.arg(frame, value);
                self.note(format!("{} = {value:?}", element.global), place);
                self.globals[element.global.index()] = match value {
                    Value::Str(text) => Value::Str(cut(text, 24)),
                    value => value,
                };
            }
            Inst::Update { op: UpdateOp::Add, value, old, new, .. } => {
                let Value::Long(before) = self.globals[0] else { unreachable!() };
                let after = before.wrapping_add(frame.long(value));
                self.note(format!("g0 += {}", frame.long(value)), place);
                self.globals[0] = Value::Long(after);
                for (register, value) in [(old, before), (new, after)] {
                    if let Some(register) = register {
                        frame.set(*register, value);
                    }
                }
            }
            Inst::Caught { dest } => {
                let text = frame.caught.clone().into_bytes();
                frame.put(Dest::Str(*dest), Value::Str(text));
            }
            Inst::Tick { count } => {
                self.note(format!("tick {count}"), place);
                self.fuel = self.fuel.saturating_sub(*count);
                if self.fuel == 0 {
                    return Err(End::OutOfFuel);
                }
            }
            inst => unreachable!("{inst} is not made here"),
        }
        Ok(())
    }

    fn str(&self, frame: &Frame<'_>, op: &StrOp) -> Vec<u8> {
        match op {
            StrOp::Var(var) => frame.strings.get(var).cloned().unwrap_or_default(),
            StrOp::Lit(id) => self.module.strings[id.index()].clone(),
        }
    }

    fn arg(&self, frame: &Frame<'_>, arg: &Arg) -> Value {
        match arg {
            Arg::Long(op) => Value::Long(frame.long(op)),
            Arg::Str(op) => Value::Str(self.str(frame, op)),
        }
    }
}

impl Frame<'_> {
    fn long(&self, op: &LongOp) -> i64 {
        match op {
            LongOp::Imm(value) => *value,
            LongOp::Var(var) => self.longs.get(var).copied().unwrap_or(0),
        }
    }

    fn set(&mut self, var: Var, value: i64) {
        self.longs.insert(var, value);
    }

    fn put(&mut self, dest: Dest, value: Value) {
        match (dest, value) {
            (Dest::Long(var), Value::Long(value)) => self.set(var, value),
            (Dest::Str(var), Value::Str(text)) => {
                let text = cut(text, self.function.strings[var.index()]);
                self.strings.insert(var, text);
            }
            _ => unreachable!("the verifier refuses this"),
        }
    }
}

fn cut(mut text: Vec<u8>, capacity: u16) -> Vec<u8> {
    text.truncate(usize::from(capacity) - 1);
    text
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn long(&mut self) -> String {
        match self.below(5) {
            0 => self.pick(&["0", "1", "-1", "2", "7", "-9223372036854775808", "65", "255"]).into(),
            _ => format!("v{}", self.below(6)),
        }
    }

    fn string(&mut self) -> String {
        match self.below(4) {
            0 => self.pick(&["\"\"", "\"a\"", "\"abcdefgh\"", "\"0123456789012345\""]).into(),
            _ => format!("s{}", self.below(4)),
        }
    }
}

/// A module whose `f0` calls the functions after it, which call those after them.
pub(crate) fn program(seed: u64) -> String {
    let mut r = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..4 {
        r.below(2);
    }
    let mut text = String::from("global g0 n: long, shared\nglobal g1 s: str<24>, shared\n");
    for place in 0..400 {
        writeln!(text, "place @{place} 0:{place}..{place} \"{place}\"").unwrap();
    }
    // Results of f1 and f2: a long and a string.
    for number in 0..3 {
        let head = ["", "(v0, s0) -> long", "(s1, v3) -> str<6>"][number];
        let strings = r.pick(&["16, 16, 8, 32", "8, 8, 8, 8", "24, 16, 4, 24"]);
        writeln!(text, "function f{number} fn.{number} kernel registers {head} {{\n  strings {strings}")
            .unwrap();
        if r.below(2) == 0 {
            writeln!(text, "  locks g{}", r.below(2)).unwrap();
        }
        body(&mut r, number, &mut text);
        text.push_str("}\n");
    }
    text
}

fn body(r: &mut Random, number: usize, text: &mut String) {
    let blocks = 2 + r.below(7);
    // Blocks of the last third are catch blocks: their own catch blocks lie behind them, so that no circle arises.
    let first_catch = blocks - blocks / 3;
    let mut place = number as u64 * 130;
    for block in 0..blocks {
        let catch = if first_catch < blocks && r.below(2) == 0 {
            let from = first_catch.max(block + 1);
            (from < blocks).then(|| from + r.below(blocks - from))
        } else {
            None
        };
        match catch {
            Some(catch) => writeln!(text, "b{block} catch b{catch}:").unwrap(),
            None => writeln!(text, "b{block}:").unwrap(),
        }
        writeln!(text, "  tick 1 @{place}").unwrap();
        if block == 0 {
            writeln!(text, "  s2 = copy \"abcdefghijkl\" @{place}\n  v5 = call pid() @{place}").unwrap();
        }
        for _ in 0..r.below(9) {
            place += 1;
            let inst = inst(r, number);
            writeln!(text, "  {inst} @{place}").unwrap();
        }
        place += 1;
        let to = |r: &mut Random| r.below(blocks);
        let term = match r.below(12) {
            0..3 => format!("jump b{}", to(r)),
            3..9 => {
                let (condition, then, otherwise) = (r.long(), to(r), to(r));
                format!("branch {condition}, b{then}, b{otherwise}")
            }
            9 if r.below(2) == 0 => format!("raise {}", r.string()),
            10 if r.below(4) == 0 => "next".into(),
            // The handler goes on, so that its calls come again.
            _ if number == 0 && r.below(8) != 0 => format!("jump b{}", to(r)),
            _ => match number {
                1 if r.below(4) != 0 => format!("return {}", r.long()),
                2 if r.below(4) != 0 => format!("return {}", r.string()),
                _ => "return".into(),
            },
        };
        writeln!(text, "  {term} @{place}").unwrap();
        place += 1;
    }
}

fn inst(r: &mut Random, number: usize) -> String {
    let (v, s) = (format!("v{}", r.below(6)), format!("s{}", r.below(4)));
    match r.below(25) {
        0..3 => format!("{v} = copy {}", r.long()),
        3..6 => {
            let op = r.pick(&["add", "sub", "mul", "and", "or", "xor", "shl", "sar", "shr"]);
            format!("{v} = {op} {}, {}", r.long(), r.long())
        }
        6 => format!("{v} = {} {}, {}", r.pick(&["div", "rem"]), r.long(), r.long()),
        7..9 => {
            let op = r.pick(&["eq", "ne", "lt", "le", "gt", "ge"]);
            format!("{v} = {op} {}, {}", r.long(), r.pick(&["0", "0", "1", "v0", "v1"]))
        }
        9 => format!("{v} = extend {}, {}", r.long(), r.pick(&["u8", "i16", "u32", "i64"])),
        10..12 => format!("{s} = copy {}", r.string()),
        12 => format!("{s} = concat {}, {}", r.string(), r.string()),
        13 => format!("{v} = {} {}, {}", r.pick(&["eq", "lt"]), r.string(), r.string()),
        14 => format!("{v} = call {}", r.pick(&["pid()", "strlen(s0)", "strlen(s1)"])),
        15 => match r.below(2) {
            0 => format!("{v} = load user {} + 2, u8", r.long()),
            _ => format!("{v} = load user {}, u8, fault v{}", r.long(), r.below(6)),
        },
        16 => format!("{v} = get g0"),
        17 => format!("{s} = get g1"),
        18 => match r.below(3) {
            0 => format!("set g0, {}", r.long()),
            _ => format!("set g1, {}", r.string()),
        },
        19 => match r.below(3) {
            0 => format!("update add g0, {}", r.long()),
            1 => format!("update add g0, {}, old {v}", r.long()),
            _ => format!("update add g0, {}, new {v}", r.long()),
        },
        _ => match number + 1 + r.below(2) as usize {
            1 => format!("{v} = call f1({}, {})", r.long(), r.string()),
            2 => format!("{s} = call f2({}, {})", r.string(), r.long()),
            _ => format!("{v} = copy {}", r.long()),
        },
    }
}
