//! Windows under load: a timer adds up what four threads counted and begins anew; nothing is lost between two windows.
//!
//! A few dozen windows in every test run; `TRACER_WINDOWS=1000` is the long run.
//!
//! **Not here:** other proofs that nothing is lost (`tests/runtime/user/locks.stp`).
#![expect(clippy::print_stdout, reason = "says how many windows there were")]

use std::process::{Command, Stdio};

use xtask::runtime::{fixture, is_root};

#[test]
fn windows_add_up() {
    if !is_root() {
        return;
    }
    let windows: u64 = std::env::var("TRACER_WINDOWS").map_or(40, |text| text.parse().expect("a number"));
    let program = fixture::build_one("hits").expect("the traced program");
    let mut hits = Command::new(&program);
    let hits = hits.args(["1000000000", "4"]).stdout(Stdio::null()).spawn();
    let mut hits = hits.expect("the traced program runs");
    let script = format!(
        r#"
        global by, sum, windows, all, values, total, largest
        probe process("{}").function("hit") {{ by[$number % 64, $thread]++; values <<< $thread; all++ }}
        probe timer.ms(20) {{
            foreach ([number, thread] in by) sum += by[number, thread]
            delete by
            total += @count(values)
            if (@count(values) && @max(values) > largest) largest = @max(values)
            delete values
            if (++windows >= {windows}) exit()
        }}
        probe end {{
            foreach ([number, thread] in by) sum += by[number, thread]
            printf("%d %d %d %d %d\n", sum - all, total + @count(values) - all, windows, largest, all > 0)
        }}"#,
        program.display()
    );
    let tracer = Command::new(env!("CARGO_BIN_EXE_tracer"))
        .args(["-x", &hits.id().to_string(), "-DMAXSKIPPED=1000000000", "-e", &script])
        .output()
        .expect("tracer runs");
    hits.kill().expect("the traced program still ran");
    hits.wait().expect("a child");
    let (out, errors) = (String::from_utf8_lossy(&tracer.stdout), String::from_utf8_lossy(&tracer.stderr));
    println!("{windows} windows\n{errors}");
    assert_eq!(out, format!("0 0 {windows} 3 1\n"), "{errors}");
}
