//! Caches of BuildKit's own `type=s3` in the same store.
//!
//! Such a client has one object for a cache, under a name that its pipeline
//! states. What a registry has as tag, manifest and config is made of it when
//! it is pulled, and it of them when they are pushed; the layers are the same
//! objects. Both sides write when they like, and the newer one counts. What was
//! written here for those clients says so, and is no news.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::answers::Config;
use super::reading::whole;
use super::{Kind, RegistryError, Repository, StoredManifest, Tags, WritableRepository, late};
use crate::buildkit::{Cache, Contents, InvalidConfig, MAX_CONFIG_BYTES, Read, S3Name, S3Read};
use crate::oci::{Digest, Tag};
use crate::store::{Key, ObjectMeta, StoreError};

/// How often what was written is written anew because the tag has moved meanwhile.
const ROUNDS: usize = 8;

/// How many objects are remembered to be no clients' caches.
const MOST: usize = 1024;

/// What a cache of `type=s3` is.
const JSON: &str = "application/json";

/// What `type=s3` clients call caches, and whether they get what is pushed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Clients {
    /// What they call a cache.
    pub name: S3Name,
    /// Which tag that is, where the name does not tell.
    pub tag: Tag,
    /// Whether what is pushed is written for them.
    pub write: bool,
}

/// A cache that a `type=s3` client wrote.
#[derive(Clone, Debug)]
pub(super) struct S3Cache {
    /// Where it is.
    pub(super) key: Key,
    /// What it wrote.
    pub(super) json: Bytes,
    /// The digest of that.
    pub(super) digest: Digest,
    /// The cache, and what of it nobody could use.
    pub(super) read: Arc<Read>,
    /// When it was written, by the store's clock.
    pub(super) last_modified: SystemTime,
}

/// An object where `type=s3` has a cache: its bytes and what they say, if it is one.
type FoundS3 = (ObjectMeta, Result<(Bytes, S3Read), InvalidConfig>);

/// The etags of objects that are no cache of a client's: written here for them, or of no use.
#[derive(Debug, Default)]
pub(super) struct Disregarded(Mutex<HashMap<Key, String>>);

impl Disregarded {
    fn etag(&self, key: &Key) -> Option<String> {
        self.lock().get(key).cloned()
    }

    fn note(&self, key: Key, etag: String) {
        let mut etags = self.lock();
        if etags.len() >= MOST {
            etags.clear();
        }
        etags.insert(key, etag);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// The clients that have caches of this image; none where it is there to be run.
    fn s3_clients(&self) -> Option<&S3Clients> {
        self.registry.s3_clients.as_ref().filter(|_| self.answering.kind != Some(Kind::Image))
    }

    /// Where `type=s3` clients have the cache that is `tag` here; `None` where that is none of theirs.
    pub(super) fn s3_key(&self, tag: &Tag) -> Option<Key> {
        let clients = self.s3_clients()?;
        let is_theirs = clients.name.tells_tags() || clients.tag == *tag;
        is_theirs.then(|| self.keys.s3_manifest(&clients.name.of(&self.image, tag)))?
    }

    /// The cache `tag` as a `type=s3` client wrote it, `None` when none did. What was written here for them is not theirs.
    ///
    /// Costs one request, where such clients have the tag at all.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be read.
    pub(super) async fn read_s3_cache(&self, tag: &Tag, patience: Duration) -> Result<Option<S3Cache>, RegistryError> {
        let Some(key) = self.s3_key(tag) else { return Ok(None) };
        let disregarded = &self.registry.s3_disregarded;
        if let Some(etag) = disregarded.etag(&key)
            && self.store().head(&key, patience).await?.is_none_or(|meta| meta.etag == etag)
        {
            return Ok(None);
        }
        let Some((meta, found)) = self.find_s3(&key, patience).await? else { return Ok(None) };
        let cache = match found {
            Ok((_, S3Read { written_for: Some(_), .. })) => None,
            Ok((json, S3Read { read, .. })) if !read.cache.is_empty() => {
                let (digest, last_modified) = (Digest::sha256(&json), meta.last_modified);
                Some(S3Cache { key: key.clone(), json, digest, read: Arc::new(read), last_modified })
            }
            Ok((_, S3Read { read, .. })) => {
                tracing::warn!(repository = %self.name, %tag, %key, left_out = %read.left_out, "cache of type=s3 left out: there is nothing in it");
                None
            }
            Err(error) => {
                tracing::warn!(repository = %self.name, %tag, %key, %error, "cache of type=s3 left out");
                None
            }
        };
        match &cache {
            Some(cache) => self.note_evidence_of_s3(cache.read.cache.blobs().keys()),
            None => disregarded.note(key, meta.etag),
        }
        Ok(cache)
    }

    /// The tags after `last` under which such clients have caches, as far as one request tells.
    pub(super) async fn list_of_s3(&self, last: Option<&Tag>) -> Result<Tags, RegistryError> {
        let Some(S3Clients { name, tag, .. }) = self.s3_clients() else { return Ok(Tags::default()) };
        let patience = self.patience().bytes;
        if !name.tells_tags() {
            let is_next = last.is_none_or(|last| last < tag);
            let is_there = is_next && self.read_s3_cache(tag, patience).await?.is_some();
            return Ok(Tags { tags: is_there.then(|| tag.to_string()).into_iter().collect(), is_truncated: false });
        }
        let Some(before) = name.before_tag(&self.image) else { return Ok(Tags::default()) };
        let (prefix, after) = (self.keys.s3_manifests(&before), last.and_then(|last| self.s3_key(last)));
        let page = self.store().list(&prefix, after.as_ref(), patience).await?;
        let tag = |key: &Key| Some(key.as_str().strip_prefix(&prefix)?.parse::<Tag>().ok()?.to_string());
        let tags: Vec<_> = page.objects.iter().filter_map(|object| tag(&object.key)).collect();
        Ok(Tags { is_truncated: page.is_truncated && !tags.is_empty(), tags })
    }

    /// What is at `key`, `None` when nothing is: its bytes and what they say, if it is a cache of `type=s3`.
    pub(super) async fn find_s3(&self, key: &Key, patience: Duration) -> Result<Option<FoundS3>, StoreError> {
        let Some(object) = self.store().get(key, None, patience).await? else { return Ok(None) };
        let (meta, length) = (object.meta.clone(), usize::try_from(object.length).unwrap_or(usize::MAX));
        let Some(json) = whole(object, MAX_CONFIG_BYTES as u64).await? else {
            return Ok(Some((meta, Err(InvalidConfig::TooLarge(length)))));
        };
        let work = move || Cache::read_s3(&json).map(|read| (json, read));
        Ok(Some((meta, self.registry.work_on_cache(work).await.ok_or_else(late)?)))
    }

    /// The cache of `manifest` as `type=s3` has it; `None` where it is none, can't be read, or has nothing in it.
    async fn as_s3(&self, manifest: &StoredManifest) -> Option<Bytes> {
        let Some(Contents::Cache(cache)) = Contents::of(&manifest.bytes) else { return None };
        // It was pushed a moment ago, and so is most likely remembered.
        let Config::Read(config) = self.read_config(&cache.config, Instant::now() + self.patience().bytes).await else {
            return None;
        };
        let source = manifest.digest;
        let translate = move || {
            let read = cache.read(&config).ok().filter(|read| !read.cache.is_empty())?;
            Some(read.cache.write_s3(&source))
        };
        self.registry.work_on_cache(translate).await.flatten().map(Bytes::from)
    }
}

impl WritableRepository {
    /// Writes `manifest`, which `tags` point to now, for `type=s3` clients as well, if it is a cache and they get what is pushed.
    ///
    /// Whatever comes of it, the push has succeeded. It waits a little, so that who imports the cache right after it finds
    /// it there; what takes longer goes on in the background.
    pub(super) async fn write_for_s3_clients<'a>(&self, tags: impl Iterator<Item = &'a Tag>, manifest: &StoredManifest) {
        if self.s3_clients().is_none_or(|clients| !clients.write) {
            return;
        }
        let writing = tags.filter_map(|tag| Some((tag.clone(), self.s3_key(tag)?))).map(|(tag, key)| {
            let (repository, manifest) = (self.clone(), manifest.clone());
            self.registry.background.spawn(async move {
                if let Err(error) = repository.keep_for_s3_clients(&tag, &key, manifest).await {
                    let cause = std::error::Error::source(&error);
                    tracing::warn!(repository = %repository.name, %tag, %key, %error, cause, "cache not written for type=s3 clients");
                }
            })
        });
        let _ = tokio::time::timeout(self.patience().push, join_all(writing)).await;
    }

    /// Writes `manifest` to `key`, and what `tag` points to by then in its place.
    ///
    /// Two replicas that move the tag write in any order; but who writes last looks at the tag after that, and sees what it is.
    async fn keep_for_s3_clients(&self, tag: &Tag, key: &Key, mut manifest: StoredManifest) -> Result<(), RegistryError> {
        for _ in 0..ROUNDS {
            let Some(written) = self.as_s3(&manifest).await else { break };
            self.store().put(key, written, JSON, self.patience().bytes).await?;
            match self.fetch_tag(tag, self.patience().bytes).await? {
                Some((now, _)) if now.digest != manifest.digest => manifest = now,
                Some(_) => return Ok(()),
                // Who removed the tag may have looked before this was written.
                None => return self.withdraw_from_s3_clients(tag).await,
            }
        }
        tracing::warn!(repository = %self.name, %tag, %key, "no cache written for type=s3 clients: nothing of it is of use to them");
        Ok(())
    }

    /// Removes what was written for `type=s3` clients of `tag`, which is about to go; what they wrote themselves stays.
    pub(super) async fn withdraw_from_s3_clients(&self, tag: &Tag) -> Result<(), RegistryError> {
        let patience = self.patience().bytes;
        let Some(key) = self.s3_key(tag).filter(|_| self.s3_clients().is_some_and(|clients| clients.write)) else {
            return Ok(());
        };
        if let Some((_, Ok((_, S3Read { written_for: Some(_), .. })))) = self.find_s3(&key, patience).await? {
            self.store().delete(&key, patience).await?;
        }
        Ok(())
    }
}
