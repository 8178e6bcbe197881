//! Settings that change while the server serves: their files are looked at
//! again and again, since a change of them (Kubernetes swaps a link two levels
//! up) reaches no watch on a file; and SIGHUP asks for it.
//!
//! Files are looked at and read beside all else: where the file system hangs,
//! nothing but this waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{Instant, sleep, timeout};

use crate::app::{Occasion, Running};
use crate::config::{self, Config, Flags, Problems, Server, Sources};

/// How often files are looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// How long files may go on changing before they are read as they are.
const RESTLESS: Duration = Duration::from_secs(5);

/// How long reading them takes where all is well.
const READING: Duration = Duration::from_secs(10);

/// How often settings are read whose files turn out to be others than those that were looked at.
const ATTEMPTS: usize = 3;

/// Reads the settings again for as long as it is waited for.
pub(super) struct Reloading {
    flags: Flags,
    running: Arc<Running>,
    hangup: Signal,
}

/// Files as they were at a glance.
pub(super) type Glance = BTreeMap<PathBuf, Option<Look>>;

/// Where a path leads, and what is there: anything about it that a change of it changes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    target: PathBuf,
    inode: u64,
    bytes: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Reloading {
    pub(super) fn new(flags: Flags, running: Arc<Running>, hangup: Signal) -> Self {
        Self { flags, running, hangup }
    }

    /// Puts into force what files say, whenever they are other than they were `seen`, or a signal comes.
    pub(super) async fn go_on(mut self, mut seen: Glance) {
        loop {
            let is_asked = self.is_asked_within(GLANCE).await;
            let Some(now) = look_again(&seen).await else { continue };
            if is_asked {
                seen = self.reload(now, Occasion::Asked).await;
            } else if now != seen {
                let (now, occasion) = self.settled(now).await;
                seen = self.reload(now, occasion).await;
            }
        }
    }

    /// Whether a signal comes within `time`.
    async fn is_asked_within(&mut self, time: Duration) -> bool {
        tokio::select! {
            signal = self.hangup.recv() => signal.is_some(),
            () = sleep(time) => false,
        }
    }

    /// The files once they stay as they are, since whoever writes several is let finish; or when it has lasted too long.
    async fn settled(&mut self, mut now: Glance) -> (Glance, Occasion) {
        let end = Instant::now() + RESTLESS;
        loop {
            if self.is_asked_within(GLANCE / 4).await {
                return (now, Occasion::Asked);
            }
            let Some(next) = look_again(&now).await else { return (now, Occasion::Noticed) };
            if next == now || Instant::now() >= end {
                return (next, Occasion::Noticed);
            }
            now = next;
        }
    }

    /// Reads everything and puts it in force if it is fine; the files that count from now on, as they were before that.
    async fn reload(&self, now: Glance, occasion: Occasion) -> Glance {
        let (flags, server) = (self.flags.clone(), self.running.server().clone());
        let before = now.clone();
        let Some((read, seen)) = beside(move || read(&flags, &server, now)).await else { return before };
        let outcome = match read {
            Ok(config) => {
                tell_warnings(&config);
                self.running.reload(config, occasion).await.map_err(|mistakes| mistakes.to_string())
            }
            Err(problems) => Err(problems.to_string()),
        };
        self.running.tell_of_reload(outcome.as_ref().map_err(String::as_str));
        seen
    }
}

/// What the settings are now; and the files that count, as they were before they were read. Where something is wrong these
/// are also those of before: mending may mean any of them.
fn read(flags: &Flags, server: &Server, mut now: Glance) -> (Result<Config, Problems>, Glance) {
    let mut attempts = 1;
    loop {
        let environment = std::env::vars_os().collect();
        let read = Sources::gather(flags, &environment).and_then(|sources| config::load_beside(&sources, server));
        let files: BTreeSet<_> = match &read {
            Ok(config) => config.files.iter().cloned().collect(),
            Err(_) => now.keys().cloned().chain(config::places(flags, &environment)).collect(),
        };
        let new: Vec<_> = files.iter().filter(|path| !now.contains_key(*path)).cloned().collect();
        now.extend(glance(&new));
        if new.is_empty() || attempts == ATTEMPTS {
            now.retain(|path, _| files.contains(path));
            return (read, now);
        }
        // What is read before it is looked at could change in between, and nobody would notice.
        attempts += 1;
    }
}

/// Says what may not have been meant.
pub(super) fn tell_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// Does `work` where it holds up nothing else, and says so if it takes long; nothing if it panics.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let mut working = tokio::task::spawn_blocking(work);
    if let Ok(done) = timeout(READING, &mut working).await {
        return done.ok();
    }
    tracing::error!("the files of the settings cannot be read: the file system does not answer; the old ones stay in force");
    working.await.ok()
}

/// How the files of `seen` are now.
async fn look_again(seen: &Glance) -> Option<Glance> {
    let paths: Vec<_> = seen.keys().cloned().collect();
    beside(move || glance(&paths)).await
}

/// How the files at `paths` are.
pub(super) fn glance<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Glance {
    paths.into_iter().map(|path| (path.clone(), look(path))).collect()
}

fn look(path: &Path) -> Option<Look> {
    let (target, metadata) = (fs::canonicalize(path).ok()?, fs::metadata(path).ok()?);
    Some(Look {
        target,
        inode: metadata.ino(),
        bytes: metadata.len(),
        mode: metadata.mode(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}
