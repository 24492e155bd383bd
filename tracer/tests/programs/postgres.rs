//! PostgreSQL: marks of transactions and queries, against what `pgbench` and the server say.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::package;

use super::{Folder, Running, is_root, output, tracer, wait_until};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const TRANSACTIONS: u64 = 50;
const CLIENTS: u64 = 4;
/// Statements of a transaction of the standard script: BEGIN, three UPDATEs, SELECT, INSERT, END.
const STATEMENTS: u64 = 7;
/// What pgbench asks, over a connection of its own, before it begins: how large the tables are, and how they are
/// partitioned. Outside of a block, each is a transaction.
const QUESTIONS: u64 = 2;
/// A connection is a transaction of its own: the server looks up the user and the database.
const CONNECTIONS: u64 = CLIENTS + 1;

const SCRIPT: &str = r#"
global marks, statements, buffers
probe begin { println("ready") }
probe process(@1).mark("transaction__*"), process(@1).mark("query__*"), process(@1).mark("checkpoint__done") {
  marks[$$name]++
}
probe process(@1).mark("query__start") { statements[substr(user_string($arg1), 0, 16)]++ }
probe process(@1).provider("postgresql").mark("checkpoint-done") { buffers = $arg2 }
probe end {
  foreach (mark in marks) printf("%d mark %s\n", marks[mark], mark)
  foreach (statement in statements) printf("%d statement %s\n", statements[statement], statement)
  printf("%d buffers\n", buffers)
}
"#;

/// A server of our own, under the user that Debian's package made for it.
struct Server {
    folder: Folder,
    program: PathBuf,
    _running: Running,
}

/// A command as the server's user, without our environment.
fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "env", "-i"]);
    command.args(["PATH=/usr/bin:/bin", "LC_ALL=C"]).arg(program);
    command.current_dir("/").stdin(Stdio::null());
    command
}

impl Server {
    fn start() -> Server {
        let folder = Folder::new("postgres");
        // A program of our own: probes of it are in no other server. It finds the rest by its own path.
        let home = folder.join("lib/postgresql/15");
        std::fs::create_dir_all(home.join("bin")).expect("a folder");
        std::fs::create_dir_all(folder.join("share/postgresql")).expect("a folder");
        let program = home.join("bin/postgres");
        std::fs::copy(format!("{BIN}/postgres"), &program).expect("a copy of the server");
        symlink("/usr/lib/postgresql/15/lib", home.join("lib")).expect("a link");
        symlink("/usr/share/postgresql/15", folder.join("share/postgresql/15")).expect("a link");
        output(Command::new("chown").args(["-R", "postgres"]).arg(&folder.0));
        let data = folder.join("data");
        let mut make = as_user(&Path::new(BIN).join("initdb"));
        make.args(["-U", "bench", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8", "-D"]).arg(&data);
        output(&mut make);
        let log = File::create(folder.join("log")).expect("a log");
        let mut serve = as_user(&program);
        serve.arg("-D").arg(&data).arg("-k").arg(&folder.0);
        // Nothing that does transactions by itself.
        for setting in
            ["listen_addresses=", "fsync=off", "autovacuum=off", "max_logical_replication_workers=0"]
        {
            serve.args(["-c", setting]);
        }
        serve.stdout(log.try_clone().expect("a log")).stderr(log);
        let running = Running(serve.spawn().expect("a server"));
        let server = Server { folder, program, _running: running };
        wait_until("the server is ready", || {
            server.client("pg_isready").arg("-q").status().is_ok_and(|status| status.success())
        });
        server
    }

    /// A program that talks to it.
    fn client(&self, name: &str) -> Command {
        let mut command = as_user(&Path::new(BIN).join(name));
        command.arg("-h").arg(&self.folder.0).args(["-U", "bench"]);
        command
    }
}

#[test]
fn marks_of_postgresql_count_what_pgbench_does() {
    if !is_root() {
        return;
    }
    package::install(package::PROGRAMS).unwrap_or_else(|why| panic!("{why}"));
    let server = Server::start();
    output(server.client("pgbench").args(["-i", "-q", "postgres"]));
    let shown = server.folder.join("shown");
    let mut tracing = tracer(SCRIPT, &[], &[&server.program]);
    tracing.stdin(Stdio::null()).stdout(File::create(&shown).expect("a file"));
    let tracing = Running(tracing.spawn().expect("tracer"));
    let text = || std::fs::read_to_string(&shown).unwrap_or_default();
    wait_until("tracer is ready", || text().contains("ready"));
    let mut bench = server.client("pgbench");
    bench.args(["-n", "-t", &TRANSACTIONS.to_string(), "-c", &CLIENTS.to_string(), "postgres"]);
    let report = output(&mut bench);
    let count = TRANSACTIONS * CLIENTS;
    assert!(report.contains(&format!("actually processed: {count}/{count}")), "{report}");
    let ask = |sql| output(server.client("psql").args(["-A", "-t", "-c", sql, "postgres"]));
    output(server.client("psql").args(["-c", "CHECKPOINT", "postgres"]));
    tracing.interrupt();
    let text = text();
    let counts: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(number, what)| Some((what, number.parse().ok()?)))
        .collect();
    // And psql's connection with its one statement, which is no transaction's.
    let statements = count * STATEMENTS + QUESTIONS + 1;
    let transactions = count + CONNECTIONS + QUESTIONS + 2;
    let expected = [
        ("mark transaction__start", transactions),
        ("mark transaction__commit", transactions),
        ("mark query__start", statements),
        ("mark query__done", statements),
        ("mark query__parse__start", statements),
        ("mark query__parse__done", statements),
        ("statement BEGIN;", count),
        ("statement UPDATE pgbench_a", count),
        ("statement UPDATE pgbench_t", count),
        ("statement UPDATE pgbench_b", count),
        ("statement SELECT abalance ", count),
        ("statement INSERT INTO pgbe", count),
        ("statement END;", count),
        ("statement CHECKPOINT", 1),
        ("mark checkpoint__done", 1),
    ];
    for (what, number) in expected {
        assert_eq!(counts.get(what), Some(&number), "{what}:\n{text}");
    }
    assert!(!counts.contains_key("mark transaction__abort"), "{text}");
    // An argument that is a variable of the server: `-4@NBuffers(%rip)`.
    let buffers: u64 = ask("select setting from pg_settings where name = 'shared_buffers'")
        .trim()
        .parse()
        .expect("a number");
    assert_eq!(counts.get("buffers"), Some(&buffers), "{text}");
}
