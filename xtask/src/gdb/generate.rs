//! C programs that nobody wrote: structures by value, inlined copies, loops, blocks in blocks, pointers to locals; what
//! optimizers take apart, for the comparison with gdb.
//!
//! A program is deterministic and ends; its arithmetic is unsigned, so that nothing in it is undefined.

use std::fmt::Write as _;

use crate::random::Random;

/// Types of numbers, and how a value of them is written.
const NUMBERS: [&str; 8] =
    ["int", "unsigned", "long", "unsigned long", "short", "unsigned char", "signed char", "_Bool"];
/// Functions of a program.
const FUNCTIONS: usize = 7;
/// Statements of a block, at the most.
const STATEMENTS: usize = 6;
/// Blocks in blocks.
const DEPTH: usize = 3;

/// A variable that statements may use.
#[derive(Clone)]
struct Variable {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number(usize),
    /// `struct sN`
    Structure(usize),
    /// `struct sN *`
    Pointer(usize),
    /// `int [4]`
    Array,
}

/// A function that later ones call.
struct Function {
    name: String,
    parameters: Vec<Kind>,
}

/// A program being written.
struct Writer {
    random: Random,
    text: String,
    /// Members of each structure: indices into [`NUMBERS`].
    structures: Vec<Vec<usize>>,
    functions: Vec<Function>,
    variables: Vec<Variable>,
    names: usize,
}

/// The program of a seed.
pub(super) fn program(seed: u64) -> String {
    let mut writer = Writer {
        random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        text: format!(
            "// Seed {seed}.\n#define KEEP __attribute__((noinline))\nvolatile unsigned long sink;\n"
        ),
        structures: Vec::new(),
        functions: Vec::new(),
        variables: Vec::new(),
        names: 0,
    };
    // A few steps, so that small seeds differ from the start.
    for _ in 0..8 {
        writer.random.number();
    }
    for n in 0..3 {
        writer.structure(n);
    }
    for n in 0..FUNCTIONS {
        writer.function(n);
    }
    writer.main();
    writer.text
}

impl Writer {
    fn line(&mut self, depth: usize, line: &str) {
        let _ = writeln!(self.text, "{:1$}{line}", "", depth * 4);
    }

    fn structure(&mut self, n: usize) {
        let members: Vec<usize> =
            (0..1 + self.random.below(4)).map(|_| self.random.below(NUMBERS.len())).collect();
        let _ = writeln!(self.text, "struct s{n} {{");
        for (m, number) in members.iter().enumerate() {
            // Some are bit fields.
            let bits = match (NUMBERS[*number], self.random.below(4)) {
                ("int" | "unsigned" | "long", 0) => format!(" : {}", 3 + self.random.below(20)),
                _ => String::new(),
            };
            let _ = writeln!(self.text, "    {} m{m}{bits};", NUMBERS[*number]);
        }
        self.text.push_str("};\n");
        self.structures.push(members);
    }

    fn kind(&mut self) -> Kind {
        match self.random.below(10) {
            0 => Kind::Structure(self.random.below(self.structures.len())),
            1 => Kind::Pointer(self.random.below(self.structures.len())),
            _ => Kind::Number(self.random.below(NUMBERS.len())),
        }
    }

    fn declared(kind: Kind, name: &str) -> String {
        match kind {
            Kind::Number(number) => format!("{} {name}", NUMBERS[number]),
            Kind::Structure(n) => format!("struct s{n} {name}"),
            Kind::Pointer(n) => format!("struct s{n} *{name}"),
            Kind::Array => format!("int {name}[4]"),
        }
    }

    fn function(&mut self, n: usize) {
        let parameters: Vec<Kind> = (0..1 + self.random.below(7)).map(|_| self.kind()).collect();
        self.variables.clear();
        for (p, kind) in parameters.iter().enumerate() {
            self.variables.push(Variable { name: format!("p{p}"), kind: *kind });
        }
        let list: Vec<String> =
            self.variables.iter().map(|variable| Writer::declared(variable.kind, &variable.name)).collect();
        let inlined = if self.random.below(3) == 0 { "static inline" } else { "KEEP static" };
        let _ = writeln!(self.text, "{inlined} long f{n}({})\n{{", list.join(", "));
        self.block(1);
        let value = self.value(2);
        self.line(1, &format!("return (long)({value});"));
        self.text.push_str("}\n");
        self.functions.push(Function { name: format!("f{n}"), parameters });
    }

    fn block(&mut self, depth: usize) {
        let outer = self.variables.len();
        for _ in 0..2 + self.random.below(STATEMENTS) {
            self.statement(depth);
        }
        // What the block declared ends with it, but for a function's own.
        if depth > 1 {
            self.variables.truncate(outer);
        }
    }

    fn fresh(&mut self, kind: Kind) -> String {
        self.names += 1;
        let name = format!("v{}", self.names);
        self.variables.push(Variable { name: name.clone(), kind });
        name
    }

    fn statement(&mut self, depth: usize) {
        match self.random.below(12) {
            0..=2 => {
                let value = self.value(2);
                let number = self.random.below(NUMBERS.len());
                let name = self.fresh(Kind::Number(number));
                self.line(depth, &format!("{} {name} = ({})({value});", NUMBERS[number], NUMBERS[number]));
            }
            3 => {
                let n = self.random.below(self.structures.len());
                let values: Vec<String> = (0..self.structures[n].len()).map(|_| self.value(1)).collect();
                let name = self.fresh(Kind::Structure(n));
                let casts: Vec<String> = values.iter().map(|value| format!("(int)({value})")).collect();
                self.line(depth, &format!("struct s{n} {name} = {{ {} }};", casts.join(", ")));
                if self.random.below(2) == 0 {
                    let pointer = self.fresh(Kind::Pointer(n));
                    self.line(depth, &format!("struct s{n} *{pointer} = &{name};"));
                }
            }
            4 => {
                let values: Vec<String> = (0..4).map(|_| format!("(int)({})", self.value(1))).collect();
                let name = self.fresh(Kind::Array);
                self.line(depth, &format!("int {name}[4] = {{ {} }};", values.join(", ")));
            }
            5..=6 => {
                let value = self.value(2);
                self.line(depth, &format!("sink += (unsigned long)({value});"));
            }
            7 => {
                if let Some(place) = self.place() {
                    let value = self.value(2);
                    self.line(depth, &format!("{place} ^= (unsigned char)({value});"));
                }
            }
            8 if depth <= DEPTH => {
                self.names += 1;
                let name = format!("i{}", self.names);
                let rounds = 1 + self.random.below(4);
                self.line(depth, &format!("for (int {name} = 0; {name} < {rounds}; {name}++) {{"));
                let outer = self.variables.len();
                self.variables.push(Variable { name, kind: Kind::Number(0) });
                self.block(depth + 1);
                self.variables.truncate(outer);
                self.line(depth, "}");
            }
            9 if depth <= DEPTH => {
                let value = self.value(1);
                let bit = 1 << self.random.below(3);
                self.line(depth, &format!("if (({value}) & {bit}) {{"));
                self.block(depth + 1);
                self.line(depth, "} else {");
                self.block(depth + 1);
                self.line(depth, "}");
            }
            _ => {
                if let Some(call) = self.call() {
                    let name = self.fresh(Kind::Number(2));
                    self.line(depth, &format!("long {name} = {call};"));
                    self.line(depth, &format!("sink ^= (unsigned long){name};"));
                }
            }
        }
    }

    fn call(&mut self) -> Option<String> {
        if self.functions.is_empty() {
            return None;
        }
        let n = self.random.below(self.functions.len());
        let (name, parameters) = (self.functions[n].name.clone(), self.functions[n].parameters.clone());
        let mut arguments = Vec::new();
        for kind in parameters {
            arguments.push(match kind {
                Kind::Number(number) => format!("({})({})", NUMBERS[number], self.value(1)),
                Kind::Structure(_) | Kind::Pointer(_) | Kind::Array => self.of(kind)?,
            });
        }
        Some(format!("{name}({})", arguments.join(", ")))
    }

    /// A variable of a kind, or one made on the spot.
    fn of(&mut self, kind: Kind) -> Option<String> {
        let known: Vec<String> = self
            .variables
            .iter()
            .filter_map(|variable| match (variable.kind, kind) {
                (have, want) if have == want => Some(variable.name.clone()),
                (Kind::Structure(a), Kind::Pointer(b)) if a == b => Some(format!("&{}", variable.name)),
                (Kind::Pointer(a), Kind::Structure(b)) if a == b => Some(format!("*{}", variable.name)),
                _ => None,
            })
            .collect();
        if !known.is_empty() {
            return Some(known[self.random.below(known.len())].clone());
        }
        match kind {
            Kind::Structure(n) => Some(format!("(struct s{n}){{ {} }}", 1 + self.random.below(100))),
            Kind::Pointer(n) => Some(format!("&(struct s{n}){{ {} }}", 1 + self.random.below(100))),
            Kind::Number(_) | Kind::Array => None,
        }
    }

    /// Something that can be assigned to.
    fn place(&mut self) -> Option<String> {
        let variables: Vec<Variable> =
            self.variables.iter().filter(|variable| !variable.name.starts_with('i')).cloned().collect();
        let variable = variables.get(self.random.below(variables.len()))?.clone();
        Some(self.part(&variable))
    }

    fn part(&mut self, variable: &Variable) -> String {
        let name = &variable.name;
        match variable.kind {
            Kind::Number(_) => name.clone(),
            Kind::Structure(n) => format!("{name}.m{}", self.random.below(self.structures[n].len())),
            Kind::Pointer(n) => format!("{name}->m{}", self.random.below(self.structures[n].len())),
            Kind::Array => format!("{name}[{}]", self.random.below(4)),
        }
    }

    /// An expression of unsigned numbers.
    fn value(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.below(3) > 0 {
            let (left, right) = (self.value(depth - 1), self.value(depth - 1));
            let op = ["+", "-", "*", "^", "&", "|"][self.random.below(6)];
            return format!("({left} {op} {right})");
        }
        if self.variables.is_empty() || self.random.below(4) == 0 {
            return format!("{}ul", self.random.below(1000));
        }
        let variable = self.variables[self.random.below(self.variables.len())].clone();
        format!("(unsigned long){}", self.part(&variable))
    }

    fn main(&mut self) {
        self.variables.clear();
        self.text.push_str("int main(void)\n{\n");
        self.line(1, "for (int round = 0; round < 3; round++) {");
        self.variables.push(Variable { name: "round".to_owned(), kind: Kind::Number(0) });
        for n in 0..self.functions.len() {
            let parameters = self.functions[n].parameters.clone();
            let arguments: Vec<String> = parameters
                .into_iter()
                .map(|kind| match kind {
                    Kind::Number(number) => format!("({})({})", NUMBERS[number], self.value(2)),
                    Kind::Structure(s) => format!("(struct s{s}){{ round + {n} }}"),
                    Kind::Pointer(s) => format!("&(struct s{s}){{ round - {n} }}"),
                    Kind::Array => "0".to_owned(),
                })
                .collect();
            let name = self.functions[n].name.clone();
            self.line(2, &format!("sink += (unsigned long){name}({});", arguments.join(", ")));
        }
        self.line(1, "}");
        self.line(1, "return sink == 1;");
        self.text.push_str("}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_program() {
        assert_eq!(program(7), program(7));
        assert_ne!(program(7), program(8));
    }
}
