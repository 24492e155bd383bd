//! `tracer dtrace`: what build systems call `dtrace` for, so that programs that were made for DTrace have marks that
//! `process("…").mark("…")` finds.
//!
//! `-h` makes a header with a macro for each probe, `-G` an object file with the semaphores, both from the provider file
//! of `-s`; `--sdt-header` prints a `<sys/sdt.h>` for systems that have none.
//!
//! Rooms, in reading order: this file (the command), `provider` (provider files), `header` and `semaphores` (what is made).
//!
//! **Not here:** reading marks (`debuginfo::sdt`).

mod header;
mod provider;
mod semaphores;

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A `<sys/sdt.h>` of our own.
const SDT_HEADER: &str = include_str!("sdt.h");

/// Why nothing was made.
#[derive(Debug)]
pub enum Failed {
    /// The arguments.
    Usage(String),
    /// A file.
    File(PathBuf, std::io::Error),
    /// The provider file: its name, line and column from 1, what is wrong, and a hint.
    Provider { file: String, line: usize, column: usize, what: String, hint: &'static str },
    /// The C preprocessor (`-C`).
    Preprocessor(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Usage(what) => write!(
                f,
                "{what}\n   = hint: tracer dtrace (-h | -G) -s PROVIDER.d [-o OUTPUT] [-C [-I DIR] [-D NAME[=VALUE]]]"
            ),
            Failed::File(path, error) => write!(f, "{}: {error}", path.display()),
            Failed::Provider { file, line, column, what, hint } => {
                write!(f, "{what}\n  --> {file}:{line}:{column}\n   = hint: {hint}")
            }
            Failed::Preprocessor(why) => write!(f, "the C preprocessor (-C) failed: {why}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Product {
    Header,
    Object,
}

#[derive(Default, Debug)]
struct Arguments {
    product: Option<Product>,
    script: Option<PathBuf>,
    output: Option<PathBuf>,
    preprocess: bool,
    /// `-I` and `-D`, as they were given.
    preprocessor: Vec<String>,
    verbose: bool,
    sdt_header: bool,
}

/// Runs the command; `arguments` are those behind `dtrace`.
pub fn command(arguments: impl Iterator<Item = String>) -> Result<(), Failed> {
    let arguments = parse(arguments)?;
    if arguments.sdt_header {
        return put(arguments.output.as_deref().unwrap_or(Path::new("-")), SDT_HEADER.as_bytes());
    }
    let product =
        arguments.product.ok_or_else(|| usage("what is wanted? -h makes a header, -G an object file"))?;
    let script = arguments.script.as_ref().ok_or_else(|| usage("which provider file? -s names it"))?;
    let text = if arguments.preprocess {
        preprocessed(script, &arguments.preprocessor)?
    } else {
        let bytes = std::fs::read(script).map_err(|error| Failed::File(script.clone(), error))?;
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let providers = provider::parse(&script.display().to_string(), &text)?;
    let (bytes, extension) = match product {
        Product::Header => (header::header(&providers).into_bytes(), "h"),
        Product::Object => (semaphores::object(&providers), "o"),
    };
    let usual = || PathBuf::from(script.file_name().unwrap_or_default()).with_extension(extension);
    let output = arguments.output.clone().unwrap_or_else(usual);
    put(&output, &bytes)?;
    if arguments.verbose {
        let probes: usize = providers.iter().map(|provider| provider.probes.len()).sum();
        let _ = writeln!(std::io::stderr(), "{}: {probes} probes", output.display());
    }
    Ok(())
}

fn usage(what: &str) -> Failed {
    Failed::Usage(what.to_owned())
}

fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, Failed> {
    let mut arguments = Arguments::default();
    while let Some(word) = given.next() {
        let mut value = |short: &str| -> Result<String, Failed> {
            match word.strip_prefix(short).filter(|rest| !rest.is_empty()) {
                Some(rest) => Ok(rest.to_owned()),
                None => given.next().ok_or_else(|| Failed::Usage(format!("{short} takes a value"))),
            }
        };
        match word.as_str() {
            "-h" => arguments.product = Some(Product::Header),
            "-G" => arguments.product = Some(Product::Object),
            "-C" => arguments.preprocess = true,
            "-v" | "--verbose" => arguments.verbose = true,
            "--sdt-header" => arguments.sdt_header = true,
            // Nothing is kept, nothing is said, and one kind of object file is made anyway.
            "-k" | "-q" | "-64" | "-fPIC" | "-fpic" | "--types" => {}
            word if word.starts_with("-s") => arguments.script = Some(value("-s")?.into()),
            word if word.starts_with("-o") => arguments.output = Some(value("-o")?.into()),
            word if word.starts_with("-I") || word.starts_with("-D") => {
                let short = &word[..2];
                let value = value(short)?;
                arguments.preprocessor.push(format!("{short}{value}"));
            }
            // `-x nolibs` and the like are about DTrace's own libraries.
            word if word.starts_with("-x") => drop(value("-x")?),
            "-32" => return Err(usage("-32: only x86-64 programs can be traced")),
            word if word.starts_with('-') => return Err(Failed::Usage(format!("no such option: {word}"))),
            // Object files whose probes DTrace would patch: marks need no patching.
            _ => {}
        }
    }
    Ok(arguments)
}

/// Writes a file whole, or to standard output for `-`.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    let written =
        if path == Path::new("-") { std::io::stdout().write_all(bytes) } else { std::fs::write(path, bytes) };
    written.map_err(|error| Failed::File(path.to_owned(), error))
}

fn preprocessed(script: &Path, options: &[String]) -> Result<String, Failed> {
    let mut command = Command::new("cpp");
    command.args(options).arg(script).stdin(Stdio::null());
    let output = command.output().map_err(|error| Failed::Preprocessor(format!("cpp: {error}")))?;
    if !output.status.success() {
        return Err(Failed::Preprocessor(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
