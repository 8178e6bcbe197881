//! Settings that change while the server serves: their files are looked at
//! again and again, since a change of them (Kubernetes swaps a link two levels
//! up) reaches no watch on a file; and SIGHUP asks for it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use crate::app::{Reloaded, Running};
use crate::config::{self, Config, Flags, Sources};

/// How often files are looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// Reads the settings again for as long as it is waited for.
pub(super) struct Reloading {
    flags: Flags,
    running: Arc<Running>,
    hangup: Signal,
}

/// Files as they were at a glance: where their paths lead, and what is there.
pub(super) type Glance = BTreeMap<PathBuf, Option<(PathBuf, u64, u64, i64, i64)>>;

impl Reloading {
    pub(super) fn new(flags: Flags, running: Arc<Running>, hangup: Signal) -> Self {
        Self { flags, running, hangup }
    }

    /// Puts into force what files say, whenever they are other than they were `seen`, or a signal comes.
    pub(super) async fn go_on(mut self, mut seen: Glance) {
        loop {
            let is_told = tokio::select! {
                signal = self.hangup.recv() => signal.is_some(),
                () = tokio::time::sleep(GLANCE) => false,
            };
            let now = glance(seen.keys());
            if !is_told && now == seen {
                continue;
            }
            // Whoever writes several files is let finish.
            if !is_told && !settled(&now).await {
                continue;
            }
            seen = self.reload(&now).await.unwrap_or(now);
        }
    }

    /// Reads everything and puts it in force; the files that count from now on, if it was.
    async fn reload(&self, now: &Glance) -> Option<Glance> {
        let read = Sources::gather(&self.flags, &std::env::vars_os().collect()).and_then(|sources| config::load(&sources));
        let config = match read {
            Ok(config) => config,
            Err(problems) => {
                tracing::error!(%problems, "settings not reloaded; the old ones stay in force");
                return None;
            }
        };
        // What was looked at before it was read stays so, or a change that was made since would never be noticed.
        let seen = config.files.iter().map(|path| (path.clone(), now.get(path).cloned().unwrap_or_else(|| look(path)))).collect();
        tell_warnings(&config);
        match self.running.reload(config).await {
            Ok(reloaded) => {
                tell(&reloaded);
                Some(seen)
            }
            Err(problems) => {
                tracing::error!(%problems, "settings not reloaded; the old ones stay in force");
                None
            }
        }
    }
}

/// Says what may not have been meant.
pub(super) fn tell_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

fn tell(reloaded: &Reloaded) {
    let Reloaded { opened, closed, secrets, needs_restart } = reloaded;
    let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
    tracing::info!(opened = opened.join(" "), closed = closed.join(" "), secrets = secrets.join(" "), "settings reloaded");
    if *needs_restart {
        tracing::warn!("what changed of [server] and [store] is heeded at the next start only");
    }
}

/// Whether the files are a glance later as they were.
async fn settled(before: &Glance) -> bool {
    tokio::time::sleep(GLANCE / 4).await;
    glance(before.keys()) == *before
}

/// How the files at `paths` are.
pub(super) fn glance<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Glance {
    paths.into_iter().map(|path| (path.clone(), look(path))).collect()
}

fn look(path: &Path) -> Option<(PathBuf, u64, u64, i64, i64)> {
    let (target, metadata) = (fs::canonicalize(path).ok()?, fs::metadata(path).ok()?);
    Some((target, metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}
