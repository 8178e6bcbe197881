//! Deleting manifests, beside others who push them.
//!
//! A manifest that is deleted by its digest leaves an empty object in its
//! place. A push writes by digest first and its tags last, so one that runs
//! meanwhile may set a tag when all has been looked through: whoever comes upon
//! the empty object looks for such a tag, and what that announces is there. So
//! no push has to look whether it was deleted under its hands.

use std::future::ready;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};

use super::manifests::StoredManifest;
use super::{RegistryError, Repository, WritableRepository};
use crate::oci::{Digest, Manifest, Reference};
use crate::store::{Key, Listed, ObjectMeta, StoreError};

/// How many tags are read at once.
const READS_AT_ONCE: usize = 16;

/// What is in a deleted manifest's place, before its size in bytes.
const DELETED: &str = "application/vnd.longshore.deleted; size=";

/// How long before a manifest was deleted a tag may have been set that its deletion did not see: longer than it takes.
const OVERLOOKED: Duration = Duration::from_secs(60 * 60);

/// A manifest that was deleted: only a tag can say that it is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deleted {
    /// How many bytes it had.
    size: u64,
    when: SystemTime,
}

impl Deleted {
    /// The one whose place the object `meta` holds.
    pub(super) fn of(meta: &ObjectMeta) -> Option<Self> {
        let size = meta.content_type.strip_prefix(DELETED).filter(|_| meta.size == 0)?;
        Some(Self { size: size.parse().ok()?, when: meta.last_modified })
    }
}

impl Repository {
    /// The manifest `digest`, which was deleted, as a tag has it that was set by a push at the same time.
    pub(super) async fn find_announced(
        &self,
        digest: &Digest,
        Deleted { size, when }: Deleted,
        patience: Duration,
    ) -> Result<Option<StoredManifest>, StoreError> {
        let may_be = move |tag: &Listed| tag.size == size && tag.last_modified + OVERLOOKED >= when;
        let mut tags = std::pin::pin!(self.tags_of(*digest, may_be, patience));
        Ok(tags.try_next().await?.map(|(_, manifest)| manifest))
    }

    /// The keys of the tags that point to the manifest `digest`, and that: those that may, read to be sure.
    fn tags_of(
        &self,
        digest: Digest,
        may_be: impl Fn(&Listed) -> bool + Send,
        patience: Duration,
    ) -> impl Stream<Item = Result<(Key, StoredManifest), StoreError>> + Send {
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<Key>>| async move {
            let Some(after) = after else { return Ok::<_, StoreError>(None) };
            let page = self.store().list(&self.keys.tags(), after.as_ref(), patience).await?;
            let next = page.objects.last().filter(|_| page.is_truncated).map(|object| Some(object.key.clone()));
            Ok(Some((stream::iter(page.objects.into_iter().map(Ok)), next)))
        });
        let possible = pages.try_flatten().try_filter(move |object| ready(may_be(object)));
        let read = possible.map_ok(move |object| async move {
            let found = self.fetch_tag_at(&object.key, patience).await?;
            let found = found.filter(|(manifest, _)| Digest::of(digest.algorithm(), &manifest.bytes) == digest);
            Ok(found.map(|(manifest, _)| (object.key, StoredManifest { digest, ..manifest })))
        });
        read.try_buffer_unordered(READS_AT_ONCE).try_filter_map(|found| ready(Ok(found)))
    }

    /// Whether the store says soon that the manifest `digest` is not there by that.
    pub(super) async fn is_deleted(&self, digest: &Digest) -> bool {
        let found = self.head_for_push(&self.keys.manifest(digest)).await;
        found.is_ok_and(|found| found.is_none_or(|meta| Deleted::of(&meta).is_some()))
    }
}

impl WritableRepository {
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
            Reference::Digest(_) => self.delete_everywhere(&manifest).await?,
        }
        Ok(true)
    }

    async fn delete_everywhere(&self, stored: &StoredManifest) -> Result<(), RegistryError> {
        let digest = &stored.digest;
        let read = stored.media_type.parse().ok().and_then(|media_type| Manifest::parse(media_type, &stored.bytes).ok());
        let subject = read.as_ref().and_then(|manifest| manifest.subject.as_ref());
        let referrer = subject.map(|subject| self.keys.referrer(&subject.digest, digest));
        self.registry.recent.forget(&self.image, digest);
        // The reverse of the order of writing: a tag never points to what is gone.
        for key in self.announced_by(stored).await? {
            self.delete_tag_of(&key, stored).await?;
        }
        if let Some(key) = &referrer {
            self.store().delete(key, self.patience().bytes).await?;
        }
        let (key, deleted) = (self.keys.manifest(digest), format!("{DELETED}{}", stored.bytes.len()));
        self.store().put(&key, Bytes::new(), &deleted, self.patience().bytes).await?;
        self.registry.holdings.forget(&self.image);
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
        let found = self.fetch_tag_at(key, self.patience().bytes).await?;
        if found.is_some_and(|(found, _)| found.bytes == manifest.bytes) {
            self.delete_tag(key).await?;
        }
        Ok(())
    }

    async fn is_announced(&self, manifest: &StoredManifest, referrer: Option<&Key>) -> Result<bool, RegistryError> {
        let is_listed = match referrer {
            Some(key) => self.store().head(key, self.patience().bytes).await?.is_some(),
            None => false,
        };
        Ok(is_listed || !self.announced_by(manifest).await?.is_empty())
    }

    /// The keys of the tags that point to `manifest`.
    async fn announced_by(&self, StoredManifest { digest, bytes, .. }: &StoredManifest) -> Result<Vec<Key>, StoreError> {
        let size = bytes.len() as u64;
        let tags = self.tags_of(*digest, move |tag| tag.size == size, self.patience().bytes);
        tags.map_ok(|(key, _)| key).try_collect().await
    }
}
