//! Short words for what a test does to a store that has no bench.

use bytes::Bytes;
use longshore::store::{Key, OCTET_STREAM, ObjectStore};

use crate::bench::{PATIENCE, collect};

pub fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub async fn put(store: &dyn ObjectStore, name: &str, bytes: impl Into<Bytes>) {
    store.put(&key(name), bytes.into(), OCTET_STREAM, PATIENCE).await.unwrap();
}

/// All bytes of the object, `None` when there is none.
pub async fn read(store: &dyn ObjectStore, name: &str) -> Option<Bytes> {
    Some(collect(store.get(&key(name), None, PATIENCE).await.unwrap()?).await.unwrap().into())
}
