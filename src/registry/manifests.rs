//! Manifests, by tag and by digest, kept byte for byte.
//!
//! A tag is an object that holds the whole manifest, so reading one is a single
//! request and there is no pointer that could lead nowhere.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::presence::wanted;
use super::reading::whole;
use super::{Asker, RegistryError, Repository, WritableRepository, late};
use crate::oci::{Algorithm, Digest, Manifest, ManifestKind, MediaType, Reference, Tag};
use crate::store::{Key, ObjectMeta, StoreError};

/// Largest manifest, in bytes: what registries must take at least
/// (distribution-spec v1.1.1, "Pushing Manifests") and no client goes past.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// How many tags are read at once.
const READS_AT_ONCE: usize = 16;

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

/// Where a manifest can be.
struct Place<'a> {
    repository: &'a Repository,
    key: Key,
    /// Whether it was made here then.
    is_derived: bool,
}

impl Repository {
    /// What there is to tell of the manifest at `reference`, `None` when there is none.
    ///
    /// A pull by tag is told of what it will be answered with, which may not be what was pushed: see [`super::answers`].
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be asked for; never for a push.
    pub async fn stat_manifest(&self, reference: &Reference, asker: Asker) -> Result<Option<ManifestInfo>, RegistryError> {
        match asker {
            Asker::Push => Ok(self.stat_pushed(reference).await),
            Asker::Import | Asker::Pull => self.in_time(self.stat_for_pull(reference, asker)).await,
        }
    }

    /// What a push is told: what was pushed before, as far as the store says so in time.
    async fn stat_pushed(&self, reference: &Reference) -> Option<ManifestInfo> {
        let patience = self.patience().push;
        let asked = async {
            match reference {
                Reference::Tag(tag) => Ok(self.fetch_tag(tag, patience).await?.map(|(manifest, _)| manifest.info())),
                Reference::Digest(digest) => Ok(self.head_manifest(&self.keys.manifest(digest), digest, patience).await?),
            }
        };
        match tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(late().into())) {
            Ok(found) => found.inspect(|info| self.mark_used(&info.digest)),
            Err(error) => {
                let error: RegistryError = error;
                tracing::warn!(repository = %self.name, %reference, %error, "manifest not found in time, taken as absent");
                None
            }
        }
    }

    async fn stat_for_pull(&self, reference: &Reference, asker: Asker) -> Result<Option<ManifestInfo>, RegistryError> {
        let digest = match reference {
            Reference::Tag(tag) => return self.stat_answer(tag, asker).await,
            Reference::Digest(digest) => digest,
        };
        for Place { repository, key, is_derived } in self.places_of(digest) {
            let found = repository.head_manifest(&key, digest, self.patience().pull).await?;
            if found.is_some() {
                repository.mark_unless(is_derived, digest);
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The manifest at `reference`, `None` when there is none; what was pushed, or what a pull by tag is answered with.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be read soon enough for an import to wait.
    pub async fn read_manifest(&self, reference: &Reference, asker: Asker) -> Result<Option<StoredManifest>, RegistryError> {
        match reference {
            Reference::Tag(tag) => self.in_time(self.read_answer(tag, asker)).await,
            Reference::Digest(digest) => {
                let recent = &self.registry.recent;
                let mut kept = self.with_others().filter_map(|repository| recent.find(&repository.image, digest));
                let kept = kept.next().filter(|_| asker == Asker::Import);
                if kept.is_some() { Ok(kept) } else { self.in_time(self.read_known(digest)).await }
            }
        }
    }

    async fn read_known(&self, digest: &Digest) -> Result<Option<StoredManifest>, RegistryError> {
        for Place { repository, key, is_derived } in self.places_of(digest) {
            let found = repository.fetch_known(&key, digest, self.patience().pull).await?;
            if let Some(manifest) = &found {
                repository.note_use_of(manifest, is_derived);
                return Ok(found);
            }
        }
        self.registry.answers.forget(digest);
        Ok(None)
    }

    /// Where the manifest `digest` can be that a pull was told of.
    fn places_of(&self, digest: &Digest) -> Vec<Place<'_>> {
        let pushed = |repository: &'_ Self| repository.keys.manifest(digest);
        let mut places = vec![
            Place { repository: self, key: pushed(self), is_derived: false },
            Place { repository: self, key: self.keys.derived(digest), is_derived: true },
        ];
        let others = self.answering.others().into_iter();
        places.extend(others.map(|other| Place { repository: other, key: pushed(other), is_derived: false }));
        places
    }

    /// Notes that a manifest was read; what was made here goes with what it was made of.
    fn note_use_of(&self, manifest: &StoredManifest, is_derived: bool) {
        self.mark_unless(is_derived, &manifest.digest);
        if !is_derived {
            self.note_evidence(manifest);
        }
    }

    /// Notes that a manifest is used; what was made here goes with what it was made of.
    fn mark_unless(&self, is_derived: bool, digest: &Digest) {
        if !is_derived {
            self.mark_used(digest);
        }
    }

    /// What comes of `asked`, as long as a pull waits for it.
    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, RegistryError>>) -> Result<T, RegistryError> {
        tokio::time::timeout(self.patience().pull, asked).await.unwrap_or_else(|_| Err(late().into()))
    }

    async fn head_manifest(&self, key: &Key, digest: &Digest, patience: Duration) -> Result<Option<ManifestInfo>, StoreError> {
        let meta = self.store().head(key, patience).await?;
        Ok(meta.map(|meta| ManifestInfo { digest: *digest, media_type: meta.content_type, size: meta.size }))
    }

    async fn fetch(&self, reference: &Reference, patience: Duration) -> Result<Option<StoredManifest>, RegistryError> {
        match reference {
            Reference::Tag(tag) => Ok(self.fetch_tag(tag, patience).await?.map(|(manifest, _)| manifest)),
            Reference::Digest(digest) => self.fetch_known(&self.keys.manifest(digest), digest, patience).await,
        }
    }

    /// What `tag` points to, and what the store knows of that.
    pub(super) async fn fetch_tag(
        &self,
        tag: &Tag,
        patience: Duration,
    ) -> Result<Option<(StoredManifest, ObjectMeta)>, StoreError> {
        let Some((bytes, meta)) = self.fetch_bytes(&self.keys.tag(tag), patience).await? else { return Ok(None) };
        let (media_type, algorithm) = match meta.content_type.strip_suffix(SHA512) {
            Some(media_type) => (media_type.to_owned(), Algorithm::Sha512),
            None => (meta.content_type.clone(), Algorithm::Sha256),
        };
        let manifest = StoredManifest { digest: Digest::of(algorithm, &bytes), media_type, bytes };
        self.note_evidence(&manifest);
        Ok(Some((manifest, meta)))
    }

    /// The manifest `digest` at `key`.
    pub(super) async fn fetch_known(
        &self,
        key: &Key,
        digest: &Digest,
        patience: Duration,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let Some((bytes, meta)) = self.fetch_bytes(key, patience).await? else { return Ok(None) };
        let is_it = Digest::of(digest.algorithm(), &bytes) == *digest;
        if !is_it {
            return Err(RegistryError::Corrupt(*digest));
        }
        Ok(Some(StoredManifest { digest: *digest, media_type: meta.content_type, bytes }))
    }

    /// The bytes at `key`, where they are no more than a manifest has.
    async fn fetch_bytes(&self, key: &Key, patience: Duration) -> Result<Option<(Bytes, ObjectMeta)>, StoreError> {
        let Some(object) = self.store().get(key, None, patience).await? else { return Ok(None) };
        self.note_use();
        let meta = object.meta.clone();
        let bytes = whole(object, MAX_MANIFEST_BYTES).await?;
        if bytes.is_none() {
            tracing::warn!(%key, "object is too large for a manifest, taken as absent");
        }
        Ok(bytes.map(|bytes| (bytes, meta)))
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
        self.note_evidence(&StoredManifest { digest, media_type: manifest.media_type.to_string(), bytes: bytes.clone() });
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
        if manifest.is_cache() {
            let stored = StoredManifest { digest, media_type: manifest.media_type.to_string(), bytes };
            self.notice(reference, stored.clone());
            self.write_for_s3_clients(own.into_iter().chain(tags), &stored).await;
        }
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
            Reference::Tag(tag) => self.delete_tag(&self.keys.tag(tag)).await?,
            Reference::Digest(digest) => self.delete_everywhere(digest, &manifest).await?,
        }
        Ok(true)
    }

    async fn delete_everywhere(&self, digest: &Digest, stored: &StoredManifest) -> Result<(), RegistryError> {
        let read = stored.media_type.parse().ok().and_then(|media_type| Manifest::parse(media_type, &stored.bytes).ok());
        let subject = read.as_ref().and_then(|manifest| manifest.subject.as_ref());
        let referrer = subject.map(|subject| self.keys.referrer(&subject.digest, digest));
        self.registry.recent.forget(&self.image, digest);
        self.registry.holdings.forget(&self.image);
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

    /// Removes the tag at `key`, and before that what `type=s3` clients would take for it.
    async fn delete_tag(&self, key: &Key) -> Result<(), RegistryError> {
        if let Some(Ok(tag)) = key.components().last().map(str::parse) {
            self.withdraw_from_s3_clients(&tag).await?;
        }
        Ok(self.store().delete(key, self.patience().bytes).await?)
    }

    /// Removes a tag, unless it has moved away from `manifest`.
    async fn delete_tag_of(&self, key: &Key, manifest: &StoredManifest) -> Result<(), RegistryError> {
        let _turn = self.registry.turns.to_remove(key).await;
        if self.read_bytes(key).await?.is_some_and(|bytes| bytes == manifest.bytes) {
            self.delete_tag(key).await?;
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
            let read = read.buffer_unordered(READS_AT_ONCE).try_filter_map(|key| std::future::ready(Ok(key)));
            found.extend(read.try_collect::<Vec<_>>().await?);
            if !page.is_truncated {
                return Ok(found);
            }
        }
    }

    async fn read_bytes(&self, key: &Key) -> Result<Option<Bytes>, RegistryError> {
        match self.store().get(key, None, self.patience().bytes).await? {
            Some(object) => Ok(whole(object, MAX_MANIFEST_BYTES).await?),
            None => Ok(None),
        }
    }

    async fn require_content(&self, manifest: &Manifest) -> Result<(), RegistryError> {
        let unshown = self.unshown(manifest).await?;
        if !unshown.is_empty() {
            return Err(RegistryError::ManifestBlobUnknown(unshown));
        }
        let missing = match &manifest.kind {
            _ if manifest.is_cache() => return Ok(()),
            ManifestKind::Opaque => return Ok(()),
            ManifestKind::Image { config, layers } => self.missing(wanted(layers.iter().chain([config])), false).await,
            ManifestKind::Index(children) => self.missing(wanted(children), true).await,
        };
        if missing.is_empty() { Ok(()) } else { Err(RegistryError::ManifestBlobUnknown(missing)) }
    }
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
