//! Debian packages: installing the tools that the tests need, and unpacking packages of other suites without installing them.
//!
//! The mirror is whatever this machine's apt already uses; no host name is written down.

use std::path::Path;
use std::process::Command;

use crate::command;

/// A program or header that tests need, and the package that has it.
pub struct Need {
    /// A program's name, or the absolute path of a file.
    pub what: &'static str,
    /// Debian's package.
    pub package: &'static str,
}

/// What the guests need.
pub const GUESTS: &[Need] = &[
    Need { what: "qemu-system-x86_64", package: "qemu-system-x86" },
    Need { what: "cpio", package: "cpio" },
    Need { what: "gzip", package: "gzip" },
    Need { what: "busybox", package: "busybox-static" },
];

/// What building the traced programs needs.
pub const FIXTURES: &[Need] = &[
    Need { what: "gcc", package: "gcc" },
    Need { what: "g++", package: "g++" },
    Need { what: "strip", package: "binutils" },
    Need { what: "/usr/include/stdio.h", package: "libc6-dev" },
    Need { what: "/usr/include/x86_64-linux-gnu/sys/sdt.h", package: "systemtap-sdt-dev" },
];

/// What comparing variables with gdb's, and tests of separate debug information, need.
pub const GDB: &[Need] = &[
    Need { what: "gdb", package: "gdb" },
    Need { what: "clang", package: "clang" },
    Need { what: "dwz", package: "dwz" },
    Need { what: "objcopy", package: "binutils" },
    Need { what: "xz", package: "xz-utils" },
    Need { what: "debuginfod", package: "debuginfod" },
];

/// Programs and libraries that others made (`tracer/tests/programs`).
pub const PROGRAMS: &[Need] = &[
    Need { what: "gcc", package: "gcc" },
    Need { what: "g++", package: "g++" },
    Need { what: "nm", package: "binutils" },
    Need { what: "setpriv", package: "util-linux" },
    Need { what: "/usr/lib/postgresql/15/bin/postgres", package: "postgresql-15" },
    Need { what: "/usr/lib/postgresql/15/bin/pgbench", package: "postgresql-15" },
    Need { what: "/usr/lib/postgresql/15/bin/psql", package: "postgresql-client-15" },
    Need { what: "/usr/share/doc/libc6-dbg", package: "libc6-dbg" },
    Need { what: "/usr/include/stb/stb_image.h", package: "libstb-dev" },
    Need { what: "/usr/bin/python3", package: "python3" },
];

/// What measuring needs.
pub const BENCH: &[Need] = &[Need { what: "bpftool", package: "bpftool" }];

/// Installs the packages of what is missing. Needs root and apt only when something is.
pub fn install(needs: &[Need]) -> Result<(), String> {
    let missing: Vec<&str> =
        needs.iter().filter(|need| !present(need.what)).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    command::output(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    command::output(&mut apt)?;
    match needs.iter().find(|need| !present(need.what)) {
        Some(need) => Err(format!("package {} is installed, but {} is not there", need.package, need.what)),
        None => Ok(()),
    }
}

fn present(what: &str) -> bool {
    if what.starts_with('/') { Path::new(what).exists() } else { command::exists(what) }
}

/// apt with lists and cache of its own for one suite, so that this machine's apt is not touched.
pub struct Suite<'a> {
    dir: &'a Path,
}

impl<'a> Suite<'a> {
    /// Opens `suite` with `dir` as its folder, and fetches its lists.
    pub fn open(suite: &str, dir: &'a Path) -> Result<Self, String> {
        let make =
            |path: &Path| std::fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()));
        make(&dir.join("lists/partial"))?;
        make(&dir.join("cache/archives/partial"))?;
        let line = format!("deb {} {suite} main\n", mirror()?);
        std::fs::write(dir.join("sources.list"), line).map_err(|e| format!("{}: {e}", dir.display()))?;
        let this = Self { dir };
        command::output(this.apt("apt-get").arg("update"))?;
        Ok(this)
    }

    /// The packages that the newest `package` depends on.
    pub fn depends(&self, package: &str) -> Result<Vec<String>, String> {
        let text = command::output(self.apt("apt-cache").args(["show", "--no-all-versions", package]))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Depends:")).unwrap_or_default();
        let names = line.split([',', '|']).filter_map(|item| item.split_whitespace().next());
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them into `to`.
    pub fn unpack(&self, packages: &[String], to: &Path) -> Result<(), String> {
        command::output(self.apt("apt-get").arg("download").args(packages).current_dir(self.dir))?;
        let entries = std::fs::read_dir(self.dir).map_err(|e| format!("{}: {e}", self.dir.display()))?;
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            if path.extension().is_some_and(|extension| extension == "deb") {
                command::output(Command::new("dpkg").arg("-x").args([&path, to]))?;
            }
        }
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        for option in [
            option("Dir::Etc::sourcelist", &self.dir.join("sources.list")),
            "Dir::Etc::sourceparts=-".to_owned(),
            option("Dir::State::lists", &self.dir.join("lists")),
            option("Dir::Cache", &self.dir.join("cache")),
            "Dir::State::status=/dev/null".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            // An unreleased suite's release file can be past its date; its signature is checked all the same.
            "Acquire::Check-Valid-Until=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }
}

/// The Debian mirror that this machine's apt uses.
fn mirror() -> Result<String, String> {
    let list = command::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let found = list.lines().map(str::trim).find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    found.map(str::to_owned).ok_or_else(|| "apt knows no Debian mirror: guests need one".into())
}
