//! What the suite's printed trees do not show: comments, places, ids, the macro table.

use crate::diagnostics::Sink;
use crate::source::SourceMap;
use crate::syntax::ast::{ExprIds, ExprKind, File, FunctionBody, StmtKind};
use crate::syntax::print::print_file;
use crate::syntax::visit::renumber;
use crate::syntax::{Facts, Macros, parse, parse_macros};

fn facts(args: &[&str]) -> Facts {
    Facts { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Facts::example() }
}

fn parse_text(text: &str, args: &[&str], ids: &mut ExprIds) -> (SourceMap, File) {
    let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
    let file = sources.add("a.stp", text, None);
    let tree = parse(&mut sources, file, ids, &facts(args), &Macros::default(), &mut sink);
    assert!(sink.all().is_empty(), "{:?}", sink.all());
    (sources, tree)
}

#[test]
fn comments_right_above_a_declaration_belong_to_it() {
    let (_, tree) = parse_text(
        "#!/usr/bin/env stap\n\
         /**\n * pid - the process\n *\n *   Context: any\n */\n\
         function pid () { }\n\
         # not this one\n\
         \n\
         // first line\n\
         // second line\n\
         private function f () { } # behind\n\
         global a\n\
         /* what b\n   counts */\n\
         global b, c\n\
         # alias\n\
         probe x = begin { }\n\
         probe end { }\n",
        &[],
        &mut ExprIds::default(),
    );
    let functions: Vec<_> = tree.functions().map(|function| function.doc.as_deref()).collect();
    assert_eq!(functions, [Some("pid - the process\n\n  Context: any"), Some("first line\nsecond line")]);
    let globals: Vec<_> = tree.globals().map(|global| global.doc.as_deref()).collect();
    assert_eq!(globals, [None, Some("what b\ncounts"), Some("what b\ncounts")]);
    assert_eq!(tree.aliases().next().and_then(|alias| alias.doc.as_deref()), Some("alias"));
    assert_eq!(tree.probes().next().and_then(|probe| probe.doc.as_deref()), None);
}

#[test]
fn places_lead_from_macro_text_to_its_use() {
    let (sources, tree) = parse_text(
        "@define two(x) %(\n  (@x +\n    second)\n%)\nprobe begin { r = @two($1) }\n",
        &["first"],
        &mut ExprIds::default(),
    );
    let probe = tree.probes().next().expect("a probe");
    let StmtKind::Expr(assignment) = &probe.body.stmts[0].kind else { panic!("{probe:?}") };
    let ExprKind::Assign { right, .. } = &assignment.kind else { panic!("{assignment:?}") };
    let ExprKind::Binary { left, right, .. } = &right.kind else { panic!("{right:?}") };
    assert_eq!(sources.text(left.span), "first");
    assert_eq!(sources.place(left.span), "<argument 1>:1:1");
    assert_eq!(sources.place(sources.outermost(left.span)), "a.stp:5:24");
    assert_eq!(sources.text(right.span), "second");
    assert_eq!(sources.place(right.span), "a.stp:3:5");
    assert_eq!(sources.place(sources.outermost(right.span)), "a.stp:5:19");
}

#[test]
fn ids_go_on_over_files_and_copies() {
    let mut ids = ExprIds::default();
    let (_, first) = parse_text("function f () { return 1 + 2 }", &[], &mut ids);
    let count = ids.count();
    assert_eq!(count, 3);
    let (_, second) = parse_text("function f () { return a[1] }", &[], &mut ids);
    let value = |tree: &File| {
        let function = tree.functions().next().expect("a function");
        let FunctionBody::Block(block) = &function.body else { panic!("{function:?}") };
        let StmtKind::Return(Some(value)) = &block.stmts[0].kind else { panic!("{block:?}") };
        value.clone()
    };
    assert!((value(&first).id.0 as usize) < count);
    assert!((value(&second).id.0 as usize) >= count);
    let before = ids.count();
    let copy = renumber(&value(&second), &mut ids);
    assert_eq!(ids.count(), before + 3, "the element, its array and its key");
    assert!((copy.id.0 as usize) >= before);
}

#[test]
fn a_macro_file_fills_the_table() {
    let (mut sources, mut sink, mut macros) = (SourceMap::default(), Sink::default(), Macros::default());
    let text = "%( runtime == \"bpf\" %? @define b %( 1 %) %: @define c %( 1 %) %) @define a(x) %( @x %)";
    let file = sources.add("m.stpm", text, None);
    parse_macros(&mut sources, file, &facts(&[]), &mut macros, &mut sink);
    assert!(sink.all().is_empty(), "{:?}", sink.all());
    assert_eq!(macros.names().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_old_version_has_its_grammar() {
    let printed = |version: &str, text: &str| {
        let (mut sources, mut sink) = (SourceMap::default(), Sink::default());
        let file = sources.add("a.stp", text, None);
        let facts = Facts { grammar: version.to_owned(), ..Facts::example() };
        let ids = &mut ExprIds::default();
        let tree = parse(&mut sources, file, ids, &facts, &Macros::default(), &mut sink);
        (!sink.has_errors()).then(|| print_file(&tree).split_whitespace().collect::<String>())
    };
    let rows = [
        ("2.0", "1.8", "x = \"a\" /* */ \"b\"", Some("x=\"ab\";"), Some("x=\"a\";\"b\";")),
        ("2.3", "2.2.1", "x = \"\\x41\"", Some("x=\"A\";"), Some("x=\"x41\";")),
        ("2.6", "2.5", "(x)->y", Some("x->y;"), None),
        ("2.6", "2.5", "&x", Some("&x;"), None),
        ("3.0", "2.9", "private = 1", None, Some("private=1;")),
        ("3.1", "3.0", "x = @variance(s)", Some("x=@variance(s);"), None),
        ("4.0", "3.3", "x ? 1 : y = 2", Some("x?1:y=2;"), Some("x?1:(y=2);")),
        ("5.5", "5.4", "x = @enum(\"E\")", Some("x=@enum(\"E\");"), None),
    ];
    for (since, before, text, now, then) in rows {
        let text = format!("probe begin {{ {text} }}");
        let whole = |body: &str| format!("probebegin{{{body}}}");
        assert_eq!(printed(since, &text), now.map(whole), "{text} in {since}");
        assert_eq!(printed(before, &text), then.map(whole), "{text} in {before}");
    }
}
