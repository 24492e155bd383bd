//! The list of diagnostic codes: one stable word each.

/// A diagnostic's stable word. New codes are added to the table below, one row each, sorted, and
/// to docs/errors, a section each.
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
    /// Probe aliases stand for each other.
    AliasCycle = "alias-cycle";
    /// A function, array or format is given a wrong number of values.
    Arity = "arity";
    /// `%( condition %? ... %: ... %)` is malformed, or its condition cannot be decided.
    Conditional = "conditional";
    /// One file declares a name twice, or twice in different ways.
    Duplicate = "duplicate";
    /// The script contains C code.
    EmbeddedC = "embedded-c";
    /// An array is changed inside a foreach over it.
    ForeachModification = "foreach-modification";
    /// A `printf` format has a directive that does not exist.
    Format = "format";
    /// A histogram has impossible bounds.
    Histogram = "histogram";
    /// The kernel that runs here cannot do it; a newer one can.
    KernelLimit = "kernel-limit";
    /// A macro is defined or used wrongly.
    Macro = "macro";
    /// A statement or operator stands where it has no meaning.
    Misplaced = "misplaced";
    /// Only guru mode (`-g`) allows this.
    NeedsGuru = "needs-guru";
    /// Blocks or expressions are nested too deeply.
    Nesting = "nesting";
    /// A variable is read and gets a value nowhere.
    NeverAssigned = "never-assigned";
    /// Types or variables are needed, and the debug information that has them is not there.
    NoDebugInfo = "no-debug-info";
    /// A statement, an assignment or a handler does nothing.
    NoEffect = "no-effect";
    /// A program or library cannot be opened.
    NoFile = "no-file";
    /// The running kernel was built without kprobes.
    NoKprobes = "no-kprobes";
    /// The script has nothing to run.
    NoProbes = "no-probes";
    /// A target variable is used where no traced code is behind the handler.
    NoTargetVariables = "no-target-variables";
    /// Only variables and elements can be assigned to, deleted, extracted from.
    NotAssignable = "not-assignable";
    /// A number has digits that it cannot have, or is out of range.
    Number = "number";
    /// A regular expression that is not one, or whose automaton would be too large.
    Pattern = "pattern";
    /// No such probe point.
    ProbePoint = "probe-point";
    /// A script argument `$1` or `@1` was not given.
    ScriptArgument = "script-argument";
    /// The text is not in the language.
    Syntax = "syntax";
    /// Aliases stand for more probe points than a machine can hold.
    TooManyPoints = "too-many-points";
    /// A value is used as a number and as a string, or as a statistic and a plain value.
    TypeConflict = "type-conflict";
    /// A string, a comment, a block or embedded code has no end.
    Unclosed = "unclosed";
    /// No such function.
    UnknownFunction = "unknown-function";
    /// No such global.
    UnknownGlobal = "unknown-global";
    /// `@word` is neither an operator nor a macro.
    UnknownOperator = "unknown-operator";
    /// A target variable does not exist or is not available here.
    UnresolvedTarget = "unresolved-target-variable";
    /// Legal, but this version cannot do it.
    Unsupported = "unsupported";
}
