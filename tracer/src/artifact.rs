//! The product of pass 4: everything that running needs, with no reference to the script or the compiler.

use tracer_common::ir::Module;
use tracer_common::manifest::Manifest;
use tracer_ebpf::compile::Object;

use crate::source::SourceMap;

/// A compiled script.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// User-domain code, globals, formats, places.
    pub module: Module,
    /// Programs and sites.
    pub manifest: Manifest,
    /// The kernel side; `None` when no handler runs there.
    pub object: Option<Object>,
    /// The script's texts, for reports about code that the kernel refuses.
    pub sources: SourceMap,
}
