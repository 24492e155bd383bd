//! The product of pass 2 as text: `-p2`.

use std::fmt::Write as _;

use crate::sema::program::{GlobalTy, Program, Ty};
use crate::syntax::ast;
use crate::syntax::print::print_probe_point;

/// `-l`, `-L`: each probe point on a line, sorted; with its variables, those of an alias with the types it gave them.
pub fn list(program: &Program, variables: bool) -> String {
    let mut lines: Vec<String> = program
        .listing
        .iter()
        .map(|listed| {
            let site = &program.sites[listed.site as usize];
            let mut line = if listed.alias { site.alias.clone() } else { site.probe_point.clone() };
            if !variables {
                return line;
            }
            // Only an alias has variables of its own. Few probes come of one, while a listing may have 100,000 sites.
            let mut probes = program.probes.iter().filter(|_| listed.alias);
            let probe = probes.find(|probe| probe.sites.contains(&listed.site));
            for local in probe.map_or(&[][..], |probe| &probe.locals) {
                let ty = if local.ty == Ty::Long { "long" } else { "string" };
                let _ = write!(line, " {}:{ty}", local.name);
            }
            for target in listed.targets.iter().filter(|_| !listed.alias) {
                let _ = write!(line, " {target}");
            }
            line
        })
        .collect();
    lines.sort();
    lines.dedup();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The public aliases of a file: `vfs.read = kernel.function("vfs_read").call`.
pub fn aliases(file: &ast::File) -> Vec<String> {
    let points =
        |points: &[ast::ProbePoint]| points.iter().map(print_probe_point).collect::<Vec<_>>().join(", ");
    let public = |alias: &&ast::ProbeAlias| !alias.names[0].components[0].name.starts_with('_');
    file.aliases()
        .filter(public)
        .flat_map(|alias| alias.names.iter().map(move |name| (name, alias)))
        .map(|(name, alias)| format!("{} = {}", print_probe_point(name), points(&alias.points)))
        .collect()
}

/// The public functions of a file: `strlen:long (s:string)`.
pub fn functions(file: &ast::File) -> Vec<String> {
    let of = |ty: Option<ast::TypeName>| match ty {
        Some(ast::TypeName::Long) => "long",
        Some(ast::TypeName::Str) => "string",
        None => "unknown",
    };
    file.functions()
        .filter(|function| !function.private && !function.name.name.starts_with('_'))
        .map(|function| {
            let params = function.params.iter().map(|param| format!("{}:{}", param.name.name, of(param.ty)));
            let params: Vec<String> = params.collect();
            format!("{}:{} ({})", function.name.name, of(function.returns), params.join(", "))
        })
        .collect()
}

/// Globals with their types, functions with theirs, probes with their sites and locals.
pub fn print(program: &Program) -> String {
    let mut out = String::new();
    let word = |ty: &Ty| match ty {
        Ty::Long => "long",
        Ty::Str => "string",
    };
    // Writing to a string cannot fail.
    if !program.globals.is_empty() {
        out.push_str("# globals\n");
    }
    for global in &program.globals {
        let ty = match &global.ty {
            GlobalTy::Value(ty) => word(ty),
            GlobalTy::Stats(_) => "stats",
        };
        let keys: Vec<&str> = global.keys.iter().map(word).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(" [{}]", keys.join(", ")) };
        let _ = writeln!(out, "{}:{ty}{keys}", global.name);
    }
    if !program.functions.is_empty() {
        out.push_str("# functions\n");
    }
    for function in &program.functions {
        let params: Vec<String> = function.locals[..function.params]
            .iter()
            .map(|p| format!("{}:{}", p.name, word(&p.ty)))
            .collect();
        let result = function.result.as_ref().map_or("unknown", word);
        let _ = writeln!(out, "{}:{result} ({})", function.name, params.join(", "));
    }
    out.push_str("# probes\n");
    for probe in &program.probes {
        for site in &probe.sites {
            let site = &program.sites[*site as usize];
            let _ = write!(out, "{}", site.probe_point);
            if site.alias != site.probe_point.trim_end_matches(['?', '!']) && !site.alias.is_empty() {
                let _ = write!(out, " /* <- {} */", site.alias);
            }
            out.push('\n');
        }
        if !probe.locals.is_empty() {
            out.push_str("  # locals\n");
            for local in &probe.locals {
                let _ = writeln!(out, "  {}:{}", local.name, word(&local.ty));
            }
        }
    }
    out
}
