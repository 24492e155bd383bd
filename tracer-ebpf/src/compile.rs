//! From a module and its manifest to an object file: the whole kernel side in one call.
//!
//! Functions are inlined and simplified first (`tracer_common::ir::opt`), in a copy: the evaluator goes on with the
//! module as it was made.

use crate::asm::Code;
use crate::codegen::{self, CodegenError, SiteTexts};
use crate::object;
use crate::target::Target;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use tracer_common::ir::{FuncId, Module, opt};
use tracer_common::layout::{Layout, MapSpec};
use tracer_common::manifest::Manifest;

/// The kernel side of a script, compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The ELF file.
    pub elf: Vec<u8>,
    /// The maps; code refers to them by index.
    pub maps: Vec<MapSpec>,
    /// Constants.
    pub rodata: Vec<u8>,
    /// Code of each program, in the manifest's order: for listings and for verifier reports.
    pub programs: Vec<Code>,
    /// What the loader must put into the map of site texts.
    pub site_texts: SiteTexts,
    /// Scratch slots that the loader must put into the pool; 0 where there is none.
    pub pool: u32,
}

/// Compiles every program of the manifest, and notes in it which instructions hold the site's number.
pub fn compile(module: &Module, manifest: &mut Manifest, target: &Target) -> Result<Object, CodegenError> {
    // The layout is a matter of globals and locks, which optimizing leaves alone.
    let layout = Layout::new(module);
    let roots: Vec<FuncId> = manifest.programs.iter().map(|program| program.function).collect();
    let mut optimized = module.clone();
    opt::optimize(&mut optimized, &roots).map_err(|error| CodegenError::Limit(format!("{error}")))?;
    let generated = codegen::generate(&optimized, manifest, &layout, target)?;
    for (program, patches) in manifest.programs.iter_mut().zip(generated.site_patches) {
        program.site_patches = patches;
    }
    let programs = manifest.programs.iter().zip(&generated.programs).map(|(program, code)| object::Program {
        name: program.name.clone(),
        kind: program.kind,
        code: code.clone(),
    });
    let parts = object::Parts {
        maps: generated.maps.clone(),
        rodata: generated.rodata.clone(),
        functions: generated.functions,
        programs: programs.collect(),
    };
    let elf =
        object::write(&parts, &module.places).map_err(|error| CodegenError::Limit(format!("{error}")))?;
    Ok(Object {
        elf,
        maps: generated.maps,
        rodata: generated.rodata,
        programs: generated.programs,
        site_texts: generated.site_texts,
        pool: generated.pool,
    })
}

impl Object {
    /// The code as text: program, slot, instruction.
    pub fn listing(&self, manifest: &Manifest) -> String {
        let mut out = String::new();
        for (program, code) in manifest.programs.iter().zip(&self.programs) {
            // Writing to a string cannot fail.
            let _ =
                writeln!(out, "program {} ({:?}, {} sites)", program.name, program.kind, program.sites.len());
            for (slot, insn) in &code.insns {
                let _ = writeln!(out, "{slot:5}: {}", crate::isa::Text(insn));
            }
        }
        out
    }
}
