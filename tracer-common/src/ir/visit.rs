//! One walk over everything that an instruction names: registers read and written, literals, iterators.
//!
//! Invariant: operands that are read come before the registers that are written. The walk by reference and the walk
//! by mutable reference are the same text.
//! **Not here:** blocks; see [`Term::successors`].

use super::*;

/// Told of what an instruction names.
pub trait Visitor {
    /// A long operand is read.
    fn read_long(&mut self, _: &LongOp) {}
    /// A string operand is read.
    fn read_str(&mut self, _: &StrOp) {}
    /// A long register is written.
    fn write_long(&mut self, _: &Var) {}
    /// A string register is written.
    fn write_str(&mut self, _: &StrVar) {}
    /// An iterator is started or stepped.
    fn iter(&mut self, _: &Iter) {}
}

/// May change what an instruction names.
pub trait VisitorMut {
    /// A long operand is read.
    fn read_long(&mut self, _: &mut LongOp) {}
    /// A string operand is read.
    fn read_str(&mut self, _: &mut StrOp) {}
    /// A long register is written.
    fn write_long(&mut self, _: &mut Var) {}
    /// A string register is written.
    fn write_str(&mut self, _: &mut StrVar) {}
    /// An iterator is started or stepped.
    fn iter(&mut self, _: &mut Iter) {}
}

macro_rules! walks {
    ($name:ident, $visitor:ident, $arg:ident, $args:ident, $keys:ident, $dest:ident $(, $mutable:tt)?) => {
        fn $arg<V: $visitor + ?Sized>(v: &mut V, arg: &$($mutable)? Arg) {
            match arg {
                Arg::Long(op) => v.read_long(op),
                Arg::Str(op) => v.read_str(op),
            }
        }

        fn $args<V: $visitor + ?Sized>(v: &mut V, args: &$($mutable)? [Arg]) {
            for arg in args {
                $arg(v, arg);
            }
        }

        fn $keys<V: $visitor + ?Sized>(v: &mut V, keys: &$($mutable)? [Key]) {
            for arg in keys.into_iter().flatten() {
                $arg(v, arg);
            }
        }

        fn $dest<V: $visitor + ?Sized>(v: &mut V, dest: &$($mutable)? Dest) {
            match dest {
                Dest::Long(var) => v.write_long(var),
                Dest::Str(var) => v.write_str(var),
            }
        }

        impl Inst {
            /// Tells the visitor of every operand, in the order of the text form, then of every result.
            pub fn $name<V: $visitor + ?Sized>(&$($mutable)? self, v: &mut V) {
                match self {
                    Inst::Copy { dest, value } | Inst::Extend { dest, value, width: _ } => {
                        v.read_long(value);
                        v.write_long(dest);
                    }
                    Inst::Bin { op: _, dest, left, right } | Inst::Cmp { op: _, dest, left, right } => {
                        v.read_long(left);
                        v.read_long(right);
                        v.write_long(dest);
                    }
                    Inst::StrCopy { dest, value } => {
                        v.read_str(value);
                        v.write_str(dest);
                    }
                    Inst::StrConcat { dest, left, right } => {
                        v.read_str(left);
                        v.read_str(right);
                        v.write_str(dest);
                    }
                    Inst::StrCmp { op: _, dest, left, right } => {
                        v.read_str(left);
                        v.read_str(right);
                        v.write_long(dest);
                    }
                    Inst::Call { intrinsic: _, dest, args } | Inst::CallFunction { function: _, dest, args } => {
                        $args(v, args);
                        if let Some(dest) = dest {
                            $dest(v, dest);
                        }
                    }
                    Inst::Context { dest, source: _, width: _ } | Inst::Site { dest } => v.write_long(dest),
                    Inst::Load { dest, space: _, address, offset: _, width: _, on_fault } => {
                        v.read_long(address);
                        v.write_long(dest);
                        match on_fault {
                            OnFault::Raise | OnFault::Zero => {}
                            OnFault::Flag(flag) => v.write_long(flag),
                        }
                    }
                    Inst::SiteText { dest, fact: _ } | Inst::Caught { dest } => v.write_str(dest),
                    Inst::VarsText { dest, list: _, values } => {
                        for (value, flag) in values {
                            v.read_long(value);
                            v.read_long(flag);
                        }
                        v.write_str(dest);
                    }
                    Inst::Get { dest, element } => {
                        $args(v, &$($mutable)? element.keys);
                        $dest(v, dest);
                    }
                    Inst::Set { element, value } => {
                        $args(v, &$($mutable)? element.keys);
                        $arg(v, value);
                    }
                    Inst::Update { op: _, element, value, old, new } => {
                        $args(v, &$($mutable)? element.keys);
                        v.read_long(value);
                        for var in [old, new].into_iter().flatten() {
                            v.write_long(var);
                        }
                    }
                    Inst::Contains { dest, global: _, keys } | Inst::Stat { dest, op: _, global: _, keys } => {
                        $keys(v, keys);
                        v.write_long(dest);
                    }
                    Inst::Delete { global: _, keys } => $keys(v, keys),
                    Inst::Clear { global: _ } | Inst::Enter | Inst::Tick { count: _ } => {}
                    Inst::Aggregate { element, value } => {
                        $args(v, &$($mutable)? element.keys);
                        v.read_long(value);
                    }
                    Inst::Bucket { dest, hist: _, element, index } => {
                        $args(v, &$($mutable)? element.keys);
                        v.read_long(index);
                        v.write_long(dest);
                    }
                    Inst::PrintHist { hist: _, element } => $args(v, &$($mutable)? element.keys),
                    Inst::HistText { dest, hist: _, element } => {
                        $args(v, &$($mutable)? element.keys);
                        v.write_str(dest);
                    }
                    Inst::Format { dest, format: _, args } => {
                        $args(v, args);
                        v.write_str(dest);
                    }
                    Inst::Print { format: _, args } => $args(v, args),
                    Inst::Emit { record: _, values } => $args(v, values),
                    Inst::Iterate { iter, global: _, keys, sort: _, limit } => {
                        v.iter(iter);
                        $keys(v, keys);
                        if let Some(limit) = limit {
                            v.read_long(limit);
                        }
                    }
                    Inst::IterateHist { iter, hist: _, element, sort: _, limit } => {
                        v.iter(iter);
                        $args(v, &$($mutable)? element.keys);
                        if let Some(limit) = limit {
                            v.read_long(limit);
                        }
                    }
                }
            }
        }

        impl Term {
            /// Tells the visitor of every operand, then of every result.
            pub fn $name<V: $visitor + ?Sized>(&$($mutable)? self, v: &mut V) {
                match self {
                    Term::Jump(_) | Term::Next | Term::Return(None) => {}
                    Term::Branch { condition, then: _, otherwise: _ } => v.read_long(condition),
                    Term::Return(Some(value)) => $arg(v, value),
                    Term::Raise(message) => v.read_str(message),
                    Term::IterNext { iter, keys, value, body: _, done: _ } => {
                        v.iter(iter);
                        for dest in keys {
                            $dest(v, dest);
                        }
                        if let Some(dest) = value {
                            $dest(v, dest);
                        }
                    }
                }
            }
        }
    };
}

walks!(visit, Visitor, arg, args, keys, dest);
walks!(visit_mut, VisitorMut, arg_mut, args_mut, keys_mut, dest_mut, mut);

/// How many registers and iterators the instructions of a function need at least.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// Long registers.
    pub longs: u32,
    /// String registers.
    pub strings: u32,
    /// Iterators.
    pub iters: u32,
}

impl Registers {
    /// Of a function's parameters and instructions.
    pub fn of(function: &Function) -> Registers {
        let mut registers = Registers::default();
        for param in &function.params {
            dest(&mut registers, param);
        }
        for block in &function.blocks {
            for (inst, _) in &block.insts {
                inst.visit(&mut registers);
            }
            block.term.0.visit(&mut registers);
        }
        registers
    }
}

fn raise(count: &mut u32, number: u32) {
    *count = (*count).max(number.saturating_add(1));
}

impl Visitor for Registers {
    fn read_long(&mut self, op: &LongOp) {
        if let LongOp::Var(var) = op {
            raise(&mut self.longs, var.0);
        }
    }
    fn read_str(&mut self, op: &StrOp) {
        if let StrOp::Var(var) = op {
            raise(&mut self.strings, var.0);
        }
    }
    fn write_long(&mut self, var: &Var) {
        raise(&mut self.longs, var.0);
    }
    fn write_str(&mut self, var: &StrVar) {
        raise(&mut self.strings, var.0);
    }
    fn iter(&mut self, iter: &Iter) {
        raise(&mut self.iters, iter.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn changes_and_sees_the_same_operands() {
        struct Shift;
        impl VisitorMut for Shift {
            fn read_long(&mut self, op: &mut LongOp) {
                if let LongOp::Var(var) = op {
                    var.0 += 10;
                }
            }
            fn write_long(&mut self, var: &mut Var) {
                var.0 += 10;
            }
        }
        let keys = vec![Arg::Long(Var(1).into()), Arg::Str(StrVar(2).into())];
        let element = Element { global: GlobalId(0), keys };
        let mut inst =
            Inst::Update { op: UpdateOp::Add, element, value: 5.into(), old: Some(Var(3)), new: None };
        let mut registers = Registers::default();
        inst.visit(&mut registers);
        assert_eq!(registers, Registers { longs: 4, strings: 3, iters: 0 });
        inst.visit_mut(&mut Shift);
        inst.visit(&mut registers);
        assert_eq!(registers, Registers { longs: 14, strings: 3, iters: 0 });
    }
}
