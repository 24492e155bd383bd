//! Limits of size that some kernels have, told with the script's words before any map or program is made.
//!
//! The words for what a kernel does not let a handler do are here too, whoever finds it.
//!
//! **Not here:** what a kernel cannot do at all (`Abilities`, where it is wanted), the size of programs (pass 4).

use tracer_common::ir;
use tracer_common::layout::{Home, Layout, size_of};

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::sema::program::Program;
use crate::source::Span;

/// A hint for what the user domain can do instead.
pub const ELSEWHERE: &str = "print it, or compute it in a timer or end probe: those run in the user domain";

/// What this kernel does not let a handler do, as the words after "to"; `which` kernel does, as a sentence.
pub fn lacks(span: Span, what: &str, which: String) -> Diagnostic {
    let message = format!("this kernel does not allow a handler of the kernel domain to {what}");
    Diagnostic::error(Code::KernelLimit, span, message).hint(which)
}

/// Bytes that a key has room for where long keys are not to be had: those of a program's stack.
const SHORT_KEY: u32 = 512;

/// Arrays whose keys this kernel has no room for; the strings in them can be made shorter.
pub(super) fn refuse_long_keys(program: &Program, module: &ir::Module, sink: &mut Sink) {
    let layout = Layout::new(module);
    for ((global, declared), place) in program.globals.iter().zip(&module.globals).zip(&layout.globals) {
        if !matches!(place.home, Home::Array { .. }) || place.key_size <= SHORT_KEY {
            continue;
        }
        let message = format!(
            "the keys of {} take {} bytes, and those of an array that kernel handlers use take at most {SHORT_KEY} here",
            global.name, place.key_size
        );
        let size = |capacity: u32| -> u32 { declared.keys.iter().map(|ty| size_of(*ty).min(capacity)).sum() };
        let fits = (1..SHORT_KEY / 8).rev().map(|words| words * 8).find(|fits| size(*fits) <= SHORT_KEY);
        let mut diagnostic = Diagnostic::error(Code::KernelLimit, global.span, message);
        if let Some(fits) = fits {
            diagnostic = diagnostic.hint(format!("-D MAXSTRINGLEN={fits} makes its strings fit"));
        }
        sink.push(diagnostic.hint("Linux 5.11 and newer have no such limit"));
    }
}
