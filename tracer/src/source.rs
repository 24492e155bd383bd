//! Source texts and places in them.
//!
//! A [`Span`] is a file and a byte range; it is `Copy`, twelve bytes, and rides from the lexer to the last
//! BPF instruction. Text that macros or script arguments produced lives in a file of its own whose
//! [`SourceFile::origin`] says where it was expanded.
//!
//! **Not here:** reading files (`world`), rendering (`diagnostics::render`).

use std::fmt;
use std::sync::Arc;

/// Index of a source text in the [`SourceMap`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FileId(pub u32);

/// A byte range in one source text. `start <= end`, both within the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The text.
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span from byte offsets.
    pub fn new(file: FileId, start: usize, end: usize) -> Span {
        Span { file, start: start as u32, end: end as u32 }
    }

    /// The smallest span that covers both; `self` when they are in different files.
    pub fn to(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.file.0, self.start, self.end)
    }
}

/// One source text: a script, a tapset file, or text that an expansion produced.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As shown in messages: a path, `<input>` for `-e`, `<argument 1>` for pasted text.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
    /// Where this text was expanded, when it is not a file of its own.
    pub origin: Option<Span>,
    /// What the first line of the text is called: 1, except for a copied piece of a file.
    pub first_line: u32,
    /// Byte offset of every line start, the first being 0.
    line_starts: Vec<u32>,
}

/// A line and column as people count them: from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineColumn {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// All source texts of a session, in the order of their loading.
#[derive(Clone, Default, Debug)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// Adds a text and returns its id.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        text: impl Into<Arc<str>>,
        origin: Option<Span>,
    ) -> FileId {
        self.add_piece(name, text, origin, 1)
    }

    /// Adds a copy of some whole lines of a file, the body of a macro for one of its uses, under the name and the
    /// line numbers of that file.
    pub fn add_piece(
        &mut self,
        name: impl Into<String>,
        text: impl Into<Arc<str>>,
        origin: Option<Span>,
        first_line: u32,
    ) -> FileId {
        let text = text.into();
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1));
        self.files.push(SourceFile { name: name.into(), text, origin, first_line, line_starts });
        FileId(self.files.len() as u32 - 1)
    }

    /// Whether there is a text of that name.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.name == name)
    }

    /// The text behind an id.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// The characters of a span.
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).text.get(span.start as usize..span.end as usize).unwrap_or("")
    }

    /// The place in a real file that led to a span: where its macro or argument was expanded, outermost.
    pub fn outermost(&self, mut span: Span) -> Span {
        // An expansion's origin is always an older text, so this ends.
        while let Some(origin) = self.file(span.file).origin {
            span = origin;
        }
        span
    }

    /// Line and column of the first byte of a span.
    pub fn line_column(&self, span: Span) -> LineColumn {
        self.file(span.file).line_column(span.start)
    }

    /// `file:line:column` of a span's start, as messages print it.
    pub fn place(&self, span: Span) -> String {
        let at = self.line_column(span);
        format!("{}:{}:{}", self.file(span.file).name, at.line, at.column)
    }
}

impl SourceFile {
    /// Line and column of a byte offset.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1] as usize;
        let column = self.text.get(start..offset as usize).map_or(0, |s| s.chars().count());
        LineColumn { line: line as u32 + self.first_line - 1, column: column as u32 + 1 }
    }

    /// The byte offset at which a line starts, by the number that [`SourceFile::line_column`] gives it.
    pub fn line_start(&self, line: u32) -> usize {
        self.line_starts[(line - self.first_line) as usize] as usize
    }

    /// The text of a line, by the number that [`SourceFile::line_column`] gives it, without its newline.
    pub fn line(&self, line: u32) -> &str {
        let idx = (line - self.first_line) as usize;
        let start = self.line_starts[idx] as usize;
        let end = self.line_starts.get(idx + 1).map_or(self.text.len(), |next| *next as usize - 1);
        &self.text[start..end]
    }
}
