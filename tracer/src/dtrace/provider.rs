//! Provider files: `provider NAME { probe NAME(types); … };`.
//!
//! Types are not understood: how many there are is what matters. Everything else that such files hold (pragmas, types,
//! constants) is passed over.
//!
//! Source: the DTrace guide, "Statically Defined Tracing for User Applications".
//!
//! **Not here:** what is made of them (`header`, `semaphores`).

use super::Failed;

/// Arguments that a mark can have.
const MOST: usize = 12;

/// A provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) probes: Vec<Probe>,
}

/// A probe of a provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Probe {
    /// As written: `transaction__start`.
    pub(super) name: String,
    /// The types of its arguments, as written.
    pub(super) types: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Token {
    text: String,
    line: usize,
    column: usize,
}

/// The providers in a file's text.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Provider>, Failed> {
    let tokens = tokens(text);
    let end = Token { text: String::new(), line: text.lines().count().max(1), column: 1 };
    let mut parser = Parser { file, tokens, end, at: 0 };
    let mut providers: Vec<Provider> = Vec::new();
    while let Some(token) = parser.next() {
        match token.text.as_str() {
            "provider" => providers.push(parser.provider()?),
            ";" => {}
            _ => parser.pass_over(&token)?,
        }
    }
    if providers.is_empty() {
        let end = parser.end.clone();
        return Err(parser.failed(&end, "there is no provider in this file".to_owned(), PROVIDER));
    }
    Ok(providers)
}

const PROVIDER: &str = "provider NAME { probe NAME(type, …); … };";
const PROBE: &str = "probe NAME(type, …);";

struct Parser<'f> {
    file: &'f str,
    tokens: Vec<Token>,
    end: Token,
    at: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn failed(&self, at: &Token, what: String, hint: &'static str) -> Failed {
        Failed::Provider { file: self.file.to_owned(), line: at.line, column: at.column, what, hint }
    }

    /// The next token, which is one of some.
    fn expect(&mut self, wanted: &str, hint: &'static str) -> Result<Token, Failed> {
        let token = self.next().unwrap_or_else(|| self.end.clone());
        if token.text == wanted {
            return Ok(token);
        }
        let found = if token.text.is_empty() {
            "the end of the file".to_owned()
        } else {
            format!("`{}`", token.text)
        };
        Err(self.failed(&token, format!("expected `{wanted}`, found {found}"), hint))
    }

    fn name(&mut self, of: &str, hint: &'static str) -> Result<Token, Failed> {
        let token = self.next().unwrap_or_else(|| self.end.clone());
        let is_name = token.text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if is_name { Ok(token) } else { Err(self.failed(&token, format!("expected the name of {of}"), hint)) }
    }

    fn provider(&mut self) -> Result<Provider, Failed> {
        let name = self.name("a provider", PROVIDER)?.text;
        self.expect("{", PROVIDER)?;
        let mut probes: Vec<Probe> = Vec::new();
        loop {
            let token = self.next().unwrap_or_else(|| self.end.clone());
            match token.text.as_str() {
                "probe" => {
                    let probe = self.probe()?;
                    if probes.iter().any(|known| known.name == probe.name) {
                        return Err(self.failed(
                            &token,
                            format!("there are two probes {}", probe.name),
                            PROBE,
                        ));
                    }
                    probes.push(probe);
                }
                "}" => return Ok(Provider { name, probes }),
                ";" => {}
                "" => return Err(self.failed(&token, format!("provider {name} is not closed"), PROVIDER)),
                other => {
                    return Err(self.failed(&token, format!("expected a probe, found `{other}`"), PROBE));
                }
            }
        }
    }

    fn probe(&mut self) -> Result<Probe, Failed> {
        let named = self.name("a probe", PROBE)?;
        self.expect("(", PROBE)?;
        let mut types: Vec<String> = Vec::new();
        let mut current: Vec<String> = Vec::new();
        let mut depth = 0usize;
        loop {
            let token = self.next().unwrap_or_else(|| self.end.clone());
            match token.text.as_str() {
                ")" if depth == 0 => break,
                "," if depth == 0 => {
                    if current.is_empty() {
                        return Err(self.failed(&token, "an argument without a type".to_owned(), PROBE));
                    }
                    types.push(core::mem::take(&mut current).join(" "));
                    continue;
                }
                "" | ";" | "{" | "}" => {
                    return Err(self.failed(
                        &token,
                        format!("the arguments of {} are not closed", named.text),
                        PROBE,
                    ));
                }
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            current.push(token.text);
        }
        if !current.is_empty() {
            types.push(current.join(" "));
        }
        if types == ["void"] {
            types.clear();
        }
        if types.len() > MOST {
            let what =
                format!("probe {} has {} arguments; a mark has at most {MOST}", named.text, types.len());
            return Err(self.failed(&named, what, "pass a structure's address"));
        }
        // What DTrace maps the arguments to is not looked at: `probe x(int a) : (int b);`
        while let Some(token) = self.next() {
            match token.text.as_str() {
                ";" => return Ok(Probe { name: named.text, types }),
                "}" | "probe" => return Err(self.failed(&token, "expected `;`".to_owned(), PROBE)),
                _ => {}
            }
        }
        let end = self.end.clone();
        Err(self.failed(&end, "expected `;`, found the end of the file".to_owned(), PROBE))
    }

    /// A declaration of something else, up to its `;`.
    fn pass_over(&mut self, first: &Token) -> Result<(), Failed> {
        let mut depth = 0usize;
        let mut token = Some(first.clone());
        while let Some(inner) = token {
            match inner.text.as_str() {
                ";" if depth == 0 => return Ok(()),
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            token = self.next();
        }
        Err(self.failed(first, format!("`{}` is not closed by `;`", first.text), PROVIDER))
    }
}

/// Words and punctuation; comments and lines that begin with `#` are nothing.
fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut in_comment = false;
    for (number, line) in text.lines().enumerate() {
        if !in_comment && line.trim_start().starts_with('#') {
            continue;
        }
        let characters: Vec<char> = line.chars().collect();
        let mut at = 0;
        while let Some(&character) = characters.get(at) {
            let next = characters.get(at + 1).copied();
            if in_comment {
                let closes = character == '*' && next == Some('/');
                in_comment = !closes;
                at += 1 + usize::from(closes);
            } else if character == '/' && next == Some('*') {
                in_comment = true;
                at += 2;
            } else if character == '/' && next == Some('/') {
                break;
            } else if character.is_whitespace() {
                at += 1;
            } else {
                let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
                let length = characters[at..].iter().take_while(|c| is_word(c)).count().max(1);
                let text = characters[at..at + length].iter().collect();
                found.push(Token { text, line: number + 1, column: at + 1 });
                at += length;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_and_their_probes() {
        let text = "/* a\n comment */\n#define X int\ntypedef unsigned int Id;\nstruct s { int a; };\n\
             provider shop {\n  probe order__start(Id, const char *); // one\n  probe order__done(void);\n\
             probe idle();\n  probe call(int (*)(int, char), long[2]) : (int x);\n};\n\
             #pragma D attributes Evolving/Evolving/Common provider shop provider\n";
        let providers = parse("shop.d", text).expect("a provider");
        let probe = |name: &str, types: &[&str]| Probe {
            name: name.to_owned(),
            types: types.iter().map(|ty| (*ty).to_owned()).collect(),
        };
        assert_eq!(providers.len(), 1);
        assert_eq!(providers[0].name, "shop");
        assert_eq!(
            providers[0].probes,
            [
                probe("order__start", &["Id", "const char *"]),
                probe("order__done", &[]),
                probe("idle", &[]),
                probe("call", &["int ( * ) ( int , char )", "long [ 2 ]"]),
            ]
        );
    }

    /// As the files of real projects are written, without the preprocessor.
    #[test]
    fn shapes_of_real_files() {
        let names = |text: &str| -> Vec<(String, usize)> {
            let providers = parse("x.d", text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let probes = providers.into_iter().flat_map(|provider| provider.probes);
            probes.map(|probe| (probe.name, probe.types.len())).collect()
        };
        let is = |wanted: &[(&str, usize)]| -> Vec<(String, usize)> {
            wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        // Types by macros, and a tab before each probe.
        let text = "#define Id unsigned int\n#define bool char\nprovider db {\n\n\tprobe a__b(Id, bool);\n\tprobe c();\n};\n";
        assert_eq!(names(text), is(&[("a__b", 2), ("c", 0)]));
        // Conditions and included files: both ways count. Arguments with the names of keywords.
        let text = "#include \"o.h\"\nprovider vm {\n#if X\n  probe insn(const char *class);\n#endif\n  probe raise(int probe, long provider) ;\n};\n";
        assert_eq!(names(text), is(&[("insn", 1), ("raise", 2)]));
        // Comments of a shell among the probes, arguments over several lines.
        let text = "provider virt {\n\t# file: src/a.c\n\t# prefix: 'a'\n\tprobe rpc_new(void *a,\n\t\t\t  const char *b);\n};";
        assert_eq!(names(text), is(&[("rpc_new", 2)]));
        // Translated arguments, types before the provider, pragmas without a semicolon behind it.
        let text = "typedef struct {\n\tint dummy;\n} c_t;\nprovider node {\n\tprobe net__end(c_t *c) :\n\t    (d_t *c, int n);\n};\n\
                    #pragma D attributes Private/Private/Unknown provider node module\ntypedef struct S { union { long v; } u; } S;\nenum e { A = 0, B };\n";
        assert_eq!(names(text), is(&[("net__end", 1)]));
        // Generated, with nothing between a type and its star; a provider without probes.
        let text = "/* This file is autogenerated, do not edit. */\n\nprovider vm {\n        probe io(void *p,uint64_t addr, unsigned size);\n};\nprovider none { };";
        assert_eq!(names(text), is(&[("io", 3)]));
    }

    #[test]
    fn mistakes_have_a_place() {
        let cases = [
            ("", (1, 1), "there is no provider in this file"),
            ("provider", (1, 1), "expected the name of a provider"),
            ("provider x {\n  probe a(int\n};", (3, 1), "the arguments of a are not closed"),
            ("provider x {\n  probe a(int)\n};", (3, 1), "expected `;`"),
            ("provider x {\n  probes a();\n};", (2, 3), "expected a probe, found `probes`"),
            ("provider x { probe a(int,,int); };", (1, 26), "an argument without a type"),
            ("provider x { probe a(); probe a(); };", (1, 25), "there are two probes a"),
            ("provider x { probe a();", (1, 1), "provider x is not closed"),
            ("provider x probe a();", (1, 12), "expected `{`, found `probe`"),
            ("typedef int x", (1, 1), "`typedef` is not closed by `;`"),
            (
                "provider x { probe a(i,i,i,i,i,i,i,i,i,i,i,i,i); };",
                (1, 20),
                "probe a has 13 arguments; a mark has at most 12",
            ),
        ];
        for (text, place, message) in cases {
            match parse("x.d", text) {
                Err(Failed::Provider { line, column, what, .. }) => {
                    assert_eq!(((line, column), &*what), (place, message), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn no_text_is_too_odd() {
        let whole = "provider shop { probe a(int, char *); /* x */ probe b(); };\n";
        for end in 0..whole.len() {
            let _ = parse("x.d", &whole[..end]);
            let _ = parse("x.d", &whole[end..]);
        }
    }
}
