//! Manifests, by tag and by digest, kept byte for byte.
//!
//! A tag is an object that holds the whole manifest, so reading one is a single
//! request and there is no pointer that could lead nowhere.

use std::time::Duration;

use bytes::Bytes;

use super::deletion::Deleted;
use super::presence::wanted;
use super::reading::whole;
use super::{Asker, RegistryError, Repository, WritableRepository, late};
use crate::oci::{Algorithm, Digest, Manifest, ManifestKind, MediaType, Reference, Tag};
use crate::store::{Key, ObjectMeta, StoreError};

/// Largest manifest, in bytes: what registries must take at least
/// (distribution-spec v1.1.1, "Pushing Manifests") and no client goes past.
pub const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

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

    /// What a push is told: what was pushed before, as far as the store says so in time. What is there it does not send
    /// again, so what is no longer young is not told of: a manifest is small, and would grow old with its tag.
    async fn stat_pushed(&self, reference: &Reference) -> Option<ManifestInfo> {
        let patience = self.patience().push;
        let asked = async {
            let found = match reference {
                Reference::Tag(tag) => self.fetch_tag(tag, patience).await?.map(|(manifest, meta)| (manifest.info(), meta)),
                Reference::Digest(digest) => {
                    let meta = self.store().head(&self.keys.manifest(digest), patience).await?;
                    let pushed = meta.filter(|meta| Deleted::of(meta).is_none());
                    pushed.map(|meta| (ManifestInfo::of(*digest, &meta), meta))
                }
            };
            Ok(found.filter(|(_, meta)| self.is_young(meta.last_modified)).map(|(info, _)| info))
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

    pub(super) async fn head_manifest(
        &self,
        key: &Key,
        digest: &Digest,
        patience: Duration,
    ) -> Result<Option<ManifestInfo>, StoreError> {
        let Some(meta) = self.store().head(key, patience).await? else { return Ok(None) };
        if let Some(deleted) = Deleted::of(&meta) {
            return Ok(self.find_announced(digest, deleted, patience).await?.map(|manifest| manifest.info()));
        }
        Ok(Some(ManifestInfo::of(*digest, &meta)))
    }

    pub(super) async fn fetch(&self, reference: &Reference, patience: Duration) -> Result<Option<StoredManifest>, RegistryError> {
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
        self.fetch_tag_at(&self.keys.tag(tag), patience).await
    }

    /// What the tag at `key` points to.
    pub(super) async fn fetch_tag_at(
        &self,
        key: &Key,
        patience: Duration,
    ) -> Result<Option<(StoredManifest, ObjectMeta)>, StoreError> {
        let Some((bytes, meta)) = self.fetch_bytes(key, patience).await? else { return Ok(None) };
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
        if let Some(deleted) = Deleted::of(&meta) {
            return Ok(self.find_announced(digest, deleted, patience).await?);
        }
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

impl ManifestInfo {
    /// What there is to tell of the manifest `digest`, which is the object `meta`.
    fn of(digest: Digest, meta: &ObjectMeta) -> Self {
        Self { digest, media_type: meta.content_type.clone(), size: meta.size }
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
        let is_tagged = own.is_some() || !tags.is_empty();
        // Who deletes it meanwhile takes it off its subject's list: that was seen there, or is seen here. What a tag
        // announces stays without a look.
        if subject.is_some() && self.is_deleted(&digest).await {
            self.keep(&manifest, &digest, &bytes).await?;
        }
        if !is_tagged {
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
    pub(super) async fn keep(
        &self,
        manifest: &Manifest,
        digest: &Digest,
        bytes: &Bytes,
    ) -> Result<Option<Digest>, RegistryError> {
        let (key, content_type) = (self.keys.manifest(digest), manifest.media_type.as_str());
        self.store().put(&key, bytes.clone(), content_type, self.patience().bytes).await?;
        self.write_referrer(manifest, digest, bytes).await
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
