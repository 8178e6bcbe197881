//! Manifests, by tag and by digest, kept byte for byte.
//!
//! A tag is an object that holds the whole manifest, so reading one is a single
//! request and there is no pointer that could lead nowhere.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{RegistryError, Repository, WritableRepository};
use crate::oci::{Descriptor, Digest, Manifest, ManifestKind, MediaType, Reference};
use crate::store::{Key, Object, StoreError};

/// Largest manifest, in bytes: what registries must take at least
/// (distribution-spec v1.1.1, "Pushing Manifests") and no client goes past.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// How many questions about an image's blobs are asked at once.
const QUESTIONS_AT_ONCE: usize = 16;

/// Who asks whether a manifest is there. What can be told differs: see [`super::Patience`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody about to push it, who will send it if it is not there.
    Push,
    /// Somebody who wants to have it.
    Pull,
}

/// What a client is told of a manifest before it reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// The address of its bytes.
    pub digest: Digest,
    /// What its writer said it is.
    pub media_type: String,
    /// How many bytes it has.
    pub size: u64,
}

/// A manifest as it was pushed.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// The address of its bytes.
    pub digest: Digest,
    /// What its writer said it is.
    pub media_type: String,
    /// The very bytes.
    pub bytes: Bytes,
}

impl Repository {
    /// What there is to tell of the manifest at `reference`, `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be asked for; never for a push.
    pub async fn stat_manifest(&self, reference: &Reference, asker: Asker) -> Result<Option<ManifestInfo>, RegistryError> {
        let patience = match asker {
            Asker::Push => self.patience().push,
            Asker::Pull => self.patience().pull,
        };
        let asked = async {
            match reference {
                Reference::Tag(_) => Ok(self.fetch(reference).await?.map(|manifest| manifest.info())),
                Reference::Digest(digest) => self.head_manifest(digest).await,
            }
        };
        match (tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(late())), asker) {
            (Err(error), Asker::Push) => {
                tracing::warn!(repository = %self.name, %reference, %error, "manifest not found in time, taken as absent");
                Ok(None)
            }
            (outcome, _) => outcome,
        }
    }

    /// The manifest at `reference`, `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be read soon enough for an import to wait.
    pub async fn read_manifest(&self, reference: &Reference) -> Result<Option<StoredManifest>, RegistryError> {
        let reading = tokio::time::timeout(self.patience().pull, self.fetch(reference));
        reading.await.unwrap_or_else(|_| Err(late()))
    }

    async fn head_manifest(&self, digest: &Digest) -> Result<Option<ManifestInfo>, RegistryError> {
        let meta = self.store().head(&self.keys.manifest(digest), self.patience().bytes).await?;
        Ok(meta.map(|meta| ManifestInfo { digest: *digest, media_type: meta.content_type, size: meta.size }))
    }

    async fn fetch(&self, reference: &Reference) -> Result<Option<StoredManifest>, RegistryError> {
        let key = self.manifest_key(reference);
        let Some(object) = self.store().get(&key, None, self.patience().bytes).await? else { return Ok(None) };
        let media_type = object.meta.content_type.clone();
        let Some(bytes) = collect(object).await? else {
            tracing::warn!(%key, "object is too large for a manifest, taken as absent");
            return Ok(None);
        };
        let digest = match reference {
            Reference::Tag(_) => Digest::sha256(&bytes),
            Reference::Digest(digest) => Digest::of(digest.algorithm(), &bytes),
        };
        match reference {
            Reference::Digest(expected) if *expected != digest => Err(RegistryError::Corrupt(*expected)),
            _ => Ok(Some(StoredManifest { digest, media_type, bytes })),
        }
    }

    fn manifest_key(&self, reference: &Reference) -> Key {
        match reference {
            Reference::Tag(tag) => self.keys.tag(tag),
            Reference::Digest(digest) => self.keys.manifest(digest),
        }
    }

    /// Which of `digests` the store says it does not have, as a blob or, if `or_manifest`, as a manifest.
    async fn missing(&self, digests: HashSet<Digest>, or_manifest: bool) -> Vec<Digest> {
        let asked = stream::iter(digests).map(|digest| async move {
            let is_missing = self.is_absent(&self.keys.blob(&digest)).await
                && (!or_manifest || self.is_absent(&self.keys.manifest(&digest)).await);
            is_missing.then_some(digest)
        });
        asked.buffer_unordered(QUESTIONS_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Whether the store says so. A question that failed does not make anything absent.
    async fn is_absent(&self, key: &Key) -> bool {
        matches!(self.store().head(key, self.patience().push).await, Ok(None))
    }
}

impl StoredManifest {
    /// What there is to tell of it.
    #[must_use]
    pub fn info(&self) -> ManifestInfo {
        ManifestInfo { digest: self.digest, media_type: self.media_type.clone(), size: self.bytes.len() as u64 }
    }
}

impl WritableRepository {
    /// Stores `bytes` as the manifest at `reference`; their digest.
    ///
    /// An image must have its blobs already. A BuildKit cache need not: what
    /// is missing there is a cache miss, and refusing it would fail the build.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::ManifestInvalid`]: of no use to any client.
    /// - [`RegistryError::DigestMismatch`]: not what `reference` names.
    /// - [`RegistryError::ManifestBlobUnknown`]: an image without its blobs.
    /// - [`RegistryError::Store`]: it could not be stored.
    pub async fn write_manifest(
        &self,
        reference: &Reference,
        media_type: MediaType,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = match reference {
            Reference::Tag(_) => Digest::sha256(&bytes),
            Reference::Digest(expected) => matching(expected, &bytes)?,
        };
        let manifest = Manifest::parse(media_type, &bytes)?;
        self.require_content(&manifest).await?;

        let content_type = manifest.media_type.as_str();
        // By digest first: a tag is never there without what it announces.
        self.store().put(&self.keys.manifest(&digest), bytes.clone(), content_type, self.patience().bytes).await?;
        if let Reference::Tag(tag) = reference {
            self.store().put(&self.keys.tag(tag), bytes, content_type, self.patience().bytes).await?;
            self.registry.exports.complete(&self.name);
        }
        Ok(digest)
    }

    async fn require_content(&self, manifest: &Manifest) -> Result<(), RegistryError> {
        let missing = match &manifest.kind {
            _ if manifest.is_cache() => return Ok(()),
            ManifestKind::Opaque => return Ok(()),
            ManifestKind::Image { config, layers } => self.missing(digests(layers.iter().chain([config])), false).await,
            ManifestKind::Index(children) => self.missing(digests(children), true).await,
        };
        if missing.is_empty() { Ok(()) } else { Err(RegistryError::ManifestBlobUnknown(missing)) }
    }
}

/// What must be here, each once. Layers that may not be distributed stay where their `urls` say.
fn digests<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> HashSet<Digest> {
    let is_kept_here = |descriptor: &&Descriptor| {
        !descriptor.media_type.contains(".nondistributable.") && !descriptor.media_type.contains(".foreign.")
    };
    descriptors.into_iter().filter(is_kept_here).map(|descriptor| descriptor.digest).collect()
}

fn matching(expected: &Digest, bytes: &[u8]) -> Result<Digest, RegistryError> {
    match Digest::of(expected.algorithm(), bytes) {
        digest if digest == *expected => Ok(digest),
        received => Err(RegistryError::DigestMismatch { received }),
    }
}

/// All bytes of `object`, `None` when they are too many for a manifest.
async fn collect(object: Object) -> Result<Option<Bytes>, StoreError> {
    if object.length > MAX_MANIFEST_BYTES {
        return Ok(None);
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(object.length).unwrap_or_default());
    let mut body = object.body;
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes.freeze()))
}

fn late() -> RegistryError {
    StoreError::Unavailable("the store did not answer in time".into()).into()
}
