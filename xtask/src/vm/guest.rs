//! One boot of one kernel: start QEMU, listen to the results, stop it in time.
//!
//! A guest that dies before its first case is booted once more: emulated boots fail now and then.
//! A guest that dies later is not: that is a finding, and the case that was running is named.
//!
//! **Not here:** what the results mean (`runtime::outcome`).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::Kernel;
use crate::runtime::case::Case;
use crate::runtime::outcome::{Outcome, Verdict};
use crate::workspace;

/// What became of the cases on one kernel.
pub struct Run {
    /// A verdict for every case that ended, with its name and how long it took on this machine's clock.
    pub verdicts: Vec<(String, Verdict, Duration)>,
    /// How many cases never ran.
    pub missing: usize,
    /// Why the guest ended early.
    pub trouble: Option<String>,
    /// How long it took on this machine's clock.
    pub took: Duration,
}

/// Boots `image` with `initramfs` and judges the cases.
pub fn run(kernel: Kernel, image: &Path, initramfs: &Path, cases: &[Case], limit: Duration) -> Run {
    let first = boot(kernel, image, initramfs, cases, limit);
    let reached =
        !first.verdicts.is_empty() || first.trouble.as_deref().is_none_or(|why| why.contains("case "));
    if reached { first } else { boot(kernel, image, initramfs, cases, limit) }
}

fn boot(kernel: Kernel, image: &Path, initramfs: &Path, cases: &[Case], limit: Duration) -> Run {
    let start = Instant::now();
    let mut run = Run { verdicts: Vec::new(), missing: cases.len(), trouble: None, took: Duration::ZERO };
    let console = workspace::target().join(format!("vm/console-{}", kernel.name()));
    match qemu(image, initramfs, &console) {
        Ok(mut child) => {
            let current = listen(&mut child, cases, start + limit, &mut run);
            // It may be gone already; then there is nothing to stop.
            let _ = child.kill();
            let _ = child.wait();
            if let Some(why) = &mut run.trouble {
                if let Some(name) = current {
                    *why = format!("{why}, while case {name} was running");
                }
                why.push_str(&last_words(&console));
            }
        }
        Err(why) => run.trouble = Some(why),
    }
    run.missing = cases.len() - run.verdicts.len();
    run.took = start.elapsed();
    run
}

/// Multi-threaded emulation panics at random, and newer processor models stop some of the kernels; measured, see `docs/testing.md`.
fn qemu(image: &Path, initramfs: &Path, console: &Path) -> Result<Child, String> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=single", "-cpu", "Nehalem,-cx16", "-smp", "2", "-m", "1G"]);
    qemu.args(["-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none"]);
    qemu.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
    qemu.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    // Fully preemptible where the kernel can (since 5.12): handlers are to be preempted.
    qemu.args(["-append", "console=ttyS0 panic=-1 quiet loglevel=4 preempt=full"]);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    qemu.spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))
}

/// Reads results until the guest is done; returns the name of the case that was running when it was not.
fn listen(child: &mut Child, cases: &[Case], deadline: Instant, run: &mut Run) -> Option<String> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || lines(BufReader::new(stdout), &sender));
    }
    let mut current: Option<(usize, Outcome, Instant)> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = match receiver.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                run.trouble = Some("the guest hung or was too slow".into());
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                run.trouble = Some("the guest ended early".into());
                break;
            }
        };
        if let Some(number) = line.strip_prefix("@@case ") {
            current = number.parse().ok().map(|number| (number, Outcome::default(), Instant::now()));
        } else if line.starts_with("@@took ") {
            if let Some((case, outcome, began)) =
                current.take().and_then(|(n, outcome, began)| Some((cases.get(n)?, outcome, began)))
            {
                run.verdicts.push((case.name.clone(), outcome.judge(case), began.elapsed()));
            }
        } else if line == "@@done" {
            return None;
        } else if let Some((_, outcome, _)) = &mut current {
            outcome.line(&line);
        }
    }
    current.and_then(|(number, ..)| cases.get(number)).map(|case| case.name.clone())
}

fn lines(mut from: impl BufRead, to: &Sender<String>) {
    let mut bytes = Vec::new();
    // Output of a traced program need not be UTF-8.
    while from.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        let line = String::from_utf8_lossy(&bytes);
        if to.send(line.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// The end of what the kernel said.
fn last_words(console: &Path) -> String {
    let text =
        std::fs::read(console).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(12)..];
    if last.is_empty() {
        String::new()
    } else {
        format!("; its console ended with:\n    {}", last.join("\n    "))
    }
}
