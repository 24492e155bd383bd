//! A guest's root file system: busybox, tracer, the traced programs with their libraries, one folder for each case.
//!
//! **Not here:** the kernel (`kernel`).

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::runtime::case::Case;
use crate::runtime::{fixture, script};
use crate::{command, workspace};

/// Where the traced programs are in a guest.
pub const FIXTURES: &str = "/fixtures";

/// The guest's serial line for results; its console has the other one, so that kernel messages do not mix in.
const RESULTS: &str = "/dev/ttyS1";

/// Emulation is slow, and the guests share this machine.
const PATIENCE: u64 = 6;

/// Builds the compressed archive and returns its path.
pub fn build(tracer: &Path, fixtures: &Path, cases: &[Case]) -> Result<PathBuf, String> {
    let dir = workspace::target().join("vm");
    let root = dir.join("root");
    let io = |e: std::io::Error| format!("{}: {e}", dir.display());
    if root.exists() {
        fs::remove_dir_all(&root).map_err(io)?;
    }
    for folder in ["bin", "proc", "sys", "dev", "tmp", "etc", "root", "cases", "fixtures", "usr/bin", "lib64"]
    {
        fs::create_dir_all(root.join(folder)).map_err(io)?;
    }
    copy(&which("busybox")?, &root.join("bin/busybox"))?;
    copy(tracer, &root.join("bin/tracer"))?;
    libraries(tracer, &root)?;
    for name in fixture::names() {
        let program = fixtures.join(name);
        copy(&program, &root.join("fixtures").join(name))?;
        libraries(&program, &root)?;
    }
    let site =
        script::Site { tracer: "/bin/tracer".as_ref(), fixtures: FIXTURES.as_ref(), patience: PATIENCE };
    let mut driver = String::from("export SYMBOLS=/tmp/symbols\n");
    for (number, case) in cases.iter().enumerate() {
        let folder = root.join(format!("cases/{number}"));
        fs::create_dir_all(&folder).map_err(io)?;
        fs::write(folder.join("run"), script::shell(case, &site)).map_err(io)?;
        fs::write(folder.join(script::SCRIPT), &case.text).map_err(io)?;
        let _ = writeln!(driver, "echo '@@case {number}'; sh /cases/{number}/run; echo '@@took {number}'");
    }
    fs::write(root.join("driver"), driver).map_err(io)?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        .map_err(io)?;
    let init = root.join("init");
    fs::write(&init, INIT.replace("RESULTS", RESULTS)).map_err(io)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).map_err(io)?;
    archive(&root, &dir.join("initramfs.gz"))
}

const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tracefs t /sys/kernel/tracing
mount -t debugfs d /sys/kernel/debug
mount -t bpf b /sys/fs/bpf
mount -t tmpfs t /tmp
ifconfig lo up 2>/dev/null
ulimit -n 65536
export HOME=/root PATH=/bin:/usr/bin TERM=dumb
stty -F RESULTS raw -echo
sh /driver >RESULTS 2>/dev/console </dev/null
echo @@done >RESULTS
poweroff -f
";

/// Copies the shared libraries that a program names to the same paths below `root`.
fn libraries(program: &Path, root: &Path) -> Result<(), String> {
    // A static program makes ldd fail: it needs nothing.
    let Ok(list) = command::output(Command::new("ldd").arg(program)) else { return Ok(()) };
    for word in list.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(word.trim_start_matches('/'));
        if !to.exists() {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
            }
            copy(Path::new(word), &to)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|e| format!("{} to {}: {e}", from.display(), to.display()))
}

fn which(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{program} is not on the path"))
}

/// Packs `root` as `find . | cpio | gzip`, the form that the kernel unpacks.
fn archive(root: &Path, to: &Path) -> Result<PathBuf, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "find . | cpio --quiet -o -H newc | gzip -1 >\"$0\""]).arg(to);
    shell.current_dir(root).stdin(Stdio::null());
    command::output(&mut shell)?;
    Ok(to.to_owned())
}
