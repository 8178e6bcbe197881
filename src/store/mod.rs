//! Bytes under keys: what the registry needs of a bucket, a folder or memory.
//!
//! A store knows no digest, tag or profile. What it promises is written on
//! [`ObjectStore`] and [`Upload`], and `tests/store` holds every store to it.

mod budget;
mod clock;
mod folder;
mod key;
mod memory;
mod read_only;
mod s3;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

use crate::credentials::NoCredentials;
use crate::oci::ByteRange;

pub use budget::{MemoryBudget, Share};
pub use clock::Clock;
pub use folder::FolderStore;
pub use key::{InvalidKey, Key};
pub use memory::MemoryStore;
pub use read_only::ReadOnly;
pub use s3::{KIND_NAMES, S3Encryption, S3Endpoint, S3Kind, S3Objects, S3Settings, S3Store};

/// A place that keeps objects under keys, shared by all who hold it.
///
/// Reading after writing is consistent: who was told that a write is done sees
/// it, and nobody ever sees half of one. Of two writes to one key either may
/// win, whole.
///
/// `patience` is how long a call may go on without getting anywhere; inside it
/// a store tries again whatever is worth trying again. Once a store is known to
/// be down, who has 2 s of it or less is told so at once.
///
/// What is archived, so that it could not be read now, counts as absent.
#[async_trait]
pub trait ObjectStore: fmt::Debug + Send + Sync {
    /// What is known of the object at `key`, `None` when there is none.
    async fn head(&self, key: &Key, patience: Duration) -> Result<Option<ObjectMeta>, StoreError>;

    /// The object at `key`, or the part of it in `range`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::OutOfRange`] when no byte of the object lies in `range`.
    async fn get(&self, key: &Key, range: Option<ByteRange>, patience: Duration) -> Result<Option<Object>, StoreError>;

    /// Makes `bytes` the object at `key`, all at once.
    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, patience: Duration) -> Result<(), StoreError>;

    /// Begins to write the object at `key`, of content type [`OCTET_STREAM`].
    ///
    /// `length` is the number of bytes that will follow, if that is known.
    /// Costs nothing until the first byte is written.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] when so many bytes can never be kept here.
    async fn upload(&self, key: &Key, length: Option<u64>, patience: Duration) -> Result<Box<dyn Upload>, StoreError>;

    /// Makes what is at `from` the object at `to` too; `false` when there is
    /// nothing at `from`, or something else than what had `etag`. Its bytes do
    /// not pass through here.
    async fn copy(&self, from: &Key, etag: &str, to: &Key, patience: Duration) -> Result<bool, StoreError>;

    /// Makes the object at `key` as young as if it had just been written;
    /// `false` when there is none. Its bytes and its content type stay.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] when so large an object can't be.
    async fn touch(&self, key: &Key, patience: Duration) -> Result<bool, StoreError>;

    /// Removes the object at `key`; there need not be one.
    async fn delete(&self, key: &Key, patience: Duration) -> Result<(), StoreError>;

    /// One page of the objects whose keys begin with `prefix` and come after
    /// `after`, in the order of the keys' bytes.
    async fn list(&self, prefix: &str, after: Option<&Key>, patience: Duration) -> Result<Page, StoreError>;

    /// The names that stand between `prefix` and the next `/` in any key, each
    /// once, in any order; `prefix` is empty or ends in `/`.
    async fn folders(&self, prefix: &str, patience: Duration) -> Result<Vec<String>, StoreError>;

    /// The uploads to keys that begin with `prefix` which were begun before
    /// `before`, and which nobody has finished or aborted; perhaps not all of
    /// them at once. `None` when the store does not tell, or not to us.
    ///
    /// One that does not know for which key an upload was tells it where `prefix` is empty.
    async fn unfinished(
        &self,
        prefix: &str,
        before: SystemTime,
        patience: Duration,
    ) -> Result<Option<Vec<Unfinished>>, StoreError>;

    /// Discards everything that was written of `upload`, which may be over by now.
    async fn discard(&self, upload: &Unfinished, patience: Duration) -> Result<(), StoreError>;

    /// Finds out whether the store can be used as it is set up.
    async fn probe(&self, patience: Duration) -> Result<(), StoreError>;

    /// Asks over new connections from now on, where there are any to make anew.
    fn reconnect(&self) {}

    /// Waits until nothing that was begun here still runs in the background.
    async fn settle(&self);
}

/// An object on its way into a store; nobody sees it before [`finish`](Upload::finish).
///
/// Dropping it is [`abort`](Upload::abort), done in the background.
#[async_trait]
pub trait Upload: fmt::Debug + Send {
    /// Appends `chunk`, waiting while too much is in flight.
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError>;

    /// Makes everything written visible at once, durably.
    ///
    /// `sha256` is the hash of everything written, where the caller knows it:
    /// a store that can check it does. Returns the object's etag.
    async fn finish(self: Box<Self>, sha256: Option<[u8; 32]>) -> Result<String, StoreError>;

    /// Discards everything written.
    async fn abort(self: Box<Self>);
}

/// The content type of bytes that nothing is known of.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// What a store knows of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// How many bytes the whole object has.
    pub size: u64,
    /// What the writer said the bytes are.
    pub content_type: String,
    /// When the object was written, by the store's clock.
    pub last_modified: SystemTime,
    /// Changes whenever the bytes may have changed; means nothing else.
    pub etag: String,
}

/// An object being read.
pub struct Object {
    /// What is known of the whole object.
    pub meta: ObjectMeta,
    /// Where in the object `body` begins.
    pub offset: u64,
    /// How many bytes `body` yields if nothing breaks.
    pub length: u64,
    /// The bytes; shorter than `length` only after an error.
    pub body: ByteStream,
}

/// Bytes that are still arriving.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>;

/// A stretch of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects, in the order of their keys' bytes.
    pub objects: Vec<Listed>,
    /// Whether there are more after the last of them.
    pub is_truncated: bool,
}

/// An object as a listing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it is.
    pub key: Key,
    /// How many bytes it has.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub last_modified: SystemTime,
    /// Changes whenever the bytes may have changed; means nothing else.
    pub etag: String,
}

/// An upload that was begun, by this process or another, and is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where the object would be, if the store knows.
    pub key: Option<Key>,
    /// What the store calls it.
    id: String,
}

/// Why a store could not do as asked. Every message is fit to send to a client.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is down, slow or failing; asking again may work.
    #[error("storage unavailable")]
    Unavailable(#[source] Cause),
    /// It has no room left.
    #[error("storage is full")]
    Full(#[source] Cause),
    /// It does not let us.
    #[error("storage refused access{}", s3::lacking(.0).map(|it| format!("; its keys lack {it}")).unwrap_or_default())]
    Denied(#[source] Cause),
    /// There is nothing to get in with; the profile's name helps whoever asks, and nothing else is tried.
    #[error("profile {:?} has no credentials for its storage", .0.profile)]
    NoCredentials(#[source] NoCredentials),
    /// It cannot be used as it is set up; a person must mend that.
    #[error("storage is misconfigured")]
    Misconfigured(#[source] Misconfiguration),
    /// An object of so many bytes cannot be kept.
    #[error("at most {limit} bytes can be stored in one object here")]
    TooLarge {
        /// The most bytes that could be.
        limit: u64,
    },
    /// No byte of the object lies in the range asked for.
    #[error("range not satisfiable")]
    OutOfRange,
    /// The object that was being read is no longer there, or is another one.
    #[error("the object changed while it was read")]
    Changed,
}

impl StoreError {
    /// The permission that the keys to a store lack, if it is that. The store has told of it by itself.
    #[must_use]
    pub fn lacks(&self) -> Option<&'static str> {
        match self {
            Self::Denied(cause) => s3::lacking(cause),
            _ => None,
        }
    }
}

/// What lies behind a [`StoreError`], for the log.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What is wrong with how a store is set up. The messages are for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misconfiguration {
    /// The bucket is not there.
    #[error("there is no bucket {bucket:?} at {endpoint}; create it or correct `bucket`")]
    NoSuchBucket {
        /// The bucket's name.
        bucket: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// The store does not know the access key id.
    #[error("{endpoint} knows no access key id {access_key_id:?}; correct `access_key_id`")]
    UnknownAccessKey {
        /// The id that was sent.
        access_key_id: String,
        /// Who refused it.
        endpoint: String,
    },
    /// The secret access key is not the one of the access key id.
    #[error("the secret access key does not belong to access key id {access_key_id:?}; correct `secret_access_key`")]
    WrongSecret {
        /// The id that was sent.
        access_key_id: String,
    },
    /// The bucket lives in another region.
    #[error("bucket {bucket:?} is not in region {region:?}{}; correct `region`", expected.as_ref().map(|r| format!(" but in {r:?}")).unwrap_or_default())]
    WrongRegion {
        /// The bucket's name.
        bucket: String,
        /// Where it was looked for.
        region: String,
        /// Where the store says it is.
        expected: Option<String>,
    },
    /// The credentials' own source failed.
    #[error("no credentials: {reason}")]
    NoCredentials {
        /// What the source said, free of secrets.
        reason: String,
    },
    /// The certificates to trust cannot be used.
    #[error("cannot use the certificates in {path:?}: {reason}; correct `ca_bundle`")]
    CaBundle {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no going through the proxy.
    #[error("cannot use {url:?} as a proxy: {reason}; correct `proxy`")]
    Proxy {
        /// The proxy.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder cannot be written.
    #[error("cannot write in folder {path:?}: {reason}")]
    FolderNotWritable {
        /// The folder.
        path: String,
        /// What the operating system said.
        reason: String,
    },
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("meta", &self.meta)
            .field("offset", &self.offset)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Where in an object of `size` bytes a `range` begins, and how many bytes it has.
fn span(range: Option<ByteRange>, size: u64) -> Result<(u64, u64), StoreError> {
    range.map_or(Ok((0, size)), |range| range.within(size).ok_or(StoreError::OutOfRange))
}
