//! Pass 2, after types have settled: what only the whole program shows.
//!
//! **Not here:** anything that one body shows (`build`).

use std::collections::BTreeSet;

use crate::diagnostics::{Code, Diagnostic, Sink, suggest};
use crate::sema::build::Flow;
use crate::sema::elaborate::Elaborator;

impl Elaborator<'_, '_> {
    /// All checks.
    pub(super) fn check(&self, sink: &mut Sink) {
        self.declared_arrays(sink);
        self.calls_in_foreach(sink);
        // What is never assigned may be part of another mistake.
        if !sink.has_errors() {
            self.never_assigned(sink);
        }
    }

    /// Warns of globals that are read and that nothing ever writes.
    fn never_assigned(&self, sink: &mut Sink) {
        let names = self.symbols.globals.iter().map(|info| &*info.decl.name.name);
        for info in &self.symbols.globals {
            let given = info.decl.init.is_some() || info.setting.is_some();
            if info.written || !info.read || given || (self.is_library)(info.file) {
                continue;
            }
            let name = &info.decl.name;
            let message = format!("never-assigned global variable '{}'", name.name);
            let warning = Diagnostic::warning(Code::NeverAssigned, name.span, message);
            sink.push(match suggest::hint(&name.name, names.clone()) {
                Some(hint) => warning.hint(hint),
                None => warning,
            });
        }
    }

    /// What is declared with a size or `%` is an array.
    fn declared_arrays(&self, sink: &mut Sink) {
        for info in &self.symbols.globals {
            let declared = info.decl.wrap || info.decl.size.is_some();
            if let Some((keys, place)) = &info.keys
                && declared
                && keys.is_empty()
            {
                let message =
                    format!("{} is declared as an array and used without keys", info.decl.name.name);
                sink.push(
                    Diagnostic::error(Code::TypeConflict, *place, message)
                        .label(info.decl.span, "declared here"),
                );
            }
        }
    }

    /// Functions called inside a `foreach` must not change what it visits either.
    fn calls_in_foreach(&self, sink: &mut Sink) {
        let functions = &self.symbols.functions;
        let flows =
            self.groups.iter().map(|group| &group.flow).chain(functions.iter().map(|info| &info.flow));
        for (array, callee, span) in flows.flat_map(|flow: &Flow| &flow.visits) {
            let mut seen = BTreeSet::from([*callee]);
            let mut queue = vec![*callee];
            while let Some(function) = queue.pop() {
                let flow = &functions[function.0 as usize].flow;
                if let Some(place) = flow.changed.get(array) {
                    let name = &self.symbols.globals[array.0 as usize].decl.name.name;
                    let message = format!(
                        "{name} is changed inside a foreach over it, by a function that is called here"
                    );
                    sink.push(
                        Diagnostic::error(Code::ForeachModification, *span, message)
                            .label(*place, "changed here")
                            .hint("collect what to change in another array, and change it after the loop"),
                    );
                    break;
                }
                queue.extend(flow.called.iter().copied().filter(|called| seen.insert(*called)));
            }
        }
    }
}
