//! Stacks and names of addresses, by way of the host.

use tracer_common::ir::Space;
use tracer_common::record::USER_BITS;
use tracer_common::symbol::Form;

use super::Evaluator;

impl Evaluator<'_> {
    pub(super) fn stack_text(&mut self, space: Space) -> Vec<u8> {
        let stack = self.host.stack(space);
        let real = |address: &&u64| space == Space::Kernel || **address >> USER_BITS == 0;
        let addresses = stack.iter().take(self.module.limits.backtrace as usize).filter(real);
        addresses.map(|address| format!("{address:#x} ")).collect::<String>().into_bytes()
    }

    pub(super) fn stack_frame(&mut self, space: Space, number: i64) -> i64 {
        let stack = self.host.stack(space);
        usize::try_from(number).ok().and_then(|n| stack.get(n).copied()).unwrap_or(0) as i64
    }

    pub(super) fn symbol(&mut self, space: Space, address: u64, form: i64) -> String {
        match Form::from_number(form) {
            Some(form) => self.host.symbol(space, address, form),
            None => panic!("this is a bug: form {form} of a symbol (tapsets)"),
        }
    }

    /// A line for each address of a list.
    pub(super) fn symbol_lines(&mut self, space: Space, addresses: &[u8], form: i64) -> String {
        let shows = Form::from_number(form).is_some_and(Form::shows_address);
        let mut lines = String::new();
        for word in String::from_utf8_lossy(addresses).split_ascii_whitespace() {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            let Ok(address) = u64::from_str_radix(digits, 16) else { continue };
            if shows {
                lines += &format!(" {word} : ");
            }
            lines += &self.symbol(space, address, form);
            lines.push('\n');
        }
        lines
    }
}
