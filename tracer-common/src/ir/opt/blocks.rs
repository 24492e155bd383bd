//! Blocks: jumps through empty ones, blocks that nothing reaches, blocks that can be joined.

use super::inline::for_each_target;
use super::*;
use alloc::vec;

/// Cleans up; tells whether anything changed.
pub(super) fn clean(function: &mut Function) -> bool {
    let mut changed = thread(function);
    changed |= remove_unreachable(function);
    if join(function) {
        // What was joined left empty blocks behind.
        remove_unreachable(function);
        changed = true;
    }
    changed
}

/// Where a jump to a block ends up, through blocks that only jump on.
fn destination(blocks: &[BlockData], mut block: Block) -> Block {
    // An endless loop of empty blocks is left as it is.
    for _ in 0..blocks.len() {
        match &blocks[block.index()] {
            BlockData { insts, term: (Term::Jump(next), _), .. } if insts.is_empty() => block = *next,
            _ => return block,
        }
    }
    block
}

/// Sends jumps past blocks that only jump, and ends blocks where the next would end.
fn thread(function: &mut Function) -> bool {
    let mut changed = false;
    for number in 0..function.blocks.len() {
        let (mut term, mut place) = function.blocks[number].term.clone();
        for_each_target(&mut term, |target| *target = destination(&function.blocks, *target));
        if let Term::Branch { then, otherwise, .. } = term
            && then == otherwise
        {
            term = Term::Jump(then);
        }
        if let Term::Jump(to) = term
            && to.index() != number
        {
            let next = &function.blocks[to.index()];
            // `raise` stays in its block: it goes to that block's catch block.
            if next.insts.is_empty() && matches!(next.term.0, Term::Return(_) | Term::Next) {
                (term, place) = next.term.clone();
            }
        }
        if function.blocks[number].term.0 != term {
            function.blocks[number].term = (term, place);
            changed = true;
        }
    }
    changed
}

fn remove_unreachable(function: &mut Function) -> bool {
    let count = function.blocks.len();
    let mut reached = vec![false; count];
    let mut pending = vec![Block(0)];
    while let Some(block) = pending.pop() {
        if core::mem::replace(&mut reached[block.index()], true) {
            continue;
        }
        let data = &function.blocks[block.index()];
        pending.extend(data.term.0.successors());
        if block_raises(data) {
            pending.extend(data.catch);
        }
    }
    let mut changed = false;
    for (number, block) in function.blocks.iter_mut().enumerate() {
        // Blocks that cannot raise may name a catch block that nothing else reaches.
        if reached[number] && block.catch.is_some_and(|catch| !reached[catch.index()]) {
            block.catch = None;
            changed = true;
        }
    }
    if reached.iter().all(|reached| *reached) {
        return changed;
    }
    let mut numbers = Vec::with_capacity(count);
    let mut next = 0;
    for reached in &reached {
        numbers.push(Block(next));
        next += u32::from(*reached);
    }
    let mut keep = reached.iter();
    function.blocks.retain(|_| keep.next().is_none_or(|reached| *reached));
    for block in &mut function.blocks {
        if let Some(catch) = &mut block.catch {
            *catch = numbers[catch.index()];
        }
        for_each_target(&mut block.term.0, |target| *target = numbers[target.index()]);
    }
    true
}

/// Joins a block with the one that it jumps to, where no other way leads there and both raise to the same block.
/// The emptied blocks are unreachable afterwards.
fn join(function: &mut Function) -> bool {
    let count = function.blocks.len();
    let mut ways = vec![0u32; count];
    ways[0] = 1;
    for block in &function.blocks {
        for next in block.term.0.successors().chain(block.catch) {
            ways[next.index()] = ways[next.index()].saturating_add(1);
        }
    }
    let mut changed = false;
    for number in 0..count {
        loop {
            let block = &function.blocks[number];
            let Term::Jump(next) = block.term.0 else { break };
            if next.index() == number || ways[next.index()] != 1 {
                break;
            }
            let second = &function.blocks[next.index()];
            let catch = match (block_raises(block), block_raises(second)) {
                _ if block.catch == second.catch => block.catch,
                (_, false) => block.catch,
                (false, true) => second.catch,
                (true, true) => break,
            };
            // The second block stays, empty, until the unreachable ones are removed.
            let place = second.term.1;
            let stub = BlockData { catch: None, insts: Vec::new(), term: (Term::Next, place) };
            let second = core::mem::replace(&mut function.blocks[next.index()], stub);
            let block = &mut function.blocks[number];
            block.insts.extend(second.insts);
            block.term = second.term;
            // A catch block that loses its way in is one that nothing reaches.
            block.catch = catch;
            changed = true;
        }
    }
    changed
}
