//! Indexes of large files, kept from session to session in a folder of this user alone.
//!
//! A kept index is used when it is of the very file that is there (build-id, device, inode, size, both times), was written
//! by a tracer whose indexes are the same, and is what was written; else it is as if it were not there, and is made anew.
//!
//! Invariants: without a folder that is ours alone nothing is read or written, and `-v` says why; what is wrong with the
//! cache never ends a session. Files get their names when they are whole. All together stay below a bound: the oldest go.
//!
//! **Not here:** what an index is (`debuginfo::dwarf::index`); files from servers (`download`).

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use crate::sys::folder::Folder;
use crate::sys::mmap::{Mapped, Part};
use crate::world::Identity;

/// Bytes of debug information from which on an index is kept: reading so much takes longer than 20 ms.
const LEAST: u64 = 4 << 20;
/// Bytes of all that is kept.
const MOST: u64 = 512 << 20;
/// A file that changed a moment ago may change once more without another time.
const SETTLED: Duration = Duration::from_secs(2);
/// What is used says so once in this time.
const USED: Duration = Duration::from_secs(24 * 3600);
/// What others began to write and did not finish.
const LEFT: Duration = Duration::from_secs(3600);

const MAGIC: [u8; 8] = *b"TRACERix";
/// Changes with every line that makes or reads indexes.
const FORMAT: &str = env!("TRACER_INDEX");
/// Before the index: `MAGIC`, `FORMAT`, what it is of, its bytes and their checksum.
const HEADER: usize = 160;
/// Bytes of a build-id in a header and, in hexadecimal, in a name.
const BUILD_ID: usize = 64;
/// Letters of what an index is of.
const KIND: usize = 12;

/// The folder, and what is allowed in it.
#[derive(Debug)]
pub struct Cache {
    base: Option<PathBuf>,
    least: u64,
    most: u64,
    folder: OnceLock<Option<Folder>>,
    said: Mutex<Vec<String>>,
}

impl Cache {
    /// The cache of this user.
    pub fn from_environment() -> Cache {
        let folder = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute())
        };
        let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Cache { base, ..Cache::below(Path::new(""), LEAST, MOST) }
    }

    /// A cache below a folder: of files with so many bytes of debug information, so many bytes in all.
    pub fn below(base: &Path, least: u64, most: u64) -> Cache {
        let (folder, said) = Default::default();
        Cache { base: Some(base.to_owned()), least, most, folder, said }
    }

    /// What there is to say since the last time: for `-v`.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().map(|mut said| std::mem::take(&mut *said)).unwrap_or_default()
    }

    fn say(&self, line: String) {
        if let Ok(mut said) = self.said.lock() {
            said.push(line);
        }
    }

    fn folder(&self) -> Option<&Folder> {
        let open = || {
            let base = self.base.as_deref().ok_or("there is neither XDG_CACHE_HOME nor HOME")?;
            match (base.exists(), base.parent(), base.file_name().and_then(|name| name.to_str())) {
                (false, Some(parent), Some(name)) => Folder::open(parent, &[name, "tracer", "index"]),
                _ => Folder::open(base, &["tracer", "index"]),
            }
        };
        let folder = self.folder.get_or_init(|| {
            let opened = open();
            opened.map_err(|why| self.say(format!("no cache of indexes: {why}"))).ok()
        });
        folder.as_ref()
    }

    /// Removes the oldest files until all, and some more bytes, are below the bound.
    fn make_room(&self, folder: &Folder, more: u64) {
        let mut files: Vec<(SystemTime, u64, String)> = Vec::new();
        for name in folder.names() {
            let Some(metadata) = folder.file(&name).and_then(|file| file.metadata().ok()) else { continue };
            let Ok(modified) = metadata.modified() else { continue };
            if name.starts_with('.') {
                if modified.elapsed().is_ok_and(|age| age > LEFT) {
                    let _ = folder.remove(&name);
                }
                continue;
            }
            files.push((modified, metadata.len(), name));
        }
        files.sort();
        let mut all = more.saturating_add(files.iter().map(|(_, size, _)| size).sum());
        for (_, size, name) in files {
            if all <= self.most {
                break;
            }
            // Another session may have been faster.
            let _ = folder.remove(&name);
            all -= size;
        }
    }
}

/// The indexes of one file.
#[derive(Debug)]
pub struct Kept {
    cache: Arc<Cache>,
    of: Identity,
    build_id: String,
}

impl Kept {
    /// Those of a file; `None` when nothing can be kept.
    pub fn of(cache: Arc<Cache>, of: Identity, build_id: String) -> Option<Kept> {
        let is_id = build_id.len() <= BUILD_ID && build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then_some(Kept { cache, of, build_id })
    }

    /// Whether keeping the index of so many bytes of debug information pays.
    pub fn pays(&self, bytes: u64) -> bool {
        bytes >= self.cache.least
    }

    fn name(&self, kind: &str) -> String {
        let id = if self.build_id.is_empty() { "none" } else { &self.build_id };
        format!("{id}-{:x}-{:x}.{kind}", self.of.device, self.of.inode)
    }

    /// An index that was kept.
    pub fn load(&self, kind: &str) -> Option<Part> {
        let name = self.name(kind);
        let file = self.cache.folder()?.file(&name)?;
        let read = self.read(&file, kind).map_err(|why| {
            self.cache.say(format!("the index {name} is made anew: {why}"));
        });
        read.ok()
    }

    fn read(&self, file: &File, kind: &str) -> Result<Part, String> {
        let told = |error: io::Error| error.to_string();
        let metadata = file.metadata().map_err(told)?;
        if metadata.len() <= HEADER as u64 {
            return Err("it is cut short".to_owned());
        }
        let mapped = Arc::new(Mapped::new(file, metadata.len()).map_err(told)?);
        let (header, index) = mapped.split_at_checked(HEADER).ok_or("it is cut short")?;
        if header[..MAGIC.len()] != MAGIC {
            return Err("it is something else".to_owned());
        }
        let wanted = self.header(kind, index);
        // All but the last eight bytes say what the index should be of; those tell whether it is whole.
        if header[..HEADER - 8] != wanted[..HEADER - 8] {
            return Err("it is of another file, or of another tracer".to_owned());
        }
        if header != wanted {
            return Err("it is damaged".to_owned());
        }
        if metadata.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age > USED)) {
            // Only its age among the others depends on it.
            let _ = file.set_modified(now());
        }
        let end = mapped.len();
        Ok(Part::Mapped(mapped, HEADER..end))
    }

    /// What must stand before an index.
    fn header(&self, kind: &str, index: &[u8]) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&MAGIC);
        put(&u64::from_str_radix(FORMAT, 16).unwrap_or(0).to_le_bytes());
        for number in [self.of.device, self.of.inode, self.of.size] {
            put(&number.to_le_bytes());
        }
        for time in [self.of.modified, self.of.changed] {
            put(&time.to_le_bytes());
        }
        put(&[self.build_id.len() as u8]);
        let mut id = [0; BUILD_ID];
        id[..self.build_id.len()].copy_from_slice(self.build_id.as_bytes());
        put(&id);
        let mut word = [0; KIND];
        kind.bytes().take(KIND).enumerate().for_each(|(n, byte)| word[n] = byte);
        put(&word);
        let checksum = crc32fast::hash(index);
        header[HEADER - 8..HEADER - 4].copy_from_slice(&(index.len() as u32).to_le_bytes());
        header[HEADER - 4..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Keeps an index. It is not kept where that cannot be, or should not.
    pub fn save(&self, kind: &str, index: &[u8]) {
        let cache = &self.cache;
        let size = (HEADER + index.len()) as u64;
        let settled = now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|now| now.as_nanos() as i128 >= self.of.changed + SETTLED.as_nanos() as i128);
        if size > cache.most / 2 || !settled {
            return;
        }
        let Some(folder) = cache.folder() else { return };
        cache.make_room(folder, size);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = self.name(kind);
        let part = format!(".{}.{number}.part", std::process::id());
        // What a process with our number left behind when it was killed.
        let _ = folder.remove(&part);
        let written = folder.create(&part).and_then(|mut file| {
            file.write_all(&self.header(kind, index))?;
            file.write_all(index)?;
            folder.rename(&part, &name)
        });
        if let Err(error) = written {
            let _ = folder.remove(&part);
            cache.say(format!("the index {name} is not kept: {error}"));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how old files are decides what is kept, and nothing that a pass makes"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
