//! Tells systemd how the process is (`sd_notify`). Where nobody asks, as `NOTIFY_SOCKET` is not set, nothing is told.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sd_notify::NotifyState;

use super::admin::Readiness;

/// How often it is looked whether there is something new to say.
const LOOK: Duration = Duration::from_secs(1);

/// Whether each worker's runtime still takes turns.
#[derive(Debug, Default)]
pub(crate) struct Pulses(Mutex<Vec<Weak<Pulse>>>);

/// One worker's sign of life.
#[derive(Debug)]
pub(crate) struct Pulse(AtomicBool);

impl Pulse {
    /// Notes that the worker is alive.
    pub(crate) fn beat(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Pulses {
    /// A worker that is expected to beat until it drops this.
    pub(crate) fn enrol(&self) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse(AtomicBool::new(true)));
        self.all().push(Arc::downgrade(&pulse));
        pulse
    }

    /// Whether every worker has beaten since this was last true.
    fn taken(&self) -> bool {
        let mut all = self.all();
        all.retain(|pulse| pulse.strong_count() > 0);
        let here: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        let alive = here.iter().all(|pulse| pulse.0.load(Relaxed));
        if alive {
            for pulse in &here {
                pulse.0.store(false, Relaxed);
            }
        }
        alive
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Pulse>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It listens, with the configuration that is in force; also after a reload, whatever came of it.
pub(crate) fn ready(readiness: &Readiness) {
    tell(&[NotifyState::Ready, NotifyState::Status(&readiness.line())]);
}

/// It reads its configuration again.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "systemd is not told of the reload"),
    }
}

/// It drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Keeps the status up to date and, where a watchdog waits for it, says that the process is alive: the runtime that this runs
/// on, and each worker's. Never returns.
pub(crate) async fn keep(readiness: &Readiness) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    let watchdog = sd_notify::watchdog_enabled();
    // Three times in the period, so that one may be late.
    let pause = watchdog.map_or(LOOK, |period| (period / 3).min(LOOK));
    let every = watchdog.map(|period| period / 3);
    let mut told = readiness.line();
    let mut since = Duration::ZERO;
    loop {
        tokio::time::sleep(pause).await;
        since += pause;
        if every.is_some_and(|every| since >= every) && readiness.pulses().taken() {
            tell(&[NotifyState::Watchdog]);
            since = Duration::ZERO;
        }
        let now = readiness.line();
        if now != told {
            tell(&[NotifyState::Status(&now)]);
            told = now;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told how the process is");
    }
}

#[cfg(test)]
mod tests {
    use super::Pulses;

    #[test]
    fn one_worker_that_hangs_is_enough() {
        let pulses = Pulses::default();
        let (one, other) = (pulses.enrol(), pulses.enrol());
        assert!(pulses.taken(), "both have just started");
        assert!(!pulses.taken(), "neither has beaten since");
        one.beat();
        assert!(!pulses.taken());
        other.beat();
        assert!(pulses.taken());
        one.beat();
        assert!(!pulses.taken());
        drop(other);
        assert!(pulses.taken(), "who has ended is not waited for");
    }
}
