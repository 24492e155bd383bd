//! Functions of SystemTap's library that tracer refuses, with the reason and what to do instead; and those that need
//! guru mode.

/// A name, or its beginning with a `*` behind it; why not; what else.
type Row = (&'static str, &'static str, &'static str);

const MEMORY: &str = "eBPF cannot write to the kernel's memory";
const REGISTERS: &str = "eBPF cannot change registers";
const STACK: &str = "eBPF cannot see how much of the kernel's stack is used";
const LIVE_PATCH: &str = "a script cannot mend the kernel: eBPF changes nothing in it";

/// Sorted by name.
const REFUSED: &[Row] = &[
    (
        "_sys_open_flag_str",
        "it is private to SystemTap's library",
        "argstr of the system call's probe has the flags",
    ),
    ("addr_from_rqst", "requests of the NFS server are not there", "follow the request with @cast"),
    ("addr_to_node", "eBPF cannot ask which node memory is of", "leave it out"),
    ("cve_*", LIVE_PATCH, "print what was seen, with printf"),
    (
        "dump_stack",
        "only a kernel module can write stacks to the kernel's log",
        "print_backtrace() prints the stack",
    ),
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
    (
        "symfile*",
        "lines of the kernel need its debug information",
        "symname() names an address of the kernel",
    ),
    ("symline", "lines of the kernel need its debug information", "symname() names an address of the kernel"),
    ("task_backtrace", "eBPF can follow only the stack of the task that runs", "backtrace() is that stack"),
    (
        "tcp_get_info_*",
        "the kernel does not tell how long a tick is",
        "@cast(sock, \"tcp_sock\") has it in ticks",
    ),
    ("udelay", "eBPF cannot wait", "leave the delay out"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sema::library::Library;

    /// Functions that the example scripts of SystemTap and public collections of scripts call.
    const USED: &str = "\
        MAJOR MINOR MKDEV __file_filename __get_skb_tcphdr __ip_sock_daddr __ip_sock_family __ip_sock_saddr \
        __tcp_skb_dport __tcp_skb_sport __tcp_sock_dport __tcp_sock_sport _sys_open_flag_str addr \
        addr_from_rqst addr_to_node ansi_clear_screen ansi_cursor_hide ansi_cursor_move ansi_new_line \
        ansi_reset_color ansi_set_color ansi_set_color2 assert atomic_read backtrace bio_rw_str \
        bytes_to_string cmdline_arg cmdline_str commit cpu cpu_clock_us cputime_to_msecs cputime_to_usecs \
        ctime cve_count_metric d_name d_path delete_stopwatch discard errno_p errno_str euid execname exit \
        format_ipaddr fp_add fp_div fp_lt fp_mul fp_sqrt fp_to_long fp_to_string fullpath_struct_nameidata \
        get_cycles get_sa_flags get_sa_handler get_sigaction_mask gettimeofday_ms gettimeofday_ns \
        gettimeofday_s gettimeofday_us gid htonl inet_get_ip_source inet_get_local_port inode_name \
        inode_path int_arg ip_ntop ipmib_get_proto ipmib_local_addr ipmib_remote_addr ipmib_tcp_local_port \
        ipmib_tcp_remote_port is_sig_blocked isinstr json_add_array json_add_array_numeric_metric \
        json_set_prefix kernel_char kernel_int kernel_string kernel_string_n local_clock_ns local_clock_us \
        log long_to_fp mem_page_size modname ntohs pexecname pid pid2execname pid2task pn pointer_arg pp \
        ppfunc ppid print_backtrace print_stack print_syms print_ubacktrace print_ubacktrace_brief \
        print_ustack printk probefunc probing_32bit_app proc_mem_rss proc_mem_shr proc_mem_size pstrace \
        qs_done qs_run qs_wait qsq_start qsq_utilization raise read_stopwatch_us register returnval \
        reverse_path_walk sa_flags_str sa_handler_str signal_str sigset_mask_str sock_fam_num2str \
        sock_fam_str2num sock_prot_num2str sock_prot_str2num sock_type_str2num speculate speculation \
        sprint_backtrace sprint_ubacktrace start_stopwatch stop_stopwatch str_replace string_to_fp strlen \
        strtol substr switch_file symdata symfileline symname system target target_set_pid task_cpu \
        task_current task_dentry_path task_execname task_gid task_max_file_handles task_open_file_handles \
        task_parent task_pid task_prio task_rlimit_nofile task_state task_stime task_tid task_uid task_utime \
        tcp_get_info_rto tcp_sockstate_str tcp_ts_get_info_state tcpmib_local_addr tcpmib_local_port \
        tcpmib_remote_addr tcpmib_remote_port text_str thread_indent tid tokenize tz_ctime uaddr ubacktrace \
        uid uint_arg ulong_arg umodname user_char user_int user_int64 user_long user_mode user_short \
        user_string user_string2 user_string_n user_string_n2 user_string_n_quoted user_string_n_warn \
        user_string_quoted user_string_warn user_uint16 user_uint32 user_uint64 usrdev2kerndev ustack \
        usymdata usymfileline usymname vm_fault_contains warn \
        ";

    #[test]
    fn what_scripts_call_is_there_or_refused_with_a_reason() {
        let library = Library::embedded();
        for name in USED.split_whitespace() {
            let there = !library.function(name).is_empty();
            let why_not = refused(name).is_some();
            assert!(
                there != why_not,
                "{name}: {}",
                if there { "is there, and refused" } else { "is missing" }
            );
        }
    }

    #[test]
    fn nothing_that_is_there_is_refused() {
        for name in Library::embedded().function_names() {
            assert!(refused(name).is_none(), "{name}");
        }
    }

    #[test]
    fn names_are_refused_by_themselves_or_their_beginning() {
        for name in ["pid2task", "set_kernel_int", "set_user_string_n", "set_int_arg", "symfileline"] {
            assert!(refused(name).is_some(), "{name}");
        }
        for name in ["pid2execname", "set_up_my_things", "udelayed", "kernel_string"] {
            assert!(refused(name).is_none(), "{name}");
        }
    }

    #[test]
    fn rows_are_sorted() {
        assert!(REFUSED.is_sorted_by_key(|(name, ..)| name.replace('*', "~")));
    }
}
