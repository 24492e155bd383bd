//! Entry point: parse the arguments, build the session, call the driver, exit with its status.

use std::io::Write;
use std::process::ExitCode;

use tracer::cli::args::Typed;
use tracer::{driver, dtrace};

fn main() -> ExitCode {
    // The name that build systems expect, with options of its own.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "dtrace") {
        let result = dtrace::command(arguments.map(|word| word.to_string_lossy().into_owned()));
        return match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "error: {why}");
                ExitCode::from(driver::FAILED)
            }
        };
    }
    match Typed::from_command_line().session() {
        Ok(session) => ExitCode::from(driver::drive(&session)),
        Err(why) => {
            // Nothing can be done about a standard error that is gone.
            let _ = writeln!(std::io::stderr(), "error: {why}");
            ExitCode::from(driver::FAILED)
        }
    }
}
