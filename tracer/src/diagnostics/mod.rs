//! What we tell the script's author: places, explanations, hints.
//!
//! Leaf functions that do not know where they are return `Result<T, String>`; the caller that does adds the
//! place. Passes collect many diagnostics in a [`Sink`] and go on.
//!
//! **Not here:** environment failures (each room has its own error type) and bugs (panics).

pub mod codes;
pub mod explain;
pub mod foreign;
pub mod render;
pub mod suggest;

pub use codes::Code;

use crate::source::Span;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The script still runs.
    Warning,
    /// The pass fails.
    Error,
}

/// A second place that matters, with a word on why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// Why it matters: `first used as a string here`.
    pub message: String,
}

/// One message to the script's author. Lower case, no final period.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// Stable word, `tracer explain CODE` says more.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// The place, when there is one.
    pub span: Option<Span>,
    /// What is wrong.
    pub message: String,
    /// Other places.
    pub labels: Vec<Label>,
    /// What to try.
    pub hints: Vec<String>,
    /// How we got there: alias, tapset and function expansions, innermost first.
    pub trace: Vec<Label>,
    /// At how many further places the same is wrong, against the same other place.
    pub also: u32,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            span: Some(span),
            message: message.into(),
            labels: Vec::new(),
            hints: Vec::new(),
            trace: Vec::new(),
            also: 0,
        }
    }

    /// A warning at a place.
    pub fn warning(code: Code, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// Takes the place away: it is about the command line.
    #[must_use]
    pub fn placeless(mut self) -> Diagnostic {
        self.span = None;
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn label(mut self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, message: message.into() });
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hints.push(hint.into());
        self
    }

    /// Adds a step of the expansion that led here.
    #[must_use]
    pub fn via(mut self, span: Span, message: impl Into<String>) -> Diagnostic {
        self.trace.push(Label { span, message: message.into() });
        self
    }
}

/// Collects the diagnostics of the passes, in order, each once. What is wrong in the same way at several places, because
/// of the same other place, is one mistake; and so is what several expansions of one place say.
#[derive(Default, Debug)]
pub struct Sink {
    all: Vec<Diagnostic>,
    /// Further places, with the number of their diagnostic.
    also: Vec<(usize, Span)>,
}

impl Sink {
    /// Keeps a diagnostic; the same one twice is kept once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let same = self.all.iter().position(|known| {
            (known.code, known.severity) == (diagnostic.code, diagnostic.severity)
                && known.message == diagnostic.message
                && known.labels == diagnostic.labels
                && known.hints == diagnostic.hints
                && (known.span == diagnostic.span || !known.labels.is_empty())
        });
        let Some(same) = same else { return self.all.push(diagnostic) };
        let Some(span) = diagnostic.span else { return };
        if self.all[same].span != Some(span) && !self.also.contains(&(same, span)) {
            self.also.push((same, span));
            self.all[same].also += 1;
        }
    }

    /// Whether a pass must fail.
    pub fn has_errors(&self) -> bool {
        self.all.iter().any(|d| d.severity == Severity::Error)
    }

    /// What was collected so far.
    pub fn all(&self) -> &[Diagnostic] {
        &self.all
    }
}
