//! Names of addresses, by way of the host.

use tracer_common::symbol::Form;

use super::Evaluator;

impl Evaluator<'_> {
    pub(super) fn symbol(&mut self, address: u64, form: i64) -> String {
        match Form::from_number(form) {
            Some(form) => self.host.symbol(address, form),
            None => panic!("this is a bug: form {form} of a symbol (tapsets)"),
        }
    }

    /// A line for each address of a list.
    pub(super) fn symbol_lines(&mut self, addresses: &[u8], form: i64) -> String {
        let shows = Form::from_number(form).is_some_and(Form::shows_address);
        let mut lines = String::new();
        for word in String::from_utf8_lossy(addresses).split_ascii_whitespace() {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            let Ok(address) = u64::from_str_radix(digits, 16) else { continue };
            if shows {
                lines += &format!(" {word} : ");
            }
            lines += &self.symbol(address, form);
            lines.push('\n');
        }
        lines
    }
}
