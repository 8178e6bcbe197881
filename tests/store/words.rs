//! Short words for what a test does to a store.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use longshore::store::{Key, OCTET_STREAM, Object, ObjectStore};

/// Longer than any test may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub async fn put(store: &dyn ObjectStore, name: &str, bytes: impl Into<Bytes>) {
    store.put(&key(name), bytes.into(), OCTET_STREAM, PATIENCE).await.unwrap();
}

pub async fn read(store: &dyn ObjectStore, name: &str) -> Option<Bytes> {
    Some(bytes_of(store.get(&key(name), None, PATIENCE).await.unwrap()?).await)
}

/// All bytes of an object, which are as many as it says.
pub async fn bytes_of(Object { length, body, .. }: Object) -> Bytes {
    let bytes = Bytes::from(body.try_collect::<Vec<Bytes>>().await.unwrap().concat());
    assert_eq!(bytes.len() as u64, length);
    bytes
}

/// Bytes that differ from their neighbours, so that a wrong place shows.
pub fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}
