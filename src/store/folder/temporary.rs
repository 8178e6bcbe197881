//! Files on their way to their place: written beside, synced, then renamed.
//!
//! Whoever writes one holds a lock on it, which ends with the process however
//! that ends: so a file that can be locked belongs to nobody.

use std::fs::{File, FileTimes, Metadata};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::problem::{At, Problem};
use super::tree::Tree;
use super::{etag, form};
use crate::store::Key;

/// Where they are; no component of a key is called so.
const FOLDER: &str = "@tmp";

/// How old a file must be to count as left over: time enough to lock it after making it.
const LEFT_OVER: Duration = Duration::from_secs(60);

/// A file being written; gone when dropped, unless it was published.
#[derive(Debug)]
pub(super) struct Temporary {
    tree: Arc<Tree>,
    file: File,
    name: String,
    is_published: bool,
}

impl Temporary {
    /// An empty file.
    pub(super) fn create(tree: Arc<Tree>) -> Result<Self, Problem> {
        let name = Uuid::new_v4().simple().to_string();
        let file = tree.create(FOLDER, &name)?;
        // Where nobody can lock, nobody sweeps.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Self { tree, file, name, is_published: false })
    }

    /// A file for an object that begins with `first`, which is written to it.
    pub(super) fn begin(tree: Arc<Tree>, content_type: &str, first: &[u8]) -> Result<Self, Problem> {
        let line = form::line(content_type, first).at(tree.path())?;
        let mut temporary = Self::create(tree)?;
        temporary.write(&line)?;
        temporary.write(first)?;
        Ok(temporary)
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).at(self.tree.path())
    }

    /// Appends all that stands in `file`.
    pub(super) fn write_from(&mut self, file: &mut File) -> Result<(), Problem> {
        std::io::copy(file, &mut self.file).map(drop).at(self.tree.path())
    }

    /// Makes it the object at `key`, at once and for good; its etag.
    pub(super) fn publish(mut self, key: &Key) -> Result<String, Problem> {
        // The kernel's own times move in steps of milliseconds, and two writes in one step would look like one.
        let times = FileTimes::new().set_modified(SystemTime::now());
        self.file.set_times(times).and_then(|()| self.file.sync_all()).at(self.tree.path())?;
        self.tree.publish(FOLDER, &self.name, key)?;
        self.is_published = true;
        Ok(etag(&self.file.metadata().at(self.tree.path())?))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_published {
            return;
        }
        if let Err(error) = self.tree.discard(FOLDER, &self.name) {
            tracing::warn!(%error, "temporary file not removed");
        }
    }
}

/// Removes what processes left behind that were ended in the middle of writing.
pub(super) fn sweep(tree: &Tree) -> Result<(), Problem> {
    for name in left_over(tree, SystemTime::now() - LEFT_OVER)? {
        // Another process may be sweeping, too; and what can't be removed now can be next time.
        if discard(tree, &name).is_ok() {
            tracing::info!(name, "removed what an unfinished write left behind");
        }
    }
    Ok(())
}

/// The names of what such processes left behind before `before`.
pub(super) fn left_over(tree: &Tree, before: SystemTime) -> Result<Vec<String>, Problem> {
    let names = match tree.names(FOLDER) {
        Err(problem) if problem.is_absence() => return Ok(Vec::new()),
        names => names?,
    };
    let is_left_over = |name: &String| tree.reopen(FOLDER, name).is_ok_and(|file| is_left_over(&file, before));
    Ok(names.into_iter().filter(is_left_over).collect())
}

/// Removes what was left over as `name`, if it is there still.
pub(super) fn discard(tree: &Tree, name: &str) -> Result<(), Problem> {
    match tree.discard(FOLDER, name) {
        Err(problem) if problem.is_not_found() => Ok(()),
        discarded => discarded,
    }
}

fn is_left_over(file: &File, before: SystemTime) -> bool {
    let is_old = |metadata: Metadata| metadata.is_file() && metadata.modified().is_ok_and(|modified| modified < before);
    file.metadata().is_ok_and(is_old) && flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}
