//! The script's arguments as globals: `argc`, `argv[1]`, `argv_1`.
//!
//! A tapset file is made for them, which is loaded, as any other, only when a script uses one of its names.
//! Source: stap(1), "COMMAND LINE ARGUMENTS"; tapset::argv. `argv[0]` and elements past the last are empty.
//!
//! **Not here:** `$1` and `@1`, which the lexer pastes.

use std::fmt::Write;

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::literal::quote;

/// The name of the tapset file.
pub const FILE: &str = "argv.stp";

/// Variables that exist whether or not so many arguments are given.
const COUNT: usize = 32;

/// The text of the tapset file.
pub fn tapset(args: &[String]) -> String {
    let mut text = format!("/* argc - how many arguments the script has */\nglobal argc = {}\n", args.len());
    text.push_str("/* argv - the script's arguments, from argv[1] */\nglobal argv\n");
    let mut fill = String::new();
    let given = args.iter().map(|arg| quote(arg.as_bytes()));
    let missing = (args.len()..COUNT).map(|_| "\"\"".to_owned());
    for (n, literal) in (1..).zip(given.chain(missing)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "global argv_{n} = {literal}");
        if n <= args.len() {
            // Not the literal: -G may set the variable.
            let _ = writeln!(fill, "    argv[{n}] = argv_{n}");
        }
    }
    if fill.is_empty() {
        // Says what argv's types are when there is nothing to fill it with.
        fill.push_str("    if (argc) argv[1] = \"\"\n");
    }
    let _ = write!(text, "probe init {{\n{fill}}}\n");
    text
}

/// Warns of arguments that no script pasted.
pub fn warn_of_unused(args: &[String], sources: &SourceMap, sink: &mut Sink) {
    for number in 1..=args.len() {
        if sources.has(&format!("<argument {number}>")) {
            continue;
        }
        let place = Span::new(FileId(0), 0, 0);
        let message = format!("unused command line option ${number}/@{number}");
        sink.push(Diagnostic::warning(Code::ScriptArgument, place, message).placeless());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_globals() {
        let text = tapset(&["one".to_owned(), "two".to_owned()]);
        assert!(text.contains("global argc = 2\n"), "{text}");
        assert!(text.contains("global argv_2 = \"two\"\n"), "{text}");
        assert!(text.contains("    argv[1] = argv_1\n"), "{text}");
    }
}
