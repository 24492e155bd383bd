//! Bytes of any value as a string, which has no NUL inside: seven bits in each byte, below its highest bit.
//!
//! Seven bytes become eight, the lowest bits first, so that eBPF packs a word at a time.

use alloc::vec::Vec;

/// Bytes that a group of eight holds.
pub const GROUP: u32 = 7;

/// The capacity of a string for so many bytes, its NUL included.
pub fn capacity(bytes: u32) -> u32 {
    bytes.div_ceil(GROUP) * 8 + 1
}

/// The most bytes that a string of a capacity can hold.
pub fn most(capacity: u32) -> u32 {
    capacity.saturating_sub(1) / 8 * GROUP
}

/// Bytes as a string.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 8 / 7 + 1);
    for group in bytes.chunks(GROUP as usize) {
        let mut word = [0; 8];
        word[..group.len()].copy_from_slice(group);
        let word = u64::from_le_bytes(word);
        let digits = (group.len() * 8).div_ceil(7);
        out.extend((0..digits).map(|n| 0x80 | (word >> (7 * n)) as u8));
    }
    out
}

/// The bytes of a string.
pub fn unpack(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for group in text.chunks(8) {
        let word =
            group.iter().enumerate().fold(0, |word, (n, digit)| word | u64::from(digit & 0x7f) << (7 * n));
        out.extend_from_slice(&word.to_le_bytes()[..group.len() * 7 / 8]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_come_back() {
        let bytes: Vec<u8> = (0..=255).chain([0, 0xff, 0]).collect();
        for length in 0..bytes.len() {
            for from in [0, bytes.len() - length] {
                let part = &bytes[from..from + length];
                let packed = pack(part);
                assert!(packed.iter().all(|byte| *byte >= 0x80));
                assert!(packed.len() < capacity(length as u32) as usize);
                assert!(most(capacity(length as u32)) as usize >= length);
                assert_eq!(unpack(&packed), part);
            }
        }
    }
}
