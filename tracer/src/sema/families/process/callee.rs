//! `.callee("name")`, `.callees`, `.callees(N)`: calls by a function, by those that it calls, and so on, N levels deep.
//!
//! Calls are probed at the call instructions, where the arguments are ready: so the call is the named function's own, or
//! the own one of a function that it calls. Whoever else calls that one does not count: at deeper levels a guard walks
//! up the stack by the call frame information of each caller, and looks whether the return addresses are those of calls
//! that lead down from the named function. It keeps nothing between hits, so it is right in every thread, in recursion,
//! after `longjmp`, and from the first hit on.
//!
//! Source: stapprobes(3stap), "callees(DEPTH)".

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tracer_common::ir::{BinOp, CmpOp, Space};

use super::candidate;
use super::function::{Finder, Variant, declared, declared_copy};
use super::scope::CodeScope;
use crate::debuginfo::dwarf::{DebugInfo, Function, Saved};
use crate::diagnostics::{Code, Diagnostic};
use crate::glob::glob_match;
use crate::sema::family::Candidate;
use crate::sema::program::{Access, Guard};
use crate::sema::target_var::{WORD, plus};

/// Return addresses that a guard compares.
const WAYS: usize = 200;
const RBP: u8 = 6;
const RSP: u8 = 7;
const RIP: u8 = 16;
/// Below the canonical frame address.
const RETURN_ADDRESS: i32 = -8;

/// A call by a function: the instruction, what it returns to, what it calls.
struct Call {
    at: u64,
    back: u64,
    name: String,
    callee: Function,
}

/// The calls of functions down from those that are named.
struct Calls<'i> {
    info: &'i DebugInfo,
    /// By the beginning of the caller.
    by: BTreeMap<u64, Vec<Call>>,
    /// Beginnings of the named functions.
    named: BTreeSet<u64>,
    is_moved: bool,
}

impl Finder<'_> {
    /// The places of calls.
    pub(super) fn callees(
        &self,
        info: &DebugInfo,
        callee: &str,
        levels: u64,
    ) -> Result<Vec<Candidate>, Diagnostic> {
        let functions = self.functions(info);
        if functions.is_empty() {
            return self.nothing(info, &Variant::Plain);
        }
        let mut known = BTreeSet::new();
        let named: BTreeSet<u64> = functions.iter().map(|function| function.low).collect();
        let is_moved = self.program.module.elf.is_moved();
        let mut calls = Calls { info, by: BTreeMap::new(), named, is_moved };
        // Callers, the named functions first, each once.
        let mut callers = functions.clone();
        let mut next = 0;
        for _ in 0..levels {
            let level = next..callers.len();
            next = level.end;
            for n in level {
                let caller = &callers[n];
                if calls.by.contains_key(&caller.low) {
                    continue;
                }
                let made = self.calls_of(info, caller, callee, &mut known);
                let low = caller.low;
                callers.extend(made.iter().map(|call| call.callee.clone()));
                calls.by.insert(low, made);
            }
        }
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for caller in callers.iter().filter(|caller| seen.insert(caller.low)) {
            let Some(made) = calls.by.get(&caller.low) else { continue };
            for call in made {
                let Some(offset) = self.program.module.elf.file_offset(call.at) else { continue };
                let Some(guard) = self.guard(&calls, caller, call.at, levels)? else { continue };
                let scope =
                    CodeScope::at_call(&self.program.module, info.entry_instance(&call.callee), call.at);
                let suffix = callee_of(&call.name, &declared(info, &call.callee));
                let point = self.point(info, caller, &suffix);
                let place = candidate(self.program, offset, point, &call.name, Rc::new(scope));
                found.push(Candidate { guard, ..place });
            }
            for copy in &info.inlined_into(caller) {
                known.insert(copy.name.clone());
                if glob_match(callee, &copy.name)
                    && let Some(mut place) = self.copy(info, copy, "")
                    && let Some(guard) = self.guard(&calls, caller, copy.low, levels)?
                {
                    let suffix = callee_of(&copy.name, &declared_copy(info, copy));
                    place.site.probe_point = self.point(info, caller, &suffix);
                    found.push(Candidate { guard, ..place });
                }
            }
        }
        if found.is_empty() {
            let mut diagnostic = Diagnostic::error(
                Code::ProbePoint,
                self.what.span,
                format!("{} calls no function {callee} that can be probed", self.pattern.function),
            );
            diagnostic = if known.is_empty() {
                diagnostic.hint("only optimised code says what it calls: build with -O1 or more")
            } else {
                diagnostic.hint(format!("it calls {}", known.into_iter().collect::<Vec<_>>().join(", ")))
            };
            return Err(diagnostic);
        }
        Ok(found)
    }

    /// The calls of a function whose callees fit.
    fn calls_of(
        &self,
        info: &DebugInfo,
        caller: &Function,
        callee: &str,
        known: &mut BTreeSet<String>,
    ) -> Vec<Call> {
        let mut found = Vec::new();
        for (name, back) in info.calls(caller) {
            known.insert(name.clone());
            if glob_match(callee, &name)
                && let Some((at, target)) = self.program.module.elf.call_before(back)
                && let Some(callee) = info.function_at(target).filter(|f| f.low == target)
            {
                found.push(Call { at, back, name, callee });
            }
        }
        found
    }

    /// What lets only those hits of an instruction of a function through that come down from a named one; `None` when
    /// there is no way down.
    fn guard(
        &self,
        calls: &Calls<'_>,
        caller: &Function,
        at: u64,
        levels: u64,
    ) -> Result<Option<Guard>, Diagnostic> {
        let mut guard = self.program.guard.clone();
        if calls.named.contains(&caller.low) {
            return Ok(Some(guard));
        }
        let frame = Frame { at, stack: register(RSP), pointer: Some(register(RBP)) };
        let mut ways = Ways { calls, hit: at, left: WAYS, guard: &mut guard };
        match ways.down_to(caller, &frame, levels - 1) {
            Ok(Some(came)) => guard.test(came),
            Ok(None) => return Ok(None),
            Err(TooMany) => {
                let message = format!(
                    "there are more than {WAYS} ways from {} to calls by {}",
                    self.pattern.function, caller.name
                );
                return Err(Diagnostic::error(Code::ProbePoint, self.what.span, message)
                    .hint("ask for fewer levels: .callees(2)"));
            }
        }
        Ok(Some(guard))
    }
}

fn callee_of(name: &str, declared: &str) -> String {
    format!(".callee(\"{name}{declared}\")")
}

/// A function's frame while it calls something.
struct Frame {
    /// An instruction that belongs to it.
    at: u64,
    stack: Access,
    /// The frame pointer, where it is known.
    pointer: Option<Access>,
}

fn register(number: u8) -> Access {
    Access::Register(number, WORD)
}

struct TooMany;

/// The ways by which a hit may have come.
struct Ways<'w, 'i> {
    calls: &'w Calls<'i>,
    /// Where the hit is.
    hit: u64,
    left: usize,
    guard: &'w mut Guard,
}

impl Ways<'_, '_> {
    /// Whether a function was called by a named one, over so many calls at the most.
    fn down_to(&mut self, function: &Function, frame: &Frame, calls: u64) -> Result<Option<Access>, TooMany> {
        let Some(step) = self.calls.info.step(frame.at) else { return Ok(None) };
        let base = match step.cfa {
            (RSP, offset) => Some(plus(frame.stack.clone(), offset)),
            (RBP, offset) => frame.pointer.clone().map(|pointer| plus(pointer, offset)),
            _ => None,
        };
        let Some(base) = base else { return Ok(None) };
        let callers = self.calls.by.iter().flat_map(|(low, made)| made.iter().map(move |call| (*low, call)));
        let callers: Vec<(u64, &Call)> =
            callers.filter(|(_, call)| call.callee.low == function.low).collect();
        if calls == 0 || callers.is_empty() {
            return Ok(None);
        }
        let base = self.guard.keep(base);
        let back = self.guard.keep(word(&base, RETURN_ADDRESS));
        let mut came: Option<Access> = None;
        for (low, call) in callers {
            self.left = self.left.checked_sub(1).ok_or(TooMany)?;
            let address = if self.calls.is_moved {
                plus(register(RIP), call.back.wrapping_sub(self.hit) as i64)
            } else {
                Access::Constant(call.back as i64)
            };
            let mut way = Access::Compare(CmpOp::Eq, Box::new(back.clone()), Box::new(address));
            if !self.calls.named.contains(&low) {
                let pointer = match step.pointer {
                    Saved::Kept => frame.pointer.clone(),
                    Saved::At(offset) => i32::try_from(offset).ok().map(|offset| word(&base, offset)),
                    Saved::Unknown => None,
                };
                // The call itself belongs to the caller; what it returns to may not.
                let above = Frame { at: call.back - 1, stack: base.clone(), pointer };
                let Some(caller) = self.calls.info.function_at(low) else { continue };
                let Some(came) = self.down_to(&caller.clone(), &above, calls - 1)? else { continue };
                way = Access::Binary(BinOp::And, Box::new(way), Box::new(came));
            }
            came = Some(match came {
                Some(other) => Access::Binary(BinOp::Or, Box::new(other), Box::new(way)),
                None => way,
            });
        }
        Ok(came)
    }
}

fn word(base: &Access, offset: i32) -> Access {
    Access::Load { space: Space::User, address: Box::new(base.clone()), offset, width: WORD }
}
