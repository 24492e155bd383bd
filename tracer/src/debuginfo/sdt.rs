//! Static marks: `.note.stapsdt`, as `<sys/sdt.h>` writes it.
//!
//! Format: three addresses (the mark, the link-time address of `.stapsdt.base`, the semaphore or 0), then provider,
//! name and argument string, each with a NUL. When the file was prelinked, addresses move by the difference between
//! `.stapsdt.base` as linked and as it is.
//!
//! **Not here:** how arguments are written (`operand`).

use crate::debuginfo::elf::ElfFile;

/// One place of a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Its provider.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// Address of its instruction, as linked.
    pub address: u64,
    /// Address of its semaphore, as linked.
    pub semaphore: Option<u64>,
    /// Its arguments, as they are written: `operand::argument` reads them.
    pub args: Vec<String>,
}

/// All marks of a file.
pub fn marks(file: &ElfFile) -> Vec<Mark> {
    let notes = file.section(".note.stapsdt");
    let base = file.section_address(".stapsdt.base");
    let mut marks = Vec::new();
    let mut at = 0usize;
    while let Some(head) = notes.get(at..at + 12) {
        let word = |n: usize| u32::from_le_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]) as usize;
        let (name_size, size, kind) = (word(0), word(4), word(8));
        let start = at + 12 + name_size.next_multiple_of(4);
        let Some(body) = start.checked_add(size).and_then(|end| notes.get(start..end)) else { break };
        if kind == 3
            && let Some(mark) = mark(body, base)
        {
            marks.push(mark);
        }
        at = start + size.next_multiple_of(4);
    }
    marks
}

fn mark(body: &[u8], base: Option<u64>) -> Option<Mark> {
    let long = |n: usize| Some(u64::from_le_bytes(body.get(n..n + 8)?.try_into().ok()?));
    let (address, linked_base, semaphore) = (long(0)?, long(8)?, long(16)?);
    let moved = base.map_or(0, |base| base.wrapping_sub(linked_base));
    let mut texts = body.get(24..)?.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let provider = texts.next()?.into_owned();
    let name = texts.next()?.into_owned();
    let args = texts.next()?.into_owned();
    Some(Mark {
        provider,
        name,
        address: address.wrapping_add(moved),
        semaphore: (semaphore != 0).then(|| semaphore.wrapping_add(moved)),
        args: split(&args),
    })
}

/// Arguments are separated by blanks, but an operand may hold some inside parentheses.
fn split(text: &str) -> Vec<String> {
    let mut depth = 0usize;
    let blank = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c.is_whitespace() && depth == 0
    };
    text.split(blank).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn blanks_inside_parentheses_belong_to_the_operand() {
        assert_eq!(split("-4@%edi  8@$5"), ["-4@%edi", "8@$5"]);
        assert_eq!(split("8@8(%rax, %rbx, 4) 4@%r9d"), ["8@8(%rax, %rbx, 4)", "4@%r9d"]);
        assert_eq!(split("8@) 4@%eax"), ["8@)", "4@%eax"]);
        assert!(split(" ").is_empty());
    }
}
