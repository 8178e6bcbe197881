//! A store that forgets when it is dropped, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;

use super::{Clock, Key, Listed, OCTET_STREAM, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload};
use crate::oci::ByteRange;

/// Most objects in one page of a listing, as many as S3 gives.
const PAGE: usize = 1000;

/// Objects in memory; a clone is the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shelf: Arc<Mutex<Shelf>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Shelf {
    objects: BTreeMap<Key, Stored>,
    /// How many objects were ever written; the next one's etag.
    writes: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    meta: ObjectMeta,
    bytes: Bytes,
}

impl MemoryStore {
    /// An empty store that goes by `clock`.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self { shelf: Arc::default(), clock }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object on the shelf; its etag.
    fn keep(&self, key: &Key, bytes: Bytes, content_type: &str) -> String {
        let mut shelf = self.shelf();
        shelf.writes += 1;
        let meta = ObjectMeta {
            size: bytes.len() as u64,
            content_type: content_type.to_owned(),
            last_modified: self.clock.now(),
            etag: shelf.writes.to_string(),
        };
        let etag = meta.etag.clone();
        shelf.objects.insert(key.clone(), Stored { meta, bytes });
        etag
    }
}

// Memory neither waits nor fails, so there is nothing to be patient with.
#[async_trait]
impl ObjectStore for MemoryStore {
    async fn head(&self, key: &Key, _: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        Ok(self.shelf().objects.get(key).map(|stored| stored.meta.clone()))
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, _: Duration) -> Result<Option<Object>, StoreError> {
        let Some(Stored { meta, bytes }) = self.shelf().objects.get(key).cloned() else {
            return Ok(None);
        };
        let (offset, length) = super::span(range, meta.size)?;
        let part = bytes.slice(offset as usize..(offset + length) as usize);
        Ok(Some(Object { meta, offset, length, body: Box::pin(stream::iter([Ok(part)])) }))
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, _: Duration) -> Result<(), StoreError> {
        self.keep(key, bytes, content_type);
        Ok(())
    }

    async fn upload(&self, key: &Key, length: Option<u64>, _: Duration) -> Result<Box<dyn Upload>, StoreError> {
        let limit = isize::MAX as u64;
        if length.is_some_and(|length| length > limit) {
            return Err(StoreError::TooLarge { limit });
        }
        Ok(Box::new(MemoryUpload { store: self.clone(), key: key.clone(), bytes: BytesMut::new() }))
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key, _: Duration) -> Result<bool, StoreError> {
        let found = self.shelf().objects.get(from).filter(|stored| stored.meta.etag == etag).cloned();
        let Some(Stored { meta, bytes }) = found else { return Ok(false) };
        self.keep(to, bytes, &meta.content_type);
        Ok(true)
    }

    async fn touch(&self, key: &Key, _: Duration) -> Result<bool, StoreError> {
        let (mut shelf, now) = (self.shelf(), self.clock.now());
        let found = shelf.objects.get_mut(key);
        Ok(found.map(|stored| stored.meta.last_modified = now).is_some())
    }

    async fn delete(&self, key: &Key, _: Duration) -> Result<(), StoreError> {
        self.shelf().objects.remove(key);
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, _: Duration) -> Result<Page, StoreError> {
        let shelf = self.shelf();
        let from = match after.map(Key::as_str) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found =
            shelf.objects.range::<str, _>((from, Bound::Unbounded)).take_while(|(key, _)| key.as_str().starts_with(prefix)).map(
                |(key, Stored { meta, .. })| Listed {
                    key: key.clone(),
                    size: meta.size,
                    last_modified: meta.last_modified,
                    etag: meta.etag.clone(),
                },
            );
        Ok(Page { objects: found.by_ref().take(PAGE).collect(), is_truncated: found.next().is_some() })
    }

    async fn folders(&self, prefix: &str, _: Duration) -> Result<Vec<String>, StoreError> {
        let shelf = self.shelf();
        let below = shelf.objects.keys().filter_map(|key| key.as_str().strip_prefix(prefix)?.split_once('/'));
        let names: BTreeSet<_> = below.map(|(name, _)| name.to_owned()).collect();
        Ok(names.into_iter().collect())
    }

    // What is being written is its writer's, and goes with it.
    async fn unfinished(&self, _: &str, _: SystemTime, _: Duration) -> Result<Option<Vec<Unfinished>>, StoreError> {
        Ok(Some(Vec::new()))
    }

    async fn discard(&self, _: &Unfinished, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn probe(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn settle(&self) {}
}

/// Bytes that are not on the shelf yet.
#[derive(Debug)]
struct MemoryUpload {
    store: MemoryStore,
    key: Key,
    bytes: BytesMut,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>, _sha256: Option<[u8; 32]>) -> Result<String, StoreError> {
        Ok(self.store.keep(&self.key, self.bytes.freeze(), OCTET_STREAM))
    }

    async fn abort(self: Box<Self>) {}
}
