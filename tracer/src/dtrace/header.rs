//! The header of a provider: a macro for each probe, and one that says whether somebody listens.
//!
//! `transaction__start` of `shop` is `SHOP_TRANSACTION_START(…)` and `SHOP_TRANSACTION_START_ENABLED()`.
//!
//! **Not here:** what the macros of `<sys/sdt.h>` do (`sdt.h`).

use std::fmt::Write as _;

use super::provider::{Probe, Provider};

/// The text of the header.
pub(super) fn header(providers: &[Provider]) -> String {
    let mut text = String::from("/* Made by tracer dtrace -h from a provider file. */\n\n");
    // The marks carry the addresses of their semaphores.
    text += "#ifndef _SDT_HAS_SEMAPHORES\n#define _SDT_HAS_SEMAPHORES 1\n#endif\n#include <sys/sdt.h>\n\n";
    text += "#ifdef __cplusplus\nextern \"C\" {\n#endif\n";
    for (provider, probe) in all(providers) {
        let _ = writeln!(text, "extern volatile unsigned short {};", semaphore(provider, probe));
    }
    text += "#ifdef __cplusplus\n}\n#endif\n";
    for (provider, probe) in all(providers) {
        let name = macro_name(provider, probe);
        let arguments: Vec<String> = (1..=probe.types.len()).map(|n| format!("arg{n}")).collect();
        let arguments = arguments.join(", ");
        let more = if arguments.is_empty() { String::new() } else { format!(", {arguments}") };
        let number = if arguments.is_empty() { String::new() } else { probe.types.len().to_string() };
        let _ = write!(
            text,
            "\n/* {}({}) */\n\
             #define {name}({arguments}) DTRACE_PROBE{number}({}, {}{more})\n\
             #define {name}_ENABLED() __builtin_expect({}, 0)\n",
            probe.name,
            probe.types.join(", "),
            provider.name,
            probe.name,
            semaphore(provider, probe),
        );
    }
    text
}

/// Every probe with its provider.
pub(super) fn all(providers: &[Provider]) -> impl Iterator<Item = (&Provider, &Probe)> {
    providers.iter().flat_map(|provider| provider.probes.iter().map(move |probe| (provider, probe)))
}

/// The name of a probe's semaphore.
pub(super) fn semaphore(provider: &Provider, probe: &Probe) -> String {
    format!("{}_{}_semaphore", provider.name, probe.name)
}

fn macro_name(provider: &Provider, probe: &Probe) -> String {
    format!("{}_{}", provider.name, probe.name.replace("__", "_")).to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::super::provider::parse;
    use super::*;

    #[test]
    fn a_macro_for_each_probe() {
        let providers = parse("x.d", "provider shop { probe order__start(int, char *); probe idle(); };")
            .expect("a provider");
        let text = header(&providers);
        for line in [
            "extern volatile unsigned short shop_order__start_semaphore;",
            "#define SHOP_ORDER_START(arg1, arg2) DTRACE_PROBE2(shop, order__start, arg1, arg2)",
            "#define SHOP_ORDER_START_ENABLED() __builtin_expect(shop_order__start_semaphore, 0)",
            "#define SHOP_IDLE() DTRACE_PROBE(shop, idle)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
