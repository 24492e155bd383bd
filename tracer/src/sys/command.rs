//! The command of `-c`: held until the probes are armed, and what became of it.
//!
//! The child is forked at once, so that its process id is known, but waits on a pipe before it executes the command:
//! no instruction of the traced program runs before [`Child::release`].
//!
//! A command of plain and quoted words is executed directly: its process is the traced program from its first
//! instruction. One with expansions (`*`, `$x`, `~`) is `exec`ed by a shell, so that the process becomes the program
//! all the same; only one with pipes, lists or redirections stays a shell, whose children are processes of their own.
//!
//! **Not here:** waiting for processes (`process::Waiter`).

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// How a command is executed.
#[derive(Clone, PartialEq, Eq, Debug)]
enum How {
    /// These words.
    Direct(Vec<String>),
    /// By a shell that becomes the program.
    Exec,
    /// By a shell that stays.
    Shell,
}

impl How {
    fn of(command: &str) -> How {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut expands = false;
        let mut chars = command.chars();
        while let Some(c) = chars.next() {
            match c {
                '|' | '&' | ';' | '<' | '>' | '(' | ')' | '\n' | '#' | '`' => return How::Shell,
                '$' | '*' | '?' | '[' | '~' | '{' => {
                    expands = true;
                    word.get_or_insert_default().push(c);
                }
                ' ' | '\t' => words.extend(word.take()),
                '\'' => {
                    let word = word.get_or_insert_default();
                    loop {
                        match chars.next() {
                            Some('\'') => break,
                            Some(c) => word.push(c),
                            // The shell will say what is wrong with it.
                            None => return How::Shell,
                        }
                    }
                }
                '"' => {
                    let word = word.get_or_insert_default();
                    loop {
                        match chars.next() {
                            Some('"') => break,
                            Some('$' | '`') => expands = true,
                            Some('\\') => match chars.next() {
                                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                                Some(c) => word.extend(['\\', c]),
                                None => return How::Shell,
                            },
                            Some(c) => word.push(c),
                            None => return How::Shell,
                        }
                    }
                }
                '\\' => match chars.next() {
                    Some(c) => word.get_or_insert_default().push(c),
                    None => return How::Shell,
                },
                c => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        // `exec` takes no assignments before the command.
        if words.first().is_some_and(|first| first.contains('=')) {
            How::Shell
        } else if expands {
            How::Exec
        } else {
            How::Direct(words)
        }
    }
}

/// The program that a command runs, as far as that can be told without a shell.
pub fn program(command: &str) -> Option<String> {
    match How::of(command) {
        How::Direct(words) => words.into_iter().next(),
        How::Exec | How::Shell => command.split_whitespace().next().map(str::to_owned),
    }
}

/// Whether a command's process runs that program from its first instruction.
pub fn is_direct(command: &str) -> bool {
    matches!(How::of(command), How::Direct(_))
}

/// How a command ended, when that was not well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Its exit status, not 0.
    Status(i32),
    /// The signal that ended it.
    Signal(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Status(status) => write!(f, "exited with status {status}"),
            Ended::Signal(signal) => write!(f, "exited with signal {signal}"),
        }
    }
}

/// A command that waits to be released.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    /// The process becomes the program itself, not a shell that starts it.
    direct: bool,
    gate: Option<OwnedFd>,
    /// Tells the error of `execvp`; closed by its success.
    failure: OwnedFd,
    reaped: bool,
}

impl Child {
    /// Forks a child that will run a command.
    pub fn hold(command: &str) -> io::Result<Child> {
        let how = How::of(command);
        let words = match &how {
            How::Direct(words) => words.clone(),
            How::Exec => vec!["sh".into(), "-c".into(), format!("exec {command}")],
            How::Shell => vec!["sh".into(), "-c".into(), command.into()],
        };
        let words: Vec<CString> = words.into_iter().map(CString::new).collect::<Result<_, _>>()?;
        if words.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        }
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let (read, write) = pipe()?;
        let (failure, fails) = pipe()?;
        // SAFETY: the child calls only async-signal-safe functions, on memory prepared before the fork.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        if pid == 0 {
            // SAFETY: as above; `execvp` searches PATH with memory that the parent prepared.
            unsafe {
                libc::close(write.as_raw_fd());
                let mut byte = 0u8;
                let got = libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1);
                if got == 1 {
                    libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                    libc::execvp(pointers[0], pointers.as_ptr());
                    let errno = (*libc::__errno_location()).to_ne_bytes();
                    libc::write(fails.as_raw_fd(), errno.as_ptr().cast(), errno.len());
                }
                libc::_exit(127);
            }
        }
        Ok(Child { pid: pid as u32, direct: how != How::Shell, gate: Some(write), failure, reaped: false })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process becomes the traced program itself: a shell's children are processes of their own.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Lets it run; an error when it cannot be executed.
    pub fn release(&mut self) -> io::Result<()> {
        let Some(gate) = self.gate.take() else { return Ok(()) };
        // SAFETY: writes one byte to a pipe of ours.
        if unsafe { libc::write(gate.as_raw_fd(), b"g".as_ptr().cast(), 1) } != 1 {
            return Err(io::Error::last_os_error());
        }
        let mut errno = [0u8; 4];
        // SAFETY: reads into memory of ours; ends when the child has executed the command, or cannot.
        let got = unsafe { libc::read(self.failure.as_raw_fd(), errno.as_mut_ptr().cast(), errno.len()) };
        if got == errno.len() as isize {
            return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
        }
        Ok(())
    }

    /// How it ended, when it has ended and that was not well.
    pub fn ended(&mut self) -> Option<Ended> {
        let mut status = 0;
        // SAFETY: names our own child, which nobody else waits for.
        if self.reaped || unsafe { libc::waitpid(self.pid as i32, &raw mut status, libc::WNOHANG) } <= 0 {
            return None;
        }
        self.reaped = true;
        if libc::WIFSIGNALED(status) {
            return Some(Ended::Signal(libc::WTERMSIG(status)));
        }
        let status = libc::WEXITSTATUS(status);
        (status != 0).then_some(Ended::Status(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // A child that was never released sees the gate close and ends by itself; one that runs on is told to end.
        if self.gate.take().is_none() && !self.reaped {
            let mut status = 0;
            // SAFETY: both calls name our own child, which nobody else waits for.
            unsafe {
                if libc::waitpid(self.pid as i32, &raw mut status, libc::WNOHANG) == 0 {
                    libc::kill(self.pid as i32, libc::SIGTERM);
                }
            }
        }
    }
}

/// A pipe that programs do not inherit: its reading and its writing end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors are new and ours.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(words: &[&str]) -> How {
        How::Direct(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn plain_and_quoted_words_need_no_shell() {
        assert_eq!(How::of("dd if=/dev/zero  count=3"), direct(&["dd", "if=/dev/zero", "count=3"]));
        assert_eq!(
            How::of(r#"echo 'a b' "c \"d\"" e\ f """#),
            direct(&["echo", "a b", "c \"d\"", "e f", ""])
        );
        assert_eq!(How::of("  "), direct(&[]));
        assert_eq!(How::of("echo '$x | y'"), direct(&["echo", "$x | y"]));
        assert_eq!(program("'/bin/a b' c").as_deref(), Some("/bin/a b"));
        assert_eq!(program("ls | wc").as_deref(), Some("ls"));
    }

    #[test]
    fn expansions_are_the_shells_which_becomes_the_program() {
        for command in ["ls *.c", "echo $HOME", "ls ~", "echo \"$x\"", "ls a?b"] {
            assert_eq!(How::of(command), How::Exec, "{command}");
        }
    }

    #[test]
    fn the_rest_is_a_shell() {
        for command in
            ["a | b", "a; b", "a && b", "a > b", "(a)", "X=1 a", "echo 'open", "echo \"open", "a\nb", "a `b`"]
        {
            assert_eq!(How::of(command), How::Shell, "{command}");
        }
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error() {
        let mut child = Child::hold("/no/such/program x").expect("forks");
        let error = child.release().expect_err("there is no such program");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
