//! Random well-typed scripts: globals, arrays, statistics, functions, loops, errors, nested expressions, output.
//!
//! Everything that is made compiles in both domains, but for what a limit of the kernel's refuses; and what it does
//! depends on nothing but the two numbers of the hit.
//! `statement` and `value` make what their names say, `text` what is made of strings, `visit` what visits arrays,
//! `dump` prints the globals at the end.
//!
//! **Not here:** the frame around it (`script`), what comes out (`outcome`).

mod dump;
mod statement;
mod text;
mod value;
mod visit;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::choices::Choices;
use super::script::{Hit, Script};

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
#[derive(Clone)]
struct Function {
    name: String,
    params: Vec<Ty>,
    result: Ty,
    /// Whether it calls itself: its first parameter says how deep.
    recursive: bool,
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
    /// The shift of `@variance`, where the script has one.
    shift: &'static str,
    /// Whether something asks what was searched last, or for the next piece of a string.
    matches: bool,
    pieces: bool,
    /// The function that calls itself, while its body is made, and how often it may still.
    recursion: Option<(Function, usize)>,
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
        shift: "",
        matches: false,
        pieces: false,
        recursion: None,
        visiting: Vec::new(),
        visits: 0,
    };
    let budget = g.choices.of(&[15, 30, 60, 110]);
    let string_len = g.choices.of(&[512, 512, 128, 64, 20]);
    let size = g.choices.of(&["", "", "", "[3]"]);
    let ordered = g.choices.one_in(2);
    (g.modern, g.sorted) = (g.choices.one_in(3), !ordered);
    g.shift = g.choices.of(&["", "", ", 3"]);
    let wrap = if ordered && g.choices.one_in(4) { "%" } else { "" };
    let fields = g.choices.below(128);
    let handlers = 1 + usize::from(g.choices.one_in(3));
    g.budget = budget;
    let mut functions = String::new();
    while g.functions.len() < 3 && g.choices.one_in(3) {
        functions += &g.function();
    }
    let mut bodies = Vec::new();
    for n in 0..handlers {
        g.budget = g.budget.max(budget * (n + 1) / (2 * handlers));
        bodies.push(g.handler());
    }
    let hits = (0..1 + g.choices.below(4))
        .map(|n| Hit { handler: n % handlers, number: n as i64, thread: g.choices.below(5) as i64 - 1 })
        .collect();
    for body in &mut bodies {
        *body = g.begins() + body;
    }
    let mut globals = String::new();
    let mut end = String::new();
    for name in g.used.keys().copied() {
        match name {
            "ga" => globals += "global ga = 5\n",
            "gs" => globals += "global gs = \"start\"\n",
            _ if ARRAYS.iter().any(|(array, ..)| *array == name)
                || STATS[1..].iter().any(|(statistic, _)| *statistic == name) =>
            {
                let _ = writeln!(globals, "global {name}{wrap}{size}");
            }
            _ => {
                let _ = writeln!(globals, "global {name}");
            }
        }
        end += &dump::dump(name, ordered, fields, g.shift);
    }
    Script { globals, functions, bodies, end, hits, string_len }
}

/// The one histogram that a statistic may have.
fn histogram(name: &str, place: &str) -> String {
    match name {
        "sa" => format!("@hist_linear({place}, -10, 50, 7)"),
        _ => format!("@hist_log({place})"),
    }
}

impl Generator<'_> {
    /// Whether there is room for something large.
    fn spend(&mut self) -> bool {
        let left = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        left
    }

    /// A function, or two of one name, of which the first may leave a call to the second.
    fn function(&mut self) -> String {
        let name = format!("f{}", self.functions.len());
        let recursive = self.choices.one_in(4);
        let mut params: Vec<Ty> = (0..self.choices.below(3)).map(|_| self.choices.of(&[Long, Str])).collect();
        if recursive {
            params.insert(0, Long);
        }
        let result = self.choices.of(&[Long, Str]);
        let function = Function { name, params, result, recursive };
        let mut text = String::new();
        for _ in 0..if recursive { 1 } else { 1 + usize::from(self.choices.one_in(4)) } {
            text += &self.overload(&function);
        }
        self.functions.push(function);
        text
    }

    fn overload(&mut self, function: &Function) -> String {
        let Function { name, params, result, recursive } = function;
        self.function = Some(*result);
        self.begin_body(&[]);
        let mut declared = Vec::new();
        for (n, ty) in params.iter().enumerate() {
            let param = format!("p{n}");
            declared.push(format!("{param}:{}", word(*ty)));
            match ty {
                Long => {
                    self.longs.push(param.clone());
                    // What counts how deep a function has called itself must not change.
                    if n > 0 || !recursive {
                        self.assignable.push(param);
                    }
                }
                Str => self.strings.push(param),
            }
        }
        let mut statements = String::new();
        if *recursive {
            statements = format!("  if (p0 <= 0 || p0 > 4) return {};\n", self.expr(*result, 1));
            let places = 1 + usize::from(self.choices.one_in(8));
            self.recursion = Some((function.clone(), places));
        }
        statements += &self.statements(2);
        let mut value = self.expr(*result, 2);
        if self.recursion.as_ref().is_some_and(|(_, left)| *left > 0) {
            let again = self.recurse(1).unwrap_or_default();
            value = match result {
                Long => format!("({value} + {again})"),
                Str => format!("({value} . {again})"),
            };
        }
        self.recursion = None;
        self.function = None;
        format!(
            "function {name}:{} ({}) {{\n{}{statements}  return {value}\n}}\n",
            word(*result),
            declared.join(", "),
            self.first_values()
        )
    }

    fn handler(&mut self) -> String {
        self.begin_body(&["number", "thread"]);
        let mut statements = self.statement(3);
        statements += &self.statements(3);
        format!("{}{statements}", self.first_values())
    }

    /// Searches and takes apart something, where somebody asks for the last search or the next piece: what an earlier
    /// hit did is another matter in the two domains.
    fn begins(&self) -> String {
        let mut text = String::new();
        if self.matches {
            text += "  if (\"xab1\" !~ \"a(b)|(c)\") next;\n";
        }
        if self.pieces {
            text += "  if (tokenize(\"one,two three\", \",\") == \"\") next;\n";
        }
        text
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
}

fn word(ty: Ty) -> &'static str {
    match ty {
        Long => "long",
        Str => "string",
    }
}
