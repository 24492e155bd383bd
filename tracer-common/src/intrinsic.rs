//! The table of intrinsics: what the tapsets reach as `__builtin_NAME` and the IR as `call NAME`.
//!
//! To add one: a row here; then the compiler leads to `tracer_ebpf::codegen` (kernel domain) and
//! `tracer::run::eval` (user domain), and `docs/ir.md` gets its line.

use crate::ir::Ty;

/// Type of an argument or result; string capacities are the caller's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A long.
    Long,
    /// A string.
    Str,
}

impl Kind {
    /// Whether a value of this IR type fits.
    pub fn accepts(self, ty: Ty) -> bool {
        matches!((self, ty), (Kind::Long, Ty::Long) | (Kind::Str, Ty::Str(_)))
    }
}

/// What calling an intrinsic may do; decides where it can be evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Depends on its arguments alone: late evaluation may move it to the user domain.
    Pure,
    /// Reads the moment of the hit (current task, clock, memory): evaluated in the domain of the handler.
    Context,
    /// Does something visible, in order.
    Output,
}

/// In which domains it can be evaluated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domains {
    /// Both.
    Both,
    /// Only by the evaluator; a pure one reaches kernel handlers through late evaluation.
    User,
    /// Only by eBPF.
    Kernel,
}

macro_rules! intrinsics {
    ($($(#[$doc:meta])* $variant:ident = $word:literal ($($arg:ident),*) -> $result:tt, $domains:ident, $effect:ident, $raises:literal;)*) => {
        /// An operation that no script can express.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Intrinsic { $($(#[$doc])* $variant,)* }
        impl Intrinsic {
            /// Every intrinsic.
            pub const ALL: &'static [Intrinsic] = &[$(Intrinsic::$variant,)*];
            /// Its name, without `__builtin_`.
            pub fn name(self) -> &'static str { match self { $(Intrinsic::$variant => $word,)* } }
            /// Kinds of its arguments.
            pub fn args(self) -> &'static [Kind] { match self { $(Intrinsic::$variant => &[$(Kind::$arg),*],)* } }
            /// Kind of its result.
            pub fn result(self) -> Option<Kind> { match self { $(Intrinsic::$variant => intrinsics!(@result $result),)* } }
            /// Where it can be evaluated.
            pub fn domains(self) -> Domains { match self { $(Intrinsic::$variant => Domains::$domains,)* } }
            /// What it may do.
            pub fn effect(self) -> Effect { match self { $(Intrinsic::$variant => Effect::$effect,)* } }
            /// Whether it leaves something behind that another one sees, so that it counts although nobody wants its result.
            pub fn has_effect(self) -> bool {
                self.effect() == Effect::Output
                    || matches!(self, Intrinsic::Random | Intrinsic::Tokenize | Intrinsic::TokenizeNext)
            }
            /// Whether it can raise.
            pub fn can_raise(self) -> bool { match self { $(Intrinsic::$variant => $raises,)* } }
        }
    };
    (@result None) => { None };
    (@result $kind:ident) => { Some(Kind::$kind) };
}

intrinsics! {
    /// Thread group id of the current task (`bpf_get_current_pid_tgid`), in the initial namespace.
    Pid = "pid"() -> Long, Both, Context, false;
    /// Thread id of the current task.
    Tid = "tid"() -> Long, Both, Context, false;
    /// Real user id of the current task.
    Uid = "uid"() -> Long, Both, Context, false;
    /// Real group id of the current task.
    Gid = "gid"() -> Long, Both, Context, false;
    /// Name of the current task, at most 15 bytes.
    Execname = "execname"() -> Str, Both, Context, false;
    /// Number of the CPU.
    Cpu = "cpu"() -> Long, Both, Context, false;
    /// Nanoseconds of CLOCK_MONOTONIC.
    MonotonicNs = "monotonic_ns"() -> Long, Both, Context, false;
    /// Nanoseconds since the epoch: the monotonic clock plus the session's offset (`ledger` header).
    RealtimeNs = "realtime_ns"() -> Long, Both, Context, false;
    /// `target()`: the process of `-c` or `-x`, else 0 (`ledger` header).
    Target = "target"() -> Long, Both, Context, false;
    /// Address of the current `struct task_struct`.
    TaskCurrent = "task_current"() -> Long, Both, Context, false;
    /// A machine register by its name, a literal: with its sign when the second argument is not 0; raises `Registers`
    /// where there are none.
    Register = "register"(Str, Long) -> Long, Both, Context, true;
    /// Whether the program runs at a place in user code.
    UserMode = "user_mode"() -> Long, Both, Context, false;
    /// Whether the program runs at a function's return.
    IsReturn = "is_return"() -> Long, Both, Context, false;
    /// The string at a user address, cut to the result's capacity; raises `UserStringFault`.
    UserString = "user_string"(Long) -> Str, Both, Context, true;
    /// At most n bytes (second argument) of the string at a user address; raises `UserStringFault`.
    UserStringN = "user_string_n"(Long, Long) -> Str, Both, Context, true;
    /// The string at a kernel address; raises `KernelStringFault`.
    KernelString = "kernel_string"(Long) -> Str, Both, Context, true;
    /// At most n bytes of the string at a kernel address; raises `KernelStringFault`.
    KernelStringN = "kernel_string_n"(Long, Long) -> Str, Both, Context, true;
    /// So many bytes at a user address, packed (`packed`). A number that is negative means as many as the result has room for.
    /// Where the third argument is not 0, what follows the page of the address may be missing, and is left out. Raises
    /// `UserFault`.
    UserBytes = "user_bytes"(Long, Long, Long) -> Str, Both, Context, true;
    /// The same at a kernel address; raises `KernelFault`.
    KernelBytes = "kernel_bytes"(Long, Long, Long) -> Str, Both, Context, true;
    /// The user stack's return addresses, from the innermost, in hexadecimal, each with a blank behind it; by frame
    /// pointers (`bpf_get_stack`).
    UserStack = "user_stack"() -> Str, Both, Context, false;
    /// The n-th of these addresses, 0 for the innermost; 0 where there is none.
    UserFrame = "user_frame"(Long) -> Long, Both, Context, false;
    /// The kernel stack's return addresses, in the same way.
    KernelStack = "kernel_stack"() -> Str, Both, Context, false;
    /// The n-th of these.
    KernelFrame = "kernel_frame"(Long) -> Long, Both, Context, false;
    /// Where offset 0 of a file, named by a literal, would be if all of it were mapped as its code is in the process; 0 where
    /// it is not loaded.
    ModuleBase = "module_base"(Str) -> Long, Kernel, Context, false;
    /// Raises `NotLoaded` where that is 0.
    ModuleNeeded = "module_needed"(Str, Long) -> None, Kernel, Context, true;
    /// Writes a number's low bytes (third argument, a constant: 1, 2, 4 or 8) at a user address; raises
    /// `UserWriteFault`.
    UserWrite = "user_write"(Long, Long, Long) -> None, Kernel, Output, true;
    /// Sends a signal to the current process; not 0 where that cannot be.
    SendSignal = "send_signal"(Long) -> Long, Kernel, Output, false;
    /// Counts a hit that is given up because the entry of the function was not seen.
    Unseen = "unseen"() -> None, Kernel, Output, false;
    /// The kernel's count of timer ticks.
    Jiffies = "jiffies"() -> Long, Both, Context, false;
    /// How many of them are in a second.
    Hz = "hz"() -> Long, Both, Context, false;
    /// A number at a kernel address, with its sign; what it is called in the text of its fault is the second argument, a
    /// constant (`record::NUMBERS`). Raises that fault.
    KernelNumber = "kernel_number"(Long, Long) -> Long, Both, Context, true;
    /// Bytes before the NUL.
    Strlen = "strlen"(Str) -> Long, Both, Pure, false;
    /// `substr(s, start, length)`: "" where it is out of range.
    Substr = "substr"(Str, Long, Long) -> Str, Both, Pure, false;
    /// Whether the second string occurs in the first.
    Isinstr = "isinstr"(Str, Str) -> Long, Both, Pure, false;
    /// The byte at an index, 0 past the end.
    Stringat = "stringat"(Str, Long) -> Long, Both, Pure, false;
    /// Whether a regular expression, the second string and a literal, finds something in the first.
    Search = "search"(Str, Str) -> Long, Both, Pure, false;
    /// Remembers a search: the string, and the number of the pattern (from 1) when it was found, 0 otherwise.
    KeepSearch = "keep_search"(Str, Long) -> None, Both, Output, false;
    /// The string that was searched last.
    SearchText = "search_text"() -> Str, Both, Context, false;
    /// The number of the pattern that was found there, or 0.
    SearchNumber = "search_number"() -> Long, Both, Context, false;
    /// A group of what was searched for: the string; the number of a pattern; the patterns that numbers stand for, a literal
    /// (`regex::list`); the group's number. Raises when there is no such group, or pattern.
    Matched = "matched"(Str, Long, Str, Long) -> Str, Both, Pure, true;
    /// How many groups that pattern has, the whole one included; raises when there is none.
    Ngroups = "ngroups"(Long, Str) -> Long, Both, Pure, true;
    /// Says which process's hit the handler is finished for: its addresses are named.
    Hit = "hit"(Long) -> None, User, Output, false;
    /// What is told of an address of the process that was hit, or of the kernel when the third argument is not 0, in a
    /// form (`symbol::Form`).
    Symbol = "symbol"(Long, Long, Long) -> Str, User, Pure, false;
    /// The path of the file, or the name of the kernel's module, that an address is of; raises where it is of none.
    ModuleOf = "module_of"(Long, Long) -> Str, User, Pure, true;
    /// What is told of addresses, hexadecimal with blanks between them, each with a line end.
    SymbolLines = "symbol_lines"(Str, Long, Long) -> Str, User, Pure, false;
    /// Prints that, however long.
    PrintSymbols = "print_symbols"(Str, Long, Long) -> None, User, Output, false;
    /// `strtol(s, base)`.
    Strtol = "strtol"(Str, Long) -> Long, Both, Pure, false;
    /// Index of the first place where the second string occurs, or -1.
    Strpos = "strpos"(Str, Str) -> Long, Both, Pure, false;
    /// The first string with every occurrence of the second replaced by the third.
    StrReplace = "str_replace"(Str, Str, Str) -> Str, Both, Pure, false;
    /// A string with what cannot be printed as in C, at most so many bytes, in quotation marks when the third is not 0.
    /// Characters of UTF-8 are written by their numbers.
    Quote = "quote"(Str, Long, Long) -> Str, Both, Pure, false;
    /// Packed bytes in quotation marks as C would write them, at most so many bytes of text.
    QuoteBytes = "quote_bytes"(Str, Long) -> Str, User, Pure, false;
    /// Packed bytes that are characters of 2 (UTF-16) or 4 (UTF-32) bytes, up to one that is 0, in UTF-8. The third argument is
    /// where they were, the fourth not 0 when that was in the kernel. Raises where they are no characters.
    Wide = "wide"(Str, Long, Long, Long) -> Str, User, Pure, true;
    /// The n-th word, from 1, of a list with single blanks; "" when there is none.
    Word = "word"(Str, Long) -> Str, Both, Pure, false;
    /// The number of a word in such a list; 0 when it is not there.
    WordNumber = "word_number"(Str, Str) -> Long, Both, Pure, false;
    /// The first n words of such a list, all of them for 0, without a blank behind the last.
    FirstWords = "first_words"(Str, Long) -> Str, Both, Pure, false;
    /// A moment, in seconds since the epoch, as `asctime` writes it; raises when the year has more than four digits.
    Ctime = "ctime"(Long) -> Str, Both, Pure, true;
    /// Seconds that local time is behind UTC.
    TzOffset = "tz_offset"() -> Long, User, Pure, false;
    /// Name of the local time zone.
    TzName = "tz_name"() -> Str, User, Pure, false;
    /// The name of a process, as it is when the text is made; "" where there is none.
    ProcessName = "process_name"(Long) -> Str, User, Pure, false;
    /// Arithmetic on the bits of floating-point numbers (`run::eval::float` lists the operations).
    Float = "float"(Long, Long, Long) -> Long, User, Pure, false;
    /// Such a number with so many digits behind the point.
    FloatText = "float_text"(Long, Long) -> Str, User, Pure, false;
    /// The bits of the number that a text is; raises where it is none.
    FloatOf = "float_of"(Str) -> Long, User, Pure, true;
    /// Begins to take a string apart at any of the second string's characters; its first piece.
    Tokenize = "tokenize"(Str, Str) -> Str, Both, Context, false;
    /// The next piece of that string, or "".
    TokenizeNext = "tokenize_next"(Str) -> Str, Both, Context, false;
    /// 32 bits that nobody can guess.
    Random = "random"() -> Long, Both, Context, false;
    /// The processor's cycle counter.
    Cycles = "cycles"() -> Long, User, Context, false;
    /// Keeps output for later under a number.
    Speculate = "speculate"(Long, Str) -> None, User, Output, false;
    /// Prints what was kept under a number.
    Commit = "commit"(Long) -> None, User, Output, false;
    /// Forgets what was kept under a number.
    Discard = "discard"(Long) -> None, User, Output, false;
    /// Starts a shell command and does not wait for it.
    System = "system"(Str) -> None, User, Output, false;
    /// Writes a line to the kernel's log with that level, or to its trace when the level is below 0.
    KernelLog = "kernel_log"(Long, Str) -> None, User, Output, false;
    /// Goes on with the next output file (`-o`).
    SwitchFile = "switch_file"() -> None, User, Output, false;
    /// Prints a line.
    Log = "log"(Str) -> None, User, Output, false;
    /// Prints `WARNING: ` and a line on standard error.
    Warn = "warn"(Str) -> None, User, Output, false;
    /// Ends the handler that runs, however deep it is in calls; pass 3 makes it the end of a block.
    Leave = "leave"() -> None, Both, Output, false;
    /// Ends the session after this handler.
    Exit = "exit"() -> None, Both, Output, false;
}

impl Intrinsic {
    /// Whether it says the same for as long as a handler runs.
    pub fn is_steady(self) -> bool {
        use Intrinsic::{Cpu, Gid, Hz, Pid, Target, TaskCurrent, Tid, Uid};
        matches!(self, Pid | Tid | Uid | Gid | Cpu | Target | TaskCurrent | Hz)
    }

    /// Whether it takes a stack.
    pub fn takes_stack(self) -> bool {
        use Intrinsic::{KernelFrame, KernelStack, UserFrame, UserStack};
        matches!(self, UserStack | UserFrame | KernelStack | KernelFrame)
    }

    /// Whether it names addresses: of the process that was hit, or of the kernel when its last argument is not 0.
    pub fn names_addresses(self) -> bool {
        use Intrinsic::{ModuleOf, PrintSymbols, Symbol, SymbolLines};
        matches!(self, ModuleOf | PrintSymbols | Symbol | SymbolLines)
    }

    /// The intrinsic of a name (without `__builtin_`).
    pub fn by_name(name: &str) -> Option<Intrinsic> {
        Intrinsic::ALL.iter().copied().find(|i| i.name() == name)
    }
}
