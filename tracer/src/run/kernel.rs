//! The kernel side of a running session: maps, programs, links, the ring of records, the ledger.
//!
//! Programs come from the artifact's code; references to maps are filled in here. Everything the kernel gave is a
//! descriptor of this process: when it ends, however it ends, the kernel takes all of it back.
//!
//! **Not here:** the choice between kinds of links (`attach`), what records mean (`session`).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use tracer_common::ir::Module;
use tracer_common::layout::Layout;
use tracer_common::ledger::{self, Cell};
use tracer_common::manifest::{AttachPoint, Manifest, Program as Code, ProgramKind};
use tracer_common::record;
use tracer_ebpf::asm::Reference;
use tracer_ebpf::codegen::diagnostic::LOGS;
use tracer_ebpf::codegen::{LOCKS, SCRATCH_POOL, SITES};
use tracer_ebpf::compile::Object;
use tracer_ebpf::object::{Image, RODATA};
use tracer_ebpf::target::Target;

use crate::artifact::Artifact;
use crate::run::RunError;
use crate::run::attach;
use crate::run::logs::Logs;
use crate::run::output::sink::Sink;
use crate::run::unwind::{Modules, Tables};
use crate::sys::bpf::{AttachType, Lines, LoadRefused, ProgLoad, ProgType, Program, btf_load, prog_load};
use crate::sys::bpf_map::{BpfMap, Update};
use crate::sys::clock;
use crate::sys::link::Link;
use crate::sys::map_view::MapView;
use crate::sys::process;

/// How long the end waits for handlers that wait for pages.
const PATIENCE: Duration = Duration::from_secs(2);

/// The loaded kernel side.
pub struct Kernel {
    ledger: MapView,
    records: Option<OwnedFd>,
    /// What programs tell about themselves.
    logs: Option<Logs>,
    /// One or, without attach cookies, one for each site, per program of the manifest.
    programs: Vec<Vec<Program>>,
    /// Each with the number of its program.
    links: Vec<(usize, Link)>,
    locks: Option<OwnedFd>,
    /// What stacks are walked by.
    pub tables: Option<Tables>,
    /// Files that programs look for in processes.
    _modules: Option<Modules>,
    /// Maps that programs use and nobody else looks at.
    _others: Vec<BpfMap>,
}

/// Maps of globals, in the order of the layout.
pub type GlobalMaps = Vec<BpfMap>;

impl Kernel {
    /// Creates the maps and loads the programs.
    pub fn load(artifact: &Artifact, target: &Target) -> Result<(Kernel, Layout, GlobalMaps), RunError> {
        let Some(object) = &artifact.object else {
            return Err(RunError::Bug("there is no kernel side to load"));
        };
        let layout = Layout::new(&artifact.module);
        let maps = object
            .maps
            .iter()
            .map(|spec| BpfMap::create(spec).map_err(|error| RunError::map(&spec.name, error)))
            .collect::<Result<Vec<_>, _>>()?;
        let index = |name: &str| object.maps.iter().position(|spec| spec.name == name);
        let find = |name: &str| {
            index(name).map(|n| &maps[n]).ok_or(RunError::Bug("a map that every object has is missing"))
        };
        if let Some(n) = index(RODATA) {
            let write = maps[n].update(&[0; 4], &object.rodata, Update::Any);
            write.map_err(|error| RunError::map(RODATA, error))?;
        }
        fill_sites(artifact, index(SITES).map(|n| &maps[n]))?;
        if let Some(n) = index(SCRATCH_POOL) {
            for slot in 0..object.pool {
                maps[n].push(&slot.to_le_bytes()).map_err(|error| RunError::map(SCRATCH_POOL, error))?;
            }
        }
        let ledger = MapView::new(find(ledger::MAP)?).map_err(|error| RunError::map(ledger::MAP, error))?;
        // Armed only when everything is attached.
        ledger.store(ledger::STATE as usize, 1);
        #[expect(clippy::disallowed_methods, reason = "the offset between the clocks that scripts ask for")]
        let realtime = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as i64);
        ledger.store(ledger::REALTIME_OFFSET as usize, (realtime - clock::monotonic_ns()) as u64);
        ledger.store(ledger::HZ as usize, (1_000_000_000 / clock::tick_ns()) as u64);
        let records = find(record::MAP)?.duplicate().map_err(|error| RunError::map(record::MAP, error))?;
        let locks = index(LOCKS).map(|n| maps[n].duplicate()).transpose();
        let locks = locks.map_err(|error| RunError::map(LOCKS, error))?;
        let btf = load_types(object)?;
        let mut programs = Vec::with_capacity(artifact.manifest.programs.len());
        for (n, program) in artifact.manifest.programs.iter().enumerate() {
            programs.push(load_program(artifact, program, n, &maps, btf.as_fd(), target)?);
        }
        let logs = match index(LOGS) {
            Some(map) => Some(open_logs(object, &programs, map as u32)?),
            None => None,
        };
        let again = |name: &str| BpfMap::from_fd(maps[index(name)?].duplicate().ok()?).ok();
        let tables = Tables::new(again, target)?;
        let modules = Modules::new(again, &artifact.module, target)?;
        let mut globals = Vec::with_capacity(layout.maps.len());
        let mut others = Vec::new();
        for (spec, map) in object.maps.iter().zip(maps) {
            if layout.maps.iter().any(|known| known.name == spec.name) {
                globals.push(map);
            } else {
                others.push(map);
            }
        }
        let records = Some(records);
        let links = Vec::new();
        let kernel = Kernel {
            ledger,
            records,
            logs,
            programs,
            links,
            locks,
            tables,
            _modules: modules,
            _others: others,
        };
        Ok((kernel, layout, globals))
    }

    /// The map of locks, on kernels where they are entries of one.
    pub fn locks(&self) -> Result<Option<BpfMap>, RunError> {
        let Some(fd) = &self.locks else { return Ok(None) };
        let map = fd.try_clone().and_then(BpfMap::from_fd);
        map.map(Some).map_err(|error| RunError::map(LOCKS, error))
    }

    /// Sets what `target()` says in the kernel.
    pub fn set_target(&self, pid: u32) {
        self.ledger.store(ledger::TARGET as usize, u64::from(pid));
    }

    /// Attaches all programs. Nothing runs before [`Kernel::arm`].
    pub fn attach(&mut self, manifest: &Manifest, target: &Target, pid: Option<u32>) -> Result<(), RunError> {
        if let Some(pid) = pid {
            self.ledger.store(ledger::FILTER as usize, u64::from(pid));
        }
        for (n, (program, loaded)) in manifest.programs.iter().zip(&self.programs).enumerate() {
            let links = attach::attach(program, loaded, &manifest.sites, target, pid)?;
            self.links.extend(links.into_iter().map(|link| (n, link)));
        }
        Ok(())
    }

    /// Lets handlers run from now on.
    pub fn arm(&self) {
        self.ledger.store(ledger::STATE as usize, 0);
    }

    /// Adds errors of the user domain to those that the kernel side counts.
    pub fn add_errors(&self, errors: u64) {
        self.ledger.word(ledger::ERRORS as usize).fetch_add(errors, Ordering::AcqRel);
    }

    /// Whether a handler called `exit()`.
    pub fn exit_requested(&self) -> bool {
        self.ledger.load(ledger::STATE as usize) as u32 != 0
    }

    /// Stops all handlers and waits for those that are running: no record comes after this.
    pub fn stop(&self) {
        self.ledger.store(ledger::STATE as usize, 1);
        process::wait_for_handlers();
        let deadline = Instant::now() + PATIENCE;
        while self.under_way() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Handlers that are still waiting for memory of their program.
    pub fn under_way(&self) -> u64 {
        self.ledger.load(ledger::UNDER_WAY as usize)
    }

    /// Detaches; in the background where that can be arranged, else in parallel.
    pub fn detach(&mut self) {
        let links: Vec<Link> = std::mem::take(&mut self.links).into_iter().map(|(_, link)| link).collect();
        if !links.is_empty() && process::close_in_background() {
            drop(links);
        } else {
            attach::detach(links);
        }
    }

    /// The ring of records, for whoever does not wait for it; once.
    pub fn quiet_ring(&mut self) -> Result<QuietRing, RunError> {
        let fd = self.records.take().ok_or(RunError::Bug("the ring was taken already"))?;
        let map = MapData::from_fd(fd).map_err(|error| RunError::Aya(error.to_string()))?;
        let ring = RingBuf::try_from(Map::RingBuf(map)).map_err(|error| RunError::Aya(error.to_string()))?;
        Ok(QuietRing(ring))
    }

    /// The ring of records; once.
    pub fn ring(&mut self) -> Result<Ring, RunError> {
        let QuietRing(ring) = self.quiet_ring()?;
        #[expect(
            deprecated,
            reason = "its successor asks for a promise that types make here: the ring owns its descriptor for as long as it lives"
        )]
        let ring = AsyncFd::new(ring).map_err(RunError::Runtime)?;
        Ok(Ring(ring))
    }

    /// Shows what programs have told about themselves.
    pub fn tell(&mut self, sink: &mut dyn Sink) {
        for line in self.logs.as_mut().map(Logs::take).unwrap_or_default() {
            sink.message(line.as_bytes());
        }
    }

    /// The kinds of links, with the number of their places: what the ladder came to.
    pub fn rungs(&self) -> Vec<(&'static str, usize)> {
        let mut rungs = BTreeMap::new();
        for (_, link) in &self.links {
            *rungs.entry(link.kind()).or_insert(0) += link.places();
        }
        rungs.into_iter().map(|(kind, places)| (kind.name(), places)).collect()
    }

    /// Hits of a program for which the kernel did not run it, as far as the kernel counts them: because it was running
    /// on that CPU already (trampolines since 5.12, kprobes since 6.7), or because the kernel was inside another probe.
    pub fn missed(&self, program: u32) -> u64 {
        let program = program as usize;
        let recursion = |loaded: &Program| loaded.info().map_or(0, |info| info.recursion_misses);
        let of_links = self.links.iter().filter(|(n, _)| *n == program).map(|(_, link)| link.missed());
        self.programs.get(program).into_iter().flatten().map(recursion).sum::<u64>() + of_links.sum::<u64>()
    }

    /// Runs a raw tracepoint's program once, as a hit of its first site would.
    pub fn hit(&self, program: usize, words: &[u64]) -> Result<(), RunError> {
        let loaded = self.programs.get(program).and_then(|copies| copies.first());
        let loaded = loaded.ok_or(RunError::Bug("a program that was never loaded is run"))?;
        loaded.test_run(words).map_err(|error| RunError::attach("a program to nothing", error))
    }

    /// A counter of a program.
    pub fn counter(&self, program: u32, cell: Cell) -> u64 {
        self.ledger.load(ledger::offset(program, cell) as usize)
    }
}

/// The ring of records, looked at when something may be there.
pub struct QuietRing(RingBuf<MapData>);

impl QuietRing {
    /// Takes all records, in order.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        while let Some(item) = self.0.next() {
            each(&item);
        }
    }
}

/// The ring of records, woken by the kernel.
pub struct Ring(AsyncFd<RingBuf<MapData>>);

impl Ring {
    /// Waits until there may be records.
    pub async fn readable(&mut self) -> Result<(), RunError> {
        let mut guard = self.0.readable_mut().await.map_err(RunError::Runtime)?;
        guard.clear_ready();
        Ok(())
    }

    /// Takes all records, in order.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        while let Some(item) = self.0.get_mut().next() {
            each(&item);
        }
    }
}

/// Writes the texts of all sites that kernel code looks up.
fn fill_sites(artifact: &Artifact, map: Option<&BpfMap>) -> Result<(), RunError> {
    let (Some(map), Some(object)) = (map, &artifact.object) else { return Ok(()) };
    let texts = &object.site_texts;
    for (n, site) in artifact.manifest.sites.iter().enumerate() {
        let mut row = vec![0; texts.row as usize];
        for (fact, offset, capacity) in &texts.fields {
            let text = site.fact(*fact).as_bytes();
            let length = text.len().min(usize::from(*capacity) - 1);
            row[*offset as usize..*offset as usize + length].copy_from_slice(&text[..length]);
        }
        let key = (n as u32).to_le_bytes();
        map.update(&key, &row, Update::Any).map_err(|error| RunError::map(SITES, error))?;
    }
    Ok(())
}

/// The ring of diagnostics, by way of a program that writes to it.
fn open_logs(object: &Object, programs: &[Vec<Program>], map: u32) -> Result<Logs, RunError> {
    let writes = |image: &Image| image.code.references.iter().any(|(_, to)| *to == Reference::Map(map));
    let program = object.programs.iter().position(writes).and_then(|n| programs[n].first());
    let program = program.ok_or(RunError::Bug("a ring of diagnostics that no program writes to"))?;
    let info = program.info().map_err(|error| RunError::map(LOGS, error))?;
    Logs::of_program(info.id).map_err(RunError::Aya)
}

/// Loads the types of functions and lines; every kernel since 4.18 takes them.
fn load_types(object: &Object) -> Result<OwnedFd, RunError> {
    btf_load(&object.btf).map_err(|refused| {
        if refused.error.kind() == std::io::ErrorKind::PermissionDenied {
            return RunError::Permission("load programs");
        }
        RunError::Rejected(format!(
            "this is a bug of tracer: the kernel refused the types of its programs: {}\n{}",
            refused.error, refused.log
        ))
    })
}

/// Loads a program; a copy for each site where the site's number is part of the code.
fn load_program(
    artifact: &Artifact,
    program: &Code,
    number: usize,
    maps: &[BpfMap],
    btf: BorrowedFd<'_>,
    target: &Target,
) -> Result<Vec<Program>, RunError> {
    let Some(object) = &artifact.object else { return Ok(Vec::new()) };
    let image = &object.programs[number];
    let mut bytes = image.code.bytes();
    for (slot, reference) in &image.code.references {
        let at = slot * 8 + 4;
        if let Reference::Map(map) | Reference::MapValue(map) = reference {
            use std::os::fd::AsRawFd;
            let fd = maps[*map as usize].as_fd().as_raw_fd();
            bytes[at..at + 4].copy_from_slice(&fd.to_le_bytes());
        }
    }
    let site = program.sites.first().map(|site| &artifact.manifest.sites[*site as usize]);
    let attach_btf_id = match (program.kind, site.map(|site| &site.attach)) {
        (ProgramKind::Fentry | ProgramKind::Fexit, Some(AttachPoint::Kernel { btf, .. })) => *btf,
        _ => None,
    };
    let load = |bytes: &[u8]| {
        prog_load(&ProgLoad {
            name: &program.name,
            prog_type: match program.kind {
                ProgramKind::RawTracepoint => ProgType::RawTracepoint,
                ProgramKind::Fentry | ProgramKind::Fexit => ProgType::Tracing,
                ProgramKind::PerfEvent => ProgType::PerfEvent,
                ProgramKind::Uprobe
                | ProgramKind::Uretprobe
                | ProgramKind::Kprobe
                | ProgramKind::Kretprobe => ProgType::Kprobe,
            },
            attach_type: attach_type(program.kind, target),
            attach_btf_id,
            sleepable: image.sleepable,
            insns: bytes,
            license: c"GPL",
            lines: Some(Lines { btf, functions: &image.functions, lines: &image.lines }),
        })
        .map_err(|refused| match attach_btf_id {
            // Where the verifier did not even begin, the function was refused and not the code.
            Some(_) if !refused.log.lines().any(is_instruction) => attach::no_trampoline(site, refused.error),
            _ => match explain(artifact, program, number, &refused) {
                RunError::TooLarge(report) if !image.sleepable => RunError::Rejected(report),
                error => error,
            },
        })
    };
    if program.site_patches.is_empty() {
        return Ok(vec![load(&bytes)?]);
    }
    program
        .sites
        .iter()
        .map(|site| {
            for slot in &program.site_patches {
                let at = *slot as usize * 8 + 4;
                bytes[at..at + 4].copy_from_slice(&site.to_le_bytes());
            }
            load(&bytes)
        })
        .collect()
}

/// Loads a program of ours that no script has: a raw tracepoint with one map.
pub(super) fn load_image(image: &Image, btf: &[u8], map: &BpfMap) -> Result<Program, RunError> {
    use std::os::fd::AsRawFd;
    let rejected = |refused: LoadRefused| {
        if refused.error.kind() == std::io::ErrorKind::PermissionDenied && refused.log.is_empty() {
            return RunError::Permission("load programs");
        }
        RunError::Rejected(format!(
            "this is a bug of tracer: the kernel refused a program of its own: {}\n{}",
            refused.error, refused.log
        ))
    };
    let btf = btf_load(btf).map_err(rejected)?;
    let mut bytes = image.code.bytes();
    for (slot, _) in &image.code.references {
        let at = slot * 8 + 4;
        bytes[at..at + 4].copy_from_slice(&map.as_fd().as_raw_fd().to_le_bytes());
    }
    prog_load(&ProgLoad {
        name: "identify",
        prog_type: ProgType::RawTracepoint,
        attach_type: AttachType::None,
        attach_btf_id: None,
        sleepable: false,
        insns: &bytes,
        license: c"GPL",
        lines: Some(Lines { btf: btf.as_fd(), functions: &image.functions, lines: &image.lines }),
    })
    .map_err(rejected)
}

/// Whether a line of a verifier's log is about an instruction: `12: (85) call …`.
fn is_instruction(line: &str) -> bool {
    line.split_once(": (").is_some_and(|(slot, _)| slot.parse::<usize>().is_ok())
}

fn attach_type(kind: ProgramKind, target: &Target) -> AttachType {
    match kind {
        ProgramKind::Uprobe | ProgramKind::Uretprobe if target.features.uprobe_multi => {
            AttachType::UprobeMulti
        }
        ProgramKind::Kprobe | ProgramKind::Kretprobe if target.features.kprobe_multi => {
            AttachType::KprobeMulti
        }
        ProgramKind::Fentry => AttachType::Fentry,
        ProgramKind::Fexit => AttachType::Fexit,
        _ => AttachType::None,
    }
}

/// A refused program: no permission, or a bug of ours, shown with the script's line, the code and the verifier's words.
fn explain(artifact: &Artifact, program: &Code, number: usize, refused: &LoadRefused) -> RunError {
    if refused.error.kind() == std::io::ErrorKind::PermissionDenied && refused.log.is_empty() {
        return RunError::Permission("load programs");
    }
    let Some(object) = &artifact.object else { return RunError::Bug("a program without code") };
    let module: &Module = &artifact.module;
    let code = &object.programs[number].code;
    // The log's last instruction is where the verifier gave up.
    let at = refused.log.lines().rev().find_map(|line| {
        let (slot, _) = line.split_once(':')?;
        slot.trim().parse::<usize>().ok()
    });
    let place = at
        .and_then(|at| code.insns.iter().position(|(slot, _)| *slot == at))
        .and_then(|n| code.origins.get(n))
        .and_then(|origin| origin.place)
        .and_then(|place| module.places.get(place.index()))
        .map_or(String::from("an unknown place"), |place| place.text.clone());
    // A verifier follows so many instructions and jumps, and no more.
    let is_limit = ["jumps is too complex", "BPF program is too large", "combined stack size"]
        .iter()
        .any(|words| refused.log.contains(words));
    if is_limit || refused.error.raw_os_error() == Some(crate::sys::bpf_map::FULL) {
        let part = if at.is_some() { format!(" (it gave up at {place})") } else { String::new() };
        return RunError::TooLarge(format!(
            "a handler is too large for this kernel's verifier{part}: make it shorter, with fewer branches in its loops and less recursion, or do a part of it in a timer or end probe"
        ));
    }
    let near = at.unwrap_or(0);
    let listing: String = code
        .insns
        .iter()
        .filter(|(slot, _)| slot + 12 > near && *slot < near + 4)
        .map(|(slot, insn)| format!("  {slot:5}: {}\n", tracer_ebpf::isa::Text(insn)))
        .collect();
    let tail: Vec<&str> = refused.log.lines().rev().take(12).collect();
    let log: String = tail.into_iter().rev().map(|line| format!("  {line}\n")).collect();
    RunError::Rejected(format!(
        "this is a bug of tracer: the kernel's verifier refused the code for {place} ({}, {})\ncode:\n{listing}verifier:\n{log}",
        program.name, refused.error
    ))
}
