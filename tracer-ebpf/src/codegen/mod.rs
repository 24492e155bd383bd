//! The code generator: IR functions of the kernel domain to eBPF.
//!
//! ```text
//! ir::Function --select--> VCode (virtual registers, calls with argument moves, frame slots)
//!              --regalloc--> the same with a colour for each register; spills only where ten colours do not do
//!              --emit--> asm::Code (frame offsets, block order, jumps)
//! ```
//!
//! Invariants: every byte that leaves the program (record, key, value) was written by it; every exit path gives back
//! what was taken (scratch slot, locks, reservation); the shapes are those that the verifiers of all supported kernels
//! accept.
//!
//! Rooms, in reading order: `storage` (where strings live), `select/` (IR to virtual code), `callback` (functions that
//! helpers call back), `unwind` (the walk along user stacks), `vcode`, `liveness`, `loops`, `regalloc`, `share`, `emit`.
//!
//! **Not here:** inlining and folding (`tracer_common::ir`'s optimizer, run before), the object file (`crate::object`).

mod callback;
pub mod diagnostic;
mod emit;
mod liveness;
mod loops;
mod regalloc;
mod select;
mod sent;
mod share;
mod storage;
pub mod unwind;
mod vcode;

use self::select::sleep::Sleep;
use crate::asm::Code;
use crate::object;
use crate::target::Target;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use tracer_common::ir::{GlobalId, Module, PlaceId, SiteFact};
use tracer_common::layout::{Layout, MapKind, MapSpec};
use tracer_common::ledger;
use tracer_common::manifest::{self, Manifest};
use tracer_common::record;

/// Name of the map of per-CPU scratch slots.
pub const SCRATCH: &str = "scratch";
/// Name of the map of free scratch slots, on kernels without fetching atomics.
pub const SCRATCH_POOL: &str = "scratch_pool";
/// Name of the hash map whose entries are held locks, on kernels without fetching atomics.
pub const LOCKS: &str = "locks";
/// Name of the map of site texts.
pub const SITES: &str = "sites";

/// Why code cannot be generated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodegenError {
    /// A limit of the kernel is exceeded.
    Limit(String),
    /// A handler exceeds one.
    Handler {
        /// Where in the script.
        place: PlaceId,
        /// Which.
        what: String,
    },
    /// This kernel does not let a program do it.
    Kernel {
        /// Where in the script.
        place: PlaceId,
        /// What, as a verb with its object.
        what: &'static str,
        /// What would let it.
        wanted: Wanted,
    },
    /// This version cannot do it.
    Unsupported {
        /// Where in the script.
        place: PlaceId,
        /// What.
        what: String,
    },
}

/// What would let a program do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A kernel of at least this version.
    Version(&'static str),
    /// A kernel that is not locked down.
    Open,
    /// One that says how its own structures are laid out, and has those that we know.
    Types,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Version(since) => write!(f, "Linux {since} and newer do"),
            Wanted::Open => f.write_str("one that is not locked down (as with secure boot) does"),
            Wanted::Types => f.write_str("one that has its types (/sys/kernel/btf/vmlinux) does"),
        }
    }
}

impl fmt::Display for CodegenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodegenError::Limit(what) | CodegenError::Handler { what, .. } => f.write_str(what),
            CodegenError::Kernel { what, wanted, .. } => write!(f, "cannot {what}: {wanted}"),
            CodegenError::Unsupported { what, .. } => {
                write!(f, "{what} is not supported in a kernel-domain handler yet")
            }
        }
    }
}

/// Texts that kernel code looks up by site: the loader fills the map [`SITES`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SiteTexts {
    /// Bytes of a row.
    pub row: u32,
    /// Facts with the offset and capacity of their field.
    pub fields: Vec<(SiteFact, u32, u16)>,
}

/// The product: code for each program of the manifest, and the maps that it uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generated {
    /// In the manifest's order.
    pub programs: Vec<Code>,
    /// For each program, whether it may sleep.
    pub sleepable: Vec<bool>,
    /// Functions that helpers call back; code refers to them by index.
    pub functions: Vec<object::Function>,
    /// For each program, the slots whose constant must become the site's number.
    pub site_patches: Vec<Vec<u32>>,
    /// All maps; code refers to them by index.
    pub maps: Vec<MapSpec>,
    /// Constants.
    pub rodata: Vec<u8>,
    /// What the loader must put into [`SITES`].
    pub site_texts: SiteTexts,
    /// Scratch slots that the loader must put into [`SCRATCH_POOL`]; 0 where atomics do it.
    pub pool: u32,
}

impl Generated {
    /// What an object is made of: the code with the names and kinds that the manifest has for it.
    pub fn parts(&self, manifest: &Manifest) -> object::Parts {
        let made = self.programs.iter().zip(&self.sleepable);
        let programs =
            manifest.programs.iter().zip(made).map(|(program, (code, sleepable))| object::Program {
                name: program.name.clone(),
                kind: program.kind,
                sleepable: *sleepable,
                code: code.clone(),
            });
        object::Parts {
            maps: self.maps.clone(),
            rodata: self.rodata.clone(),
            functions: self.functions.clone(),
            programs: programs.collect(),
        }
    }
}

/// Maps and constants that programs share.
pub(crate) struct Shared<'m> {
    pub(crate) module: &'m Module,
    pub(crate) manifest: &'m Manifest,
    pub(crate) layout: &'m Layout,
    pub(crate) target: &'m Target,
    pub(crate) maps: Vec<MapSpec>,
    pub(crate) rodata: Vec<u8>,
    pub(crate) functions: Vec<object::Function>,
    pub(crate) site_texts: SiteTexts,
    /// Globals that are changed by more than one instruction, for want of a better one: their writers take turns.
    pub(crate) fragile: Vec<GlobalId>,
    /// Bytes that the hungriest program wants of a scratch slot.
    pub(crate) scratch: u32,
    /// Scratch slots for each CPU.
    pub(crate) slots: u32,
    /// How programs sleep, in the manifest's order.
    sleeps: Vec<Option<Sleep>>,
}

impl Shared<'_> {
    /// The index of a map, which is added when it is not there.
    pub(crate) fn map(&mut self, name: &str, make: impl FnOnce() -> MapSpec) -> u32 {
        match self.maps.iter().position(|map| map.name == name) {
            Some(index) => index as u32,
            None => {
                self.maps.push(make());
                self.maps.len() as u32 - 1
            }
        }
    }

    pub(crate) fn ledger(&mut self) -> u32 {
        let size = ledger::size(self.manifest.programs.len() as u32);
        self.map(ledger::MAP, || MapSpec {
            name: ledger::MAP.into(),
            kind: MapKind::MappedArray,
            key_size: 4,
            value_size: size,
            max_entries: 1,
        })
    }

    pub(crate) fn records(&mut self) -> u32 {
        let size = self.target.ring_size;
        self.map(record::MAP, || MapSpec {
            name: record::MAP.into(),
            kind: MapKind::RingBuf,
            key_size: 0,
            value_size: 0,
            max_entries: size,
        })
    }

    /// How a program sleeps, where the kernel lets it.
    fn sleep(&self, program: &manifest::Program) -> Option<Sleep> {
        let function = &self.module.functions[program.function.index()];
        let locks = select::entry::locks(function, &self.fragile);
        let may = self.target.features.copy_from_user && self.target.features.atomics_fetch;
        may.then(|| Sleep::new(program.kind, function, !locks.is_empty())).flatten()
    }

    /// Whether a program may run several times at once on one CPU, and the kernel would have them share their frames.
    fn shares_cpu(&self, program: usize) -> bool {
        self.target.features.private_stack
            && matches!(
                self.manifest.programs[program].kind,
                manifest::ProgramKind::Uprobe | manifest::ProgramKind::Uretprobe
            )
    }

    /// The index of a function, which is added when it is not there.
    pub(crate) fn function(&mut self, name: String, make: impl FnOnce() -> Code) -> u32 {
        match self.functions.iter().position(|function| function.name == name) {
            Some(index) => index as u32,
            None => {
                self.functions.push(object::Function { name, code: make() });
                self.functions.len() as u32 - 1
            }
        }
    }

    /// The address of constant bytes: map index and offset.
    pub(crate) fn constant(&mut self, bytes: &[u8]) -> (u32, u32) {
        let map = self.map(object::RODATA, || MapSpec {
            name: object::RODATA.into(),
            kind: MapKind::Array,
            key_size: 4,
            value_size: 0,
            max_entries: 1,
        });
        let found = (0..self.rodata.len().saturating_sub(bytes.len() - 1))
            .step_by(8)
            .find(|at| &self.rodata[*at..*at + bytes.len()] == bytes);
        let at = found.unwrap_or_else(|| {
            let at = self.rodata.len();
            self.rodata.extend_from_slice(bytes);
            self.rodata.resize(self.rodata.len().next_multiple_of(8), 0);
            at
        });
        self.maps[map as usize].value_size = self.rodata.len() as u32;
        (map, at as u32)
    }
}

/// The code of one program, and the slots that hold the site's number.
fn program(shared: &mut Shared<'_>, index: usize) -> Result<(Code, Vec<u32>), CodegenError> {
    let mut code = select::select(shared, index as u32)?;
    let Some(colours) = regalloc::allocate(&mut code) else {
        return Err(CodegenError::Limit("the handler needs more registers than can be found".into()));
    };
    emit::emit(&code, &colours, shared.shares_cpu(index))
}

/// Generates the code of all programs of the manifest.
pub fn generate(
    module: &Module,
    manifest: &Manifest,
    layout: &Layout,
    target: &Target,
) -> Result<Generated, CodegenError> {
    let mut shared = Shared {
        module,
        manifest,
        layout,
        target,
        maps: layout.maps.clone(),
        rodata: Vec::new(),
        functions: Vec::new(),
        fragile: select::fragile(module, manifest, target),
        site_texts: SiteTexts::default(),
        scratch: 0,
        slots: target.scratch_slots,
        sleeps: Vec::new(),
    };
    if !manifest.programs.is_empty() {
        shared.ledger();
        shared.records();
    }
    // Scratch slots are as large as the hungriest program wants, so sizes come first.
    for program in &manifest.programs {
        let wanted =
            storage::Storage::new(&module.functions[program.function.index()], module, layout).scratch;
        shared.scratch = shared.scratch.max(wanted);
    }
    shared.sleeps = manifest.programs.iter().map(|program| shared.sleep(program)).collect();
    if shared.sleeps.iter().any(Option::is_some) {
        shared.slots = shared.slots.max(select::sleep::SLOTS);
    }
    let mut programs = Vec::with_capacity(manifest.programs.len());
    let mut site_patches = Vec::with_capacity(manifest.programs.len());
    for index in 0..manifest.programs.len() {
        let (code, patches) = program(&mut shared, index).map_err(|error| match error {
            CodegenError::Limit(what) => {
                let function = &module.functions[manifest.programs[index].function.index()];
                CodegenError::Handler { place: function.blocks[0].term.1, what }
            }
            other => other,
        })?;
        programs.push(code);
        site_patches.push(patches);
    }
    let pool =
        if shared.maps.iter().any(|map| map.name == SCRATCH_POOL) { shared.slots * target.cpus } else { 0 };
    Ok(Generated {
        programs,
        sleepable: shared.sleeps.iter().map(Option::is_some).collect(),
        functions: shared.functions,
        site_patches,
        maps: shared.maps,
        rodata: shared.rodata,
        site_texts: shared.site_texts,
        pool,
    })
}
