//! How long instructions of x86-64 are, and where jumps lead: no more is needed to see that a function begins with a loop.
//!
//! Source: Intel's manual, volume 2, chapter 2 and appendix A. What is newer than VEX prefixes is not known.
//!
//! A whole disassembler would be larger than all other readers together; the tests compare this with objdump.

/// Bytes of the longest instruction.
const LONGEST: usize = 15;

/// What follows an opcode.
#[derive(Clone, Copy)]
struct Form {
    /// A byte that says where operands are, and what belongs to it.
    operands: bool,
    /// Bytes of a constant.
    constant: usize,
}

const fn form(operands: bool, constant: usize) -> Option<Form> {
    Some(Form { operands, constant })
}

/// Bytes of the instruction that code begins with; `None` for what is none, or is not known.
pub fn length(code: &[u8]) -> Option<usize> {
    let (mut at, mut short, mut wide, mut short_address) = (0, false, false, false);
    loop {
        match *code.get(at)? {
            0x66 => short = true,
            0x67 => short_address = true,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
            _ => break,
        }
        at += 1;
        if at > LONGEST {
            return None;
        }
    }
    if code.get(at)? & 0xf0 == 0x40 {
        wide = code[at] & 8 != 0;
        at += 1;
    }
    let constant = if short && !wide { 2 } else { 4 };
    let opcode = *code.get(at)?;
    at += 1;
    let form = match opcode {
        0x0f => {
            let second = *code.get(at)?;
            at += 1;
            match second {
                0x38 | 0x3a => {
                    at += 1;
                    form(true, usize::from(second == 0x3a))
                }
                _ => two_bytes(second),
            }
        }
        // What these mean in 64-bit code: a vector instruction.
        0xc5 => {
            let opcode = *code.get(at + 1)?;
            at += 2;
            two_bytes(opcode)
        }
        0xc4 => {
            let (map, opcode) = (*code.get(at)? & 0x1f, *code.get(at + 2)?);
            at += 3;
            match map {
                1 => two_bytes(opcode),
                2 => form(true, 0),
                3 => form(true, 1),
                _ => None,
            }
        }
        0xa0..=0xa3 => form(false, if short_address { 4 } else { 8 }),
        0xb8..=0xbf if wide => form(false, 8),
        0xf6 | 0xf7 => {
            let tests = *code.get(at)? & 0x30 == 0;
            form(
                true,
                if !tests {
                    0
                } else if opcode == 0xf6 {
                    1
                } else {
                    constant
                },
            )
        }
        _ => one_byte(opcode, constant),
    }?;
    if form.operands {
        at += operands(code.get(at..)?)?;
    }
    let end = at + form.constant;
    (end <= code.len() && end <= LONGEST).then_some(end)
}

fn one_byte(opcode: u8, constant: usize) -> Option<Form> {
    match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => form(true, 0),
            4 => form(false, 1),
            5 => form(false, constant),
            _ => None,
        },
        0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf => form(false, 0),
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => form(true, 0),
        0x68 | 0xa9 | 0xb8..=0xbf => form(false, constant),
        0x69 | 0x81 | 0xc7 => form(true, constant),
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => form(true, 1),
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe0..=0xe7 | 0xeb => form(false, 1),
        0xc2 | 0xca => form(false, 2),
        0xc8 => form(false, 3),
        0xe8 | 0xe9 => form(false, 4),
        0xc3 | 0xc9 | 0xcb | 0xcc | 0xcf | 0xd7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xf5 | 0xf8..=0xfd => {
            form(false, 0)
        }
        _ => None,
    }
}

fn two_bytes(opcode: u8) -> Option<Form> {
    match opcode {
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x35 | 0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => {
            form(false, 0)
        }
        0x80..=0x8f => form(false, 4),
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => form(true, 1),
        0x04 | 0x0a | 0x0c | 0x0f | 0x24..=0x27 | 0x36 | 0x39 | 0x3b..=0x3f => None,
        _ => form(true, 0),
    }
}

/// Bytes that say where operands are.
fn operands(code: &[u8]) -> Option<usize> {
    let first = *code.first()?;
    let (mode, register) = (first >> 6, first & 7);
    let mut bytes = 1;
    let mut distance = match mode {
        1 => 1,
        2 => 4,
        _ => 0,
    };
    if mode != 3 && register == 4 {
        bytes += 1;
        if mode == 0 && code.get(1)? & 7 == 5 {
            distance = 4;
        }
    } else if mode == 0 && register == 5 {
        distance = 4;
    }
    Some(bytes + distance)
}

/// Whether code that begins at an address has a jump to that address. What follows an instruction that is not known is
/// not looked at.
pub fn jumps_to_its_beginning(code: &[u8]) -> bool {
    let mut at = 0;
    while let Some(bytes) = length(&code[at..]) {
        let instruction = &code[at..at + bytes];
        at += bytes;
        let distance = match *instruction {
            [0xeb | 0x70..=0x7f, by] => i64::from(by as i8),
            [0xe9, a, b, c, d] | [0x0f, 0x80..=0x8f, a, b, c, d] => {
                i64::from(i32::from_le_bytes([a, b, c, d]))
            }
            _ => continue,
        };
        if at as i64 + distance == 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (code, bytes) in [
            (&[0x55][..], 1),                                    // push %rbp
            (&[0x48, 0x89, 0xe5], 3),                            // mov %rsp,%rbp
            (&[0x83, 0x7d, 0xec, 0x00], 4),                      // cmpl $0,-0x14(%rbp)
            (&[0xc7, 0x44, 0x24, 0x08, 1, 0, 0, 0], 8),          // movl $1,8(%rsp)
            (&[0x66, 0xc7, 0x45, 0xfe, 1, 0], 6),                // movw $1,-2(%rbp)
            (&[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8], 10),         // movabs
            (&[0xf3, 0x0f, 0x1e, 0xfa], 4),                      // endbr64
            (&[0xf2, 0x0f, 0x11, 0x05, 1, 2, 3, 4], 8),          // movsd %xmm0,…(%rip)
            (&[0xf7, 0xc1, 1, 0, 0, 0], 6),                      // test $1,%ecx
            (&[0xf7, 0xd9], 2),                                  // neg %ecx
            (&[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0], 9), // mov %fs:0x28,%rax
            (&[0xc5, 0xf9, 0x6f, 0x00], 4),                      // vmovdqa (%rax),%xmm0
            (&[0xc4, 0xe3, 0x79, 0x16, 0xc0, 0x01], 6),          // vpextrd $1,%xmm0,%eax
        ] {
            assert_eq!(length(code), Some(bytes), "{code:x?}");
            assert_eq!(length(&code[..bytes - 1]), None, "{code:x?}, cut");
        }
        assert_eq!(length(&[0x66; 40]), None);
        assert_eq!(length(&[0x06]), None);
        assert_eq!(length(&[]), None);
    }

    #[test]
    fn loops() {
        // sub; jle back; ret
        assert!(jumps_to_its_beginning(&[0x83, 0x6d, 0xfc, 0x01, 0x7e, 0xfa, 0xc3]));
        assert!(!jumps_to_its_beginning(&[0x83, 0x6d, 0xfc, 0x01, 0x7e, 0xfb, 0xc3]));
        // The same bytes as a constant.
        assert!(!jumps_to_its_beginning(&[0xb8, 0x00, 0x00, 0xeb, 0xfb, 0xc3]));
        assert!(jumps_to_its_beginning(&[0x90, 0xe9, 0xfa, 0xff, 0xff, 0xff]));
        assert!(jumps_to_its_beginning(&[0x90, 0x0f, 0x85, 0xf9, 0xff, 0xff, 0xff]));
    }
}
