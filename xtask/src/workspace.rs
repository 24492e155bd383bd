//! Where things are: the checkout, its target folder, the user's cache.

use std::path::{Path, PathBuf};

/// The checkout that this program was built from.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where guest kernels stay between runs: `$TRACER_VM_CACHE`, else a folder in the user's cache.
pub fn cache() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("TRACER_VM_CACHE") {
        return Ok(dir.into());
    }
    let base = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => return Err("neither TRACER_VM_CACHE nor HOME is set".into()),
    };
    Ok(base.join("tracer-vm"))
}
