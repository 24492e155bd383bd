//! The spine: pass 1 to pass 5, stop-after, timings; nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::Instant;

use tracer_common::ir::{PlaceId, verify};
use tracer_common::manifest::AttachPoint;
use tracer_ebpf::codegen::{CodegenError, Wanted};
use tracer_ebpf::compile::compile;
use tracer_ebpf::target::Target;

use crate::artifact::Artifact;
use crate::cache::Cache;
use crate::debuginfo::btf::Btf;
use crate::diagnostics::render::{Style, render, render_footer};
use crate::diagnostics::{Code, Diagnostic, Severity, Sink, explain};
use crate::download::Servers;
use crate::lower::{Abilities, Lowered, kernel_limit, lower};
use crate::run;
use crate::sema::library::Library;
use crate::sema::program::{Program, Trigger};
use crate::sema::{self, arguments, families};
use crate::session::{self, Dump, Pass, Script, Session};
use crate::source::{FileId, SourceMap, Span};
use crate::syntax::ast::{self, ExprIds};
use crate::syntax::condition::{self, LANGUAGE};
use crate::syntax::print::print_file;
use crate::syntax::{self, Facts, Macros, guru};
use crate::sys::{command, features};
use crate::world::{SystemWorld, World};

/// How the process ends.
pub const OK: u8 = 0;
/// Anything that the user should know of went wrong.
pub const FAILED: u8 = 1;

/// Runs a session; the exit status.
pub fn drive(session: &Session) -> u8 {
    let mut driver = Driver {
        session,
        world: SystemWorld {
            debug_folders: session.debug_folders.clone(),
            servers: Servers::from_environment(),
            cache: (!session.no_cache).then(|| Cache::from_environment().into()),
        },
        sources: SourceMap::default(),
        ids: ExprIds::default(),
        sink: Sink::default(),
        library: Library::embedded(),
        macros: Macros::default(),
        shown: 0,
    };
    match driver.passes() {
        Ok(status) => status,
        Err(Stopped) => FAILED,
    }
}

/// A pass failed; its diagnostics have been shown.
struct Stopped;

struct Driver<'s> {
    session: &'s Session,
    world: SystemWorld,
    sources: SourceMap,
    ids: ExprIds,
    sink: Sink,
    library: Library,
    macros: Macros,
    /// Diagnostics that have been shown.
    shown: usize,
}

/// What a second try of passes 3 to 5 does without.
enum Without {
    /// There is a function that no trampoline can be made for: kprobes reach it.
    Trampolines,
    /// A program that may sleep is too large for the verifier: others are smaller.
    Sleep,
}

/// What pass 3 can count on, on a kernel.
pub fn abilities(target: &Target) -> Abilities {
    Abilities {
        reads_statistics: target.features.lookup_percpu_elem,
        trampolines: target.features.fentry,
        long_keys: target.features.long_keys,
        finds_slices: target.features.for_each_map_elem && target.features.bpf_loop,
        visits_arrays: target.features.for_each_map_elem
            && target.features.bpf_loop
            && target.features.may_goto,
    }
}

impl Driver<'_> {
    fn passes(&mut self) -> Result<u8, Stopped> {
        if let Script::Explain(code) = &self.session.script {
            let text = code.as_deref().map_or_else(|| Ok(explain::list()), explain::explain);
            return match text {
                Ok(text) => Ok(self.show(&text)),
                Err(why) => self.fail(&why),
            };
        }
        if let Some(version) = &self.session.compatible
            && condition::compare_versions(version, LANGUAGE).is_gt()
        {
            return self
                .fail(&format!("version {LANGUAGE} of the language cannot be compatible with {version}"));
        }
        for warning in &self.session.warnings {
            self.message(&format!("warning: {warning}"));
        }
        let mut facts = self.facts();
        let files = self.timed(1, "parsed", |driver| driver.pass_1(&mut facts))?;
        if self.session.last_pass == Pass::Parse {
            let text: String = files.iter().map(print_file).collect();
            return Ok(self.show(&text));
        }
        if let Script::Dump(dump) = self.session.script {
            return Ok(self.show(&self.dump(dump, &files)));
        }
        let program = self.timed(2, "elaborated", |driver| driver.pass_2(files, &facts))?;
        if let Script::Listing { variables, .. } = self.session.script {
            return Ok(self.show(&sema::print::list(&program, variables)));
        }
        if self.session.last_pass == Pass::Elaborate {
            let text = sema::print::print(&program);
            return Ok(self.show(&text));
        }
        // Passes 3 and 4 are for this kernel; to look at the IR, no kernel is asked.
        let mut target = match self.session.last_pass {
            Pass::Translate => None,
            _ => self.target(&program)?,
        };
        loop {
            let without = match self.second_half(&program, target.as_ref())? {
                Ok(status) => return Ok(status),
                Err(without) => without,
            };
            if let Some(target) = &mut target {
                match without {
                    Without::Trampolines => target.features.fentry = false,
                    Without::Sleep => target.features.copy_from_user = false,
                }
            }
        }
    }

    /// Passes 3 to 5, or what the kernel refused.
    fn second_half(
        &mut self,
        program: &Program,
        target: Option<&Target>,
    ) -> Result<Result<u8, Without>, Stopped> {
        let abilities = target.map_or(Abilities::ALL, abilities);
        let mut lowered = self.timed(3, "translated", |driver| driver.pass_3(program, abilities))?;
        if self.session.last_pass == Pass::Translate {
            let text = format!("{}\n{}", lowered.module, lowered.manifest);
            return Ok(Ok(self.show(&text)));
        }
        let refined = target.and_then(|target| self.refined(target, &lowered));
        let target = refined.as_ref().or(target);
        let artifact = self.timed(4, "compiled", |driver| driver.pass_4(&mut lowered, target))?;
        if self.session.last_pass == Pass::Compile {
            let text =
                artifact.object.as_ref().map_or(String::new(), |object| object.listing(&artifact.manifest));
            return Ok(Ok(self.show(&text)));
        }
        self.pass_5(&artifact, target)
    }

    /// Pass 1: text to trees.
    fn pass_1(&mut self, facts: &mut Facts) -> Result<Vec<ast::File>, Stopped> {
        let mut texts = Vec::new();
        match &self.session.script {
            Script::File(path) => texts.push((path.display().to_string(), self.read(path)?)),
            Script::Stdin => {
                let mut text = String::new();
                if let Err(error) = std::io::stdin().read_to_string(&mut text) {
                    return self.fail(&format!("cannot read the script from standard input: {error}"));
                }
                texts.push(("<stdin>".to_owned(), text));
            }
            Script::Explain(_) | Script::Dump(_) => {}
            Script::Text(text) => texts.push(("<input>".to_owned(), text.clone())),
            Script::Listing { pattern, .. } => {
                texts.push(("<input>".to_owned(), format!("probe {pattern} {{}}")));
            }
        }
        if matches!(self.session.script, Script::Dump(_)) {
            let library = self.library.scripts();
            texts.extend(library.map(|(name, text)| (name.to_owned(), text.to_owned())));
        }
        for text in &self.session.additional {
            texts.push(("<input>".to_owned(), text.clone()));
        }
        for dir in &self.session.tapset_dirs {
            if let Err(why) = self.library.add_directory(&self.world, dir, facts) {
                return self.fail(&format!("-I {}: {why}", dir.display()));
            }
        }
        let option = |text: &str| text.contains("CONFIG_");
        if texts.iter().any(|(_, text)| option(text)) || self.library.texts().any(option) {
            facts.config = self.config(&facts.kernel_vr);
        }
        self.macros = self.library.macros(&mut self.sources, facts, &mut self.sink);
        let mut files = Vec::with_capacity(texts.len());
        for (name, text) in texts {
            let id = self.sources.add(name, text, None);
            let file =
                syntax::parse(&mut self.sources, id, &mut self.ids, facts, &self.macros, &mut self.sink);
            if !self.session.guru && !matches!(self.session.script, Script::Dump(_)) {
                guru::refuse(&file, &mut self.sink);
            }
            files.push(file);
        }
        if !self.session.tapset_dirs.is_empty() {
            // Mistakes in files that no script uses yet are told too.
            let own: Vec<_> =
                self.library.own().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
            let mut found = Sink::default();
            for (name, text) in own {
                let id = self.sources.add(name, text, None);
                syntax::parse(
                    &mut self.sources,
                    id,
                    &mut ExprIds::default(),
                    facts,
                    &self.macros,
                    &mut found,
                );
            }
            for mistake in found.all() {
                self.sink.push(Diagnostic { severity: Severity::Warning, ..mistake.clone() });
            }
        }
        if files.iter().all(|file| file.items.is_empty()) && !self.sink.has_errors() {
            let place = Span::new(files[0].id, 0, 0);
            self.sink.push(Diagnostic::error(Code::NoProbes, place, "the script is empty"));
        }
        Ok(files)
    }

    /// Pass 2: names, probe points, types.
    fn pass_2(&mut self, files: Vec<ast::File>, facts: &Facts) -> Result<Program, Stopped> {
        let args = &self.session.args;
        let library = &mut self.library;
        let globals = library.add(arguments::FILE.to_owned(), arguments::tapset(args).into());
        let subject = match &self.session.target {
            session::Target::None => None,
            session::Target::Command(command) => command::program(command)
                .map(|program| families::Subject { program, alone: command::is_direct(command) }),
            session::Target::Process(pid) => {
                Some(families::Subject { program: format!("/proc/{pid}/exe"), alone: true })
            }
        };
        let families = families::all(&self.world, subject);
        let input = sema::Input {
            library,
            families: &families.families,
            globals_scope: &*families.functions,
            facts,
            macros: &self.macros,
            settings: &self.session.globals,
            guru: self.session.guru,
            skip_badvars: self.session.skip_badvars,
            suppress_errors: self.session.suppress_errors,
            listing: matches!(self.session.script, Script::Listing { .. }),
        };
        let mut program = sema::elaborate(files, input, &mut self.sources, &mut self.ids, &mut self.sink);
        if self.session.no_global_display {
            program.globals.iter_mut().for_each(|global| global.read = true);
        }
        if self.library.file_mut(globals).loaded.is_none() && !self.sink.has_errors() {
            arguments::warn_of_unused(args, &self.sources, &mut self.sink);
        }
        Ok(program)
    }

    /// Pass 3: typed trees to IR.
    fn pass_3(&mut self, program: &Program, abilities: Abilities) -> Result<Lowered, Stopped> {
        let lowered = lower(program, &self.session.limits, abilities, &self.sources, &mut self.sink);
        if self.sink.has_errors() {
            return Ok(lowered);
        }
        if let Err(violations) = verify::verify(&lowered.module) {
            panic!(
                "this is a bug: pass 3 made invalid IR (dump with -p3)\n{}",
                verify::explain(&lowered.module, &violations)
            );
        }
        Ok(lowered)
    }

    fn span(lowered: &Lowered, place: PlaceId) -> Span {
        let at = &lowered.module.places[place.index()];
        Span { file: FileId(at.file), start: at.start, end: at.end }
    }

    /// Pass 4: IR to eBPF.
    fn pass_4(&mut self, lowered: &mut Lowered, target: Option<&Target>) -> Result<Artifact, Stopped> {
        let mut object = None;
        if let Some(target) = target {
            match compile(&lowered.module, &mut lowered.manifest, target) {
                Ok(compiled) => object = Some(compiled),
                Err(CodegenError::Limit(what)) => return self.fail(&what),
                Err(CodegenError::Handler { place, what }) => self.sink.push(
                    Diagnostic::error(Code::KernelLimit, Self::span(lowered, place), what)
                        .hint("probe the place twice, and do a part in each handler; -D MAXSTRINGLEN=N makes texts smaller"),
                ),
                Err(CodegenError::Kernel { place, what, wanted }) => {
                    let lacks = kernel_limit::lacks(Self::span(lowered, place), what, wanted.to_string());
                    self.sink.push(match wanted {
                        Wanted::Version(_) => lacks.hint(kernel_limit::ELSEWHERE),
                        Wanted::Open | Wanted::Types => lacks,
                    });
                }
                Err(ref error @ CodegenError::Unsupported { place, .. }) => {
                    let text = error.to_string();
                    self.sink.push(
                        Diagnostic::error(Code::Unsupported, Self::span(lowered, place), text)
                            .hint("do it in a timer or end probe: those run in the user domain"),
                    );
                }
            }
        }
        Ok(Artifact {
            module: lowered.module.clone(),
            manifest: lowered.manifest.clone(),
            object,
            sources: self.sources.clone(),
        })
    }

    /// What the kernel can do, when something is to run in it.
    fn target(&self, program: &Program) -> Result<Option<Target>, Stopped> {
        use tracer_common::manifest::ProgramKind::{Fentry, Fexit, Kprobe, Kretprobe, Uprobe, Uretprobe};
        let mut kinds = program.probes.iter().filter_map(|probe| match probe.trigger {
            Trigger::Kernel(kind) => Some(kind),
            _ => None,
        });
        let kprobes = kinds.clone().any(|kind| matches!(kind, Kprobe | Kretprobe | Fentry | Fexit));
        let uprobes = kinds.clone().any(|kind| matches!(kind, Uprobe | Uretprobe));
        if kinds.next().is_none() {
            return Ok(None);
        }
        let function = program.sites.iter().find_map(|site| match site.attach {
            AttachPoint::Kernel { btf, .. } => btf,
            _ => None,
        });
        // A trampoline's program that is preempted keeps its CPU's other hits out; kprobes are never preempted.
        let function = function.filter(|_| self.session.trampolines || !features::preempts());
        match features::target(self.session.buffer, uprobes, kprobes, self.session.guru, function) {
            Ok(found) => Ok(Some(Target { diagnostics: self.session.verbose > 0, ..found })),
            Err(error) => self.fail(&format!("cannot ask the kernel what it can do: {error}")),
        }
    }

    /// What the kernel's types tell beyond that. Reading them costs more than most scripts: only for those that need it.
    fn refined(&self, target: &Target, lowered: &Lowered) -> Option<Target> {
        let walks = run::unwind::is_wanted(&lowered.module);
        let stays = target.features.isa_v4 && run::stay::is_wanted(&lowered.module, &lowered.manifest);
        if !walks && !stays {
            return None;
        }
        let btf = Btf::load(&self.world).ok()?;
        Some(Target {
            unwind: walks.then(|| run::unwind::layout::find(&btf)).flatten(),
            stay: stays.then(|| run::stay::find(&btf)).flatten(),
            ..target.clone()
        })
    }

    /// Pass 5: the run.
    fn pass_5(
        &mut self,
        artifact: &Artifact,
        target: Option<&Target>,
    ) -> Result<Result<u8, Without>, Stopped> {
        let (command, pid) = match &self.session.target {
            session::Target::None => (None, None),
            session::Target::Command(command) => (Some(command.clone()), None),
            session::Target::Process(pid) => (None, Some(*pid)),
        };
        let options = run::Options {
            command,
            pid,
            output: self.session.output.clone(),
            switch: self.session.switch,
            timeout: self.session.timeout,
            strict: self.session.strict,
            verbose: self.session.verbose,
            debug_folders: self.session.debug_folders.clone(),
            cache: self.world.cache.clone(),
        };
        let start = Instant::now();
        match run::run(artifact, target, &options) {
            Ok(clean) => {
                self.verbose(&format!("Pass 5: ran in {} ms", start.elapsed().as_millis()));
                Ok(Ok(if clean { OK } else { FAILED }))
            }
            Err(error @ run::RunError::Trampoline(..)) => {
                self.verbose(&format!("{error}: kprobes instead"));
                Ok(Err(Without::Trampolines))
            }
            Err(error @ run::RunError::TooLarge(_)) => {
                self.verbose(&format!("{error}\nnow without fetching memory that is not there"));
                Ok(Err(Without::Sleep))
            }
            Err(error) => {
                self.message(&format!("error: {error}"));
                Ok(Ok(FAILED))
            }
        }
    }

    /// Runs a pass, shows its diagnostics, and stops when it failed.
    fn timed<T>(
        &mut self,
        number: u8,
        verb: &str,
        pass: impl FnOnce(&mut Self) -> Result<T, Stopped>,
    ) -> Result<T, Stopped> {
        let start = Instant::now();
        let product = pass(self);
        let elapsed = start.elapsed();
        let style = Style { color: self.session.color };
        let new = &self.sink.all()[self.shown..];
        let (mut words, mut similar) = (BTreeSet::new(), 0);
        let mut visible: Vec<Diagnostic> = Vec::new();
        for diagnostic in new {
            let is_warning = diagnostic.severity == Severity::Warning;
            if is_warning && self.session.no_warnings {
                continue;
            }
            // Of warnings with the same words the first is shown, as SystemTap does it.
            if is_warning && !words.insert(diagnostic.message.clone()) && self.session.verbose == 0 {
                similar += 1;
                continue;
            }
            visible.push(diagnostic.clone());
        }
        self.shown = self.sink.all().len();
        for diagnostic in &visible {
            self.message(render(&self.sources, diagnostic, style).trim_end());
        }
        if similar > 0 {
            self.message(&format!("Number of similar warning messages suppressed: {similar}."));
            self.message("Rerun with -v to see them.");
        }
        let warnings_count = self.session.strict_warnings && !visible.is_empty();
        if self.sink.has_errors() || warnings_count {
            self.message(render_footer(&visible, number, style).trim_end());
            return Err(Stopped);
        }
        let product = product?;
        for line in self.world.cache.iter().flat_map(|cache| cache.said()) {
            self.verbose(&line);
        }
        self.verbose(&format!("Pass {number}: {verb} in {:.1} ms", elapsed.as_secs_f64() * 1000.0));
        Ok(product)
    }

    fn facts(&self) -> Facts {
        let release = self.world.read_text(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
        let release = release.trim().to_owned();
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
        let version = self.session.compatible.as_deref().unwrap_or(LANGUAGE);
        Facts {
            args: self.session.args.clone(),
            kernel_v: release[..end].trim_end_matches('.').to_owned(),
            kernel_vr: release,
            arch: std::env::consts::ARCH.to_owned(),
            config: BTreeMap::new(),
            systemtap_v: version.to_owned(),
            grammar: version.to_owned(),
            runtime: "bpf".to_owned(),
            guru_mode: self.session.guru,
            privilege: "stapdev".to_owned(),
        }
    }

    /// The options that the kernel was built with, where it is known where they are.
    fn config(&self, release: &str) -> BTreeMap<String, String> {
        let places = [
            format!("/boot/config-{release}"),
            format!("/lib/modules/{release}/config"),
            format!("/lib/modules/{release}/build/.config"),
        ];
        let text =
            places.iter().find_map(|path| self.world.read_text(Path::new(path)).ok()).unwrap_or_default();
        text.lines()
            .filter(|line| line.starts_with("CONFIG_"))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
            .collect()
    }

    /// `--dump-…`: a line for each thing, sorted.
    fn dump(&self, what: Dump, library: &[ast::File]) -> String {
        let mut lines: Vec<String> = match what {
            Dump::ProbeTypes => {
                let families = families::all(&self.world, None);
                families
                    .families
                    .iter()
                    .flat_map(|family| family.forms())
                    .map(|form| (*form).to_owned())
                    .collect()
            }
            Dump::ProbeAliases => library.iter().flat_map(sema::print::aliases).collect(),
            Dump::Functions => library.iter().flat_map(sema::print::functions).collect(),
        };
        lines.sort();
        lines.dedup();
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn read(&mut self, path: &Path) -> Result<String, Stopped> {
        match self.world.read_text(path) {
            Ok(text) => Ok(text),
            Err(error) => {
                let text = path.to_string_lossy();
                let hint = match error.kind() {
                    ErrorKind::InvalidData => "; a program to trace is given with -c",
                    ErrorKind::NotFound if text.contains(['{', ' ']) || text == "probe" => {
                        "; the text of a script is given with -e, in single quotes"
                    }
                    ErrorKind::NotFound if !text.contains(['/', '.']) => {
                        "; --help shows what can be said here"
                    }
                    _ => "",
                };
                self.fail(&format!("cannot read {text}: {error}{hint}"))
            }
        }
    }

    /// Writes a pass's product.
    fn show(&self, text: &str) -> u8 {
        // A reader that went away is not our failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        OK
    }

    fn fail<T>(&self, why: &str) -> Result<T, Stopped> {
        self.message(&format!("error: {why}"));
        Err(Stopped)
    }

    fn verbose(&self, line: &str) {
        if self.session.verbose > 0 {
            self.message(line);
        }
    }

    fn message(&self, line: &str) {
        // Nothing can be done about a standard error that is gone.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
