//! A program that was made for DTrace: built with what `tracer dtrace` makes of its provider file, and traced.
//!
//! **Not here:** mistakes in provider files (`tracer/src/dtrace`), other marks (`tests/runtime/mark`).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xtask::runtime::is_root;

const PROVIDER: &str = "\
/* The probes of a shop. */
#pragma D attributes Evolving/Evolving/Common provider shop provider
typedef unsigned int OrderId;

provider shop {
    probe order__start(OrderId, const char *);
    probe order__done(OrderId, long, unsigned char); /* how long it took, how */
    probe idle();
};
";

/// Calls what needs work for an argument only when somebody listens, and says whether that was so.
const PROGRAM: &str = "\
#include \"shop.h\"
#include <stdio.h>
static char item[] = \"Apples\";
int main(void)
{
    item[0] = 'a'; /* now it is in memory */
    for (unsigned int id = 1; id <= 3; id++) {
        SHOP_ORDER_START(id, item);
        if (SHOP_ORDER_DONE_ENABLED())
            SHOP_ORDER_DONE(id, -1000L * id, 200);
        SHOP_IDLE();
    }
    printf(\"%d %d\\n\", SHOP_ORDER_START_ENABLED() != 0, SHOP_ORDER_DONE_ENABLED() != 0);
    return 0;
}
";

const SCRIPT: &str = "\
probe process(PROGRAM).mark(\"order__start\") { printf(\"%d %s\\n\", $arg1, user_string($arg2)) }
probe process(PROGRAM).provider(\"shop\").mark(\"order__done\") { printf(\"%d %d %d\\n\", $arg1, $arg2, $arg3) }
";

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn tracer() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tracer"))
}

/// A folder with the provider file and the program's source.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("shop.d"), PROVIDER).expect("the provider file");
    std::fs::write(folder.join("shop.c"), PROGRAM).expect("the program");
    folder
}

/// Builds the program as its build system would, with flags for the compiler.
fn build(folder: &Path, flags: &[&str]) -> PathBuf {
    run(tracer().current_dir(folder).args(["dtrace", "-h", "-s", "shop.d", "-o", "shop.h"]));
    run(Command::new("cc").current_dir(folder).args(flags).args(["-Wall", "-Werror", "-c", "shop.c"]));
    run(tracer()
        .current_dir(folder)
        .args(["dtrace", "-C", "-x", "nolibs", "-G", "-sshop.d", "-o", "probes.o", "shop.o"]));
    run(Command::new("cc").current_dir(folder).args([
        "-Wl,--fatal-warnings",
        "-o",
        "shop",
        "shop.o",
        "probes.o",
    ]));
    folder.join("shop")
}

/// What the program and its marks say when they are traced.
fn check(program: &Path) {
    let shown = program.display().to_string();
    let listed = run(tracer().args(["-l", &format!("process(\"{shown}\").mark(\"*\")")]));
    let mut marks: Vec<String> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
    marks.sort();
    let names = ["idle", "order__done", "order__start"];
    assert_eq!(marks, names.map(|name| format!("process(\"{shown}\").mark(\"{name}\")")));
    assert_eq!(run(&mut Command::new(program)).stdout, b"0 0\n");
    if !is_root() {
        return;
    }
    let script = SCRIPT.replace("PROGRAM", &format!("{shown:?}"));
    let traced = run(tracer().args(["-e", &script, "-c", &shown]));
    let said = String::from_utf8_lossy(&traced.stdout).into_owned();
    let (own, marks): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| *line == "1 1");
    assert_eq!(own.len(), 1, "{said}");
    let wanted = ["1 apples", "1 -1000 200", "2 apples", "2 -2000 200", "3 apples", "3 -3000 200"];
    assert_eq!(marks, wanted);
}

#[test]
fn a_program_made_for_dtrace_with_our_own_header() {
    for level in ["-O0", "-O2"] {
        let folder = folder(&format!("dtrace{level}"));
        std::fs::create_dir_all(folder.join("include/sys")).expect("a folder");
        run(tracer().current_dir(&folder).args(["dtrace", "--sdt-header", "-o", "include/sys/sdt.h"]));
        check(&build(&folder, &[level, "-Iinclude"]));
    }
}

#[test]
fn a_program_made_for_dtrace_with_the_systems_header() {
    let found = Command::new("cc").args(["-E", "-include", "sys/sdt.h", "-x", "c", "/dev/null"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        check(&build(&folder("dtrace_system"), &["-O2"]));
    }
}

#[test]
fn the_names_that_build_systems_leave_out() {
    let folder = folder("dtrace_names");
    run(tracer().current_dir(&folder).args(["dtrace", "-h", "-s", "shop.d"]));
    run(tracer().current_dir(&folder).args(["dtrace", "-G", "-64", "-k", "-s", "shop.d"]));
    assert!(folder.join("shop.h").exists() && folder.join("shop.o").exists());
    let shown = run(tracer().current_dir(&folder).args(["dtrace", "-h", "-s", "shop.d", "-o", "-"]));
    assert_eq!(shown.stdout, std::fs::read(folder.join("shop.h")).expect("the header"));
}

/// As a database builds its marks: types by macros, so that the preprocessor is asked for; the header's names are changed
/// afterwards; the object file is made of all that have marks.
#[test]
fn a_header_that_is_changed_afterwards() {
    const PROVIDER: &str = "\
/* ----------\n *\tDTrace probes of a database\n * ----------\n */
#define BlockNumber unsigned int
#define bool char

provider store {

\tprobe block__read__start(BlockNumber, const char *, bool);
\tprobe block__read__done(BlockNumber, long);
\tprobe checkpoint();
};
";
    const PROGRAM: &str = "\
#include <stdbool.h>
#include \"probes.h\"
int main(void)
{
    for (unsigned int block = 7; block < 9; block++) {
        TRACE_STORE_BLOCK_READ_START(block, \"base\", block == 8);
        if (TRACE_STORE_BLOCK_READ_DONE_ENABLED())
            TRACE_STORE_BLOCK_READ_DONE(block, -(long)block);
    }
    TRACE_STORE_CHECKPOINT();
    return 0;
}
";
    let folder = folder("dtrace_changed");
    for (name, text) in [("probes.d", PROVIDER), ("store.c", PROGRAM)] {
        std::fs::write(folder.join(name), text).expect("a file");
    }
    std::fs::create_dir_all(folder.join("sys")).expect("a folder");
    run(tracer().current_dir(&folder).args(["dtrace", "--sdt-header", "-o", "sys/sdt.h"]));
    run(tracer().current_dir(&folder).args(["dtrace", "-C", "-h", "-s", "probes.d", "-o", "probes.h.tmp"]));
    let header = std::fs::read_to_string(folder.join("probes.h.tmp")).expect("the header");
    std::fs::write(folder.join("probes.h"), header.replace("STORE_", "TRACE_STORE_")).expect("a file");
    let cc = |words: &[&str]| drop(run(Command::new("cc").current_dir(&folder).args(words)));
    cc(&["-O2", "-Wall", "-Werror", "-I.", "-c", "store.c"]);
    run(tracer()
        .current_dir(&folder)
        .args(["dtrace", "-C", "-G", "-s", "probes.d", "store.o", "-o", "probes.o"]));
    cc(&["-o", "store", "store.o", "probes.o"]);
    if !is_root() {
        return;
    }
    let script = "probe process(@1).mark(\"block-read-start\") { printf(\"%d %d\\n\", $arg1, $arg3) }\n\
                  probe process(@1).provider(\"store\").mark(\"*done\") { printf(\"%s\\n\", $$vars) }\n\
                  probe process(@1).mark(\"checkpoint\") { println($$name) }";
    let program = folder.join("store");
    let traced = run(tracer().args(["-e", script, "-c"]).arg(&program).arg(&program));
    let said = String::from_utf8_lossy(&traced.stdout).into_owned();
    let done = |block: i64| format!("$arg1={:#x} $arg2={:#x}", block, -block);
    assert_eq!(said, format!("7 0\n{}\n8 1\n{}\ncheckpoint\n", done(7), done(8)));
}

#[test]
fn mistakes_are_told_and_nothing_is_written() {
    let folder = folder("dtrace_mistakes");
    std::fs::write(folder.join("bad.d"), "provider shop {\n    probe order(int;\n};\n").expect("a file");
    for (arguments, message) in [
        (vec!["-h", "-s", "bad.d"], "bad.d:2:20"),
        (vec!["-h", "-s", "gone.d"], "gone.d: No such file"),
        (vec!["-s", "shop.d"], "what is wanted? -h makes a header, -G an object file"),
        (vec!["-h"], "which provider file? -s names it"),
        (vec!["-h", "-s"], "-s takes a value"),
        (vec!["-h", "-z", "-s", "shop.d"], "no such option: -z"),
        (vec!["-32", "-G", "-s", "shop.d"], "only x86-64"),
        (vec!["-h", "-C", "-s", "gone.d"], "the C preprocessor (-C) failed"),
    ] {
        let output = tracer().current_dir(&folder).arg("dtrace").args(&arguments).output().expect("tracer");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text.contains(message) && !text.contains("panicked"), "{arguments:?}: {text}");
    }
    assert!(!folder.join("bad.h").exists());
}
