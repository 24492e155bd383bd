//! Diagnostics to terminal text.
