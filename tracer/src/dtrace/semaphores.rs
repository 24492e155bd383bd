//! The object file of a provider: its semaphores, 16 bits for each probe, which whoever traces it counts up.
//!
//! They are hidden, so that each program and library has its own.
//!
//! **Not here:** the marks themselves: they are where the header's macros stand.

use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

use super::header::{all, semaphore};
use super::provider::Provider;

/// Bytes of a semaphore.
const SIZE: u64 = 2;

/// The bytes of an x86-64 ELF object file.
pub(super) fn object(providers: &[Provider]) -> Vec<u8> {
    let mut file = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let section = file.add_section(Vec::new(), b".probes".to_vec(), SectionKind::Data);
    for (provider, probe) in all(providers) {
        let symbol = file.add_symbol(Symbol {
            name: semaphore(provider, probe).into_bytes(),
            value: 0,
            size: SIZE,
            kind: SymbolKind::Data,
            // Of the linked file: hidden.
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Undefined,
            flags: SymbolFlags::None,
        });
        file.add_symbol_data(symbol, section, &[0; SIZE as usize], SIZE);
    }
    // Says that no executable stack is wanted.
    file.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    file.write().expect("this is a bug: an object file without relocations cannot be written")
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSymbol as _};

    use super::super::provider::parse;
    use super::*;

    #[test]
    fn a_hidden_symbol_for_each_probe() {
        let providers =
            parse("x.d", "provider shop { probe order__start(int); probe idle(); };").expect("a provider");
        let bytes = object(&providers);
        let file = object::File::parse(&*bytes).expect("an object file");
        let symbols: Vec<(String, u64, u64, SymbolScope)> = file
            .symbols()
            .filter(object::ObjectSymbol::is_definition)
            .map(|symbol| {
                (
                    symbol.name().unwrap_or_default().to_owned(),
                    symbol.address(),
                    symbol.size(),
                    symbol.scope(),
                )
            })
            .collect();
        assert_eq!(
            symbols,
            [
                ("shop_order__start_semaphore".to_owned(), 0, 2, SymbolScope::Linkage),
                ("shop_idle_semaphore".to_owned(), 2, 2, SymbolScope::Linkage),
            ]
        );
    }
}
