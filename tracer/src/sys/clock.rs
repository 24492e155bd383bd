//! Clocks and the current CPU.

use std::ffi::CStr;

/// Nanoseconds of CLOCK_MONOTONIC: the clock of `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; CLOCK_MONOTONIC always exists.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
    }
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Seconds that local time is behind UTC now, and the zone's name; that of UTC when it is not known.
pub fn time_zone() -> (i64, Vec<u8>) {
    // SAFETY: `time` with a null pointer only returns; `localtime_r` fills the structure that it is given, whose zone
    // name is a string that lives as long as the process.
    unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local = std::mem::zeroed::<libc::tm>();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() || local.tm_zone.is_null() {
            return (0, b"UTC".to_vec());
        }
        (-local.tm_gmtoff, CStr::from_ptr(local.tm_zone).to_bytes().to_vec())
    }
}

/// Nanoseconds between two ticks of the kernel, which moves its coarse clock by one at each.
pub fn tick_ns() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; where it knows no such clock, it leaves it alone.
    unsafe {
        libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut time);
    }
    match time.tv_sec * 1_000_000_000 + time.tv_nsec {
        0 => 4_000_000,
        tick => tick,
    }
}

/// A text with the conversions of `strftime` replaced by what local time is now; `None` where that is nothing, or too long.
pub fn dated(pattern: &CStr) -> Option<Vec<u8>> {
    let mut text = vec![0u8; 4096];
    // SAFETY: `localtime_r` fills the structure that it is given; `strftime` writes at most as many bytes as it is told
    // there are.
    let length = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local = std::mem::zeroed::<libc::tm>();
        if libc::localtime_r(&raw const now, &raw mut local).is_null() {
            return None;
        }
        libc::strftime(text.as_mut_ptr().cast(), text.len(), pattern.as_ptr(), &raw const local)
    };
    text.truncate(length);
    (length > 0).then_some(text)
}

/// The processor's cycle counter; nanoseconds where there is none that we can read.
pub fn cycles() -> i64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a counter that every x86-64 processor has.
    unsafe {
        std::arch::x86_64::_rdtsc() as i64
    }
    #[cfg(not(target_arch = "x86_64"))]
    monotonic_ns()
}

/// The CPU that this thread runs on.
pub fn current_cpu() -> i64 {
    // SAFETY: takes nothing, returns a number.
    i64::from(unsafe { libc::sched_getcpu() }).max(0)
}
