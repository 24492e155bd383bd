//! Text to tokens.
//!
//! Script arguments are pasted here, as characters, where a token may start: `$1` raw, `@1` as a string literal, so
//! an argument may be a whole probe point or half an identifier. Pasted text is a source text of its own whose
//! origin is the `$1`; a token that is half argument, half script gets a text of its own too.
//!
//! Invariants: never fails, what is no word becomes a [`Junk`] token, and tokens end with one [`TokenKind::End`].
//!
//! **Not here:** conditionals and macros (`preprocess`), the values of numbers and strings (`parser::literal`).

use std::borrow::Cow;

use crate::diagnostics::{Code, Diagnostic, Sink};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::literal::quote;
use crate::syntax::token::{Junk, Keyword, Op, Token, TokenKind};

/// The tokens of a text and its comments.
#[derive(Debug)]
pub struct Lexed {
    /// In order, the last is the end.
    pub tokens: Vec<Token>,
    /// In order, with their marks; a declaration looks here for its doc comment.
    pub comments: Vec<Span>,
}

/// Splits a text into tokens, pasting script arguments.
pub fn lex(sources: &mut SourceMap, file: FileId, args: &[String], sink: &mut Sink) -> Lexed {
    let text = sources.file(file).text.clone();
    let mut lexer = Lexer {
        sources,
        sink,
        args,
        text: Cow::Borrowed(text.as_bytes()),
        pos: 0,
        pasted_until: 0,
        segments: vec![Segment { start: 0, file, offset: 0, argument: None }],
        lexed: Lexed { tokens: Vec::with_capacity(text.len() / 4 + 1), comments: Vec::new() },
    };
    lexer.run();
    lexer.lexed
}

/// A stretch of the character stream that comes from one source text.
struct Segment {
    /// Where it starts in the stream.
    start: usize,
    /// The source text.
    file: FileId,
    /// What offset in the source text that is.
    offset: usize,
    /// For a pasted argument: where it was asked for.
    argument: Option<Span>,
}

struct Lexer<'a> {
    sources: &'a mut SourceMap,
    sink: &'a mut Sink,
    args: &'a [String],
    /// The character stream: the text with arguments pasted in so far. Always UTF-8.
    text: Cow<'a, [u8]>,
    pos: usize,
    /// The end of the last pasted argument in the stream.
    pasted_until: usize,
    segments: Vec<Segment>,
    lexed: Lexed,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let mut spaced = false;
        while let Some(byte) = self.peek(0) {
            let start = self.pos;
            let next = self.peek(1);
            let kind = match byte {
                _ if is_space(byte) => {
                    self.pos += 1;
                    spaced = true;
                    continue;
                }
                b'$' | b'@' if next.is_some_and(|next| next == b'#' || next.is_ascii_digit()) => {
                    match self.argument(byte) {
                        Ok(()) => continue,
                        Err(junk) => TokenKind::Junk(junk),
                    }
                }
                b'#' => {
                    self.line_comment(start);
                    spaced = true;
                    continue;
                }
                b'/' if next == Some(b'/') => {
                    self.line_comment(start);
                    spaced = true;
                    continue;
                }
                b'/' if next == Some(b'*') => {
                    self.block_comment(start);
                    spaced = true;
                    continue;
                }
                b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' | b'@' => self.word(),
                b'0'..=b'9' => {
                    while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric()) {
                        self.pos += 1;
                    }
                    TokenKind::Number
                }
                b'"' => self.string(),
                b'%' if next == Some(b'{') => self.embedded(start),
                _ => self.op(),
            };
            let span = self.span(start, self.pos);
            self.lexed.tokens.push(Token { kind, span, spaced });
            spaced = false;
        }
        let span = self.span(self.pos, self.pos);
        self.lexed.tokens.push(Token { kind: TokenKind::End, span, spaced });
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.pos + ahead).copied()
    }

    /// `$N`, `@N`, `$#`, `@#`: puts the argument's characters behind it and goes on there.
    fn argument(&mut self, sigil: u8) -> Result<(), Junk> {
        let start = self.pos;
        self.pos += 1;
        let raw = if self.peek(0) == Some(b'#') {
            self.pos += 1;
            Ok(("argument count".to_owned(), self.args.len().to_string()))
        } else {
            let mut number: usize = 0;
            while let Some(digit @ b'0'..=b'9') = self.peek(0) {
                number = number.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
                self.pos += 1;
            }
            match number.checked_sub(1).and_then(|idx| self.args.get(idx)) {
                Some(arg) => Ok((format!("argument {number}"), arg.clone())),
                None => Err(Junk::MissingArgument),
            }
        };
        if start < self.pasted_until {
            return Err(Junk::NestedArgument);
        }
        let (name, raw) = raw?;
        let pasted = if sigil == b'$' { raw } else { quote(raw.as_bytes()) };
        let origin = self.span(start, self.pos);
        let script = self.segment(start);
        let (script_file, script_offset) = (script.file, script.offset + (self.pos - script.start));
        let file = self.sources.add(format!("<{name}>"), pasted.as_str(), Some(origin));
        self.text.to_mut().splice(self.pos..self.pos, pasted.bytes());
        self.pasted_until = self.pos + pasted.len();
        self.segments.push(Segment { start: self.pos, file, offset: 0, argument: Some(origin) });
        self.segments.push(Segment {
            start: self.pasted_until,
            file: script_file,
            offset: script_offset,
            argument: None,
        });
        Ok(())
    }

    fn line_comment(&mut self, start: usize) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.pos += 1;
        }
        let span = self.span(start, self.pos);
        self.lexed.comments.push(span);
    }

    fn block_comment(&mut self, start: usize) {
        self.pos += 2;
        let closed = find(&self.text[self.pos..], b"*/");
        self.pos = closed.map_or(self.text.len(), |at| self.pos + at + 2);
        let span = self.span(start, self.pos);
        self.lexed.comments.push(span);
        if closed.is_none() {
            let open = self.span(start, start + 2);
            self.sink.push(Diagnostic::warning(
                Code::Unclosed,
                open,
                "comment is not closed: the rest of the text is part of it",
            ));
        }
    }

    /// An identifier, keyword or `@word`.
    fn word(&mut self) -> TokenKind {
        let start = self.pos;
        self.pos += 1;
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$') {
            self.pos += 1;
        }
        let word = &self.text[start..self.pos];
        if word[0] == b'@' {
            return TokenKind::AtWord;
        }
        let keyword = std::str::from_utf8(word).ok().and_then(Keyword::from_word);
        keyword.map_or(TokenKind::Ident, TokenKind::Keyword)
    }

    fn string(&mut self) -> TokenKind {
        self.pos += 1;
        loop {
            match self.peek(0) {
                None | Some(b'\n') => return TokenKind::Junk(Junk::UnclosedString),
                Some(b'"') => {
                    self.pos += 1;
                    return TokenKind::Str;
                }
                // The character after a backslash is taken whatever it is, the end of the text excepted.
                Some(b'\\') => self.pos += 1 + usize::from(self.peek(1).is_some()),
                Some(_) => self.pos += 1,
            }
        }
    }

    fn embedded(&mut self, start: usize) -> TokenKind {
        self.pos += 2;
        let body = &self.text[self.pos..];
        let Some(at) = find(body, b"%}") else {
            let typo = find(body, b"}%");
            self.pos = self.text.len();
            if let Some(at) = typo {
                let span = self.span(start + 2 + at, start + 2 + at + 2);
                self.sink.push(Diagnostic::warning(
                    Code::Unclosed,
                    span,
                    "'}%' closes nothing: embedded code ends in '%}'",
                ));
            }
            return TokenKind::Junk(Junk::UnclosedEmbedded);
        };
        self.pos += at + 2;
        TokenKind::Embedded
    }

    fn op(&mut self) -> TokenKind {
        let rest = &self.text[self.pos..];
        for len in (1..=3).rev() {
            let Some(op) =
                rest.get(..len).and_then(|word| std::str::from_utf8(word).ok()).and_then(Op::from_word)
            else {
                continue;
            };
            self.pos += len;
            return TokenKind::Op(op);
        }
        // Step over the whole character: its continuation bytes are 10xxxxxx.
        self.pos += 1;
        while self.peek(0).is_some_and(|byte| byte & 0xc0 == 0x80) {
            self.pos += 1;
        }
        TokenKind::Junk(Junk::Character)
    }

    /// The part of the stream that a position is in.
    fn segment(&self, pos: usize) -> &Segment {
        &self.segments[self.segments.partition_point(|segment| segment.start <= pos).saturating_sub(1)]
    }

    /// The place of a piece of the stream.
    fn span(&mut self, start: usize, end: usize) -> Span {
        let segment = self.segment(start);
        let next = self.segments[self.segments.partition_point(|segment| segment.start <= start)..]
            .iter()
            .find(|next| next.start > start);
        if next.is_none_or(|next| end <= next.start) {
            return Span::new(
                segment.file,
                segment.offset + (start - segment.start),
                segment.offset + (end - segment.start),
            );
        }
        // Half argument, half script: a text of its own, which came from the place that asked for the argument.
        let origin = segment.argument.unwrap_or_else(|| {
            let from = segment.offset + (start - segment.start);
            Span::new(segment.file, from, from + 1)
        });
        let text = String::from_utf8_lossy(&self.text[start..end]).into_owned();
        let len = text.len();
        let file = self.sources.add("<argument>", text, Some(origin));
        Span::new(file, 0, len)
    }
}

/// What C calls white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// The first place of a two-byte mark.
fn find(text: &[u8], mark: &[u8; 2]) -> Option<usize> {
    text.windows(2).position(|pair| pair == mark)
}
