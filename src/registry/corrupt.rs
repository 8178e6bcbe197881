//! Blobs of which the store has other bytes than their name says.
//!
//! One wrong reading proves nothing: it may have been the wire. So such a blob
//! is read once more in the background, over a new connection. If that is wrong
//! too, of the same object, it is absent from then on and removed, so that the
//! next push brings it back. No write of the right bytes is ever removed with it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt;
use tokio::sync::{Notify, Semaphore};

use super::{Registry, RegistryError, Repository};
use crate::oci::{Digest, Hasher};
use crate::store::Key;

/// How many blobs are read again at once. A suspicion for which there is no
/// place is dropped: who reads the blob next has it again.
const AT_ONCE: usize = 2;

/// Most blobs that are known to be wrong; past it the first found is forgotten.
const MOST: usize = 256;

/// What is known and done about wrong bytes.
#[derive(Debug)]
pub(super) struct Corrupt {
    book: Mutex<Book>,
    places: Arc<Semaphore>,
    /// Tells that a removal has ended.
    removed: Notify,
}

#[derive(Debug, Default)]
struct Book {
    /// What is being read again.
    suspected: HashSet<Key>,
    /// What was wrong twice, and the etag that it had.
    bad: VecDeque<(Key, String)>,
    /// How many are about to write the right bytes.
    writing: HashMap<Key, usize>,
    removing: HashSet<Key>,
}

/// The right bytes on their way to a key, from which nothing is removed meanwhile.
pub(super) struct Writing<'a> {
    corrupt: &'a Corrupt,
    key: &'a Key,
}

/// A blob that is being read again.
struct Suspicion {
    registry: Arc<Registry>,
    key: Key,
}

/// A wrong blob that is being removed.
struct Removing<'a> {
    corrupt: &'a Corrupt,
    key: &'a Key,
}

impl Default for Corrupt {
    fn default() -> Self {
        Self { book: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)), removed: Notify::new() }
    }
}

impl Corrupt {
    /// Whether the object with `etag` at `key` is known to be wrong.
    pub(super) fn is_bad(&self, key: &Key, etag: &str) -> bool {
        self.book().bad.iter().any(|(bad, had)| bad == key && had == etag)
    }

    /// Whether some object at `key` is known to be wrong.
    pub(super) fn is_known_of(&self, key: &Key) -> bool {
        self.book().bad.iter().any(|(bad, _)| bad == key)
    }

    /// Announces that the right bytes are about to be written to `key`.
    pub(super) async fn writing<'a>(&'a self, key: &'a Key) -> Writing<'a> {
        loop {
            let mut removed = std::pin::pin!(self.removed.notified());
            removed.as_mut().enable();
            {
                let mut book = self.book();
                if !book.removing.contains(key) {
                    *book.writing.entry(key.clone()).or_default() += 1;
                    return Writing { corrupt: self, key };
                }
            }
            removed.await;
        }
    }

    fn condemn(&self, key: &Key, etag: &str) {
        let mut book = self.book();
        book.bad.retain(|(bad, _)| bad != key);
        if book.bad.len() == MOST {
            book.bad.pop_front();
        }
        book.bad.push_back((key.clone(), etag.to_owned()));
    }

    fn forget(&self, key: &Key) {
        self.book().bad.retain(|(bad, _)| bad != key);
    }

    /// Begins to remove what is at `key`, unless the right bytes are about to take its place.
    fn remove<'a>(&'a self, key: &'a Key) -> Option<Removing<'a>> {
        let mut book = self.book();
        let is_safe = !book.writing.contains_key(key) && book.removing.insert(key.clone());
        is_safe.then(|| Removing { corrupt: self, key })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing<'_> {
    /// They are there now.
    pub(super) fn succeeded(self) {
        self.corrupt.forget(self.key);
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut book = self.corrupt.book();
        let writers = book.writing.entry(self.key.clone()).or_default();
        *writers = writers.saturating_sub(1);
        if *writers == 0 {
            book.writing.remove(self.key);
        }
    }
}

impl Drop for Suspicion {
    fn drop(&mut self) {
        self.registry.corrupt.book().suspected.remove(&self.key);
    }
}

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        self.corrupt.book().removing.remove(self.key);
        self.corrupt.removed.notify_waiters();
    }
}

impl Repository {
    /// Finds out in the background whether the blob `digest`, whose object with `etag` was read wrong, is wrong for good.
    pub(super) fn suspect(&self, digest: Digest, etag: String) {
        let registry = Arc::clone(&self.registry);
        let Ok(place) = Arc::clone(&registry.corrupt.places).try_acquire_owned() else { return };
        let key = self.keys.blob(&digest);
        if !registry.corrupt.book().suspected.insert(key.clone()) {
            return;
        }
        let suspicion = Suspicion { registry, key };
        let repository = self.clone();
        self.registry.background.spawn(async move {
            if let Err(error) = repository.look_into(&digest, &suspicion.key, &etag).await
                && !error.is_not_allowed()
            {
                tracing::warn!(repository = %repository.name, %digest, %error, "blob that was read wrong not looked into");
            }
            drop((suspicion, place));
        });
    }

    async fn look_into(&self, digest: &Digest, key: &Key, etag: &str) -> Result<(), RegistryError> {
        if !self.is_wrong(digest, key, etag).await? {
            return Ok(());
        }
        tracing::error!(repository = %self.name, %digest, "the store has other bytes than the digest says; the blob is absent until it is pushed again");
        self.registry.corrupt.condemn(key, etag);
        self.index().removed(&self.keys.blobs(), digest);
        let Some(_removing) = self.registry.corrupt.remove(key) else { return Ok(()) };
        let meta = self.store().head(key, self.patience().bytes).await?;
        if meta.is_some_and(|meta| meta.etag == etag) {
            self.store().delete(key, self.patience().bytes).await?;
        }
        // Whatever is there from now on is something else.
        self.registry.corrupt.forget(key);
        Ok(())
    }

    /// Whether the object with `etag` at `key` is wrong when it is read once more.
    async fn is_wrong(&self, digest: &Digest, key: &Key, etag: &str) -> Result<bool, RegistryError> {
        self.store().reconnect();
        let Some(object) = self.store().get(key, None, self.patience().bytes).await? else { return Ok(false) };
        if object.meta.etag != etag {
            return Ok(false);
        }
        let (mut body, mut hasher) = (object.body, Hasher::new(digest.algorithm()));
        while let Some(chunk) = body.try_next().await? {
            hasher.update(&chunk);
        }
        Ok(hasher.finish() != *digest)
    }
}
