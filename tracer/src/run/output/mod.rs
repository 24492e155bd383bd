//! All script output: formats, histograms, globals at the end, messages; and where it goes.

pub mod at_end;
mod files;
pub mod format;
pub mod histogram;
pub mod sink;
