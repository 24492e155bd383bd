//! Values: numbers, strings, elements, calls, and what can be assigned to.

use super::{ARRAYS, Generator, Long, NUMBERS, STATS, STRINGS, Str, Ty};

impl Generator<'_> {
    pub(super) fn expr_of_any(&mut self, depth: usize) -> String {
        let ty = self.choices.of(&[Long, Str]);
        self.expr(ty, depth)
    }

    pub(super) fn expr(&mut self, ty: Ty, depth: usize) -> String {
        match ty {
            Long => self.long(depth),
            Str => self.str(depth),
        }
    }

    pub(super) fn long(&mut self, depth: usize) -> String {
        let simple = depth == 0 || !self.spend();
        let less = depth.saturating_sub(1);
        match self.choices.below(if simple { 5 } else { 29 }) {
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
            23 => self.is_found(less),
            24 | 25 => self.number_of_text(less),
            26 if self.modern => self.bucket(less),
            27 if !self.late => {
                self.matches = true;
                "ngroups()".to_owned()
            }
            28 => match self.recurse(less) {
                Some(again) if self.recursion.as_ref().is_some_and(|(of, _)| of.result == Long) => again,
                _ => self.number_of_text(less),
            },
            18 => format!("stringat({}, {})", self.str(less), self.long(less)),
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

    pub(super) fn str(&mut self, depth: usize) -> String {
        let simple = depth == 0 || !self.spend();
        let less = depth.saturating_sub(1);
        match self.choices.below(if simple { 4 } else { 18 }) {
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
            14..=16 => self.text_of_text(less),
            17 => match self.recurse(less) {
                Some(again) if self.recursion.as_ref().is_some_and(|(of, _)| of.result == Str) => again,
                _ => self.text_of_text(less),
            },
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

    pub(super) fn call(&mut self, result: Option<Ty>, depth: usize) -> Option<String> {
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
        let mut args: Vec<String> = params.iter().map(|ty| self.expr(*ty, depth)).collect();
        if self.functions[n].recursive {
            args[0] = format!("({} & 7)", args[0]);
        }
        Some(format!("{}({})", self.functions[n].name, args.join(", ")))
    }

    /// A function calls itself, with one less.
    pub(super) fn recurse(&mut self, depth: usize) -> Option<String> {
        let (function, left) = self.recursion.as_mut()?;
        *left = left.checked_sub(1)?;
        let function = function.clone();
        let mut args = vec!["p0 - 1".to_owned()];
        for ty in &function.params[1..] {
            args.push(self.expr(*ty, depth));
        }
        Some(format!("{}({})", function.name, args.join(", ")))
    }

    pub(super) fn local(&mut self, ty: Ty) -> String {
        let name = match ty {
            Long => self.choices.of(&["x", "y"]),
            Str => self.choices.of(&["s", "t"]),
        };
        self.locals.insert(name.to_owned(), ty);
        name.to_owned()
    }

    /// Something that can be assigned to.
    pub(super) fn place_of(&mut self, ty: Ty, depth: usize) -> String {
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

    pub(super) fn statistic_place(&mut self, depth: usize) -> (String, &'static str) {
        let (name, keys) = self.choices.of(&STATS);
        let (name, keys) = if self.visiting.contains(&name) { STATS[0] } else { (name, keys) };
        self.used.insert(name, ());
        (if keys.is_empty() { name.to_owned() } else { self.place(name, keys, depth) }, name)
    }

    pub(super) fn place(&mut self, name: &str, keys: &[Ty], depth: usize) -> String {
        let keys: Vec<String> = keys.iter().map(|ty| self.key(*ty, depth)).collect();
        format!("{name}[{}]", keys.join(", "))
    }

    /// A key: mostly one of few, so that elements are met again.
    pub(super) fn key(&mut self, ty: Ty, depth: usize) -> String {
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
