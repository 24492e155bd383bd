//! The kernels of the matrix, fetched from Debian once and kept in the user's cache.
//!
//! To add one: a variant, its row in `ROWS`, its name in the command line's help and in `docs/testing.md`.
//!
//! **Not here:** booting them (`guest`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::package::Suite;
use crate::workspace;

/// A kernel release, and the Debian suite whose cloud kernel it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kernel {
    /// The oldest that tracer runs on: no attach cookies, no multi links.
    V5_10,
    /// Full function; Debian's build has no multi links.
    V6_1,
    /// kprobe_multi and uprobe_multi.
    V6_12,
    /// The newest.
    V7_2,
}

struct Row {
    kernel: Kernel,
    name: &'static str,
    suite: &'static str,
    /// The image's files come in packages of their own instead of in `linux-image`.
    split: bool,
}

const ROWS: &[Row] = &[
    Row { kernel: Kernel::V5_10, name: "5.10", suite: "bullseye", split: false },
    Row { kernel: Kernel::V6_1, name: "6.1", suite: "bookworm", split: false },
    Row { kernel: Kernel::V6_12, name: "6.12", suite: "trixie", split: false },
    Row { kernel: Kernel::V7_2, name: "7.2", suite: "forky", split: true },
];

/// Some of the kernels.
#[derive(Clone, Debug)]
pub struct Matrix(Vec<Kernel>);

impl Matrix {
    /// Reads `all` or release names between commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(ROWS.iter().map(|row| row.kernel).collect()));
        }
        let find = |name: &str| {
            let row = ROWS.iter().find(|row| row.name == name.trim());
            row.map(|row| row.kernel)
                .ok_or_else(|| format!("no kernel {name}: expected 5.10, 6.1, 6.12, 7.2 or all"))
        };
        text.split(',').map(find).collect::<Result<_, _>>().map(Self)
    }

    /// The kernels, oldest first.
    pub fn kernels(&self) -> &[Kernel] {
        &self.0
    }
}

impl Kernel {
    fn row(self) -> &'static Row {
        let row = ROWS.iter().find(|row| row.kernel == self);
        row.unwrap_or(&ROWS[0])
    }

    /// The release, as users say it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The bootable image, from the cache or from Debian.
    pub fn fetch(self) -> Result<PathBuf, String> {
        let row = self.row();
        let kept = workspace::cache()?.join(row.name);
        let image = kept.join("vmlinuz");
        if image.exists() {
            return Ok(image);
        }
        println!("fetching kernel {} ({})", row.name, row.suite);
        // Unpacked beside its place and renamed, so that an interrupted download leaves nothing that looks whole.
        let work = kept.with_file_name(format!("{}.{}", row.name, std::process::id()));
        let result = unpack(row, &work).and_then(|found| {
            let io = |e: std::io::Error| format!("{}: {e}", kept.display());
            fs::create_dir_all(&kept).map_err(io)?;
            fs::rename(&found, &image).map_err(io)
        });
        let _ = fs::remove_dir_all(&work);
        result.map_err(|why| format!("kernel {}: {why}", row.name))?;
        Ok(image)
    }
}

/// Downloads the packages of a row's kernel and returns the image's path inside `work`.
fn unpack(row: &Row, work: &Path) -> Result<PathBuf, String> {
    let suite = Suite::open(row.suite, work)?;
    let depends = suite.depends("linux-image-cloud-amd64")?;
    let image = depends.iter().find(|name| name.starts_with("linux-image-"));
    let image = image.ok_or("linux-image-cloud-amd64 names no image")?;
    let package =
        if row.split { image.replace("linux-image-", "linux-binary-unsigned-") } else { image.clone() };
    let root = work.join("root");
    fs::create_dir_all(&root).map_err(|e| e.to_string())?;
    suite.unpack(&[package], &root)?;
    find(&root).ok_or_else(|| format!("{image} has no vmlinuz"))
}

fn find(dir: &Path) -> Option<PathBuf> {
    let mut below = Vec::new();
    for path in fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() {
            below.push(path);
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")) {
            return Some(path);
        }
    }
    below.iter().find_map(|dir| find(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices() {
        assert_eq!(Matrix::parse("all").expect("all").kernels().len(), ROWS.len());
        assert_eq!(Matrix::parse("6.1,7.2").expect("two").kernels(), [Kernel::V6_1, Kernel::V7_2]);
        assert!(Matrix::parse("6.2").is_err());
    }
}
