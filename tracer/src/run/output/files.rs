//! Output files that follow each other: by size (`-S`), by `switch_file()`, by SIGUSR2.
//!
//! Names are those that SystemTap's `staprun` gives: that of `-o` and a number, from 0 where a size is given; else the first
//! file has none.

use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::session::Switch;
use crate::sys::clock;

/// The files of one session.
pub(super) struct Files {
    pattern: PathBuf,
    switch: Option<Switch>,
    /// The number of the next one.
    number: u32,
    /// Those that are there.
    names: VecDeque<PathBuf>,
    /// Bytes in the last one.
    pub(super) written: u64,
}

impl Files {
    pub(super) fn new(pattern: &Path, switch: Option<Switch>) -> Files {
        Files { pattern: pattern.into(), switch, number: 0, names: VecDeque::new(), written: 0 }
    }

    /// Whether so many bytes more belong into another file.
    pub(super) fn are_full(&self, more: usize) -> bool {
        self.written > 0 && self.switch.is_some_and(|switch| self.written + more as u64 > switch.size)
    }

    /// Creates the next one, and removes the oldest of too many.
    pub(super) fn open(&mut self) -> io::Result<File> {
        let name = self.name();
        let file = File::create(&name)?;
        self.names.push_back(name);
        (self.number, self.written) = (self.number + 1, 0);
        if let Some(most) = self.switch.and_then(|switch| switch.most)
            && self.names.len() > most
            && let Some(oldest) = self.names.pop_front()
        {
            // Somebody may have taken it away.
            let _ = fs::remove_file(oldest);
        }
        Ok(file)
    }

    fn name(&self) -> PathBuf {
        let bytes = self.pattern.as_os_str().as_bytes();
        let dated = match bytes.contains(&b'%') {
            true => CString::new(bytes).ok().and_then(|pattern| clock::dated(&pattern)),
            false => None,
        };
        let mut name = OsString::from_vec(dated.unwrap_or_else(|| bytes.to_vec()));
        if self.switch.is_some() || self.number > 0 {
            name.push(format!(".{}", self.number));
        }
        name.into()
    }
}
