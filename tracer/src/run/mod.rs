//! Pass 5: loads the programs, runs the handlers, prints.
//!
//! Rooms, in reading order: `value`, `globals`, `eval/` (user-domain IR), `output/` (all script output).

pub mod eval;
pub mod globals;
pub mod output;
pub mod value;
