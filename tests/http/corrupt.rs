//! A store that has, or once brings, other bytes than were stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use longshore::oci::{ByteRange, Digest};
use longshore::registry::{Asker, Patience, Registry, RegistryError, Repository, WritableRepository};
use longshore::store::{Key, MemoryStore, OCTET_STREAM, ObjectStore};

use crate::broken_store::{BrokenStore, Operation, unavailable};
use crate::stand::PATIENCE;

const RIGHT: &[u8] = b"hello world";
const WRONG: &[u8] = b"hello w0rld";

/// A registry over a store that can be broken, and one blob in it.
struct Bench {
    store: Arc<BrokenStore>,
    registry: Arc<Registry>,
    digest: Digest,
}

impl Bench {
    /// Where the blob is what the store `has`.
    async fn with(has: &'static [u8]) -> Self {
        let store = BrokenStore::around(Arc::new(MemoryStore::default()));
        let patience = Patience::with_bytes(Duration::from_millis(300));
        let registry = Arc::new(Registry::new(Arc::clone(&store) as Arc<dyn ObjectStore>, patience));
        let bench = Self { store, registry, digest: Digest::sha256(RIGHT) };
        bench.store_has(has).await;
        bench
    }

    fn key(&self) -> Key {
        format!("app/blobs/{}", self.digest).parse().unwrap()
    }

    async fn store_has(&self, bytes: &'static [u8]) {
        self.store.put(&self.key(), bytes.into(), OCTET_STREAM, PATIENCE).await.unwrap();
    }

    fn repository(&self) -> Repository {
        self.registry.repository("app".parse().unwrap())
    }

    fn writable(&self) -> WritableRepository {
        self.registry.writable_repository("app".parse().unwrap())
    }

    /// What a client gets of the blob, and whether it is all there; `None` where it is not there.
    async fn read(&self) -> Option<(Vec<u8>, bool)> {
        let mut blob = self.repository().read_blob(&self.digest, None, Asker::Pull).await.unwrap()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = blob.body.next().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(RegistryError::Corrupt(digest)) if digest == self.digest => return Some((bytes, false)),
                Err(error) => panic!("{error:?}"),
            }
        }
        Some((bytes, true))
    }

    /// Reads the blob, which is wrong, and waits for what comes of it.
    async fn read_wrong(&self) {
        let read = self.read().await;
        assert!(matches!(read, Some((_, false))), "{read:?}");
        self.registry.settle().await;
    }

    async fn is_announced(&self) -> bool {
        self.repository().stat_blob(&self.digest, Asker::Push).await.is_some()
    }

    async fn push(&self) {
        let body = Box::pin(stream::iter([Ok(Bytes::from_static(RIGHT))]));
        self.writable().write_blob(&self.digest, Some(RIGHT.len() as u64), body).await.unwrap();
    }

    async fn is_stored(&self) -> bool {
        self.store.head(&self.key(), PATIENCE).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn one_wrong_reading_removes_nothing() {
    let bench = Bench::with(RIGHT).await;
    bench.store.when(Operation::Get).nth(1).after(3).garble();

    bench.read_wrong().await;

    assert_eq!(bench.store.calls(Operation::Get), 2, "it is read once more");
    assert_eq!(bench.store.calls(Operation::Delete), 0);
    assert!(bench.is_announced().await);
    assert_eq!(bench.read().await, Some((RIGHT.to_vec(), true)));
}

#[tokio::test]
async fn what_is_wrong_twice_is_gone_until_it_is_pushed_again() {
    let bench = Bench::with(WRONG).await;

    bench.read_wrong().await;

    assert!(!bench.is_stored().await);
    assert!(!bench.is_announced().await);
    assert_eq!(bench.read().await, None);
    bench.push().await;
    assert!(bench.is_announced().await);
    assert_eq!(bench.read().await, Some((RIGHT.to_vec(), true)));
}

#[tokio::test]
async fn what_is_wrong_twice_and_cannot_be_removed_is_absent_all_the_same() {
    let bench = Bench::with(WRONG).await;
    bench.store.when(Operation::Delete).fail(unavailable);

    bench.read_wrong().await;

    assert!(bench.is_stored().await);
    assert!(!bench.is_announced().await);
    assert_eq!(bench.read().await, None);
    let mounted = bench.registry.writable_repository("other".parse().unwrap());
    assert!(!mounted.mount_blob(&bench.digest, &bench.repository()).await.unwrap());
    bench.push().await;
    assert!(bench.is_announced().await);
    assert_eq!(bench.read().await, Some((RIGHT.to_vec(), true)));
}

#[tokio::test]
async fn what_somebody_else_writes_in_its_place_is_not_absent() {
    let bench = Bench::with(WRONG).await;
    bench.store.when(Operation::Delete).fail(unavailable);
    bench.read_wrong().await;

    bench.store_has(RIGHT).await;

    assert!(bench.is_announced().await);
    assert_eq!(bench.read().await, Some((RIGHT.to_vec(), true)));
}

#[tokio::test]
async fn a_second_reading_that_fails_proves_nothing() {
    let bench = Bench::with(WRONG).await;
    bench.store.when(Operation::Get).nth(2).after(3).fail(unavailable);

    bench.read_wrong().await;

    assert_eq!(bench.store.calls(Operation::Delete), 0);
    assert!(bench.is_announced().await);
}

#[tokio::test]
async fn another_object_in_its_place_is_not_what_was_wrong() {
    let bench = Bench::with(WRONG).await;
    let second = bench.store.when(Operation::Get).nth(2).pause();
    assert!(matches!(bench.read().await, Some((_, false))));
    second.arrived().await;

    bench.store_has(WRONG).await;
    second.release();
    bench.registry.settle().await;

    assert_eq!(bench.store.calls(Operation::Delete), 0);
    assert!(bench.is_announced().await);
}

#[tokio::test]
async fn a_push_that_ends_while_the_wrong_bytes_are_removed_stays() {
    for paused in [Operation::Head, Operation::Delete] {
        let bench = Bench::with(WRONG).await;
        let removal = bench.store.when(paused).nth(1).pause();
        assert!(matches!(bench.read().await, Some((_, false))));
        removal.arrived().await;

        // The push comes first, as far as it can.
        tokio::join!(bench.push(), async { removal.release() });
        bench.registry.settle().await;

        assert_eq!(bench.read().await, Some((RIGHT.to_vec(), true)), "{paused:?}");
    }
}

#[tokio::test]
async fn a_push_that_is_under_way_when_the_bytes_are_found_wrong_stays() {
    let bench = Bench::with(WRONG).await;
    let finish = bench.store.when(Operation::Finish).pause();
    let settled = async {
        finish.arrived().await;
        bench.read_wrong().await;
        assert!(!bench.is_announced().await);
        finish.release();
    };

    tokio::join!(bench.push(), settled);

    assert_eq!(bench.store.calls(Operation::Delete), 0, "it would have been removed with them");
    assert_eq!(bench.read().await, Some((RIGHT.to_vec(), true)));
}

#[tokio::test]
async fn a_blob_that_many_read_wrong_at_once_is_read_again_once() {
    let bench = Bench::with(WRONG).await;
    let mut reading = Vec::new();
    for _ in 0..8 {
        reading.push(bench.repository().read_blob(&bench.digest, None, Asker::Pull).await.unwrap().unwrap());
    }
    let again = bench.store.when(Operation::Get).nth(1).pause();

    for mut blob in reading {
        while let Some(Ok(_)) = blob.body.next().await {}
    }
    again.arrived().await;
    drop(again);
    bench.registry.settle().await;

    assert_eq!((bench.store.calls(Operation::Get), bench.store.calls(Operation::Delete)), (8 + 1, 1));
}

#[tokio::test]
async fn a_part_of_a_blob_is_no_proof() {
    let bench = Bench::with(WRONG).await;

    let mut blob = bench.repository().read_blob(&bench.digest, Some(ByteRange::From(3)), Asker::Pull).await.unwrap().unwrap();
    while let Some(chunk) = blob.body.next().await {
        chunk.unwrap();
    }
    bench.registry.settle().await;

    assert_eq!(bench.store.calls(Operation::Get), 1);
}
