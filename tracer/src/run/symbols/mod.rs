//! Names of user-space addresses, as they were when a program was hit.
//!
//! Invariants: a process's mappings are kept when it has gone, so that what it did can still be named; a file is read
//! once.
//!
//! Rooms, in reading order: this file (texts), `mappings` (which file an address is of), `events` (what
//! the kernel tells of mappings), `module` (what a file says), `kernel` (the kernel's own).
//!
//! **Not here:** where stacks come from (`tracer_ebpf::codegen::select::stack`).

mod events;
pub mod kernel;
mod mappings;
mod module;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tracer_common::symbol::Form;

use crate::world::World;
use events::{Change, Event, Events};
use mappings::{Mapping, Mappings};
use module::Module;

/// Processes whose mappings are remembered.
const PROCESSES: usize = 4096;

/// The names of all processes.
pub struct Symbols {
    world: Box<dyn World>,
    processes: BTreeMap<i64, Mappings>,
    modules: BTreeMap<PathBuf, Option<Rc<Module>>>,
    events: Option<Events>,
    /// What the kernel told up to the hit has been taken over.
    caught_up: bool,
}

impl Symbols {
    /// Nothing is read before it is asked for.
    pub fn new(world: Box<dyn World>) -> Symbols {
        Symbols {
            world,
            processes: BTreeMap::new(),
            modules: BTreeMap::new(),
            events: None,
            caught_up: false,
        }
    }

    /// Lets the kernel tell what a process and its later children map, or all processes.
    pub fn watch(&mut self, pid: Option<u32>) {
        self.events = Some(Events::new(pid));
    }

    /// What follows is about another hit, for which the kernel may have told more.
    pub fn next_hit(&mut self) {
        self.caught_up = false;
    }

    /// What is told of an address; the address itself where nothing is known.
    pub fn text(&mut self, pid: i64, address: u64, form: Form) -> String {
        self.known(pid, address, form).unwrap_or_else(|| format!("{address:#x}"))
    }

    /// The path of the file that an address is of.
    pub fn module_path(&mut self, pid: i64, address: u64) -> Option<String> {
        Some(self.mapping(pid, address)?.path.display().to_string())
    }

    fn known(&mut self, pid: i64, address: u64, form: Form) -> Option<String> {
        let mapping = self.mapping(pid, address)?;
        let module = self.module(&mapping.path);
        let linked = module.as_ref().and_then(|module| module.linked(mapping.offset_of(address)));
        let symbol = module.as_ref().zip(linked).and_then(|(module, linked)| module.symbol(linked));
        let line = |world: &dyn World| module.as_ref()?.line(world, linked?);
        let start = || Some(format!("{}+{:#x}", symbol?.name, linked? - symbol?.address));
        match form {
            Form::Name => Some(symbol?.name.clone()),
            Form::Brief => start(),
            Form::Short => Some(format!("{} [{}]", start()?, mapping.path.file_name()?.display())),
            Form::Data | Form::DataFileLine => {
                let path = mapping.path.display();
                let Some(symbol) = symbol else {
                    return Some(format!(
                        "{address:#x} [{path}+{:#x}/{:#x}]",
                        address - mapping.base,
                        mapping.end - mapping.base
                    ));
                };
                let place = if form == Form::DataFileLine { line(&*self.world) } else { None };
                let place = place.map_or(String::new(), |line| format!(" at {}:{}", line.file, line.line));
                Some(format!("{}/{:#x}{place} [{path}]", start()?, symbol.size))
            }
            Form::FileLine => line(&*self.world).map(|line| format!("{}:{}", line.file, line.line)),
            Form::File => line(&*self.world).map(|line| line.file),
            Form::Line => line(&*self.world).map(|line| line.line.to_string()),
        }
    }

    fn mapping(&mut self, pid: i64, address: u64) -> Option<Mapping> {
        self.catch_up();
        let world = &*self.world;
        mappings_of(&mut self.processes, pid).find(world, pid, address).cloned()
    }

    /// Takes over what the kernel has told since.
    fn catch_up(&mut self) {
        let Some(events) = self.events.as_mut().filter(|_| !self.caught_up) else { return };
        self.caught_up = true;
        for Event { time, pid, change } in events.take() {
            match change {
                Change::Executes => mappings_of(&mut self.processes, pid).execute(time),
                Change::Maps { start, size, offset, path } => {
                    mappings_of(&mut self.processes, pid).add(time, (start, size), offset, path);
                }
                Change::Begins { parent } => {
                    let inherited = mappings_of(&mut self.processes, parent).inherited(parent);
                    *mappings_of(&mut self.processes, pid) = inherited;
                }
            }
        }
    }

    fn module(&mut self, path: &Path) -> Option<Rc<Module>> {
        if !self.modules.contains_key(path) {
            let module = Module::open(&*self.world, path).map(Rc::new);
            self.modules.insert(path.to_owned(), module);
        }
        self.modules[path].clone()
    }
}

fn mappings_of(processes: &mut BTreeMap<i64, Mappings>, pid: i64) -> &mut Mappings {
    if processes.len() >= PROCESSES && !processes.contains_key(&pid) {
        processes.pop_first();
    }
    processes.entry(pid).or_default()
}
