//! Manifests, by tag and by digest, kept byte for byte.
//!
//! A tag is an object that holds the whole manifest, so reading one is a single
//! request and there is no pointer that could lead nowhere.

use std::collections::HashSet;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::index::Found;
use super::{Asker, RegistryError, Repository, WritableRepository, late};
use crate::oci::{Algorithm, Descriptor, Digest, Manifest, ManifestKind, MediaType, Reference, Tag};
use crate::store::{Key, Object, StoreError};

/// Largest manifest, in bytes: what registries must take at least
/// (distribution-spec v1.1.1, "Pushing Manifests") and no client goes past.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// How many questions about an image's blobs are asked at once.
const QUESTIONS_AT_ONCE: usize = 16;

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
            Asker::Import | Asker::Pull => self.patience().pull,
        };
        let asked = async {
            match reference {
                Reference::Tag(_) => self.stat_tag(reference, asker, patience).await,
                Reference::Digest(digest) => self.head_manifest(digest, patience).await,
            }
        };
        match (tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(late().into())), asker) {
            (Err(error), Asker::Push) => {
                tracing::warn!(repository = %self.name, %reference, %error, "manifest not found in time, taken as absent");
                Ok(None)
            }
            (outcome, _) => outcome.inspect(|found| found.iter().for_each(|info| self.mark_used(&info.digest))),
        }
    }

    async fn stat_tag(&self, tag: &Reference, asker: Asker, patience: Duration) -> Result<Option<ManifestInfo>, RegistryError> {
        let removals = self.registry.recent.removals();
        let found = self.fetch(tag, patience).await?;
        if let (Some(manifest), Asker::Import) = (&found, asker) {
            self.registry.recent.keep(&self.image, manifest, removals);
        }
        Ok(found.map(|manifest| manifest.info()))
    }

    /// The manifest at `reference`, `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be read soon enough for an import to wait.
    pub async fn read_manifest(&self, reference: &Reference, asker: Asker) -> Result<Option<StoredManifest>, RegistryError> {
        if let (Reference::Digest(digest), Asker::Import) = (reference, asker)
            && let Some(manifest) = self.registry.recent.find(&self.image, digest)
        {
            return Ok(Some(manifest));
        }
        let patience = self.patience().pull;
        let reading = tokio::time::timeout(patience, self.fetch(reference, patience));
        let found = reading.await.unwrap_or_else(|_| Err(late().into()))?;
        found.iter().for_each(|manifest| self.mark_used(&manifest.digest));
        Ok(found)
    }

    async fn head_manifest(&self, digest: &Digest, patience: Duration) -> Result<Option<ManifestInfo>, RegistryError> {
        let meta = self.store().head(&self.keys.manifest(digest), patience).await?;
        Ok(meta.map(|meta| ManifestInfo { digest: *digest, media_type: meta.content_type, size: meta.size }))
    }

    async fn fetch(&self, reference: &Reference, patience: Duration) -> Result<Option<StoredManifest>, RegistryError> {
        let key = self.manifest_key(reference);
        let Some(object) = self.store().get(&key, None, patience).await? else { return Ok(None) };
        self.note_use();
        let content_type = object.meta.content_type.clone();
        let (media_type, algorithm) = match content_type.strip_suffix(SHA512) {
            Some(media_type) => (media_type.to_owned(), Algorithm::Sha512),
            None => (content_type, Algorithm::Sha256),
        };
        let Some(bytes) = collect(object).await? else {
            tracing::warn!(%key, "object is too large for a manifest, taken as absent");
            return Ok(None);
        };
        let digest = match reference {
            Reference::Tag(_) => Digest::of(algorithm, &bytes),
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

    /// Which of `wanted` the store says soon that it does not have, as a blob or, if `or_manifest`, as a manifest.
    async fn missing(&self, wanted: HashSet<Wanted>, or_manifest: bool) -> Vec<Digest> {
        let mut missing = Vec::new();
        let asking = self.ask(wanted, or_manifest, &mut missing);
        if tokio::time::timeout(self.patience().push, asking).await.is_err() {
            tracing::warn!(repository = %self.name, "the store did not say in time whether an image is complete; taken as complete");
        }
        missing
    }

    async fn ask(&self, wanted: HashSet<Wanted>, or_manifest: bool, missing: &mut Vec<Digest>) {
        let asked = stream::iter(wanted).map(|wanted| async move {
            let is_missing = self.lacks_blob(&wanted).await && (!or_manifest || self.lacks_manifest(&wanted).await);
            is_missing.then_some(wanted.digest)
        });
        let mut answers = std::pin::pin!(asked.buffer_unordered(QUESTIONS_AT_ONCE));
        while let Some(answer) = answers.next().await {
            missing.extend(answer);
        }
    }

    /// Whether the store says that it has no blob such as a manifest wants: of another size is none,
    /// since who pulls it would refuse it. A question that failed does not make anything absent.
    ///
    /// What the index says is there is not asked for: its client was told so
    /// too, by the answer to its HEAD or its PUT, and has nothing to send. What
    /// the index does not know the store must be asked for: it proves no absence.
    async fn lacks_blob(&self, wanted: &Wanted) -> bool {
        let known = self.index().find(&self.keys.blobs(), &wanted.digest);
        let is_known = known.is_some_and(|known| known.size == wanted.size);
        let is_other = |found: Option<Found>| found.is_none_or(|found| found.size != wanted.size);
        !is_known && self.ask_for_blob(&wanted.digest).await.is_ok_and(is_other)
    }

    async fn lacks_manifest(&self, wanted: &Wanted) -> bool {
        let asked = self.head_for_push(&self.keys.manifest(&wanted.digest)).await;
        asked.is_ok_and(|found| found.is_none_or(|found| found.size != wanted.size))
    }
}

/// What was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The address of the manifest.
    pub digest: Digest,
    /// What it refers to, if that was noted.
    pub subject: Option<Digest>,
}

/// The parameter of a tag's content type that says by which hash its manifest is known, where it is not sha256.
const SHA512: &str = "; digest=sha512";

/// What a tag's object says that it is.
fn tag_content_type(media_type: &MediaType, digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => media_type.to_string(),
        Algorithm::Sha512 => format!("{media_type}{SHA512}"),
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
    /// Stores `bytes` as the manifest at `reference`, and under `tags` besides.
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
        tags: &[Tag],
        media_type: MediaType,
        bytes: Bytes,
    ) -> Result<Written, RegistryError> {
        let digest = digest_of(reference, &bytes)?;
        let manifest = Manifest::parse(media_type, &bytes)?;
        self.require_content(&manifest).await?;

        self.note_use();
        // By digest first, tags last: a tag is never there without what it announces.
        let subject = self.keep(&manifest, &digest, &bytes).await?;
        let own = match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        };
        let content_type = tag_content_type(&manifest.media_type, &digest);
        for key in own.into_iter().chain(tags).map(|tag| self.keys.tag(tag)) {
            let _turn = self.registry.turns.to_write(&key).await;
            self.store().put(&key, bytes.clone(), &content_type, self.patience().bytes).await?;
        }
        let is_announced = own.is_some() || !tags.is_empty() || subject.is_some();
        // Who deletes it meanwhile either sees what announces it, or was done before this looks.
        if is_announced && self.head_for_push(&self.keys.manifest(&digest)).await.is_ok_and(|found| found.is_none()) {
            self.keep(&manifest, &digest, &bytes).await?;
        }
        if own.is_none() && tags.is_empty() {
            // An index will name it.
            self.registry.exports.received(&self.image, digest);
        }
        self.registry.exports.complete(&self.image, manifest.digests());
        self.mark_used(&digest);
        Ok(Written { digest, subject })
    }

    /// Stores a manifest by its digest, and notes what it refers to; that.
    async fn keep(&self, manifest: &Manifest, digest: &Digest, bytes: &Bytes) -> Result<Option<Digest>, RegistryError> {
        let (key, content_type) = (self.keys.manifest(digest), manifest.media_type.as_str());
        self.store().put(&key, bytes.clone(), content_type, self.patience().bytes).await?;
        self.write_referrer(manifest, digest, bytes).await
    }

    /// Removes a tag, or a manifest with every tag that points to it; whether it was there.
    ///
    /// A manifest that is pushed meanwhile may stay, and then stays whole.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: the store could not do all of it; asking again does the rest.
    pub async fn delete_manifest(&self, reference: &Reference) -> Result<bool, RegistryError> {
        let Some(manifest) = self.fetch(reference, self.patience().bytes).await? else { return Ok(false) };
        match reference {
            Reference::Tag(tag) => self.store().delete(&self.keys.tag(tag), self.patience().bytes).await?,
            Reference::Digest(digest) => self.delete_everywhere(digest, &manifest).await?,
        }
        Ok(true)
    }

    async fn delete_everywhere(&self, digest: &Digest, stored: &StoredManifest) -> Result<(), RegistryError> {
        let read = stored.media_type.parse().ok().and_then(|media_type| Manifest::parse(media_type, &stored.bytes).ok());
        let subject = read.as_ref().and_then(|manifest| manifest.subject.as_ref());
        let referrer = subject.map(|subject| self.keys.referrer(&subject.digest, digest));
        self.registry.recent.forget(&self.image, digest);
        // The reverse of the order of writing: a tag never points to what is gone.
        for key in self.tags_of(stored).await? {
            self.delete_tag_of(&key, stored).await?;
        }
        if let Some(key) = &referrer {
            self.store().delete(key, self.patience().bytes).await?;
        }
        self.store().delete(&self.keys.manifest(digest), self.patience().bytes).await?;
        // A push that had written it may have announced it after the looks above.
        match read {
            Some(manifest) if self.is_announced(stored, referrer.as_ref()).await? => {
                self.keep(&manifest, digest, &stored.bytes).await?;
            }
            _ => self.unmark(digest).await,
        }
        Ok(())
    }

    /// Removes a tag, unless it has moved away from `manifest`.
    async fn delete_tag_of(&self, key: &Key, manifest: &StoredManifest) -> Result<(), RegistryError> {
        let _turn = self.registry.turns.to_remove(key).await;
        if self.read_bytes(key).await?.is_some_and(|bytes| bytes == manifest.bytes) {
            self.store().delete(key, self.patience().bytes).await?;
        }
        Ok(())
    }

    async fn is_announced(&self, manifest: &StoredManifest, referrer: Option<&Key>) -> Result<bool, RegistryError> {
        let is_listed = match referrer {
            Some(key) => self.store().head(key, self.patience().bytes).await?.is_some(),
            None => false,
        };
        Ok(is_listed || !self.tags_of(manifest).await?.is_empty())
    }

    /// The keys of the tags that point to `manifest`: tags of its size, read to be sure.
    async fn tags_of(&self, manifest: &StoredManifest) -> Result<Vec<Key>, RegistryError> {
        let prefix = self.keys.tags();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().list(&prefix, after.as_ref(), self.patience().bytes).await?;
            after = page.objects.last().map(|object| object.key.clone());
            let mut of_its_size = page.objects;
            of_its_size.retain(|object| object.size == manifest.bytes.len() as u64);
            let read = stream::iter(of_its_size).map(|object| async move {
                let same = self.read_bytes(&object.key).await?.is_some_and(|bytes| bytes == manifest.bytes);
                Ok::<_, RegistryError>(same.then_some(object.key))
            });
            let read = read.buffer_unordered(QUESTIONS_AT_ONCE).try_filter_map(|key| std::future::ready(Ok(key)));
            found.extend(read.try_collect::<Vec<_>>().await?);
            if !page.is_truncated {
                return Ok(found);
            }
        }
    }

    async fn read_bytes(&self, key: &Key) -> Result<Option<Bytes>, RegistryError> {
        match self.store().get(key, None, self.patience().bytes).await? {
            Some(object) => Ok(collect(object).await?),
            None => Ok(None),
        }
    }

    async fn require_content(&self, manifest: &Manifest) -> Result<(), RegistryError> {
        let missing = match &manifest.kind {
            _ if manifest.is_cache() => return Ok(()),
            ManifestKind::Opaque => return Ok(()),
            ManifestKind::Image { config, layers } => self.missing(wanted(layers.iter().chain([config])), false).await,
            ManifestKind::Index(children) => self.missing(wanted(children), true).await,
        };
        if missing.is_empty() { Ok(()) } else { Err(RegistryError::ManifestBlobUnknown(missing)) }
    }
}

/// What a manifest says of something that it is made of.
#[derive(PartialEq, Eq, Hash)]
struct Wanted {
    digest: Digest,
    size: u64,
}

/// What must be here, each once. Layers that may not be distributed stay where their `urls` say.
fn wanted<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> HashSet<Wanted> {
    let is_kept_here = |descriptor: &&Descriptor| {
        !descriptor.media_type.contains(".nondistributable.") && !descriptor.media_type.contains(".foreign.")
    };
    let kept = descriptors.into_iter().filter(is_kept_here);
    kept.map(|descriptor| Wanted { digest: descriptor.digest, size: descriptor.size }).collect()
}

/// The address of a manifest that is pushed as `reference`.
pub(super) fn digest_of(reference: &Reference, bytes: &[u8]) -> Result<Digest, RegistryError> {
    match reference {
        Reference::Tag(_) => Ok(Digest::sha256(bytes)),
        Reference::Digest(expected) => matching(expected, bytes),
    }
}

fn matching(expected: &Digest, bytes: &[u8]) -> Result<Digest, RegistryError> {
    match Digest::of(expected.algorithm(), bytes) {
        digest if digest == *expected => Ok(digest),
        received => Err(RegistryError::DigestMismatch { received }),
    }
}

/// All bytes of `object`, `None` when they are too many for a manifest.
pub(super) async fn collect(object: Object) -> Result<Option<Bytes>, StoreError> {
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
