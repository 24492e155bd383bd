//! What visits arrays: `foreach` in its forms, slices, numbers of statistics.
//!
//! A sorted `foreach` leaves the array sorted in the user domain and not in the kernel, so a script either sorts, by
//! keys that are all different, or visits in the order of insertion. Inside a loop nothing changes what it visits.

use super::{ARRAYS, Generator, Long, STATS, Str, Ty, histogram};

impl Generator<'_> {
    /// A `foreach` that decides something: how often it went round.
    pub(super) fn foreach(&mut self, depth: usize) -> String {
        if self.sorted && self.choices.one_in(2) {
            return self.by_value(depth);
        }
        let n = self.visits;
        self.visits += 1;
        let value = (!self.sorted && self.choices.one_in(3)).then(|| format!("fv{n}"));
        let statistic = value.is_none() && !self.sorted && self.choices.one_in(4);
        let (name, keys, ty): (&'static str, &'static [Ty], Ty) = if self.sorted {
            self.choices.of(&[ARRAYS[0], ARRAYS[3]])
        } else if statistic {
            let (name, keys) = self.choices.of(&STATS[1..]);
            (name, keys, Long)
        } else {
            self.choices.of(&ARRAYS)
        };
        let slice = if !self.sorted && self.choices.one_in(3) {
            self.slice(name, keys, depth)
        } else {
            name.to_owned()
        };
        self.used.insert(name, ());
        let names: Vec<String> = (0..keys.len()).map(|k| format!("fk{n}_{k}")).collect();
        let mut shown = names.clone();
        if self.sorted {
            shown[0] += self.choices.of(&["+", "-"]);
        }
        let limit = if self.choices.one_in(3) { format!(" limit {}", self.long(1)) } else { String::new() };
        let counter = format!("fn{n}");
        self.locals.insert(counter.clone(), Long);
        let (longs, strings) = (self.longs.len(), self.strings.len());
        for (key, ty) in names.iter().zip(keys) {
            match ty {
                Long => self.longs.push(key.clone()),
                Str => self.strings.push(key.clone()),
            }
        }
        if let Some(value) = &value {
            match ty {
                Long => self.longs.push(value.clone()),
                Str => self.strings.push(value.clone()),
            }
        }
        self.visiting.push(name);
        self.loops += 1;
        let body = self.block(depth);
        self.loops -= 1;
        self.visiting.pop();
        self.longs.truncate(longs);
        self.strings.truncate(strings);
        self.used.insert("ga", ());
        let value = value.map_or(String::new(), |value| format!("{value} = "));
        let shown = shown.join(", ");
        format!(
            "foreach ({value}[{shown}] in {slice}{limit}) {{ {counter}++;\n  {body} }}\n  ga += {counter}"
        )
    }

    /// A `foreach` in the order of values, which looks at nothing else: equal ones come in any order.
    fn by_value(&mut self, depth: usize) -> String {
        let n = self.visits;
        self.visits += 1;
        let key = format!("fk{n}");
        let op = self.choices.of(&["", "count", "sum", "min", "max", "avg"]);
        let name: &'static str = if op.is_empty() { "al" } else { "sa" };
        let (sort, value) = match op {
            "" => ("al".to_owned(), format!("al[{key}]")),
            _ => (format!("sa @{op}"), format!("@{op}(sa[{key}])")),
        };
        let sign = self.choices.of(&["+", "-"]);
        let limit = if self.choices.one_in(2) { format!(" limit {}", self.long(1)) } else { String::new() };
        self.used.insert(name, ());
        self.used.insert("gx", ());
        let sum = format!("fn{n}");
        self.locals.insert(sum.clone(), Long);
        self.visiting.push(name);
        self.loops += 1;
        let body = self.block(depth.min(1));
        self.loops -= 1;
        self.visiting.pop();
        format!(
            "foreach ({key} in {sort}{sign}{limit}) {{ {sum} = {sum} * 3 + {value};\n  {body} }}\n  gx = {sum}"
        )
    }

    /// An array with some of its keys.
    fn slice(&mut self, name: &str, keys: &[Ty], depth: usize) -> String {
        let keys: Vec<String> = keys
            .iter()
            .map(|ty| if self.choices.one_in(2) { "*".to_owned() } else { self.key(*ty, depth.min(1)) })
            .collect();
        format!("{name}[{}]", keys.join(", "))
    }

    /// Deletes a slice.
    pub(super) fn delete_slice(&mut self, depth: usize) -> Option<String> {
        let (name, keys, _) = self.choices.of(&ARRAYS);
        if self.visiting.contains(&name) {
            return None;
        }
        self.used.insert(name, ());
        Some(format!("delete {}", self.slice(name, keys, depth)))
    }

    /// Whether an array has something of a slice.
    pub(super) fn contains_slice(&mut self, depth: usize) -> String {
        let (name, keys, _) = self.choices.of(&ARRAYS);
        self.used.insert(name, ());
        let slice = self.slice(name, keys, depth);
        format!("({} in {name})", &slice[name.len()..])
    }

    /// A number of a statistic, or of a slice of one.
    pub(super) fn extractor(&mut self, depth: usize) -> String {
        let op = self.choices.of(&["count", "sum", "min", "max", "avg", "variance"]);
        let (name, keys) = self.choices.of(&STATS);
        self.used.insert(name, ());
        let place = if keys.is_empty() {
            name.to_owned()
        } else if self.choices.one_in(2) {
            self.slice(name, keys, depth)
        } else {
            self.place(name, keys, depth)
        };
        let shift = if op == "variance" { self.shift } else { "" };
        format!("@{op}({place}{shift})")
    }

    /// The count of a bucket.
    pub(super) fn bucket(&mut self, depth: usize) -> String {
        let (place, name) = self.statistic_place(depth);
        let histogram = histogram(name, &place);
        let index = self.choices.of(&["0", "1", "3", "64", "66"]);
        match self.choices.below(3) {
            0 => format!("{histogram}[{index}]"),
            1 => format!("({index} in {histogram})"),
            _ => format!("{histogram}[{}]", self.long(depth)),
        }
    }

    /// Visits the buckets of a histogram.
    pub(super) fn buckets(&mut self, depth: usize) -> String {
        let n = self.visits;
        self.visits += 1;
        let (place, name) = self.statistic_place(1);
        let histogram = histogram(name, &place);
        let limit = if self.choices.one_in(2) { format!(" limit {}", self.long(1)) } else { String::new() };
        let counted = format!("fn{n}");
        self.locals.insert(counted.clone(), Long);
        self.used.insert("gx", ());
        self.used.insert("ga", ());
        let visited = self.visiting.contains(&name);
        if !visited {
            self.visiting.push(name);
        }
        self.loops += 1;
        let body = if self.choices.one_in(3) { self.block(depth.min(1)) } else { "{ }".to_owned() };
        self.loops -= 1;
        if !visited {
            self.visiting.pop();
        }
        format!(
            "foreach (fv{n} = fb{n} in {histogram}{limit}) {{ {counted} += fb{n} * fv{n};\n  {body} }}\n  gx = {counted}; ga ^= gx"
        )
    }
}
