//! Golden code: every `.ir` file of `tests/codegen`, compiled for a target, beside the listing in its `.bpf` file.
//! `BLESS=1` rewrites the listings.

use std::fmt::Write as _;
use std::path::Path;

use tracer_common::ir::{Domain, FuncId, Module, parse};
use tracer_common::layout::Layout;
use tracer_common::manifest::{AttachPoint, Manifest, Program, ProgramKind, Site};
use tracer_ebpf::codegen;
use tracer_ebpf::isa::Text;
use tracer_ebpf::target::Target;

fn manifest(module: &Module) -> Manifest {
    let site = |n: u32| Site {
        function: format!("function{n}"),
        ..Site::new(AttachPoint::Session, format!("site {n}"))
    };
    let programs =
        module.functions.iter().enumerate().filter(|(_, f)| f.domain == Domain::Kernel).enumerate().map(
            |(n, (id, _))| Program {
                name: format!("p{n}"),
                function: FuncId(id as u32),
                kind: ProgramKind::Uprobe,
                sites: vec![0, 1],
                site_patches: Vec::new(),
            },
        );
    Manifest { programs: programs.collect(), sites: (0..2).map(site).collect() }
}

fn listing(text: &str) -> String {
    let module = match parse::module(text) {
        Ok(module) => module,
        Err(error) => panic!("{error:?}"),
    };
    let manifest = manifest(&module);
    let layout = Layout::new(&module);
    let generated = match codegen::generate(&module, &manifest, &layout, &Target::LINUX_6_1) {
        Ok(generated) => generated,
        Err(error) => return format!("error: {error}\n"),
    };
    let mut out = String::new();
    for (program, code) in manifest.programs.iter().zip(&generated.programs) {
        let name = &module.functions[program.function.index()].name;
        let _ = writeln!(out, "{name}: {} slots", code.slots());
        for (slot, insn) in &code.insns {
            let _ = writeln!(out, "{slot:5}: {}", Text(insn));
        }
    }
    out
}

#[test]
fn listings_are_as_blessed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/codegen");
    let bless = std::env::var_os("BLESS").is_some();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of cases").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "ir") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).expect("a case");
        let found = listing(&text);
        let golden = path.with_extension("bpf");
        if bless {
            std::fs::write(&golden, &found).expect("blessing");
            continue;
        }
        let wanted = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(found == wanted, "{} differs; run with BLESS=1 and look at the diff", path.display());
    }
    assert!(seen > 0, "no cases");
}
