//! The current task, as guards look at it: which program it runs, whether it is its process's first thread.
//!
//! **Not here:** when handlers run (`process::life`, `perf`).

use std::path::Path;

use tracer_common::ir::{BinOp, CmpOp, Space, Width};

use crate::debuginfo::btf::Btf;
use crate::debuginfo::model::{Shape, Types};
use crate::diagnostics::{Code, Diagnostic};
use crate::sema::guard::TASK;
use crate::sema::program::{Access, Guard};
use crate::sema::target_var::WORD;
use crate::source::Span;
use crate::world::World;

/// Bits of a minor number in the kernel's `dev_t`.
const MINOR_BITS: u32 = 20;

/// Flag of the kernel's own threads (include/linux/sched.h).
const PF_KTHREAD: i64 = 0x0020_0000;

/// Whether a value is a constant.
pub(super) fn equals(value: Access, constant: i64) -> Access {
    Access::Compare(CmpOp::Eq, Box::new(value), Box::new(Access::Constant(constant)))
}

/// The kernel's structures, as the current task leads to them.
pub(super) struct Task<'b> {
    /// The types.
    pub(super) btf: &'b Btf,
    /// Where the script asks.
    pub(super) span: Span,
}

impl Task<'_> {
    /// A member of a structure at an address, and of those that it points to.
    pub(super) fn read(&self, mut address: Access, of: &str, path: &[&str]) -> Result<Access, Diagnostic> {
        let missing = |name: &str| {
            let message = format!("the kernel's types lack what tells processes apart: {of}, {name}");
            Diagnostic::error(Code::NoDebugInfo, self.span, message)
        };
        let mut ty = self.btf.type_by_name(of).ok_or_else(|| missing(path[0]))?;
        for name in path {
            let member = self.btf.member(ty, name).ok_or_else(|| missing(name))?;
            let offset = i32::try_from(member.bit_offset / 8).map_err(|_| missing(name))?;
            let (width, next) = match self.btf.shape(member.ty) {
                Shape::Pointer(to) => (WORD, to),
                Shape::Number { bytes, signed } => (Width { bytes, signed }, None),
                _ => return Err(missing(name)),
            };
            address = Access::Load { space: Space::Kernel, address: Box::new(address), offset, width };
            ty = next.unwrap_or(ty);
        }
        Ok(address)
    }

    /// Lets only the first threads of processes through, or only the others.
    pub(super) fn is_first_thread(&self, guard: &mut Guard, wanted: bool) -> Result<(), Diagnostic> {
        let thread = self.read(TASK, "task_struct", &["pid"])?;
        let process = self.read(TASK, "task_struct", &["tgid"])?;
        let op = if wanted { CmpOp::Eq } else { CmpOp::Ne };
        guard.test(Access::Compare(op, Box::new(thread), Box::new(process)));
        Ok(())
    }

    /// Lets only tasks through that run some program: those of the kernel itself have a flag. Memory a task that ends may
    /// have given back already.
    pub(super) fn is_of_a_program(&self, guard: &mut Guard) -> Result<(), Diagnostic> {
        let flags = self.read(TASK, "task_struct", &["flags"])?;
        let kernel = Box::new(Access::Constant(PF_KTHREAD));
        guard.test(equals(Access::Binary(BinOp::And, Box::new(flags), kernel), 0));
        Ok(())
    }

    /// Lets only tasks through that run a program: their memory was made from that file.
    pub(super) fn runs(&self, guard: &mut Guard, world: &dyn World, path: &Path) -> Result<(), Diagnostic> {
        let unknown = |why: &str| {
            let message = format!("{} cannot be told from other files: {why}", path.display());
            Diagnostic::error(Code::NoFile, self.span, message)
        };
        let inode = world.inode(path).map_err(|error| unknown(&error.to_string()))?;
        let memory = guard.keep(self.read(TASK, "task_struct", &["mm"])?);
        // Kernel threads have none.
        guard.test(memory.clone());
        let node = guard.keep(self.read(memory, "mm_struct", &["exe_file", "f_inode"])?);
        guard.test(equals(self.read(node.clone(), "inode", &["i_ino"])?, inode as i64));
        if let Some(device) = device(world, path) {
            guard.test(equals(self.read(node, "inode", &["i_sb", "s_dev"])?, device));
        }
        Ok(())
    }
}

/// The device of the file system that a file is on, as the kernel keeps it. What `stat` says of it is something
/// else where a file system has several.
fn device(world: &dyn World, path: &Path) -> Option<i64> {
    let mounts = world.read_text(Path::new("/proc/self/mountinfo")).ok()?;
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(2);
        let (Some(device), Some(point)) = (words.next(), words.nth(1)) else { continue };
        // Of two mounts at one place, the later hides the earlier.
        if path.starts_with(point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), device));
        }
    }
    let (major, minor) = best?.1.split_once(':')?;
    Some((major.parse::<i64>().ok()? << MINOR_BITS) | minor.parse::<i64>().ok()?)
}
