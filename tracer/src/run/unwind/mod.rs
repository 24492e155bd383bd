//! Unwind tables of the files that traced programs run: put into the maps that programs walk stacks by.
//!
//! Files that can be known are there before the first hit: what the script's probes are in, the program of `-c`, what the
//! process of `-x` has mapped, and the libraries of all of these. Others follow when a stack first leads into one: the
//! program that walks it tells, once for each file.
//! A file is known by the address of its inode, as the kernel has it: that is asked of the kernel itself, by a program
//! that looks at our own mapping of the file, so that no file system's numbering matters. We keep the mapping, and so the
//! inode stays.
//!
//! Rooms: `layout` (the kernel's own structures), this file (the maps), `module` (files whose variables are read from
//! elsewhere).
//!
//! **Not here:** what call frame information says (`debuginfo::dwarf`), the walk (`tracer_ebpf::codegen::unwind`).

pub mod layout;
mod module;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use tracer_common::ir::{Inst, Module};
use tracer_common::manifest::{AttachPoint, Manifest};
use tracer_common::unwind::{
    FILES, File, INDEX, INDEX_LIMIT, PAGE_BITS, ROW_LIMIT, ROW_SIZE, ROWS, RULE_LIMIT, RULES, Rule,
};
use tracer_ebpf::codegen::unwind::{FOUND_INODE, identify};
use tracer_ebpf::object;
use tracer_ebpf::target::{Target, Unwind};

use crate::debuginfo::dwarf::UnwindTable;
use crate::debuginfo::dynamic::needed_libraries;
use crate::debuginfo::elf::ElfFile;
use crate::run::RunError;
use crate::run::kernel::load_image;
use crate::sys::bpf::Program;
use crate::sys::bpf_map::{BpfMap, Update};
use crate::sys::map_view::MapView;
use crate::sys::mmap::Mapped;
use crate::world::World;

pub use module::Modules;

/// Whether a script takes stacks of programs, or asks where files are loaded.
pub fn is_wanted(module: &Module) -> bool {
    use tracer_common::intrinsic::Intrinsic::{ModuleBase, UserFrame, UserStack};
    insts(module).any(|inst| {
        matches!(inst, Inst::Call { intrinsic, .. } if matches!(intrinsic, UserStack | UserFrame | ModuleBase))
    })
}

fn insts(module: &Module) -> impl Iterator<Item = &Inst> {
    let blocks = module.functions.iter().flat_map(|function| &function.blocks);
    blocks.flat_map(|block| &block.insts).map(|(inst, _)| inst)
}

/// The maps with what they hold.
pub struct Tables {
    files: BpfMap,
    index: MapView,
    rows: MapView,
    rules: MapView,
    numbers: BTreeMap<Rule, u32>,
    /// Used so far.
    pages: u32,
    row: u32,
    identify: Identify,
    /// Files by inode, mapped so that it stays.
    kept: BTreeMap<u64, Mapped>,
    seen: BTreeSet<PathBuf>,
    /// Files that did not fit.
    full: usize,
}

impl Tables {
    /// Takes the maps of an object; `None` when it walks no stacks.
    pub fn new(find: impl Fn(&str) -> Option<BpfMap>, target: &Target) -> Result<Option<Tables>, RunError> {
        let (Some(files), Some(layout)) = (find(FILES), &target.unwind) else { return Ok(None) };
        let view = |name: &str| {
            let map = find(name).ok_or(RunError::Bug("a map that stacks are walked by is missing"))?;
            MapView::new(&map).map_err(|error| RunError::map(name, error))
        };
        Ok(Some(Tables {
            files,
            index: view(INDEX)?,
            rows: view(ROWS)?,
            rules: view(RULES)?,
            numbers: BTreeMap::new(),
            pages: 0,
            row: 0,
            identify: Identify::load(layout)?,
            kept: BTreeMap::new(),
            seen: BTreeSet::new(),
            full: 0,
        }))
    }

    /// Adds what can be known before the first hit.
    pub fn begin(
        &mut self,
        world: &dyn World,
        manifest: &Manifest,
        program: Option<&Path>,
        pid: Option<u32>,
    ) {
        for site in &manifest.sites {
            if let AttachPoint::User { path, pid, .. } = &site.attach {
                self.add_program(world, Path::new(path));
                if let Some(pid) = pid {
                    self.add_process(world, i64::from(*pid));
                }
            }
        }
        if let Some(program) = program {
            self.add_program(world, program);
        }
        if let Some(pid) = pid {
            self.add_process(world, i64::from(pid));
        }
    }

    /// Adds a file and the libraries that it needs.
    fn add_program(&mut self, world: &dyn World, path: &Path) {
        let path = world.canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.seen.contains(&path) {
            return;
        }
        let Ok(elf) = ElfFile::open(world, &path) else { return };
        let libraries = needed_libraries(world, &elf);
        self.add(world, &path);
        for library in libraries {
            self.add(world, &library);
        }
    }

    /// Adds all files that a process has mapped as code.
    fn add_process(&mut self, world: &dyn World, pid: i64) {
        let maps = world.read_text(Path::new(&format!("/proc/{pid}/maps"))).unwrap_or_default();
        for line in maps.lines() {
            let mut words = line.splitn(6, ' ');
            let flags = words.nth(1).unwrap_or_default();
            let path = words.nth(3).unwrap_or_default().trim_start();
            if flags.contains('x') && path.starts_with('/') {
                self.add_of(world, pid, Path::new(path));
            }
        }
    }

    /// Adds a file as a process sees it.
    pub fn add_of(&mut self, world: &dyn World, pid: i64, path: &Path) {
        let below = PathBuf::from(format!("/proc/{pid}/root{}", path.display()));
        let path = if world.exists(&below) { below } else { path.to_owned() };
        self.add(world, &path);
    }

    /// Adds a file. What is no ELF file, or has no call frame information, is known to have none.
    fn add(&mut self, world: &dyn World, path: &Path) {
        let path = world.canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(path.clone()) {
            return;
        }
        let Ok((inode, mapping)) = self.identify.file(&path) else { return };
        if inode == 0 || self.kept.contains_key(&inode) {
            return;
        }
        let table = ElfFile::open(world, &path).map(|elf| UnwindTable::read(&elf)).unwrap_or_default();
        let file = self.put(&table.rows);
        if file.is_none() || table.left_out > 0 {
            self.full += 1;
        }
        let file = file.unwrap_or(File { index: 0, first: 0, pages: 0 });
        if self.files.update(&inode.to_le_bytes(), &file.to_bytes(), Update::Any).is_err() {
            self.full += 1;
        }
        self.kept.insert(inode, mapping);
    }

    /// Nothing could be found out about a file that programs have told of: the next stack tells again.
    pub fn forget(&self, inode: u64) {
        if !self.kept.contains_key(&inode) {
            // It may be gone already.
            let _ = self.files.delete(&inode.to_le_bytes());
        }
    }

    /// Writes the rows of a file; `None` when they do not fit.
    fn put(&mut self, rows: &[(u32, Rule)]) -> Option<File> {
        let (Some((start, _)), Some((end, _))) = (rows.first(), rows.last()) else {
            return Some(File { index: 0, first: 0, pages: 0 });
        };
        let first = start >> PAGE_BITS;
        let pages = (end >> PAGE_BITS) - first + 1;
        // The first page may begin before the first row.
        let lead = (*start != first << PAGE_BITS).then_some((first << PAGE_BITS, Rule::UNKNOWN));
        let count = rows.len() as u32 + u32::from(lead.is_some());
        // An even number of entries, so that each file's begin at a word.
        let entries = (pages + 1).next_multiple_of(2);
        if count > ROW_LIMIT - self.row || entries > INDEX_LIMIT - self.pages {
            return None;
        }
        let file = File { index: self.pages, first, pages };
        let mut index = Vec::with_capacity(entries as usize);
        for (at, rule) in lead.iter().chain(rows) {
            let number = self.number(*rule)?;
            self.rows.store((self.row * ROW_SIZE) as usize, u64::from(*at) | u64::from(number) << 32);
            // The row before is the last of all pages that begin before this one.
            while (index.len() as u32) < pages && (first + index.len() as u32) << PAGE_BITS < *at {
                index.push(self.row - 1);
            }
            self.row += 1;
        }
        index.resize(entries as usize, self.row - 1);
        let words: Vec<u8> = index.iter().flat_map(|row| row.to_le_bytes()).collect();
        self.index.write((self.pages * 4) as usize, &words);
        self.pages += entries;
        Some(file)
    }

    fn number(&mut self, rule: Rule) -> Option<u32> {
        if let Some(number) = self.numbers.get(&rule) {
            return Some(*number);
        }
        let number = self.numbers.len() as u32;
        if number >= RULE_LIMIT {
            return None;
        }
        self.rules.store((number * ROW_SIZE) as usize, rule.to_word());
        self.numbers.insert(rule, number);
        Some(number)
    }

    /// What is to be said at the end.
    pub fn complaint(&self) -> Option<String> {
        (self.full > 0).then(|| {
            format!(
                "WARNING: the unwind information of {} files did not fit: stacks follow frame pointers there",
                self.full
            )
        })
    }

    /// Files, pages and rows, for `-v`.
    pub fn size(&self) -> String {
        format!("unwind tables: {} files, {} rows, {} rules", self.kept.len(), self.row, self.numbers.len())
    }
}

/// The program that tells a file's inode.
struct Identify {
    program: Program,
    found: BpfMap,
}

impl Identify {
    fn load(layout: &Unwind) -> Result<Identify, RunError> {
        const BUG: RunError = RunError::Bug("the program that tells inodes cannot be made");
        let parts = identify(layout).map_err(|_| BUG)?;
        let written = object::write(&parts, &[]).map_err(|_| BUG)?;
        let spec = parts.maps.first().ok_or(BUG)?;
        let found = BpfMap::create(spec).map_err(|error| RunError::map(&spec.name, error))?;
        let image = written.images.first().ok_or(BUG)?;
        let program = load_image(image, &written.btf, &found)?;
        Ok(Identify { program, found })
    }

    /// The address of a file's inode, and a mapping that keeps it.
    fn file(&self, path: &Path) -> io::Result<(u64, Mapped)> {
        let mapping = Mapped::new(&std::fs::File::open(path)?, 1)?;
        self.program.test_run(&[mapping.as_ptr() as u64])?;
        let mut value = vec![0; self.found.value_size()];
        self.found.lookup(&[0; 4], &mut value)?;
        let inode = value[FOUND_INODE..FOUND_INODE + 8].try_into().map_err(io::Error::other)?;
        Ok((u64::from_le_bytes(inode), mapping))
    }
}
