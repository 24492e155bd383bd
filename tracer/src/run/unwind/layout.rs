//! Where the kernel keeps what a task has mapped, and return addresses that it has replaced: offsets from its own types.
//!
//! **Not here:** the walk that uses them (`tracer_ebpf::codegen::unwind`).

use tracer_ebpf::target::{Mappings, Returns, Unwind};

use crate::debuginfo::btf::Btf;
use crate::debuginfo::model::{TypeId, Types};

/// The offsets; `None` where the kernel's types are not those that we know.
pub fn find(btf: &Btf) -> Option<Unwind> {
    let members = |structure: &str| {
        let ty = btf.type_by_name(&format!("struct {structure}"));
        move |path: &str| offset(btf, ty?, path)
    };
    let (task, mm) = (members("task_struct"), members("mm_struct"));
    let mapping = members("vm_area_struct");
    let vm_start = mapping("vm_start")?;
    if mapping("vm_end")? != vm_start + 8 {
        return None;
    }
    Some(Unwind {
        mm: task("mm")?,
        stack: task("stack")?,
        vm_start,
        vm_flags: mapping("vm_flags")?,
        vm_pgoff: mapping("vm_pgoff")?,
        vm_file: mapping("vm_file")?,
        f_inode: members("file")("f_inode")?,
        mappings: mappings(btf, &mm, &mapping, &members)?,
        returns: returns(&task, &mm, &members),
    })
}

fn mappings<M: Fn(&str) -> Option<u32>>(
    btf: &Btf,
    mm: &M,
    mapping: &M,
    members: &impl Fn(&str) -> M,
) -> Option<Mappings> {
    let Some(root) = mm("mm_mt.ma_root") else {
        return Some(Mappings::RedBlack {
            root: mm("mm_rb")?,
            node: mapping("vm_rb")?,
            first: mm("mmap")?,
            next: mapping("vm_next")?,
        });
    };
    let types = btf.enumeration("enum maple_type")?;
    let number = |name: &str| {
        let (_, number) = types.iter().find(|(known, _)| known == name)?;
        u32::try_from(*number).ok()
    };
    let (inner, other) = (members("maple_arange_64"), members("maple_range_64"));
    let slots = other("slot")?;
    // Pivots from the second word on, at most fifteen.
    if inner("pivot")? != 8 || other("pivot")? != 8 || slots > 128 {
        return None;
    }
    let inner = (number("maple_arange_64")?, inner("slot")?);
    Some(Mappings::Maple { root, inner, leaf: number("maple_leaf_64")?, slots })
}

fn returns<M: Fn(&str) -> Option<u32>>(task: &M, mm: &M, members: &impl Fn(&str) -> M) -> Option<Returns> {
    let instance = members("return_instance");
    Some(Returns {
        area: mm("uprobes_state.xol_area")?,
        vaddr: members("xol_area")("vaddr")?,
        utask: task("utask")?,
        instances: members("uprobe_task")("return_instances")?,
        stack: instance("stack")?,
        original: instance("orig_ret_vaddr")?,
        next: instance("next")?,
    })
}

/// The offset of a member, or of one inside it: names with dots.
fn offset(btf: &Btf, mut ty: TypeId, path: &str) -> Option<u32> {
    let mut bytes = 0;
    for name in path.split('.') {
        let member = btf.member(ty, name)?;
        bytes += member.bit_offset / 8;
        ty = member.ty;
    }
    u32::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::SystemWorld;

    #[test]
    fn this_kernel_has_them() {
        if Btf::load(&SystemWorld::default()).is_err() {
            return;
        }
        let found = find(&Btf::load(&SystemWorld::default()).expect("the kernel's types"))
            .expect("a kernel of the last ten years");
        assert_eq!(found.vm_start, 0);
        assert!(found.returns.is_some());
    }
}
