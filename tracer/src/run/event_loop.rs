//! Waiting: records, timers, signals, the traced command, the end of the time given.
//!
//! The only tokio code. One thread; what wakes it is one of [`Event`].

use std::path::Path;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracer_common::ir::{FuncId, When};

use crate::run::RunError;
use crate::run::kernel::Kernel;
use crate::run::ledger;
use crate::run::session::Session;
use crate::world::SystemWorld;

/// What can wake the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The ring buffer has records.
    Records,
    /// A timer handler's turn.
    Timer {
        /// The handler.
        function: FuncId,
        /// Its site.
        site: u32,
    },
    /// SIGINT, SIGTERM, SIGHUP.
    Signal,
    /// SIGUSR2: another output file.
    Switch,
    /// The command of `-c`, or the process of `-x`, ended.
    TargetEnded,
    /// `-T` ran out.
    TimeOut,
}

/// How often a full check is made even when nothing wakes us: `exit()` whose record found the ring full, output that
/// waits to be written.
const BEAT: Duration = Duration::from_millis(200);

/// The loop before it runs. From now on signals wait for it, so that one that arrives while begin handlers run or
/// probes are attached ends the session as later ones do.
pub struct EventLoop {
    runtime: Runtime,
    signals: Vec<(Signal, Event)>,
}

impl EventLoop {
    /// Catches signals.
    pub fn new() -> Result<EventLoop, RunError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
        let inside = runtime.enter();
        let kinds = [
            (SignalKind::interrupt(), Event::Signal),
            (SignalKind::terminate(), Event::Signal),
            (SignalKind::hangup(), Event::Signal),
            (SignalKind::user_defined2(), Event::Switch),
        ];
        let caught = kinds.map(|(kind, event)| Ok((signal(kind)?, event)));
        let signals = caught.into_iter().collect::<Result<_, _>>().map_err(RunError::Runtime)?;
        drop(inside);
        Ok(EventLoop { runtime, signals })
    }

    /// Runs until the session is over.
    pub fn run(
        self,
        session: &mut Session<'_>,
        kernel: &mut Option<Kernel>,
        timeout: Option<Duration>,
        target: Option<crate::sys::process::Waiter>,
    ) -> Result<(), RunError> {
        self.runtime.block_on(events(self.signals, session, kernel, timeout, target))
    }
}

async fn events(
    signals: Vec<(Signal, Event)>,
    session: &mut Session<'_>,
    kernel: &mut Option<Kernel>,
    timeout: Option<Duration>,
    target: Option<crate::sys::process::Waiter>,
) -> Result<(), RunError> {
    let (send, mut receive) = mpsc::channel::<Event>(64);
    for handler in &session.artifact.module.handlers {
        if let When::Timer { period, randomize } = handler.when {
            let event = Event::Timer { function: handler.function, site: handler.site };
            tokio::spawn(timer(send.clone(), event, period, randomize));
        }
    }
    for (mut signals, event) in signals {
        let send = send.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if send.send(event).await.is_err() {
                    break;
                }
            }
        });
    }
    if let Some(timeout) = timeout {
        let send = send.clone();
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            // The receiver may be gone already: then nobody waits for this.
            let _ = send.send(Event::TimeOut).await;
        });
    }
    if let Some(target) = target {
        let send = send.clone();
        tokio::spawn(async move {
            #[expect(
                deprecated,
                reason = "its successor asks for a promise that types make here: the descriptor is owned"
            )]
            let ended = AsyncFd::new(target.into_fd());
            if let Ok(ended) = ended {
                let _ = ended.readable().await;
            }
            let _ = send.send(Event::TargetEnded).await;
        });
    }
    let ring = match kernel {
        Some(kernel) => Some(kernel.ring()?),
        None => None,
    };
    let mut ring = ring;
    // Errors of the user domain that the kernel side counts as well; those of begin handlers it has been told.
    let mut told = session.own_errors;
    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !session.is_over() {
        let event = tokio::select! {
            event = receive.recv() => event,
            ready = readable(&mut ring) => { ready?; Some(Event::Records) }
            _ = beat.tick() => None,
        };
        // Records that are there already came before whatever woke us.
        if let Some(ring) = &mut ring {
            ring.drain(|bytes| session.record(bytes));
        }
        if let Some(tables) = kernel.as_mut().and_then(|kernel| kernel.tables.as_mut()) {
            for (pid, address, inode) in std::mem::take(&mut session.wanted) {
                match session.host.file_at(pid, address) {
                    Some(path) => tables.add_of(&SystemWorld::default(), pid, Path::new(&path)),
                    None => tables.forget(inode),
                }
            }
        }
        if let Some(kernel) = kernel {
            kernel.tell(crate::run::eval::Host::sink(&mut session.host));
            if kernel.exit_requested() {
                session.host.exiting = true;
            }
            if event.is_none() {
                session.skipped = ledger::skipped(kernel, &session.artifact.manifest);
            }
        }
        match event {
            Some(Event::Timer { function, site }) if !session.is_over() => {
                session.handler(function, &[], site);
            }
            Some(Event::Signal | Event::TargetEnded | Event::TimeOut) => session.host.exiting = true,
            Some(Event::Switch) => crate::run::eval::Host::sink(&mut session.host).switch(),
            Some(Event::Timer { .. } | Event::Records) | None => {}
        }
        if let Some(kernel) = kernel {
            kernel.add_errors(session.own_errors - told);
            told = session.own_errors;
        }
        if !crate::run::eval::Host::sink(&mut session.host).flush() {
            session.host.exiting = true;
        }
    }
    if let Some(kernel) = kernel {
        kernel.stop();
    }
    if let Some(ring) = &mut ring {
        ring.drain(|bytes| session.record(bytes));
    }
    if let Some(kernel) = kernel {
        session.skipped = ledger::skipped(kernel, &session.artifact.manifest);
        session.errors += ledger::unreported_errors(kernel, &session.artifact.manifest);
    }
    Ok(())
}

async fn readable(ring: &mut Option<crate::run::kernel::Ring>) -> Result<(), RunError> {
    match ring {
        Some(ring) => ring.readable().await,
        None => std::future::pending().await,
    }
}

/// Sends an event in every period. Ticks that were missed while a handler ran are not made up.
async fn timer(send: mpsc::Sender<Event>, event: Event, period: u64, randomize: u64) {
    let period_time = Duration::from_nanos(period);
    let mut ticks = interval_at(Instant::now() + period_time, period_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut state = crate::sys::clock::monotonic_ns() as u64 | 1;
    loop {
        if randomize == 0 {
            ticks.tick().await;
        } else {
            // xorshift: the deviation needs to be uneven, not unpredictable.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let wait = (period + state % (2 * randomize + 1)).saturating_sub(randomize).max(1);
            tokio::time::sleep(Duration::from_nanos(wait)).await;
        }
        if send.send(event).await.is_err() {
            return;
        }
    }
}
