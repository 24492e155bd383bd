//! What reads texts and files, and what it promises about every one.

use clap::ValueEnum;
use tracer::diagnostics::render::{Style, render_all};
use tracer::diagnostics::{Severity, Sink};
use tracer::lower::Abilities;
use tracer::source::SourceMap;
use tracer::syntax::ast::ExprIds;
use tracer::syntax::print::print_file;
use tracer::syntax::{self, Facts, Macros, lexer};
use tracer_common::ir::{FuncId, opt, parse, verify};
use tracer_common::limits::Limits;
use tracer_ebpf::compile::compile;
use tracer_ebpf::target;

use super::{damage, files, mutate};
use crate::differ::script::{Refusal, UNVERIFIED, translate};
use crate::random::Random;

/// A reader of texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Target {
    /// Characters to tokens, script arguments pasted in
    Lexer,
    /// Conditions and macros
    Preprocessor,
    /// Tokens to trees, which print to a text that parses to the same
    Parser,
    /// Trees to typed programs to IR, which verifies, to code
    Types,
    /// IR as text
    Ir,
    /// ELF, DWARF (index, lines, locations, call frames), notes, compressed and embedded debug information
    Program,
    /// BTF
    Btf,
    /// Arguments of marks
    MarkArguments,
    /// Names of symbols, of C++ and Rust
    Names,
    /// The kernel's table of symbols
    Kallsyms,
    /// Records that programs send
    Record,
}

impl Target {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Target::Lexer => "lexer",
            Target::Preprocessor => "preprocessor",
            Target::Parser => "parser",
            Target::Types => "types",
            Target::Ir => "ir",
            Target::Program => "program",
            Target::Btf => "btf",
            Target::MarkArguments => "mark-arguments",
            Target::Names => "names",
            Target::Kallsyms => "kallsyms",
            Target::Record => "record",
        }
    }

    /// Whether it reads bytes and no text.
    pub(super) fn is_binary(self) -> bool {
        matches!(self, Target::Program | Target::Btf | Target::Record)
    }

    /// Damages what it reads, in one place.
    pub(super) fn damage(self, given: &mut Vec<u8>, donor: &[u8], random: &mut Random) {
        match self {
            Target::Program => damage::file(given, random),
            Target::Btf => damage::btf(given, random),
            Target::Record => {
                if random.below(8) == 0 {
                    given.truncate(random.below(given.len() + 1));
                }
                damage::anywhere(given, random);
            }
            Target::Lexer
            | Target::Preprocessor
            | Target::Parser
            | Target::Types
            | Target::Ir
            | Target::MarkArguments
            | Target::Names
            | Target::Kallsyms => {
                let (text, donor) = (String::from_utf8_lossy(given), String::from_utf8_lossy(donor));
                *given = mutate::mutate(&text, &donor, random).into_bytes();
            }
        }
    }

    /// Whether a text is understood; `Err` for a broken promise: a word for the promise, a colon, and more.
    pub(super) fn read(self, given: &[u8]) -> Result<bool, String> {
        let text = if self.is_binary() { "".into() } else { String::from_utf8_lossy(given) };
        let text = text.as_ref();
        match self {
            Target::Lexer => lex(text),
            Target::Preprocessor => preprocess(text),
            Target::Parser => parse_script(text),
            Target::Types => types(text),
            Target::Ir => ir(text),
            Target::Program => Ok(files::program(given.to_vec())),
            Target::Btf => Ok(files::btf(given.to_vec())),
            Target::MarkArguments => Ok(files::arguments(text)),
            Target::Names => files::names(text),
            Target::Kallsyms => Ok(files::symbols(text)),
            Target::Record => files::record(given),
        }
    }
}

fn facts() -> Facts {
    Facts { args: vec!["a b".to_owned(), "\"c".to_owned(), "%( 1 == 1 %? $1".to_owned()], ..Facts::example() }
}

/// Every message has a place inside its text, and can be shown; whether there are no errors.
fn shown(sources: &SourceMap, sink: &Sink) -> Result<bool, String> {
    for diagnostic in sink.all() {
        let Some(span) = diagnostic.span else { continue };
        let file = &sources.file(span.file).text;
        if file.get(span.start as usize..span.end as usize).is_none() {
            return Err(format!("place: {diagnostic:?}"));
        }
    }
    render_all(sources, sink.all(), 1, Style { color: false });
    Ok(!sink.all().iter().any(|found| found.severity == Severity::Error))
}

fn lex(text: &str) -> Result<bool, String> {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let file = sources.add("script", text, None);
    lexer::lex(&mut sources, file, &facts().args, &mut sink);
    shown(&sources, &sink)
}

fn preprocess(text: &str) -> Result<bool, String> {
    let (mut sources, mut sink, mut macros) = (SourceMap::default(), Sink::default(), Macros::default());
    let file = sources.add("macros", text, None);
    syntax::parse_macros(&mut sources, file, &facts(), &mut macros, &mut sink);
    let file = sources.add("script", text, None);
    syntax::parse(&mut sources, file, &mut ExprIds::default(), &facts(), &macros, &mut sink);
    shown(&sources, &sink)
}

fn parse_script(text: &str) -> Result<bool, String> {
    let tree = |text: &str| {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let file = sources.add("script", text, None);
        let mut ids = ExprIds::default();
        let tree = syntax::parse(&mut sources, file, &mut ids, &facts(), &Macros::default(), &mut sink);
        (shown(&sources, &sink), print_file(&tree))
    };
    let (understood, printed) = tree(text);
    if !understood? {
        return Ok(false);
    }
    let (again, printed_again) = tree(&printed);
    if !again? {
        return Err(format!("printed: the printed text does not parse\n{printed}"));
    }
    if printed != printed_again {
        return Err(format!("fixpoint: printing again gives another text\n{printed}\nand\n{printed_again}"));
    }
    Ok(true)
}

fn types(text: &str) -> Result<bool, String> {
    let limits = Limits { string_len: 128, ..Limits::STAP };
    let (mut lowered, _) = match translate(text, &limits, Abilities::ALL) {
        Ok(done) => done,
        Err(Refusal::Wrong(why)) if why.starts_with(UNVERIFIED) => return Err(why),
        Err(Refusal::Wrong(_) | Refusal::Unsupported(_)) => return Ok(false),
    };
    if let Some(target) = target::Target::preset("6.12") {
        // Limits of what the kernel takes are said, not broken.
        let _ = compile(&lowered.module, &mut lowered.manifest, &target);
    }
    Ok(true)
}

fn ir(text: &str) -> Result<bool, String> {
    let Ok(module) = parse::module(text) else { return Ok(false) };
    let printed = module.to_string();
    let again = parse::module(&printed).map_err(|error| format!("printed: {error}\n{printed}"))?;
    if again.to_string() != printed {
        return Err(format!("fixpoint: printing again gives another text\n{printed}"));
    }
    if verify::verify(&module).is_err() {
        return Ok(false);
    }
    let roots: Vec<FuncId> = (0..module.functions.len() as u32).map(FuncId).collect();
    let mut after = again;
    if opt::optimize(&mut after, &roots).is_ok()
        && let Err(violations) = verify::verify(&after)
    {
        return Err(format!("optimized: {}", verify::explain(&after, &violations)));
    }
    Ok(true)
}
