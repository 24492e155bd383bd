//! Debug information from debuginfod servers: `DEBUGINFOD_URLS`.
//!
//! Invariants: nobody is asked unless the user named servers; every wait has an end; what is kept was looked at first,
//! and lies in a folder that is ours alone.
//!
//! **Not here:** when a server is asked (`debuginfo::find`).

use std::fs::{self, DirBuilder, File};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Seconds that a server may say nothing, unless `DEBUGINFOD_TIMEOUT` says otherwise.
const SILENCE: u64 = 30;
/// Seconds for one file, unless `DEBUGINFOD_MAXTIME` says otherwise.
const LONGEST: u64 = 1800;
/// Bytes of one file, unless `DEBUGINFOD_MAXSIZE` says otherwise.
const LARGEST: u64 = 8 << 30;
/// Bytes between two lines of progress.
const STEP: u64 = 1 << 20;

/// Says why a file is not the wanted one; `None` when it is.
pub type Check<'c> = &'c dyn Fn(&Path) -> Option<String>;

/// The servers, and where their files are kept.
#[derive(Debug, Default)]
pub struct Servers {
    urls: Vec<String>,
    cache: Option<PathBuf>,
    silence: Duration,
    longest: Duration,
    largest: u64,
    /// Those that did not answer are not asked again.
    dead: Mutex<Vec<String>>,
}

/// What came of asking.
#[derive(Debug)]
pub struct Answer {
    /// The file.
    pub path: Option<PathBuf>,
    /// Who was asked in vain, and why.
    pub asked: Vec<String>,
}

impl Servers {
    /// The servers that the environment names; none when it names none.
    pub fn from_environment() -> Servers {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let number = |name: &str, default: u64| {
            text(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(default)
        };
        let urls = text("DEBUGINFOD_URLS").unwrap_or_default();
        let cache = text("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(PathBuf::from(text("HOME")?).join(".cache")));
        Servers {
            urls: urls.split_whitespace().map(|url| url.trim_end_matches('/').to_owned()).collect(),
            cache: cache.map(|folder| folder.join("tracer").join("debuginfo")),
            silence: Duration::from_secs(number("DEBUGINFOD_TIMEOUT", SILENCE)),
            longest: Duration::from_secs(number("DEBUGINFOD_MAXTIME", LONGEST)),
            largest: number("DEBUGINFOD_MAXSIZE", LARGEST),
            dead: Mutex::default(),
        }
    }

    /// The debug information of a build-id, from the cache or from the first server that has it.
    pub fn debug_info(&self, build_id: &str, check: Check<'_>) -> Answer {
        let mut answer = Answer { path: None, asked: Vec::new() };
        let is_id = build_id.len() > 2 && build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if self.urls.is_empty() || !is_id {
            return answer;
        }
        let folder = match self.folder() {
            Ok(folder) => folder,
            Err(why) => {
                answer.asked.push(format!("no server of DEBUGINFOD_URLS ({why})"));
                return answer;
            }
        };
        let kept = folder.join(format!("{build_id}.debug"));
        if kept.exists() && check(&kept).is_none() {
            answer.path = Some(kept);
            return answer;
        }
        for url in &self.urls {
            if self.is_dead(url) {
                answer.asked.push(format!("{url} (it did not answer before)"));
                continue;
            }
            let part = folder.join(format!("{build_id}.{}.part", std::process::id()));
            let result = self.get(url, build_id, &part).and_then(|()| match check(&part) {
                Some(why) => Err(why),
                None => fs::rename(&part, &kept).map_err(|error| error.to_string()),
            });
            match result {
                Ok(()) => {
                    answer.path = Some(kept);
                    break;
                }
                Err(why) => {
                    let _ = fs::remove_file(&part);
                    answer.asked.push(format!("{url} ({why})"));
                }
            }
        }
        answer
    }

    /// The folder of the cache: made when it is not there, refused when others can write to it.
    fn folder(&self) -> Result<&Path, String> {
        let folder = self.cache.as_deref().ok_or("there is neither XDG_CACHE_HOME nor HOME for a cache")?;
        let told = |error: io::Error| format!("{}: {error}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(told)?;
        let metadata = fs::symlink_metadata(folder).map_err(told)?;
        let me = fs::metadata("/proc/self").map_err(told)?.uid();
        if !metadata.is_dir() || metadata.uid() != me || metadata.mode() & 0o077 != 0 {
            return Err(format!("{} is not a folder of this user alone", folder.display()));
        }
        Ok(folder)
    }

    fn is_dead(&self, url: &str) -> bool {
        self.dead.lock().is_ok_and(|dead| dead.iter().any(|other| other == url))
    }

    /// Downloads a file.
    fn get(&self, url: &str, build_id: &str, to: &Path) -> Result<(), String> {
        let agent = ureq::Agent::config_builder()
            .tls_config(trust())
            .user_agent(concat!("tracer/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(self.longest))
            .timeout_resolve(Some(self.silence))
            .timeout_connect(Some(self.silence))
            .timeout_recv_response(Some(self.silence))
            .timeout_per_read(Some(self.silence))
            .build()
            .new_agent();
        let answer = agent.get(format!("{url}/buildid/{build_id}/debuginfo")).call();
        let mut answer = answer.map_err(|error| match error {
            ureq::Error::StatusCode(404) => "it has none".to_owned(),
            ureq::Error::StatusCode(status) => format!("it answered {status}"),
            error => {
                if let Ok(mut dead) = self.dead.lock() {
                    dead.push(url.to_owned());
                }
                format!("no answer: {error}")
            }
        })?;
        let header = |name: &str| answer.headers().get(name)?.to_str().ok()?.parse::<u64>().ok();
        let size = header("content-length").or_else(|| header("x-debuginfod-size"));
        if size.is_some_and(|size| size > self.largest) {
            return Err(format!("{} bytes are more than DEBUGINFOD_MAXSIZE", size.unwrap_or(0)));
        }
        // What a process with our id left behind when it was killed.
        let _ = fs::remove_file(to);
        let file = File::options().write(true).create_new(true).mode(0o600).open(to);
        let mut file = file.map_err(|error| format!("{}: {error}", to.display()))?;
        let mut body = answer.body_mut().as_reader().take(self.largest.saturating_add(1));
        let mut progress = Progress { url, size, shown: 0 };
        let mut buffer = vec![0; 64 << 10];
        let mut count = 0;
        loop {
            let bytes = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    progress.done();
                    return Err(format!("broken off after {count} bytes: {error}"));
                }
            };
            file.write_all(&buffer[..bytes]).map_err(|error| format!("{}: {error}", to.display()))?;
            count += bytes as u64;
            progress.at(count);
        }
        progress.done();
        if count > self.largest {
            return Err(format!("more than {} bytes, which is DEBUGINFOD_MAXSIZE", self.largest));
        }
        match size {
            Some(size) if size != count => Err(format!("broken off after {count} of {size} bytes")),
            _ => Ok(()),
        }
    }
}

/// Where distributions keep the certificates that the machine trusts.
const CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom https trusts: `SSL_CERT_FILE`, else what the machine trusts, else nobody.
fn trust() -> TlsConfig {
    // Another part of the process may have chosen before; either will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let bytes = named
        .into_iter()
        .chain(CERTIFICATES.map(PathBuf::from))
        .find_map(|path| fs::read(path).ok())
        .unwrap_or_default();
    let certificates = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(certificates.collect()))).build()
}

/// A line on the terminal that tells how far a download is.
struct Progress<'p> {
    url: &'p str,
    size: Option<u64>,
    shown: u64,
}

impl Progress<'_> {
    fn at(&mut self, count: u64) {
        let mut terminal = io::stderr();
        if count < self.shown + STEP || !terminal.is_terminal() {
            return;
        }
        self.shown = count;
        let of = self.size.map_or(String::new(), |size| format!(" of {}", size >> 20));
        let _ = write!(terminal, "\rdebug information from {}: {}{of} MB", self.url, count >> 20);
    }

    fn done(&self) {
        if self.shown > 0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
