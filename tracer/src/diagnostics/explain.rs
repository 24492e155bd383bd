//! `tracer explain CODE`: what the manual says about a kind of mistake.
//!
//! The manual is docs/errors, a section `## code` for each code in the page of each pass that tells it.
//!
//! **Not here:** the codes (`codes`).

use std::fmt::Write as _;

use crate::diagnostics::{Code, suggest};

/// The pages, by pass.
const PAGES: [&str; 4] = [
    include_str!("../../../docs/errors/pass1.md"),
    include_str!("../../../docs/errors/pass2.md"),
    include_str!("../../../docs/errors/pass3.md"),
    include_str!("../../../docs/errors/pass4.md"),
];

/// What is said about a code; `Err` says that there is none, and which come near.
pub fn explain(word: &str) -> Result<String, String> {
    let Some(code) = Code::ALL.iter().find(|code| code.word() == word) else {
        let near = suggest::hint(word, Code::ALL.iter().map(|code| code.word()));
        let near = near.map_or_else(String::new, |near| format!(" ({near})"));
        return Err(format!("there is no code '{word}'{near}; 'tracer explain' lists all"));
    };
    let mut out = String::new();
    for (page, text) in sections(*code) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{word} ({page})\n{text}\n");
    }
    Ok(out.trim_end().to_owned() + "\n")
}

/// All codes, each with its first sentence.
pub fn list() -> String {
    let width = Code::ALL.iter().map(|code| code.word().len()).max().unwrap_or(0);
    let mut out = String::new();
    for code in Code::ALL {
        let text = sections(*code).next().map_or("", |(_, text)| text);
        let first = text.lines().find(|line| !line.is_empty()).unwrap_or("");
        let _ = writeln!(out, "{:width$}  {first}", code.word());
    }
    out
}

/// The sections about a code: the page's title, the text.
fn sections(code: Code) -> impl Iterator<Item = (&'static str, &'static str)> {
    let heading = format!("## {}\n", code.word());
    PAGES.into_iter().filter_map(move |page| {
        let start = page.match_indices(&heading).map(|(at, _)| at).find(|at| page[..*at].ends_with('\n'))?;
        let body = start + heading.len();
        let end = page[body..].find("\n## ").map_or(page.len(), |end| body + end);
        let title = page.lines().next().unwrap_or("").trim_start_matches(['#', ' ']);
        Some((title, page[body..end].trim_end()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_a_section_for_every_code() {
        for code in Code::ALL {
            let (_, text) =
                sections(*code).next().unwrap_or_else(|| panic!("no section about {}", code.word()));
            assert!(text.lines().count() > 1, "nothing is said about {}", code.word());
        }
    }

    #[test]
    fn a_code_is_explained_with_all_its_sections() {
        let text = explain("unsupported").expect("a code");
        assert_eq!(text.matches("unsupported (Pass").count(), 3, "{text}");
        assert!(!text.contains("unresolved"), "{text}");
        assert!(explain("aritty").expect_err("no code").contains("similar: 'arity'"));
    }
}
