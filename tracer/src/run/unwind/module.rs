//! Files whose variables are read from elsewhere: programs know them by their inodes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, Inst, Module, StrOp};
use tracer_common::unwind::MODULES;
use tracer_ebpf::target::Target;

use super::{Identify, insts};
use crate::run::RunError;
use crate::sys::bpf_map::{BpfMap, Update};
use crate::sys::mmap::Mapped;

/// The files, mapped so that their inodes stay.
pub struct Modules {
    _kept: Vec<Mapped>,
}

impl Modules {
    /// Fills the map; `None` when the object asks for no files. One that is not there any more is loaded nowhere.
    pub fn new(
        find: impl Fn(&str) -> Option<BpfMap>,
        module: &Module,
        target: &Target,
    ) -> Result<Option<Modules>, RunError> {
        let (Some(map), Some(layout)) = (find(MODULES), &target.unwind) else { return Ok(None) };
        let identify = Identify::load(layout)?;
        let mut kept = Vec::new();
        for number in asked(module) {
            let path = module.strings.get(number).map_or(&[][..], |path| path);
            let Ok((inode, mapping)) = identify.file(Path::new(OsStr::from_bytes(path))) else { continue };
            if inode != 0 {
                let number = (number as u64).to_le_bytes();
                map.update(&number, &inode.to_le_bytes(), Update::Any)
                    .map_err(|error| RunError::map(MODULES, error))?;
                kept.push(mapping);
            }
        }
        Ok(Some(Modules { _kept: kept }))
    }
}

/// Numbers of their paths.
fn asked(module: &Module) -> BTreeSet<usize> {
    let paths = insts(module).filter_map(|inst| match inst {
        Inst::Call { intrinsic: Intrinsic::ModuleBase, args, .. } => match args.first() {
            Some(Arg::Str(StrOp::Lit(path))) => Some(path.index()),
            _ => None,
        },
        _ => None,
    });
    paths.collect()
}
