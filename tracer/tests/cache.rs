//! Indexes that are kept: what is found is the same with them, without them, and whatever is wrong with them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tracer::cache::Cache;
use tracer::debuginfo::elf::ElfFile;
use tracer::debuginfo::find::find;
use tracer::world::SystemWorld;
use xtask::runtime::fixture;
use xtask::workspace;

const ENOUGH: u64 = 1 << 30;
/// Before an index.
const HEADER: usize = 160;

/// An empty folder of this user.
fn folder(name: &str) -> PathBuf {
    let folder = workspace::target().join("cache").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    // Others of the group could write where the umask lets them.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("our own folder");
    folder
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("tracer/index")).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Asks a file for everything that an index is asked for; and what the cache had to say.
fn ask(program: &Path, cache: Option<Cache>) -> (String, Vec<String>) {
    let cache = cache.map(Arc::new);
    let world = SystemWorld { cache: cache.clone(), ..SystemWorld::default() };
    let elf = ElfFile::open(&world, program).expect("a program");
    let info = find(&world, &elf).info.expect("debug information");
    let mut text = String::new();
    for function in info.functions(|_, qualified| !qualified().is_empty()) {
        let at = info.function_at(function.low).map(|function| function.name);
        let line = info.line_at(function.low);
        let _ = writeln!(text, "{function:?} {:?} {at:?} {line:?}", info.declared(&function));
        let instance = info.entry_instance(&function);
        let _ = writeln!(text, "{:?}", info.variables(&instance, function.low));
    }
    for copy in info.inlined(|_, _| true) {
        let _ = writeln!(text, "{copy:?} {:?}", info.declared_inlined(&copy));
    }
    let names = info.global_names();
    for name in &names {
        let _ = writeln!(text, "{name} {:?} {:?}", info.globals(name, None), info.types_named(name));
    }
    let _ = writeln!(text, "{:?}", info.inlinable().collect::<Vec<_>>());
    for name in ["int", "point", "Point", "Shape", "node"] {
        let _ = writeln!(text, "{:?}", info.types_named(name));
    }
    let _ = writeln!(text, "{:?}", info.statements(|path| path.ends_with(".c") || path.ends_with(".rs")));
    drop(info);
    (text, cache.map(|cache| cache.said()).unwrap_or_default())
}

fn with(program: &Path, folder: &Path) -> (String, Vec<String>) {
    ask(program, Some(Cache::below(folder, 0, ENOUGH)))
}

/// A file is kept when it has not changed for some time.
fn settle(path: &Path) {
    let changed = || {
        let metadata = fs::metadata(path).expect("a file");
        SystemTime::UNIX_EPOCH + Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32)
    };
    while changed().elapsed().is_ok_and(|age| age < Duration::from_millis(2100)) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn fixture(name: &str) -> PathBuf {
    let path = fixture::build_one(name).expect("a fixture");
    settle(&path);
    path
}

#[test]
fn the_same_is_found_with_it_and_without() {
    for name in ["places_o2", "classes", "rust_o2", "calls_dwarf4", "data"] {
        let program = fixture(name);
        let folder = folder(&format!("same_{name}"));
        let (wanted, _) = ask(&program, None);
        assert!(wanted.len() > 1000, "{name} has much to ask for");
        assert_eq!(with(&program, &folder), (wanted.clone(), Vec::new()), "{name}, made");
        let files = kept(&folder);
        assert_eq!(files.len(), 5, "one file of each kind: {files:?}");
        for file in &files {
            assert_eq!(fs::metadata(file).expect("a file").mode() & 0o777, 0o600);
        }
        let index = fs::metadata(folder.join("tracer/index")).expect("a folder");
        assert_eq!(index.mode() & 0o777, 0o700);
        let times = |files: &[PathBuf]| -> Vec<u64> {
            files.iter().map(|file| fs::metadata(file).expect("a file").ino()).collect()
        };
        let before = times(&files);
        assert_eq!(with(&program, &folder), (wanted, Vec::new()), "{name}, kept");
        assert_eq!(times(&kept(&folder)), before, "they were used, not written again");
    }
}

#[test]
fn what_is_damaged_is_made_anew() {
    let program = fixture("places_o2");
    let folder = folder("damaged");
    let (wanted, _) = with(&program, &folder);
    for file in kept(&folder) {
        let good = fs::read(&file).expect("an index");
        let mut damages = vec![Vec::new(), b"hello".to_vec(), vec![0; good.len()]];
        damages.extend([1, HEADER - 1, HEADER, HEADER + 1, good.len() - 1].map(|end| good[..end].to_vec()));
        let step = (good.len() / 8).max(1);
        for at in (0..HEADER).step_by(17).chain((HEADER..good.len()).step_by(step)) {
            let mut bytes = good.clone();
            bytes[at] ^= 0x41;
            damages.push(bytes);
        }
        damages.push([&*good, b"more"].concat());
        for (n, bytes) in damages.into_iter().enumerate() {
            // Bytes of the header that nothing uses must be as they were, too.
            fs::write(&file, bytes).expect("our own file");
            let (found, said) = with(&program, &folder);
            assert_eq!(found, wanted, "damage {n} of {}", file.display());
            assert!(said.len() == 1 && said[0].contains("is made anew"), "damage {n}: {said:?}");
            assert_eq!(fs::read(&file).expect("an index"), good, "damage {n}: it was written again");
        }
    }
}

/// Somebody who may write there can also make the checksum right: answers may be wrong then, but there are some.
#[test]
fn a_forged_index_does_no_harm() {
    let program = fixture("classes");
    let folder = folder("forged");
    let _ = with(&program, &folder);
    for file in kept(&folder) {
        let good = fs::read(&file).expect("an index");
        for at in (HEADER..good.len()).step_by((good.len() / 12).max(1)) {
            for value in [0, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let checksum = crc32fast::hash(&bytes[HEADER..]);
                bytes[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());
                fs::write(&file, bytes).expect("our own file");
                let _ = with(&program, &folder);
            }
        }
        fs::write(&file, good).expect("our own file");
    }
}

#[test]
fn folders_that_others_could_write_to_are_not_used() {
    let program = fixture("places_o2");
    let (wanted, _) = ask(&program, None);
    let refused = |name: &str, spoil: &dyn Fn(&Path), why: &str| {
        let folder = folder(name);
        let _ = with(&program, &folder);
        let before = kept(&folder).len();
        assert_eq!(before, 5);
        // Whoever reads them all the same finds something else.
        for file in kept(&folder) {
            fs::write(file, "something else").expect("our own file");
        }
        spoil(&folder);
        let (found, said) = with(&program, &folder);
        assert_eq!(found, wanted, "{name}");
        assert!(said.len() == 1 && said[0].starts_with("no cache of indexes: "), "{name}: {said:?}");
        assert!(said[0].contains(why), "{name}: {said:?}");
        for file in kept(&folder) {
            assert_eq!(fs::read(file).expect("a file"), b"something else", "{name}");
        }
    };
    let mode = |path: PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own folder");
    };
    refused("writable_base", &|base| mode(base.to_owned(), 0o777), "other users can write to");
    refused("writable", &|base| mode(base.join("tracer"), 0o770), "other users can write to");
    refused("writable_index", &|base| mode(base.join("tracer/index"), 0o702), "other users can write to");
    let link = |base: &Path, name: &str| {
        fs::rename(base.join(name), base.join("elsewhere")).expect("our own folder");
        symlink(base.join("elsewhere"), base.join(name)).expect("a link");
    };
    refused("linked", &|base| link(base, "tracer"), "is no folder, but a link");
    refused("linked_index", &|base| link(base, "tracer/index"), "is no folder, but a link");
    if fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0) {
        let give = |path: PathBuf| chown(path, Some(65534), None).expect("root may");
        // As with sudo, where HOME is the user's.
        refused("of_another", &|base| give(base.to_owned()), "belongs to another user (number 65534)");
        refused("index_of_another", &|base| give(base.join("tracer/index")), "belongs to another user");
    }
}

#[test]
fn links_and_files_of_others_in_the_folder_are_not_followed() {
    let program = fixture("places_o2");
    let folder = folder("links");
    let (wanted, _) = with(&program, &folder);
    let target = folder.join("precious");
    fs::write(&target, "precious").expect("a file");
    for file in kept(&folder) {
        fs::remove_file(&file).expect("our own file");
        symlink(&target, &file).expect("a link");
    }
    assert_eq!(with(&program, &folder).0, wanted);
    assert_eq!(fs::read(&target).expect("a file"), b"precious", "nothing was written through the links");
    for file in kept(&folder) {
        assert!(fs::symlink_metadata(&file).expect("an index").is_file(), "the link was replaced");
        // Nobody else may have written it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o622)).expect("our own file");
    }
    assert_eq!(with(&program, &folder).0, wanted);
    assert!(
        kept(&folder).iter().all(|file| fs::metadata(file).is_ok_and(|file| file.mode() & 0o777 == 0o600))
    );
}

#[test]
fn a_program_that_was_built_again_has_another_index() {
    for (name, flag) in [("with_id", "-Wl,--build-id"), ("without_id", "-Wl,--build-id=none")] {
        let folder = folder(&format!("built_{name}"));
        let program = folder.join("program");
        let build = |body: &str| {
            let source = folder.join("source.c");
            fs::write(&source, format!("int count;\n{body}\nint main(void) {{ return count; }}\n"))
                .expect("a source");
            let made = folder.join("made");
            let gcc = Command::new("gcc").args(["-g", flag, "-o"]).arg(&made).arg(&source).status();
            assert!(gcc.is_ok_and(|status| status.success()));
            // Into the same inode: the worst case.
            fs::write(&program, fs::read(&made).expect("what was built")).expect("a program");
        };
        build("int first(int a) { return a; }");
        let (fresh, _) = with(&program, &folder);
        assert!(fresh.contains("first"), "{fresh}");
        assert!(kept(&folder).is_empty(), "it changed a moment ago, and may again");
        settle(&program);
        let _ = with(&program, &folder);
        assert_eq!(kept(&folder).len(), 5);
        build("int other(int a) { return a; }");
        let (found, _) = with(&program, &folder);
        assert!(found.contains("other") && !found.contains("first"), "{name}: {found}");
        settle(&program);
        assert_eq!(with(&program, &folder).0, found);
        assert_eq!(with(&program, &folder), (found, Vec::new()), "{name}");
    }
}

#[test]
fn many_at_once() {
    let program = fixture("places_o2");
    let folder = folder("at_once");
    let (wanted, _) = ask(&program, None);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (program, folder, wanted) = (&program, &folder, &wanted);
            scope.spawn(move || {
                for round in 0..8 {
                    assert_eq!(&with(program, folder).0, wanted, "{n} {round}");
                    // Somebody cleans up meanwhile.
                    if (n + round) % 3 == 0 {
                        kept(folder).into_iter().for_each(|file| drop(fs::remove_file(file)));
                    }
                }
            });
        }
    });
    assert!(kept(&folder).iter().all(|file| !file.to_string_lossy().contains(".part")));
}

#[test]
fn the_oldest_go_when_all_are_too_many() {
    let folder = folder("bound");
    let (first, second) = (fixture("places_o2"), fixture("classes"));
    let _ = with(&first, &folder);
    let old = kept(&folder);
    for file in &old {
        let file = fs::File::open(file).expect("an index");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)).expect("our own file");
    }
    let left = folder.join("tracer/index/.12345.0.part");
    fs::write(&left, "what somebody left").expect("our own folder");
    fs::File::open(&left)
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(86_400)))
        .expect("our own file");
    let bytes = |files: &[PathBuf]| -> u64 {
        files.iter().map(|file| fs::metadata(file).expect("an index").len()).sum()
    };
    let _ = with(&second, &folder);
    let most = bytes(&kept(&folder)) - bytes(&old) / 2;
    for file in kept(&folder).into_iter().filter(|file| !old.contains(file)) {
        fs::remove_file(file).expect("our own file");
    }
    let (wanted, _) = ask(&second, None);
    assert_eq!(ask(&second, Some(Cache::below(&folder, 0, most))).0, wanted);
    let files = kept(&folder);
    assert!(bytes(&files) <= most, "{} of {most}", bytes(&files));
    assert_eq!(files.iter().filter(|file| !old.contains(file)).count(), 5, "the newest are there");
    assert!(files.iter().any(|file| old.contains(file)), "not more than needed went");
    assert!(!left.exists(), "what others did not finish goes too");
    // What would take more than half of the room is not kept.
    let small = self::folder("small");
    assert_eq!(ask(&second, Some(Cache::below(&small, 0, 100))).0, wanted);
    assert!(kept(&small).is_empty());
}

/// The program itself: what it says with `-v`, and without a cache.
#[test]
fn from_the_command_line() {
    let program = Path::new(env!("CARGO_BIN_EXE_tracer"));
    settle(program);
    let list = |home: &Path, options: &[&str]| {
        let point = format!("process(\"{}\").function(\"main\").call", program.display());
        let mut tracer = Command::new(program);
        tracer.args(["-v", "-l", &point]).args(options).env_remove("XDG_CACHE_HOME").env("HOME", home);
        let output = tracer.output().expect("tracer");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let home = folder("home");
    let kept = || kept(&home.join(".cache"));
    let (wanted, _) = list(&home, &["--disable-cache"]);
    assert!(wanted.contains("function(\"main"), "{wanted}");
    assert!(!home.join(".cache").exists());
    assert_eq!(list(&home, &[]).0, wanted);
    assert_eq!(kept().len(), 1, "the index of functions: {:?}", kept());
    assert_eq!(list(&home, &[]).0, wanted);
    fs::write(&kept()[0], "nothing").expect("our own file");
    let (found, said) = list(&home, &[]);
    assert_eq!(found, wanted);
    assert!(said.contains("is made anew: it is cut short"), "{said}");
    fs::set_permissions(home.join(".cache"), fs::Permissions::from_mode(0o777)).expect("our own folder");
    let (found, said) = list(&home, &[]);
    assert_eq!(found, wanted);
    assert!(said.contains("no cache of indexes: other users can write to"), "{said}");
}
