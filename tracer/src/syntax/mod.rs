//! Pass 1: text to [`ast::File`].
//!
//! ```text
//! text --lexer--> tokens, script arguments pasted --preprocess--> tokens, macros and %( %) gone --parser--> tree
//! ```
//!
//! [`parse`] never fails: it returns what it understood and tells the rest to the sink, picking up again at the
//! next statement or declaration. Embedded C is parsed as a node, so that it can be refused by name ([`guru`]).
//!
//! **Not here:** meaning (`sema`), reading files and asking the kernel (`world`; what conditions need comes in
//! as [`Facts`]).

// In the order in which a newcomer should read them.
pub mod ast;
pub mod condition;
pub mod format;
pub mod guru;
pub mod lexer;
pub(crate) mod literal;
mod parser;
pub mod preprocess;
pub mod print;
pub mod token;
pub mod visit;

pub use condition::Facts;
pub use preprocess::Macros;

use crate::diagnostics::Sink;
use crate::source::{FileId, SourceMap};
use crate::syntax::ast::ExprIds;
use crate::syntax::token::{Keyword, TokenKind};

/// Parses a script or a tapset file. Never fails: what was not understood is missing from the tree and in the sink.
///
/// `sources` grows by one text per pasted argument and per use of a macro. `ids` goes on over the files of a
/// session. `macros` are those of the library; the file's own stay its own.
pub fn parse(
    sources: &mut SourceMap,
    file: FileId,
    ids: &mut ExprIds,
    facts: &Facts,
    macros: &Macros,
    sink: &mut Sink,
) -> ast::File {
    let mut found = Sink::default();
    let mut lexed = lexer::lex(sources, file, &facts.args, &mut found);
    if !facts.has("3.0") {
        let private = TokenKind::Keyword(Keyword::Private);
        lexed.tokens.iter_mut().filter(|token| token.kind == private).for_each(|t| t.kind = TokenKind::Ident);
    }
    let preprocessed = preprocess::preprocess(sources, &lexed.tokens, facts, macros, &mut found);
    let input = parser::Input {
        file,
        tokens: &preprocessed.tokens,
        comments: &lexed.comments,
        macro_names: &preprocessed.macro_names,
        facts,
    };
    let tree = parser::parse_file(sources, input, ids, &mut found);
    // Three steps looked for mistakes, each from the start: tell them in the order of the text.
    let mut found = found.all().to_vec();
    found.sort_by_key(|diagnostic| diagnostic.span.map(|span| sources.outermost(span).start));
    for diagnostic in found {
        sink.push(diagnostic);
    }
    tree
}

/// Reads a macro file (`.stpm`) into the library's macros.
pub fn parse_macros(
    sources: &mut SourceMap,
    file: FileId,
    facts: &Facts,
    macros: &mut Macros,
    sink: &mut Sink,
) {
    let lexed = lexer::lex(sources, file, &facts.args, sink);
    preprocess::define_macros(sources, &lexed.tokens, facts, macros, sink);
}

#[cfg(test)]
mod tests;
