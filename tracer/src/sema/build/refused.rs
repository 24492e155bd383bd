//! Functions of SystemTap's library that tracer refuses, with the reason and what to do instead; and those that need
//! guru mode.

/// A name, or its beginning with a `*` behind it; why not; what else.
type Row = (&'static str, &'static str, &'static str);

const MEMORY: &str = "eBPF cannot write to the kernel's memory";
const REGISTERS: &str = "eBPF cannot change registers";
const STACK: &str = "eBPF cannot see how much of the kernel's stack is used";
const WIDE: &str = "text of 16 and 32 bits is not converted";
const LIVE_PATCH: &str = "a script cannot mend the kernel: eBPF changes nothing in it";

/// Sorted by name.
const REFUSED: &[Row] = &[
    ("HZ", "the kernel does not tell it", "divide by the 100, 250 or 1000 of CONFIG_HZ"),
    ("cve_*", LIVE_PATCH, "print what was seen, with printf"),
    (
        "dump_stack",
        "only a kernel module can write stacks to the kernel's log",
        "print_backtrace() prints the stack",
    ),
    ("kernel_buffer_quoted*", "a handler's text ends at the first NUL", "printf(\"%*M\", …) shows memory"),
    ("kernel_or_user_string_quoted_utf*", WIDE, "kernel_short() and kernel_int() read single characters"),
    ("kernel_string2_utf*", WIDE, "kernel_short() and kernel_int() read single characters"),
    ("kernel_string_quoted_utf*", WIDE, "kernel_short() and kernel_int() read single characters"),
    ("kernel_string_utf*", WIDE, "kernel_short() and kernel_int() read single characters"),
    ("mdelay", "eBPF cannot wait", "leave the delay out"),
    ("module_size", "there is no kernel module", "leave it out"),
    ("ns_egid", "namespaces of users are not looked at", "egid() is the id in the initial namespace"),
    ("ns_euid", "namespaces of users are not looked at", "euid() is the id in the initial namespace"),
    ("ns_gid", "namespaces of users are not looked at", "gid() is the id in the initial namespace"),
    ("ns_uid", "namespaces of users are not looked at", "uid() is the id in the initial namespace"),
    ("panic", "eBPF cannot stop the kernel", "exit() ends the session"),
    (
        "pid2task",
        "eBPF cannot look a task up by its number",
        "pid2execname() names a process; task_current() is this one",
    ),
    (
        "print_backtrace_fileline",
        "lines of the kernel need its debug information",
        "print_backtrace() prints names",
    ),
    (
        "print_java_backtrace",
        "probes in Java programs are not there",
        "print_ubacktrace() prints the native stack",
    ),
    ("print_regs", "registers are read one by one", "register(\"rdi\") reads one"),
    ("set_kernel_*", MEMORY, "assignment is there for variables of programs: $x = 1, with -g"),
    ("set_returnval", REGISTERS, "assignment is there for variables of programs in memory: $x = 1, with -g"),
    ("set_user_*", "a program's memory is written through its variables", "$x = 1, with -g"),
    ("set_*", REGISTERS, "assignment is there for variables of programs in memory: $x = 1, with -g"),
    (
        "sprint_java_backtrace",
        "probes in Java programs are not there",
        "print_ubacktrace() prints the native stack",
    ),
    ("stack_size", STACK, "leave it out"),
    ("stack_unused", STACK, "leave it out"),
    ("stack_used", STACK, "leave it out"),
    ("switch_file", "output files are not switched yet", "start tracer with another -o"),
    (
        "symfile*",
        "lines of the kernel need its debug information",
        "symname() names an address of the kernel",
    ),
    ("symline", "lines of the kernel need its debug information", "symname() names an address of the kernel"),
    ("task_backtrace", "eBPF can follow only the stack of the task that runs", "backtrace() is that stack"),
    ("udelay", "eBPF cannot wait", "leave the delay out"),
    ("user_string2_utf*", WIDE, "user_short() and user_int() read single characters"),
    ("user_string_quoted_utf*", WIDE, "user_short() and user_int() read single characters"),
    ("user_string_utf*", WIDE, "user_short() and user_int() read single characters"),
];

/// Functions of the library that change something outside of the session.
pub(super) const GURU: [&str; 2] = ["printk", "raise"];

/// Why a function is refused, and what to do instead.
pub(super) fn refused(name: &str) -> Option<(&'static str, &'static str)> {
    let is = |pattern: &str| match pattern.strip_suffix('*') {
        // Rows of a longer beginning stand before those of a shorter.
        Some(start) => name.starts_with(start) && (start != "set_" || name.ends_with("_arg")),
        None => name == pattern,
    };
    REFUSED.iter().find(|(pattern, ..)| is(pattern)).map(|(_, why, instead)| (*why, *instead))
}
