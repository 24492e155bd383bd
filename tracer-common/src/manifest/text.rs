//! The text form of a manifest: the section of the artifact, and what `-p4` prints.
//!
//! ```text
//! site 0 user "/bin/x" 4660 semaphore 8192, point "process(\"/bin/x\").mark(\"m\")", name m, vars (a, b) ()
//! program p0 f3 uprobe, sites 0, 1, 2
//! program p1 f4 kprobe, sites 3, patches 17, 40
//! ```
//! One line for each site and program; what is empty is left out. Places are `session`, `user PATH OFFSET`,
//! `kernel SYMBOL OFFSET`, `tracepoint NAME` and `perf TYPE CONFIG hz|period N`.
//!
//! Invariants: reading what was printed gives the same manifest; time and memory are linear in the text.
//! **Not here:** whether the manifest fits its module: `ir::verify::manifest`.

use super::{AttachPoint, Manifest, Program, ProgramKind, Sampling, Site};
use crate::ir::FuncId;
use crate::text::{Kind, Name, ParseError, Quoted, Reader, Result};
use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Display, Formatter};

impl Display for Manifest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, site) in self.sites.iter().enumerate() {
            writeln!(f, "site {number} {site}")?;
        }
        for program in &self.programs {
            writeln!(f, "program {program}")?;
        }
        Ok(())
    }
}

impl Display for Site {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Site { attach, probe_point, alias, function, name, provider, is_entry, variables } = self;
        write!(f, "{attach}")?;
        for (word, value) in [("point", probe_point), ("alias", alias)] {
            if !value.is_empty() {
                write!(f, ", {word} {}", Quoted(value.as_bytes()))?;
            }
        }
        for (word, value) in [("function", function), ("name", name), ("provider", provider)] {
            if !value.is_empty() {
                write!(f, ", {word} {}", bare(value))?;
            }
        }
        if *is_entry {
            f.write_str(", entry")?;
        }
        if !variables.is_empty() {
            f.write_str(", vars")?;
        }
        for list in variables {
            f.write_str(" (")?;
            for (n, variable) in list.iter().enumerate() {
                write!(f, "{}{}", if n > 0 { ", " } else { "" }, bare(variable))?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl Display for AttachPoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            AttachPoint::Session => f.write_str("session"),
            AttachPoint::User { path, offset, semaphore, pid } => {
                write!(f, "user {} {offset}", Quoted(path.as_bytes()))?;
                if let Some(semaphore) = semaphore {
                    write!(f, " semaphore {semaphore}")?;
                }
                match pid {
                    Some(pid) => write!(f, " pid {pid}"),
                    None => Ok(()),
                }
            }
            AttachPoint::Kernel { symbol, offset, btf } => {
                write!(f, "kernel {} {offset}", bare(symbol))?;
                match btf {
                    Some(btf) => write!(f, " btf {btf}"),
                    None => Ok(()),
                }
            }
            AttachPoint::Tracepoint { name } => write!(f, "tracepoint {}", bare(name)),
            AttachPoint::Perf { kind, config, sampling: Sampling::Period(period) } => {
                write!(f, "perf {kind} {config} period {period}")
            }
            AttachPoint::Perf { kind, config, sampling: Sampling::Frequency(frequency) } => {
                write!(f, "perf {kind} {config} hz {frequency}")
            }
        }
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Program { name, function, kind, sites, site_patches } = self;
        write!(f, "{} {function} {}", bare(name), kind.word())?;
        for (word, numbers) in [("sites", sites), ("patches", site_patches)] {
            for (n, number) in numbers.iter().enumerate() {
                match n {
                    0 => write!(f, ", {word} {number}")?,
                    _ => write!(f, ", {number}")?,
                }
            }
        }
        Ok(())
    }
}

fn bare(name: &str) -> Name<'_> {
    Name { name, reserved: &[] }
}

impl ProgramKind {
    /// Every kind with its word.
    pub const ALL: [(ProgramKind, &'static str); 8] = [
        (ProgramKind::Uprobe, "uprobe"),
        (ProgramKind::Uretprobe, "uretprobe"),
        (ProgramKind::Kprobe, "kprobe"),
        (ProgramKind::Kretprobe, "kretprobe"),
        (ProgramKind::Fentry, "fentry"),
        (ProgramKind::Fexit, "fexit"),
        (ProgramKind::RawTracepoint, "raw_tracepoint"),
        (ProgramKind::PerfEvent, "perf_event"),
    ];

    /// Its word in the text form.
    pub fn word(self) -> &'static str {
        match self {
            ProgramKind::Uprobe => "uprobe",
            ProgramKind::Uretprobe => "uretprobe",
            ProgramKind::Kprobe => "kprobe",
            ProgramKind::Kretprobe => "kretprobe",
            ProgramKind::Fentry => "fentry",
            ProgramKind::Fexit => "fexit",
            ProgramKind::RawTracepoint => "raw_tracepoint",
            ProgramKind::PerfEvent => "perf_event",
        }
    }

    /// The kind of a word.
    pub fn by_word(word: &str) -> Option<ProgramKind> {
        ProgramKind::ALL.iter().find(|(_, name)| *name == word).map(|(kind, _)| *kind)
    }
}

/// Reads a manifest.
pub fn parse(text: &str) -> core::result::Result<Manifest, ParseError> {
    let mut reader = Reader::new(text)?;
    let mut manifest = Manifest::default();
    loop {
        reader.skip_lines()?;
        if reader.peek().kind == Kind::End {
            return Ok(manifest);
        }
        if reader.eat("site")? {
            let token = reader.peek();
            let number: u64 = reader.number()?;
            if number != manifest.sites.len() as u64 {
                return Err(reader.error_at(token, format!("expected site {}", manifest.sites.len())));
            }
            manifest.sites.push(site(&mut reader)?);
        } else if reader.eat("program")? {
            manifest.programs.push(program(&mut reader)?);
        } else {
            return Err(reader.expected("`site` or `program`"));
        }
        reader.line_end()?;
    }
}

fn site(reader: &mut Reader<'_>) -> Result<Site> {
    let mut site = Site::new(attach(reader)?, "");
    while reader.eat(",")? {
        let token = reader.peek();
        match reader.word("a property of the site")? {
            "point" => site.probe_point = reader.string()?,
            "alias" => site.alias = reader.string()?,
            "function" => site.function = reader.name()?,
            "name" => site.name = reader.name()?,
            "provider" => site.provider = reader.name()?,
            "entry" => site.is_entry = true,
            "vars" => {
                while reader.eat("(")? {
                    let mut list = Vec::new();
                    while !reader.eat(")")? {
                        list.push(reader.name()?);
                        if !reader.at(")") {
                            reader.expect(",")?;
                        }
                    }
                    site.variables.push(list);
                }
            }
            _ => {
                let expected = "expected point, alias, function, name, provider or vars";
                return Err(reader.error_at(token, expected));
            }
        }
    }
    Ok(site)
}

fn attach(reader: &mut Reader<'_>) -> Result<AttachPoint> {
    let token = reader.peek();
    Ok(match reader.word("session, user, kernel, tracepoint or perf")? {
        "session" => AttachPoint::Session,
        "user" => {
            let path = reader.string()?;
            let offset = reader.number()?;
            let semaphore = if reader.eat("semaphore")? { Some(reader.number()?) } else { None };
            let pid = if reader.eat("pid")? { Some(reader.number()?) } else { None };
            AttachPoint::User { path, offset, semaphore, pid }
        }
        "kernel" => {
            let symbol = reader.name()?;
            let offset = reader.number()?;
            let btf = if reader.eat("btf")? { Some(reader.number()?) } else { None };
            AttachPoint::Kernel { symbol, offset, btf }
        }
        "tracepoint" => AttachPoint::Tracepoint { name: reader.name()? },
        "perf" => {
            let (kind, config) = (reader.number()?, reader.number()?);
            let sampling = if reader.eat("hz")? {
                Sampling::Frequency(reader.number()?)
            } else {
                reader.word("period or hz")?;
                Sampling::Period(reader.number()?)
            };
            AttachPoint::Perf { kind, config, sampling }
        }
        _ => return Err(reader.error_at(token, "expected session, user, kernel, tracepoint or perf")),
    })
}

fn program(reader: &mut Reader<'_>) -> Result<Program> {
    let name = reader.name()?;
    let function = FuncId(reader.entity('f')?);
    let kind = reader.one_of("a kind of program", ProgramKind::by_word)?;
    let mut program = Program { name, function, kind, sites: Vec::new(), site_patches: Vec::new() };
    let mut list = &mut program.sites;
    while reader.eat(",")? {
        if reader.eat("sites")? {
            list = &mut program.sites;
        } else if reader.eat("patches")? {
            list = &mut program.site_patches;
        }
        list.push(reader.number()?);
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn sample(sites: u32) -> Manifest {
        let site = |number: u32| {
            let path = "/usr/bin/odd \"name\"\n".into();
            let attach = match number % 6 {
                0 => AttachPoint::Session,
                1 => AttachPoint::User { path, offset: u64::MAX, semaphore: Some(8), pid: Some(7) },
                2 => AttachPoint::User { path, offset: 4096 + u64::from(number), semaphore: None, pid: None },
                3 => AttachPoint::Kernel {
                    symbol: "vfs_read.cold".into(),
                    offset: 5,
                    btf: number.is_multiple_of(4).then_some(number),
                },
                4 => AttachPoint::Tracepoint { name: "sched_switch".into() },
                _ => AttachPoint::Perf {
                    kind: 1,
                    config: u64::MAX,
                    sampling: match number % 4 {
                        1 => Sampling::Period(1_000_000),
                        _ => Sampling::Frequency(997),
                    },
                },
            };
            Site {
                attach,
                probe_point: format!("process(\"/bin/x\").function(\"f{number}@\u{e9}.c:4\").call"),
                alias: "process(\"/bin/x\").function(\"*\")".into(),
                function: format!("f{number}"),
                name: if number.is_multiple_of(2) { "operator<".into() } else { String::new() },
                provider: String::new(),
                is_entry: number.is_multiple_of(2),
                variables: match number % 3 {
                    0 => vec![],
                    1 => vec![vec![], vec!["a".into(), "this is odd".into(), String::new()]],
                    _ => vec![vec!["argc".into(), "argv".into()]],
                },
            }
        };
        let programs = ProgramKind::ALL
            .iter()
            .enumerate()
            .map(|(n, (kind, _))| Program {
                name: format!("p{n}"),
                function: FuncId(n as u32),
                kind: *kind,
                sites: if n == 0 { (0..sites).collect() } else { vec![] },
                site_patches: if n.is_multiple_of(2) { vec![n as u32, 7] } else { vec![] },
            })
            .collect();
        Manifest { programs, sites: (0..sites).map(site).collect() }
    }

    #[test]
    fn reads_what_it_prints() {
        // As many sites as a wildcard over a large program gives; anything quadratic would be felt here.
        let manifest = sample(20_000);
        let text = manifest.to_string();
        assert_eq!(parse(&text).as_ref(), Ok(&manifest));
        assert_eq!(parse("").as_ref(), Ok(&Manifest::default()));
        for (kind, word) in ProgramKind::ALL {
            assert_eq!(kind.word(), word);
        }
    }

    #[test]
    fn errors_have_their_place() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(error("\nsite 1 session"), "2:6: expected site 0");
        assert_eq!(error("site 0 moon"), "1:8: expected session, user, kernel, tracepoint or perf");
        assert_eq!(error("program p0 f0 magic"), "1:15: expected a kind of program, found `magic`");
        assert_eq!(error("site 0 session, point \"\\xff\""), "1:23: this string must be UTF-8");
        assert_eq!(
            error("program p0 f0 kprobe, sites 4294967296"),
            "1:29: number 4294967296 is out of range"
        );
    }
}
