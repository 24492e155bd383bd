//! What the tests of this room share.

/// Whether this process may load programs; tests that need that do nothing without.
pub(super) fn root() -> bool {
    // SAFETY: takes nothing, returns a number.
    unsafe { libc::geteuid() == 0 }
}

/// `r0 = 0; exit`
pub(super) fn exit_program() -> Vec<u8> {
    [0xb7u8, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0].to_vec()
}
