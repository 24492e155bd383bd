//! What pass 2 asks of a family of probe points, and what it gets back.
//!
//! To add a family: a file in `families/` with a type that implements [`Family`], a line in `families::all`, an
//! attach point in `tracer_common::manifest` and its file in `run::attach` when it attaches in a new way.
//!
//! **Not here:** aliases and wildcards in alias names (`point`), grouping of sites (`elaborate`).

use std::rc::Rc;

use tracer_common::manifest::{AttachPoint, ProgramKind, Site};

use crate::diagnostics::{Code, Diagnostic};
use crate::sema::program::{Access, Guard, TargetValue, Trigger};
use crate::source::Span;
use crate::syntax::ast::{ProbePointComponent, TargetExpr};

/// One place that a probe point stands for.
#[derive(Clone)]
pub struct Candidate {
    /// When the handler runs.
    pub trigger: Trigger,
    /// Where; `alias` and `variables` are filled in by pass 2.
    pub site: Site,
    /// What `$…` means there.
    pub scope: Rc<dyn TargetScope>,
    /// For returns: the kind of program that can run at the entry.
    pub entry: Option<ProgramKind>,
    /// What is tested at a hit before anything of the handler runs.
    pub guard: Guard,
}

impl Candidate {
    /// A place that lets every hit through.
    pub fn new(trigger: Trigger, site: Site, scope: Rc<dyn TargetScope>) -> Candidate {
        Candidate { trigger, site, scope, entry: None, guard: Guard::default() }
    }
}

/// A resolved target expression.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Resolved {
    /// What it means.
    pub value: TargetValue,
    /// For lists: the names of the values.
    pub names: Vec<String>,
    /// Whether it must be evaluated at the function's entry: parameters in return probes.
    pub at_entry: bool,
}

/// Target variables of one place.
pub trait TargetScope {
    /// What a target expression means. `at_entry`: inside `@entry(…)`.
    fn resolve(&self, target: &TargetExpr, span: Span, at_entry: bool) -> Result<Resolved, Diagnostic>;
    /// The type that a pointer points to, as `@cast` takes it; `None` for what is no pointer to something with a name.
    fn pointee(&self, _target: &TargetExpr) -> Option<String> {
        None
    }
    /// The type of a target expression's value, by its name in C.
    fn type_name(&self, _target: &TargetExpr) -> Option<String> {
        None
    }
    /// The value of a constant of some enumeration.
    fn enumerator(&self, _name: &str) -> Option<i64> {
        None
    }
    /// The constants of an enumeration, by its type's name in C.
    fn enumeration(&self, _type_name: &str) -> Option<Vec<(String, i64)>> {
        None
    }
    /// What the current thread's thread pointer holds; asked of the kernel's types.
    fn thread_pointer(&self, span: Span) -> Result<Access, Diagnostic> {
        Err(Diagnostic::error(Code::NoDebugInfo, span, "nothing is known of this kernel's threads"))
    }
    /// Names and types of the variables, for `-L`: `$name:type`.
    fn list(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Where a handler is, for whom asks for what other files have.
pub struct Door<'d> {
    /// Where it is attached; `None` for functions, which may be called from anywhere.
    pub near: Option<&'d AttachPoint>,
    /// Whether it runs at hits, in a process.
    pub is_hit: bool,
}

/// What a file has; `None` where no family knows such files, or it is the probed one.
pub type FileFound = Option<Result<Rc<dyn TargetScope>, Diagnostic>>;

/// What a file has, by what a target expression calls it; the probed file without a name.
pub type Files<'f> = dyn Fn(Option<&str>, Span) -> FileFound + 'f;

/// A family of probe points.
pub trait Family {
    /// Variables and types of a whole file that a target expression names (without a name: of the probed one), when the
    /// family knows files.
    fn file(&self, _door: &Door<'_>, _name: Option<&str>, _span: Span) -> FileFound {
        None
    }

    /// The places that a probe point stands for: `None` when it belongs to another family. Nothing found is an
    /// error that says why and what comes near.
    fn resolve(
        &self,
        point: &[ProbePointComponent],
        span: Span,
    ) -> Option<Result<Vec<Candidate>, Diagnostic>>;
    /// Probe point forms, for hints and `--dump-probe-types`.
    fn forms(&self) -> &'static [&'static str];
}

/// Parts of a target expression's path whose values are known only at run time, in the order in which
/// `Access::Dynamic` counts them: the operand of `@cast` first, then variable indices.
pub fn dynamic_parts(target: &TargetExpr) -> Vec<&crate::syntax::ast::Expr> {
    use crate::syntax::ast::{ExprKind, PathStepKind, TargetRoot};
    let mut parts = Vec::new();
    match &target.root {
        TargetRoot::Cast { operand, .. } | TargetRoot::Value(operand) => parts.push(operand),
        TargetRoot::Variable(_) | TargetRoot::Special(_) | TargetRoot::Var { .. } => {}
    }
    for step in &target.path {
        if let PathStepKind::Index(index) = &step.kind
            && !matches!(index.kind, ExprKind::Number(_))
        {
            parts.push(index);
        }
    }
    parts
}
