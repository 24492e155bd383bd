//! Pass 2: names to ids, probe points to places, target variables to accesses, types for everything.

pub mod program;
