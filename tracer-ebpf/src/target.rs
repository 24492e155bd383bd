//! What the code is generated for: an architecture's register layout and a kernel's features, as plain data.
//!
//! The run half fills a [`Target`] by *trying* each feature on the running kernel; nothing here or in the code
//! generator compares versions. The presets name a kernel release only to say which features it has, so that code
//! for any supported kernel can be generated and tested anywhere.
//!
//! To add a feature: a row in `features!`, a probe in `tracer::sys::features`, a use in `codegen`.
//!
//! **Not here:** attach decisions (`tracer::run::attach`), which read the same features.

/// Everything about the kernel and the machine that code generation depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The machine.
    pub arch: Arch,
    /// What the kernel can do.
    pub features: Features,
    /// Number of possible CPUs (`/sys/devices/system/cpu/possible`): rows of a per-CPU value.
    pub cpus: u32,
    /// Bytes of a page.
    pub page_size: u32,
    /// Bytes of the ring buffer for records: a power of two, a multiple of the page size.
    pub ring_size: u32,
    /// Scratch slots for each CPU: how deep programs that need scratch memory may preempt or interrupt each other.
    pub scratch_slots: u32,
    /// Programs tell, in a ring that aya-log reads, why they skip, lose or cut something.
    pub diagnostics: bool,
    /// How programs unwind user stacks by tables; `None` where they follow frame pointers.
    pub unwind: Option<Unwind>,
    /// How a program of user code keeps its CPU; `None` where it is not preempted, or the kernel has nothing for it.
    pub stay: Option<Stay>,
}

/// Kernel functions, by the numbers of their BTF types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stay {
    /// `bpf_preempt_disable` (6.10).
    pub begin: i32,
    /// `bpf_preempt_enable` (6.10).
    pub end: i32,
}

/// Offsets in the kernel's structures, by which a program finds what is mapped at an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwind {
    /// `task_struct.mm`.
    pub mm: u32,
    /// `task_struct.stack`.
    pub stack: u32,
    /// `vm_area_struct.vm_start`; `vm_end` follows.
    pub vm_start: u32,
    /// `vm_area_struct.vm_flags`.
    pub vm_flags: u32,
    /// `vm_area_struct.vm_pgoff`.
    pub vm_pgoff: u32,
    /// `vm_area_struct.vm_file`.
    pub vm_file: u32,
    /// `file.f_inode`.
    pub f_inode: u32,
    /// Where the mappings of a task are.
    pub mappings: Mappings,
    /// Where the kernel keeps return addresses that it has replaced.
    pub returns: Option<Returns>,
}

/// How a kernel keeps the mappings of a task, by address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mappings {
    /// In a red-black tree (to 6.0).
    RedBlack {
        /// `mm_struct.mm_rb`.
        root: u32,
        /// `vm_area_struct.vm_rb`.
        node: u32,
        /// `mm_struct.mmap`: the first of the list of all of them.
        first: u32,
        /// `vm_area_struct.vm_next`.
        next: u32,
    },
    /// In a maple tree (from 6.1).
    Maple {
        /// `mm_struct.mm_mt.ma_root`.
        root: u32,
        /// `maple_arange_64`, as a type of node, and the offset of its slots.
        inner: (u32, u32),
        /// `maple_leaf_64`, as a type of node: only it and smaller ones are leaves.
        leaf: u32,
        /// Offset of the slots in nodes of other types: `maple_range_64.slot`.
        slots: u32,
    },
}

/// Offsets by which a return address is found that a return probe has replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Returns {
    /// `mm_struct.uprobes_state.xol_area`.
    pub area: u32,
    /// `xol_area.vaddr`.
    pub vaddr: u32,
    /// `task_struct.utask`.
    pub utask: u32,
    /// `uprobe_task.return_instances`.
    pub instances: u32,
    /// `return_instance.stack`.
    pub stack: u32,
    /// `return_instance.orig_ret_vaddr`.
    pub original: u32,
    /// `return_instance.next`.
    pub next: u32,
}

/// An architecture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arch {
    /// x86-64.
    X86_64,
}

impl Arch {
    /// Offset in `struct pt_regs` of a register by its DWARF number.
    pub fn register_offset(self, dwarf: u8) -> Option<i16> {
        match self {
            // rax rdx rcx rbx rsi rdi rbp rsp r8..r15 rip, in the order of the psABI's DWARF numbers.
            Arch::X86_64 => [80, 96, 88, 40, 104, 112, 32, 152, 72, 64, 56, 48, 24, 16, 8, 0, 128]
                .get(dwarf as usize)
                .copied(),
        }
    }

    /// Where in `struct pt_regs` a register is by its name, and how many bytes the name means: `ah` is one byte.
    pub fn register_named(self, name: &[u8]) -> Option<(i16, u8)> {
        /// Offset; names of 8, 4, 2 and 1 bytes, and of the second byte.
        type Row = (i16, [&'static str; 5]);
        const X86_64: [Row; 21] = [
            (0, ["r15", "", "", "", ""]),
            (8, ["r14", "", "", "", ""]),
            (16, ["r13", "", "", "", ""]),
            (24, ["r12", "", "", "", ""]),
            (32, ["rbp", "ebp", "bp", "", ""]),
            (40, ["rbx", "ebx", "bx", "bl", "bh"]),
            (48, ["r11", "", "", "", ""]),
            (56, ["r10", "", "", "", ""]),
            (64, ["r9", "", "", "", ""]),
            (72, ["r8", "", "", "", ""]),
            (80, ["rax", "eax", "ax", "al", "ah"]),
            (88, ["rcx", "ecx", "cx", "cl", "ch"]),
            (96, ["rdx", "edx", "dx", "dl", "dh"]),
            (104, ["rsi", "esi", "si", "", ""]),
            (112, ["rdi", "edi", "di", "", ""]),
            (120, ["orig_rax", "orig_eax", "orig_ax", "", ""]),
            (128, ["rip", "eip", "ip", "", ""]),
            (136, ["xcs", "", "cs", "", ""]),
            (144, ["eflags", "", "flags", "", ""]),
            (152, ["rsp", "esp", "sp", "", ""]),
            (160, ["xss", "", "ss", "", ""]),
        ];
        let rows = match self {
            Arch::X86_64 => &X86_64,
        };
        let kinds = [(0, 8), (0, 4), (0, 2), (0, 1), (1, 1)];
        rows.iter().find_map(|(offset, names)| {
            let kind = names.iter().position(|known| !known.is_empty() && known.as_bytes() == name)?;
            let (skip, bytes) = kinds[kind];
            Some((offset + skip, bytes))
        })
    }

    /// Bytes of `struct pt_regs`.
    pub fn registers_size(self) -> u32 {
        match self {
            Arch::X86_64 => 168,
        }
    }
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident: $first:literal,)*) => {
        /// What a kernel can do; each found by trying. The comments name the first release that has it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Features { $($(#[$doc])* pub $name: bool,)* }
        impl Features {
            /// No optional feature: Linux 5.8 without BTF.
            pub const NONE: Features = Features { $($name: false,)* };
            /// Names and values, for `-v` and for tests.
            pub fn list(&self) -> impl Iterator<Item = (&'static str, bool)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
            /// Sets a feature by name; false if there is no such feature.
            pub fn set(&mut self, name: &str, value: bool) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }
            /// The features of a mainline release `major * 100 + minor`: for presets and tests only.
            const fn of_release(release: u32) -> Features { Features { $($name: release >= $first,)* } }
        }
    };
}

features! {
    /// `bpf_get_attach_cookie` in kprobe, uprobe and perf event programs (5.15).
    attach_cookie: 515,
    /// `bpf_get_attach_cookie` in raw tracepoint programs (6.10).
    attach_cookie_raw_tracepoint: 610,
    /// `bpf_get_func_ip` in kprobe programs (5.15).
    get_func_ip: 515,
    /// Ring buffer maps (5.8).
    ringbuf: 508,
    /// `bpf_probe_read_kernel` and `bpf_probe_read_user` (5.5).
    probe_read_kernel: 505,
    /// Keys of hash maps above 512 bytes (5.11).
    long_keys: 511,
    /// Atomic and, or, xor, xchg, cmpxchg and the fetching forms (5.12).
    atomics_fetch: 512,
    /// `bpf_for_each_map_elem` (5.13).
    for_each_map_elem: 513,
    /// `bpf_snprintf` (5.13).
    snprintf: 513,
    /// `bpf_task_pt_regs` (5.15).
    task_pt_regs: 515,
    /// `bpf_loop` (5.17).
    bpf_loop: 517,
    /// `bpf_map_lookup_percpu_elem` (5.19).
    lookup_percpu_elem: 519,
    /// Open-coded number iterators, `bpf_iter_num_new` and so on (6.4).
    iter_num: 604,
    /// Instruction set v4: sign-extending loads and moves, signed division, byte swaps (6.6).
    isa_v4: 606,
    /// `may_goto` (6.9).
    may_goto: 609,
    /// Attach type `BPF_TRACE_UPROBE_MULTI` (6.6).
    uprobe_multi: 606,
    /// Attach type `BPF_TRACE_UPROBE_SESSION` (6.13).
    uprobe_session: 613,
    /// Attach type `BPF_TRACE_KPROBE_MULTI` (5.18, and kprobes on ftrace configured).
    kprobe_multi: 518,
    /// Attach type `BPF_TRACE_KPROBE_SESSION` (6.10).
    kprobe_session: 610,
    /// kprobe programs can be attached at all.
    kprobe: 401,
    /// fentry and fexit programs, with `bpf_get_func_arg` (5.17).
    fentry: 517,
    /// `bpf_probe_write_user` (4.8), which a kernel that is locked down does not have. Asked only in guru mode.
    probe_write_user: 408,
    /// `bpf_copy_from_user` in sleepable uprobe programs (5.10; in uprobes 6.0).
    copy_from_user: 600,
    /// Frames of 64 bytes and more of kprobe programs are memory of the CPU, uprobes' too (6.13).
    private_stack: 613,
}

impl Target {
    /// A target with a release's features, for presets and tests.
    const fn of_release(release: u32) -> Target {
        Target {
            arch: Arch::X86_64,
            features: Features::of_release(release),
            cpus: 2,
            page_size: 4096,
            ring_size: 8 << 20,
            scratch_slots: 4,
            diagnostics: false,
            unwind: None,
            stay: None,
        }
    }

    /// Debian bullseye's kernel, our floor.
    pub const LINUX_5_10: Target = Target::of_release(510);
    /// Debian bookworm's kernel.
    pub const LINUX_6_1: Target = Target::of_release(601);
    /// Debian trixie's kernel.
    pub const LINUX_6_12: Target = Target::of_release(612);
    /// A kernel with everything we know of.
    pub const LINUX_6_18: Target = Target::of_release(618);

    /// A preset by its release, as test files name it.
    pub fn preset(release: &str) -> Option<Target> {
        match release {
            "5.10" => Some(Target::LINUX_5_10),
            "6.1" => Some(Target::LINUX_6_1),
            "6.12" => Some(Target::LINUX_6_12),
            "6.18" => Some(Target::LINUX_6_18),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_grow() {
        let all = [Target::LINUX_5_10, Target::LINUX_6_1, Target::LINUX_6_12, Target::LINUX_6_18];
        for pair in all.windows(2) {
            for ((name, older), (_, newer)) in pair[0].features.list().zip(pair[1].features.list()) {
                assert!(!older || newer, "{name} must not go away");
            }
        }
        let has = |target: &Target, name: &str| target.features.list().any(|(n, on)| n == name && on);
        assert!(!has(&all[0], "atomics_fetch") && has(&all[1], "atomics_fetch"));
    }

    #[test]
    fn registers_by_dwarf_number() {
        assert_eq!(Arch::X86_64.register_offset(5), Some(112), "rdi");
        assert_eq!(Arch::X86_64.register_offset(16), Some(128), "rip");
        assert_eq!(Arch::X86_64.register_offset(17), None);
        assert_eq!(Arch::X86_64.register_named(b"rdi"), Some((112, 8)));
        assert_eq!(Arch::X86_64.register_named(b"edi"), Some((112, 4)));
        assert_eq!(Arch::X86_64.register_named(b"ah"), Some((81, 1)));
        assert_eq!(Arch::X86_64.register_named(b""), None);
    }
}
