//! Probe points to base probe points: alias expansion.
//!
//! An alias stands for its list of points; what follows the alias's name is appended to each. Prologues of outer
//! aliases run before those of inner ones' users… so the order of blocks is: prologue of the alias nearest to the base
//! point first, then outwards, the handler, then epilogues outwards.
//!
//! **Not here:** what a base point means (`families`).

use crate::diagnostics::{Code, Diagnostic, Label, suggest};
use crate::glob::{glob_match, has_wildcards};
use crate::source::Span;
use crate::syntax::ast::{Block, Expr, ProbeAlias, ProbePoint, ProbePointComponent};
use crate::syntax::print::print_probe_point;

/// Aliases inside aliases.
const DEPTH: usize = 256;

/// Points that one point of a probe may stand for, those on the way included.
const MAX_POINTS: usize = 1 << 16;

/// A base probe point with all that its aliases add.
#[derive(Clone, Debug)]
pub struct Expanded<'a> {
    /// The base point.
    pub components: Vec<ProbePointComponent>,
    /// Place of what the script wrote.
    pub span: Span,
    /// What runs before the handler, in order.
    pub prologues: Vec<&'a Block>,
    /// What runs after it, in order.
    pub epilogues: Vec<&'a Block>,
    /// Conditions of `if (…)`, all of which must hold.
    pub conditions: Vec<&'a Expr>,
    /// May resolve to nothing.
    pub optional: bool,
    /// `?` or `!`, where the base point itself is written: SystemTap shows it.
    pub mark: &'static str,
    /// The lists of alternatives that it is in, the outermost first.
    pub lists: Vec<Alternative>,
    /// How we got there.
    pub trace: Vec<Label>,
    /// `pn()`.
    pub name: String,
}

/// A point's place in one list of points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alternative {
    /// The list: another number for each use of an alias.
    pub list: usize,
    /// Its place there.
    pub index: usize,
    /// `!`: if it resolves, later points of the list are not tried.
    pub sufficient: bool,
}

/// Expands the points of a probe.
pub struct Expander<'a> {
    /// Every alias in sight.
    pub aliases: Vec<&'a ProbeAlias>,
    /// Names of the library's aliases, for hints.
    pub library: Vec<String>,
}

impl<'a> Expander<'a> {
    /// The base points that one point of a probe stands for. `Ok(None)`: nothing in sight has that name, let families
    /// try.
    pub fn expand(&self, point: &'a ProbePoint) -> Result<Vec<Expanded<'a>>, Diagnostic> {
        let start = Expanded {
            components: point.components.clone(),
            span: point.span,
            prologues: Vec::new(),
            epilogues: Vec::new(),
            conditions: point.condition.iter().collect(),
            optional: point.optional,
            mark: mark(point),
            lists: Vec::new(),
            trace: Vec::new(),
            name: String::new(),
        };
        let mut expansion = Expansion { path: Vec::new(), out: Vec::new(), steps: 0 };
        self.step(start, &mut expansion)?;
        Ok(expansion.out)
    }

    fn step(&self, point: Expanded<'a>, expansion: &mut Expansion<'a>) -> Result<(), Diagnostic> {
        expansion.steps += 1;
        if expansion.steps > MAX_POINTS {
            let message = format!("this stands for more than {MAX_POINTS} probe points");
            let mut diagnostic = Diagnostic::error(Code::TooManyPoints, point.span, message);
            diagnostic.trace = point.trace;
            return Err(diagnostic.hint("aliases multiply when each stands for several others"));
        }
        if expansion.path.len() > DEPTH {
            let message = format!("aliases stand for aliases more than {DEPTH} times over");
            return Err(Diagnostic::error(Code::TooManyPoints, point.span, message));
        }
        let matching: Vec<(&'a ProbeAlias, &'a ProbePoint, usize)> = self
            .aliases
            .iter()
            .flat_map(|alias| alias.names.iter().map(move |name| (*alias, name)))
            .filter_map(|(alias, name)| prefix(&point.components, &name.components).map(|n| (alias, name, n)))
            // `probe all = my.*` may be called `my.all`: a wildcard never means the alias that it stands in.
            .filter(|(_, name, used)| {
                !expansion.has(name) || !point.components[..*used].iter().any(|c| has_wildcards(&c.name))
            })
            .collect();
        // The longest name wins: `vfs.read.return` is not `vfs.read` with a suffix when both exist.
        let longest = matching.iter().map(|(_, _, used)| *used).max();
        let Some(longest) = longest else {
            expansion.out.push(Expanded {
                name: if point.name.is_empty() { text(&point.components) } else { point.name.clone() },
                ..point
            });
            return Ok(());
        };
        for (alias, name, used) in matching.into_iter().filter(|(_, _, used)| *used == longest) {
            if expansion.has(name) {
                return Err(expansion.circle(name, point.span));
            }
            expansion.path.push((alias, name));
            let suffix = &point.components[used..];
            let list = expansion.steps;
            for (index, inner) in alias.points.iter().enumerate() {
                let mut lists = point.lists.clone();
                lists.push(Alternative { list, index, sufficient: inner.sufficient });
                let mut components = inner.components.clone();
                components.extend_from_slice(suffix);
                let mut prologues: Vec<&'a Block> = alias.prologue.iter().collect();
                prologues.extend(&point.prologues);
                let mut epilogues = point.epilogues.clone();
                epilogues.extend(alias.epilogue.iter());
                let mut conditions = point.conditions.clone();
                conditions.extend(inner.condition.iter());
                let mut trace = vec![Label {
                    span: alias.span,
                    message: format!("in the expansion of alias {}", print_probe_point(name)),
                }];
                trace.extend(point.trace.iter().cloned());
                let written =
                    if point.name.is_empty() { text(&name_with(name, suffix)) } else { point.name.clone() };
                self.step(
                    Expanded {
                        components,
                        span: point.span,
                        prologues,
                        epilogues,
                        conditions,
                        optional: point.optional || inner.optional,
                        mark: mark(inner),
                        lists,
                        trace,
                        name: written,
                    },
                    expansion,
                )?;
            }
            expansion.path.pop();
        }
        Ok(())
    }

    /// Names near a point that nothing knows.
    pub fn hint(&self, point: &str) -> Option<String> {
        let names: Vec<String> =
            self.aliases.iter().flat_map(|alias| &alias.names).map(print_probe_point).collect();
        suggest::hint(point, names.iter().chain(&self.library).map(String::as_str))
    }
}

/// The expansion of one point.
struct Expansion<'a> {
    /// The aliases that led here, the outermost first.
    path: Vec<(&'a ProbeAlias, &'a ProbePoint)>,
    out: Vec<Expanded<'a>>,
    steps: usize,
}

impl Expansion<'_> {
    fn has(&self, name: &ProbePoint) -> bool {
        self.path.iter().any(|(_, other)| std::ptr::eq(*other, name))
    }

    /// The message for aliases that lead back to one of them.
    fn circle(&self, name: &ProbePoint, span: Span) -> Diagnostic {
        let start = self.path.iter().position(|(_, other)| std::ptr::eq(*other, name)).unwrap_or(0);
        let circle = &self.path[start..];
        let words: Vec<String> =
            circle.iter().map(|(_, name)| *name).chain([name]).map(print_probe_point).collect();
        let message = format!("probe aliases go in a circle: {}", words.join(" -> "));
        let diagnostic = Diagnostic::error(Code::AliasCycle, span, message);
        circle.iter().fold(diagnostic, |diagnostic, (alias, name)| {
            diagnostic.label(alias.span, format!("{} is defined here", print_probe_point(name)))
        })
    }
}

fn name_with(name: &ProbePoint, suffix: &[ProbePointComponent]) -> Vec<ProbePointComponent> {
    let mut components = name.components.clone();
    components.extend_from_slice(suffix);
    components
}

fn mark(point: &ProbePoint) -> &'static str {
    match (point.sufficient, point.optional) {
        (true, _) => "!",
        (false, true) => "?",
        (false, false) => "",
    }
}

/// A point as text, without condition and marks.
pub fn text(components: &[ProbePointComponent]) -> String {
    let point = ProbePoint {
        components: components.to_vec(),
        optional: false,
        sufficient: false,
        condition: None,
        span: components[0].span,
    };
    print_probe_point(&point)
}

/// A point with wildcards in its components' names, as one of a family's forms (`kernel.function(string).call`) says
/// it; `None` when it has none, or the form does not match.
pub(super) fn by_form(point: &[ProbePointComponent], form: &str) -> Option<Vec<ProbePointComponent>> {
    if !point.iter().any(|component| has_wildcards(&component.name)) {
        return None;
    }
    let mut components = Vec::with_capacity(point.len());
    let mut mine = point.iter().peekable();
    for theirs in form.split('.') {
        let (name, takes) = theirs.split_once('(').map_or((theirs, false), |(name, _)| (name, true));
        let next = *mine.peek()?;
        if !glob_match(&next.name, name) || next.arg.is_some() != takes {
            return None;
        }
        components.push(ProbePointComponent { name: name.into(), ..next.clone() });
        // `**` stands for any number of components.
        if &*next.name != "**" {
            mine.next();
        }
    }
    mine.all(|rest| &*rest.name == "**").then_some(components)
}

/// How many components of a point an alias's name covers.
fn prefix(point: &[ProbePointComponent], name: &[ProbePointComponent]) -> Option<usize> {
    let mut at = 0;
    for component in name {
        let mine = point.get(at)?;
        if mine.arg != component.arg && mine.arg.is_some() != component.arg.is_some() {
            return None;
        }
        if &*mine.name == "**" {
            // Covers all that is left of the name.
            return (at + 1 == point.len()).then_some(point.len());
        }
        let matches = mine.name == component.name
            || has_wildcards(&mine.name) && glob_match(&mine.name, &component.name);
        if !matches || mine.arg != component.arg {
            return None;
        }
        at += 1;
    }
    Some(at)
}
