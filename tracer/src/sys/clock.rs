//! Clocks and the current CPU.

/// Nanoseconds of CLOCK_MONOTONIC: the clock of `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; CLOCK_MONOTONIC always exists.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
    }
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The CPU that this thread runs on.
pub fn current_cpu() -> i64 {
    // SAFETY: takes nothing, returns a number.
    i64::from(unsafe { libc::sched_getcpu() }).max(0)
}
