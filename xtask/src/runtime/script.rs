//! A case as a shell script: the same text runs under this machine's sh and under busybox in a guest.
//!
//! It prints a transcript that `outcome` reads: marks begin with `@@`, lines of a file with its letter and a colon
//! (`o` standard output, `e` standard error, `r` the traced program's report, `c` the check).
//! The shell lines of a case see `$FIXTURES`, `$REPORT`, `$OUT`, `$ERR`, and beside or after tracer `$TRACER`, its process id.
//!
//! **Not here:** judging (`outcome`).

use std::fmt::Write as _;
use std::path::Path;

use super::case::Case;

/// What a script needs to know about the place where it will run.
pub struct Site<'a> {
    /// The program under test.
    pub tracer: &'a Path,
    /// The folder of the traced programs.
    pub fixtures: &'a Path,
    /// How many times slower than real hardware this place is.
    pub patience: u64,
}

/// The file name of a case's script in its folder.
pub const SCRIPT: &str = "script.stp";

/// The shell script of `case`; it must run in a folder of its own that holds the case's text as `SCRIPT`.
pub fn shell(case: &Case, site: &Site<'_>) -> String {
    let mut text = String::from("cd \"$(dirname \"$0\")\" || exit 1\n");
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    add(format!("FIXTURES={}; PROGRAM={}", quote(site.fixtures), quote(site.tracer)));
    add("REPORT=$PWD/report OUT=$PWD/out ERR=$PWD/err; export FIXTURES REPORT OUT ERR PROGRAM".into());
    add(": >report; : >out; : >err; : >check; rm -f late".into());
    if !case.requires.is_empty() {
        add(FEATURES.into());
    }
    for feature in &case.requires {
        match feature.strip_prefix("no-") {
            Some(feature) => add(format!("feature {feature} && {{ echo '@@skip has {feature}'; exit 0; }}")),
            None => add(format!("feature {feature} || {{ echo '@@skip needs {feature}'; exit 0; }}")),
        }
    }
    add(case.before.clone());
    let mut command = format!("{} \"$PROGRAM\" {}", case.under, case.args);
    if let Some(target) = &case.target {
        let target = format!("{}/{target}", site.fixtures.display());
        let _ = write!(command, " -c {}", quote(Path::new(&target)));
    }
    match &case.command {
        Some(words) => {
            let _ = write!(command, " {words}");
        }
        None => {
            let _ = write!(command, " {SCRIPT} {}", case.script_args);
        }
    }
    add(format!("{command} >out 2>err </dev/null &\nTRACER=$!; export TRACER"));
    // In steps of a second, so that nothing sleeps on long after the case.
    add(format!(
        "( n=0; while [ $n -lt {} ]; do sleep 1; kill -0 $TRACER || exit; n=$((n+1)); done; \
         : >late; kill -KILL $TRACER ) >/dev/null 2>&1 &",
        case.timeout * site.patience
    ));
    if !case.workload.is_empty() {
        add(format!("(\n{}) >workload 2>&1 &\nWORK=$!", case.workload));
    }
    add("wait $TRACER; STATUS=$?".into());
    if !case.workload.is_empty() {
        add("kill $WORK 2>/dev/null; wait $WORK 2>/dev/null".into());
    }
    add("CHECK=0".into());
    if !case.check.is_empty() {
        add(format!("(\n{}) >check 2>&1; CHECK=$?", case.check));
    }
    add("[ -e late ] && echo @@late".into());
    add("echo \"@@exit $STATUS\"; echo \"@@check $CHECK\"".into());
    // A file may lack its last newline: the echo ends its line, and the reader skips empty ones.
    for (letter, file) in [('o', "out"), ('e', "err"), ('r', "report"), ('c', "check")] {
        add(format!("sed 's/^/{letter}:/' {file}; echo"));
    }
    add("echo @@end".into());
    text
}

/// Asks the running kernel what it has, by what its symbol table holds; `$SYMBOLS` caches the answer.
const FEATURES: &str = r#"SYMBOLS=${SYMBOLS:-$PWD/symbols}
[ -e "$SYMBOLS" ] || grep -E ' [tT] (register_kprobe|uprobe_register|bpf_uprobe_multi_link_attach|register_fprobe_ips|__x64_sys_bpf|bpf_ringbuf_reserve|bpf_map_lookup_percpu_elem|bpf_for_each_map_elem|bpf_arena_alloc_pages|get_func_arg|bpf_get_func_arg)$' /proc/kallsyms >"$SYMBOLS"
feature() {
    case $1 in
        kprobe) grep -q ' register_kprobe$' "$SYMBOLS" ;;
        kprobe_multi) grep -q ' register_fprobe_ips$' "$SYMBOLS" ;;
        fentry) grep -q 'get_func_arg$' "$SYMBOLS" ;;
        uprobe_multi) grep -q ' bpf_uprobe_multi_link_attach$' "$SYMBOLS" ;;
        percpu_read) grep -q ' bpf_map_lookup_percpu_elem$' "$SYMBOLS" ;;
        # No symbol came with it in 6.0; this one came in 5.19.
        sleep) grep -q ' bpf_map_lookup_percpu_elem$' "$SYMBOLS" ;;
        # No symbol came with it in 5.11; this one came in 5.13.
        long_keys | for_each) grep -q ' bpf_for_each_map_elem$' "$SYMBOLS" ;;
        # No symbol came with it in 6.9; this one did.
        may_goto) grep -q ' bpf_arena_alloc_pages$' "$SYMBOLS" ;;
        btf) [ -r /sys/kernel/btf/vmlinux ] ;;
        root) [ "$(id -u)" = 0 ] ;;
        setpriv) command -v setpriv >/dev/null ;;
        *) echo "@@exit 99"; echo "e:no such feature: $1"; echo @@end; exit 0 ;;
    esac
}"#;

fn quote(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
