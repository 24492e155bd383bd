//! The attach ladder: the cheapest link that the kernel has.
//!
//! | place | ladder |
//! | --- | --- |
//! | user code | one `uprobe_multi` link for each file, else a perf event for each site |
//! | kernel functions | few, with parameters that are words: a trampoline for each (pass 3 decides, by what the kernel has); else one `kprobe_multi` link, else a perf event for each site |
//! | tracepoints | a raw tracepoint link for each site |
//! | samples | a perf event for each CPU |
//!
//! A single perf-event uprobe takes a tenth of a second to detach, a multi link of thousands less: multi links are used
//! even for one place, and links are dropped in parallel.
//!
//! To add a kind of place: an `AttachPoint` in the manifest, an arm here, a function in `sys::link`.

use std::collections::BTreeMap;
use std::io;

use tracer_common::manifest::{AttachPoint, Program as Code, ProgramKind, Site};
use tracer_ebpf::target::Target;

use crate::run::RunError;
use crate::sys::bpf::Program;
use crate::sys::link::{self, Link, UserPlaces};
use crate::sys::perf_event;

/// Attaches a program to all its sites. `loaded` has one program, or one for each site.
pub fn attach(
    program: &Code,
    loaded: &[Program],
    sites: &[Site],
    target: &Target,
    pid: Option<u32>,
) -> Result<Vec<Link>, RunError> {
    let is_return = matches!(program.kind, ProgramKind::Uretprobe | ProgramKind::Kretprobe);
    let shared = loaded.len() == 1;
    match program.kind {
        ProgramKind::Uprobe | ProgramKind::Uretprobe if target.features.uprobe_multi && shared => {
            user_multi(program, &loaded[0], sites, is_return, pid)
        }
        ProgramKind::Kprobe | ProgramKind::Kretprobe if target.features.kprobe_multi && shared => {
            kernel_multi(program, &loaded[0], sites, is_return)
        }
        ProgramKind::Fentry | ProgramKind::Fexit => match link::trampoline(&loaded[0]) {
            Ok(link) => Ok(vec![link]),
            Err(error) => Err(no_trampoline(program.sites.first().map(|site| &sites[*site as usize]), error)),
        },
        _ => {
            let mut links = Vec::with_capacity(program.sites.len());
            for (n, number) in program.sites.iter().enumerate() {
                let code = loaded.get(n).unwrap_or(&loaded[0]);
                let site = &sites[*number as usize];
                let link = single(code, site, *number, target, is_return)
                    .map_err(|error| RunError::attach(&site.probe_point, error))?;
                links.extend(link);
            }
            Ok(links)
        }
    }
}

/// The kernel refused a trampoline at a site.
pub fn no_trampoline(site: Option<&Site>, error: io::Error) -> RunError {
    RunError::Trampoline(site.map_or(String::new(), |site| site.probe_point.clone()), error)
}

fn user_multi(
    program: &Code,
    loaded: &Program,
    sites: &[Site],
    is_return: bool,
    pid: Option<u32>,
) -> Result<Vec<Link>, RunError> {
    let mut files: BTreeMap<(&str, Option<u32>), UserPlaces> = BTreeMap::new();
    for number in &program.sites {
        let AttachPoint::User { path, offset, semaphore, pid: only } = &sites[*number as usize].attach else {
            continue;
        };
        // A probe of one process in a session about another never fires: its link keeps its own process.
        let places = files
            .entry((path, only.or(pid)))
            .or_insert_with(|| UserPlaces { path: path.clone(), ..UserPlaces::default() });
        places.offsets.push(*offset);
        places.semaphores.push(semaphore.unwrap_or(0));
        places.cookies.push(u64::from(*number));
    }
    files
        .into_iter()
        .map(|((_, pid), mut places)| {
            if places.semaphores.iter().all(|s| *s == 0) {
                places.semaphores.clear();
            }
            link::uprobe_multi(loaded, &places, is_return, pid).map_err(|error| {
                RunError::attach(&format!("{} places of {}", places.offsets.len(), places.path), error)
            })
        })
        .collect()
}

fn kernel_multi(
    program: &Code,
    loaded: &Program,
    sites: &[Site],
    is_return: bool,
) -> Result<Vec<Link>, RunError> {
    let mut symbols = Vec::new();
    let mut cookies = Vec::new();
    for number in &program.sites {
        if let AttachPoint::Kernel { symbol, .. } = &sites[*number as usize].attach {
            symbols.push(symbol.clone());
            cookies.push(u64::from(*number));
        }
    }
    let what = || match symbols.as_slice() {
        [one] => format!("kernel function {one}"),
        many => format!("{} kernel functions", many.len()),
    };
    link::kprobe_multi(loaded, &symbols, &cookies, is_return)
        .map(|link| vec![link])
        .map_err(|error| RunError::attach(&what(), error))
}

fn single(
    loaded: &Program,
    site: &Site,
    number: u32,
    target: &Target,
    is_return: bool,
) -> io::Result<Vec<Link>> {
    let event = |event| {
        if target.features.attach_cookie {
            link::perf_event(loaded, event, u64::from(number))
        } else {
            link::perf_event_without_link(loaded, event)
        }
    };
    match &site.attach {
        AttachPoint::User { path, offset, semaphore, pid: _ } => {
            // A perf event's process is one thread: programs for such events look at the process themselves.
            Ok(vec![event(perf_event::uprobe(path, *offset, semaphore.unwrap_or(0), is_return, None)?)?])
        }
        AttachPoint::Kernel { symbol, offset, .. } => {
            Ok(vec![event(perf_event::kprobe(symbol, *offset, is_return)?)?])
        }
        AttachPoint::Tracepoint { name } => {
            let cookie = target.features.attach_cookie_raw_tracepoint.then_some(u64::from(number));
            Ok(vec![link::raw_tracepoint(loaded, name, cookie)?])
        }
        AttachPoint::Perf { kind, config, sampling } => {
            let mut links = Vec::new();
            for cpu in 0..target.cpus {
                match perf_event::sample(*kind, *config, *sampling, cpu) {
                    Ok(sample) => links.push(event(sample)?),
                    // A CPU that is switched off.
                    Err(error) if error.raw_os_error() == Some(perf_event::NO_DEVICE) && cpu > 0 => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(links)
        }
        AttachPoint::Session => Ok(Vec::new()),
    }
}

/// Drops links in parallel: the kernel waits a grace period for each.
pub fn detach(links: Vec<Link>) {
    const THREADS: usize = 32;
    let share = links.len().div_ceil(THREADS).max(1);
    let mut links = links.into_iter();
    std::thread::scope(|scope| {
        loop {
            let chunk: Vec<Link> = links.by_ref().take(share).collect();
            if chunk.is_empty() {
                break;
            }
            scope.spawn(move || drop(chunk));
        }
    });
}
