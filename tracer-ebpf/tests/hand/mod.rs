//! Structures of a kernel, laid out by hand.

use tracer_ebpf::target::{Mappings, Returns, Unwind};

pub(crate) const TASK: u64 = 0xffff_8880_0000_0000;
pub(crate) const MM: u64 = 0xffff_8880_0001_0000;
pub(crate) const FILE: u64 = 0xffff_8880_0002_0000;
pub(crate) const INODE: u64 = 0xffff_8880_0003_0000;
pub(crate) const MAPPINGS: u64 = 0xffff_8880_0007_0000;
pub(crate) const NODES: u64 = 0xffff_8880_0010_0000;

pub(crate) const RED_BLACK: Mappings = Mappings::RedBlack { root: 8, node: 0x20, first: 0x48, next: 0x80 };
pub(crate) const MAPLE: Mappings = Mappings::Maple { root: 0x48, inner: (3, 80), leaf: 1, slots: 128 };

/// Offsets in the structures, each as good as any.
pub(crate) fn layout(mappings: Mappings, returns: Option<Returns>) -> Unwind {
    Unwind {
        mm: 8,
        stack: 16,
        vm_start: 0,
        vm_flags: 0x50,
        vm_pgoff: 0x60,
        vm_file: 0x70,
        f_inode: 0x20,
        mappings,
        returns,
    }
}

/// Memory with words at some offsets.
pub(crate) fn words(pairs: &[(usize, u64)]) -> Vec<u8> {
    let size = pairs.iter().map(|(at, _)| at + 8).max().unwrap_or(0);
    let mut bytes = vec![0; size];
    for (at, value) in pairs {
        bytes[*at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}
