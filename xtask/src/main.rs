//! `cargo xtask`: the command line of the developer tasks.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::vm::{Kernel, Matrix};
use xtask::{bench, ci, demo, differ, fuzz, gdb, listing, outside, tidy, vm};

/// Developer tasks of tracer.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that CI runs: installs what it needs, then format, lints, docs, tidy, tests, guests, figures
    Ci,
    /// The rules that a machine can check: file headers, imports, lengths, tables
    Tidy,
    /// Boot Debian kernels in QEMU and run the runtime cases inside
    Vm {
        /// 5.10, 6.1, 6.12, 7.2 or all
        #[arg(long, default_value = "all", value_parser = Matrix::parse)]
        kernel: Matrix,
        /// Only cases whose name contains this
        #[arg(long, default_value = "")]
        filter: String,
        /// Seconds that one guest may take
        #[arg(long, default_value_t = 900)]
        limit: u64,
        /// Run this program instead of building tracer
        #[arg(long)]
        tracer: Option<std::path::PathBuf>,
    },
    /// Run random scripts in every domain, and compare what they did
    Differ {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        programs: u64,
        /// The first one's seed; each next one's is one more
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Also run each in the kernel of this machine (root)
        #[arg(long)]
        here: bool,
        /// With --here: not in the userspace machine
        #[arg(long)]
        alone: bool,
        /// Run them in the kernels of guests instead: 5.10, 6.1, 6.12, 7.2 or all
        #[arg(long, value_parser = Matrix::parse)]
        kernel: Option<Matrix>,
        /// Show the script of the seed, and what it does
        #[arg(long)]
        show: bool,
        /// Tries to make a failing script smaller
        #[arg(long, default_value_t = 1500)]
        tries: usize,
    },
    /// Damaged texts for everything that reads texts: no panic, no hang, no runaway memory
    Fuzz {
        /// What reads them
        #[arg(long)]
        target: fuzz::Target,
        /// For how long, in minutes of a processor
        #[arg(long, default_value_t = 60.0)]
        minutes: f64,
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure, compare with the goals, fail when one is missed
    Bench {
        /// Measure this program instead of building tracer
        #[arg(long)]
        tracer: Option<std::path::PathBuf>,
    },
    /// Compare the variables that probes read with what gdb shows, over many compilers and options
    Gdb {
        /// Only rows whose name contains this
        #[arg(long, default_value = "")]
        filter: String,
        /// So many programs that are made up, instead of the matrix
        #[arg(long)]
        random: Option<usize>,
        /// The first of them
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Run this program instead of building tracer
        #[arg(long)]
        tracer: Option<std::path::PathBuf>,
    },
    /// List the functions of a program with more than 100 MB of debug information, beside gdb and readelf
    Listing {
        /// Run this program instead of building tracer
        #[arg(long)]
        tracer: Option<std::path::PathBuf>,
    },
    /// Run the scripts of SystemTap's own test suite, from a folder that you have, and count what agrees
    Outside {
        /// The folder `testsuite` of SystemTap's sources
        #[arg(long)]
        scripts: std::path::PathBuf,
        /// Only scripts whose folder and name contain this
        #[arg(long, default_value = "")]
        filter: String,
        /// Run this program instead of building tracer
        #[arg(long)]
        tracer: Option<std::path::PathBuf>,
    },
    /// Build tracer and trace something real on this kernel
    Demo,
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run(),
        Task::Vm { kernel, filter, limit, tracer } => {
            let kernels: &[Kernel] = kernel.kernels();
            vm::run(kernels, &vm::Options { filter, limit, tracer })
        }
        Task::Differ { programs, seed, here, alone, kernel, show, tries } => {
            let guests = kernel.map(|matrix| matrix.kernels().to_vec()).unwrap_or_default();
            differ::run(&differ::Options { programs, seed, here, alone, guests, show, tries })
        }
        Task::Fuzz { target, minutes, seed } => fuzz::run(&fuzz::Options { target, minutes, seed }),
        Task::Bench { tracer } => bench::run(tracer),
        Task::Gdb { filter, random, seed, tracer } => {
            gdb::run(&gdb::Options { filter, random, seed, tracer })
        }
        Task::Listing { tracer } => listing::run(tracer),
        Task::Outside { scripts, filter, tracer } => {
            outside::run(&outside::Options { scripts, filter, tracer })
        }
        Task::Demo => demo::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            report(&why);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the end of a developer task")]
fn report(why: &str) {
    eprintln!("xtask: {why}");
}
