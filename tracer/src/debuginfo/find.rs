//! Where the debug information of a file is looked for, and what came of it.
//!
//! In the file itself; in another one, by build-id or by `.gnu_debuglink`, below the folders of `--debuginfo-path` and
//! `/usr/lib/debug`; what those refer to (`.gnu_debugaltlink`, `.dwo`, `.dwp`), in the same folders.
//!
//! Servers are asked last, and only for what needs it.
//!
//! Invariants: every place that was tried without success is told; a file that belongs to another program is not used.
//!
//! **Not here:** what is in the files (`elf`, `dwarf`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::dwarf::{Companions, DebugInfo};
use super::elf::{ElfFile, Symbol};
use crate::cache::Kept;
use crate::world::World;

/// What was found of a file.
#[derive(Default)]
pub struct Found {
    /// Its debug information.
    pub info: Option<DebugInfo>,
    /// Other files than the code's, whose symbols are the code's too.
    pub files: Vec<ElfFile>,
    /// Where something was looked for in vain, and why.
    pub looked: Vec<String>,
}

impl Found {
    /// Names of functions that are in other files than the code.
    pub fn functions(&self) -> Vec<Symbol> {
        self.files.iter().flat_map(ElfFile::functions).collect()
    }
}

/// Where debug packages put their files.
const DEBUG: &str = "/usr/lib/debug";
/// Places that are told of files that came with one; `.dwo` files may be thousands.
const TOLD: usize = 24;

/// Asks servers for the debug information of a file that was not found on this machine. `None` when there are none.
pub fn download(world: &dyn World, elf: &ElfFile) -> Option<Found> {
    let id = elf.build_id()?;
    let roots = roots(world);
    let search = Search { world, elf, roots: &roots, looked: RefCell::default() };
    let mut found = Found::default();
    let debug = search.downloaded(&id);
    let is_there = debug.is_some();
    if let Some(debug) = debug {
        search.take(debug, &mut found);
    }
    found.looked = search.looked.into_inner();
    (is_there || !found.looked.is_empty()).then_some(found)
}

/// Looks for the debug information of a file.
pub fn find(world: &dyn World, elf: &ElfFile) -> Found {
    let roots = roots(world);
    let search = Search { world, elf, roots: &roots, looked: RefCell::default() };
    let mut found = Found::default();
    for place in places(elf, &roots) {
        let shown = place.path.display();
        if place.proof == Proof::Itself {
            found.info = search.load(elf);
            if found.info.is_some() {
                break;
            }
            search.tell(format!("{shown} (it has none)"));
            continue;
        }
        let Some(debug) = search.open(&place.path) else { continue };
        if let Some(why) = place.refuses(elf, &debug) {
            search.tell(format!("{shown} ({why})"));
            continue;
        }
        if search.take(debug, &mut found) {
            break;
        }
    }
    found.files.extend(elf.embedded());
    found.looked = search.looked.into_inner();
    found
}

/// Folders below which debug packages put their files.
fn roots(world: &dyn World) -> Vec<PathBuf> {
    let mut roots = world.debug_folders();
    roots.push(PathBuf::from(DEBUG));
    roots
}

/// One search.
struct Search<'s> {
    world: &'s dyn World,
    elf: &'s ElfFile,
    roots: &'s [PathBuf],
    looked: RefCell<Vec<String>>,
}

impl Search<'_> {
    fn tell(&self, place: String) {
        let mut looked = self.looked.borrow_mut();
        if looked.len() < TOLD {
            looked.push(place);
        } else if looked.len() == TOLD {
            looked.push("…".to_owned());
        }
    }

    fn open(&self, path: &Path) -> Option<ElfFile> {
        if !self.world.exists(path) {
            self.tell(format!("{} (not there)", path.display()));
            return None;
        }
        match ElfFile::open(self.world, path) {
            Ok(file) => Some(file),
            Err(error) => {
                self.tell(format!("{} ({error})", path.display()));
                None
            }
        }
    }

    /// The first of several places where a file is.
    fn first(&self, places: Vec<PathBuf>) -> Option<ElfFile> {
        let mut seen = BTreeSet::new();
        places.into_iter().filter(|path| seen.insert(path.clone())).find_map(|path| self.open(&path))
    }

    /// A file from a server.
    fn downloaded(&self, id: &str) -> Option<ElfFile> {
        let check = |path: &Path| match ElfFile::open(self.world, path) {
            Err(error) => Some(format!("it sent what is no debug information: {error}")),
            Ok(file) => match file.build_id() {
                Some(other) if other == id => None,
                Some(other) => Some(format!("it sent a file with build-id {other}")),
                None => Some("it sent a file without build-id".to_owned()),
            },
        };
        let answer = self.world.download(id, &check);
        answer.asked.into_iter().for_each(|asked| self.tell(asked));
        self.open(&answer.path?)
    }

    /// Takes what a file has; whether that is debug information.
    fn take(&self, debug: ElfFile, found: &mut Found) -> bool {
        found.info = self.load(&debug);
        if found.info.is_none() {
            self.tell(format!("{} (it has none)", debug.path.display()));
        }
        found.files.push(debug);
        found.info.is_some()
    }

    fn load(&self, debug: &ElfFile) -> Option<DebugInfo> {
        let beside = Beside { search: self, debug };
        DebugInfo::load(debug, self.elf, &beside)
    }
}

/// What a file with debug information refers to.
struct Beside<'s> {
    search: &'s Search<'s>,
    debug: &'s ElfFile,
}

impl Companions for Beside<'_> {
    fn common(&self, name: &str, build_id: &[u8]) -> Option<ElfFile> {
        let id: String = build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut places = Vec::new();
        // Relative to the real place of the file that names it.
        let real = self.search.world.canonicalize(&self.debug.path);
        let real = real.as_ref().unwrap_or(&self.debug.path);
        places.extend(real.parent().map(|folder| folder.join(name)));
        places.extend(self.search.roots.iter().filter_map(|root| by_build_id(root, &id)));
        if let Some(file) = Path::new(name).file_name() {
            places.extend(self.search.roots.iter().map(|root| root.join(".dwz").join(file)));
        }
        let local = places.into_iter().find_map(|path| {
            let file = self.search.open(&path)?;
            match file.build_id() {
                Some(other) if other != id => {
                    let why = format!("its build-id is {other}, not {id}");
                    self.search.tell(format!("{} ({why})", path.display()));
                    None
                }
                _ => Some(file),
            }
        });
        local.or_else(|| self.search.downloaded(&id))
    }

    fn package(&self) -> Option<ElfFile> {
        let packed = |path: &Path| {
            let mut name = path.file_name()?.to_owned();
            name.push(".dwp");
            Some(path.with_file_name(name))
        };
        let mut places: Vec<PathBuf> =
            [&self.search.elf.path, &self.debug.path].into_iter().filter_map(|path| packed(path)).collect();
        let name = places.first()?.file_name()?.to_owned();
        places.extend(self.search.roots.iter().map(|root| root.join(&name)));
        // Most programs have none, and then have .dwo files: nothing to be told.
        places
            .into_iter()
            .find(|path| self.search.world.exists(path))
            .and_then(|path| self.search.open(&path))
    }

    fn split(&self, folder: &str, name: &str) -> Option<ElfFile> {
        let mut places = vec![Path::new(folder).join(name)];
        let beside = self.search.elf.path.parent().unwrap_or(Path::new("/"));
        places.push(beside.join(name));
        let file = Path::new(name).file_name()?;
        places.push(beside.join(file));
        let named = self.search.roots.iter().filter(|root| *root != Path::new(DEBUG));
        places.extend(named.flat_map(|root| [root.join(name), root.join(file)]));
        self.search.first(places)
    }

    fn kept(&self, file: &ElfFile) -> Option<Kept> {
        Kept::of(self.search.world.cache()?, file.identity()?, file.build_id().unwrap_or_default())
    }

    fn misfit(&self, file: &ElfFile) {
        self.search.tell(format!("{} (it is of another build)", file.path.display()));
    }
}

/// A file that may have the debug information of another.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    path: PathBuf,
    proof: Proof,
}

/// What shows that a file belongs to another.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Proof {
    Itself,
    BuildId(String),
    Checksum(u32),
}

/// Where debug packages put the file of a build-id.
fn by_build_id(root: &Path, id: &str) -> Option<PathBuf> {
    let (first, rest) = id.split_at_checked(2).filter(|(_, rest)| !rest.is_empty())?;
    Some(root.join(format!(".build-id/{first}/{rest}.debug")))
}

/// Where the debug information of a file may be, in the order of looking.
fn places(elf: &ElfFile, roots: &[PathBuf]) -> Vec<Place> {
    let mut places = vec![Place { path: elf.path.clone(), proof: Proof::Itself }];
    if let Some(id) = elf.build_id() {
        let named = roots.iter().filter_map(|root| by_build_id(root, &id));
        places.extend(named.map(|path| Place { path, proof: Proof::BuildId(id.clone()) }));
    }
    if let (Some((link, checksum)), Some(dir)) = (elf.debug_link(), elf.path.parent()) {
        let below = dir.strip_prefix("/").unwrap_or(dir);
        let mut folders = vec![dir.to_owned(), dir.join(".debug")];
        folders.extend(roots.iter().map(|root| root.join(below)));
        folders.extend(roots.iter().filter(|root| *root != Path::new(DEBUG)).cloned());
        for folder in folders {
            let path = folder.join(&link);
            if path != elf.path {
                places.push(Place { path, proof: Proof::Checksum(checksum) });
            }
        }
    }
    places
}

impl Place {
    /// Why the file that was found there is not the right one; `None` when it is.
    fn refuses(&self, code: &ElfFile, debug: &ElfFile) -> Option<String> {
        match &self.proof {
            Proof::Itself => None,
            Proof::BuildId(id) => match debug.build_id() {
                Some(other) if other != *id => Some(format!("its build-id is {other}, not {id}")),
                _ => None,
            },
            // Equal build-ids say as much as an equal checksum, and faster.
            Proof::Checksum(wanted) => match (code.build_id(), debug.build_id()) {
                (Some(mine), Some(other)) if mine == other => None,
                (Some(mine), Some(other)) => Some(format!("its build-id is {other}, not {mine}")),
                _ if debug.has_checksum(*wanted) => None,
                _ => Some("its checksum is not that of .gnu_debuglink".to_owned()),
            },
        }
    }
}
