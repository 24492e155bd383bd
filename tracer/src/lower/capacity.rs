//! Capacities of strings: the most bytes, NUL included, that a variable, key or result can ever hold.
//!
//! A fixpoint over the whole program: capacities only grow, and one that goes on growing (`s = s . "x"` in a loop)
//! jumps to MAXSTRINGLEN. Since a capacity is never less than what the script can put there, cutting happens only
//! where stap cuts too: at MAXSTRINGLEN.

use tracer_common::format::{ConversionKind, Part, Size};
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::SiteFact;
use tracer_common::limits::Limits;
use tracer_common::packed;

use crate::sema::program::{
    Element, Expr, ExprKind, Iterated, Local, LocalId, Place, Program, Stmt, StmtKind, TargetValue, Ty,
};
use crate::sema::walk;

/// Rounds after which whatever still grows is given MAXSTRINGLEN.
const ROUNDS: usize = 6;
/// `comm` of a task.
const EXECNAME: u32 = 16;
/// What `ctime` makes.
const MOMENT: u32 = 25;
/// Digits of any number in any base, with a sign and a prefix.
const NUMBER: u32 = 26;

/// Capacities of everything that has a name. Longs have 0.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Capacities {
    max: u32,
    /// The longest fact of any site, by fact.
    facts: [u32; 5],
    /// Of each global's value.
    globals: Vec<u32>,
    /// Of each global's keys.
    keys: Vec<Vec<u32>>,
    /// Of each function's locals.
    functions: Vec<Vec<u32>>,
    /// Of each function's result.
    results: Vec<u32>,
    /// Of each probe's locals.
    probes: Vec<Vec<u32>>,
    /// Of what is searched, anywhere.
    searched: u32,
}

/// The body that an expression stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The n-th function.
    Function(usize),
    /// The n-th probe.
    Probe(usize),
}

fn fact_index(fact: SiteFact) -> usize {
    match fact {
        SiteFact::ProbePoint => 0,
        SiteFact::Function => 1,
        SiteFact::Name => 2,
        SiteFact::Provider => 3,
        SiteFact::Alias => 4,
    }
}

impl Capacities {
    /// Infers the capacities of a program.
    pub(super) fn infer(program: &Program, limits: &Limits) -> Capacities {
        let zero = |locals: &[Local]| locals.iter().map(|l| u32::from(l.ty == Ty::Str)).collect::<Vec<_>>();
        let mut facts = [1; 5];
        for site in &program.sites {
            for fact in [
                SiteFact::ProbePoint,
                SiteFact::Function,
                SiteFact::Name,
                SiteFact::Provider,
                SiteFact::Alias,
            ] {
                let longest = &mut facts[fact_index(fact)];
                *longest = (*longest).max(site.fact(fact).len() as u32 + 1);
            }
        }
        let mut capacities = Capacities {
            max: u32::from(limits.string_len),
            facts,
            globals: program
                .globals
                .iter()
                .map(|g| match &g.init {
                    Some(crate::sema::program::Literal::Str(text)) => text.as_bytes().len() as u32 + 1,
                    _ => 1,
                })
                .collect(),
            keys: program
                .globals
                .iter()
                .map(|g| g.keys.iter().map(|ty| u32::from(*ty == Ty::Str)).collect())
                .collect(),
            functions: program.functions.iter().map(|f| zero(&f.locals)).collect(),
            results: program.functions.iter().map(|_| 1).collect(),
            probes: program.probes.iter().map(|p| zero(&p.locals)).collect(),
            searched: 1,
        };
        for round in 0.. {
            let before = capacities.clone();
            for (n, function) in program.functions.iter().enumerate() {
                capacities.body(Owner::Function(n), &function.body);
            }
            for (n, probe) in program.probes.iter().enumerate() {
                capacities.body(Owner::Probe(n), &probe.body);
                for saved in &probe.saved {
                    walk::expr(saved, &mut |e| capacities.visit(Owner::Probe(n), e));
                }
            }
            if capacities == before {
                break;
            }
            if round >= ROUNDS {
                capacities.widen(&before);
            }
        }
        capacities
    }

    /// The IR type of a local.
    pub(super) fn local(&self, owner: Owner, local: LocalId) -> u16 {
        self.clip(self.locals(owner)[local.0 as usize])
    }

    /// The capacity of a global's value.
    pub(super) fn global(&self, global: u32) -> u16 {
        self.clip(self.globals[global as usize])
    }

    /// The capacity of a global's n-th key.
    pub(super) fn key(&self, global: u32, n: usize) -> u16 {
        self.clip(self.keys[global as usize][n])
    }

    /// The capacity of a function's result.
    pub(super) fn result(&self, function: u32) -> u16 {
        self.clip(self.results[function as usize])
    }

    /// The capacity that an expression's value needs.
    pub(super) fn expr(&self, owner: Owner, expr: &Expr) -> u16 {
        self.clip(self.of(owner, expr))
    }

    fn clip(&self, capacity: u32) -> u16 {
        capacity.clamp(1, u32::from(u16::MAX)) as u16
    }

    fn locals(&self, owner: Owner) -> &Vec<u32> {
        match owner {
            Owner::Function(n) => &self.functions[n],
            Owner::Probe(n) => &self.probes[n],
        }
    }

    fn local_mut(&mut self, owner: Owner, local: LocalId) -> &mut u32 {
        let locals = match owner {
            Owner::Function(n) => &mut self.functions[n],
            Owner::Probe(n) => &mut self.probes[n],
        };
        &mut locals[local.0 as usize]
    }

    fn widen(&mut self, before: &Capacities) {
        let max = self.max;
        let grow = |now: &mut Vec<u32>, then: &Vec<u32>| {
            for (now, then) in now.iter_mut().zip(then) {
                if now != then {
                    *now = max;
                }
            }
        };
        if self.searched != before.searched {
            self.searched = max;
        }
        grow(&mut self.globals, &before.globals);
        grow(&mut self.results, &before.results);
        for (now, then) in self.keys.iter_mut().zip(&before.keys) {
            grow(now, then);
        }
        for (now, then) in self.functions.iter_mut().zip(&before.functions) {
            grow(now, then);
        }
        for (now, then) in self.probes.iter_mut().zip(&before.probes) {
            grow(now, then);
        }
    }

    fn body(&mut self, owner: Owner, body: &[Stmt]) {
        walk::stmts(body, &mut |stmt| match &stmt.kind {
            StmtKind::Return(Some(value)) if value.ty == Ty::Str => {
                if let Owner::Function(n) = owner {
                    let capacity = self.of(owner, value);
                    raise(&mut self.results[n], capacity);
                }
            }
            StmtKind::Foreach(foreach) => {
                if let Iterated::Array { global, slice } = &foreach.over {
                    self.pass_keys(owner, global.0, slice.iter().map(Option::as_ref));
                    for (n, key) in foreach.keys.iter().enumerate() {
                        let capacity = self.keys[global.0 as usize][n];
                        raise(self.local_mut(owner, *key), capacity);
                    }
                    if let Some(value) = foreach.value {
                        let capacity = self.globals[global.0 as usize];
                        raise(self.local_mut(owner, value), capacity);
                    }
                }
            }
            StmtKind::Delete { global, keys } => {
                self.pass_keys(owner, global.0, keys.iter().map(Option::as_ref));
            }
            StmtKind::Try { message: Some(message), .. } => {
                let max = self.max;
                raise(self.local_mut(owner, *message), max);
            }
            _ => {}
        });
        walk::exprs(body, &mut |e| self.visit(owner, e));
    }

    fn pass_keys<'a>(&mut self, owner: Owner, global: u32, keys: impl Iterator<Item = Option<&'a Expr>>) {
        for (n, key) in keys.enumerate() {
            if let Some(key) = key.filter(|k| k.ty == Ty::Str) {
                let capacity = self.of(owner, key);
                raise(&mut self.keys[global as usize][n], capacity);
            }
        }
    }

    fn pass_element(&mut self, owner: Owner, element: &Element) {
        self.pass_keys(owner, element.global.0, element.keys.iter().map(Some));
    }

    fn visit(&mut self, owner: Owner, expr: &Expr) {
        match &expr.kind {
            ExprKind::Get(element)
            | ExprKind::Aggregate { element, .. }
            | ExprKind::Bucket { element, .. }
            | ExprKind::Hist { element, .. } => self.pass_element(owner, element),
            ExprKind::Contains { global, keys } | ExprKind::Stat { global, keys, .. } => {
                self.pass_keys(owner, global.0, keys.iter().map(Option::as_ref));
            }
            ExprKind::Assign { place, value } | ExprKind::Append { place, value } => {
                let mut capacity = if value.ty == Ty::Str { self.of(owner, value) } else { 0 };
                if matches!(expr.kind, ExprKind::Append { .. }) {
                    // Clipped here too, or what is appended to in a loop would grow for ever.
                    capacity = (capacity + self.of_place(owner, place).saturating_sub(1)).min(self.max);
                }
                self.pass_place(owner, place, capacity);
            }
            ExprKind::Match { subject, .. } => {
                let capacity = self.of(owner, subject);
                raise(&mut self.searched, capacity);
            }
            ExprKind::Modify { place, .. } | ExprKind::Crement { place, .. } => {
                self.pass_place(owner, place, 0);
            }
            ExprKind::Call { function, args } => {
                for (n, arg) in args.iter().enumerate() {
                    if arg.ty == Ty::Str {
                        let capacity = self.of(owner, arg);
                        raise(&mut self.functions[function.0 as usize][n], capacity);
                    }
                }
            }
            _ => {}
        }
    }

    fn pass_place(&mut self, owner: Owner, place: &Place, capacity: u32) {
        match place {
            Place::Local(local) => raise(self.local_mut(owner, *local), capacity),
            Place::Global(element) => {
                self.pass_element(owner, element);
                raise(&mut self.globals[element.global.0 as usize], capacity);
            }
            Place::Target(_) => {}
        }
    }

    fn of_place(&self, owner: Owner, place: &Place) -> u32 {
        match place {
            Place::Local(local) => self.locals(owner)[local.0 as usize],
            Place::Global(element) => self.globals[element.global.0 as usize],
            Place::Target(_) => 0,
        }
    }

    fn of(&self, owner: Owner, expr: &Expr) -> u32 {
        if let ExprKind::Intrinsic { intrinsic: Intrinsic::UserBytes | Intrinsic::KernelBytes, args } =
            &expr.kind
        {
            return self.of_bytes(args);
        }
        let capacity = match &expr.kind {
            ExprKind::Str(text) => text.as_bytes().len() as u32 + 1,
            ExprKind::Local(local) => self.locals(owner)[local.0 as usize],
            ExprKind::Get(element) => self.globals[element.global.0 as usize],
            ExprKind::Concat(left, right) => self.of(owner, left) + self.of(owner, right) - 1,
            ExprKind::Ternary { then, otherwise, .. } => self.of(owner, then).max(self.of(owner, otherwise)),
            ExprKind::Assign { value, .. } => self.of(owner, value),
            ExprKind::Append { place, .. } => self.of_place(owner, place),
            ExprKind::Call { function, .. } => self.results[function.0 as usize],
            ExprKind::Fact(fact) => self.facts[fact_index(*fact)],
            ExprKind::Intrinsic { intrinsic, args } => match (intrinsic, args.as_slice()) {
                (Intrinsic::Execname, _) => EXECNAME,
                (Intrinsic::SearchText | Intrinsic::Matched, _) => self.searched,
                (Intrinsic::Word | Intrinsic::FirstWords, [text, _]) => self.of(owner, text),
                (Intrinsic::Ctime, _) => MOMENT,
                // Four bytes for one, and quotation marks.
                (Intrinsic::Quote, [text, ..]) => 4 * self.of(owner, text) + 2,
                (Intrinsic::Substr, [text, _, length]) => {
                    let text = self.of(owner, text);
                    match length.kind {
                        ExprKind::Number(n) if n >= 0 => text.min(n.min(1 << 20) as u32 + 1),
                        _ => text,
                    }
                }
                (
                    Intrinsic::UserStringN | Intrinsic::KernelStringN,
                    [_, Expr { kind: ExprKind::Number(n), .. }],
                ) if *n >= 0 => (*n).min(1 << 20) as u32 + 1,
                _ => self.max,
            },
            ExprKind::Print { format, args, .. } => self.of_format(owner, format, args),
            ExprKind::Target(target) => match &target.value {
                TargetValue::Value(_) => 1,
                TargetValue::List { .. } | TargetValue::Pretty { .. } => self.max,
            },
            _ => self.max,
        };
        capacity.clamp(1, self.max)
    }

    /// Packed bytes, which are no text of the script's: as many as can become a text as long as there is. The third argument is
    /// how many of them may be one character.
    fn of_bytes(&self, args: &[Expr]) -> u32 {
        let number = |n: usize| match args.get(n).map(|arg| &arg.kind) {
            Some(ExprKind::Number(number)) => Some(*number),
            _ => None,
        };
        let most = (self.max - 1) * number(2).unwrap_or(0).clamp(1, 4) as u32;
        packed::capacity(number(1).filter(|n| *n >= 0).map_or(most, |n| most.min(n.min(1 << 20) as u32)))
    }

    /// The longest text that a format can make; MAXSTRINGLEN where a width is not known.
    fn of_format(&self, owner: Owner, format: &[Part], args: &[Expr]) -> u32 {
        let mut total = 1;
        let mut args = args.iter();
        for part in format {
            match part {
                Part::Text(text) => total += text.len() as u32,
                Part::Conversion(conversion) => {
                    if [conversion.width, conversion.precision].contains(&Some(Size::Argument)) {
                        return self.max;
                    }
                    let fixed = |size| match size {
                        Some(Size::Fixed(n)) => n,
                        _ => 0,
                    };
                    let value = match conversion.kind {
                        ConversionKind::String => args.next().map_or(self.max, |a| self.of(owner, a)),
                        ConversionKind::Memory | ConversionKind::MemoryHex => return self.max,
                        _ => {
                            args.next();
                            NUMBER
                        }
                    };
                    total += value.max(fixed(conversion.width)).max(fixed(conversion.precision) + 2);
                }
            }
        }
        total
    }
}

fn raise(to: &mut u32, capacity: u32) {
    *to = (*to).max(capacity);
}
