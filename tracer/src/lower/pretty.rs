//! `$x$` and `$x$$`: what is captured of a variable at a hit, and the text that is made of it later.
//!
//! **Not here:** which parts a variable has (`sema::target_var::pretty`).

use std::vec::IntoIter;

use tracer_common::format::{Conversion, ConversionKind, Part};
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, BinOp, CmpOp, Dest, Inst, LongOp, Space, StrOp, StrVar, Term, Ty as IrTy};

use crate::lower::body::Body;
use crate::sema::program::{Access, Expr, ExprKind, PrettyPart, Target, TargetValue};

/// What a number or a choice that cannot be read shows.
const UNKNOWN: &[u8] = b"?";

/// States of a text that is no address of one: it was read, or it is not known where it would be. No text is at the end
/// of memory.
const READ: i64 = -1;
const NOT_READ: i64 = -2;

/// `%x`
const HEX: Conversion = Conversion::plain(ConversionKind::HexLower);

/// The arms of a choice.
type Arms = [(Option<i64>, Vec<PrettyPart>)];

impl<'p> Body<'_, 'p> {
    /// Captures the values of a pretty-printed variable. Numbers come with a fault flag, texts as strings, choices as what
    /// decides, with its flag, and all that could be meant: which it is, is found out when the text is made.
    pub(super) fn pretty_parts(&mut self, parts: &'p [PrettyPart], target: &'p Target) -> Vec<(Arg, IrTy)> {
        let mut captured = Vec::new();
        self.capture_parts(parts, target, None, &mut captured);
        captured
    }

    /// `meant`: whether it is this that will be shown. Numbers do no harm when not; a text is read only then.
    fn capture_parts(
        &mut self,
        parts: &'p [PrettyPart],
        target: &'p Target,
        meant: Option<LongOp>,
        captured: &mut Vec<(Arg, IrTy)>,
    ) {
        for part in parts {
            match part {
                PrettyPart::Text(_) => {}
                PrettyPart::Number(access, _) => {
                    self.flagged(access, target, captured);
                }
                PrettyPart::Text8(space, address, most) => {
                    self.quoted_text(*space, address, *most, target, meant, captured);
                }
                PrettyPart::TextOf(space, address, length) => {
                    let intrinsic = match space {
                        Space::User => Intrinsic::UserStringN,
                        Space::Kernel => Intrinsic::KernelStringN,
                    };
                    let text = self.text_at(intrinsic, vec![address, length], target, meant);
                    captured.push(text);
                }
                PrettyPart::Choice { of, arms } => {
                    let (value, flag) = self.flagged(of, target, captured);
                    for (n, (_, parts)) in arms.iter().enumerate() {
                        let meant = parts.iter().any(has_text).then(|| {
                            let good = self.compare(CmpOp::Eq, flag, LongOp::Imm(0));
                            let chosen = self.is_chosen(value, arms, n);
                            let inside = self.bin(BinOp::And, good, chosen);
                            meant.map_or(inside, |outside| self.bin(BinOp::And, outside, inside))
                        });
                        self.capture_parts(parts, target, meant, captured);
                    }
                }
                PrettyPart::Elements { length, first } => {
                    let (length, flag) = self.flagged(length, target, captured);
                    for (n, parts) in first.iter().enumerate() {
                        let meant = parts.iter().any(has_text).then(|| {
                            let good = self.compare(CmpOp::Eq, flag, LongOp::Imm(0));
                            let there = self.compare(CmpOp::Gt, length, LongOp::Imm(n as i64));
                            let inside = self.bin(BinOp::And, good, there);
                            meant.map_or(inside, |outside| self.bin(BinOp::And, outside, inside))
                        });
                        self.capture_parts(parts, target, meant, captured);
                    }
                }
            }
        }
    }

    fn flagged(
        &mut self,
        access: &'p Access,
        target: &'p Target,
        captured: &mut Vec<(Arg, IrTy)>,
    ) -> (LongOp, LongOp) {
        let (value, flag) = self.access_or_flag(access, target);
        let flag = flag.unwrap_or(LongOp::Imm(0));
        captured.push((Arg::Long(value), IrTy::Long));
        captured.push((Arg::Long(flag), IrTy::Long));
        (value, flag)
    }

    fn compare(&mut self, op: CmpOp, left: LongOp, right: LongOp) -> LongOp {
        self.make(|dest| Inst::Cmp { op, dest, left, right })
    }

    /// Whether a number chooses an arm.
    fn is_chosen(&mut self, value: LongOp, arms: &Arms, n: usize) -> LongOp {
        match arms[n].0 {
            Some(wanted) => self.compare(CmpOp::Eq, value, LongOp::Imm(wanted)),
            None => arms[..n].iter().filter_map(|(other, _)| *other).fold(LongOp::Imm(1), |all, other| {
                let differs = self.compare(CmpOp::Ne, value, LongOp::Imm(other));
                self.bin(BinOp::And, all, differs)
            }),
        }
    }

    /// A text and what to show: [`READ`], [`NOT_READ`], else the address.
    fn quoted_text(
        &mut self,
        space: Space,
        address: &'p Access,
        most: u32,
        target: &'p Target,
        meant: Option<LongOp>,
        captured: &mut Vec<(Arg, IrTy)>,
    ) {
        let capacity = self.lower.limits.string_len;
        let (dest, state) = (self.f.string(capacity), self.f.long());
        let nothing = StrOp::Lit(self.lower.module.string(b""));
        self.push(Inst::StrCopy { dest, value: nothing });
        self.push(Inst::Copy { dest: state, value: LongOp::Imm(NOT_READ) });
        let after = self.f.block();
        if let Some(condition) = meant {
            let read = self.f.block();
            self.f.end(Term::Branch { condition, then: read, otherwise: after });
            self.f.switch_to(read);
        }
        let (address, flag) = self.access_or_flag(address, target);
        if let Some(condition) = flag {
            let known = self.f.block();
            self.f.end(Term::Branch { condition, then: after, otherwise: known });
            self.f.switch_to(known);
        }
        self.push(Inst::Copy { dest: state, value: address });
        // A pointer to nowhere is no error.
        let somewhere = self.f.block();
        self.f.end(Term::Branch { condition: address, then: somewhere, otherwise: after });
        self.f.switch_to(somewhere);
        let caught = self.f.block();
        let outer = self.f.set_catch(Some(caught));
        let guarded = self.f.block();
        self.f.end(Term::Jump(guarded));
        self.f.switch_to(guarded);
        let (whole, part) = match space {
            Space::User => (Intrinsic::UserString, Intrinsic::UserStringN),
            Space::Kernel => (Intrinsic::KernelString, Intrinsic::KernelStringN),
        };
        let (intrinsic, args) = match most {
            0 => (whole, vec![Arg::Long(address)]),
            most => (part, vec![Arg::Long(address), Arg::Long(LongOp::Imm(i64::from(most)))]),
        };
        self.push(Inst::Call { intrinsic, dest: Some(Dest::Str(dest)), args });
        self.push(Inst::Copy { dest: state, value: LongOp::Imm(READ) });
        self.f.end(Term::Jump(after));
        self.f.set_catch(outer);
        self.f.switch_to(caught);
        self.push(Inst::StrCopy { dest, value: nothing });
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
        captured.push((Arg::Str(StrOp::Var(dest)), IrTy::Str(capacity)));
        captured.push((Arg::Long(LongOp::Var(state)), IrTy::Long));
    }

    fn text_at(
        &mut self,
        intrinsic: Intrinsic,
        args: Vec<&'p Access>,
        target: &'p Target,
        meant: Option<LongOp>,
    ) -> (Arg, IrTy) {
        let capacity = self.lower.limits.string_len;
        let dest = self.f.string(capacity);
        let after = meant.map(|condition| {
            let value = StrOp::Lit(self.lower.module.string(b""));
            self.push(Inst::StrCopy { dest, value });
            let (read, after) = (self.f.block(), self.f.block());
            self.f.end(Term::Branch { condition, then: read, otherwise: after });
            self.f.switch_to(read);
            after
        });
        let args = args.into_iter().map(|access| Arg::Long(self.access(access, target))).collect();
        self.push(Inst::Call { intrinsic, dest: Some(Dest::Str(dest)), args });
        if let Some(after) = after {
            self.f.end(Term::Jump(after));
            self.f.switch_to(after);
        }
        (Arg::Str(StrOp::Var(dest)), IrTy::Str(capacity))
    }

    /// The text of a pretty-printed variable from its captured values.
    pub(super) fn pretty_text(&mut self, expr: &'p Expr, values: Vec<Arg>) -> StrOp {
        let ExprKind::Target(Target { value: TargetValue::Pretty { parts }, .. }) = &expr.kind else {
            panic!("this is a bug: pretty parts were captured for something else");
        };
        let text = self.f.string(self.lower.limits.string_len);
        self.show(text, parts, &mut values.into_iter());
        StrOp::Var(text)
    }

    fn show(&mut self, text: StrVar, parts: &'p [PrettyPart], values: &mut IntoIter<Arg>) {
        for part in parts {
            let right = match part {
                PrettyPart::Text(literal) => {
                    self.append_text(text, literal.as_bytes());
                    continue;
                }
                PrettyPart::Number(_, format) => {
                    let (value, flag) = (values.next(), values.next());
                    self.number_or_question_mark(value, flag, format)
                }
                PrettyPart::Text8(..) => {
                    let (value, state) = (values.next(), values.next());
                    self.quoted_or_address(value, state)
                }
                PrettyPart::TextOf(..) => match values.next() {
                    Some(Arg::Str(value)) => value,
                    _ => panic!("this is a bug: a pretty part lost its text"),
                },
                PrettyPart::Choice { arms, .. } => {
                    self.show_chosen(text, arms, values);
                    continue;
                }
                PrettyPart::Elements { first, .. } => {
                    self.show_elements(text, first, values);
                    continue;
                }
            };
            self.push(Inst::StrConcat { dest: text, left: StrOp::Var(text), right });
        }
    }

    fn show_chosen(&mut self, text: StrVar, arms: &'p Arms, values: &mut IntoIter<Arg>) {
        let (Some(Arg::Long(value)), Some(Arg::Long(flag))) = (values.next(), values.next()) else {
            panic!("this is a bug: a pretty part lost its choice");
        };
        let (bad, good, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition: flag, then: bad, otherwise: good });
        self.f.switch_to(bad);
        self.append_text(text, UNKNOWN);
        self.f.end(Term::Jump(after));
        self.f.switch_to(good);
        for (n, (_, parts)) in arms.iter().enumerate() {
            let condition = self.is_chosen(value, arms, n);
            let (this, next) = (self.f.block(), self.f.block());
            self.f.end(Term::Branch { condition, then: this, otherwise: next });
            self.f.switch_to(this);
            self.show(text, parts, values);
            self.f.end(Term::Jump(after));
            self.f.switch_to(next);
        }
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
    }

    fn show_elements(&mut self, text: StrVar, first: &'p [Vec<PrettyPart>], values: &mut IntoIter<Arg>) {
        let (Some(Arg::Long(length)), Some(Arg::Long(flag))) = (values.next(), values.next()) else {
            panic!("this is a bug: a pretty part lost its length");
        };
        let (bad, good, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition: flag, then: bad, otherwise: good });
        self.f.switch_to(bad);
        self.append_text(text, UNKNOWN);
        self.f.end(Term::Jump(after));
        self.f.switch_to(good);
        self.append_text(text, b"[");
        let last = self.f.block();
        for n in 0..=first.len() {
            let condition = self.compare(CmpOp::Gt, length, LongOp::Imm(n as i64));
            let this = self.f.block();
            self.f.end(Term::Branch { condition, then: this, otherwise: last });
            self.f.switch_to(this);
            if n > 0 {
                self.append_text(text, b", ");
            }
            match first.get(n) {
                Some(parts) => self.show(text, parts, values),
                None => self.append_text(text, b"..."),
            }
        }
        self.f.end(Term::Jump(last));
        self.f.switch_to(last);
        self.append_text(text, b"]");
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
    }

    fn append_text(&mut self, text: StrVar, more: &[u8]) {
        let right = StrOp::Lit(self.lower.module.string(more));
        self.push(Inst::StrConcat { dest: text, left: StrOp::Var(text), right });
    }

    fn quoted_or_address(&mut self, value: Option<Arg>, state: Option<Arg>) -> StrOp {
        let (Some(value @ Arg::Str(_)), Some(Arg::Long(state))) = (value, state) else {
            panic!("this is a bug: a pretty part lost its text");
        };
        let dest = self.f.string(self.lower.limits.string_len);
        let (read, other, unknown, known, after) =
            (self.f.block(), self.f.block(), self.f.block(), self.f.block(), self.f.block());
        let is_read = self.compare(CmpOp::Eq, state, LongOp::Imm(READ));
        self.f.end(Term::Branch { condition: is_read, then: read, otherwise: other });
        self.f.switch_to(read);
        let args = vec![value, Arg::Long(LongOp::Imm(0)), Arg::Long(LongOp::Imm(1))];
        self.push(Inst::Call { intrinsic: Intrinsic::Quote, dest: Some(Dest::Str(dest)), args });
        self.f.end(Term::Jump(after));
        self.f.switch_to(other);
        let is_unknown = self.compare(CmpOp::Eq, state, LongOp::Imm(NOT_READ));
        self.f.end(Term::Branch { condition: is_unknown, then: unknown, otherwise: known });
        self.f.switch_to(unknown);
        let mark = StrOp::Lit(self.lower.module.string(UNKNOWN));
        self.push(Inst::StrCopy { dest, value: mark });
        self.f.end(Term::Jump(after));
        self.f.switch_to(known);
        let parts = vec![Part::Text(b"0x".to_vec()), Part::Conversion(HEX)];
        let format = self.lower.module.format(parts);
        self.push(Inst::Format { dest, format, args: vec![Arg::Long(state)] });
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
        StrOp::Var(dest)
    }

    fn number_or_question_mark(&mut self, value: Option<Arg>, flag: Option<Arg>, format: &[Part]) -> StrOp {
        let (Some(value), Some(Arg::Long(flag))) = (value, flag) else {
            panic!("this is a bug: a pretty part lost its number");
        };
        let dest = self.f.string(32);
        let (bad, good, after) = (self.f.block(), self.f.block(), self.f.block());
        self.f.end(Term::Branch { condition: flag, then: bad, otherwise: good });
        self.f.switch_to(bad);
        let unknown = StrOp::Lit(self.lower.module.string(UNKNOWN));
        self.push(Inst::StrCopy { dest, value: unknown });
        self.f.end(Term::Jump(after));
        self.f.switch_to(good);
        let format = self.lower.module.format(format.to_vec());
        self.push(Inst::Format { dest, format, args: vec![value] });
        self.f.end(Term::Jump(after));
        self.f.switch_to(after);
        StrOp::Var(dest)
    }
}

fn has_text(part: &PrettyPart) -> bool {
    match part {
        PrettyPart::Text(_) | PrettyPart::Number(..) => false,
        PrettyPart::Text8(..) | PrettyPart::TextOf(..) => true,
        PrettyPart::Choice { arms, .. } => arms.iter().flat_map(|(_, parts)| parts).any(has_text),
        PrettyPart::Elements { first, .. } => first.iter().flatten().any(has_text),
    }
}
