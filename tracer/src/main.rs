//! Entry point: parse the arguments, build the session, call the driver, exit with its status.

use std::io::Write;
use std::process::ExitCode;

use tracer::cli::args::Typed;
use tracer::driver;

fn main() -> ExitCode {
    match Typed::from_command_line().session() {
        Ok(session) => ExitCode::from(driver::drive(&session)),
        Err(why) => {
            // Nothing can be done about a standard error that is gone.
            let _ = writeln!(std::io::stderr(), "error: {why}");
            ExitCode::from(driver::FAILED)
        }
    }
}
