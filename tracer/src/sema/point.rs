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
const DEPTH: usize = 32;
/// Points that one point of a script may stand for, and aliases passed on the way: the whole library has fewer than a
/// thousand, so this is a mistake in a script that would fill the memory.
const EXPANSIONS: usize = 20_000;

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
    /// If it resolves, later points of its list are not tried: one entry for each list it is in.
    pub sufficient: bool,
    /// How we got there.
    pub trace: Vec<Label>,
    /// `pn()`.
    pub name: String,
}

/// One level of alternatives: the points of a list, in order, each with its expansions.
pub type Alternatives<'a> = Vec<Expanded<'a>>;

/// What was found so far for one point of a probe.
struct Found<'a> {
    points: Vec<Expanded<'a>>,
    steps: usize,
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
            sufficient: point.sufficient,
            trace: Vec::new(),
            name: String::new(),
        };
        let mut found = Found { points: Vec::new(), steps: 0 };
        self.step(start, &mut Vec::new(), &mut found)?;
        Ok(found.points)
    }

    /// Expands one point; `inside`: the aliases that it is in the expansion of, the outermost first.
    fn step(
        &self,
        point: Expanded<'a>,
        inside: &mut Vec<&'a ProbePoint>,
        found: &mut Found<'a>,
    ) -> Result<(), Diagnostic> {
        found.steps += 1;
        if found.steps > EXPANSIONS {
            return Err(Diagnostic::error(
                Code::TooManyPoints,
                point.span,
                format!("the aliases here stand for more than {EXPANSIONS} probe points"),
            )
            .hint("an alias whose points are aliases multiplies them: name fewer, or a narrower wildcard"));
        }
        let matching: Vec<(&'a ProbeAlias, &'a ProbePoint, usize)> = self
            .aliases
            .iter()
            .flat_map(|alias| alias.names.iter().map(move |name| (*alias, name)))
            .filter_map(|(alias, name)| prefix(&point.components, &name.components).map(|n| (alias, name, n)))
            .collect();
        // The longest name wins: `vfs.read.return` is not `vfs.read` with a suffix when both exist.
        let longest = matching.iter().map(|(_, _, used)| *used).max();
        let Some(longest) = longest else {
            found.points.push(Expanded {
                name: if point.name.is_empty() { text(&point.components) } else { point.name.clone() },
                ..point
            });
            return Ok(());
        };
        for (alias, name, used) in matching.into_iter().filter(|(_, _, used)| *used == longest) {
            if let Some(at) = inside.iter().position(|outer| std::ptr::eq(*outer, name)) {
                return Err(circle(&inside[at..], point.span));
            }
            if inside.len() >= DEPTH {
                return Err(Diagnostic::error(
                    Code::TooManyPoints,
                    point.span,
                    format!("aliases inside aliases, more than {DEPTH} deep"),
                ));
            }
            inside.push(name);
            let suffix = &point.components[used..];
            for inner in &alias.points {
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
                        sufficient: inner.sufficient || point.sufficient,
                        trace,
                        name: written,
                    },
                    inside,
                    found,
                )?;
            }
            inside.pop();
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

/// Aliases that stand for each other: `a = b, b = c, c = a`.
fn circle(names: &[&ProbePoint], span: Span) -> Diagnostic {
    let round: Vec<String> = names.iter().chain(names.first()).map(|name| print_probe_point(name)).collect();
    let mut diagnostic = Diagnostic::error(
        Code::AliasCycle,
        span,
        format!("probe aliases go in a circle: {}", round.join(" -> ")),
    );
    for name in names {
        diagnostic = diagnostic.label(name.span, format!("alias {}", print_probe_point(name)));
    }
    diagnostic
}

fn name_with(name: &ProbePoint, suffix: &[ProbePointComponent]) -> Vec<ProbePointComponent> {
    let mut components = name.components.clone();
    components.extend_from_slice(suffix);
    components
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
