//! `.plt`, `.plt("name")`: calls into libraries, at the stubs of the procedure linkage table.

use std::rc::Rc;

use super::scope::SymbolScope;
use super::{Program, at_return, candidate, ends, misplaced, text};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::glob_match;
use crate::sema::family::Candidate;
use crate::syntax::ast::ProbePointComponent;

/// The places of stubs.
pub(super) fn resolve(
    program: &Program,
    what: &ProbePointComponent,
    rest: &[ProbePointComponent],
) -> Result<Vec<Candidate>, Diagnostic> {
    let pattern = match (&what.arg, text(what)) {
        (None, _) => "*".to_owned(),
        (Some(_), Some(pattern)) => pattern,
        (Some(_), None) => {
            return Err(Diagnostic::error(Code::ProbePoint, what.span, "plt takes a name in quotes"));
        }
    };
    let is_return = match rest.first() {
        None => false,
        Some(next) if &*next.name == "return" => true,
        Some(next) => return Err(misplaced(next, "plt")),
    };
    ends(rest.get(1..).unwrap_or_default(), "plt.return")?;
    let module = &program.module;
    let stubs = module.elf.stubs();
    let found: Vec<Candidate> = stubs
        .iter()
        .filter(|stub| glob_match(&pattern, &stub.name))
        .filter_map(|stub| {
            let offset = module.elf.code_offset(stub.address)?;
            let scope = SymbolScope { module: module.clone(), name: stub.name.clone() };
            let suffix = if is_return { ".return" } else { "" };
            let point = format!("{}.plt(\"{}\"){suffix}", program.text, stub.name);
            let mut place = candidate(program, offset, point, &stub.name, Rc::new(scope));
            place.site.name.clone_from(&stub.name);
            Some(if is_return { at_return(place) } else { place })
        })
        .collect();
    if found.is_empty() {
        let diagnostic = Diagnostic::error(
            Code::ProbePoint,
            what.span,
            format!("{} calls no {pattern} through its linkage table", module.path.display()),
        );
        return Err(match suggest::hint(&pattern, stubs.iter().map(|stub| stub.name.as_str())) {
            Some(hint) => diagnostic.hint(hint),
            None if stubs.is_empty() => {
                diagnostic.hint("it has no such table: it was linked statically, or with -fno-plt")
            }
            None => diagnostic,
        });
    }
    Ok(found)
}
