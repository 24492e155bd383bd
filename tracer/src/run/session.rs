//! One running session: handlers in order, errors, the end.
//!
//! States, in order: *begun* (begin handlers ran), *attached*, *draining* (records and timers), *detached*, *ended*
//! (end or error handlers ran, globals printed). `exit()` in a begin handler skips what is left of the begin
//! handlers and all in between.
//!
//! **Not here:** what the kernel side is (`kernel`), waiting for events (`event_loop`).

use tracer_common::ir::{FuncId, PlaceId, When};
use tracer_common::record::{ErrorKind, error_text};

use crate::artifact::Artifact;
use crate::run::eval::{Evaluator, Host, RuntimeError};
use crate::run::globals::Globals;
use crate::run::host::RealHost;
use crate::run::output::at_end::globals_at_end;
use crate::run::records::{self, Record};
use crate::run::value::Value;

/// Handlers, globals and counters of a running script.
pub struct Session<'a> {
    /// What runs.
    pub artifact: &'a Artifact,
    /// The globals.
    pub globals: &'a mut dyn Globals,
    /// The machine.
    pub host: RealHost,
    /// Handler errors so far.
    pub errors: u64,
    /// Those of them that happened in the user domain.
    pub own_errors: u64,
    /// Hits that the kernel side skipped so far.
    pub skipped: u64,
    /// Handlers of the user domain that did not get their locks.
    skipped_here: u64,
    /// Files that stacks lead into and whose unwind tables are wanted: process, address, inode.
    pub wanted: Vec<(i64, u64, u64)>,
    /// Records that made no sense: a bug of ours, said once.
    malformed: u64,
}

/// When a handler's turn comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Begin,
    End,
    Error,
}

impl<'a> Session<'a> {
    /// A session that has not begun.
    pub fn new(artifact: &'a Artifact, globals: &'a mut dyn Globals, host: RealHost) -> Session<'a> {
        Session {
            artifact,
            globals,
            host,
            errors: 0,
            own_errors: 0,
            skipped: 0,
            skipped_here: 0,
            wanted: Vec::new(),
            malformed: 0,
        }
    }

    /// Whether the session must end: `exit()`, or more errors than MAXERRORS.
    pub fn is_over(&self) -> bool {
        self.host.exiting || self.failed()
    }

    /// Whether it ended by errors, or by more skipped hits than MAXSKIPPED.
    pub fn failed(&self) -> bool {
        self.errors > u64::from(self.artifact.module.limits.errors) || self.skipped_too_many()
    }

    fn skipped_too_many(&self) -> bool {
        self.skipped + self.skipped_here > u64::from(self.artifact.module.limits.skipped)
    }

    /// Runs the begin handlers.
    pub fn begin(&mut self) {
        for (_, function, site) in self.handlers(Moment::Begin) {
            if self.is_over() {
                break;
            }
            self.handler(function, &[], site);
        }
    }

    /// Runs end or error handlers, and prints what is to be printed at the end.
    pub fn end(&mut self) {
        let moment = if self.failed() { Moment::Error } else { Moment::End };
        // As SystemTap does it: what nobody read is printed by the last of the handlers `end`, without a number or with 0.
        let mut unprinted = moment == Moment::End;
        for (order, function, site) in self.handlers(moment) {
            if order > 0 && std::mem::take(&mut unprinted) {
                self.print_globals();
            }
            self.handler(function, &[], site);
        }
        if unprinted {
            self.print_globals();
        }
        if self.skipped_too_many() {
            let line = "ERROR: Skipped too many probes, check MAXSKIPPED";
            self.host.sink().message(line.as_bytes());
        }
        let skipped = self.skipped + self.skipped_here;
        if self.errors > 0 || skipped > 0 {
            let line = format!("WARNING: Number of errors: {}, skipped probes: {skipped}", self.errors);
            self.host.sink().message(line.as_bytes());
        }
        self.host.sink().flush();
    }

    fn print_globals(&mut self) {
        match globals_at_end(&self.artifact.module, self.globals) {
            Ok(text) => self.host.sink().print(&text),
            Err(error) => self.host.sink().message(format!("ERROR: {error}").as_bytes()),
        }
    }

    /// Handlers in their order, with the numbers that make it.
    fn handlers(&self, moment: Moment) -> Vec<(i64, FuncId, u32)> {
        let mut found: Vec<(i64, FuncId, u32)> = self
            .artifact
            .module
            .handlers
            .iter()
            .filter_map(|handler| {
                let order = match (handler.when, moment) {
                    (When::Begin(n), Moment::Begin)
                    | (When::End(n), Moment::End)
                    | (When::Error(n), Moment::Error) => n,
                    _ => return None,
                };
                Some((order, handler.function, handler.site))
            })
            .collect();
        found.sort_by_key(|(order, _, _)| *order);
        found
    }

    /// Runs one handler or continuation at a site.
    pub fn handler(&mut self, function: FuncId, args: &[Value], site: u32) {
        let artifact = self.artifact;
        let locks = &artifact.module.functions[function.index()].locks;
        if !self.globals.lock(locks) {
            self.skipped_here += 1;
            return;
        }
        // A continuation says whose hit it is for.
        self.host.hit(0);
        let result =
            Evaluator::new(&artifact.module, &artifact.manifest.sites, self.globals, &mut self.host, site)
                .run(function, args);
        self.globals.unlock(locks);
        if let Err(error) = result {
            self.own_errors += 1;
            self.report(&error, site);
        }
    }

    fn report(&mut self, error: &RuntimeError, site: u32) {
        self.errors += 1;
        let probe = self
            .artifact
            .manifest
            .sites
            .get(site as usize)
            .map_or(String::new(), |site| format!(" in probe {}", site.probe_point));
        let line = [b"ERROR: ", &error.text(&self.artifact.module)[..], probe.as_bytes()].concat();
        self.host.sink().message(&line);
    }

    /// Handles a record of the ring buffer.
    pub fn record(&mut self, bytes: &[u8]) {
        // The error that ended the session came before this in the order of the hits.
        if self.failed() {
            return;
        }
        match records::decode(&self.artifact.module, bytes) {
            Some(Record::Exit) => self.host.exiting = true,
            Some(Record::File { pid, address, inode }) => self.wanted.push((pid, address, inode)),
            // What came after the error that ended the session is not run.
            Some(_) if self.failed() => {}
            Some(Record::Error { site, place, kind, argument, message }) => {
                let message = match kind {
                    ErrorKind::Message => message,
                    kind => error_text(&self.artifact.module, kind, argument).into_bytes(),
                };
                self.report(&RuntimeError::new(message, PlaceId(place)), site);
            }
            Some(Record::Values { record, site, values }) => {
                let continuation = self.artifact.module.records[record as usize].continuation;
                self.handler(continuation, &values, site);
            }
            None => {
                self.malformed += 1;
                if self.malformed == 1 {
                    self.host
                        .sink()
                        .message(b"WARNING: this is a bug: a record of the kernel side is malformed");
                }
            }
        }
    }
}
