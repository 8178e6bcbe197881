//! What a registry does: blobs, manifests and tags of repositories, over a store.
//!
//! [`Registry`] is the whole; who may use which of its repositories is decided
//! a floor above. A [`Repository`] reads, a [`WritableRepository`] writes too.

mod answers;
mod blobs;
mod catalog;
mod corrupt;
mod deletion;
mod discard;
mod error;
mod exports;
mod holdings;
mod index;
mod keys;
mod manifests;
mod presence;
mod reading;
mod recent;
mod referrers;
mod refresh;
mod s3_clients;
mod sessions;
mod sweep;
mod tags;
mod turns;
mod upload_id;
mod uploads;
mod used;
mod verified;

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::metrics::ProfileMetrics;
use crate::oci::RepoName;
use crate::store::{Cause, Clock, Key, ObjectMeta, ObjectStore, StoreError};
use corrupt::Corrupt;
use exports::Exports;
use holdings::Holdings;
use index::Index;
use keys::ImageKeys;
use recent::Recent;
use refresh::Refreshes;
use s3_clients::Disregarded;
use sessions::Sessions;
use sweep::Sweeps;
use turns::Turns;
use used::Marks;

pub use crate::buildkit::IMPORT_LIMIT;
pub use answers::{
    Answering, Explanation, Fallback, Finding, FoundByS3, Kind, Outcome, Parts, PassedOver, Seen, SeenByS3, ServedCache, Steps,
    Story, Target, Told, What, Why,
};
pub use blobs::Blob;
pub use catalog::Catalog;
pub use discard::{discard_blob, discard_manifest};
pub use error::RegistryError;
pub use keys::Layout;
pub use manifests::{MAX_MANIFEST_BYTES, ManifestInfo, StoredManifest, Written};
pub use referrers::Referrers;
pub use s3_clients::S3Clients;
pub use sweep::{Leftovers, Sweep, Swept};
pub use tags::Tags;
pub use upload_id::{InvalidUploadId, UploadId};
pub use uploads::LastChunk;

/// Bytes that a client is sending; the error is whatever broke its connection.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, Cause>> + Send>>;

/// A registry over one store.
#[derive(Debug)]
pub struct Registry {
    store: Arc<dyn ObjectStore>,
    layout: Layout,
    s3_clients: Option<S3Clients>,
    s3_disregarded: Disregarded,
    patience: Patience,
    belief: Belief,
    clock: Clock,
    index: Index,
    metrics: ProfileMetrics,
    refreshes: Refreshes,
    marks: Marks,
    recent: Recent,
    exports: Exports,
    sessions: Sessions,
    /// Turns at reading the pieces of uploads back.
    read_backs: Arc<Semaphore>,
    corrupt: Corrupt,
    holdings: Holdings,
    answers: answers::Memory,
    /// Turns at working on caches.
    answering: Arc<Semaphore>,
    sweeps: Sweeps,
    turns: Turns,
    background: TaskTracker,
}

/// Who wants to know something. What can be told differs, and how long they wait: see [`Patience`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// BuildKit or containerd about to push it, who will send it if it is not there.
    Push,
    /// BuildKit or containerd that wants to have it.
    Import,
    /// Anybody else.
    Pull,
}

/// What may be believed of blobs, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Belief {
    /// How long a blob that was there is taken to be there still.
    pub index_ttl: Duration,
    /// How much memory that may take, in bytes.
    pub index_bytes: u64,
    /// How old a blob may be that is told to be there before it is made young again.
    pub touch_after: Duration,
    /// How old a blob is at least that nobody needs, when it is removed.
    pub grace: Duration,
}

impl Default for Belief {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { index_ttl: Duration::from_secs(600), index_bytes: 16 << 20, touch_after: DAY * 3, grace: DAY * 7 }
    }
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
        let (belief, metrics) = (Belief::default(), ProfileMetrics::default());
        Self {
            store,
            layout: Layout::default(),
            s3_clients: None,
            s3_disregarded: Disregarded::default(),
            patience,
            belief,
            clock: Clock::default(),
            index: Index::new(&belief, metrics.clone()),
            metrics,
            refreshes: Refreshes::default(),
            marks: Marks::default(),
            recent: Recent::default(),
            exports: Exports::default(),
            sessions: Sessions::default(),
            read_backs: Arc::new(Semaphore::new(uploads::READ_BACKS_AT_ONCE)),
            corrupt: Corrupt::default(),
            holdings: Holdings::default(),
            answers: answers::Memory::default(),
            answering: answers::permits(),
            sweeps: Sweeps::default(),
            turns: Turns::new(),
            background: TaskTracker::new(),
        }
    }

    /// The same, with everything where `layout` has it.
    #[must_use]
    pub fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The same, beside clients of `type=s3`, if there are any.
    #[must_use]
    pub fn with_s3_clients(self, s3_clients: Option<S3Clients>) -> Self {
        Self { s3_clients, ..self }
    }

    /// The same, with `belief` in place of the default.
    #[must_use]
    pub fn with_belief(self, belief: Belief) -> Self {
        Self { index: Index::new(&belief, self.metrics.clone()), belief, ..self }
    }

    /// The same, counting into `metrics`.
    #[must_use]
    pub fn with_metrics(self, metrics: ProfileMetrics) -> Self {
        Self { index: Index::new(&self.belief, metrics.clone()), metrics, ..self }
    }

    /// The same, going by `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The repository `name`, to read from; it need not exist.
    #[must_use]
    pub fn repository(self: &Arc<Self>, name: RepoName) -> Repository {
        let (keys, image, answering) = (ImageKeys::of(&name, &self.layout), name.clone(), Arc::default());
        Repository { registry: Arc::clone(self), name, image, keys, answering, is_confined: false }
    }

    /// The repository `name`, to write to; it need not exist.
    #[must_use]
    pub fn writable_repository(self: &Arc<Self>, name: RepoName) -> WritableRepository {
        WritableRepository(self.repository(name))
    }

    /// Whether the blobs of all images lie in one place.
    #[must_use]
    pub fn shares_blobs(&self) -> bool {
        self.layout.shares_blobs()
    }

    /// Whether somebody seems to be in the middle of pushing: blobs came, their manifest has not.
    #[must_use]
    pub fn has_open_exports(&self) -> bool {
        self.exports.are_open()
    }

    /// How much memory the index of what is there takes, in bytes.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Waits for what was begun and runs in the background; listings are not gone on with.
    pub async fn settle(&self) {
        self.index.stop_listing();
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
    /// What clients call it.
    name: RepoName,
    /// What it is kept as.
    image: RepoName,
    keys: ImageKeys,
    /// How pulls of it are answered.
    answering: Arc<Answering>,
    /// Whether only what it can be shown to have counts of the blobs that all images share.
    is_confined: bool,
}

/// A repository, to read from and write to.
#[derive(Clone, Debug)]
pub struct WritableRepository(Repository);

impl Repository {
    /// What clients call it.
    #[must_use]
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    /// The same, for a client that calls it `name`.
    #[must_use]
    pub fn called(self, name: RepoName) -> Self {
        Self { name, ..self }
    }

    /// The same, with pulls answered as `answering` says.
    #[must_use]
    pub fn answering(self, answering: Answering) -> Self {
        Self { answering: Arc::new(answering), ..self }
    }

    /// This, and the other images that tags of it may be answered from.
    fn with_others(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.answering.others())
    }

    fn store(&self) -> &dyn ObjectStore {
        &*self.registry.store
    }

    fn index(&self) -> &Index {
        &self.registry.index
    }

    fn patience(&self) -> Patience {
        self.registry.patience
    }

    /// What the store says of `key` as long as a push waits for it. A store
    /// promises to be no slower, but a disk that hangs keeps no promise. What is known to be wrong is not there.
    async fn head_for_push(&self, key: &Key) -> Result<Option<ObjectMeta>, StoreError> {
        let patience = self.patience().push;
        let meta = tokio::time::timeout(patience, self.store().head(key, patience)).await.unwrap_or_else(|_| Err(late()))?;
        Ok(meta.filter(|meta| !self.registry.corrupt.is_bad(key, &meta.etag)))
    }
}

fn late() -> StoreError {
    StoreError::Unavailable("the store did not answer in time".into())
}

impl WritableRepository {
    /// The same, for a client that calls it `name`.
    #[must_use]
    pub fn called(self, name: RepoName) -> Self {
        Self(self.0.called(name))
    }

    /// The same, for what `answering` says that it is for.
    #[must_use]
    pub fn answering(self, answering: Answering) -> Self {
        Self(self.0.answering(answering))
    }
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
