//! What the guests said, for a person: failures as they come, one table at the end.
//!
//! **Not here:** the judging.

use super::Kernel;
use super::guest::Run;
use crate::runtime::outcome::Verdict;

/// Prints what went wrong on one kernel.
pub fn kernel(kernel: Kernel, run: &Run) {
    let mut text = String::new();
    for (name, verdict, _) in &run.verdicts {
        match verdict {
            Verdict::Pass => {}
            Verdict::Skip(why) => text.push_str(&format!("kernel {}: skip {name}: {why}\n", kernel.name())),
            Verdict::Fail(why) => {
                let why = why.replace('\n', "\n    ");
                text.push_str(&format!("kernel {}: FAIL {name}\n    {why}\n", kernel.name()));
            }
        }
    }
    let mut slowest: Vec<_> = run.verdicts.iter().map(|(name, _, took)| (took.as_secs(), name)).collect();
    slowest.sort_unstable_by(|a, b| b.cmp(a));
    for (seconds, name) in slowest.iter().take_while(|(seconds, _)| *seconds > 0).take(5) {
        text.push_str(&format!("kernel {}: {seconds} s {name}\n", kernel.name()));
    }
    if let Some(why) = &run.trouble {
        text.push_str(&format!("kernel {}: {why}\n", kernel.name()));
    }
    // One write, so that guests that end together do not mix.
    print!("{text}");
}

/// Prints the table; an error when anything failed or did not run.
pub fn table(runs: &[(Kernel, Run)]) -> Result<(), String> {
    println!("\nkernel  passed  failed  skipped  not run  seconds");
    let mut bad = 0;
    for (kernel, run) in runs {
        let count =
            |test: fn(&Verdict) -> bool| run.verdicts.iter().filter(|(_, verdict, _)| test(verdict)).count();
        let failed = count(|verdict| matches!(verdict, Verdict::Fail(_)));
        println!(
            "{:<6}  {:>6}  {failed:>6}  {:>7}  {:>7}  {:>7}",
            kernel.name(),
            count(|verdict| matches!(verdict, Verdict::Pass)),
            count(|verdict| matches!(verdict, Verdict::Skip(_))),
            run.missing,
            run.took.as_secs()
        );
        bad += failed + run.missing;
    }
    // Once more below the table: whoever reads the end of a long log wants the names.
    for (kernel, run) in runs {
        for (name, verdict, _) in &run.verdicts {
            if let Verdict::Fail(why) = verdict {
                let why: Vec<&str> = why.lines().take(12).collect();
                println!("{} FAILED {name}: {}", kernel.name(), why.join(" | "));
            }
        }
    }
    if bad > 0 { Err(format!("{bad} cases failed or did not run in the guests")) } else { Ok(()) }
}
