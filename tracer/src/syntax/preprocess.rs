//! Macros and `%( %)` conditionals: tokens to tokens.
//!
//! Two layers, one pulling from the other. The lower one defines and expands `@macro`s; a use pushes an
//! `Activation` on a stack. The upper one evaluates conditions and drops the branches not taken, so that a
//! `@define` counts only where it is kept, and macros may stand in conditions and hold whole conditionals.
//! A macro's body is copied under a source text of its own per use, whose origin is the use: every token knows
//! both where it was written and how it came here.
//!
//! Invariants: never fails; after an error it yields one [`Junk::Reported`] token, at which the parser stays silent.
//! Work is bounded: so many macros inside macros, so many tokens in all.
//!
//! **Not here:** the lower layer (`macros`), what conditions mean (`condition`), script arguments (`lexer`).

mod macros;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::source::{SourceMap, Span};
use crate::syntax::ast::{Name, Text};
use crate::syntax::condition::{self, Facts, Mistake, Operand};
use crate::syntax::literal;
use crate::syntax::token::{Junk, Op, Token, TokenKind};

/// For a condition that is none: the language has no `%(` operator, but people write one.
const CONDITION_HINT: &str = "'%(' starts a conditional, which compares kernel_v, kernel_vr, arch, runtime, \
                              systemtap_v, systemtap_privilege, guru_mode, CONFIG_..., strings or numbers; \
                              for the remainder write '% ('";

/// The words after `@` that the language itself knows.
pub(crate) const AT_WORDS: &[&str] = &[
    "avg",
    "cast",
    "const",
    "count",
    "defined",
    "entry",
    "enum",
    "enumname",
    "hist_linear",
    "hist_log",
    "kderef",
    "kregister",
    "max",
    "min",
    "perf",
    "probewrite",
    "sum",
    "uderef",
    "uregister",
    "var",
    "variance",
];

/// Macros by name: those of the library, from its `.stpm` files.
#[derive(Clone, Default, Debug)]
pub struct Macros {
    table: BTreeMap<Name, Arc<Macro>>,
}

impl Macros {
    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(|name| &**name)
    }

    /// Takes those of others that have another name.
    pub fn extend(&mut self, others: Macros) {
        for (name, definition) in others.table {
            self.table.entry(name).or_insert(definition);
        }
    }
}

/// `@define name(params) %( body %)`.
#[derive(Debug)]
struct Macro {
    params: Vec<Name>,
    body: Arc<[Token]>,
    /// The name in the definition.
    span: Span,
    /// Defined in the library: its body does not see the script's macros.
    library: bool,
}

/// What the parser gets.
pub(super) struct Preprocessed {
    /// Ends with one [`TokenKind::End`].
    pub(super) tokens: Vec<Token>,
    /// Every macro that was in sight, for "similar" hints.
    pub(super) macro_names: Vec<Name>,
}

/// Expands macros and conditionals.
pub(super) fn preprocess(
    sources: &mut SourceMap,
    input: &[Token],
    facts: &Facts,
    library: &Macros,
    sink: &mut Sink,
) -> Preprocessed {
    let mut expander = Expander::new(sources, input, facts, library, sink);
    let mut tokens = Vec::with_capacity(input.len());
    loop {
        let token = expander.next();
        tokens.push(token);
        if token.kind == TokenKind::End {
            break;
        }
    }
    let macro_names = expander.local.keys().chain(library.table.keys()).cloned().collect();
    Preprocessed { tokens, macro_names }
}

/// Reads the definitions of a macro file into the table. A file with anything else in it is refused whole.
pub(super) fn define_macros(
    sources: &mut SourceMap,
    input: &[Token],
    facts: &Facts,
    library: &mut Macros,
    sink: &mut Sink,
) {
    let mut expander = Expander::new(sources, input, facts, &*library, sink);
    let token = expander.next();
    let defined = std::mem::take(&mut expander.local);
    match token.kind {
        TokenKind::End => {}
        TokenKind::Junk(Junk::Reported) => return,
        _ => {
            let found = sources.text(token.span);
            sink.push(Diagnostic::error(
                Code::Macro,
                token.span,
                format!("a macro file holds '@define's only, found '{found}'"),
            ));
            return;
        }
    }
    for (name, mut definition) in defined {
        if let Some(first) = library.table.get(&name) {
            sink.push(
                Diagnostic::error(Code::Macro, definition.span, format!("macro '@{name}' is defined twice"))
                    .label(first.span, "first defined here"),
            );
            continue;
        }
        if let Some(definition) = Arc::get_mut(&mut definition) {
            definition.library = true;
        }
        library.table.insert(name, definition);
    }
}

/// What the names of macro parameters stand for.
type Bindings = Arc<BTreeMap<Name, Argument>>;

/// An argument of a macro: tokens, and what names mean in them, which is what they meant at the use.
#[derive(Clone, Debug)]
struct Argument {
    tokens: Arc<[Token]>,
    bindings: Bindings,
    library: bool,
}

/// A macro body or argument being read.
struct Activation {
    tokens: Arc<[Token]>,
    cursor: usize,
    bindings: Bindings,
    library: bool,
}

/// A conditional that is open, and whose branch is kept.
struct Conditional {
    open: Span,
    in_else: bool,
}

struct Expander<'a> {
    sources: &'a mut SourceMap,
    sink: &'a mut Sink,
    facts: &'a Facts,
    library: &'a Macros,
    local: BTreeMap<Name, Arc<Macro>>,
    input: &'a [Token],
    pos: usize,
    stack: Vec<Activation>,
    conditionals: Vec<Conditional>,
    expanded: usize,
    copied: usize,
}

impl<'a> Expander<'a> {
    fn new(
        sources: &'a mut SourceMap,
        input: &'a [Token],
        facts: &'a Facts,
        library: &'a Macros,
        sink: &'a mut Sink,
    ) -> Expander<'a> {
        Expander {
            sources,
            sink,
            facts,
            library,
            local: BTreeMap::new(),
            input,
            pos: 0,
            stack: Vec::new(),
            conditionals: Vec::new(),
            expanded: 0,
            copied: 0,
        }
    }

    /// The next token of the program.
    fn next(&mut self) -> Token {
        loop {
            let token = self.next_expanded();
            match token.kind {
                TokenKind::End => {
                    if let Some(open) = self.conditionals.pop() {
                        return self.report(
                            Code::Conditional,
                            open.open,
                            "conditional '%(' is not closed by '%)'",
                        );
                    }
                    return token;
                }
                TokenKind::Op(Op::CondOpen) => {
                    if let Err(reported) = self.conditional(token) {
                        return reported;
                    }
                }
                TokenKind::Op(op @ (Op::CondThen | Op::CondElse | Op::CondClose))
                    if self.conditionals.is_empty() =>
                {
                    return self.report(Code::Conditional, token.span, format!("{op} without '%('"));
                }
                TokenKind::Op(Op::CondThen) => {
                    return self.report(Code::Conditional, token.span, "second '%?' in a conditional");
                }
                TokenKind::Op(Op::CondElse) => {
                    // The kept branch ends here: drop the other one.
                    let Some(conditional) = self.conditionals.pop() else { continue };
                    if conditional.in_else {
                        self.conditionals.push(conditional);
                        return self.report(Code::Conditional, token.span, "second '%:' in a conditional");
                    }
                    if let Err(reported) = self.skip_branch(conditional.open, true) {
                        return reported;
                    }
                }
                TokenKind::Op(Op::CondClose) => {
                    self.conditionals.pop();
                }
                _ => return token,
            }
        }
    }

    /// After `%(`: evaluates the condition and goes to the start of the branch it chooses.
    fn conditional(&mut self, open: Token) -> Result<(), Token> {
        if !self.condition(open)? {
            match self.skip_branch(open.span, false)? {
                Op::CondElse => {}
                _ => return Ok(()),
            }
            self.conditionals.push(Conditional { open: open.span, in_else: true });
            return Ok(());
        }
        self.conditionals.push(Conditional { open: open.span, in_else: false });
        Ok(())
    }

    /// `a == b && c > d || e < f %?`; `&&` binds before `||`, there are no parentheses.
    fn condition(&mut self, open: Token) -> Result<bool, Token> {
        let mut any = false;
        let mut all = true;
        loop {
            all &= self.comparison(open)?;
            let joint = self.next_expanded();
            match joint.kind {
                TokenKind::Op(Op::AndAnd) => {}
                TokenKind::Op(Op::OrOr) => {
                    any |= all;
                    all = true;
                }
                TokenKind::Op(Op::CondThen) => return Ok(any || all),
                _ => {
                    let found = self.describe(joint);
                    let message = format!("expected '%?', '&&' or '||' after a condition, found {found}");
                    return Err(self.abandon(open, joint, joint.span, message));
                }
            }
        }
    }

    /// `left op right`.
    fn comparison(&mut self, open: Token) -> Result<bool, Token> {
        let left = self.next_expanded();
        let left_value = self.operand(open, left)?;
        let op = self.next_expanded();
        let TokenKind::Op(comparison) = op.kind else {
            let found = self.describe(op);
            let message = format!("expected a comparison operator, found {found}");
            return Err(self.abandon_with(open, op, op.span, message, Some(CONDITION_HINT)));
        };
        if !matches!(comparison, Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge) {
            let message = format!("expected a comparison operator, found {comparison}");
            return Err(self.abandon_with(open, op, op.span, message, Some(CONDITION_HINT)));
        }
        let right = self.next_expanded();
        let right_value = self.operand(open, right)?;
        condition::holds(self.facts, &left_value, comparison, &right_value).map_err(|mistake| {
            let (span, message, hint) = match mistake {
                Mistake::Name(message) => (left.span, message, Some(CONDITION_HINT)),
                Mistake::Left(message) => (left.span, message, None),
                Mistake::Op(message) => (op.span, message, None),
                Mistake::Right(message) => (right.span, message, None),
            };
            self.abandon_with(open, right, span, message, hint)
        })
    }

    fn operand(&mut self, open: Token, token: Token) -> Result<Operand, Token> {
        let text = self.sources.text(token.span);
        match token.kind {
            TokenKind::Ident => Ok(Operand::Name(text.to_owned())),
            TokenKind::Str => {
                let mut value = Vec::new();
                literal::parse_string(text, true, &mut value);
                Ok(Operand::Str(Text::new(value)))
            }
            TokenKind::Number => match literal::parse_number(text) {
                Ok(number) => Ok(Operand::Number(number)),
                Err(message) => Err(self.abandon(open, token, token.span, message)),
            },
            TokenKind::Junk(Junk::MissingArgument | Junk::NestedArgument) => {
                let message = junk_message(self.sources, token, self.facts.args.len());
                Err(self.abandon(open, token, token.span, message))
            }
            _ => {
                let found = self.describe(token);
                let message = format!("expected a name, a string or a number in a condition, found {found}");
                Err(self.abandon(open, token, token.span, message))
            }
        }
    }

    /// Reports a mistake in a condition and drops the whole conditional.
    fn abandon(&mut self, open: Token, last: Token, span: Span, message: impl Into<String>) -> Token {
        self.abandon_with(open, last, span, message, None)
    }

    fn abandon_with(
        &mut self,
        open: Token,
        last: Token,
        span: Span,
        message: impl Into<String>,
        hint: Option<&str>,
    ) -> Token {
        let reported = if last.kind == TokenKind::Junk(Junk::Reported) {
            last
        } else {
            let mut diagnostic = Diagnostic::error(Code::Conditional, span, message);
            diagnostic.hints.extend(hint.map(str::to_owned));
            self.sink.push(diagnostic);
            Token { kind: TokenKind::Junk(Junk::Reported), span, spaced: true }
        };
        let mut depth = usize::from(last.kind == TokenKind::Op(Op::CondOpen)) + 1;
        let mut token = last;
        loop {
            if token.kind == TokenKind::End {
                break;
            }
            if token.kind == TokenKind::Op(Op::CondClose) {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            token = self.next_raw();
            if token.kind == TokenKind::Op(Op::CondOpen) {
                depth += 1;
            }
        }
        Token { span: open.span.to(reported.span), ..reported }
    }

    /// Drops tokens up to the end of the branch, and says which mark ended it.
    fn skip_branch(&mut self, open: Span, in_else: bool) -> Result<Op, Token> {
        let mut depth = 0_usize;
        loop {
            let token = self.next_raw();
            match token.kind {
                TokenKind::End => {
                    return Err(self.report(
                        Code::Conditional,
                        open,
                        "conditional '%(' is not closed by '%)'",
                    ));
                }
                TokenKind::Op(Op::CondOpen) => depth += 1,
                TokenKind::Op(Op::CondClose) if depth > 0 => depth -= 1,
                TokenKind::Op(Op::CondClose) => return Ok(Op::CondClose),
                TokenKind::Op(Op::CondElse) if depth == 0 && in_else => {
                    let reported = self.report(Code::Conditional, token.span, "second '%:' in a conditional");
                    self.skip_branch(open, false)?;
                    return Err(reported);
                }
                TokenKind::Op(Op::CondElse) if depth == 0 => return Ok(Op::CondElse),
                TokenKind::Op(Op::CondThen) if depth == 0 => {
                    let reported = self.report(Code::Conditional, token.span, "second '%?' in a conditional");
                    self.skip_branch(open, false)?;
                    return Err(reported);
                }
                _ => {}
            }
        }
    }

    fn expected(&mut self, code: Code, what: &str, found: Token) -> Token {
        let found_text = self.describe(found);
        // What was found may be the start of something sound: read it again.
        if self.stack.is_empty() {
            self.pos -= 1;
        }
        self.report(code, found.span, format!("expected {what}, found {found_text}"))
    }

    fn describe(&self, token: Token) -> String {
        match token.kind {
            TokenKind::End => "end of file".to_owned(),
            _ => format!("'{}'", self.sources.text(token.span)),
        }
    }

    fn report(&mut self, code: Code, span: Span, message: impl Into<String>) -> Token {
        self.sink.push(Diagnostic::error(code, span, message));
        Token { kind: TokenKind::Junk(Junk::Reported), span, spaced: true }
    }
}

/// What is wrong with a junk token.
pub(super) fn junk_message(sources: &SourceMap, token: Token, args: usize) -> String {
    let text = sources.text(token.span);
    let TokenKind::Junk(junk) = token.kind else { return String::new() };
    match junk {
        Junk::UnclosedString => "string is not closed on its line".to_owned(),
        Junk::UnclosedEmbedded => "embedded code '%{' is not closed by '%}'".to_owned(),
        Junk::MissingArgument => match args {
            0 => format!("script argument {text} is missing: no arguments were given"),
            _ => format!(
                "script argument {text} is missing: {args} argument{} given",
                if args == 1 { " was" } else { "s were" }
            ),
        },
        Junk::NestedArgument => format!("{text} inside a script argument"),
        Junk::Character => {
            format!("character {} has no meaning here", format_args!("'{}'", text.escape_debug()))
        }
        Junk::Reported => String::new(),
    }
}
