//! Every target of `cargo xtask fuzz` answers all texts that a run begins with, and a moment's worth of damaged ones.
//!
//! **Not here:** the long runs.

use clap::ValueEnum;
use xtask::fuzz::{Options, Target, run};

#[test]
fn no_target_breaks_at_once() {
    for target in Target::value_variants().iter().copied() {
        let result = run(&Options { target, minutes: 0.02, seed: 3 });
        assert_eq!(result, Ok(()), "{}", target.name());
    }
}
