//! Where the thread-local storage of a module is in a thread.
//!
//! Source: Ulrich Drepper, "ELF Handling For Thread-Local Storage", variant II, as x86-64 has it; the system's ABI says that
//! the thread pointer is in `fs`.
//!
//! The program's own storage lies right below the thread pointer. That of a library is wherever there was room, and the
//! library itself knows: in a slot for the distance of a variable from the thread pointer, or in a slot for its number in
//! the table of the thread's storages.
//!
//! **Not here:** where the kernel keeps `fs` (`TargetScope::thread_pointer`).

use tracer_common::ir::{BinOp, CmpOp, Space};

use crate::debuginfo::dynamic::ThreadSlot;
use crate::debuginfo::elf::ElfFile;
use crate::sema::program::Access;
use crate::sema::target_var::{Moved, WORD, load, plus};

/// An entry of the table: where the storage is, and what frees it. Of the first, the thread pointer's second word.
const ENTRY: i64 = 16;
const TABLE: i64 = 8;

/// The address of a module's storage in the current thread.
pub(super) fn block(elf: &ElfFile, moved: &Moved) -> Result<Access, String> {
    let segment = elf.thread_local().ok_or("its file has no thread-local storage")?;
    if elf.is_program() {
        let pointer = match moved {
            // The thread may be of a process that runs another program: asking where this one is fails there.
            Moved::Elsewhere(path, _) => {
                let base = Box::new(Access::Module(path.clone()));
                let nothing = Access::Binary(BinOp::And, base, Box::new(Access::Constant(0)));
                Access::Binary(BinOp::Add, Box::new(Access::ThreadPointer), Box::new(nothing))
            }
            Moved::No | Moved::Hit(_) | Moved::Entry(_) => Access::ThreadPointer,
        };
        return Ok(plus(pointer, -segment.distance()));
    }
    match elf.thread_slot() {
        Some(ThreadSlot::Distance { slot, of }) => {
            let distance = load(Space::User, moved.address(slot), 0, WORD);
            let variable = Access::Binary(BinOp::Add, Box::new(Access::ThreadPointer), Box::new(distance));
            Ok(plus(variable, (of as i64).wrapping_neg()))
        }
        Some(ThreadSlot::Number { slot }) if elf.uses_glibc() => {
            let number = load(Space::User, moved.address(slot), 0, WORD);
            let table = load(Space::User, Access::ThreadPointer, TABLE, WORD);
            // The entry before the table says how long it is. What the thread has not used yet is in no table, or has no
            // address there: nothing is mapped at 0 or at the end of memory, so that reading it is an error.
            let length = load(Space::User, table.clone(), -ENTRY, WORD);
            let has = Access::Compare(CmpOp::Le, Box::new(number.clone()), Box::new(length));
            let scaled = Access::Binary(BinOp::Mul, Box::new(number), Box::new(Access::Constant(ENTRY)));
            let entry = Access::Binary(BinOp::Add, Box::new(table), Box::new(scaled));
            let entry = Access::Binary(BinOp::Mul, Box::new(entry), Box::new(has));
            Ok(load(Space::User, entry, 0, WORD))
        }
        Some(ThreadSlot::Number { .. }) => {
            Err("its library's thread-local storage is kept as only glibc's is known".to_owned())
        }
        None => Err("its library does not keep where its thread-local storage is in a way that can be read"
            .to_owned()),
    }
}
