//! Where the strings of a function live: small ones in the frame, the rest in a claimed scratch slot.
//!
//! A string register that is appended to, or compared with another register, is read at variable offsets, which
//! kernels before 5.12 refuse in the frame: it goes to the scratch slot whatever its size.
//! A task name that is read once, as a key in the same block, is written straight into that key.
//!
//! **Not here:** claiming the slot (`select::entry`).

use super::select::bytes::area as bytes_area;
use super::select::find::Room;
use super::select::matched::{NUMBER, groups_area};
use super::select::parse::area as parse_area;
use super::select::piece::separators_area;
use super::select::quote::Room as Quoted;
use super::select::stack::area_size;
use super::sent;
use super::unwind;
use alloc::vec;
use alloc::vec::Vec;
use tracer_common::intrinsic::Intrinsic;
use tracer_common::ir::{Arg, Dest, Element, Function, GlobalId, Inst, Module, StrOp, StrVar, Ty, Visitor};
use tracer_common::layout::{Layout, align8};

/// Frame bytes that strings may take.
const FRAME_STRINGS: u32 = 128;
/// Larger strings never live in the frame.
const FRAME_STRING: u32 = 64;
/// Larger keys are built in the scratch slot.
pub(crate) const FRAME_KEY: u32 = 128;

/// The text of a caught error has room for a fault's address, whatever is kept of it.
const LEAST_CAUGHT: u32 = 72;

/// Where one string register lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// In the frame; the number is given by selection.
    Frame,
    /// At this offset of the scratch slot.
    Scratch(u32),
}

/// Where all strings of a function live.
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    pub(crate) homes: Vec<Home>,
    /// Offset in the scratch slot of the area for keys and other temporaries; its size.
    pub(crate) area: (u32, u32),
    /// Offset in the scratch slot of the text of a caught error; its capacity, 0 where nobody asks for it.
    pub(crate) caught: (u32, u32),
    /// Offset in the scratch slot of long registers that wait there for their record.
    pub(crate) sent: Vec<Option<u32>>,
    /// Offset in the scratch slot of the text that `tokenize` takes apart; its size, 0 where nothing does. Behind it, in 8 bytes,
    /// is how far that has come.
    pub(crate) pieces: (u32, u32),
    /// Offset in the scratch slot of what was searched last, and in which pattern; its size, 0 where nobody asks.
    pub(crate) searched: (u32, u32),
    /// Bytes wanted of the scratch slot.
    pub(crate) scratch: u32,
    /// Strings that live in the key of an instruction.
    pub(crate) inside: Vec<Inside>,
}

/// A string that lives in a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Inside {
    pub(crate) var: StrVar,
    /// Block and index of the instruction whose key it is.
    pub(crate) at: (usize, usize),
    /// Offset in the key, and the key's size.
    pub(crate) offset: u32,
    pub(crate) key_size: u32,
}

impl Storage {
    /// Decides for a function.
    pub(crate) fn new(function: &Function, module: &Module, layout: &Layout) -> Storage {
        let mut extra = vec![0u32; function.strings.len()];
        let mut large = vec![false; function.strings.len()];
        let (mut area, mut pieces, mut searched) = (0, 0, 0);
        let capacity = |op: &StrOp| match op {
            StrOp::Var(var) => u32::from(function.strings[var.index()]),
            StrOp::Lit(id) => module.strings[id.index()].len() as u32 + 1,
        };
        for (inst, _) in function.blocks.iter().flat_map(|block| &block.insts) {
            match inst {
                Inst::StrConcat { dest, right, .. } => {
                    // Room for the whole right side after a full left side; then it is cut.
                    large[dest.index()] = true;
                    extra[dest.index()] = extra[dest.index()].max(capacity(right));
                    if as_var(right) == Some(*dest) {
                        area = area.max(align8(capacity(right)));
                    }
                }
                Inst::StrCmp { left, right, .. } => {
                    for var in [left, right].into_iter().filter_map(as_var) {
                        large[var.index()] |= as_var(left).is_some() && as_var(right).is_some();
                    }
                    for op in [left, right] {
                        if let StrOp::Lit(_) = op {
                            area = area.max(align8(capacity(op)));
                        }
                    }
                }
                Inst::Call {
                    intrinsic: Intrinsic::UserBytes | Intrinsic::KernelBytes,
                    dest: Some(Dest::Str(dest)),
                    ..
                } => {
                    large[dest.index()] = true;
                    area = area.max(bytes_area(u32::from(function.strings[dest.index()])));
                }
                Inst::Call { intrinsic: Intrinsic::Isinstr | Intrinsic::Strpos, args, .. } => {
                    if let [Arg::Str(text), Arg::Str(needle)] = args.as_slice() {
                        area = area.max(Room::search(capacity(text), capacity(needle)).size());
                    }
                }
                Inst::Call { intrinsic: Intrinsic::StrReplace, dest: Some(Dest::Str(dest)), args } => {
                    if let [Arg::Str(text), Arg::Str(needle), Arg::Str(with)] = args.as_slice() {
                        let dest = u32::from(function.strings[dest.index()]);
                        let room = Room::replace(capacity(text), capacity(needle), capacity(with), dest);
                        area = area.max(room.size());
                    }
                }
                Inst::Call { intrinsic: Intrinsic::Quote, dest: Some(Dest::Str(dest)), args } => {
                    if let Some(Arg::Str(text)) = args.first() {
                        let dest = u32::from(function.strings[dest.index()]);
                        area = area.max(Quoted::new(capacity(text), dest).size());
                    }
                }
                Inst::Call {
                    intrinsic: Intrinsic::KeepSearch | Intrinsic::SearchText | Intrinsic::SearchNumber,
                    args,
                    ..
                } => {
                    let text = match args.first() {
                        Some(Arg::Str(text)) => capacity(text),
                        _ => 8,
                    };
                    searched = searched.max(NUMBER + align8(text));
                }
                Inst::Call { intrinsic: Intrinsic::Matched, args, .. } => {
                    if let Some(Arg::Str(text)) = args.first() {
                        area = area.max(groups_area(capacity(text)));
                    }
                }
                Inst::Call { intrinsic: Intrinsic::Tokenize, args, .. } => {
                    if let [Arg::Str(text), Arg::Str(separators)] = args.as_slice() {
                        area = area.max(separators_area(capacity(separators)));
                        pieces = pieces.max(parse_area(capacity(text)));
                    }
                }
                Inst::Call { intrinsic: Intrinsic::TokenizeNext, args, .. } => {
                    if let [Arg::Str(separators)] = args.as_slice() {
                        area = area.max(separators_area(capacity(separators)));
                        pieces = pieces.max(parse_area(0));
                    }
                }
                Inst::Call {
                    intrinsic:
                        Intrinsic::Strtol | Intrinsic::Word | Intrinsic::FirstWords | Intrinsic::WordNumber,
                    args,
                    ..
                } => {
                    let texts = args.iter().filter_map(|arg| match arg {
                        Arg::Str(text) => Some(parse_area(capacity(text))),
                        Arg::Long(_) => None,
                    });
                    // And a number.
                    area = area.max(texts.sum::<u32>() + 8);
                }
                Inst::Call { intrinsic: Intrinsic::ModuleBase, .. } => area = area.max(unwind::module::STATE),
                Inst::Call { intrinsic, .. } if intrinsic.takes_stack() => {
                    area = area.max(area_size(module.limits.backtrace));
                }
                _ => {}
            }
            if let Some(element) = elements(inst) {
                let global = &layout.globals[element.global.index()];
                area = area.max(if global.key_size > FRAME_KEY { global.key_size } else { 0 });
                let value = global.value_size + 8;
                if module.globals[element.global.index()].wrap && global.key_size > FRAME_KEY {
                    // Behind key and value, the key of what is dropped.
                    area = area.max(align8(global.key_size) + align8(value) + global.key_size);
                }
                if matches!(inst, Inst::Set { value: Arg::Str(_), .. }) && value > FRAME_KEY {
                    area = area.max(align8(global.key_size) + value);
                }
            }
            if let Inst::Contains { global, .. } | Inst::Delete { global, .. } | Inst::Stat { global, .. } =
                inst
            {
                let size = layout.globals[global.index()].key_size;
                area = area.max(if size > FRAME_KEY { size } else { 0 });
            }
        }
        let mut scratch = 0;
        let mut frame = 0;
        let homes = function
            .strings
            .iter()
            .enumerate()
            .map(|(n, capacity)| {
                let size = align8(u32::from(*capacity));
                if !large[n] && size <= FRAME_STRING && frame + size <= FRAME_STRINGS {
                    frame += size;
                    return Home::Frame;
                }
                let at = scratch;
                scratch += align8(size + extra[n]);
                Home::Scratch(at)
            })
            .collect();
        let storage_area = (scratch, area);
        let texts =
            function.blocks.iter().flat_map(|block| &block.insts).filter_map(|(inst, _)| match inst {
                Inst::Caught { dest } => {
                    Some(align8(u32::from(function.strings[dest.index()])).max(LEAST_CAUGHT))
                }
                _ => None,
            });
        let caught = (scratch + area, texts.max().unwrap_or(0));
        let inside = inside_keys(function, module, layout);
        let (sent, scratch) = sent::homes(function, caught.0 + caught.1);
        let pieces = (scratch, pieces);
        let scratch = pieces.0 + if pieces.1 == 0 { 0 } else { pieces.1 + 8 };
        let searched = (scratch, searched);
        let scratch = searched.0 + searched.1;
        Storage { homes, area: storage_area, caught, sent, pieces, searched, scratch, inside }
    }
}

fn as_var(op: &StrOp) -> Option<StrVar> {
    match op {
        StrOp::Var(var) => Some(*var),
        StrOp::Lit(_) => None,
    }
}

/// The keys of an instruction, with their global; none for slices and scalars.
fn keys(inst: &Inst) -> Option<(GlobalId, Vec<Arg>)> {
    match inst {
        Inst::Contains { global, keys, .. } | Inst::Delete { global, keys } => {
            Some((*global, keys.iter().copied().collect::<Option<Vec<Arg>>>()?))
        }
        _ => elements(inst).map(|element| (element.global, element.keys.clone())),
    }
}

/// Task names that are read once, as a key, after their only writing in the same block.
fn inside_keys(function: &Function, module: &Module, layout: &Layout) -> Vec<Inside> {
    let mut reads = Counts(vec![(0, 0); function.strings.len()]);
    for block in &function.blocks {
        for (inst, _) in &block.insts {
            inst.visit(&mut reads);
        }
        block.term.0.visit(&mut reads);
    }
    let mut found: Vec<Inside> = Vec::new();
    for (b, block) in function.blocks.iter().enumerate() {
        let mut named = Vec::new();
        for (n, (inst, _)) in block.insts.iter().enumerate() {
            if let Inst::Call { intrinsic: Intrinsic::Execname, dest: Some(Dest::Str(var)), .. } = inst
                && reads.0[var.index()] == (1, 1)
            {
                named.push(*var);
            }
            let Some((global, keys)) = keys(inst) else { continue };
            let global_layout = &layout.globals[global.index()];
            // One string for each key: two would have to be told apart by more than their instruction.
            for (k, key) in keys.iter().enumerate() {
                if let Arg::Str(StrOp::Var(var)) = key
                    && named.contains(var)
                    && global_layout.key_size <= FRAME_KEY
                    && module.globals[global.index()].keys[k] == Ty::Str(function.strings[var.index()])
                    && !found.iter().any(|other| other.at == (b, n))
                {
                    let (offset, key_size) = (global_layout.keys[k], global_layout.key_size);
                    found.push(Inside { var: *var, at: (b, n), offset, key_size });
                }
            }
        }
    }
    found
}

/// Reads and writes of each string register.
struct Counts(Vec<(u32, u32)>);

impl Visitor for Counts {
    fn read_str(&mut self, op: &StrOp) {
        if let StrOp::Var(var) = op {
            self.0[var.index()].0 += 1;
        }
    }

    fn write_str(&mut self, var: &StrVar) {
        self.0[var.index()].1 += 1;
    }
}

/// The array element that an instruction names.
fn elements(inst: &Inst) -> Option<&Element> {
    match inst {
        Inst::Get { element, .. }
        | Inst::Set { element, .. }
        | Inst::Update { element, .. }
        | Inst::Bucket { element, .. }
        | Inst::Aggregate { element, .. } => Some(element),
        _ => None,
    }
}

/// The string register that an instruction writes.
pub(crate) fn written(inst: &Inst) -> Option<StrVar> {
    match inst {
        Inst::StrCopy { dest, .. }
        | Inst::StrConcat { dest, .. }
        | Inst::SiteText { dest, .. }
        | Inst::Caught { dest }
        | Inst::Format { dest, .. } => Some(*dest),
        Inst::Call { dest: Some(Dest::Str(dest)), .. } | Inst::Get { dest: Dest::Str(dest), .. } => {
            Some(*dest)
        }
        _ => None,
    }
}
