//! Names of the kernel's addresses, from `/proc/kallsyms`.
//!
//! **Not here:** where kernel functions can be probed (`debuginfo::btf`).

use std::path::Path;

use tracer_common::symbol::Form;

use crate::world::World;

/// Functions of the kernel and its modules, by address.
#[derive(Default, Debug)]
pub struct KernelSymbols {
    symbols: Vec<Symbol>,
}

#[derive(Debug)]
struct Symbol {
    address: u64,
    name: String,
    /// `kernel`, or the module's name.
    module: String,
}

/// A module's last function is no longer than this.
const LONGEST: u64 = 1 << 20;

impl KernelSymbols {
    /// Reads them. Nothing is known where the kernel tells no addresses (`kptr_restrict`).
    pub fn read(world: &dyn World) -> KernelSymbols {
        let text = world.read_text(Path::new("/proc/kallsyms")).unwrap_or_default();
        let mut symbols: Vec<Symbol> = text.lines().filter_map(symbol).collect();
        symbols.sort_by_key(|symbol| symbol.address);
        KernelSymbols { symbols }
    }

    /// What is told of an address; the address itself where nothing is known.
    pub fn text(&self, address: u64, form: Form) -> String {
        let Some((symbol, size)) = self.find(address) else { return format!("{address:#x}") };
        let start = format!("{}+{:#x}", symbol.name, address - symbol.address);
        match form {
            Form::Name => symbol.name.clone(),
            Form::Brief => start,
            Form::Short => format!("{start} [{}]", symbol.module),
            Form::Data | Form::DataFileLine => format!("{start}/{size:#x} [{}]", symbol.module),
            Form::FileLine | Form::File | Form::Line => format!("{address:#x}"),
        }
    }

    /// The module that an address is of, `kernel` for the kernel itself.
    pub fn module_of(&self, address: u64) -> Option<String> {
        Some(self.find(address)?.0.module.clone())
    }

    /// The function that an address is in, and the bytes up to the next.
    fn find(&self, address: u64) -> Option<(&Symbol, u64)> {
        let after = self.symbols.partition_point(|symbol| symbol.address <= address);
        let last = self.symbols[..after].last()?;
        // Of several names for one address, the first.
        let first = self.symbols[..after].partition_point(|symbol| symbol.address < last.address);
        let symbol = &self.symbols[first];
        let next = self.symbols.get(after).map_or(u64::MAX, |next| next.address);
        let size = next - symbol.address;
        (size <= LONGEST || address - symbol.address < LONGEST).then_some((symbol, size))
    }
}

/// A line: address, type, name, and the module in brackets. Only code.
fn symbol(line: &str) -> Option<Symbol> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok().filter(|address| *address != 0)?;
    if !matches!(words.next()?, "t" | "T" | "w" | "W") {
        return None;
    }
    let name = words.next()?.to_owned();
    let module = words.next().map_or("kernel", |module| module.trim_matches(['[', ']']));
    Some(Symbol { address, name, module: module.to_owned() })
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
