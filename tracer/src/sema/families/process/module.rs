//! Which file a probe point means: by path, by name, by build-id, by process, as a library of another.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{Process, Program, number, text};
use crate::debuginfo::dwarf::{DebugInfo, Frames};
use crate::debuginfo::dynamic::needed_libraries;
use crate::debuginfo::elf::{ElfFile, Symbol};
use crate::debuginfo::find::{Found, download, find};
use crate::diagnostics::{Code, Diagnostic, suggest};
use crate::glob::{glob_match, has_wildcards};
use crate::sema::families::Subject;
use crate::sema::families::task::Task;
use crate::sema::program::Guard;
use crate::source::Span;
use crate::syntax::ast::ProbePointComponent;
use crate::world::World;

/// A program or library, opened once. Marks and the life of a process need no more than the file itself: debug
/// information is looked for when somebody asks, servers only when this machine has none.
pub(super) struct Module {
    pub(super) path: PathBuf,
    pub(super) elf: ElfFile,
    /// What this machine has.
    found: OnceCell<Found>,
    /// What servers have; `None` where there are none.
    downloaded: OnceCell<Option<Found>>,
    symbols: OnceCell<Vec<Symbol>>,
    frames: OnceCell<Frames>,
}

impl Module {
    fn new(elf: ElfFile) -> Module {
        let path = elf.path.clone();
        let (found, downloaded, symbols, frames) = Default::default();
        Module { path, elf, found, downloaded, symbols, frames }
    }

    /// What was found by those who looked.
    fn all(&self) -> impl Iterator<Item = &Found> {
        self.found.get().into_iter().chain(self.downloaded.get().and_then(Option::as_ref))
    }

    /// Its debug information.
    pub(super) fn info(&self) -> Option<&DebugInfo> {
        self.all().find_map(|found| found.info.as_ref())
    }

    /// Where debug information was looked for, and what came of it.
    pub(super) fn looked(&self) -> Vec<&str> {
        self.all().flat_map(|found| &found.looked).map(String::as_str).collect()
    }

    /// Looks for debug information on this machine.
    pub(super) fn find(&self, world: &dyn World) {
        self.found.get_or_init(|| find(world, &self.elf));
    }

    /// Looks for debug information, on this machine and then on servers.
    pub(super) fn find_anywhere(&self, world: &dyn World) {
        self.find(world);
        if self.info().is_none() && self.elf.build_id().is_some() {
            self.downloaded.get_or_init(|| download(world, &self.elf));
        }
    }

    /// The address as linked of a variable, by its symbol.
    pub(super) fn variable(&self, world: &dyn World, name: &str) -> Result<u64, String> {
        let mut addresses = self.elf.addresses(name);
        if addresses.is_empty() {
            self.find(world);
            addresses =
                self.all().flat_map(|found| &found.files).flat_map(|file| file.addresses(name)).collect();
        }
        match (addresses.pop_first(), addresses.len()) {
            (Some(address), 0) => Ok(address),
            (Some(_), more) => Err(format!("there are {} symbols {name}", more + 1)),
            (None, _) => Err(format!("there is no symbol {name}: the file is stripped, or it was left out")),
        }
    }

    /// Whether a function is entered by calls: where it begins, the return address is on top of the stack. Not so where
    /// a program begins, where signal handlers return to, and where the dynamic linker is entered by a jump.
    pub(super) fn is_called(&self, address: u64) -> bool {
        self.frames.get_or_init(|| Frames::of(&self.elf)).is_called(address) != Some(false)
            && self.elf.entry() != Some(address)
    }

    /// Function symbols, sorted by address.
    pub(super) fn symbols(&self) -> &[Symbol] {
        self.symbols.get_or_init(|| {
            let mut symbols = self.elf.functions();
            symbols.extend(self.all().flat_map(Found::functions));
            symbols.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
            symbols.dedup_by(|a, b| a.address == b.address && a.name == b.name);
            symbols
        })
    }

    /// The symbol of a function that begins at an address.
    pub(super) fn symbol_at(&self, address: u64) -> Option<&Symbol> {
        let symbols = self.symbols();
        symbols.get(symbols.partition_point(|s| s.address < address)).filter(|s| s.address == address)
    }
}

/// Shortest hexadecimal text that is taken as a build-id.
const BUILD_ID: usize = 32;
/// Files that a wildcard may stand for.
const FILES: usize = 256;

impl Process<'_> {
    /// The programs of `process`, `process("path")`, `process(PID)`.
    pub(super) fn programs(&self, process: &ProbePointComponent) -> Result<Vec<Program>, Diagnostic> {
        let span = process.span;
        let fail = |why: String| Diagnostic::error(Code::NoFile, span, why);
        if process.arg.is_none() {
            let Some(subject) = &self.subject else {
                return Err(Diagnostic::error(Code::ProbePoint, span, "which process? there is no -c or -x")
                    .hint("process(\"/path/of/program\"), or run with -c COMMAND or -x PID"));
            };
            return Ok(vec![self.program(&subject.program, span)?]);
        }
        if let Some(pid) = number(process) {
            let exe = format!("/proc/{pid}/exe");
            let module = match u32::try_from(pid) {
                Ok(id) if self.world.exists(Path::new(&exe)) => Some((self.module(&exe, span)?, id)),
                _ => None,
            };
            let Some((module, id)) = module else {
                return Err(fail(format!("there is no process {pid}, or it is not ours to see")));
            };
            let (guard, text) = (Guard::default(), format!("process({pid})"));
            return Ok(vec![Program { module, pid: Some(id), guard, text }]);
        }
        let Some(name) = text(process) else {
            return Err(fail("process takes the path of a program, or a process id".to_owned()));
        };
        if is_build_id(&name) {
            let id = name.to_lowercase();
            let mut roots = self.world.debug_folders();
            roots.extend(["/usr/lib/debug", "/usr/lib"].map(PathBuf::from));
            let tried: Vec<String> = roots
                .iter()
                .map(|root| format!("{}/.build-id/{}/{}", root.display(), &id[..2], &id[2..]))
                .collect();
            let Some(path) = tried.iter().find(|path| self.world.exists(Path::new(path))) else {
                return Err(fail(format!("no program with build-id {id}"))
                    .hint(format!("looked for {}", tried.join(", "))));
            };
            return Ok(vec![self.program(path, span)?]);
        }
        if has_wildcards(&name) && name.starts_with('/') {
            let paths = self.expand(&name);
            let programs: Vec<Program> = paths
                .iter()
                .filter_map(|path| self.program(&path.display().to_string(), span).ok())
                .collect();
            if programs.is_empty() {
                return Err(fail(format!("no program matches {name}")));
            }
            return Ok(programs);
        }
        Ok(vec![self.program(&name, span)?])
    }

    pub(super) fn program(&self, name: &str, span: Span) -> Result<Program, Diagnostic> {
        let module = self.module(name, span)?;
        let text = format!("process(\"{}\")", module.path.display());
        Ok(Program { module, pid: None, guard: Guard::default(), text })
    }

    /// Files whose paths fit a pattern, component by component.
    fn expand(&self, pattern: &str) -> Vec<PathBuf> {
        let mut paths = vec![PathBuf::from("/")];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for path in &paths {
                if !has_wildcards(part) {
                    next.push(path.join(part));
                    continue;
                }
                let mut entries = self.world.read_dir(path).unwrap_or_default();
                entries.sort();
                let fits = |entry: &PathBuf| {
                    entry.file_name().is_some_and(|name| glob_match(part, &name.to_string_lossy()))
                };
                next.extend(entries.into_iter().filter(fits));
            }
            next.truncate(FILES);
            paths = next;
        }
        paths.retain(|path| self.world.exists(path) && !self.world.is_dir(path));
        paths
    }

    /// Opens a file.
    pub(super) fn module(&self, name: &str, span: Span) -> Result<Rc<Module>, Diagnostic> {
        let fail = |why: String| Diagnostic::error(Code::NoFile, span, why);
        let Some(found) = self.world.find_program(name) else {
            let hint = if name.contains('/') {
                "the path is taken as it stands: check the spelling"
            } else {
                "a name without a slash is looked for in PATH"
            };
            return Err(fail(format!("no such program: {name}")).hint(hint));
        };
        let path = match self.world.canonicalize(&found) {
            Ok(path) if self.world.is_same(&path, &found) => path,
            // Links in /proc lead to files of other mount namespaces, and to deleted ones: names mean something else here.
            _ if found.starts_with("/proc") => found,
            Ok(path) => path,
            Err(error) => return Err(fail(format!("cannot open {name}: {error}"))),
        };
        if let Some(module) = self.modules.borrow().get(&path) {
            return Ok(module.clone());
        }
        let elf = ElfFile::open(self.world, &path).map_err(|error| fail(error.to_string()))?;
        if elf.is_unlinked() {
            let hint = "name the program or library that it is linked into";
            return Err(fail(format!("{} is an object file, which nothing runs", path.display())).hint(hint));
        }
        let module = Rc::new(Module::new(elf));
        self.modules.borrow_mut().insert(path, module.clone());
        Ok(module)
    }

    /// The libraries of programs whose names fit.
    pub(super) fn libraries(
        &self,
        programs: &[Program],
        library: &ProbePointComponent,
    ) -> Result<Vec<Program>, Diagnostic> {
        let Some(pattern) = text(library) else {
            return Err(Diagnostic::error(
                Code::ProbePoint,
                library.span,
                "library takes a path or a name in quotes",
            ));
        };
        let mut found: Vec<Program> = Vec::new();
        let mut known = Vec::new();
        for program in programs {
            let guard = self.guard_of_library(program, library.span)?;
            for path in self.libraries_of(program) {
                let full = path.display().to_string();
                known.push(full.clone());
                if !is_named(&path, &pattern) {
                    continue;
                }
                let module = self.module(&full, library.span)?;
                if found.iter().any(|other| Rc::ptr_eq(&other.module, &module)) {
                    continue;
                }
                let text = format!("{}.library(\"{}\")", program.text, module.path.display());
                found.push(Program { module, pid: program.pid, guard: guard.clone(), text });
            }
        }
        if found.is_empty() {
            let mut diagnostic =
                Diagnostic::error(Code::NoFile, library.span, format!("no library {pattern} is used there"));
            if let Some(hint) = suggest::hint(&pattern, known.iter().map(String::as_str)) {
                diagnostic = diagnostic.hint(hint);
            }
            return Err(diagnostic.hint(if known.is_empty() {
                "the program is linked statically, or loads its libraries by itself".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            }));
        }
        Ok(found)
    }

    /// The libraries that a program needs; those of a process are what it has in memory, as it sees the file system.
    pub(super) fn libraries_of(&self, program: &Program) -> Vec<PathBuf> {
        let mapped = program.pid.map(|pid| {
            let maps = self.world.read_text(Path::new(&format!("/proc/{pid}/maps"))).unwrap_or_default();
            let paths: BTreeSet<PathBuf> = maps
                .lines()
                .filter_map(code_mapping)
                .map(|mapping| self.in_process(pid, mapping))
                .filter(|path| !self.world.is_same(path, &program.module.path))
                .collect();
            paths.into_iter().collect::<Vec<_>>()
        });
        match mapped {
            Some(mapped) if !mapped.is_empty() => mapped,
            _ => needed_libraries(self.world, &program.module.elf),
        }
    }

    /// The file that a process has in memory: it may be in another mount namespace, and may have no name any more.
    pub(super) fn in_process(&self, pid: u32, (low, high, _, path): (u64, u64, u64, &str)) -> PathBuf {
        let theirs = PathBuf::from(format!("/proc/{pid}/root{path}"));
        let ours = PathBuf::from(path);
        match self.world.exists(&theirs) {
            true if self.world.is_same(&ours, &theirs) => ours,
            true => theirs,
            false => PathBuf::from(format!("/proc/{pid}/map_files/{low:x}-{high:x}")),
        }
    }

    /// A library is used by other programs too: only tasks count that run this one. The processes of `-c` and `-x`, and
    /// those that are named by number, are told apart by the kernel.
    fn guard_of_library(&self, program: &Program, span: Span) -> Result<Guard, Diagnostic> {
        let mut guard = Guard::default();
        let is_alone = |subject: &Subject| {
            subject.alone
                && self.module(&subject.program, span).is_ok_and(|module| module.path == program.module.path)
        };
        if program.pid.is_none() && !self.subject.as_ref().is_some_and(is_alone) {
            let btf = self.types.get(span)?;
            Task { btf: &btf, span }.runs(&mut guard, self.world, &program.module.path)?;
        }
        Ok(guard)
    }
}

/// Whether a library is meant by a name: `libm.so.6`, `libm`, `m`, or its path, with wildcards.
pub(super) fn is_named(path: &Path, pattern: &str) -> bool {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short = file.split(".so").next().unwrap_or(&file);
    let names = [&path.display().to_string(), &file, short, short.trim_start_matches("lib")];
    names.iter().any(|name| glob_match(pattern, name))
}

/// `low-high perms offset device inode path` of code that comes from a file.
pub(super) fn code_mapping(line: &str) -> Option<(u64, u64, u64, &str)> {
    let mut words = line.split_whitespace();
    let (low, high) = words.next()?.split_once('-')?;
    let executable = words.next()?.contains('x');
    let offset = words.next()?;
    let path = line[line.find('/')?..].trim_end();
    let hex = |text| u64::from_str_radix(text, 16).ok();
    executable.then_some((hex(low)?, hex(high)?, hex(offset)?, path))
}

fn is_build_id(name: &str) -> bool {
    name.len() >= BUILD_ID
        && name.len().is_multiple_of(2)
        && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    #[test]
    fn mappings() {
        let mapping = super::code_mapping;
        assert_eq!(
            mapping("55d0-66d0 r-xp 00001000 08:01 42   /usr/bin/a b"),
            Some((0x55d0, 0x66d0, 0x1000, "/usr/bin/a b"))
        );
        assert_eq!(mapping("55d0-66d0 r--p 00001000 08:01 42   /usr/bin/a"), None);
        assert_eq!(mapping("55d0-66d0 r-xp 00000000 00:00 0    [vdso]"), None);
        assert_eq!(mapping(""), None);
    }
}
