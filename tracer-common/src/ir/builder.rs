//! Builders of functions and modules: what pass 3 writes with.
//!
//! Invariants: a block is ended exactly once, nothing follows its end, and every declared function gets its body;
//! breaking one of these is a bug of the caller and panics. Equal literals, formats and places share one id.
//! **Not here:** any check of types, domains or control flow: that is `verify`.

use super::*;
use crate::format::Format;
use crate::intrinsic::Intrinsic;
use crate::limits::Limits;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Collects a [`Module`].
#[derive(Debug)]
pub struct ModuleBuilder {
    module: Module,
    strings: BTreeMap<Vec<u8>, StringId>,
    formats: BTreeMap<Format, FormatId>,
    places: BTreeMap<Place, PlaceId>,
    /// Name of each function that is declared; its body, once defined, is in `bodies`.
    names: Vec<String>,
    bodies: Vec<Option<Function>>,
}

impl ModuleBuilder {
    /// An empty module.
    pub fn new(limits: Limits) -> ModuleBuilder {
        ModuleBuilder {
            module: Module {
                limits,
                globals: Vec::new(),
                strings: Vec::new(),
                formats: Vec::new(),
                records: Vec::new(),
                places: Vec::new(),
                functions: Vec::new(),
                handlers: Vec::new(),
            },
            strings: BTreeMap::new(),
            formats: BTreeMap::new(),
            places: BTreeMap::new(),
            names: Vec::new(),
            bodies: Vec::new(),
        }
    }

    /// Limits that the module is made for.
    pub fn limits(&self) -> &Limits {
        &self.module.limits
    }

    /// The id of a string literal.
    pub fn string(&mut self, text: &[u8]) -> StringId {
        if let Some(id) = self.strings.get(text) {
            return *id;
        }
        let id = StringId(push(&mut self.module.strings, text.into()));
        self.strings.insert(text.into(), id);
        id
    }

    /// The text of a string literal.
    pub fn text(&self, id: StringId) -> &[u8] {
        &self.module.strings[id.index()]
    }

    /// The id of a format.
    pub fn format(&mut self, format: Format) -> FormatId {
        if let Some(id) = self.formats.get(&format) {
            return *id;
        }
        let id = FormatId(push(&mut self.module.formats, format.clone()));
        self.formats.insert(format, id);
        id
    }

    /// The id of a place.
    pub fn place(&mut self, place: Place) -> PlaceId {
        if let Some(id) = self.places.get(&place) {
            return *id;
        }
        let id = PlaceId(push(&mut self.module.places, place.clone()));
        self.places.insert(place, id);
        id
    }

    /// Adds a global.
    pub fn global(&mut self, global: Global) -> GlobalId {
        GlobalId(push(&mut self.module.globals, global))
    }

    /// A global that was added.
    pub fn get_global(&self, id: GlobalId) -> &Global {
        &self.module.globals[id.index()]
    }

    /// A global that was added, to refine it: whether it is shared or ordered is known late.
    pub fn global_mut(&mut self, id: GlobalId) -> &mut Global {
        &mut self.module.globals[id.index()]
    }

    /// Gives a function its id before its body exists, so that it can be called.
    pub fn declare(&mut self, name: &str) -> FuncId {
        self.bodies.push(None);
        FuncId(push(&mut self.names, name.into()))
    }

    /// Gives a declared function its body.
    pub fn define(&mut self, id: FuncId, function: Function) {
        let body = &mut self.bodies[id.index()];
        assert!(body.is_none(), "function {id} ({}) is defined twice: this is a bug", self.names[id.index()]);
        *body = Some(function);
    }

    /// Declares and defines a function.
    pub fn function(&mut self, function: Function) -> FuncId {
        let id = self.declare(&function.name);
        self.define(id, function);
        id
    }

    /// The body of a function, if it is defined yet.
    pub fn body(&self, id: FuncId) -> Option<&Function> {
        self.bodies[id.index()].as_ref()
    }

    /// Adds a record and names its continuation.
    pub fn record(&mut self, fields: Vec<Ty>, continuation: FuncId) -> RecordId {
        RecordId(push(&mut self.module.records, RecordDef { fields, continuation }))
    }

    /// Adds a user-domain handler.
    pub fn handler(&mut self, handler: UserHandler) {
        self.module.handlers.push(handler);
    }

    /// The module. Every declared function must be defined.
    pub fn finish(mut self) -> Module {
        for (name, body) in self.names.iter().zip(self.bodies) {
            let Some(body) = body else {
                panic!("function {name} is declared but not defined: this is a bug")
            };
            self.module.functions.push(body);
        }
        self.module
    }
}

fn push<T>(table: &mut Vec<T>, entry: T) -> u32 {
    table.push(entry);
    (table.len() - 1) as u32
}

/// Collects a [`Function`], block by block. Starts in the entry block, `b0`.
#[derive(Debug)]
pub struct FunctionBuilder {
    /// Its blocks are in `blocks` until the end.
    function: Function,
    blocks: Vec<OpenBlock>,
    current: Block,
    catch: Option<Block>,
    place: PlaceId,
}

#[derive(Debug)]
struct OpenBlock {
    catch: Option<Block>,
    insts: Vec<(Inst, PlaceId)>,
    term: Option<(Term, PlaceId)>,
}

impl FunctionBuilder {
    /// A function without parameters and result; instructions get `place` until [`FunctionBuilder::at`] is called.
    pub fn new(name: &str, domain: Domain, context: ContextKind, place: PlaceId) -> FunctionBuilder {
        let function = Function {
            name: name.into(),
            domain,
            context,
            params: Vec::new(),
            result: None,
            longs: 0,
            strings: Vec::new(),
            iters: 0,
            locks: Vec::new(),
            blocks: Vec::new(),
        };
        let mut builder =
            FunctionBuilder { function, blocks: Vec::new(), current: Block(0), catch: None, place };
        builder.block();
        builder
    }

    /// Where the function runs.
    pub fn domain(&self) -> Domain {
        self.function.domain
    }

    /// What its context is.
    pub fn context(&self) -> ContextKind {
        self.function.context
    }

    /// A new register that receives the next argument.
    pub fn param(&mut self, ty: Ty) -> Dest {
        let dest = self.dest(ty);
        self.function.params.push(dest);
        dest
    }

    /// Sets the type of the result.
    pub fn set_result(&mut self, ty: Option<Ty>) {
        self.function.result = ty;
    }

    /// Asks for the lock of a global; order and repetition do not matter.
    pub fn lock(&mut self, global: GlobalId) {
        if let Err(at) = self.function.locks.binary_search(&global) {
            self.function.locks.insert(at, global);
        }
    }

    /// A new long register.
    pub fn long(&mut self) -> Var {
        self.function.longs += 1;
        Var(self.function.longs - 1)
    }

    /// A new string register; the capacity counts the NUL.
    pub fn string(&mut self, capacity: u16) -> StrVar {
        StrVar(push(&mut self.function.strings, capacity))
    }

    /// A new register of a type.
    pub fn dest(&mut self, ty: Ty) -> Dest {
        match ty {
            Ty::Long => Dest::Long(self.long()),
            Ty::Str(capacity) => Dest::Str(self.string(capacity)),
        }
    }

    /// The capacity of a string register.
    pub fn capacity(&self, var: StrVar) -> u16 {
        self.function.strings[var.index()]
    }

    /// The type of a register.
    pub fn ty(&self, dest: Dest) -> Ty {
        match dest {
            Dest::Long(_) => Ty::Long,
            Dest::Str(var) => Ty::Str(self.capacity(var)),
        }
    }

    /// A new iterator.
    pub fn iter(&mut self) -> Iter {
        self.function.iters += 1;
        Iter(self.function.iters - 1)
    }

    /// A new, empty block, with the catch block that is set now. It does not become the current one.
    pub fn block(&mut self) -> Block {
        Block(push(&mut self.blocks, OpenBlock { catch: self.catch, insts: Vec::new(), term: None }))
    }

    /// Sets the catch block of blocks made from now on; gives the one that was set before.
    pub fn set_catch(&mut self, catch: Option<Block>) -> Option<Block> {
        core::mem::replace(&mut self.catch, catch)
    }

    /// The catch block that new blocks get.
    pub fn catch(&self) -> Option<Block> {
        self.catch
    }

    /// Continues in another block, which may have instructions already, but no end.
    pub fn switch_to(&mut self, block: Block) {
        assert!(
            self.blocks[block.index()].term.is_none(),
            "{}: {block} is ended already: this is a bug",
            self.function.name
        );
        self.current = block;
    }

    /// The block that instructions go to.
    pub fn current(&self) -> Block {
        self.current
    }

    /// Whether the current block has its end: what follows cannot be reached.
    pub fn is_ended(&self) -> bool {
        self.blocks[self.current.index()].term.is_some()
    }

    /// Sets the place of the instructions that follow; gives the one that was set before.
    pub fn at(&mut self, place: PlaceId) -> PlaceId {
        core::mem::replace(&mut self.place, place)
    }

    /// The place that instructions get.
    pub fn place(&self) -> PlaceId {
        self.place
    }

    /// Appends an instruction to the current block.
    pub fn push(&mut self, inst: Inst) {
        let place = self.place;
        let block = self.open("an instruction");
        block.insts.push((inst, place));
    }

    /// `value` in a new register.
    pub fn copy(&mut self, value: impl Into<LongOp>) -> Var {
        let dest = self.long();
        self.push(Inst::Copy { dest, value: value.into() });
        dest
    }

    /// `left op right` in a new register.
    pub fn bin(&mut self, op: BinOp, left: impl Into<LongOp>, right: impl Into<LongOp>) -> Var {
        let dest = self.long();
        self.push(Inst::Bin { op, dest, left: left.into(), right: right.into() });
        dest
    }

    /// A comparison of longs in a new register.
    pub fn cmp(&mut self, op: CmpOp, left: impl Into<LongOp>, right: impl Into<LongOp>) -> Var {
        let dest = self.long();
        self.push(Inst::Cmp { op, dest, left: left.into(), right: right.into() });
        dest
    }

    /// A comparison of strings in a new register.
    pub fn str_cmp(&mut self, op: CmpOp, left: impl Into<StrOp>, right: impl Into<StrOp>) -> Var {
        let dest = self.long();
        self.push(Inst::StrCmp { op, dest, left: left.into(), right: right.into() });
        dest
    }

    /// The value of an element or scalar in a new register of this type.
    pub fn get(&mut self, ty: Ty, global: GlobalId, keys: Vec<Arg>) -> Dest {
        let dest = self.dest(ty);
        self.push(Inst::Get { dest, element: Element { global, keys } });
        dest
    }

    /// Calls an intrinsic; its result, if it has one, is put in a new register of this type.
    pub fn call(&mut self, intrinsic: Intrinsic, ty: Option<Ty>, args: Vec<Arg>) -> Option<Dest> {
        let dest = ty.map(|ty| self.dest(ty));
        self.push(Inst::Call { intrinsic, dest, args });
        dest
    }

    /// Ends the current block.
    pub fn end(&mut self, term: Term) {
        let place = self.place;
        let block = self.open("a second end");
        block.term = Some((term, place));
    }

    /// Ends the current block with a jump.
    pub fn jump(&mut self, to: Block) {
        self.end(Term::Jump(to));
    }

    /// Ends the current block with a jump, unless it is ended already.
    pub fn fall_to(&mut self, to: Block) {
        if !self.is_ended() {
            self.jump(to);
        }
    }

    /// Ends the current block with a branch: to `then` when the condition is not 0.
    pub fn branch(&mut self, condition: impl Into<LongOp>, then: Block, otherwise: Block) {
        self.end(Term::Branch { condition: condition.into(), then, otherwise });
    }

    /// Ends the current block with a return.
    pub fn ret(&mut self, value: Option<Arg>) {
        self.end(Term::Return(value));
    }

    /// The function. Every block must have its end.
    pub fn finish(mut self) -> Function {
        for (index, block) in self.blocks.into_iter().enumerate() {
            let Some(term) = block.term else {
                panic!("{}: b{index} has no end: this is a bug", self.function.name)
            };
            self.function.blocks.push(BlockData { catch: block.catch, insts: block.insts, term });
        }
        self.function
    }

    fn open(&mut self, what: &str) -> &mut OpenBlock {
        let block = &mut self.blocks[self.current.index()];
        assert!(
            block.term.is_none(),
            "{}: {what} after the end of {}: this is a bug",
            self.function.name,
            self.current
        );
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn builder() -> FunctionBuilder {
        FunctionBuilder::new("f", Domain::User, ContextKind::None, PlaceId(0))
    }

    #[test]
    fn blocks_get_the_catch_of_their_time() {
        let mut b = builder();
        let handler = b.block();
        let after = b.block();
        let outer = b.set_catch(Some(handler));
        let body = b.block();
        b.jump(body);
        b.switch_to(body);
        b.at(PlaceId(7));
        let v = b.bin(BinOp::Div, 1, 0);
        b.set_catch(outer);
        b.fall_to(after);
        b.fall_to(after);
        b.switch_to(handler);
        b.jump(after);
        b.switch_to(after);
        b.ret(Some(Arg::Long(v.into())));
        let f = b.finish();
        assert_eq!(f.blocks[body.index()].catch, Some(handler));
        assert_eq!(f.blocks[after.index()].catch, None);
        assert_eq!(f.blocks[body.index()].insts[0].1, PlaceId(7));
        assert_eq!(f.longs, 1);
    }

    #[test]
    #[should_panic(expected = "f: a second end after the end of b0: this is a bug")]
    fn a_block_ends_once() {
        let mut b = builder();
        b.ret(None);
        b.ret(None);
    }

    #[test]
    #[should_panic(expected = "f: b1 has no end: this is a bug")]
    fn every_block_ends() {
        let mut b = builder();
        b.block();
        b.ret(None);
        b.finish();
    }

    #[test]
    fn the_module_interns() {
        let mut m = ModuleBuilder::new(Limits::STAP);
        let place = |start| Place { file: 0, start, end: start + 1, text: "x".into() };
        assert_eq!(m.string(b"a"), m.string(b"a"));
        assert_ne!(m.string(b"a"), m.string(b"b"));
        assert_eq!(m.place(place(1)), m.place(place(1)));
        assert_ne!(m.place(place(1)), m.place(place(2)));
        assert_eq!(m.format(vec![]), m.format(vec![]));
        let callee = m.declare("callee");
        let mut b = builder();
        b.push(Inst::CallFunction { function: callee, dest: None, args: vec![] });
        b.ret(None);
        m.function(b.finish());
        let mut b = builder();
        b.ret(None);
        m.define(callee, b.finish());
        assert_eq!(m.finish().functions.len(), 2);
    }

    #[test]
    #[should_panic(expected = "function lost is declared but not defined: this is a bug")]
    fn declared_means_defined() {
        let mut m = ModuleBuilder::new(Limits::STAP);
        m.declare("lost");
        m.finish();
    }
}
