//! Lines on their way to where they are kept: whoever has one waits for nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::metrics::Counter;

/// Most lines that wait: a second's of a server that does nothing else, and a few MiB of memory.
pub(super) const MOST_WAITING: usize = 4096;

/// How often the end of the lines is asked for while there is no room even for that.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// What lines are kept in.
pub(super) trait Target: Send + 'static {
    /// Keeps a line whole.
    fn keep(&mut self, line: &str) -> io::Result<()>;
}

/// The lines that wait.
pub(super) struct Queue {
    waiting: SyncSender<Waiting>,
    losses: Arc<Losses>,
}

enum Waiting {
    Line(String),
    /// Somebody wants to know when all before it are kept.
    End(SyncSender<()>),
}

/// Lines that could not be kept.
struct Losses {
    /// Where they were to be kept.
    place: String,
    counter: Counter,
    /// How many since one was kept.
    running: AtomicU64,
}

impl Queue {
    /// One before `target`, which is called `place`; `gap` is what tells there that so many lines are missing.
    pub(super) fn before(
        target: impl Target,
        place: String,
        counter: Counter,
        gap: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (waiting, lines) = sync_channel(MOST_WAITING);
        let losses = Arc::new(Losses { place, counter, running: AtomicU64::new(0) });
        let told = Arc::clone(&losses);
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || keep_all(&lines, target, &told, gap))?;
        Ok(Self { waiting, losses })
    }

    /// Has `line` kept, if there is room.
    pub(super) fn keep(&self, line: String) {
        if self.waiting.try_send(Waiting::Line(line)).is_err() {
            self.losses.lose(&"the file system does not answer");
        }
    }

    /// Whether all lines so far are kept or lost within `limit`.
    pub(super) fn settle(&self, limit: Duration) -> bool {
        let (kept, end) = sync_channel(1);
        let (mut asking, until) = (Waiting::End(kept), Instant::now() + limit);
        loop {
            match self.waiting.try_send(asking) {
                Ok(()) => return end.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok(),
                Err(TrySendError::Full(again)) if Instant::now() < until => asking = again,
                Err(_) => return false,
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }
}

/// Keeps lines until nobody is left who could have one.
fn keep_all(lines: &Receiver<Waiting>, mut target: impl Target, losses: &Losses, gap: impl Fn(u64) -> String) {
    for waiting in lines {
        match waiting {
            Waiting::Line(line) => match keep(&mut target, &line, losses, &gap) {
                Ok(()) => {}
                Err(cause) => losses.lose(&cause),
            },
            // Who asked may have given up.
            Waiting::End(kept) => drop(kept.try_send(())),
        }
    }
}

/// Keeps a line, behind what tells of those that are missing before it.
fn keep(target: &mut impl Target, line: &str, losses: &Losses, gap: &impl Fn(u64) -> String) -> io::Result<()> {
    let missing = losses.running.load(Ordering::Relaxed);
    if missing > 0 {
        target.keep(&gap(missing))?;
        losses.are_over(missing);
    }
    target.keep(line)
}

impl Losses {
    fn lose(&self, cause: &dyn std::fmt::Display) {
        self.counter.inc();
        if self.running.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(file = self.place, %cause, "lines of the audit are lost; they are counted until it takes some again");
        }
    }

    /// The first so many are told of, and lines are kept again.
    fn are_over(&self, missing: u64) {
        self.running.fetch_sub(missing, Ordering::Relaxed);
        tracing::warn!(file = self.place, lost = missing, "lines of the audit are kept again");
    }
}
