//! Which tapset file defines a name; files are read and parsed only when a script uses what they define.
//!
//! The index is lexical: a scan for `function NAME`, `probe NAME =` and `global NAME` at the start of lines, so that
//! a syntax error in an unused file does not matter. Directories of `-I` come before the embedded copy.
//!
//! **Not here:** overloads and priorities (`elaborate`), the text of the library (`tapsets/`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::FileId;

include!(concat!(env!("OUT_DIR"), "/tapsets.rs"));

/// One tapset file, not parsed yet.
#[derive(Clone, Debug)]
pub struct TapsetFile {
    /// As shown in messages.
    pub name: String,
    /// Its text.
    pub text: std::borrow::Cow<'static, str>,
    /// Its id once it was loaded.
    pub loaded: Option<FileId>,
}

/// The library: files and what they define.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: Vec<TapsetFile>,
    functions: BTreeMap<String, Vec<usize>>,
    globals: BTreeMap<String, Vec<usize>>,
    aliases: BTreeMap<String, Vec<usize>>,
}

impl Library {
    /// The copy inside the binary.
    pub fn embedded() -> Library {
        let mut library = Library::default();
        for (name, text) in EMBEDDED {
            library.add((*name).to_owned(), std::borrow::Cow::Borrowed(*text));
        }
        library
    }

    /// Adds a file; its index. Files added later define beside those added earlier.
    pub fn add(&mut self, name: String, text: std::borrow::Cow<'static, str>) -> usize {
        let index = self.files.len();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let first = words.next().unwrap_or("");
            // `private function f` is nobody else's business, but its file is.
            let first = if first == "private" { words.next().unwrap_or("") } else { first };
            let table = match first {
                "function" => &mut self.functions,
                "global" => &mut self.globals,
                "probe" => &mut self.aliases,
                _ => continue,
            };
            let rest = line[line.find(first).unwrap_or(0) + first.len()..].trim_start();
            let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '.' && first == "probe");
            for part in rest.split(',').take(if first == "global" { usize::MAX } else { 1 }) {
                let part = part.trim_start();
                let name = &part[..part.find(end).unwrap_or(part.len())];
                if !name.is_empty() {
                    let files = table.entry(name.to_owned()).or_default();
                    if !files.contains(&index) {
                        files.push(index);
                    }
                }
            }
        }
        self.files.push(TapsetFile { name, text, loaded: None });
        index
    }

    /// Adds every `.stp` file below a directory; what cannot be read is said.
    pub fn add_directory(&mut self, world: &dyn crate::world::World, dir: &Path) -> Result<(), String> {
        let mut folders = vec![PathBuf::from(dir)];
        while let Some(folder) = folders.pop() {
            let mut entries = world
                .read_dir(&folder)
                .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
            entries.sort();
            for path in entries {
                if path.extension().is_some_and(|e| e == "stp") {
                    let text = world
                        .read_text(&path)
                        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                    self.add(path.display().to_string(), text.into());
                } else if path.extension().is_none() && world.is_dir(&path) {
                    folders.push(path);
                }
            }
        }
        Ok(())
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

    /// A file.
    pub fn file_mut(&mut self, index: usize) -> &mut TapsetFile {
        &mut self.files[index]
    }
}
