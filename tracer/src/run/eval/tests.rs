//! Every instruction of the user domain, from its text: what it prints, what it leaves, how it fails.
//!
//! **Not here:** whether both domains agree (`tests/differential.rs`, by scripts).

use tracer_common::ir::{FuncId, parse, verify};
use tracer_common::manifest::AttachPoint;

use super::*;
use crate::run::globals::MemoryGlobals;
use crate::run::output::sink::{self, Sink};

#[derive(Default)]
struct TestHost {
    sink: sink::Kept,
    kept: Kept,
    exited: bool,
}

impl Host for TestHost {
    fn pid(&mut self) -> i64 {
        11
    }
    fn tid(&mut self) -> i64 {
        12
    }
    fn uid(&mut self) -> i64 {
        13
    }
    fn gid(&mut self) -> i64 {
        14
    }
    fn execname(&mut self) -> Vec<u8> {
        b"tester".to_vec()
    }
    fn cpu(&mut self) -> i64 {
        3
    }
    fn monotonic_ns(&mut self) -> i64 {
        1000
    }
    fn realtime_ns(&mut self) -> i64 {
        2000
    }
    fn target(&mut self) -> i64 {
        42
    }
    fn exit(&mut self) {
        self.exited = true;
    }
    fn warn(&mut self, text: &[u8]) {
        self.sink.message(text);
    }
    fn sink(&mut self) -> &mut dyn Sink {
        &mut self.sink
    }
    fn kept(&mut self) -> &mut Kept {
        &mut self.kept
    }
}

/// What a module's `f0` printed, and how it failed.
struct Outcome {
    out: String,
    host: TestHost,
    error: Option<String>,
    truncated: u64,
}

fn run_with(text: &str, args: &[Value]) -> Outcome {
    let module = parse::module(text).expect("a module");
    if let Err(violations) = verify::verify(&module) {
        panic!("{}", verify::explain(&module, &violations));
    }
    let site = Site {
        alias: "mine".into(),
        function: "main".into(),
        name: "marker".into(),
        provider: "provider".into(),
        variables: vec![vec!["a".into(), "b".into(), "c".into()]],
        ..Site::new(AttachPoint::Session, "timer.s(1)")
    };
    let mut globals = MemoryGlobals::new(&module);
    let mut host = TestHost::default();
    let sites = [site];
    let mut evaluator = Evaluator::new(&module, &sites, &mut globals, &mut host, 0);
    let error = evaluator.run(FuncId(0), args).err();
    let truncated = evaluator.truncated;
    let out = String::from_utf8_lossy(&host.sink.out).into_owned();
    let error = error.map(|error| String::from_utf8_lossy(&error.text(&module)).into_owned());
    Outcome { out, host, error, truncated }
}

/// What a body prints. Blocks may be given; the entry is open.
fn prints(header: &str, body: &str) -> String {
    let outcome = run_with(&format!("{header}\nfunction f0 main () {{\n{body}\n}}\n"), &[]);
    assert_eq!(outcome.error, None, "{body}");
    outcome.out
}

/// How a body fails.
fn fails(header: &str, body: &str) -> String {
    let header = format!("place @0 0:0..1 \"here\"\n{header}");
    let outcome = run_with(&format!("{header}\nfunction f0 main () {{\n{body}\n}}\n"), &[]);
    outcome.error.expect("it fails")
}

#[test]
fn longs() {
    let body = "b0:\n v0 = copy -7\n v1 = div v0, 2\n v2 = rem v0, 3\n v3 = shr v0, 60\n v4 = extend 0x1ff, i8\n \
                v5 = le v0, -7\n v6 = mul v0, 0x4000000000000000\n v7 = sub 0, v0\n \
                print \"%d %d %d %d %d %d %d\", v1, v2, v3, v4, v5, v6, v7\n return";
    assert_eq!(prints("", body), "-3 -1 15 -1 1 4611686018427387904 7");
}

#[test]
fn strings_are_cut_and_counted() {
    let text = "function f0 main () {\n strings 4, 8\nb0:\n s0 = copy \"abcdef\"\n s1 = concat s0, \"12\"\n s1 = concat s1, s1\n \
                v0 = lt s0, \"abd\"\n s0 = format \"%5d\", 7\n print \"%s|%s|%d\", s0, s1, v0\n return\n}\n";
    let outcome = run_with(text, &[]);
    assert_eq!(outcome.out, "   |abc12ab|1", "cut at the capacity less the NUL");
    assert_eq!(outcome.truncated, 3);
}

#[test]
fn bytes_are_bytes() {
    let body = "b0:\n s0 = copy \"a\\xff\"\n v0 = gt s0, \"a~\"\n v1 = call strlen(s0)\n v2 = call stringat(s0, 1)\n \
                s1 = format \"%c%c\", 0, 65\n v3 = call strlen(s1)\n print \"%d %d %d %d\", v0, v1, v2, v3\n return";
    assert_eq!(prints("", body), "1 2 255 0", "a NUL ends a string");
}

#[test]
fn strings_are_taken_apart() {
    let body = "b0:\n s0 = call tokenize(\"a,b;;c\", \",;\")\n s1 = call tokenize_next(\";\")\n \
                s2 = call tokenize_next(\";\")\n s3 = call tokenize_next(\";\")\n print \"%s|%s|%s|%s;\", s0, s1, s2, s3\n \
                s0 = call word(\"one two\", 2)\n s1 = call word(\"one two\", 3)\n s2 = call word(\"one\", 0)\n \
                print \"%s|%s|%s;\", s0, s1, s2\n s0 = call str_replace(\"a.b.\", \".\", \"--\")\n \
                v0 = call strpos(s0, \"b\")\n s1 = call quote(s0, 6, 1)\n print \"%s|%d|%s\", s0, v0, s1\n return";
    assert_eq!(prints("", body), "a|b|c|;two||;a--b--|3|\"a\"...");
}

#[test]
fn moments_that_do_not_fit_are_errors() {
    let body = "b0:\n s0 = call ctime(86399)\n v0 = call tz_offset()\n s1 = call tz_name()\n \
                print \"%s %d %s\", s0, v0, s1\n return";
    assert_eq!(prints("", body), "Thu Jan  1 23:59:59 1970 0 UTC");
    let error = fails("", "b0:\n s0 = call ctime(0x80000000)\n print \"%s\", s0\n return");
    assert_eq!(error, "Time too far in the future to be converted near here");
}

#[test]
fn output_that_is_kept_comes_when_it_is_committed() {
    let body = "b0:\n call speculate(1, \"a\")\n call speculate(2, \"b\")\n call speculate(1, \"c\")\n print \"(\"\n \
                call commit(1)\n call discard(2)\n call commit(2)\n call commit(1)\n call commit(-7)\n print \")\"\n return";
    assert_eq!(prints("", body), "(ac)");
}

#[test]
fn memory_is_printed_from_words() {
    let body = "b0:\n v0 = copy 0x6867666564636261\n print \"%.10m|%4.2M|%m\", v0, 0x6a69, v0, v0\n return";
    assert_eq!(prints("", body), "abcdefghij|6162|a");
}

#[test]
fn intrinsics() {
    let body = "b0:\n v0 = call pid()\n v1 = call tid()\n v2 = call uid()\n v3 = call gid()\n v4 = call cpu()\n \
                v5 = call monotonic_ns()\n v6 = call realtime_ns()\n v7 = call target()\n s0 = call execname()\n \
                print \"%d %d %d %d %d %d %d %d %s\\n\", v0, v1, v2, v3, v4, v5, v6, v7, s0\n \
                s0 = call substr(\"hello\", 1, 3)\n v0 = call isinstr(s0, \"ll\")\n v1 = call strtol(\"0x1f\", 0)\n \
                print \"%s %d %d\\n\", s0, v0, v1\n call log(\"line\")\n call warn(\"care\")\n call exit()\n return";
    let outcome = run_with(&format!("function f0 main () {{\n{body}\n}}\n"), &[]);
    assert_eq!(outcome.out, "11 12 13 14 3 1000 2000 42 tester\nell 1 31\nline\n");
    assert_eq!(outcome.host.sink.err, [b"care"]);
    assert!(outcome.host.exited);
}

#[test]
fn sites() {
    let body = "b0:\n v0 = site\n s0 = site probe_point\n s1 = site function\n s2 = site name\n s3 = site provider\n \
                s4 = site alias\n s5 = vars 0, 5:0, -1:0, 9:1\n s6 = vars 7, 1:0\n \
                print \"%d %s %s %s %s %s|%s|%s\", v0, s0, s1, s2, s3, s4, s5, s6\n return";
    assert_eq!(
        prints("", body),
        "0 timer.s(1) main marker provider mine|a=0x5 b=0xffffffffffffffff c=?|?=0x1"
    );
}

#[test]
fn continuations_take_their_values_and_cut_them() {
    let text = "function f0 continuation (s0, v0) {\n strings 4\nb0:\n print \"%s %d\", s0, v0\n return\n}\n";
    let outcome = run_with(text, &[Value::Str(b"abcdef".to_vec()), Value::Long(7)]);
    assert_eq!(outcome.out, "abc 7");
}

const ARRAYS: &str = "global g0 a[long]: long, max 3, ordered\nglobal g1 s[str<4>, long]: str<4>, ordered\n\
                      global g2 n: long, init 5\nglobal g3 w[long]: long, max 2, wrap, ordered";

#[test]
fn globals_are_read_written_and_deleted() {
    let body = "b0:\n v0 = get g0[1]\n v1 = contains g0[1]\n set g0[1], 7\n v2 = contains g0[1]\n \
                update add g0[1], 3, old v3, new v4\n update or g0[2], 6, new v5\n update and g2, 4, old v6, new v7\n \
                set g1[\"abcdef\", 1], \"uvwxyz\"\n s0 = get g1[\"abc\", 1]\n s1 = get g1[\"abcd\", 2]\n delete g0[1]\n \
                v8 = contains g0[1]\n v9 = contains g1[*, 1]\n v10 = contains g1[*, 2]\n clear g2\n v11 = get g2\n \
                print \"%d %d %d %d %d %d %d %d %s|%s %d %d %d %d\", v0, v1, v2, v3, v4, v5, v6, v7, s0, s1, v8, v9, v10, v11\n return";
    assert_eq!(prints(ARRAYS, body), "0 0 1 7 10 6 5 4 uvw| 0 1 0 0");
}

#[test]
fn a_full_array_raises() {
    let fill = "b0:\n set g0[1], 1\n set g0[2], 2\n set g0[3], 3\n set g0[2], 9\n";
    for insert in ["set g0[4], 1", "update add g0[4], 1"] {
        let body = format!("{fill} {insert}\n return");
        assert_eq!(fails(ARRAYS, &body), "Array overflow, check size limit (3) near here");
    }
    let body = "b0:\n set g3[1], 1\n set g3[2], 2\n set g3[1], 5\n set g3[3], 3\n v0 = contains g3[1]\n v1 = get g3[2]\n \
                v2 = get g3[3]\n print \"%d %d %d\", v0, v1, v2\n return";
    assert_eq!(prints(ARRAYS, body), "0 2 3", "the oldest insertion goes, though it was written last");
}

/// A loop over `iterate` that prints `key=value `.
fn visited(header: &str, fill: &str, iterate: &str) -> String {
    visited_with("i0[v0], value v1", header, fill, iterate)
}

fn visited_with(registers: &str, header: &str, fill: &str, iterate: &str) -> String {
    let body = format!(
        "b0:\n {fill}\n iterate i0, {iterate}\n jump b1\nb1:\n iter_next {registers}, b2, b3\nb2:\n \
         print \"%d=%d \", v0, v1\n jump b1\nb3:\n return"
    );
    prints(header, &body)
}

#[test]
fn foreach_orders() {
    let header = "global g0 a[long]: long, ordered";
    let fill =
        "set g0[5], 50\n set g0[3], 10\n set g0[9], 30\n set g0[1], 30\n delete g0[3]\n set g0[3], 20\n";
    for (iterate, expected) in [
        ("g0[*]", "5=50 9=30 1=30 3=20 "),
        ("g0[*], sort key 0 up", "1=30 3=20 5=50 9=30 "),
        ("g0[*], sort key 0 down", "9=30 5=50 3=20 1=30 "),
        ("g0[*], sort value up", "3=20 9=30 1=30 5=50 "),
        ("g0[*], sort value down", "5=50 9=30 1=30 3=20 "),
        ("g0[*], limit 2", "5=50 9=30 "),
        ("g0[*], limit 0", ""),
        ("g0[*], limit -1", ""),
        ("g0[9]", "9=30 "),
        ("g0[4]", ""),
    ] {
        assert_eq!(visited(header, fill, iterate), expected, "{iterate}");
    }
}

#[test]
fn a_sorted_foreach_leaves_the_array_in_that_order() {
    let header = "global g0 a[long]: long, max 3, wrap, ordered";
    let fill = "set g0[1], 10\n set g0[2], 30\n set g0[3], 20\n iterate i1, g0[*], sort value down\n";
    assert_eq!(visited(header, fill, "g0[*]"), "2=30 3=20 1=10 ");
    assert_eq!(
        visited(header, &format!("{fill} set g0[4], 40\n"), "g0[*]"),
        "3=20 1=10 4=40 ",
        "the first went"
    );
    assert_eq!(visited(header, &format!("{fill} delete g0[3]\n set g0[3], 5\n"), "g0[*]"), "2=30 1=10 3=5 ");
}

#[test]
fn elements_may_be_deleted_while_they_are_visited() {
    let body = "b0:\n set g0[1], 1\n set g0[2], 2\n set g0[3], 3\n iterate i0, g0[*]\n jump b1\nb1:\n \
                iter_next i0[v0], b2, b3\nb2:\n delete g0[*]\n print \"%d \", v0\n jump b1\nb3:\n \
                v1 = contains g0[*]\n print \"%d\", v1\n return";
    assert_eq!(prints(ARRAYS, body), "1 2 3 0");
}

#[test]
fn slices() {
    let header = "global g0 a[long, str<4>]: long, ordered";
    let fill = "set g0[1, \"a\"], 1\n set g0[2, \"a\"], 2\n set g0[1, \"b\"], 3\n";
    let loop_over = |slice: &str| {
        let body = format!(
            "b0:\n {fill}\n iterate i0, {slice}\n jump b1\nb1:\n iter_next i0[v0, s0], value v1, b2, b3\nb2:\n \
             print \"%d%s=%d \", v0, s0, v1\n jump b1\nb3:\n return"
        );
        prints(header, &body)
    };
    assert_eq!(loop_over("g0[*, \"a\"]"), "1a=1 2a=2 ");
    assert_eq!(loop_over("g0[1, *], sort key 1 down"), "1b=3 1a=1 ");
    assert_eq!(loop_over("g0[1, *], sort value down, limit 1"), "1b=3 ");
    assert_eq!(loop_over("g0[*, *]"), "1a=1 2a=2 1b=3 ");
}

const STATS: &str = "global g0 s: stats(count, sum, min, max, variance 0, hist_log)\n\
                     global g1 a[long]: stats(count, sum, min, max, hist_linear(0, 30, 10))";

#[test]
fn statistics() {
    let body = "b0:\n aggregate g0, 7\n aggregate g0, -9\n aggregate g1[1], 10\n aggregate g1[1], 30\n aggregate g1[2], 5\n \
                v0 = stat count g0\n v1 = stat sum g0\n v2 = stat min g0\n v3 = stat max g0\n v4 = stat avg g0\n \
                v5 = stat variance g0\n v6 = stat sum g1[1]\n v7 = stat count g1[*]\n v8 = stat max g1[*]\n \
                v9 = stat count g1[9]\n v10 = stat sum g1[9]\n v11 = bucket hist_log g0, 67\n \
                v12 = bucket hist_linear(0, 30, 10) g1[1], 2\n \
                print \"%d %d %d %d %d %d %d %d %d %d %d %d %d\", v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12\n return";
    assert_eq!(prints(STATS, body), "2 -2 -9 7 -1 128 40 3 30 0 0 1 1");
}

#[test]
fn statistics_without_values_raise() {
    for what in [
        "v0 = stat min g0",
        "v0 = stat max g1[3]",
        "v0 = stat avg g1[*]",
        "v0 = stat variance g0",
        "print_hist hist_log g0",
        "s0 = hist_text hist_log g0",
        "iterate i0, hist_log g0",
        "v0 = bucket hist_log g0, 1",
    ] {
        assert_eq!(fails(STATS, &format!("b0:\n {what}\n return")), "empty aggregate near here", "{what}");
    }
    for index in ["-1", "128", "0x7fffffffffffffff"] {
        let body = format!("b0:\n aggregate g0, 1\n v0 = bucket hist_log g0, {index}\n return");
        assert_eq!(fails(STATS, &body), "histogram index out of range near here");
    }
    let body = "b0:\n aggregate g0, 1\n clear g0\n v0 = stat count g0\n print \"%d\", v0\n return";
    assert_eq!(prints(STATS, body), "0");
}

#[test]
fn arrays_of_statistics_are_sorted_by_what_was_asked_for() {
    let fill = "aggregate g1[1], 1\n aggregate g1[1], 9\n aggregate g1[2], 20\n aggregate g1[3], 3\n aggregate g1[3], 3\n \
                aggregate g1[3], 3\n aggregate g1[4], -7\n";
    let keys = |by: &str| {
        let text = visited_with("i0[v0]", STATS, fill, &format!("g1[*], sort {by}"));
        text.split(' ').filter_map(|row| row.split('=').next()).collect::<String>()
    };
    for (by, expected) in [
        ("value up", "2413"),
        ("value down", "3124"),
        ("sum up", "4312"),
        ("max down", "2134"),
        ("min up", "4132"),
        ("avg down", "2134"),
        ("count down", "3124"),
    ] {
        assert_eq!(keys(by), expected, "{by}");
    }
}

#[test]
fn histograms_are_printed_visited_and_text() {
    let body = "b0:\n aggregate g1[1], 12\n aggregate g1[1], 14\n print_hist hist_linear(0, 30, 10) g1[1]\n \
                s0 = hist_text hist_linear(0, 30, 10) g1[1]\n v0 = call strlen(s0)\n print \"%d\\n\", v0\n \
                iterate i0, hist_linear(0, 30, 10) g1[1]\n jump b1\nb1:\n iter_next i0[v0], value v1, b2, b3\nb2:\n \
                print \"%d=%d \", v0, v1\n jump b1\nb3:\n return";
    let expected = "value |-------------------------------------------------- count\n    \
                    0 |                                                   0\n   \
                    10 |@@                                                 2\n   \
                    20 |                                                   0\n   \
                    30 |                                                   0\n\n";
    assert_eq!(prints(STATS, body), format!("{expected}{}\n0=0 1=0 2=2 3=0 4=0 5=0 ", expected.len()));
}

#[test]
fn errors_go_to_the_catch_block_and_leave_their_text() {
    let body = "b0 catch b1:\n v0 = copy 3\n v1 = div v0, 0\n v0 = copy 4\n return\nb1 catch b2:\n s0 = caught\n \
                print \"%s %d;\", s0, v0\n raise \"my own\"\nb2:\n s0 = caught\n print \"%s\", s0\n return";
    assert_eq!(prints("", body), "division by 0 3;my own");
    assert_eq!(fails("", "b0:\n v0 = rem 1, 0\n return"), "division by 0 near here");
    assert_eq!(fails("", "b0:\n raise \"own words\""), "own words near here");
}

const NESTED: &str = "place @0 0:0..1 \"main\"\nplace @1 0:1..2 \"operator '/'\"\nplace @2 0:2..3 \"identifier 'f'\"\n\
                      place @3 0:3..4 \"identifier 'g'\"\n";

#[test]
fn errors_name_the_calls_that_led_there() {
    let callees = "function f1 f (v0) -> long {\nb0:\n v0 = call f2(v0) @3\n return v0\n}\n\
                   function f2 g (v0) -> long {\nb0:\n v0 = div 1, v0 @1\n return v0\n}\n";
    let main = "function f0 main () {\nb0:\n v0 = call f1(0) @2\n return\n}\n";
    let outcome = run_with(&format!("{NESTED}{main}{callees}"), &[]);
    let expected =
        "division by 0 near operator '/' (called from identifier 'g') (called from identifier 'f')";
    assert_eq!(outcome.error.as_deref(), Some(expected));
    let main = "function f0 main () {\nb0 catch b1:\n v0 = call f1(0) @2\n return\nb1:\n s0 = caught\n print \"%s\", s0\n return\n}\n";
    let outcome = run_with(&format!("{NESTED}{main}{callees}"), &[]);
    assert_eq!((outcome.out.as_str(), outcome.error), ("division by 0", None));
}

#[test]
fn recursion_is_bounded_and_can_be_caught() {
    let text = "limit MAXNESTING 1000\nplace @0 0:0..1 \"here\"\nfunction f0 main () {\nb0 catch b1:\n v0 = call f1(500)\n print \"%d \", v0\n \
                v0 = call f1(5000)\n return\nb1:\n s0 = caught\n print \"%s\", s0\n v0 = call f1(5000)\n return\n}\n\
                function f1 f (v0) -> long {\nb0:\n branch v0, b1, b2\nb1:\n v1 = sub v0, 1\n v1 = call f1(v1)\n v1 = add v1, 1\n \
                return v1\nb2:\n return 0\n}\n";
    let outcome = run_with(text, &[]);
    assert_eq!(outcome.out, "500 MAXNESTING exceeded");
    let error = outcome.error.expect("the second is not caught");
    assert!(error.starts_with("MAXNESTING exceeded near here (called from here)"), "{error}");
    assert!(error.ends_with(" (and 992 more calls)"), "{error}");
}

#[test]
fn results_of_functions() {
    let text = "function f0 main () {\nb0:\n v0 = copy 7\n v0 = call f1()\n s0 = call f2(\"abcdef\")\n call f1()\n \
                print \"%d %s\", v0, s0\n return\n}\nfunction f1 nothing () -> long {\nb0:\n return\n}\n\
                function f2 text (s0) -> str<4> {\n strings 8\nb0:\n return s0\n}\n";
    assert_eq!(run_with(text, &[]).out, "0 abc", "falling off the end gives 0; a result is cut to its type");
}

#[test]
fn next_ends_the_handler_from_inside_a_function() {
    let text = "function f0 main () {\nb0:\n print \"one \"\n call f1()\n print \"two\"\n return\n}\n\
                function f1 f () {\nb0:\n print \"f\"\n next\n}\n";
    let outcome = run_with(text, &[]);
    assert_eq!((outcome.out.as_str(), outcome.error), ("one f", None));
}

#[test]
fn too_many_statements_end_the_handler_and_no_try_helps() {
    let text = "limit MAXACTION_INTERRUPTIBLE 100\nplace @0 0:0..1 \"here\"\nfunction f0 main () {\nb0:\n jump b1\nb1 catch b2:\n \
                tick 1\n v0 = add v0, 1\n v1 = lt v0, 100\n branch v1, b1, b3\nb2:\n print \"caught\"\n return\nb3 catch b2:\n \
                print \"%d\", v0\n tick 1\n print \"not here\"\n return\n}\n";
    let outcome = run_with(text, &[]);
    assert_eq!(outcome.out, "100", "a hundred are allowed");
    assert_eq!(outcome.error.as_deref(), Some("MAXACTION exceeded near here"));
}

#[test]
fn a_loop_that_counts_nothing_ends_too() {
    for body in [
        "b0:\n jump b0",
        "b0:\n jump b1\nb1 catch b0:\n v0 = div 1, 0\n jump b1",
        "b0:\n v0 = add v0, 1\n jump b0",
    ] {
        assert_eq!(fails("limit MAXACTION_INTERRUPTIBLE 10", body), "MAXACTION exceeded near here", "{body}");
    }
}

#[test]
fn branches() {
    let body = "b0:\n branch -1, b1, b2\nb1:\n print \"then\"\n jump b3\nb2:\n print \"else\"\n jump b3\nb3:\n branch 0, b2, b4\nb4:\n return";
    assert_eq!(prints("", body), "then");
}
