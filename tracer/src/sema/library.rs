//! Which tapset file defines a name; files are read and parsed only when a script uses what they define.
//!
//! The index is made of words: `function NAME`, `probe NAME =` and `global NAME` outside of braces, in all branches of
//! conditionals, so that a syntax error in an unused file does not matter.
//!
//! **Not here:** overloads and priorities (`elaborate`), the text of the library (`tapsets/`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostics::Sink;
use crate::source::{FileId, SourceMap};
use crate::syntax::token::{Keyword, Op, Token, TokenKind};
use crate::syntax::{self, Facts, Macros, lexer};
use crate::world::World;

/// Name, text and declarations of a tapset file inside the binary.
type Embedded = (&'static str, &'static str, &'static [(Keyword, &'static str)]);

include!(concat!(env!("OUT_DIR"), "/tapsets.rs"));

/// One tapset file, not parsed yet.
#[derive(Clone, Debug)]
pub struct TapsetFile {
    /// As shown in messages.
    pub name: String,
    /// Its text.
    pub text: Cow<'static, str>,
    /// Its id once it was loaded.
    pub loaded: Option<FileId>,
}

/// The library: files and what they define.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: Vec<TapsetFile>,
    /// How many of them are inside the binary: the first.
    embedded: usize,
    functions: BTreeMap<String, Vec<usize>>,
    globals: BTreeMap<String, Vec<usize>>,
    aliases: BTreeMap<String, Vec<usize>>,
    /// Macro files of `-I`, and those inside the binary.
    macros: [Vec<(String, Cow<'static, str>)>; 2],
}

impl Library {
    /// The copy inside the binary.
    pub fn embedded() -> Library {
        let mut library = Library::default();
        for (name, text, declared) in EMBEDDED {
            if name.ends_with(".stpm") {
                library.macros[1].push(((*name).to_owned(), Cow::Borrowed(*text)));
            } else {
                let declared = declared.iter().map(|(kind, name)| (*kind, (*name).to_owned()));
                library.add_declared((*name).to_owned(), Cow::Borrowed(*text), declared);
            }
        }
        library.embedded = library.files.len();
        library
    }

    /// Adds a file; its index. Files added later define beside those added earlier.
    pub fn add(&mut self, name: String, text: Cow<'static, str>) -> usize {
        let declared = declared(&text);
        self.add_declared(name, text, declared.into_iter())
    }

    fn add_declared(
        &mut self,
        name: String,
        text: Cow<'static, str>,
        declared: impl Iterator<Item = (Keyword, String)>,
    ) -> usize {
        let index = self.files.len();
        for (kind, name) in declared {
            let table = match kind {
                Keyword::Function => &mut self.functions,
                Keyword::Probe => &mut self.aliases,
                _ => &mut self.globals,
            };
            let files = table.entry(name).or_default();
            if !files.contains(&index) {
                files.push(index);
            }
        }
        self.files.push(TapsetFile { name, text, loaded: None });
        index
    }

    /// Adds the files of a directory, and of those of its folders that are for this kernel and machine: `linux`,
    /// `linux/6.12`, `x86_64`, `linux/x86_64` …; what cannot be read is said.
    pub fn add_directory(&mut self, world: &dyn World, dir: &Path, facts: &Facts) -> Result<(), String> {
        let mut folders = vec![dir.to_owned(), dir.join("linux")];
        for (at, _) in facts.kernel_v.match_indices('.').chain([(facts.kernel_v.len(), "")]) {
            folders.push(dir.join("linux").join(&facts.kernel_v[..at]));
        }
        folders.push(dir.join("linux").join(&facts.kernel_vr));
        for folder in folders.clone() {
            folders.push(folder.join(&facts.arch));
        }
        for (n, folder) in folders.iter().enumerate() {
            if n > 0 && !world.is_dir(folder) {
                continue;
            }
            let mut entries = world
                .read_dir(folder)
                .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
            entries.sort();
            for path in entries {
                let is_macros = path.extension().is_some_and(|e| e == "stpm");
                if !is_macros && path.extension().is_none_or(|e| e != "stp") {
                    continue;
                }
                let text = world
                    .read_text(&path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                let name = path.display().to_string();
                if is_macros {
                    self.macros[0].push((name, text.into()));
                } else {
                    self.add(name, text.into());
                }
            }
        }
        Ok(())
    }

    /// The macros of all macro files; those of `-I` hide those inside the binary.
    pub fn macros(&self, sources: &mut SourceMap, facts: &Facts, sink: &mut Sink) -> Macros {
        let mut all = Macros::default();
        for files in &self.macros {
            let mut macros = Macros::default();
            for (name, text) in files {
                let file = sources.add(name.clone(), text.to_string(), None);
                syntax::parse_macros(sources, file, facts, &mut macros, sink);
            }
            all.extend(macros);
        }
        all
    }

    /// Names and texts of the script files.
    pub fn scripts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|file| (&*file.name, &*file.text))
    }

    /// Names and texts of the script files of `-I`.
    pub fn own(&self) -> impl Iterator<Item = (&str, &str)> {
        self.scripts().skip(self.embedded)
    }

    /// The texts of all files, macro files too.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let macros = self.macros.iter().flatten().map(|(_, text)| &**text);
        self.files.iter().map(|file| &*file.text).chain(macros)
    }

    /// Files that define a function.
    pub fn function(&self, name: &str) -> &[usize] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// Files that declare a global.
    pub fn global(&self, name: &str) -> &[usize] {
        self.globals.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every alias with the files that define it.
    pub fn aliases(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.aliases.iter().map(|(name, files)| (name.as_str(), files.as_slice()))
    }

    /// Names of all functions, for hints.
    pub fn function_names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }

    /// Files of the copy inside the binary that were loaded.
    pub fn embedded_files(&self) -> impl Iterator<Item = FileId> {
        self.files[..self.embedded].iter().filter_map(|file| file.loaded)
    }

    /// A file.
    pub fn file_mut(&mut self, index: usize) -> &mut TapsetFile {
        &mut self.files[index]
    }
}

/// What a text declares: `Probe` is an alias, `Global` a variable.
fn declared(text: &str) -> Vec<(Keyword, String)> {
    let mut sources = SourceMap::default();
    let file = sources.add("", text, None);
    // Mistakes are told when the file is loaded.
    let lexed = lexer::lex(&mut sources, file, &[], &mut Sink::default());
    let word = |token: &Token| sources.text(token.span);
    let mut out = Vec::new();
    let mut depth = 0_usize;
    let mut tokens = lexed.tokens.iter().peekable();
    while let Some(token) = tokens.next() {
        match token.kind {
            TokenKind::Op(Op::OpenBrace) => depth += 1,
            TokenKind::Op(Op::CloseBrace) => depth = depth.saturating_sub(1),
            TokenKind::Keyword(Keyword::Function) if depth == 0 => {
                if let Some(name) = tokens.peek() {
                    out.push((Keyword::Function, word(name).to_owned()));
                }
            }
            TokenKind::Keyword(Keyword::Global | Keyword::Private) if depth == 0 => {
                // Names stand at the beginning and after commas.
                let mut expected = true;
                while let Some(next) = tokens.next_if(|next| !starts_declaration(next)) {
                    match next.kind {
                        TokenKind::Ident if expected => {
                            out.push((Keyword::Global, word(next).to_owned()));
                            expected = false;
                        }
                        TokenKind::Op(Op::Comma) => expected = true,
                        _ => {}
                    }
                }
            }
            TokenKind::Keyword(Keyword::Probe) if depth == 0 => {
                let mut name = String::new();
                let in_name =
                    |next: &&Token| !starts_declaration(next) || matches!(next.kind, TokenKind::Keyword(_));
                while let Some(next) = tokens.next_if(in_name) {
                    match next.kind {
                        TokenKind::Op(Op::Assign | Op::AddAssign) => {
                            out.push((Keyword::Probe, std::mem::take(&mut name)));
                        }
                        TokenKind::Op(Op::Comma | Op::Question | Op::Not) => name.clear(),
                        _ => name.push_str(word(next)),
                    }
                }
            }
            _ => {}
        }
    }
    out
}

/// Whether a word outside of braces ends a list of names.
fn starts_declaration(token: &Token) -> bool {
    match token.kind {
        TokenKind::Keyword(keyword) => keyword.starts_item(),
        TokenKind::Op(Op::OpenBrace | Op::Semi) | TokenKind::Embedded | TokenKind::End => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_made_at_build_time_is_the_lexers() {
        for (name, text, known) in EMBEDDED.iter().filter(|(name, ..)| name.ends_with(".stp")) {
            let known: Vec<(Keyword, String)> =
                known.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect();
            assert_eq!(known, declared(text), "{name}");
            assert!(!known.is_empty(), "{name} declares nothing");
        }
    }

    #[test]
    fn the_index_knows_what_a_file_declares() {
        let text = "/* function no() */ private global a = 1, b[5], c%\n\
                    function\n two:long(x) { function three() } # probe x = y\n\
                    probe my.one = your.one = begin, end { probe not = 1 }\n\
                    probe timer.s(1) { global not }\n\
                    %( 1 == 1 %? probe cond.if += never {} %)\n private function last() %{ } function no %}";
        let names: Vec<String> =
            declared(text).into_iter().map(|(kind, name)| format!("{kind} {name}")).collect();
        assert_eq!(
            names,
            [
                "'global' a",
                "'global' b",
                "'global' c",
                "'function' two",
                "'probe' my.one",
                "'probe' your.one",
                "'probe' cond.if",
                "'function' last",
            ]
        );
    }
}
