//! The script's arguments as globals: `argc`, `argv[1]`, `argv_1`.
//!
//! A tapset file is made for them, which is loaded, as any other, only when a script uses one of its names.
//! Source: stap(1), "COMMAND LINE ARGUMENTS"; tapset::argv. `argv[0]` and elements past the last are empty.
//!
//! **Not here:** `$1` and `@1`, which the lexer pastes.

use std::fmt::Write;

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::source::{FileId, SourceMap, Span};

/// The name of the tapset file.
pub const FILE: &str = "argv.stp";

/// Variables that exist whether or not so many arguments are given.
const COUNT: usize = 32;

/// The text of the tapset file.
pub fn tapset(args: &[String]) -> String {
    let mut text = format!("/* argc - how many arguments the script has */\nglobal argc = {}\n", args.len());
    text.push_str("/* argv - the script's arguments, from argv[1] */\nglobal argv\n");
    let mut fill = String::new();
    let given = args.iter().map(|arg| literal(arg));
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

/// A string literal for any text.
fn literal(text: &str) -> String {
    let mut literal = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => literal.extend(['\\', byte as char]),
            b' '..=b'~' => literal.push(byte as char),
            // Three digits: what follows cannot be taken for a part of it.
            _ => {
                let _ = write!(literal, "\\{byte:03o}");
            }
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_argument_is_a_literal() {
        assert_eq!(literal("a\"b\\c\nd"), r#""a\"b\\c\012d""#);
        assert_eq!(literal("ä1"), r#""\303\2441""#);
    }

    #[test]
    fn arguments_become_globals() {
        let text = tapset(&["one".to_owned(), "two".to_owned()]);
        assert!(text.contains("global argc = 2\n"), "{text}");
        assert!(text.contains("global argv_2 = \"two\"\n"), "{text}");
        assert!(text.contains("    argv[1] = argv_1\n"), "{text}");
    }
}
