//! What a registry does: blobs, manifests and tags of repositories, over a store.
//!
//! [`Registry`] is the whole; who may use which of its repositories is decided
//! a floor above. A [`Repository`] reads, a [`WritableRepository`] writes too.

mod blobs;
mod catalog;
mod error;
mod exports;
mod keys;
mod manifests;
mod referrers;
mod sessions;
mod sweep;
mod tags;
mod uploads;

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio_util::task::TaskTracker;

use crate::oci::RepoName;
use crate::store::{Cause, Key, ObjectMeta, ObjectStore, StoreError};
use exports::Exports;
use keys::ImageKeys;
use sessions::Sessions;
use sweep::Sweeps;

pub use blobs::Blob;
pub use catalog::Catalog;
pub use error::RegistryError;
pub use manifests::{Asker, MAX_MANIFEST_BYTES, ManifestInfo, StoredManifest, Written};
pub use referrers::Referrers;
pub use sweep::{Leftovers, Sweep, Swept};
pub use tags::Tags;
pub use uploads::{InvalidUploadId, LastChunk, UploadId};

/// Bytes that a client is sending; the error is whatever broke its connection.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Cause>> + Send>>;

/// A registry over one store.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn ObjectStore>,
    patience: Patience,
    exports: Exports,
    sessions: Sessions,
    sweeps: Sweeps,
    background: TaskTracker,
}

/// How long the store is waited for, by what a client is waiting for.
///
/// BuildKit skips an import that fails and builds on, so a pull's first
/// questions are answered soon or not at all; a failed export breaks the build,
/// so what a push sends waits as long as it may. BuildKit has no timeout of its own.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a manifest that a pull asks for: BuildKit asks twice.
    pub pull: Duration,
    /// For whether something is there already, asked by a push. After that it
    /// counts as absent, and the PUT that follows waits.
    pub push: Duration,
    /// For bytes that are read or written.
    pub bytes: Duration,
}

impl Patience {
    /// The waits of the design, with `bytes` for everything that may take long.
    #[must_use]
    pub fn with_bytes(bytes: Duration) -> Self {
        Self { pull: Duration::from_secs(2).min(bytes), push: Duration::from_secs(5).min(bytes), bytes }
    }
}

impl Registry {
    /// A registry that keeps everything in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, patience: Patience) -> Self {
        Self {
            store,
            patience,
            exports: Exports::default(),
            sessions: Sessions::default(),
            sweeps: Sweeps::default(),
            background: TaskTracker::new(),
        }
    }

    /// The repository `name`, to read from; it need not exist.
    #[must_use]
    pub fn repository(self: &Arc<Self>, name: RepoName) -> Repository {
        Repository { keys: ImageKeys::of(&name), registry: Arc::clone(self), name }
    }

    /// The repository `name`, to write to; it need not exist.
    #[must_use]
    pub fn writable_repository(self: &Arc<Self>, name: RepoName) -> WritableRepository {
        WritableRepository(self.repository(name))
    }

    /// Whether somebody seems to be in the middle of pushing: blobs came, their manifest has not.
    #[must_use]
    pub fn has_open_exports(&self) -> bool {
        self.exports.are_open()
    }

    /// Waits for what was begun and runs in the background.
    pub async fn settle(&self) {
        self.background.close();
        self.background.wait().await;
        self.background.reopen();
        self.store.settle().await;
    }
}

/// A repository, to read from.
#[derive(Clone)]
pub struct Repository {
    registry: Arc<Registry>,
    name: RepoName,
    keys: ImageKeys,
}

/// A repository, to read from and write to.
#[derive(Clone, Debug)]
pub struct WritableRepository(Repository);

impl Repository {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    fn store(&self) -> &dyn ObjectStore {
        &*self.registry.store
    }

    fn patience(&self) -> Patience {
        self.registry.patience
    }

    /// What the store says of `key` as long as a push waits for it. A store
    /// promises to be no slower, but a disk that hangs keeps no promise.
    async fn head_for_push(&self, key: &Key) -> Result<Option<ObjectMeta>, StoreError> {
        let patience = self.patience().push;
        tokio::time::timeout(patience, self.store().head(key, patience)).await.unwrap_or_else(|_| Err(late()))
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("the store did not answer in time".into())
}

impl Deref for WritableRepository {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.0
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.name)
    }
}
