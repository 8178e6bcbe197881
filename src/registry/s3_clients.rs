//! Caches of BuildKit's own `type=s3` in the same store.
//!
//! Such a client has one object for a cache, under a name that its pipeline
//! states. What a registry has as tag, manifest and config is made of it when
//! it is pulled, and it of them when they are pushed; the layers are the same
//! objects. Both sides write when they like, and the newer one counts. What was
//! written here for those clients says so, and is no news.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::{RegistryError, Repository, StoredManifest, WritableRepository, late};
use crate::buildkit::{Cache, Contents, InvalidConfig, MAX_CONFIG_BYTES, S3Name, S3Read};
use crate::oci::{Digest, Tag};
use crate::store::{Key, Object, StoreError};

/// How many caches are translated at once. One that lies may take 160 MB.
const AT_ONCE: usize = 2;

/// How often what was written is written anew because the tag has moved meanwhile.
const ROUNDS: usize = 8;

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

/// Turns at translating caches.
#[derive(Debug)]
pub(super) struct S3Caches {
    turns: Arc<Semaphore>,
}

impl Default for S3Caches {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl S3Caches {
    /// What `translate` makes of something large, beside the event loop and not for many at once.
    async fn translate<T: Send + 'static>(&self, translate: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| late())?;
        let translating = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            translate()
        });
        translating.await.map_err(|error| StoreError::Unavailable(error.into()))
    }
}

impl Repository {
    /// Where `type=s3` clients have the cache that is `tag` here; `None` where that is none of theirs.
    fn s3_key(&self, tag: &Tag) -> Option<Key> {
        let clients = self.registry.s3_clients.as_ref()?;
        let is_theirs = clients.name.tells_tags() || clients.tag == *tag;
        is_theirs.then(|| self.keys.s3_manifest(&clients.name.of(&self.image, tag)))?
    }

    /// What `object` says, if it is a cache of `type=s3`.
    async fn read_s3(&self, object: Object) -> Result<Result<S3Read, InvalidConfig>, StoreError> {
        match whole(object).await? {
            Ok(bytes) => self.registry.s3_caches.translate(move || Cache::read_s3(&bytes)).await,
            Err(too_large) => Ok(Err(too_large)),
        }
    }

    /// The cache of `manifest` as `type=s3` has it; `None` where it is none, or there is nothing in it.
    async fn as_s3(&self, manifest: &StoredManifest) -> Result<Option<Bytes>, RegistryError> {
        let Some(Contents::Cache(cache)) = Contents::of(&manifest.bytes) else { return Ok(None) };
        let Some(config) = self.store().get(&self.keys.blob(&cache.config.digest), None, self.patience().bytes).await? else {
            return Ok(None);
        };
        let Ok(config) = whole(config).await? else { return Ok(None) };
        if Digest::of(cache.config.digest.algorithm(), &config) != cache.config.digest {
            return Err(RegistryError::Corrupt(cache.config.digest));
        }
        let source = manifest.digest;
        let translate =
            move || cache.read(&config).ok().filter(|read| !read.cache.is_empty()).map(|read| read.cache.write_s3(&source));
        Ok(self.registry.s3_caches.translate(translate).await?.map(Bytes::from))
    }
}

impl WritableRepository {
    /// Writes `manifest`, which `tags` point to now, for `type=s3` clients as well, if it is a cache and they get what is pushed.
    ///
    /// Whatever comes of it, the push has succeeded. It waits a little, so that who imports the cache right after it finds
    /// it there; what takes longer goes on in the background.
    pub(super) async fn write_for_s3_clients<'a>(&self, tags: impl Iterator<Item = &'a Tag>, manifest: &StoredManifest) {
        if self.registry.s3_clients.as_ref().is_none_or(|clients| !clients.write) {
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
            let Some(written) = self.as_s3(&manifest).await? else { break };
            self.store().put(key, written, JSON, self.patience().bytes).await?;
            match self.fetch_tag(tag, self.patience().bytes).await? {
                Some((now, _)) if now.digest != manifest.digest => manifest = now,
                _ => return Ok(()),
            }
        }
        tracing::warn!(repository = %self.name, %tag, %key, "no cache written for type=s3 clients: there is nothing in it for them");
        Ok(())
    }

    /// Removes what was written for `type=s3` clients of `tag`, which is about to go; what they wrote themselves stays.
    pub(super) async fn withdraw_from_s3_clients(&self, tag: &Tag) -> Result<(), RegistryError> {
        let patience = self.patience().bytes;
        let Some(key) = self.s3_key(tag).filter(|_| self.registry.s3_clients.as_ref().is_some_and(|clients| clients.write))
        else {
            return Ok(());
        };
        let Some(object) = self.store().get(&key, None, patience).await? else { return Ok(()) };
        if self.read_s3(object).await?.is_ok_and(|read| read.written_for.is_some()) {
            self.store().delete(&key, patience).await?;
        }
        Ok(())
    }
}

/// All bytes of `object`, if they are no more than are read of a cache.
async fn whole(object: Object) -> Result<Result<Bytes, InvalidConfig>, StoreError> {
    let length = usize::try_from(object.length).unwrap_or(usize::MAX);
    if length > MAX_CONFIG_BYTES {
        return Ok(Err(InvalidConfig::TooLarge(length)));
    }
    let mut bytes = BytesMut::with_capacity(length);
    let mut body = object.body;
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Ok(bytes.freeze()))
}
