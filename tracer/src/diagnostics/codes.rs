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
    /// The text is not in the language.
    Syntax = "syntax";
}
