//! The only door to files, /proc and tracefs in passes 1 to 4.
//!
//! [`SystemWorld`] is the machine; [`MemoryWorld`] is a table of paths for tests.
//!
//! **Not here:** what files mean (`debuginfo`, `sema::library`), the kernel's abilities (`sys::features`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cache::Cache;
use crate::download::{Answer, Check, Servers};
use crate::sys::mmap::Mapped;

pub use crate::sys::mmap::Part;

/// The bytes of a file; cheap to clone.
#[derive(Clone, Debug)]
pub struct FileBytes {
    bytes: Bytes,
    identity: Option<Identity>,
}

/// What tells a file from others, and from what it was before: it is not the same when anything wrote to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The number of the device that it is on.
    pub device: u64,
    /// The number of its inode.
    pub inode: u64,
    /// Its bytes.
    pub size: u64,
    /// When its bytes changed, in nanoseconds since 1970, as it says.
    pub modified: i128,
    /// When anything of it changed, as the kernel says.
    pub changed: i128,
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Identity {
        use std::os::unix::fs::MetadataExt;
        let time = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Clone, Debug)]
enum Bytes {
    Mapped(Arc<Mapped>),
    Owned(Arc<[u8]>),
}

impl FileBytes {
    /// A part of the bytes, without copying what is mapped; `None` when it ends behind them.
    pub fn part(&self, range: Range<usize>) -> Option<Part> {
        let bytes = self.get(range.clone())?;
        Some(match &self.bytes {
            Bytes::Mapped(mapped) => Part::Mapped(mapped.clone(), range),
            Bytes::Owned(_) => Part::Owned(bytes.into()),
        })
    }

    /// Which file they are of; `None` where that is not known.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }
}

impl Deref for FileBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mapped) => mapped,
            Bytes::Owned(owned) => owned,
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes { bytes: Bytes::Owned(bytes.into()), identity: None }
    }
}

/// Files and what is known about the machine.
pub trait World: Send + Sync {
    /// A file's bytes; regular files are mapped, not read.
    fn map_file(&self, path: &Path) -> io::Result<FileBytes>;
    /// A file's text; bytes that are not UTF-8 are an error.
    fn read_text(&self, path: &Path) -> io::Result<String>;
    /// Whether something is there.
    fn exists(&self, path: &Path) -> bool;
    /// Whether it is a directory.
    fn is_dir(&self, path: &Path) -> bool;
    /// The paths in a directory, in no order.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// The path without links and dots.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;
    /// The number of a file's inode.
    fn inode(&self, path: &Path) -> io::Result<u64>;
    /// Whether two paths lead to one file.
    fn is_same(&self, one: &Path, other: &Path) -> bool {
        one == other || matches!((self.inode(one), self.inode(other)), (Ok(one), Ok(other)) if one == other)
    }
    /// The value of PATH.
    fn search_path(&self) -> Vec<PathBuf>;

    /// Folders where debug information is looked for, besides the usual ones.
    fn debug_folders(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// The debug information of a build-id from elsewhere, where somebody is named who may have it. `check` looks at the
    /// file before it is kept.
    fn download(&self, _build_id: &str, _check: Check<'_>) -> Answer {
        Answer { path: None, asked: Vec::new() }
    }

    /// Where indexes of large files are kept.
    fn cache(&self) -> Option<Arc<Cache>> {
        None
    }

    /// The file that a program's name stands for: with a slash a path, else the first hit in PATH.
    fn find_program(&self, name: &str) -> Option<PathBuf> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            return self.exists(&path).then_some(path);
        }
        self.search_path()
            .into_iter()
            .map(|dir| dir.join(name))
            .find(|path| self.exists(path) && !self.is_dir(path))
    }
}

/// This machine.
#[derive(Debug, Default)]
pub struct SystemWorld {
    /// `--debuginfo-path`.
    pub debug_folders: Vec<PathBuf>,
    /// `DEBUGINFOD_URLS`.
    pub servers: Servers,
    /// Where indexes of large files are kept; `None` with `--disable-cache`.
    pub cache: Option<Arc<Cache>>,
}

impl World for SystemWorld {
    fn map_file(&self, path: &Path) -> io::Result<FileBytes> {
        // Before it is opened: a FIFO waits for a writer, and devices do as they please.
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
        }
        if !metadata.is_file() {
            return Err(io::Error::other("it is a FIFO, a socket or a device, and no file"));
        }
        let file = fs::File::open(path)?;
        // Files of sysfs and proc claim sizes that mapping does not honour.
        if metadata.is_file() && metadata.len() > 0 && !path.starts_with("/sys") && !path.starts_with("/proc")
        {
            let metadata = file.metadata()?;
            let bytes = Bytes::Mapped(Arc::new(Mapped::new(&file, metadata.len())?));
            return Ok(FileBytes { bytes, identity: Some(Identity::of(&metadata)) });
        }
        Ok(FileBytes::from(fs::read(path)?))
    }

    fn read_text(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect()
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).map(|metadata| metadata.ino())
    }

    fn is_same(&self, one: &Path, other: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let file = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        one == other || file(one).is_some_and(|one| Some(one) == file(other))
    }

    fn search_path(&self) -> Vec<PathBuf> {
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
    }

    fn debug_folders(&self) -> Vec<PathBuf> {
        self.debug_folders.clone()
    }

    fn download(&self, build_id: &str, check: Check<'_>) -> Answer {
        self.servers.debug_info(build_id, check)
    }

    fn cache(&self) -> Option<Arc<Cache>> {
        self.cache.clone()
    }
}

/// Files in memory, by absolute path.
#[derive(Clone, Debug, Default)]
pub struct MemoryWorld {
    /// The files.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryWorld {
    fn get(&self, path: &Path) -> io::Result<&Vec<u8>> {
        self.files.get(path).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

impl World for MemoryWorld {
    fn map_file(&self, path: &Path) -> io::Result<FileBytes> {
        Ok(FileBytes::from(self.get(path)?.clone()))
    }

    fn read_text(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(self.get(path)?.clone()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_dir(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file != path && file.starts_with(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        if !self.is_dir(path) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such directory"));
        }
        let depth = path.components().count() + 1;
        let mut entries: Vec<PathBuf> = self
            .files
            .keys()
            .filter(|file| file.starts_with(path))
            .map(|file| file.components().take(depth).collect())
            .collect();
        entries.dedup();
        Ok(entries)
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        if self.exists(path) { Ok(path.to_owned()) } else { self.get(path).map(|_| path.to_owned()) }
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        self.get(path)?;
        Ok(self.files.keys().take_while(|known| *known != path).count() as u64 + 1)
    }

    fn search_path(&self) -> Vec<PathBuf> {
        vec![PathBuf::from("/usr/bin"), PathBuf::from("/bin")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_no_files() {
        let error = SystemWorld::default().map_file(Path::new("/dev/zero")).expect_err("it has no end");
        assert_eq!(error.to_string(), "it is a FIFO, a socket or a device, and no file");
    }

    #[test]
    fn programs_are_found_by_path_and_by_name() {
        let mut world = MemoryWorld::default();
        world.files.insert("/bin/ls".into(), vec![1]);
        assert_eq!(world.find_program("ls"), Some("/bin/ls".into()));
        assert_eq!(world.find_program("/bin/ls"), Some("/bin/ls".into()));
        assert_eq!(world.find_program("bin"), None);
        assert_eq!(world.read_dir(Path::new("/")).expect("the root"), [PathBuf::from("/bin")]);
    }
}
