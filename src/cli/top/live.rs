//! The live view: looks at intervals, and answers keys at once.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::picture::Picture;
use super::scrape::Scrape;
use super::screen::{Key, Screen, keys};
use super::table::{COLUMNS, Line, Look, Order, render};
use super::{Streams, look};
use crate::clock::Timestamp;
use crate::server::admin::Place;

/// Percentiles are of the calls of this time.
const WINDOW: Duration = Duration::from_mins(1);
/// The most looks that are kept for that.
const KEPT: usize = 600;

/// What is shown and how.
#[derive(Default)]
pub(super) struct View {
    pub(super) order: Order,
    pub(super) is_paused: bool,
    /// Whether keys are letters of the filter.
    pub(super) is_typing: bool,
}

impl View {
    /// Does what a key says; whether the view is to end.
    pub(super) fn press(&mut self, key: Key) -> bool {
        match (self.is_typing, key) {
            (true, Key::Char(char)) => self.order.filter.push(char),
            (true, Key::Backspace) => drop(self.order.filter.pop()),
            (true, Key::Enter) => self.is_typing = false,
            (_, Key::Escape) => {
                self.is_typing = false;
                self.order.filter.clear();
            }
            (false, Key::Char('/')) => self.is_typing = true,
            (false, Key::Char('p')) => self.is_paused = !self.is_paused,
            (false, Key::Char('s')) => self.order.column = (self.order.column + 1) % COLUMNS,
            (false, Key::Char('q')) => return true,
            (false, _) => {}
        }
        false
    }

    /// The last line of the screen.
    pub(super) fn footer(&self) -> String {
        if self.is_typing {
            return format!("/{}▏", self.order.filter);
        }
        let filter = match self.order.filter.as_str() {
            "" => String::new(),
            filter => format!("   only `{filter}`"),
        };
        let paused = if self.is_paused { "   paused" } else { "" };
        format!("q quit   / filter   s sort   p pause{filter}{paused}")
    }
}

/// Shows the proxy at `place` until somebody has seen enough. Errs if it does not answer at first.
pub(super) async fn watch(place: &Place, every: Duration, streams: &mut Streams<'_>) -> io::Result<()> {
    let mut looks = VecDeque::from([look(place).await?]);
    let mut ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let mut resized = signal(SignalKind::window_change())?;
    let screen = Screen::enter()?;
    let (mut keys, mut view, mut lost) = (keys(), View::default(), None);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let lines = drawn(&looks, &view, lost.as_ref());
        screen.draw(&lines, &view.footer(), streams.out_color)?;
        tokio::select! {
            () = any(&mut ends) => return Ok(()),
            _ = resized.recv() => {}
            key = keys.recv() => match key {
                Some(key) if view.press(key) => return Ok(()),
                Some(_) => {}
                // Nobody can press a key any more.
                None => return Ok(()),
            },
            _ = ticks.tick(), if !view.is_paused => match look(place).await {
                Ok(now) => {
                    lost = None;
                    keep(&mut looks, now);
                }
                Err(error) => lost = Some(format!("no answer from {place}: {error}")),
            },
        }
    }
}

/// Keeps the looks of the window; one of another process begins it anew.
fn keep(looks: &mut VecDeque<Scrape>, now: Scrape) {
    const START: &str = "process_start_time_seconds";
    if looks.back().is_some_and(|last| last.value(START) != now.value(START)) {
        looks.clear();
    }
    let at = now.at;
    looks.push_back(now);
    while looks.len() > KEPT
        || looks.len() > 2 && looks.front().is_some_and(|first| at.saturating_duration_since(first.at) > WINDOW)
    {
        looks.pop_front();
    }
}

fn drawn(looks: &VecDeque<Scrape>, view: &View, lost: Option<&String>) -> Vec<Line> {
    let Some(now) = looks.back() else { return Vec::new() };
    let before = looks.iter().rev().nth(1).unwrap_or(now);
    let window = looks.front().filter(|_| looks.len() > 1);
    let picture = Picture::new(now, before, window, Timestamp::now());
    let mut lines = render(&picture, &view.order, true);
    if let Some(lost) = lost {
        lines.insert(1, Line { text: lost.clone(), look: Look::Bad });
    }
    lines
}

/// Completes when one of the signals arrives.
async fn any(signals: &mut [io::Result<Signal>; 3]) {
    let [first, second, third] = signals;
    tokio::select! {
        () = next(first) => {}
        () = next(second) => {}
        () = next(third) => {}
    }
}

async fn next(signal: &mut io::Result<Signal>) {
    match signal {
        Ok(signal) => drop(signal.recv().await),
        Err(_) => std::future::pending().await,
    }
}
