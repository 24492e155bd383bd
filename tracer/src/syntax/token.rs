//! The words of the language.
//!
//! A token is a kind and a place; its characters are read from the source map when somebody needs them.
//!
//! **Not here:** finding them in the text (`lexer`).

use std::fmt;

use crate::source::Span;

/// One word of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is.
    pub span: Span,
    /// Whether white space or a comment stands before it. Wildcards in probe points are glued only without.
    pub spaced: bool,
}

/// The kinds of token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// A name, target variables `$x` and the pretty-print suffixes `$`, `$$` included.
    Ident,
    /// A reserved word.
    Keyword(Keyword),
    /// `@word`: an operator of the language or a macro.
    AtWord,
    /// A run of letters and digits that starts with a digit; checked by the parser.
    Number,
    /// A string literal with its quotes.
    Str,
    /// `%{ ... %}` with its marks.
    Embedded,
    /// Punctuation.
    Op(Op),
    /// Something that is no word; the parser reports it when it gets there.
    Junk(Junk),
    /// The end of the text.
    End,
}

/// Why characters are no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Junk {
    /// A string without its closing quote on the same line.
    UnclosedString,
    /// `%{` without `%}`.
    UnclosedEmbedded,
    /// `$3` or `@3` with fewer script arguments.
    MissingArgument,
    /// `$1` inside the text of an argument.
    NestedArgument,
    /// A character without meaning.
    Character,
    /// An error of the preprocessor that was already told.
    Reported,
}

/// Declares an enum whose variants have one spelling each.
macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The spelling.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The one spelled like this.
            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

spelled! {
    /// The reserved words. They are still allowed as probe-point components and as members after `->`.
    Keyword {
        Break = "break",
        Catch = "catch",
        Continue = "continue",
        Delete = "delete",
        Else = "else",
        For = "for",
        Foreach = "foreach",
        Function = "function",
        Global = "global",
        If = "if",
        In = "in",
        Limit = "limit",
        Long = "long",
        Next = "next",
        Private = "private",
        Probe = "probe",
        Return = "return",
        Str = "string",
        Try = "try",
        While = "while",
    }
}

impl Keyword {
    /// Whether it starts a top-level declaration: where the parser picks up again after an error.
    pub fn starts_item(self) -> bool {
        matches!(self, Keyword::Probe | Keyword::Function | Keyword::Global | Keyword::Private)
    }

    /// Whether it starts a statement.
    pub fn starts_stmt(self) -> bool {
        matches!(
            self,
            Keyword::Break
                | Keyword::Continue
                | Keyword::Delete
                | Keyword::For
                | Keyword::Foreach
                | Keyword::If
                | Keyword::Next
                | Keyword::Return
                | Keyword::Try
                | Keyword::While
        )
    }
}

spelled! {
    /// Punctuation. The lexer takes the longest spelling that fits.
    Op {
        ShlAssign = "<<=",
        ShrAssign = ">>=",
        Accumulate = "<<<",
        Ushr = ">>>",
        Eq = "==",
        Ne = "!=",
        Le = "<=",
        Ge = ">=",
        Match = "=~",
        NotMatch = "!~",
        AddAssign = "+=",
        SubAssign = "-=",
        MulAssign = "*=",
        DivAssign = "/=",
        ModAssign = "%=",
        AndAssign = "&=",
        XorAssign = "^=",
        OrAssign = "|=",
        ConcatAssign = ".=",
        AndAnd = "&&",
        OrOr = "||",
        Inc = "++",
        Dec = "--",
        Arrow = "->",
        Shl = "<<",
        Shr = ">>",
        CondOpen = "%(",
        CondThen = "%?",
        CondElse = "%:",
        CondClose = "%)",
        Assign = "=",
        Lt = "<",
        Gt = ">",
        Plus = "+",
        Minus = "-",
        Star = "*",
        Slash = "/",
        Percent = "%",
        And = "&",
        Xor = "^",
        Or = "|",
        Not = "!",
        Tilde = "~",
        Question = "?",
        Colon = ":",
        Semi = ";",
        Comma = ",",
        Dot = ".",
        OpenBrace = "{",
        CloseBrace = "}",
        OpenParen = "(",
        CloseParen = ")",
        OpenBracket = "[",
        CloseBracket = "]",
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.word())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.word())
    }
}
