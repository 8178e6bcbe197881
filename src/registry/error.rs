//! Why the registry could not do as asked.

use std::time::Duration;

use crate::oci::{Digest, InvalidManifest};
use crate::store::{Cause, StoreError};

/// Why the registry could not do as asked. Every message is fit to send to a client.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The bytes received hash to something else; none of them were kept.
    #[error("content does not match its digest; what was received is {received}")]
    DigestMismatch {
        /// The digest of what the client sent.
        received: Digest,
    },
    /// Not as many bytes as announced; none of them were kept.
    #[error("content does not have its length: expected {expected} bytes, received {received}")]
    LengthMismatch {
        /// What the client announced.
        expected: u64,
        /// What it sent.
        received: u64,
    },
    /// The client's body ended in an error; nothing of it was kept.
    #[error("the request's body broke off after {received} bytes")]
    BodyBroken {
        /// How much had come.
        received: u64,
        /// What the connection said.
        #[source]
        cause: Cause,
    },
    /// The client began to send, and then sent nothing for too long, or too little.
    #[error("the request's body did not go on within {0:?}, after {1} bytes")]
    BodyStalled(Duration, u64),
    /// Larger than can be stored.
    #[error("a blob has at most {limit} bytes here")]
    TooLarge {
        /// The most that can be.
        limit: u64,
    },
    /// No upload of that name can go on: it has ended, or was begun too long ago.
    #[error("upload unknown: it was finished, cancelled or begun more than a day ago; begin another")]
    UploadUnknown,
    /// A chunk that does not begin where the last one ended; the upload lives on.
    #[error("the chunk does not begin where the upload ends; it holds {received} bytes")]
    ChunkOutOfOrder {
        /// How many bytes have come before.
        received: u64,
    },
    /// As many chunks as an upload may have; it may still be ended, with a last one.
    #[error("an upload has at most {limit} chunks here; send larger ones, or end it with what is left")]
    TooManyChunks {
        /// The most that can be.
        limit: usize,
    },
    /// A manifest that no client could use.
    #[error(transparent)]
    ManifestInvalid(#[from] InvalidManifest),
    /// An image names blobs or manifests that are not there, or not of the size that it says.
    #[error("manifest refers to what is not here, or has another size: {}", list(.0))]
    ManifestBlobUnknown(Vec<Digest>),
    /// A blob may be that of several images, and is not deleted for one of them.
    #[error("blobs are not deleted here, as all images share them; delete tags and manifests")]
    BlobShared,
    /// What the store has under a digest is something else.
    #[error("stored content does not match its digest")]
    Corrupt(Digest),
    /// No byte lies in the range asked for.
    #[error("the range lies past the end of the blob")]
    OutOfRange {
        /// How many bytes the blob has.
        size: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl RegistryError {
    /// Whether the store lets nobody do that, which it has told by itself.
    pub(super) fn is_not_allowed(&self) -> bool {
        matches!(self, Self::Store(error) if error.lacks().is_some())
    }
}

/// Most digests that a message names.
const MAX_NAMED: usize = 3;

fn list(digests: &[Digest]) -> String {
    let named: Vec<_> = digests.iter().take(MAX_NAMED).map(Digest::to_string).collect();
    match digests.len().saturating_sub(MAX_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { limit } => Self::TooLarge { limit },
            error => Self::Store(error),
        }
    }
}
