//! Whose turn it is to change a tag.
//!
//! A tag goes with the manifest that it points to. Between the look at it and
//! its removal no push of this process may move it, or the push would be lost.
//! (A push to another replica may: stores differ in what they could do about
//! that, and the time is one request.)

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::store::Key;

/// How many tags can be removed at once, at most. Tags share a lock by chance, and then wait for one another.
const LOCKS: usize = 64;

/// Locks on tags: many may write one at once, and nobody while it is being removed.
#[derive(Debug)]
pub(super) struct Turns([RwLock<()>; LOCKS]);

impl Turns {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| RwLock::new(())))
    }

    /// Waits until the tag at `key` may be written.
    pub(super) async fn to_write(&self, key: &Key) -> RwLockReadGuard<'_, ()> {
        self.lock(key).read().await
    }

    /// Waits until the tag at `key` may be removed.
    pub(super) async fn to_remove(&self, key: &Key) -> RwLockWriteGuard<'_, ()> {
        self.lock(key).write().await
    }

    fn lock(&self, key: &Key) -> &RwLock<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        &self.0[(hash % LOCKS as u64) as usize]
    }
}
