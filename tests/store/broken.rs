//! The store that breaks on order does so where it was told, and nowhere else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use longshore::store::{MemoryStore, ObjectStore, StoreError};

use crate::bench::{PATIENCE, content};
use crate::support::broken_store::{BrokenStore, Operation, unavailable};
use crate::words::{key, put, read};

fn broken() -> Arc<BrokenStore> {
    BrokenStore::around(Arc::new(MemoryStore::default()))
}

#[tokio::test]
async fn a_rule_fires_at_the_nth_call_that_fits_it() {
    let store = broken();
    store.when(Operation::Head).key("tags/").nth(2).fail(|| StoreError::Full("full".into()));

    let mut failed = Vec::new();
    for name in ["tags/a", "blobs/a", "tags/b", "tags/c"] {
        failed.push(store.head(&key(name), PATIENCE).await.is_err());
        store.delete(&key(name), PATIENCE).await.unwrap();
    }

    assert_eq!(failed, [false, false, true, false]);
    assert_eq!((store.calls(Operation::Head), store.calls(Operation::Delete), store.calls(Operation::Get)), (4, 4, 0));
}

#[tokio::test]
async fn a_store_that_is_mended_works_again() {
    let store = broken();
    store.at_any_call().fail(unavailable);
    assert!(store.probe(PATIENCE).await.is_err());
    assert!(store.list("", None, PATIENCE).await.is_err());

    store.mend();

    put(&*store, "a", "a").await;
}

#[tokio::test]
async fn a_paused_call_goes_on_when_it_is_released() {
    let store = broken();
    let pause = store.when(Operation::Put).pause();
    let mut put = Box::pin(put(&*store, "a", "a"));
    tokio::select! {
        () = &mut put => panic!("it did not wait"),
        () = pause.arrived() => {}
    }
    assert_eq!(read(&*store, "a").await, None);

    pause.release();
    put.await;

    assert_eq!(read(&*store, "a").await.unwrap(), "a");
}

#[tokio::test]
async fn a_dropped_pause_holds_nobody() {
    let store = broken();
    drop(store.when(Operation::Put).pause());

    put(&*store, "a", "a").await;
}

#[tokio::test]
async fn a_lost_answer_comes_after_the_deed() {
    let store = broken();
    store.when(Operation::Put).lose_answer(unavailable);

    let outcome = store.put(&key("a"), "a".into(), "text/plain", PATIENCE).await;

    assert!(outcome.is_err());
    assert_eq!(read(&*store, "a").await.unwrap(), "a");
}

#[tokio::test]
async fn a_body_breaks_after_so_many_bytes() {
    let store = broken();
    put(&*store, "a", content(100)).await;
    store.when(Operation::Get).after(30).fail(unavailable);

    let object = store.get(&key("a"), None, PATIENCE).await.unwrap().unwrap();
    let chunks: Vec<_> = object.body.collect().await;

    let (last, rest) = chunks.split_last().unwrap();
    assert!(last.is_err());
    assert_eq!(rest.iter().flatten().flatten().copied().collect::<Bytes>(), content(100)[..30]);
}

#[tokio::test]
async fn a_paused_body_yields_all_its_bytes_in_the_end() {
    let store = broken();
    put(&*store, "a", content(100)).await;
    let pause = store.when(Operation::Get).after(30).pause();

    let (bytes, ()) = tokio::join!(read(&*store, "a"), async {
        pause.arrived().await;
        pause.release();
    });

    assert_eq!(bytes.unwrap(), content(100));
}

#[tokio::test]
async fn an_upload_breaks_after_so_many_bytes() {
    let store = broken();
    store.when(Operation::Upload).after(30).fail(unavailable);
    let mut upload = store.upload(&key("a"), None, PATIENCE).await.unwrap();

    upload.write(content(30)).await.unwrap();

    assert!(upload.write(content(1)).await.is_err());
    upload.abort().await;
    assert_eq!((store.calls(Operation::Write), store.calls(Operation::Abort)), (1, 1));
}

#[tokio::test]
async fn a_call_that_hangs_never_ends() {
    let store = broken();
    store.when(Operation::Head).hang();

    assert!(store.head(&key("a"), PATIENCE).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_stalls_ends_with_its_patience() {
    let store = broken();
    store.when(Operation::Finish).stall();
    let upload = store.upload(&key("a"), None, Duration::from_secs(7)).await.unwrap();

    let began = tokio::time::Instant::now();

    assert!(upload.finish(None).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(7));
}
