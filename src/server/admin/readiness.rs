//! Whether the process should receive calls.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::clock::Timestamp;
use crate::server::supervisor::Pulses;

/// Whether the process should receive calls, and if not, why.
pub struct Readiness {
    configuration: Mutex<Option<Box<str>>>,
    listeners: AtomicUsize,
    draining: AtomicBool,
    pulses: Arc<Pulses>,
    issuers: Box<dyn Fn() -> Vec<(Arc<str>, bool)> + Send + Sync>,
    reload_failed: Mutex<Option<Timestamp>>,
    audit: OnceLock<Told>,
    state: OnceLock<Box<dyn Fn() -> (bool, String) + Send + Sync>>,
    upstreams: Mutex<Upstreams>,
}

/// Returns what is wrong with something, if anything is.
type Told = Box<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// What readiness has to do with upstreams.
#[derive(Debug)]
enum Upstreams {
    /// Nothing.
    Ignored,
    /// Each must have been reached when it was last tried; none of them was tried yet.
    Untried,
    /// Each that was tried, with whether it was reached.
    Tried(Vec<(Arc<str>, bool)>),
}

impl Readiness {
    /// A process that is not ready yet. `issuers` returns every issuer, with whether it has had keys, or is not waited for.
    pub fn new(issuers: impl Fn() -> Vec<(Arc<str>, bool)> + Send + Sync + 'static) -> Self {
        Self {
            configuration: Mutex::default(),
            listeners: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            pulses: Arc::default(),
            issuers: Box::new(issuers),
            reload_failed: Mutex::new(None),
            audit: OnceLock::new(),
            state: OnceLock::new(),
            upstreams: Mutex::new(Upstreams::Ignored),
        }
    }

    /// Notes that a configuration is in force; `version` has the digests of its policies.
    pub fn set_configured(&self, version: &str) {
        *lock(&self.configuration) = Some(shortened(version).into());
    }

    /// Sets the source of problems with the audit log. They do not affect readiness, since each call tries to write again.
    pub fn set_audit(&self, trouble: impl Fn() -> Option<&'static str> + Send + Sync + 'static) {
        let _ = self.audit.set(Box::new(trouble));
    }

    /// Sets the source of whether shared state has been known once, and of what is said of it.
    pub fn set_state(&self, state: impl Fn() -> (bool, String) + Send + Sync + 'static) {
        let _ = self.state.set(Box::new(state));
    }

    /// Notes that all listeners are bound, `count` of them.
    pub fn set_listening(&self, count: usize) {
        self.listeners.store(count, Relaxed);
    }

    /// Notes that the process is shutting down, which is final.
    pub fn set_draining(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Notes when the last reload failed; `None` if it succeeded. A failure does not affect readiness, as the old
    /// configuration stays in force.
    pub fn set_reload(&self, failed: Option<Timestamp>) {
        let mut since = lock(&self.reload_failed);
        *since = failed.map(|now| since.unwrap_or(now));
    }

    /// Signs of life of the workers.
    pub(crate) const fn pulses(&self) -> &Arc<Pulses> {
        &self.pulses
    }

    /// Makes readiness depend on upstreams from now on.
    pub fn require_upstreams(&self) {
        *lock(&self.upstreams) = Upstreams::Untried;
    }

    /// Whether it does.
    pub fn requires_upstreams(&self) -> bool {
        !matches!(*lock(&self.upstreams), Upstreams::Ignored)
    }

    /// Notes which upstreams were reached.
    pub fn set_upstreams(&self, tried: Vec<(Arc<str>, bool)>) {
        *lock(&self.upstreams) = Upstreams::Tried(tried);
    }

    /// Whether all conditions of readiness hold.
    pub fn is_ready(&self) -> bool {
        lock(&self.configuration).is_some()
            && self.listeners.load(Relaxed) > 0
            && !self.draining.load(Relaxed)
            && (self.issuers)().iter().all(|(_, had_keys)| *had_keys)
            && self.state.get().is_none_or(|state| state().0)
            && match &*lock(&self.upstreams) {
                Upstreams::Ignored => true,
                Upstreams::Untried => false,
                Upstreams::Tried(tried) => tried.iter().all(|(_, reached)| *reached),
            }
    }

    /// The same on one line, the verdict first.
    pub(crate) fn line(&self) -> String {
        let verdict = if self.is_ready() { "ready" } else { "not ready" };
        format!("{verdict}: {}", self.describe().trim_end().replace('\n', ", "))
    }

    /// One line for each condition, and what else an operator should know.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        match &*lock(&self.configuration) {
            Some(version) => _ = writeln!(text, "config {version}"),
            None => text.push_str("no config\n"),
        }
        let issuers = (self.issuers)();
        let with_keys = issuers.iter().filter(|(_, had_keys)| *had_keys).count();
        let _ = writeln!(text, "issuers {with_keys}/{}", issuers.len());
        match self.listeners.load(Relaxed) {
            0 => text.push_str("listeners not bound\n"),
            count => _ = writeln!(text, "listeners {count}/{count}"),
        }
        if self.draining.load(Relaxed) {
            text.push_str("draining\n");
        }
        for (issuer, _) in issuers.iter().filter(|(_, had_keys)| !*had_keys) {
            let _ = writeln!(text, "issuer `{issuer}` has no keys yet");
        }
        if let Some(state) = self.state.get() {
            text.push_str(&state().1);
        }
        match &*lock(&self.upstreams) {
            Upstreams::Ignored => {}
            Upstreams::Untried => text.push_str("upstreams not tried yet\n"),
            Upstreams::Tried(tried) => {
                for (server, _) in tried.iter().filter(|(_, reached)| !*reached) {
                    let _ = writeln!(text, "upstream of `{server}` is not reached");
                }
            }
        }
        if let Some(trouble) = self.audit.get().and_then(|trouble| trouble()) {
            let _ = writeln!(text, "{trouble}");
        }
        if let Some(since) = *lock(&self.reload_failed) {
            let since = since.rfc3339();
            let since = String::from_utf8_lossy(&since);
            let _ = writeln!(text, "reloads fail since {since}");
            text.push_str("the configuration before is in force\n");
        }
        text
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first digits of each digest of a version, as people compare them.
fn shortened(version: &str) -> String {
    let digests = version.split(' ').map(|digest| digest.strip_prefix("sha256:").unwrap_or(digest));
    digests.map(|digest| digest.chars().take(12).collect::<String>()).collect::<Vec<_>>().join("+")
}
