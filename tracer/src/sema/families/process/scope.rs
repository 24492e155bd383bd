//! Variables at a place of a program.

use std::collections::BTreeSet;
use std::rc::Rc;

use tracer_common::ir::{Space, Width};

use super::file::{self, no_information, walk};
use super::module::Module;
use super::thread_local;
use crate::debuginfo::dwarf::{DebugInfo, Instance, Role, Variable};
use crate::debuginfo::model::{Absence, Entry, LocOp, Location, Shape, TypeId, Types};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::families::kernel::{ARGUMENTS, RESULT};
use crate::sema::family::{Resolved, TargetScope};
use crate::sema::program::{Access, Entered, PrettyPart, TargetValue, Unlisted};
use crate::sema::target_var::{At, Loaded, Moved, WORD, Walk, plus, start, unknown};
use crate::source::Span;
use crate::syntax::ast::{Pretty, TargetExpr, TargetRoot};

/// When the handler runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// At the instruction whose variables are meant.
    Here,
    /// At the function's return; parameters are as they were at its entry.
    Return,
    /// At the instruction that calls the function: nothing is pushed yet.
    Call(u64),
}

/// Variables of a function with debug information.
pub(super) struct CodeScope {
    module: Rc<Module>,
    instance: Instance,
    address: u64,
    moment: Moment,
}

/// The stack pointer and the frame pointer.
const RSP: u8 = 7;
const RBP: u8 = 6;
/// The x86-64 calling convention: bytes of a return address, and bytes that come in two registers.
const WORD_BYTES: i64 = 8;
const TWO_WORDS: u64 = 16;

/// A module in the process of the hit.
struct InProcess<'m> {
    module: &'m Module,
    moved: Moved,
    /// The instruction whose variables are meant.
    at: u64,
}

impl Loaded for InProcess<'_> {
    fn moved(&self) -> Moved {
        self.moved.clone()
    }

    fn thread_local(&self) -> Result<Access, String> {
        thread_local::block(&self.module.elf, &self.moved)
    }

    fn entered(&self, register: u8, entry: &Entry) -> Result<Access, String> {
        let elf = &self.module.elf;
        if elf.loops(entry.low, entry.high) {
            return Err(
                "it is known by a value of the function's entry, and the function begins with a loop, \
                        whose every round would count as an entry"
                    .to_owned(),
            );
        }
        if self.at == entry.low {
            return Ok(Access::Register(register, WORD));
        }
        let offset = elf.file_offset(entry.low).ok_or("its function has no code in the file")?;
        let (base, by) = entry.cfa;
        Ok(Access::Entered(Box::new(Entered {
            register,
            offset,
            address: self.moved.address(entry.low),
            cfa: plus(Access::Register(base, WORD), by),
        })))
    }
}

impl CodeScope {
    /// At an instruction.
    pub(super) fn at(module: &Rc<Module>, instance: Instance, address: u64) -> CodeScope {
        CodeScope { module: module.clone(), instance, address, moment: Moment::Here }
    }

    /// At a function's return.
    pub(super) fn at_return(module: &Rc<Module>, instance: Instance) -> CodeScope {
        let address = instance.function.low;
        CodeScope { module: module.clone(), instance, address, moment: Moment::Return }
    }

    /// At an instruction that calls the function.
    pub(super) fn at_call(module: &Rc<Module>, instance: Instance, call: u64) -> CodeScope {
        let address = instance.function.low;
        CodeScope { module: module.clone(), instance, address, moment: Moment::Call(call) }
    }

    fn info(&self) -> Option<&DebugInfo> {
        self.module.info()
    }

    fn loaded(&self, at_return: bool) -> InProcess<'_> {
        InProcess { module: &self.module, moved: self.moved(at_return), at: self.address }
    }

    fn moved(&self, at_return: bool) -> Moved {
        match self.moment {
            _ if !self.module.elf.is_moved() => Moved::No,
            Moment::Return if at_return => Moved::Entry(self.address),
            Moment::Here | Moment::Return => Moved::Hit(self.address),
            Moment::Call(call) => Moved::Hit(call),
        }
    }

    /// Parameters and locals, and how to read them where the handler, or the entry of a return probe, runs.
    fn variables(&self, info: &DebugInfo) -> Vec<(Variable, Result<At, String>)> {
        let mut next = Some(0);
        let result = info.result(&self.instance.function);
        // A structure that is returned in memory takes the first register for its address.
        if let Some(ty) = result
            && matches!(info.types().shape(ty), Shape::Aggregate)
            && info.types().size(ty) > TWO_WORDS
        {
            next = Some(1);
        }
        info.variables(&self.instance, self.address)
            .into_iter()
            .filter(|variable| self.moment == Moment::Here || variable.role == Role::Parameter)
            .map(|variable| {
                let register = (variable.role == Role::Parameter)
                    .then(|| convention(info, &variable, &mut next))
                    .flatten();
                let at = self.place(info, &variable, register);
                (variable, at)
            })
            .collect()
    }

    fn place(&self, info: &DebugInfo, variable: &Variable, register: Option<u8>) -> Result<At, String> {
        let at_entry = self.address == self.instance.function.low && !self.instance.inlined;
        let mut location = match &variable.location {
            // At the first instruction there is no frame yet: parameters are where the calling convention puts them.
            // In optimised code, what is in a register for the whole function is there already.
            Ok(location) if at_entry && variable.fixed => {
                let optimized = info.is_optimized(&self.instance.function);
                if optimized && !matches!(location, Location::Memory(_)) {
                    location.clone()
                } else if variable.role != Role::Parameter {
                    return Err("the function's prologue has not made room for it yet".to_owned());
                } else {
                    match (on_stack(location), register) {
                        (Some(location), _) => location,
                        (None, Some(register)) if self.keeps_convention(info, optimized) => {
                            Location::Register(register)
                        }
                        _ => return Err("the prologue has not put it anywhere yet".to_owned()),
                    }
                }
            }
            Ok(location) => location.clone(),
            Err(absence) => return Err(self.absent(info, absence)),
        };
        if let Moment::Call(_) = self.moment {
            location = before_push(location).ok_or("it is not ready at the call")?;
        }
        start(&location, &self.loaded(false))
    }

    /// Whether a function takes its parameters as the calling convention says. The compiler may drop and change those of
    /// functions that nobody else calls.
    fn keeps_convention(&self, info: &DebugInfo, optimized: bool) -> bool {
        let function = &self.instance.function;
        !optimized
            || info.is_exported(function)
                && !self.module.symbol_at(function.low).is_some_and(|symbol| symbol.name.contains('.'))
    }

    fn absent(&self, info: &DebugInfo, absence: &Absence) -> String {
        let (why, address) = match absence {
            Absence::NotHere(address) => ("it is not live here".to_owned(), *address),
            Absence::Until(why, address) => (why.to_string(), *address),
            Absence::OptimizedOut | Absence::Unsupported(_) | Absence::Unreadable(_) => {
                return absence.to_string();
            }
        };
        match info.line_at(address) {
            Some(line) => {
                let file = line.file.rsplit('/').next().unwrap_or_default();
                format!("{why}; it is at {file}:{} (0x{address:x})", line.line)
            }
            None => absence.to_string(),
        }
    }

    fn special(
        &self,
        info: &DebugInfo,
        (name, pretty): (&str, Option<Pretty>),
        span: Span,
        at_entry: bool,
    ) -> Result<Resolved, Diagnostic> {
        let wanted = |role: Role| match name {
            "parms" => role == Role::Parameter,
            "locals" => role == Role::Local,
            _ => true,
        };
        let variables: Vec<_> = match name {
            "parms" | "vars" | "locals" => {
                self.variables(info).into_iter().filter(|(variable, _)| wanted(variable.role)).collect()
            }
            "return" => {
                let ty = info.result(&self.instance.function).filter(|_| self.moment == Moment::Return);
                let found = ty.map(|ty| ("return".to_owned(), result(info, ty), ty));
                return Ok(list(info, pretty, found));
            }
            other => {
                return Err(Diagnostic::error(Code::UnresolvedTarget, span, format!("no $${other}"))
                    .hint("there are: $$vars, $$parms, $$locals, $$return, $$name"));
            }
        };
        // What was at the entry is kept as numbers.
        let pretty = pretty.filter(|_| self.moment != Moment::Return);
        let found = variables.into_iter().map(|(variable, at)| (variable.name, at, variable.ty));
        Ok(Resolved { at_entry: self.moment == Moment::Return && !at_entry, ..list(info, pretty, found) })
    }

    /// `$name`: where it is, its type, whether it is read at the entry of a return probe.
    fn variable(
        &self,
        info: &DebugInfo,
        name: &str,
        span: Span,
        at_entry: bool,
    ) -> Result<(At, TypeId, bool), Diagnostic> {
        let cannot = |why: String| {
            Diagnostic::error(
                Code::UnresolvedTarget,
                span,
                format!("${name} of {} cannot be read here: {why}", self.instance.name),
            )
        };
        let variables = self.variables(info);
        if let Some((variable, at)) = variables.into_iter().find(|(variable, _)| variable.name == name) {
            return at.map(|at| (at, variable.ty, self.moment == Moment::Return)).map_err(cannot);
        }
        // A variable of the file; only those of this unit are in sight.
        if let Some(variable) = info.globals(name, Some(&self.instance.function)).into_iter().next() {
            return self.global(info, &variable, at_entry).map_err(cannot);
        }
        let known: Vec<String> = info
            .variables(&self.instance, self.address)
            .into_iter()
            .filter(|variable| self.moment == Moment::Here || variable.role == Role::Parameter)
            .map(|variable| variable.name)
            .collect();
        Err(unknown(name, &known, span, &self.instance.name))
    }

    fn global(
        &self,
        info: &DebugInfo,
        variable: &Variable,
        at_entry: bool,
    ) -> Result<(At, TypeId, bool), String> {
        let location = variable.location.as_ref().map_err(|absence| self.absent(info, absence))?;
        let at = start(location, &self.loaded(!at_entry))?;
        Ok((at, variable.ty, false))
    }
}

/// The register of a parameter by the calling convention. `next`: how many are taken; `None` once a parameter was passed
/// in a way that we cannot count on.
fn convention(info: &DebugInfo, variable: &Variable, next: &mut Option<usize>) -> Option<u8> {
    let taken = (*next)?;
    let types = info.types();
    match types.shape(variable.ty) {
        Shape::Number { bytes, .. } if bytes <= 8 => {}
        Shape::Pointer(_) => {}
        // In vector registers, or on the stack.
        Shape::Float(_) => return None,
        Shape::Aggregate if types.size(variable.ty) > TWO_WORDS => return None,
        // Some of its words may be in vector registers.
        Shape::Aggregate | Shape::Number { .. } | Shape::Array(..) | Shape::Nothing => {
            *next = None;
            return None;
        }
    }
    *next = Some(taken + 1);
    ARGUMENTS.get(taken).copied()
}

/// A parameter that the caller left on the stack, as seen at the first instruction: above the return address.
fn on_stack(location: &Location) -> Option<Location> {
    let Location::Memory(steps) = location else { return None };
    let (base, offset) = match steps.as_slice() {
        [LocOp::Register(base, offset)] => (*base, *offset),
        [LocOp::Register(base, offset), LocOp::Const(more), LocOp::Add] => {
            (*base, offset.checked_add(*more)?)
        }
        _ => return None,
    };
    let above = match base {
        // The canonical frame address at the first instruction is the stack pointer plus a word.
        RSP => offset,
        // Once the prologue has pushed and set it, the frame pointer is a word lower.
        RBP => offset.checked_sub(WORD_BYTES)?,
        _ => return None,
    };
    (above >= WORD_BYTES).then(|| Location::Memory(vec![LocOp::Register(RSP, above)]))
}

/// A location at a function's first instruction, as seen at the call: the stack pointer is a word higher.
fn before_push(location: Location) -> Option<Location> {
    let steps = |steps: Vec<LocOp>| -> Vec<LocOp> {
        let fix = |step| match step {
            LocOp::Register(RSP, offset) => LocOp::Register(RSP, offset - WORD_BYTES),
            // The call is right before the entry.
            LocOp::Entered(RSP, _) => LocOp::Register(RSP, -WORD_BYTES),
            LocOp::Entered(register, _) => LocOp::Register(register, 0),
            other => other,
        };
        steps.into_iter().map(fix).collect()
    };
    Some(match location {
        Location::Register(RSP) => return None,
        Location::Register(register) => Location::Register(register),
        Location::Memory(all) => Location::Memory(steps(all)),
        Location::Value(all) => Location::Value(steps(all)),
        Location::Pieces(pieces) => {
            let mut fixed = Vec::with_capacity(pieces.len());
            for (piece, bytes) in pieces {
                let piece = match piece {
                    Some(piece) => Some(before_push(piece)?),
                    None => None,
                };
                fixed.push((piece, bytes));
            }
            Location::Pieces(fixed)
        }
        Location::Pointer(to, offset) => Location::Pointer(Box::new(before_push(*to)?), offset),
    })
}

/// Where a function's result is.
fn result(info: &DebugInfo, ty: TypeId) -> Result<At, String> {
    let types = info.types();
    match types.shape(ty) {
        Shape::Number { bytes, .. } if bytes <= 8 => Ok(At::Value(Access::Register(RESULT, WORD))),
        Shape::Pointer(_) => Ok(At::Value(Access::Register(RESULT, WORD))),
        Shape::Number { .. } => Err("it is in two registers".to_owned()),
        Shape::Float(_) => Err("it is in a vector register".to_owned()),
        // A big structure is in memory, and its address is returned.
        Shape::Aggregate if types.size(ty) > TWO_WORDS => Ok(At::Memory(Access::Register(RESULT, WORD), 0)),
        Shape::Aggregate if is_integral(info, ty) => {
            const SECOND: u8 = 1;
            let part = |register| Some(At::Value(Access::Register(register, WORD)));
            Ok(At::Pieces(vec![(part(RESULT), 8), (part(SECOND), 8)], 0))
        }
        Shape::Aggregate => Err("some of it may be in vector registers".to_owned()),
        Shape::Array(..) | Shape::Nothing => Err("it has no value".to_owned()),
    }
}

/// Whether a structure holds integers and pointers only, so that it comes in general registers.
fn is_integral(info: &DebugInfo, ty: TypeId) -> bool {
    let types = info.types();
    let (mut seen, mut queue) = (BTreeSet::from([ty]), vec![ty]);
    while let Some(ty) = queue.pop() {
        let inner: Vec<TypeId> = match types.shape(ty) {
            Shape::Number { bytes, .. } if bytes <= 8 => Vec::new(),
            Shape::Pointer(_) => Vec::new(),
            Shape::Array(element, _) => vec![element],
            Shape::Aggregate => types.members(ty).into_iter().map(|member| member.ty).collect(),
            Shape::Number { .. } | Shape::Float(_) | Shape::Nothing => return false,
        };
        if seen.len() > TWO_WORDS as usize * 2 {
            return false;
        }
        queue.extend(inner.into_iter().filter(|ty| seen.insert(*ty)));
    }
    true
}

/// What `$$parms` and its relatives show: numbers, or with a `$` behind them what each variable shows with one.
fn list(
    info: &DebugInfo,
    pretty: Option<Pretty>,
    all: impl IntoIterator<Item = (String, Result<At, String>, TypeId)>,
) -> Resolved {
    let Some(pretty) = pretty else {
        let value = |(name, at, ty): (String, Result<At, String>, _)| {
            (name, at.map_or(Err(Unlisted::Unknown), |at| listed(info, at, ty)))
        };
        let (names, values) = all.into_iter().map(value).unzip();
        return Resolved { value: TargetValue::List { list: 0, values }, names, at_entry: false };
    };
    let types = info.types();
    let mut parts = Vec::new();
    for (name, at, ty) in all {
        let mut walk = Walk { types: &types, space: Space::User, dynamic: 0, shown: 0 };
        let blank = if parts.is_empty() { "" } else { " " };
        parts.push(PrettyPart::Text(format!("{blank}{name}=")));
        let mut own = Vec::new();
        if at.and_then(|at| walk.show(at, ty, pretty, &mut own)).is_err() {
            own = vec![PrettyPart::Text("?".to_owned())];
        }
        parts.extend(own);
    }
    Resolved { value: TargetValue::Pretty { parts }, names: Vec::new(), at_entry: false }
}

/// A value for `$$parms`.
fn listed(info: &DebugInfo, at: At, ty: TypeId) -> Result<Access, Unlisted> {
    let types = info.types();
    let walk = Walk { types: &types, space: Space::User, dynamic: 0, shown: 0 };
    match types.shape(ty) {
        Shape::Number { bytes, signed } if matches!(bytes, 1 | 2 | 4 | 8) => {
            walk.read(at, Width { bytes, signed }).map_err(|_| Unlisted::Unknown)
        }
        Shape::Pointer(_) | Shape::Float(8) => walk.read(at, WORD).map_err(|_| Unlisted::Unknown),
        Shape::Float(4) => walk.read(at, Width { bytes: 4, signed: false }).map_err(|_| Unlisted::Unknown),
        Shape::Aggregate => Err(Unlisted::Structure),
        Shape::Array(..) => Err(Unlisted::Array),
        Shape::Number { .. } | Shape::Float(_) | Shape::Nothing => Err(Unlisted::Unknown),
    }
}

impl CodeScope {
    /// Where a target expression starts: memory or value, its type, and whether it must be read at the entry.
    fn start(
        &self,
        info: &DebugInfo,
        target: &TargetExpr,
        span: Span,
        at_entry: bool,
    ) -> Result<(At, TypeId, bool), Diagnostic> {
        Ok(match &target.root {
            TargetRoot::Variable(name) if &**name == "return" => {
                let missing = |why: String| Diagnostic::error(Code::UnresolvedTarget, span, why);
                if self.moment != Moment::Return {
                    return Err(missing("$return is there in .return probes only".to_owned())
                        .hint("probe the return: .function(\"...\").return"));
                }
                let Some(ty) = info.result(&self.instance.function) else {
                    return Err(missing(format!("{} returns nothing", self.instance.name)));
                };
                let at = result(info, ty).map_err(|why| {
                    missing(format!("$return of {} cannot be read: {why}", self.instance.name))
                })?;
                (at, ty, false)
            }
            TargetRoot::Variable(name) => self.variable(info, name, span, at_entry)?,
            TargetRoot::Var { name, unit, .. } => {
                let unit = unit.as_ref().and_then(|unit| unit.as_str());
                let name = name.as_str().unwrap_or_default();
                let variable = file::variable(&self.module, info, (name, unit), Some(&self.instance), span)?;
                self.global(info, &variable, at_entry).map_err(|why| file::unreadable(name, &why, span))?
            }
            TargetRoot::Cast { type_name, .. } => {
                let ty = file::cast_type(&self.module, info, type_name, span)?;
                (At::Memory(Access::Dynamic(0), 0), ty, false)
            }
            // Pass 2 takes both apart before.
            TargetRoot::Value(_) | TargetRoot::Special(_) => {
                return Err(Diagnostic::error(Code::UnresolvedTarget, span, "this has no place in memory"));
            }
        })
    }
}

impl TargetScope for CodeScope {
    fn resolve(&self, target: &TargetExpr, span: Span, at_entry: bool) -> Result<Resolved, Diagnostic> {
        let Some(info) = self.info() else {
            return Err(Diagnostic::error(Code::NoDebugInfo, span, "no debug information"));
        };
        if let TargetRoot::Special(name) = &target.root {
            return self.special(info, (name, target.pretty), span, at_entry);
        }
        let (at, ty, entry) = self.start(info, target, span, at_entry)?;
        let value = walk(&info.types(), target).resolve(target, at, ty, span)?;
        Ok(Resolved { value, names: Vec::new(), at_entry: entry && !at_entry })
    }

    fn pointee(&self, target: &TargetExpr) -> Option<String> {
        if matches!(target.root, TargetRoot::Special(_)) {
            return None;
        }
        let info = self.info()?;
        let (at, ty, _) = self.start(info, target, target.root_span, false).ok()?;
        walk(&info.types(), target).pointee(target, at, ty)
    }

    fn type_name(&self, target: &TargetExpr) -> Option<String> {
        let info = self.info()?;
        let (at, ty, _) = self.start(info, target, target.root_span, false).ok()?;
        walk(&info.types(), target).type_name(target, at, ty)
    }

    fn enumerator(&self, name: &str) -> Option<i64> {
        self.info()?.enumerator(name)
    }

    fn enumeration(&self, type_name: &str) -> Option<Vec<(String, i64)>> {
        self.info()?.enumeration(type_name)
    }

    fn list(&self) -> Vec<String> {
        let Some(info) = self.info() else { return Vec::new() };
        let types = info.types();
        let mut all = Vec::new();
        if self.moment == Moment::Return
            && let Some(ty) = info.result(&self.instance.function)
        {
            all.push(format!("$return:{}", types.name(ty)));
        }
        let declared = info.declarations(&self.instance).into_iter();
        let seen = declared.filter(|v| self.moment == Moment::Here || v.role == Role::Parameter);
        all.extend(seen.map(|v| format!("${}:{}", v.name, types.name(v.ty))));
        all
    }
}

/// A function of which only the symbol is known.
pub(super) struct SymbolScope {
    pub(super) module: Rc<Module>,
    pub(super) name: String,
}

impl TargetScope for SymbolScope {
    fn resolve(&self, target: &TargetExpr, span: Span, _at_entry: bool) -> Result<Resolved, Diagnostic> {
        if let TargetRoot::Special(name) = &target.root
            && matches!(&**name, "parms" | "vars" | "locals" | "return")
        {
            return Ok(Resolved {
                value: TargetValue::List { list: 0, values: Vec::new() },
                names: Vec::new(),
                at_entry: false,
            });
        }
        Err(no_information(&self.module, &format!("{}: its variables are not known", self.name), span))
    }
}
