//! Names of the kernel's addresses, from `/proc/kallsyms`.
//!
//! **Not here:** where kernel functions can be probed (`debuginfo::btf`).

use std::path::Path;

use tracer_common::symbol::Form;

use crate::world::World;

/// Functions of the kernel and its modules: the text, and where the line of each is, by address.
#[derive(Default, Debug)]
pub struct KernelSymbols {
    text: String,
    lines: Vec<(u64, usize)>,
}

/// A function.
#[derive(Debug)]
struct Symbol<'t> {
    address: u64,
    name: &'t str,
    /// `kernel`, or the module's name.
    module: &'t str,
    /// Bytes up to the next function.
    size: u64,
}

/// A module's last function is no longer than this.
const LONGEST: u64 = 1 << 20;

impl KernelSymbols {
    /// Reads them. Nothing is known where the kernel tells no addresses (`kptr_restrict`).
    pub fn read(world: &dyn World) -> KernelSymbols {
        let text = world.read_text(Path::new("/proc/kallsyms")).unwrap_or_default();
        let mut lines = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            lines.extend(words(line).map(|(address, ..)| (address, at)));
            at += line.len();
        }
        lines.sort_unstable();
        KernelSymbols { text, lines }
    }

    /// What is told of an address; the address itself where nothing is known.
    pub fn text(&self, address: u64, form: Form) -> String {
        let Some(symbol) = self.find(address) else { return format!("{address:#x}") };
        let start = format!("{}+{:#x}", symbol.name, address - symbol.address);
        match form {
            Form::Name => symbol.name.to_owned(),
            Form::Brief => start,
            Form::Short => format!("{start} [{}]", symbol.module),
            Form::Data | Form::DataFileLine => format!("{start}/{:#x} [{}]", symbol.size, symbol.module),
            Form::FileLine | Form::File | Form::Line => format!("{address:#x}"),
        }
    }

    /// The module that an address is of, `kernel` for the kernel itself.
    pub fn module_of(&self, address: u64) -> Option<String> {
        Some(self.find(address)?.module.to_owned())
    }

    /// The function that an address is in.
    fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let after = self.lines.partition_point(|(start, _)| *start <= address);
        let (start, _) = *self.lines[..after].last()?;
        // Of several names for one address, the first.
        let first = self.lines[..after].partition_point(|(earlier, _)| *earlier < start);
        let (_, name, module) = words(&self.text[self.lines[first].1..])?;
        let next = self.lines.get(after).map_or(u64::MAX, |(next, _)| *next);
        let size = next - start;
        (size <= LONGEST || address - start < LONGEST).then_some(Symbol {
            address: start,
            name,
            module,
            size,
        })
    }
}

/// The first line of a text: address, type, name, and the module in brackets. Only code.
fn words(text: &str) -> Option<(u64, &str, &str)> {
    let mut words = text.lines().next()?.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address != 0)?;
    if !matches!(words.next()?, "t" | "T" | "w" | "W") {
        return None;
    }
    let name = words.next()?;
    let module = words.next().map_or("kernel", |module| module.trim_matches(['[', ']']));
    Some((address, name, module))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::MemoryWorld;

    const KALLSYMS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _text
ffffffff81000010 T vfs_read
ffffffff81000010 t vfs_read_alias
ffffffff81000080 D data
ffffffff81000100 t vfs_write
ffffffffc0000000 t ext4_open\t[ext4]
";

    #[test]
    fn functions_are_found_by_address() {
        let files = [("/proc/kallsyms".into(), KALLSYMS.into())];
        let symbols = KernelSymbols::read(&MemoryWorld { files: files.into() });
        assert_eq!(symbols.text(0xffff_ffff_8100_0015, Form::Data), "vfs_read+0x5/0xf0 [kernel]");
        assert_eq!(symbols.text(0xffff_ffff_8100_0015, Form::Name), "vfs_read");
        assert_eq!(symbols.text(0xffff_ffff_c000_0004, Form::Short), "ext4_open+0x4 [ext4]");
        assert_eq!(symbols.text(16, Form::Data), "0x10");
        assert_eq!(symbols.text(0xffff_ffff_d000_0000, Form::Data), "0xffffffffd0000000");
        assert_eq!(symbols.module_of(0xffff_ffff_c000_0004).as_deref(), Some("ext4"));
        assert_eq!(symbols.module_of(16), None);
    }

    #[test]
    fn nothing_is_known_where_the_kernel_tells_nothing() {
        let symbols = KernelSymbols::read(&MemoryWorld::default());
        assert_eq!(symbols.text(0xffff_ffff_8100_0015, Form::Name), "0xffffffff81000015");
    }
}
