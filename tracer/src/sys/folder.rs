//! Folders of this user alone, held by descriptors: nobody can put a link, or another folder, in between.
//!
//! What is in them is reached below `/proc/self/fd`, which leads to the folder itself, wherever it is by now.
//!
//! **Not here:** what is kept in them (`cache`).

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder that this user owns, and nobody else can write to.
#[derive(Debug)]
pub struct Folder(File);

/// Other users' right to write.
const OTHERS_WRITE: u32 = 0o022;

impl Folder {
    /// Opens a folder below one that is there; those between are made when they are not. `Err` says what is wrong.
    pub fn open(base: &Path, below: &[&str]) -> Result<Folder, String> {
        let mut path = base.to_owned();
        let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let mut folder = Folder(directory(base, 0).map_err(|error| told(base, error))?);
        folder.is_ours(&path)?;
        for name in below {
            path.push(name);
            let inside = folder.path(name);
            match DirBuilder::new().mode(0o700).create(&inside) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(told(&path, error)),
                _ => {}
            }
            folder =
                Folder(directory(&inside, libc::O_NOFOLLOW).map_err(|error| match error.raw_os_error() {
                    Some(libc::ENOTDIR | libc::ELOOP) => {
                        format!("{} is no folder, but a link or something else", path.display())
                    }
                    _ => told(&path, error),
                })?);
            folder.is_ours(&path)?;
        }
        Ok(folder)
    }

    fn is_ours(&self, path: &Path) -> Result<(), String> {
        let metadata = self.0.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
        match () {
            () if metadata.uid() != user() => {
                Err(format!("{} belongs to another user (number {})", path.display(), metadata.uid()))
            }
            () if metadata.mode() & OTHERS_WRITE != 0 => {
                Err(format!("other users can write to {}", path.display()))
            }
            () => Ok(()),
        }
    }

    /// The path of something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }

    /// Opens a file of this user in it; links are not followed. `None` when there is no such thing.
    pub fn file(&self, name: &str) -> Option<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags).open(self.path(name)).ok()?;
        let metadata = file.metadata().ok()?;
        let is_ours = metadata.uid() == user() && metadata.mode() & OTHERS_WRITE == 0;
        (metadata.is_file() && is_ours).then_some(file)
    }

    /// Makes a file that was not there.
    pub fn create(&self, name: &str) -> io::Result<File> {
        File::options().write(true).create_new(true).mode(0o600).open(self.path(name))
    }

    /// Gives a file another name, whatever had it before.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    /// Names of what is in it, in no order.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

fn directory(path: &Path, flags: i32) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | flags).open(path)
}

/// The user whose rights this process has.
fn user() -> u32 {
    // SAFETY: it only tells a number.
    unsafe { libc::geteuid() }
}
