//! From a module and its manifest to an object file: the whole kernel side in one call.
//!
//! Functions are inlined and simplified first (`tracer_common::ir::opt`), in a copy: the evaluator goes on with the
//! module as it was made.

use crate::codegen::{self, CodegenError, SiteTexts};
use crate::object::{self, Image};
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
    /// The programs with the functions they use, in the manifest's order: what is loaded, listed, and shown when a
    /// verifier refuses it.
    pub programs: Vec<Image>,
    /// Types that the tables of the programs refer to.
    pub btf: Vec<u8>,
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
    let parts = generated.parts(manifest);
    for (program, patches) in manifest.programs.iter_mut().zip(generated.site_patches) {
        program.site_patches = patches;
    }
    let written =
        object::write(&parts, &module.places).map_err(|error| CodegenError::Limit(format!("{error}")))?;
    Ok(Object {
        elf: written.elf,
        btf: written.btf,
        programs: written.images,
        maps: parts.maps,
        rodata: parts.rodata,
        site_texts: generated.site_texts,
        pool: generated.pool,
    })
}

impl Object {
    /// The code as text: program, slot, instruction.
    pub fn listing(&self, manifest: &Manifest) -> String {
        let mut out = String::new();
        for (program, image) in manifest.programs.iter().zip(&self.programs) {
            // Writing to a string cannot fail.
            let _ =
                writeln!(out, "program {} ({:?}, {} sites)", program.name, program.kind, program.sites.len());
            for (slot, insn) in &image.code.insns {
                let _ = writeln!(out, "{slot:5}: {}", crate::isa::Text(insn));
            }
        }
        out
    }
}
