//! Who did what: a line for each write, delete, denial, login and reload, in the log or in a file of its own.
//!
//! Whoever tells of something waits for no disk: a file's lines go through a
//! queue to a thread of their own. What that cannot keep is counted, and told
//! in the log when it begins and when it is over.

mod file;
mod line;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::metrics::Counter;
use crate::secrets::Mask;
use file::LogFile;
use queue::Queue;

pub use line::{Event, Line};

/// What events of the log go by that tell who did what.
pub const TARGET: &str = "longshore.audit";

/// Tells who did what. Clones tell it in the same place.
#[derive(Clone, Default)]
pub struct Audit(Arc<Inner>);

#[derive(Default)]
struct Inner {
    mask: Mask,
    lost: Counter,
    file: RwLock<Option<Arc<Kept>>>,
}

/// A file that lines are kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFile {
    /// Where it is.
    pub path: PathBuf,
    /// How a line is written.
    pub format: Format,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `key=value` with spaces between; a text in quotation marks, as JSON has it, and `-` for what is not known.
    Text,
    /// An object of JSON; `null` for what is not known.
    Json,
}

/// A file that is open.
pub struct Kept {
    stated: AuditFile,
    queue: Queue,
}

impl Audit {
    /// One that tells it in the log, without what `mask` holds; lines that a file could not take are counted as `lost`.
    #[must_use]
    pub fn new(mask: Mask, lost: Counter) -> Self {
        Self(Arc::new(Inner { mask, lost, file: RwLock::default() }))
    }

    /// Tells of `line`.
    pub fn tell(&self, line: &Line<'_>) {
        match self.file() {
            Some(file) => file.queue.keep(self.0.mask.apply(&line.written(file.stated.format)).into_owned()),
            None => line.log(),
        }
    }

    /// Opens the file that is `stated`; the one in force where it is that.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(&self, stated: Option<&AuditFile>) -> io::Result<Option<Arc<Kept>>> {
        let Some(stated) = stated else { return Ok(None) };
        if let Some(file) = self.file().filter(|file| file.stated == *stated) {
            return Ok(Some(file));
        }
        let target = LogFile::open(&stated.path)?;
        let gap = stated.format;
        let queue = Queue::before(target, stated.path.display().to_string(), self.0.lost.clone(), move |lines| {
            Line::of_loss(lines).written(gap)
        })?;
        Ok(Some(Arc::new(Kept { stated: stated.clone(), queue })))
    }

    /// From now on lines are kept in `file`, or told in the log. Those that were told before are kept where they were to be.
    pub fn put_in_force(&self, file: Option<Arc<Kept>>) {
        *self.0.file.write().unwrap_or_else(PoisonError::into_inner) = file;
    }

    /// Waits until the file has every line that was told; for `limit` at most.
    pub async fn settle(&self, limit: Duration) {
        let Some(file) = self.file() else { return };
        // A disk that hangs is waited for beside all else.
        let written = tokio::task::spawn_blocking(move || file.queue.settle(limit));
        if !written.await.unwrap_or_default() {
            tracing::error!("stopped before the last lines of the audit were written");
        }
    }

    fn file(&self) -> Option<Arc<Kept>> {
        self.0.file.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Audit").field(&self.file().map(|file| file.stated.path.clone())).finish()
    }
}
