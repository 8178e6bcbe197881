//! An image of a hundred thousand blobs, in a store that takes 20 ms for everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use longshore::oci::{ByteRange, Digest};
use longshore::registry::{Asker, Belief};
use longshore::store::{
    Clock, Key, MemoryStore, OCTET_STREAM, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload,
};
use tokio::time::Instant;

use crate::harbour::{PATIENCE, Replica, replica_over};

pub const LATENCY: Duration = Duration::from_millis(20);

const BLOBS: usize = 100_000;

/// A store in memory that is as far away as a bucket, and counts what it is asked.
#[derive(Debug, Default)]
pub struct Distant {
    pub memory: MemoryStore,
    heads: AtomicUsize,
    lists: AtomicUsize,
    heads_now: AtomicUsize,
    most_heads: AtomicUsize,
}

#[async_trait]
impl ObjectStore for Distant {
    async fn head(&self, key: &Key, patience: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.most_heads.fetch_max(self.heads_now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
        self.heads_now.fetch_sub(1, Ordering::Relaxed);
        self.memory.head(key, patience).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, patience: Duration) -> Result<Page, StoreError> {
        self.lists.fetch_add(usize::from(prefix.starts_with("app/blobs/")), Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
        self.memory.list(prefix, after, patience).await
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, patience: Duration) -> Result<Option<Object>, StoreError> {
        tokio::time::sleep(LATENCY).await;
        self.memory.get(key, range, patience).await
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, patience: Duration) -> Result<(), StoreError> {
        tokio::time::sleep(LATENCY).await;
        self.memory.put(key, bytes, content_type, patience).await
    }

    async fn upload(&self, key: &Key, length: Option<u64>, patience: Duration) -> Result<Box<dyn Upload>, StoreError> {
        self.memory.upload(key, length, patience).await
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key, patience: Duration) -> Result<bool, StoreError> {
        self.memory.copy(from, etag, to, patience).await
    }

    async fn touch(&self, key: &Key, patience: Duration) -> Result<bool, StoreError> {
        self.memory.touch(key, patience).await
    }

    async fn delete(&self, key: &Key, patience: Duration) -> Result<(), StoreError> {
        self.memory.delete(key, patience).await
    }

    async fn folders(&self, prefix: &str, patience: Duration) -> Result<Vec<String>, StoreError> {
        self.memory.folders(prefix, patience).await
    }

    async fn unfinished(
        &self,
        prefix: &str,
        before: SystemTime,
        patience: Duration,
    ) -> Result<Option<Vec<Unfinished>>, StoreError> {
        self.memory.unfinished(prefix, before, patience).await
    }

    async fn discard(&self, upload: &Unfinished, patience: Duration) -> Result<(), StoreError> {
        self.memory.discard(upload, patience).await
    }

    async fn probe(&self, patience: Duration) -> Result<(), StoreError> {
        self.memory.probe(patience).await
    }

    async fn settle(&self) {}
}

impl Distant {
    /// How many blobs were asked for, and pages of blobs listed.
    pub fn questions(&self) -> (usize, usize) {
        (self.heads.load(Ordering::Relaxed), self.lists.load(Ordering::Relaxed))
    }
}

fn blob(number: usize) -> Digest {
    Digest::sha256(&number.to_le_bytes())
}

/// A replica that knows nothing yet of an image of `blobs` blobs.
pub async fn cold(blobs: usize, index_bytes: u64) -> (Arc<Distant>, Replica) {
    let (start, began) = (SystemTime::now(), Instant::now());
    let clock = Clock::new(move || start + began.elapsed());
    let store = Arc::new(Distant { memory: MemoryStore::with_clock(clock.clone()), ..Distant::default() });
    for number in 0..blobs {
        let key = format!("app/blobs/{}", blob(number)).parse().unwrap();
        store.memory.put(&key, Bytes::from_static(b"x"), OCTET_STREAM, PATIENCE.bytes).await.unwrap();
    }
    let belief = Belief { index_bytes, ..Belief::default() };
    let replica = replica_over(Arc::clone(&store) as Arc<dyn ObjectStore>, belief, &clock);
    (store, replica)
}

/// Asks for the blobs of these numbers, all at once, and how long it took until the last answer; those that are there.
async fn ask(replica: &Replica, numbers: impl Iterator<Item = usize>) -> (usize, Duration) {
    let began = Instant::now();
    let answers = join_all(numbers.map(|number| async move { replica.app.stat_blob(&blob(number), Asker::Push).await }));
    (answers.await.into_iter().flatten().count(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn any_blob_of_a_hundred_thousand_is_told_of_within_100_ms_of_the_first_question() {
    let (store, one) = cold(BLOBS, Belief::default().index_bytes).await;

    let (there, took) = ask(&one, (0..BLOBS + 1000).step_by(1000)).await;
    assert!(there == 100 && took <= Duration::from_millis(100), "{there} in {took:?}");
    let (there, took) = ask(&one, BLOBS..BLOBS + 64).await;
    assert!(there == 0 && took <= Duration::from_millis(100), "{there} in {took:?}");
    assert!(store.most_heads.load(Ordering::Relaxed) <= 64);

    // As long as the listing takes, and then all of them cost nothing.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (heads, lists) = store.questions();
    assert!(lists <= BLOBS / 1000 + 18, "{lists} listings");
    let (there, took) = ask(&one, (0..BLOBS).step_by(10).chain([BLOBS + 1])).await;
    assert_eq!((there, took, store.questions()), (BLOBS / 10, Duration::ZERO, (heads, lists)));
    assert!(one.registry.index_bytes() <= 16 << 20, "{:?}", one.registry.index_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_new_blob_in_a_large_image_is_asked_for_and_the_image_is_not_listed_for_it() {
    let (store, one) = cold(20_000, Belief::default().index_bytes).await;
    ask(&one, 0..1).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    let (heads, lists) = store.questions();

    let (there, _) = ask(&one, 20_000..20_050).await;

    assert_eq!((there, store.questions()), (0, (heads + 50, lists)));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_does_not_fit_is_asked_for_blob_by_blob_and_listed_no_more() {
    let (store, one) = cold(20_000, 400_000).await;
    ask(&one, 0..1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, lists) = store.questions();
    assert!(lists < 15, "given up as soon as it was full: {lists}");

    for _ in 0..3 {
        let (there, took) = ask(&one, (0..20_064).step_by(200)).await;
        assert!(there == 100 && took <= Duration::from_millis(100), "{there} in {took:?}");
        assert!(one.registry.index_bytes() <= 400_000, "{:?}", one.registry.index_bytes());
        tokio::time::advance(Duration::from_secs(11 * 60)).await;
    }

    assert_eq!(store.questions().1, lists);
    let (heads, _) = store.questions();
    ask(&one, (0..20_064).step_by(200)).await;
    let (again, _) = store.questions();
    let (there, _) = ask(&one, (0..20_000).step_by(200)).await;
    assert_eq!((there, store.questions().0), (100, again), "what there is room for is remembered: {heads}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_goes_on_ends_with_the_server() {
    let (store, one) = cold(BLOBS, Belief::default().index_bytes).await;
    ask(&one, 0..1).await;
    let began = Instant::now();

    one.registry.settle().await;

    assert!(began.elapsed() <= LATENCY * 2 && store.questions().1 < 50, "{:?}", store.questions());
}
