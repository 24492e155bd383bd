//! `cargo xtask vm`: the runtime cases inside real Debian kernels, under software emulation.
//!
//! `kernel` fetches kernels, `image` packs what a guest needs, `guest` boots it and listens, `report` prints the table.
//! Comparisons are made here, on the host: a guest needs only a shell and tracer.
//!
//! **Not here:** what a case means (`runtime`).

pub mod build;
pub mod guest;
pub mod image;
pub mod kernel;
pub mod report;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

pub use kernel::{Kernel, Matrix};

use crate::runtime::case::{self, Case};
use crate::runtime::fixture;
use crate::{package, workspace};

/// What to run.
pub struct Options {
    /// Only cases whose name contains this.
    pub filter: String,
    /// Seconds that one guest may take.
    pub limit: u64,
    /// The program under test; built when there is none.
    pub tracer: Option<PathBuf>,
}

/// Runs the cases on every kernel of `kernels`; an error when one case failed.
pub fn run(kernels: &[Kernel], options: &Options) -> Result<(), String> {
    package::install(package::GUESTS)?;
    package::install(package::FIXTURES)?;
    let tracer = match &options.tracer {
        Some(tracer) => tracer.clone(),
        None => build::tracer()?,
    };
    let fixtures = fixture::build()?;
    let mut cases = case::load(&workspace::root().join("tracer/tests/runtime"), image::FIXTURES.as_ref())?;
    cases.retain(|case| case.place.guest() && case.name.contains(&options.filter));
    if cases.is_empty() {
        return Err(format!("no case for guests has {:?} in its name", options.filter));
    }
    run_cases(kernels, &tracer, &fixtures, &cases, Duration::from_secs(options.limit))
}

/// Runs cases with a program, which need not be tracer, on every kernel of `kernels`.
pub fn run_cases(
    kernels: &[Kernel],
    program: &Path,
    fixtures: &Path,
    cases: &[Case],
    limit: Duration,
) -> Result<(), String> {
    // Fetched one after the other: apt and the mirror are the bottleneck.
    let mut images = Vec::new();
    for &kernel in kernels {
        images.push((kernel, kernel.fetch()?));
    }
    let initramfs = image::build(program, fixtures, cases)?;

    // A guest is single-threaded, so there are as many at a time as processors.
    let parallel = std::thread::available_parallelism().map_or(1, usize::from).min(images.len());
    let queue = Mutex::new(images.into_iter());
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                loop {
                    // The lock must not be held while a guest runs.
                    let next = queue.lock().map(|mut queue| queue.next());
                    let Ok(Some((kernel, image))) = next else { break };
                    let run = guest::run(kernel, &image, &initramfs, cases, limit);
                    report::kernel(kernel, &run);
                    if let Ok(mut done) = done.lock() {
                        done.push((kernel, run));
                    }
                }
            });
        }
    });
    let mut runs = done.into_inner().map_err(|e| e.to_string())?;
    runs.sort_by_key(|(kernel, _)| *kernel);
    report::table(&runs)
}
