//! BPF helpers: ids and prototypes.
//!
//! Ids are the order of `___BPF_FUNC_MAPPER` in `include/uapi/linux/bpf.h`; kinds follow each helper's
//! `struct bpf_func_proto`. The machine checks calls against this table, and the code generator takes the number
//! of arguments from it.
//!
//! To add one: a row here (sorted by id), its behaviour in `machine::helpers`, and, if a kernel may lack it, a
//! feature in `target`.

/// What an argument is, and what the helper does with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgKind {
    /// Any number.
    Any,
    /// The context.
    Ctx,
    /// A map.
    Map,
    /// Memory of the map's key size, read.
    Key,
    /// Memory of the map's value size, read.
    Value,
    /// Memory of the map's value size, written.
    ValueOut,
    /// Memory, read; the next [`ArgKind::Size`] says how much.
    Mem,
    /// Memory, written.
    MemOut,
    /// Eight bytes, written; a kernel may want them to be initialised.
    LongOut,
    /// The size of the memory argument beside it; not 0.
    Size,
    /// The same, but may be 0.
    SizeOrZero,
    /// A constant size of a ring buffer reservation.
    AllocSize,
    /// A reservation to give back.
    Alloc,
    /// A function of the program.
    Func,
    /// A pointer to the stack, or 0.
    StackOrNull,
    /// A NUL-terminated string in frozen read-only map memory.
    ConstStr,
}

/// What r0 holds afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReturnKind {
    /// A number.
    Number,
    /// Nothing.
    Void,
    /// A map value or 0.
    ValueOrNull,
    /// Reserved memory or 0.
    AllocOrNull,
}

/// A helper and how it is called.
#[derive(Debug)]
pub struct Prototype {
    /// Its name without `bpf_`.
    pub name: &'static str,
    /// Kinds of its arguments.
    pub args: &'static [ArgKind],
    /// What it returns.
    pub result: ReturnKind,
}

macro_rules! helpers {
    ($($(#[$doc:meta])* $variant:ident = $id:literal $name:literal ($($arg:ident),*) -> $result:ident;)*) => {
        /// A helper. Minimum kernels are those of mainline.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Helper {
            $($(#[$doc])* $variant,)*
            /// A helper that we never call.
            Other(u32),
        }
        impl Helper {
            /// Every helper in the table.
            pub const ALL: &'static [Helper] = &[$(Helper::$variant,)*];
            /// Its number.
            pub fn id(self) -> u32 {
                match self { $(Helper::$variant => $id,)* Helper::Other(id) => id }
            }
            /// The helper of a number.
            pub fn from_id(id: u32) -> Helper {
                match id { $($id => Helper::$variant,)* other => Helper::Other(other) }
            }
            /// How it is called, where we know.
            pub fn prototype(self) -> Option<&'static Prototype> {
                match self {
                    $(Helper::$variant => Some(const { &Prototype {
                        name: $name, args: &[$(ArgKind::$arg),*], result: ReturnKind::$result,
                    } }),)*
                    Helper::Other(_) => None,
                }
            }
        }
    };
}

impl Helper {
    /// `bpf_tail_call` (4.2), which no program of ours makes (`codegen/emit`).
    pub const TAIL_CALL: Helper = Helper::Other(12);

    /// Its name without `bpf_`, where we know it.
    pub fn name(self) -> Option<&'static str> {
        self.prototype().map(|prototype| prototype.name)
    }

    /// Number of arguments.
    pub fn arity(self) -> usize {
        self.prototype().map_or(5, |prototype| prototype.args.len())
    }
}

helpers! {
    /// Finds an element (3.19).
    MapLookupElem = 1 "map_lookup_elem"(Map, Key) -> ValueOrNull;
    /// Inserts or replaces an element; flags 0 any, 1 only new, 2 only existing (3.19).
    MapUpdateElem = 2 "map_update_elem"(Map, Key, Value, Any) -> Number;
    /// Removes an element (3.19).
    MapDeleteElem = 3 "map_delete_elem"(Map, Key) -> Number;
    /// CLOCK_MONOTONIC in nanoseconds (4.1).
    KtimeGetNs = 5 "ktime_get_ns"() -> Number;
    /// Prints to the kernel's trace pipe (4.1).
    TracePrintk = 6 "trace_printk"(Mem, Size, Any, Any, Any) -> Number;
    /// A pseudo-random number (4.1).
    GetPrandomU32 = 7 "get_prandom_u32"() -> Number;
    /// Number of this CPU (4.1).
    GetSmpProcessorId = 8 "get_smp_processor_id"() -> Number;
    /// Thread group id in the upper half, thread id in the lower (4.2).
    GetCurrentPidTgid = 14 "get_current_pid_tgid"() -> Number;
    /// Group id in the upper half, user id in the lower (4.2).
    GetCurrentUidGid = 15 "get_current_uid_gid"() -> Number;
    /// Name of the current task, padded with zeros (4.2).
    GetCurrentComm = 16 "get_current_comm"(MemOut, Size) -> Number;
    /// Id of the stack in a stack-trace map, or an error (4.6).
    GetStackid = 27 "get_stackid"(Ctx, Map, Any) -> Number;
    /// Address of the current `task_struct` (4.8).
    GetCurrentTask = 35 "get_current_task"() -> Number;
    /// Writes user memory that is present and writable, or returns an error (4.8).
    ProbeWriteUser = 36 "probe_write_user"(Any, Mem, Size) -> Number;
    /// Copies the stack's addresses; returns the bytes written (4.18).
    GetStack = 67 "get_stack"(Ctx, MemOut, SizeOrZero, Any) -> Number;
    /// Appends to a queue or stack map (4.20).
    MapPushElem = 87 "map_push_elem"(Map, Value, Any) -> Number;
    /// Takes from a queue or stack map (4.20).
    MapPopElem = 88 "map_pop_elem"(Map, ValueOut) -> Number;
    /// Sends a signal to the current process (5.3).
    SendSignal = 109 "send_signal"(Any) -> Number;
    /// Reads user memory; on a fault zeroes the destination and returns an error (5.5).
    ProbeReadUser = 112 "probe_read_user"(MemOut, SizeOrZero, Any) -> Number;
    /// Reads kernel memory; on a fault zeroes the destination and returns an error (5.5).
    ProbeReadKernel = 113 "probe_read_kernel"(MemOut, SizeOrZero, Any) -> Number;
    /// Reads a user string; returns its length with the NUL, or an error (5.5).
    ProbeReadUserStr = 114 "probe_read_user_str"(MemOut, SizeOrZero, Any) -> Number;
    /// Reads a kernel string; returns its length with the NUL, or an error (5.5).
    ProbeReadKernelStr = 115 "probe_read_kernel_str"(MemOut, SizeOrZero, Any) -> Number;
    /// The count of timer ticks (5.6).
    Jiffies64 = 118 "jiffies64"() -> Number;
    /// CLOCK_BOOTTIME in nanoseconds (5.8).
    KtimeGetBootNs = 125 "ktime_get_boot_ns"() -> Number;
    /// Copies a record into the ring (5.8).
    RingbufOutput = 130 "ringbuf_output"(Map, Mem, SizeOrZero, Any) -> Number;
    /// Reserves a record (5.8).
    RingbufReserve = 131 "ringbuf_reserve"(Map, AllocSize, Any) -> AllocOrNull;
    /// Publishes a reserved record (5.8).
    RingbufSubmit = 132 "ringbuf_submit"(Alloc, Any) -> Void;
    /// Gives up a reserved record (5.8).
    RingbufDiscard = 133 "ringbuf_discard"(Alloc, Any) -> Void;
    /// State of the ring: 0 bytes to read, 1 size, 2 consumer, 3 producer position (5.8).
    RingbufQuery = 134 "ringbuf_query"(Map, Any) -> Number;
    /// Reads user memory, faulting pages in: sleepable programs (5.10).
    CopyFromUser = 148 "copy_from_user"(MemOut, SizeOrZero, Any) -> Number;
    /// The current `task_struct`, of a type that helpers take (5.11).
    GetCurrentTaskBtf = 158 "get_current_task_btf"() -> Number;
    /// Calls a function for each element (5.13).
    ForEachMapElem = 164 "for_each_map_elem"(Map, Func, StackOrNull, Any) -> Number;
    /// `snprintf` with the arguments in an array (5.13).
    Snprintf = 165 "snprintf"(MemOut, SizeOrZero, ConstStr, Mem, SizeOrZero) -> Number;
    /// Address of the traced function (5.15).
    GetFuncIp = 173 "get_func_ip"(Ctx) -> Number;
    /// The number given when the program was attached (5.15).
    GetAttachCookie = 174 "get_attach_cookie"(Ctx) -> Number;
    /// Address of the registers that a task entered the kernel with (5.15).
    TaskPtRegs = 175 "task_pt_regs"(Any) -> Number;
    /// Calls a function a number of times (5.17).
    Loop = 181 "loop"(Any, Func, StackOrNull, Any) -> Number;
    /// Compares a string with a frozen read-only one (5.17).
    Strncmp = 182 "strncmp"(Mem, Size, ConstStr) -> Number;
    /// An argument of the traced function, in fentry and fexit programs; an error when it has fewer (5.17).
    GetFuncArg = 183 "get_func_arg"(Ctx, Any, LongOut) -> Number;
    /// What the traced function returns, in fexit programs (5.17).
    GetFuncRet = 184 "get_func_ret"(Ctx, LongOut) -> Number;
    /// Finds an element of another CPU (5.19).
    MapLookupPercpuElem = 195 "map_lookup_percpu_elem"(Map, Key, Any) -> ValueOrNull;
}
