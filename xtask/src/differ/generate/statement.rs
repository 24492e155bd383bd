//! Statements: assignments, updates, output, jumps, loops, `try`.

use super::text::{CONVERSIONS, LATE};
use super::{ARRAYS, Generator, Long, Str, Ty};

impl Generator<'_> {
    pub(super) fn statements(&mut self, depth: usize) -> String {
        let mut text = String::new();
        while self.choices.below(4) != 0 && self.spend() {
            text += &self.statement(depth);
        }
        text
    }

    pub(super) fn block(&mut self, depth: usize) -> String {
        format!("{{\n{}  }}", self.statements(depth.saturating_sub(1)))
    }

    pub(super) fn statement(&mut self, depth: usize) -> String {
        let simple = depth == 0 || self.budget == 0;
        let kind = self.choices.below(if simple { 9 } else { 23 });
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
                    let others = ["ga", "gs", "st", "sa", "sm"];
                    let other = self.choices.of(&[name, name, name, "ga", "gs", "st", "sa", "sm"]);
                    let other = if self.visiting.contains(&other) { "gx" } else { other };
                    // Statistics are deleted where they can also be read.
                    let other = if self.modern || !others[2..].contains(&other) { other } else { "gt" };
                    self.used.insert(other, ());
                    format!("delete {other}")
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
            19 if self.modern => self.buckets(depth),
            20 => self.take_apart(depth),
            21 => self.search(depth),
            22 if self.visiting.is_empty() => self.test_and_set(depth),
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

    /// Reads, tests and writes several globals, all or nothing.
    fn test_and_set(&mut self, depth: usize) -> String {
        for name in ["ga", "gx", "al"] {
            self.used.insert(name, ());
        }
        let key = self.key(Long, 1);
        let (more, less) = (self.long(1), self.long(depth.min(1)));
        match self.choices.below(3) {
            0 => format!("if (ga > gx) {{ ga -= {more}; gx += {more}; al[{key}] = ga ^ gx; }}"),
            1 => format!(
                "if ([{key}] in al && al[{key}] >= ga) {{ gx = al[{key}]; al[{key}] = {less}; ga = gx - ga; }}"
            ),
            _ => {
                self.used.insert("gs", ());
                self.used.insert("gt", ());
                format!("if (gs != gt) {{ gt = gs; gs = {}; gx++; }}", self.str(1))
            }
        }
    }

    fn print(&mut self, depth: usize) -> String {
        self.late = true;
        let text = match self.choices.below(5) {
            0 => format!("printf(\"%d\\n\", {})", self.long(depth)),
            1 => format!("printf(\"%s\\n\", {})", self.str(depth)),
            2 => format!("println({})", self.expr_of_any(depth)),
            3 => format!("printdln(\"|\", {}, {})", self.expr_of_any(depth), self.expr_of_any(depth)),
            _ => {
                let all: Vec<_> = CONVERSIONS.iter().chain(&LATE).copied().collect();
                format!("printf({})", self.format(&all, "\\n", 4, depth))
            }
        };
        self.late = false;
        text
    }
}
