//! The kernel's numbers, in the kernel's spelling: `include/uapi/linux/bpf.h` and `perf_event.h`.
//!
//! Fields of `union bpf_attr` are given by their offset; [`super::syscall::Attr`] writes them.
//!
//! **Not here:** instruction encodings and helper numbers (`tracer_ebpf::isa`).

/// `enum bpf_cmd`.
pub(super) mod cmd {
    pub(in crate::sys) const BPF_MAP_CREATE: u32 = 0;
    pub(in crate::sys) const BPF_MAP_LOOKUP_ELEM: u32 = 1;
    pub(in crate::sys) const BPF_MAP_UPDATE_ELEM: u32 = 2;
    pub(in crate::sys) const BPF_MAP_DELETE_ELEM: u32 = 3;
    pub(in crate::sys) const BPF_MAP_GET_NEXT_KEY: u32 = 4;
    pub(in crate::sys) const BPF_PROG_LOAD: u32 = 5;
    pub(in crate::sys) const BPF_PROG_TEST_RUN: u32 = 10;
    pub(in crate::sys) const BPF_OBJ_GET_INFO_BY_FD: u32 = 15;
    pub(in crate::sys) const BPF_RAW_TRACEPOINT_OPEN: u32 = 17;
    pub(in crate::sys) const BPF_BTF_LOAD: u32 = 18;
    pub(in crate::sys) const BPF_MAP_FREEZE: u32 = 22;
    pub(in crate::sys) const BPF_MAP_LOOKUP_BATCH: u32 = 24;
    pub(in crate::sys) const BPF_MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
    pub(in crate::sys) const BPF_MAP_DELETE_BATCH: u32 = 27;
    pub(in crate::sys) const BPF_LINK_CREATE: u32 = 28;
}

/// `enum bpf_map_type`.
pub(super) mod map_type {
    pub(in crate::sys) const BPF_MAP_TYPE_HASH: u32 = 1;
    pub(in crate::sys) const BPF_MAP_TYPE_ARRAY: u32 = 2;
    pub(in crate::sys) const BPF_MAP_TYPE_PERCPU_HASH: u32 = 5;
    pub(in crate::sys) const BPF_MAP_TYPE_PERCPU_ARRAY: u32 = 6;
    pub(in crate::sys) const BPF_MAP_TYPE_STACK_TRACE: u32 = 7;
    pub(in crate::sys) const BPF_MAP_TYPE_LRU_HASH: u32 = 9;
    pub(in crate::sys) const BPF_MAP_TYPE_LRU_PERCPU_HASH: u32 = 10;
    pub(in crate::sys) const BPF_MAP_TYPE_STACK: u32 = 23;
    pub(in crate::sys) const BPF_MAP_TYPE_RINGBUF: u32 = 27;
}

/// Flags of `BPF_MAP_CREATE`.
pub(super) const BPF_F_MMAPABLE: u32 = 1 << 10;
/// Sleepable program.
pub(super) const BPF_F_SLEEPABLE: u32 = 1 << 4;

/// `enum bpf_attach_type`.
pub(super) mod attach_type {
    pub(in crate::sys) const BPF_TRACE_RAW_TP: u32 = 23;
    pub(in crate::sys) const BPF_TRACE_FENTRY: u32 = 24;
    pub(in crate::sys) const BPF_TRACE_FEXIT: u32 = 25;
    pub(in crate::sys) const BPF_PERF_EVENT: u32 = 41;
    pub(in crate::sys) const BPF_TRACE_KPROBE_MULTI: u32 = 42;
    pub(in crate::sys) const BPF_TRACE_UPROBE_MULTI: u32 = 48;
    pub(in crate::sys) const BPF_TRACE_KPROBE_SESSION: u32 = 56;
    pub(in crate::sys) const BPF_TRACE_UPROBE_SESSION: u32 = 57;
}

/// `BPF_F_KPROBE_MULTI_RETURN` and `BPF_F_UPROBE_MULTI_RETURN`.
pub(super) const MULTI_RETURN: u32 = 1;

/// `struct perf_event_attr`, offsets and numbers.
pub(super) mod perf {
    pub(in crate::sys) const TYPE: usize = 0;
    pub(in crate::sys) const SIZE: usize = 4;
    pub(in crate::sys) const CONFIG: usize = 8;
    pub(in crate::sys) const SAMPLE_PERIOD: usize = 16;
    /// The flag word that begins with `disabled`.
    pub(in crate::sys) const FLAGS: usize = 40;
    pub(in crate::sys) const WAKEUP_EVENTS: usize = 48;
    pub(in crate::sys) const CONFIG1: usize = 56;
    pub(in crate::sys) const CONFIG2: usize = 64;
    /// `PERF_ATTR_SIZE_VER5`: Linux 4.1.
    pub(in crate::sys) const ATTR_SIZE: u32 = 112;
    /// Bit of `freq` in the flag word: the period is a frequency.
    pub(in crate::sys) const FREQ: u64 = 1 << 10;
    /// Where `sample_type` is; of its bits, the time.
    pub(in crate::sys) const SAMPLE_TYPE: usize = 24;
    pub(in crate::sys) const SAMPLE_TIME: u64 = 1 << 2;
    pub(in crate::sys) const TYPE_SOFTWARE: u32 = 1;
    pub(in crate::sys) const SW_DUMMY: u64 = 9;
    /// Bits of the flag word: children too; files mapped as code; new programs; beginnings and ends of tasks; the time in
    /// each record; `mmap2` records; whether a new name comes from `execve`.
    pub(in crate::sys) const INHERIT: u64 = 1 << 1;
    pub(in crate::sys) const MMAP: u64 = 1 << 8;
    pub(in crate::sys) const COMM: u64 = 1 << 9;
    pub(in crate::sys) const TASK: u64 = 1 << 13;
    pub(in crate::sys) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(in crate::sys) const MMAP2: u64 = 1 << 23;
    pub(in crate::sys) const COMM_EXEC: u64 = 1 << 24;
    pub(in crate::sys) const PERF_FLAG_FD_CLOEXEC: u64 = 8;
    pub(in crate::sys) const PERF_EVENT_IOC_ENABLE: u64 = 0x2400;
    pub(in crate::sys) const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;
    /// The reference counter's offset is in the upper half of `config` (`format/ref_ctr_offset`: `config:32-63`).
    pub(in crate::sys) const UPROBE_REF_CTR_SHIFT: u32 = 32;
}
