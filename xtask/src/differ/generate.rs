//! Random well-typed scripts: globals, arrays, statistics, functions, loops, errors, nested expressions, output.
//!
//! Everything that is made compiles in both domains, but for what a limit of the kernel's refuses; and what it does
//! depends on nothing but the two numbers of the hit.
//!
//! **Not here:** the frame around it (`script`), what comes out (`outcome`).

mod visit;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::choices::Choices;
use super::script::Script;

/// The two types of the language.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ty {
    Long,
    Str,
}

use Ty::{Long, Str};

/// Arrays that a script may use: name, keys, value.
const ARRAYS: [(&str, &[Ty], Ty); 6] = [
    ("al", &[Long], Long),
    ("as", &[Str], Long),
    ("am", &[Long, Str], Long),
    ("at", &[Long], Str),
    ("au", &[Str, Str], Str),
    ("ax", &[Str, Long, Str], Long),
];

/// Statistics: name, keys.
const STATS: [(&str, &[Ty]); 3] = [("st", &[]), ("sa", &[Long]), ("sm", &[Str, Long])];

/// Numbers that are known for trouble.
const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "63",
    "64",
    "65",
    "127",
    "128",
    "255",
    "256",
    "-256",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "(-9223372036854775807 - 1)",
    "1000000007",
];

/// Strings around the sizes of words and slots, and with bytes that need care.
const STRINGS: [&str; 24] = [
    "",
    "a",
    "b",
    "ab",
    "abc",
    "1234567",
    "12345678",
    "123456789",
    "12345678a",
    "12345678b",
    "abcdefghijklmno",
    "abcdefghijklmnop",
    "abcdefghijklmnopq",
    "0123456789012345678901234567890",
    "01234567890123456789012345678901",
    "0123456789012345678901234567890123456789012345678901234567890123",
    "01234567890123456789012345678901234567890123456789012345678901234",
    "\\377\\001",
    "\\200",
    "\\177",
    "a\\rb\\tc",
    "%d%s%%",
    "\\\"\\\\",
    "-42 is it",
];

/// What a script function takes and gives.
struct Function {
    name: String,
    params: Vec<Ty>,
    result: Ty,
}

struct Generator<'c> {
    choices: &'c mut Choices,
    /// Nodes that may still be made.
    budget: usize,
    /// Globals that are used.
    used: BTreeMap<&'static str, ()>,
    functions: Vec<Function>,
    /// Number variables: those of the hit and parameters that are read only, then locals.
    longs: Vec<String>,
    assignable: Vec<String>,
    strings: Vec<String>,
    /// Locals of the body that are set first.
    locals: BTreeMap<String, Ty>,
    /// Names of loop counters in this body so far.
    counters: usize,
    loops: usize,
    function: Option<Ty>,
    /// In the arguments of output: what only the user domain can do.
    late: bool,
    /// Whether arrays are visited and looked through at all, which old kernels cannot do.
    modern: bool,
    /// Whether what is visited is sorted.
    sorted: bool,
    /// Arrays that are being visited.
    visiting: Vec<&'static str>,
    visits: usize,
}

/// Makes a script.
pub fn generate(choices: &mut Choices) -> Script {
    let mut g = Generator {
        choices,
        budget: 0,
        used: BTreeMap::new(),
        functions: Vec::new(),
        longs: Vec::new(),
        assignable: Vec::new(),
        strings: Vec::new(),
        locals: BTreeMap::new(),
        counters: 0,
        loops: 0,
        function: None,
        late: false,
        modern: false,
        sorted: false,
        visiting: Vec::new(),
        visits: 0,
    };
    g.budget = g.choices.of(&[25, 50, 100, 150]);
    let string_len = g.choices.of(&[512, 512, 128, 64, 20]);
    let size = g.choices.of(&["", "", "", "[3]"]);
    let ordered = g.choices.one_in(2);
    (g.modern, g.sorted) = (g.choices.one_in(2), !ordered);
    let wrap = if ordered && g.choices.one_in(8) { "%" } else { "" };
    let fields = g.choices.below(64);
    let mut functions = String::new();
    while g.functions.len() < 3 && g.choices.one_in(3) {
        functions += &g.function();
    }
    let body = g.handler();
    let hits = (0..1 + g.choices.below(4)).map(|n| (n as i64, g.choices.below(5) as i64 - 1)).collect();
    let mut globals = String::new();
    let mut end = String::new();
    for name in g.used.keys().copied() {
        match name {
            "ga" => globals += "global ga = 5\n",
            "gs" => globals += "global gs = \"start\"\n",
            _ if ARRAYS.iter().any(|(array, ..)| *array == name) => {
                let _ = writeln!(globals, "global {name}{wrap}{size}");
            }
            _ => {
                let _ = writeln!(globals, "global {name}");
            }
        }
        end += &dump(name, ordered, fields);
    }
    Script { globals, functions, body, end, hits, string_len }
}

/// Statements that print a global.
fn dump(name: &str, ordered: bool, fields: usize) -> String {
    let variables =
        |keys: &[Ty]| (0..keys.len()).map(|n| format!("{name}_{n}")).collect::<Vec<_>>().join(", ");
    let formats = |keys: &[Ty]| {
        keys.iter().map(|ty| if *ty == Long { "%d" } else { "%s" }).collect::<Vec<_>>().join(",")
    };
    if let Some((_, keys, value)) = ARRAYS.iter().find(|(array, ..)| *array == name) {
        let (keys, formats) = (variables(keys), formats(keys));
        let value = if *value == Long { "%d" } else { "%s" };
        let (mark, sort) = if ordered { ("", "") } else { ("#", "+") };
        let visited = keys.replacen("_0", &format!("_0{sort}"), 1);
        return format!(
            "  foreach ([{visited}] in {name}) printf(\"{mark}{name}[{formats}]={value}\\n\", {keys}, {name}[{keys}])\n"
        );
    }
    if let Some((_, keys)) = STATS.iter().find(|(statistic, _)| *statistic == name) {
        let place = if keys.is_empty() { name.to_owned() } else { format!("{name}[{}]", variables(keys)) };
        let mut what = format!("printf(\"#{name}\"); ");
        for (n, key) in keys.iter().enumerate() {
            let conversion = if *key == Long { "%d" } else { "%s" };
            let _ = write!(what, "printf(\" {conversion}\", {name}_{n}); ");
        }
        for (bit, op) in ["count", "sum", "min", "max", "avg"].iter().enumerate() {
            if fields & 1 << bit != 0 || (fields & 31 == 0 && *op == "count") {
                let _ = write!(what, "printf(\" %d\", @{op}({place})); ");
            }
        }
        what += "println(\"\"); ";
        if fields & 32 != 0 && keys.is_empty() {
            let _ = write!(what, "print(@hist_log({place})); ");
        }
        if keys.is_empty() {
            return format!("  if (@count({place})) {{ {what}}}\n");
        }
        return format!("  foreach ([{}] in {name}) {{ {what}}}\n", variables(keys).replacen("_0", "_0+", 1));
    }
    let conversion = if name.starts_with("gs") || name == "gt" { "%s" } else { "%d" };
    format!("  printf(\"{name}={conversion}\\n\", {name})\n")
}

impl Generator<'_> {
    /// Whether there is room for something large.
    fn spend(&mut self) -> bool {
        let left = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        left
    }

    fn function(&mut self) -> String {
        let name = format!("f{}", self.functions.len());
        let params: Vec<Ty> = (0..self.choices.below(3)).map(|_| self.choices.of(&[Long, Str])).collect();
        let result = self.choices.of(&[Long, Str]);
        self.function = Some(result);
        self.begin_body(&[]);
        let mut declared = Vec::new();
        for (n, ty) in params.iter().enumerate() {
            let param = format!("p{n}");
            declared.push(format!("{param}:{}", word(*ty)));
            match ty {
                Long => {
                    self.longs.push(param.clone());
                    self.assignable.push(param);
                }
                Str => self.strings.push(param),
            }
        }
        let statements = self.statements(2);
        let value = self.expr(result, 2);
        let text = format!(
            "function {name}:{} ({}) {{\n{}{statements}  return {value}\n}}\n",
            word(result),
            declared.join(", "),
            self.first_values()
        );
        self.function = None;
        self.functions.push(Function { name, params, result });
        text
    }

    fn handler(&mut self) -> String {
        self.begin_body(&["number", "thread"]);
        let mut statements = self.statement(3);
        statements += &self.statements(3);
        format!("{}{statements}", self.first_values())
    }

    fn begin_body(&mut self, longs: &[&str]) {
        self.longs = longs.iter().map(|name| (*name).to_owned()).collect();
        self.assignable.clear();
        self.strings.clear();
        self.locals.clear();
        self.counters = 0;
        self.loops = 0;
    }

    fn first_values(&self) -> String {
        let mut text = String::new();
        for (name, ty) in &self.locals {
            let _ = writeln!(text, "  {name} = {};", if *ty == Long { "0" } else { "\"\"" });
        }
        text
    }

    fn statements(&mut self, depth: usize) -> String {
        let mut text = String::new();
        while self.choices.below(4) != 0 && self.spend() {
            text += &self.statement(depth);
        }
        text
    }

    fn block(&mut self, depth: usize) -> String {
        format!("{{\n{}  }}", self.statements(depth.saturating_sub(1)))
    }

    fn statement(&mut self, depth: usize) -> String {
        let simple = depth == 0 || self.budget == 0;
        let kind = self.choices.below(if simple { 9 } else { 20 });
        let text = match kind {
            0 | 1 => {
                let ty = self.choices.of(&[Long, Str]);
                self.assignment(ty, depth)
            }
            2 => self.update(depth),
            3 => {
                let (place, ..) = self.statistic_place(depth);
                format!("{place} <<< {}", self.long(depth))
            }
            4 => self.print(depth),
            5 => {
                let (name, keys, _) = self.choices.of(&ARRAYS);
                self.used.insert(name, ());
                if self.visiting.contains(&name) {
                    format!("gs = {}", self.effect_str("gs", depth))
                } else if self.choices.one_in(4) {
                    format!("delete {name}")
                } else {
                    format!("delete {}", self.place(name, keys, depth))
                }
            }
            6 => {
                let place = self.place_of(Str, depth);
                format!("{place} .= {}", self.str(depth))
            }
            7 => self.expr_statement(depth),
            8 => self.jump(depth),
            9 | 10 => {
                let condition = self.long(depth - 1);
                let then = self.block(depth);
                if self.choices.one_in(2) {
                    format!("if ({condition}) {then} else {}", self.block(depth))
                } else {
                    format!("if ({condition}) {then}")
                }
            }
            11 | 12 => self.try_catch(depth),
            13 | 14 => self.for_loop(depth),
            15 => self.while_loop(depth),
            16 | 17 if self.modern && self.visiting.len() < 2 => self.foreach(depth),
            18 if self.modern => match self.delete_slice(depth) {
                Some(text) => text,
                None => self.update(depth),
            },
            _ => {
                let place = self.place_of(Str, depth);
                format!("{place} = {}", self.str(depth))
            }
        };
        // Without it, a statement that begins with an operator would go on with the line before.
        format!("  {text};\n")
    }

    fn assignment(&mut self, ty: Ty, depth: usize) -> String {
        let value = self.expr(ty, depth);
        let place = self.place_of(ty, depth);
        format!("{place} = {value}")
    }

    /// `+=` and its relatives, `++`, `--`.
    fn update(&mut self, depth: usize) -> String {
        let place = self.place_of(Long, depth);
        match self.choices.below(4) {
            0 => format!("{place}++"),
            1 => format!("--{place}"),
            _ => {
                let op = self.choices.of(&["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]);
                format!("{place} {op}= {}", self.long(depth))
            }
        }
    }

    /// A value for its effects, or an error.
    fn expr_statement(&mut self, depth: usize) -> String {
        match self.choices.below(5) {
            0 => format!("gx = {}", self.effect_on("gx", depth)),
            1 => format!("error({})", self.str(depth)),
            _ => match self.call(None, depth) {
                Some(call) => call,
                None => self.update(depth),
            },
        }
    }

    fn effect_str(&mut self, name: &'static str, depth: usize) -> String {
        self.used.insert(name, ());
        self.str(depth)
    }

    fn effect_on(&mut self, name: &'static str, depth: usize) -> String {
        self.used.insert(name, ());
        self.long(depth)
    }

    fn jump(&mut self, depth: usize) -> String {
        let condition = self.long(depth);
        let jump = match (self.choices.below(4), self.function) {
            (0 | 1, _) if self.loops > 0 => self.choices.of(&["break", "continue"]).to_owned(),
            (2, Some(ty)) => format!("return {}", self.expr(ty, depth)),
            (3, _) => "exit()".to_owned(),
            _ => "next".to_owned(),
        };
        format!("if ({condition}) {jump}")
    }

    fn try_catch(&mut self, depth: usize) -> String {
        let body = self.block(depth);
        if self.choices.one_in(2) {
            let message = self.local(Str);
            self.strings.push(message.clone());
            let caught = self.block(depth);
            self.strings.pop();
            format!("try {body} catch ({message}) {caught}")
        } else {
            format!("try {body} catch {}", self.block(depth))
        }
    }

    fn for_loop(&mut self, depth: usize) -> String {
        let counter = format!("i{}", self.counters);
        self.counters += 1;
        let many = if self.loops == 0 && self.function.is_none() { "300" } else { "4" };
        let times = self.choices.of(&["2", "3", "5", "20", "number", many]);
        self.longs.push(counter.clone());
        self.loops += 1;
        let body = self.block(depth);
        self.loops -= 1;
        self.longs.pop();
        format!("for ({counter} = 0; {counter} < {times}; {counter}++) {body}")
            .replace("< number", if self.function.is_some() { "< 4" } else { "< number" })
    }

    fn while_loop(&mut self, depth: usize) -> String {
        let counter = format!("w{}", self.counters);
        self.counters += 1;
        self.locals.insert(counter.clone(), Long);
        let times = self.choices.of(&["1", "4", "9"]);
        self.loops += 1;
        let body = self.block(depth);
        self.loops -= 1;
        format!("{counter} = {times}\n  while ({counter}-- > 0) {body}")
    }

    fn print(&mut self, depth: usize) -> String {
        self.late = true;
        let text = match self.choices.below(4) {
            0 => format!("printf(\"%d\\n\", {})", self.long(depth)),
            1 => format!("printf(\"%s\\n\", {})", self.str(depth)),
            2 => format!("println({})", self.expr_of_any(depth)),
            _ => {
                let mut format = String::new();
                let mut args = String::new();
                for _ in 0..1 + self.choices.below(4) {
                    let (conversion, ty) = self.choices.of(&[
                        ("%d", Long),
                        ("%s", Str),
                        ("%x", Long),
                        ("%5d|", Long),
                        ("%-5d|", Long),
                        ("%05d", Long),
                        ("%+d", Long),
                        ("%#x", Long),
                        ("%o", Long),
                        ("%u", Long),
                        ("%p", Long),
                        ("%10s|", Str),
                        ("%-10s|", Str),
                        ("%.3s", Str),
                        ("%%%d", Long),
                    ]);
                    format += conversion;
                    format += " ";
                    let _ = write!(args, ", {}", self.expr(ty, depth));
                }
                format!("printf(\"{format}\\n\"{args})")
            }
        };
        self.late = false;
        text
    }

    fn expr_of_any(&mut self, depth: usize) -> String {
        let ty = self.choices.of(&[Long, Str]);
        self.expr(ty, depth)
    }

    fn expr(&mut self, ty: Ty, depth: usize) -> String {
        match ty {
            Long => self.long(depth),
            Str => self.str(depth),
        }
    }

    fn long(&mut self, depth: usize) -> String {
        let simple = depth == 0 || !self.spend();
        let less = depth.saturating_sub(1);
        match self.choices.below(if simple { 5 } else { 24 }) {
            0 => self.choices.below(4).to_string(),
            1 if !self.longs.is_empty() => {
                let n = self.choices.below(self.longs.len());
                self.longs[n].clone()
            }
            2 => self.local(Long),
            3 => self.choices.of(&NUMBERS).to_owned(),
            1 | 4 => {
                let name = self.choices.of(&["ga", "gx"]);
                self.used.insert(name, ());
                name.to_owned()
            }
            5..=8 => {
                let op = self.choices.of(&["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>"]);
                format!("({} {op} {})", self.long(less), self.long(less))
            }
            9 => {
                let op = self.choices.of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.long(less), self.long(less))
            }
            10 | 11 => {
                let op = self.choices.of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({} {op} {})", self.str(less), self.str(less))
            }
            12 => {
                let op = self.choices.of(&["&&", "||"]);
                format!("({} {op} {})", self.long(less), self.long(less))
            }
            13 => {
                let op = self.choices.of(&["-", "~", "!"]);
                format!("({op} {})", self.long(less))
            }
            14 => format!("({} ? {} : {})", self.long(less), self.long(less), self.long(less)),
            15 => {
                let (name, keys, ty) = self.choices.of(&ARRAYS);
                self.used.insert(name, ());
                if ty == Long && self.choices.one_in(2) {
                    self.place(name, keys, less)
                } else {
                    let keys: Vec<String> = keys.iter().map(|ty| self.key(*ty, less)).collect();
                    format!("([{}] in {name})", keys.join(", "))
                }
            }
            16 => {
                let place = self.place_of(Long, less);
                let value = self.choices.below(4);
                match value {
                    0 => format!("({place}++)"),
                    1 => format!("(--{place})"),
                    2 => {
                        let op = self.choices.of(&["+", "-", "|", "&", "*", "/"]);
                        format!("({place} {op}= {})", self.long(less))
                    }
                    _ => format!("({place} = {})", self.long(less)),
                }
            }
            17 => format!("strlen({})", self.str(less)),
            21 if self.modern => self.extractor(less),
            22 if self.modern => self.contains_slice(less),
            23 => {
                let pattern =
                    self.choices.of(&["a", "^a*b", "[0-9]+8", "(ab|cd)e?$", "x.?y", "^$", "[[:digit:]]{3}"]);
                format!("({} {} \"{pattern}\")", self.str(less), self.choices.of(&["=~", "!~"]))
            }
            18 => format!("stringat({}, {})", self.str(less), self.long(less)),
            19 if self.late => match self.choices.below(2) {
                0 => format!("strtol({}, {})", self.str(less), self.choices.of(&["10", "0", "16", "8"])),
                _ => format!("isinstr({}, {})", self.str(less), self.str(less)),
            },
            19 if self.choices.one_in(4) => {
                let (place, _) = self.statistic_place(less);
                format!("@{}({place})", self.choices.of(&["count", "sum"]))
            }
            _ => match self.call(Some(Long), less) {
                Some(call) => call,
                None => self.local(Long),
            },
        }
    }

    fn str(&mut self, depth: usize) -> String {
        let simple = depth == 0 || !self.spend();
        let less = depth.saturating_sub(1);
        match self.choices.below(if simple { 4 } else { 14 }) {
            0 => format!("\"{}\"", self.choices.of(&STRINGS)),
            1 if !self.strings.is_empty() => {
                let n = self.choices.below(self.strings.len());
                self.strings[n].clone()
            }
            1 | 2 => self.local(Str),
            3 => {
                let name = self.choices.of(&["gs", "gt"]);
                self.used.insert(name, ());
                name.to_owned()
            }
            4..=6 => format!("({} . {})", self.str(less), self.str(less)),
            7 => format!("({} ? {} : {})", self.long(less), self.str(less), self.str(less)),
            8 => {
                let (name, keys) = self.choices.of(&[("at", &[Long][..]), ("au", &[Str, Str][..])]);
                self.used.insert(name, ());
                self.place(name, keys, less)
            }
            12 => format!("substr({}, {}, {})", self.str(less), self.long(less), self.long(less)),
            13 => self.text_of(less),
            9 => {
                let place = self.place_of(Str, less);
                format!("({place} = {})", self.str(less))
            }
            _ => match self.call(Some(Str), less) {
                Some(call) => call,
                None => self.local(Str),
            },
        }
    }

    fn call(&mut self, result: Option<Ty>, depth: usize) -> Option<String> {
        // A function may change what is being visited.
        if !self.visiting.is_empty() {
            return None;
        }
        let fit: Vec<usize> = (0..self.functions.len())
            .filter(|n| result.is_none_or(|ty| self.functions[*n].result == ty))
            .collect();
        if fit.is_empty() {
            return None;
        }
        let n = fit[self.choices.below(fit.len())];
        let params = self.functions[n].params.clone();
        let args: Vec<String> = params.iter().map(|ty| self.expr(*ty, depth)).collect();
        Some(format!("{}({})", self.functions[n].name, args.join(", ")))
    }

    fn local(&mut self, ty: Ty) -> String {
        let name = match ty {
            Long => self.choices.of(&["x", "y"]),
            Str => self.choices.of(&["s", "t"]),
        };
        self.locals.insert(name.to_owned(), ty);
        name.to_owned()
    }

    /// Something that can be assigned to.
    fn place_of(&mut self, ty: Ty, depth: usize) -> String {
        match (self.choices.below(6), ty) {
            (0 | 1, _) => self.local(ty),
            (2, Long) if !self.assignable.is_empty() => {
                let n = self.choices.below(self.assignable.len());
                self.assignable[n].clone()
            }
            (2 | 3, _) => {
                let name = match ty {
                    Long => self.choices.of(&["ga", "gx"]),
                    Str => self.choices.of(&["gs", "gt"]),
                };
                self.used.insert(name, ());
                name.to_owned()
            }
            _ => {
                let fit: Vec<_> = ARRAYS
                    .iter()
                    .filter(|(name, _, value)| *value == ty && !self.visiting.contains(name))
                    .collect();
                if fit.is_empty() {
                    return self.local(ty);
                }
                let (name, keys, _) = *fit[self.choices.below(fit.len())];
                self.used.insert(name, ());
                self.place(name, keys, depth.saturating_sub(1))
            }
        }
    }

    fn statistic_place(&mut self, depth: usize) -> (String, &'static [Ty]) {
        let (name, keys) = self.choices.of(&STATS);
        let (name, keys) = if self.visiting.contains(&name) { STATS[0] } else { (name, keys) };
        self.used.insert(name, ());
        (if keys.is_empty() { name.to_owned() } else { self.place(name, keys, depth) }, keys)
    }

    fn place(&mut self, name: &str, keys: &[Ty], depth: usize) -> String {
        let keys: Vec<String> = keys.iter().map(|ty| self.key(*ty, depth)).collect();
        format!("{name}[{}]", keys.join(", "))
    }

    /// A key: mostly one of few, so that elements are met again.
    fn key(&mut self, ty: Ty, depth: usize) -> String {
        match (self.choices.below(5), ty) {
            (0 | 1, Long) => self.choices.below(3).to_string(),
            (0 | 1, Str) => format!("\"{}\"", self.choices.of(&["a", "b", "", "12345678"])),
            (2, Long) if !self.longs.is_empty() => {
                let n = self.choices.below(self.longs.len());
                self.longs[n].clone()
            }
            _ => self.expr(ty, depth.min(1)),
        }
    }
}

fn word(ty: Ty) -> &'static str {
    match ty {
        Long => "long",
        Str => "string",
    }
}
