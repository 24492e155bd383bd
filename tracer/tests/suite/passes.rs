//! Cases of passes 2 to 4: elaborated, translated and compiled against the fake program of `fake`.
//!
//! Files of a case below `/tapset` are what `-I /tapset` finds. Directives: `arg` (a script argument), `set`
//! (`-G name=value`), `option` (`guru`, `skip-badvars`), `target` (a release of `tracer_ebpf::target`).

use std::path::Path;

use tracer::diagnostics::Sink;
use tracer::driver::abilities;
use tracer::lower::{Abilities, Lowered, lower};
use tracer::sema::arguments;
use tracer::sema::families;
use tracer::sema::family::Family;
use tracer::sema::library::Library;
use tracer::sema::program::Program;
use tracer::sema::{self, print};
use tracer::source::{FileId, SourceMap};
use tracer::syntax::ast::ExprIds;
use tracer::syntax::{self, Facts};
use tracer::world::MemoryWorld;
use tracer_common::ir::verify;
use tracer_common::limits::Limits;
use tracer_ebpf::compile::compile;
use tracer_ebpf::target::Target;

use crate::case::{self, Case, Outcome};
use crate::fake::{Fake, NoTypes};
use crate::has_errors;

/// A case after pass 2.
pub(crate) struct Elaborated {
    pub(crate) sources: SourceMap,
    pub(crate) main: FileId,
    pub(crate) program: Program,
    pub(crate) sink: Sink,
}

/// Passes 1 and 2.
pub(crate) fn elaborate(case: &Case) -> Elaborated {
    let mut world = MemoryWorld::default();
    for (path, text) in &case.files {
        world.files.insert(path.into(), text.clone().into_bytes());
    }
    let mut facts = Facts::example();
    facts.args = case.directive("arg").map(str::to_owned).collect();
    let (mut sources, mut sink, mut ids) = (SourceMap::default(), Sink::default(), ExprIds::default());
    let mut library = Library::embedded();
    let globals = library.add(arguments::FILE.to_owned(), arguments::tapset(&facts.args).into());
    if !case.files.is_empty() {
        library
            .add_directory(&world, Path::new("/tapset"), &facts)
            .expect("files of a case are below /tapset");
    }
    let macros = library.macros(&mut sources, &facts, &mut sink);
    let main = sources.add("case.stp", case.script.as_str(), None);
    let tree = syntax::parse(&mut sources, main, &mut ids, &facts, &macros, &mut sink);
    let families: Vec<Box<dyn Family>> = vec![Box::new(families::Session), Box::new(Fake)];
    let settings: Vec<(String, String)> = case
        .directive("set")
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let input = sema::Input {
        library: &mut library,
        families: &families,
        globals_scope: &NoTypes,
        facts: &facts,
        macros: &macros,
        settings: &settings,
        guru: case.directive("option").any(|option| option == "guru"),
        skip_badvars: case.directive("option").any(|option| option == "skip-badvars"),
        suppress_errors: false,
        listing: false,
    };
    let program = if has_errors(sink.all()) {
        Program::default()
    } else {
        sema::elaborate(vec![tree], input, &mut sources, &mut ids, &mut sink)
    };
    if library.file_mut(globals).loaded.is_none() {
        arguments::warn_of_unused(&facts.args, &sources, &mut sink);
    }
    Elaborated { sources, main, program, sink }
}

/// The case as it should be written: its diagnostics, and for a good one the product.
fn finish(case: &Case, done: &Elaborated, good: bool, output: Option<String>) -> Result<String, String> {
    let diagnostics = done.sink.all();
    if has_errors(diagnostics) == good {
        let style = tracer::diagnostics::render::Style { color: false };
        let rendered = tracer::diagnostics::render::render_all(&done.sources, diagnostics, 2, style);
        return Err(format!("must {} errors\n{rendered}", if good { "have no" } else { "have" }));
    }
    let outcome = Outcome { diagnostics: diagnostics.to_vec(), output };
    Ok(case::written(case, done.main, &done.sources, &outcome))
}

/// Pass 2.
pub(crate) fn check_elaborate(case: &Case, good: bool) -> Result<String, String> {
    let done = elaborate(case);
    let output = good.then(|| print::print(&done.program));
    finish(case, &done, good, output)
}

/// For the kernel that a case names.
fn target(case: &Case) -> Result<Option<Target>, String> {
    let release = case.directive("target").next();
    release.map(|release| Target::preset(release).ok_or_else(|| format!("no target {release}"))).transpose()
}

fn translate(case: &Case, done: &mut Elaborated) -> Result<Lowered, String> {
    let abilities = target(case)?.as_ref().map_or(Abilities::ALL, abilities);
    let lowered = lower(&done.program, &Limits::STAP, abilities, &done.sources, &mut done.sink);
    if !has_errors(done.sink.all()) {
        verify::verify(&lowered.module).map_err(|why| verify::explain(&lowered.module, &why))?;
    }
    Ok(lowered)
}

/// Pass 3.
pub(crate) fn check_translate(case: &Case, good: bool) -> Result<String, String> {
    let mut done = elaborate(case);
    if has_errors(done.sink.all()) {
        return finish(case, &done, good, None);
    }
    let lowered = translate(case, &mut done)?;
    if !good {
        return finish(case, &done, false, None);
    }
    // Places are numbers of bytes, which change with every word that is written in a tapset.
    let text = lowered.module.to_string();
    let lines = text.lines().filter(|line| !line.starts_with("place "));
    let output = Some(lines.fold(String::new(), |text, line| text + line + "\n"));
    finish(case, &done, true, output)
}

/// Pass 4.
pub(crate) fn check_compile(case: &Case) -> Result<String, String> {
    let mut done = elaborate(case);
    if has_errors(done.sink.all()) {
        return finish(case, &done, true, None);
    }
    let mut lowered = translate(case, &mut done)?;
    let target = target(case)?.unwrap_or(Target::LINUX_6_12);
    let object = compile(&lowered.module, &mut lowered.manifest, &target).map_err(|e| format!("{e:?}"))?;
    let output = Some(object.listing(&lowered.manifest));
    finish(case, &done, true, output)
}

/// What a hostile script may be large in: nesting, chains, numbers of names. Each must end soon.
#[test]
fn elaborating_is_not_exponential() {
    let nested = |open: &str, middle: &str, close: &str, count: usize| {
        format!("probe begin {{ println({}{middle}{}) }}", open.repeat(count), close.repeat(count))
    };
    let chain = |body: &dyn Fn(usize) -> String, last: &str, count: usize| {
        let functions: String =
            (0..count).map(|n| format!("function f{n}(x) {{ {} }}\n", body(n + 1))).collect();
        format!("{functions}function f{count}(x) {{ {last} }}\nprobe begin {{ println(f0(1)) }}")
    };
    let scripts = [
        nested("(1 == ", "1", ")", 120),
        nested("(1 ? x : ", "y", ")", 120),
        nested("(x ? ", "1", " : y)", 120),
        nested("(x = ", "y", ")", 120),
        nested("(x . ", "\"\"", ")", 120),
        nested("f(", "1", ")", 120) + " function f(x) { return x }",
        chain(&|n| format!("return f{n}(x)"), "return \"x\"", 500),
        chain(&|n| format!("return f{n}(f{n}(x))"), "return x", 500),
        chain(&|n| format!("if (x) return f{n}(x); return x"), "return f0(x)", 500),
        format!(
            "global a0 {} probe begin {{ {} a300 = \"x\" }}",
            (1..=300).map(|n| format!(", a{n}")).collect::<String>(),
            (0..300).map(|n| format!("a{n} = a{};", n + 1)).collect::<String>()
        ),
        format!(
            "probe begin {{ {} }}",
            (0..300).map(|n| format!("if (x{n} == y) x{} = x{n};", n + 1)).collect::<String>()
        ),
    ];
    for script in scripts {
        let case = Case {
            name: String::new(),
            directives: Vec::new(),
            files: Vec::new(),
            written: String::new(),
            script,
        };
        let start = std::time::Instant::now();
        let done = elaborate(&case);
        let (took, text) = (start.elapsed(), &case.script[..case.script.len().min(80)]);
        assert!(took.as_secs() < 15, "{took:?} for {text}");
        let rendered = tracer::diagnostics::render::render_all(
            &done.sources,
            done.sink.all(),
            2,
            tracer::diagnostics::render::Style { color: false },
        );
        assert!(!has_errors(done.sink.all()), "{text}\n{}", &rendered[..rendered.len().min(500)]);
    }
}
