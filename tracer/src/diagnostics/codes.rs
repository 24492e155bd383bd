//! The list of diagnostic codes: one stable word each.

/// A diagnostic's stable word. New codes are added to the table below, one row each, sorted.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal;)*) => {
        /// One kind of mistake. The word is what users see and what `tracer explain` takes.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $variant,)* }
        impl Code {
            /// Every code, sorted by word.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];
            /// The stable word.
            pub fn word(self) -> &'static str { match self { $(Code::$variant => $word,)* } }
        }
    };
}

codes! {
    /// `%( condition %? ... %: ... %)` is malformed, or its condition cannot be decided.
    Conditional = "conditional";
    /// One file declares a name twice, or twice in different ways.
    Duplicate = "duplicate";
    /// A `printf` format has a directive that does not exist.
    Format = "format";
    /// A macro is defined or used wrongly.
    Macro = "macro";
    /// Blocks or expressions are nested too deeply.
    Nesting = "nesting";
    /// A number has digits that it cannot have, or is out of range.
    Number = "number";
    /// A script argument `$1` or `@1` was not given.
    ScriptArgument = "script-argument";
    /// The text is not in the language.
    Syntax = "syntax";
    /// A string, a comment, a block or embedded code has no end.
    Unclosed = "unclosed";
    /// `@word` is neither an operator nor a macro.
    UnknownOperator = "unknown-operator";
    /// Legal, but this version cannot do it.
    Unsupported = "unsupported";
}
