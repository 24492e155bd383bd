//! Debug information elsewhere: compressed, in a file of its own, in one that is not the right one.
//!
//! The listing of variables must be that of the plain file; without debug information, every place tried is named.

use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::workspace;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder of its own with the program `places`.
fn program(name: &str, flags: &[&str]) -> PathBuf {
    let dir = workspace::target().join("separate").join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a folder");
    let source = workspace::root().join("tracer/tests/fixtures/src/places.c");
    let path = dir.join("places");
    run(Command::new("gcc").args(["-g", "-O1"]).args(flags).arg("-o").arg(&path).arg(source));
    path
}

/// The functions and their variables, without the program's path; and what was said on standard error.
fn listing(program: &Path) -> (String, String) {
    listing_with(program, &[], "*@places.c")
}

fn listing_with(program: &Path, options: &[&str], functions: &str) -> (String, String) {
    let shown = program.display().to_string();
    let point = format!("process(\"{shown}\").function(\"{functions}\")");
    let mut tracer = Command::new(env!("CARGO_BIN_EXE_tracer"));
    let output = tracer.args(options).args(["-L", &point]).output().expect("tracer");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&shown, "PROGRAM");
    (text(&output.stdout), text(&output.stderr))
}

fn plain(name: &str) -> String {
    let (listing, _) = listing(&program(name, &[]));
    assert!(listing.contains("$name:char const*"), "{listing}");
    listing
}

/// Moves the debug information into another file.
fn separate(program: &Path, debug: &Path) {
    run(Command::new("objcopy").arg("--only-keep-debug").arg(program).arg(debug));
    run(Command::new("strip").arg("-g").arg(program));
    run(Command::new("objcopy").arg(format!("--add-gnu-debuglink={}", debug.display())).arg(program));
}

#[test]
fn compressed() {
    let wanted = plain("plain_for_compressed");
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        let program = program(kind, &[]);
        let mut objcopy = Command::new("objcopy");
        objcopy.arg(format!("--compress-debug-sections={kind}")).arg(&program);
        // Older binutils know no zstd.
        if objcopy.output().is_ok_and(|output| output.status.success()) {
            assert_eq!(listing(&program).0, wanted, "{kind}");
        }
    }
}

#[test]
fn linked() {
    let wanted = plain("plain_for_linked");
    for (name, flags) in [("with_id", &[][..]), ("without_id", &["-Wl,--build-id=none"][..])] {
        let program = program(name, flags);
        let beside = program.with_file_name("places.debug");
        separate(&program, &beside);
        assert_eq!(listing(&program).0, wanted, "{name}");
        let folder = program.with_file_name(".debug");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::rename(&beside, folder.join("places.debug")).expect("moved");
        assert_eq!(listing(&program).0, wanted, "{name}, in .debug");
    }
}

#[test]
fn of_another_program() {
    let program_without = program("wrong_checksum", &["-Wl,--build-id=none"]);
    let debug = program_without.with_file_name("places.debug");
    separate(&program_without, &debug);
    let mut bytes = std::fs::read(&debug).expect("the debug file");
    bytes.push(0);
    std::fs::write(&debug, bytes).expect("damaged");
    let (_, said) = listing(&program_without);
    assert!(said.contains("its checksum is not that of .gnu_debuglink"), "{said}");
    assert!(said.contains("PROGRAM (it has none)"), "{said}");

    let with_id = program("wrong_id", &[]);
    let debug = with_id.with_file_name("places.debug");
    separate(&with_id, &debug);
    let other = program("wrong_id_other", &["-DOTHER", "-O2"]);
    run(Command::new("objcopy").arg("--only-keep-debug").arg(&other).arg(&debug));
    let (_, said) = listing(&with_id);
    assert!(said.contains("its build-id is"), "{said}");
    assert!(said.contains("/usr/lib/debug/.build-id/"), "{said}");
    assert!(said.contains("(not there)"), "{said}");
}

#[test]
fn deduplicated_by_dwz() {
    if !xtask::command::exists("dwz") {
        return;
    }
    let wanted = plain("plain_for_dwz");
    let program = program("dwz", &[]);
    run(Command::new("dwz").arg(&program));
    assert_eq!(listing(&program).0, wanted);
}

#[test]
fn in_a_common_file() {
    if !xtask::command::exists("dwz") {
        return;
    }
    // The first is long enough that dwz finds something that both have.
    let wanted = plain("plain_for_common");
    let (one, two) = (program("common_one", &[]), program("common_two", &[]));
    let folder = one.parent().expect("a folder");
    run(Command::new("dwz").current_dir(folder).args(["-m", "common.debug"]).arg(&one).arg(&two));
    let sections = Command::new("readelf").arg("-SW").arg(&one).output().expect("readelf");
    assert!(String::from_utf8_lossy(&sections.stdout).contains(".gnu_debugaltlink"));
    assert_eq!(listing(&one).0, wanted);
    std::fs::remove_file(folder.join("common.debug")).expect("removed");
    let (_, said) = listing_with(&one, &[], "no_such_function");
    assert!(said.contains("common.debug (not there)"), "{said}");
}

/// The program, compiled and linked in two steps, as those that have split units are.
fn split(name: &str, flags: &[&str]) -> PathBuf {
    let path = program(name, &[]);
    let source = workspace::root().join("tracer/tests/fixtures/src/places.c");
    let folder = path.parent().expect("a folder");
    let mut gcc = Command::new("gcc");
    gcc.current_dir(folder).args(["-g", "-O1", "-gsplit-dwarf", "-c", "-o", "places.o"]).args(flags);
    run(gcc.arg(source));
    run(Command::new("gcc").current_dir(folder).args(["-o", "places", "places.o"]));
    path
}

/// Makes the `.dwp`; binutils' program cannot do so for DWARF 5, and LLVM's is not everywhere.
fn pack(program: &Path) -> bool {
    let packed = program.with_file_name("places.dwp");
    ["llvm-dwp", "dwp"].iter().any(|dwp| {
        let mut dwp = Command::new(dwp);
        let dwp =
            dwp.current_dir(program.parent().expect("a folder")).args(["-e", "places", "-o", "places.dwp"]);
        let is_made = dwp.output().is_ok_and(|output| output.status.success());
        if !is_made {
            let _ = std::fs::remove_file(&packed);
        }
        is_made
    })
}

#[test]
fn in_split_units() {
    for version in ["-gdwarf-5", "-gdwarf-4"] {
        let name = format!("split{version}");
        let wanted = listing(&program(&format!("plain_for_{name}"), &[version])).0;
        let program = split(&name, &[version]);
        let dwo = program.with_file_name("places.dwo");
        assert!(dwo.exists(), "{}", dwo.display());
        assert_eq!(listing(&program).0, wanted, "{version}");
        let lines = |program: &Path| {
            let point = format!("process(\"{}\").statement(\"*@places.c:*\")", program.display());
            let mut tracer = Command::new(env!("CARGO_BIN_EXE_tracer"));
            let output = tracer.args(["-l", &point]).output().expect("tracer");
            String::from_utf8_lossy(&output.stdout).lines().count()
        };
        assert!(lines(&program) > 20, "{version}");

        // All in one file.
        let is_packed = pack(&program);
        let elsewhere = program.with_file_name("elsewhere");
        std::fs::create_dir_all(&elsewhere).expect("a folder");
        std::fs::rename(&dwo, elsewhere.join("places.dwo")).expect("moved");
        if is_packed {
            assert_eq!(listing(&program).0, wanted, "{version}, packed");
            std::fs::remove_file(program.with_file_name("places.dwp")).expect("removed");
        }

        // Somewhere else, and nowhere.
        let folder = format!("--debuginfo-path=/nowhere:{}", elsewhere.display());
        assert_eq!(listing_with(&program, &[&folder], "*@places.c").0, wanted, "{version}, elsewhere");
        let (_, said) = listing_with(&program, &[], "no_such_function");
        assert!(said.contains("PROGRAM.dwo (not there)"), "{said}");

        // Of another build.
        let other = split(&format!("{name}_other"), &[version, "-DOTHER", "-O2"]);
        std::fs::copy(other.with_file_name("places.dwo"), &dwo).expect("copied");
        let (_, said) = listing_with(&program, &[], "no_such_function");
        assert!(said.contains("PROGRAM.dwo (it is of another build)"), "{said}");
    }
}

#[test]
fn below_a_folder_of_the_users() {
    let wanted = plain("plain_for_folder");
    let program = program("folder", &[]);
    let debug = program.with_file_name("places.debug");
    separate(&program, &debug);
    let id = tracer::debuginfo::elf::ElfFile::open(&tracer::world::SystemWorld::default(), &program)
        .expect("the program")
        .build_id()
        .expect("a build-id");
    let root = program.with_file_name("root");
    let folder = root.join(".build-id").join(&id[..2]);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::rename(&debug, folder.join(format!("{}.debug", &id[2..]))).expect("moved");
    let option = format!("--debuginfo-path={}", root.display());
    assert_eq!(listing_with(&program, &[&option], "*@places.c").0, wanted);
    let (_, said) = listing_with(&program, &["--debuginfo-path=/nowhere"], "*@places.c");
    for place in
        ["PROGRAM (it has none)", "/nowhere/.build-id/", "/usr/lib/debug/.build-id/", "/.debug/places.debug"]
    {
        assert!(said.contains(place), "{place}\n{said}");
    }
}

#[test]
fn names_only() {
    let program = program("mini", &[]);
    let mini = program.with_file_name("mini");
    run(Command::new("objcopy")
        .args(["-S", "--keep-symbol=main", "--keep-symbol=twice"])
        .arg(&program)
        .arg(&mini));
    run(Command::new("strip").arg(&program));
    run(Command::new("xz").arg("-f").arg(&mini));
    let section = format!(".gnu_debugdata={}", program.with_file_name("mini.xz").display());
    run(Command::new("objcopy").args(["--add-section", &section]).arg(&program));
    let (listed, said) = listing_with(&program, &[], "ma*");
    assert_eq!(listed.trim(), "process(\"PROGRAM\").function(\"main\")", "{said}");
}
