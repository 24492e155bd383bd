//! Debug information from servers: a real debuginfod, and servers that misbehave. Whatever a server does, it ends soon,
//! is told, and leaves nothing in the cache.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tracer::debuginfo::elf::ElfFile;
use tracer::world::SystemWorld;
use xtask::workspace;

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A program in a folder of its own, its debug information in `files/places.debug`, and an empty cache.
struct Case {
    folder: PathBuf,
    program: PathBuf,
    debug: PathBuf,
}

impl Case {
    fn new(name: &str) -> Case {
        let folder = workspace::target().join("debuginfod").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("files")).expect("a folder");
        let source = workspace::root().join("tracer/tests/fixtures/src/places.c");
        let program = folder.join("places");
        let debug = folder.join("files/places.debug");
        run(Command::new("gcc").args(["-g", "-O1", "-o"]).arg(&program).arg(source));
        run(Command::new("objcopy").arg("--only-keep-debug").arg(&program).arg(&debug));
        run(Command::new("strip").arg(&program));
        Case { folder, program, debug }
    }

    fn build_id(&self) -> String {
        let elf = ElfFile::open(&SystemWorld::default(), &self.program).expect("the program");
        elf.build_id().expect("a build-id")
    }

    /// What `-L` prints of a function, and what it says.
    fn list(&self, servers: &str) -> (String, String) {
        let point = format!("process(\"{}\").function(\"main\")", self.program.display());
        let mut tracer = Command::new(env!("CARGO_BIN_EXE_tracer"));
        tracer.args(["-L", &point]).env("DEBUGINFOD_URLS", servers).env("DEBUGINFOD_TIMEOUT", "2");
        tracer.env("XDG_CACHE_HOME", self.folder.join("cache")).env("no_proxy", "127.0.0.1");
        let output = tracer.env("NO_PROXY", "127.0.0.1").output().expect("tracer");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }

    fn cache(&self) -> PathBuf {
        self.folder.join("cache/tracer/debuginfo")
    }

    fn cached(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.cache()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// A server that sends the same to everybody and then, after a while, hangs up.
fn server(answer: Vec<u8>, stays: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
                std::thread::sleep(stays);
            });
        }
    });
    address
}

fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[test]
fn of_a_real_server() {
    if !xtask::command::exists("debuginfod") {
        return;
    }
    let case = Case::new("real");
    let port = free_port();
    let mut server = Command::new("debuginfod");
    server.args(["-d", ":memory:", "-p", &port.to_string(), "-F"]).arg(case.folder.join("files"));
    let server = server.env_remove("DEBUGINFOD_URLS").stdout(Stdio::null()).stderr(Stdio::null());
    let server = Ended(server.spawn().expect("debuginfod"));
    let url = format!("http://127.0.0.1:{port}");
    // It scans its folder first.
    let begin = Instant::now();
    let mut seen = case.list(&url);
    while !seen.0.contains("$argv:char**") && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
        seen = case.list(&url);
    }
    assert!(seen.0.contains("$argv:char**"), "{seen:?}");
    assert_eq!(case.cached(), [format!("{}.debug", case.build_id())]);
    let mode = std::fs::metadata(case.cache()).expect("the cache").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // From the cache.
    drop(server);
    assert_eq!(case.list(&url).0, seen.0);
    // Not from a cache that others can write to.
    std::fs::set_permissions(case.cache(), PermissionsExt::from_mode(0o777)).expect("changed");
    let (listed, said) = case.list(&url);
    assert!(!listed.contains("$argv"), "{listed}{said}");
}

/// Lists the function of a stripped program: its diagnostic tells who was asked.
fn refused(case: &Case, servers: &str, words: &[&str]) {
    let begin = Instant::now();
    let (listed, said) = case.list(servers);
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    assert_eq!(listed, "", "{said}");
    for word in words {
        assert!(said.contains(word), "{word}\n{said}");
    }
    assert_eq!(case.cached(), Vec::<String>::new());
}

#[test]
fn of_servers_that_misbehave() {
    let case = Case::new("bad");
    let debug = std::fs::read(&case.debug).expect("the debug file");
    let at_once = Duration::ZERO;
    let url = |address: SocketAddr| format!("http://{address}");

    let none = url(server(answer("404 Not Found", 0, b""), at_once));
    let broken = url(server(answer("500 Internal Server Error", 0, b""), at_once));
    let both = format!("{none} {broken}");
    refused(&case, &both, &[&format!("{none} (it has none)"), &format!("{broken} (it answered 500)")]);

    let silent = url(server(Vec::new(), Duration::from_secs(60)));
    refused(&case, &silent, &[&format!("{silent} (no answer: ")]);
    let stuck = url(server(answer("200 OK", debug.len(), &debug[..1000]), Duration::from_secs(60)));
    refused(&case, &stuck, &[&format!("{stuck} (broken off after 1000 bytes")]);
    let cut = url(server(answer("200 OK", debug.len(), &debug[..1000]), at_once));
    refused(&case, &cut, &[&format!("{cut} (broken off after 1000 ")]);
    let gone = format!("http://127.0.0.1:{}", free_port());
    refused(&case, &gone, &[&format!("{gone} (no answer: ")]);

    let page = b"<html>log in first</html>";
    let page = url(server(answer("200 OK", page.len(), page), at_once));
    refused(&case, &page, &["it sent what is no debug information"]);
    let other = workspace::target().join("debuginfod/bad/other");
    let source = workspace::root().join("tracer/tests/fixtures/src/reader.c");
    run(Command::new("gcc").args(["-g", "-o"]).arg(&other).arg(source));
    let other = std::fs::read(Path::new(&other)).expect("another program");
    let other = url(server(answer("200 OK", other.len(), &other), at_once));
    refused(&case, &other, &["it sent a file with build-id"]);

    // The next one has it.
    let good = url(server(answer("200 OK", debug.len(), &debug), at_once));
    let (listed, said) = case.list(&format!("{none} {cut} {good}"));
    assert!(listed.contains("$argv:char**"), "{said}");
}
