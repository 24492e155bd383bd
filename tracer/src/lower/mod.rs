//! Pass 3: the typed program to IR functions, records, programs and sites.
//!
//! ```text
//! sema::Program -> usage (shared, ordered, locks) -> capacity (strings)
//!               -> for each probe: body -> stmt -> expr -> place, access, pretty    kernel or user domain
//!                                   late: records and their continuations
//!                                   entry: values saved at the entry of a return probe
//!                                   entered: registers as they were at the entry of the call
//!               -> ir::Module + Manifest, verified
//! ```
//!
//! Invariants: what a kernel handler cannot do is moved to a continuation or refused with a diagnostic, never dropped.
//! The result passes `ir::verify`; a violation is a bug of this room.
//!
//! **Not here:** what the script means (`sema`), machine code (`tracer_ebpf`).

mod access;
mod body;
mod capacity;
mod entered;
mod entry;
mod expr;
mod guard;
mod hit;
pub mod kernel_limit;
mod late;
mod place;
mod pretty;
mod recursion;
mod regex;
mod split;
mod stmt;
mod text;
mod thin;
mod usage;
mod visit;
mod written;

use std::collections::BTreeMap;

use tracer_common::ir::ModuleBuilder;
use tracer_common::ir::{self, ContextKind, Domain, FuncId, Init, PlaceId, Ty as IrTy, When};
use tracer_common::limits::Limits;
use tracer_common::manifest::{AttachPoint, Manifest, Program as KernelProgram, ProgramKind};
use tracer_common::stat::StatFields;

use crate::diagnostics::Sink;
use crate::sema::program::{self as hir, FunctionId, GlobalTy, Local, Probe, Program, Stmt, Trigger, Ty};
use crate::source::{SourceMap, Span};
use body::Body;
use capacity::{Capacities, Owner};
use entered::Entries;
use recursion::Recursion;
use usage::{Touches, Usage};

/// As many functions as a probe may have to be attached by trampolines; more share one program of kprobes.
const FEW: usize = 4;
/// As many trampolines as a script may have: the kernel takes them down one after the other.
const MANY: usize = 32;

/// What pass 3 makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lowered {
    /// All code.
    pub module: ir::Module,
    /// Where it is attached.
    pub manifest: Manifest,
}

/// What kernel code can do on the kernel that will run it, as far as it decides between kernel code and continuations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// Reads the values of a statistic that other CPUs keep (5.19): numbers are those of the hit, and not those of the
    /// moment when the record is printed.
    pub reads_statistics: bool,
    /// Trampolines at functions of the kernel (5.17): arguments and the result without registers.
    pub trampolines: bool,
    /// Keys of shared arrays above 512 bytes (5.11).
    pub long_keys: bool,
    /// Looks through arrays (5.17): slices at the hit.
    pub finds_slices: bool,
    /// Visits arrays (6.9): `foreach` at the hit. Without `may_goto`, verifiers follow every round of its loop, and few
    /// bodies are small enough for that.
    pub visits_arrays: bool,
}

impl Abilities {
    /// Those of the newest kernels.
    pub const ALL: Abilities = Abilities {
        reads_statistics: true,
        trampolines: true,
        long_keys: true,
        finds_slices: true,
        visits_arrays: true,
    };
}

/// Translates a program. Diagnostics go to the sink; the result is whole only when there are no errors among them.
pub fn lower(
    program: &Program,
    limits: &Limits,
    abilities: Abilities,
    sources: &SourceMap,
    sink: &mut Sink,
) -> Lowered {
    let mut lower = Lower {
        program,
        abilities,
        limits: limits.clone(),
        sources,
        sink,
        usage: Usage::new(program, abilities),
        capacities: Capacities::infer(program, limits),
        module: ModuleBuilder::new(limits.clone()),
        instances: BTreeMap::new(),
        pending: Vec::new(),
        recursion: Recursion::new(program, limits.nesting),
        hidden: Vec::new(),
        entries: Entries::default(),
        continuations: 0,
        names_addresses: hit::names_addresses(program),
        places: BTreeMap::new(),
        manifest: Manifest { programs: Vec::new(), sites: program.sites.clone() },
    };
    lower.globals();
    for (n, probe) in program.probes.iter().enumerate() {
        lower.probe(n, probe);
    }
    while let Some((function, domain, depth, id)) = lower.pending.pop() {
        lower.function(function, domain, depth, id);
    }
    let (module, manifest) = (lower.module.finish(), lower.manifest);
    if !abilities.long_keys {
        kernel_limit::refuse_long_keys(program, &module, sink);
    }
    Lowered { module, manifest }
}

/// The state of the pass.
pub(crate) struct Lower<'p> {
    program: &'p Program,
    abilities: Abilities,
    limits: Limits,
    sources: &'p SourceMap,
    sink: &'p mut Sink,
    usage: Usage,
    capacities: Capacities,
    module: ModuleBuilder,
    /// Script functions already asked for, by domain, and, where they recurse in kernel code, by depth.
    instances: BTreeMap<(FunctionId, bool, u32), FuncId>,
    /// Instances whose code is still to be made.
    pending: Vec<(FunctionId, Domain, u32, FuncId)>,
    recursion: Recursion,
    /// Arrays that the script does not see: values saved at entry.
    hidden: Vec<ir::GlobalId>,
    /// Registers of calls that are under way.
    entries: Entries,
    continuations: u32,
    /// Continuations say whose hit they are for.
    names_addresses: bool,
    places: BTreeMap<Span, PlaceId>,
    manifest: Manifest,
}

impl<'p> Lower<'p> {
    fn globals(&mut self) {
        let order = usage::order_of_mention(self.program);
        let taken = usage::read_by_the_way(self.program);
        for (n, global) in self.program.globals.iter().enumerate() {
            let value = |ty: &Ty, capacity: u16| match ty {
                Ty::Long => IrTy::Long,
                Ty::Str => IrTy::Str(capacity),
            };
            let n32 = n as u32;
            self.module.global(ir::Global {
                name: global.name.to_string(),
                keys: global
                    .keys
                    .iter()
                    .enumerate()
                    .map(|(k, ty)| match ty {
                        Ty::Long => IrTy::Long,
                        Ty::Str => IrTy::Str(self.capacities.key(n32, k)),
                    })
                    .collect(),
                ty: match &global.ty {
                    GlobalTy::Value(ty) => ir::GlobalTy::Value(value(ty, self.capacities.global(n32))),
                    GlobalTy::Stats(fields) => ir::GlobalTy::Stats(StatFields {
                        count: fields.count || self.usage.counted[n],
                        ..*fields
                    }),
                },
                init: global.init.as_ref().map(|init| match init {
                    hir::Literal::Long(value) => Init::Long(*value),
                    hir::Literal::Str(text) => Init::Str(text.as_bytes().to_vec()),
                }),
                max_entries: global.size.unwrap_or(self.limits.map_entries),
                wrap: global.wrap,
                forgets: false,
                // What wraps must know what is oldest.
                ordered: self.usage.ordered[n] || global.wrap && !global.keys.is_empty(),
                shared: self.usage.shared[n],
                print_at_end: (global.written && !global.read && !taken.contains(&n32)).then(|| order[n]),
            });
        }
    }

    fn probe(&mut self, number: usize, probe: &'p Probe) {
        match probe.trigger {
            Trigger::Begin(order) => self.user_probe(number, probe, When::Begin(order)),
            Trigger::End(order) => self.user_probe(number, probe, When::End(order)),
            Trigger::Error(order) => self.user_probe(number, probe, When::Error(order)),
            Trigger::Timer { period, randomize } => {
                self.user_probe(number, probe, When::Timer { period, randomize });
            }
            Trigger::Never => self.user_probe(number, probe, When::Never),
            Trigger::Kernel(kind) => self.kernel_probe(number, probe, kind),
        }
    }

    fn user_probe(&mut self, number: usize, probe: &'p Probe, when: When) {
        let mut body = Body::new(
            self,
            &format!("probe.{number}"),
            Domain::User,
            ContextKind::None,
            Owner::Probe(number),
        );
        // Before the probes are armed and after they were stopped, nobody else is there.
        if matches!(when, When::Timer { .. }) {
            let locks = Touches::of(body.lower.program, &probe.body).locks(&body.lower.usage);
            body.locks(locks);
        }
        body.find_unread(&probe.body);
        body.stmts(&probe.body);
        let function = body.finish();
        for site in &probe.sites {
            self.module.handler(ir::UserHandler { when, function, site: *site });
        }
    }

    fn kernel_probe(&mut self, number: usize, probe: &'p Probe, kind: ProgramKind) {
        let trampoline = self.is_for_trampolines(probe, kind);
        // At its exit a trampoline still knows what the function was called with.
        let saved = match trampoline && entry::saves_arguments_only(probe) {
            true => None,
            false => self.entry_probe(number, probe, trampoline),
        };
        self.keep_entries(number, probe);
        let kind = if trampoline { by_trampoline(kind) } else { kind };
        let locks = Touches::of_probe(self.program, probe)
            .locks_of_handler(&self.usage, visit::visited(self.program, self.abilities, &probe.body));
        let mut body = Body::new(
            self,
            &format!("probe.{number}"),
            Domain::Kernel,
            context_of(kind),
            Owner::Probe(number),
        );
        body.locks(locks);
        body.at(probe.span);
        body.guard(&probe.guard, probe.begun);
        body.find_unread(&probe.body);
        body.load_saved(probe, saved.as_ref());
        body.load_entered(probe);
        body.find_modules(probe);
        body.stmts(&probe.body);
        let function = body.finish();
        self.program(function, kind, &probe.sites);
    }

    /// Whether a probe is better attached by trampolines: each is a program of its own, so that there must be few.
    fn is_for_trampolines(&self, probe: &Probe, kind: ProgramKind) -> bool {
        let known = |site: &u32| {
            let attach = &self.manifest.sites[*site as usize].attach;
            matches!(attach, AttachPoint::Kernel { offset: 0, btf: Some(_), .. })
        };
        let is_one =
            |program: &&KernelProgram| matches!(program.kind, ProgramKind::Fentry | ProgramKind::Fexit);
        self.abilities.trampolines
            && self.manifest.programs.iter().filter(is_one).count() < MANY
            && matches!(kind, ProgramKind::Kprobe | ProgramKind::Kretprobe)
            && probe.sites.len() <= FEW
            && probe.sites.iter().all(known)
            && !hit::asks_for_registers(self.program, probe)
    }

    /// Names a kernel function as a program of the manifest; as one for each site where the kind asks for it.
    fn program(&mut self, function: FuncId, kind: ProgramKind, sites: &[u32]) {
        let share = match kind {
            ProgramKind::Fentry | ProgramKind::Fexit => 1,
            _ => sites.len().max(1),
        };
        for sites in sites.chunks(share) {
            let name = format!("p{}", self.manifest.programs.len());
            self.manifest.programs.push(KernelProgram {
                name,
                function,
                kind,
                sites: sites.to_vec(),
                site_patches: Vec::new(),
            });
        }
    }

    /// The IR function of a script function in a domain; its code is made later. `depth` is that of the call, for
    /// functions that recurse in kernel code.
    pub(crate) fn instance(&mut self, function: FunctionId, domain: Domain, depth: u32) -> FuncId {
        let key = (function, domain == Domain::Kernel, depth);
        if let Some(id) = self.instances.get(&key) {
            return *id;
        }
        let name = format!("function.{}", self.program.functions[function.0 as usize].name);
        let id = self.module.declare(&name);
        self.instances.insert(key, id);
        self.pending.push((function, domain, depth, id));
        id
    }

    fn function(&mut self, function: FunctionId, domain: Domain, depth: u32, id: FuncId) {
        let number = function.0 as usize;
        let declared = &self.program.functions[number];
        let result = declared.result.map(|ty| match ty {
            Ty::Long => IrTy::Long,
            Ty::Str => IrTy::Str(self.capacities.result(function.0)),
        });
        let name = format!("function.{}", declared.name);
        let mut body = Body::new(self, &name, domain, ContextKind::None, Owner::Function(number));
        (body.result, body.depth) = (result, depth);
        for param in 0..declared.params {
            let ty = body.local_type(hir::LocalId(param as u32));
            let dest = body.f.param(ty);
            body.locals[param] = Some(dest);
        }
        body.stmts(&declared.body);
        body.finish_as(id);
    }

    /// Whether an instance returns something.
    pub(crate) fn returns(&self, function: FuncId) -> bool {
        self.instances
            .iter()
            .find(|(_, id)| **id == function)
            .is_some_and(|((f, ..), _)| self.program.functions[f.0 as usize].result.is_some())
    }

    pub(crate) fn global(&self, global: hir::GlobalId) -> ir::GlobalId {
        expr::global_id(global)
    }

    fn locals_of(&self, owner: Owner) -> &'p [Local] {
        match owner {
            Owner::Function(n) => &self.program.functions[n].locals,
            Owner::Probe(n) => &self.program.probes[n].locals,
        }
    }

    fn body_of(&self, owner: Owner) -> &'p [Stmt] {
        match owner {
            Owner::Function(n) => &self.program.functions[n].body,
            Owner::Probe(n) => &self.program.probes[n].body,
        }
    }

    fn span_of(&self, owner: Owner) -> Span {
        match owner {
            Owner::Function(n) => self.program.functions[n].span,
            Owner::Probe(n) => self.program.probes[n].span,
        }
    }

    /// Interns a source place with its text: `operator '/' at t.stp:1:25`.
    fn place(&mut self, span: Span) -> PlaceId {
        if let Some(place) = self.places.get(&span) {
            return *place;
        }
        let token = first_token(self.sources.text(span));
        let kind = match token.chars().next() {
            Some(c) if c.is_ascii_digit() => "number",
            Some('"') => "string",
            Some(c) if c.is_alphanumeric() || c == '_' || c == '$' => "identifier",
            _ => "operator",
        };
        let text = format!("{kind} '{}' at {}", token.trim_matches('"'), self.sources.place(span));
        let place = ir::Place { file: span.file.0, start: span.start, end: span.end, text };
        let place = self.module.place(place);
        self.places.insert(span, place);
        place
    }
}

/// The kind of program that runs at the same place of a function, by trampoline.
fn by_trampoline(kind: ProgramKind) -> ProgramKind {
    match kind {
        ProgramKind::Kprobe => ProgramKind::Fentry,
        ProgramKind::Kretprobe => ProgramKind::Fexit,
        other => other,
    }
}

/// What the context argument of a program is.
fn context_of(kind: ProgramKind) -> ContextKind {
    match kind {
        ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::Kprobe | ProgramKind::Kretprobe => {
            ContextKind::Registers
        }
        ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::RawTracepoint => ContextKind::Words,
        ProgramKind::PerfEvent => ContextKind::Perf,
    }
}

/// The first token of a text, well enough for a message.
fn first_token(text: &str) -> &str {
    let text = text.trim_start();
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '@';
    let Some(first) = text.chars().next() else { return "" };
    if first == '"' {
        return text[1..].find('"').map_or(text, |end| &text[..end + 2]);
    }
    let end = if word(first) {
        text.find(|c| !word(c))
    } else {
        text.find(|c: char| word(c) || c.is_whitespace() || "();{}[]".contains(c)).map(|n| n.max(1))
    };
    &text[..end.unwrap_or(text.len())]
}
