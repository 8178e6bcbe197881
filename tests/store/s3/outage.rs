//! A bucket that is gone for a while, or for good.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use longshore::store::{Key, OCTET_STREAM, ObjectStore, StoreError};

use super::Doorway;
use crate::bench::{Bench, MIB, PATIENCE, content};
use crate::support::door::{Mode, S3Operation};

/// How long a test waits for a store that is gone.
const SHORT: Duration = Duration::from_millis(300);

/// How much longer than the patience given a call may take here, where tests share two cores.
const SLACK: Duration = Duration::from_secs(2);

/// One of each call, whatever it brings.
async fn ask(store: &dyn ObjectStore, call: &str, key: &Key, patience: Duration) -> Result<(), StoreError> {
    match call {
        "head" => store.head(key, patience).await.map(drop),
        "get" => store.get(key, None, patience).await.map(drop),
        "put" => store.put(key, content(MIB), OCTET_STREAM, patience).await,
        "upload" => {
            let mut upload = store.upload(key, None, patience).await?;
            upload.write(content(9 * MIB)).await?;
            upload.finish(None).await.map(drop)
        }
        "copy" => store.copy(key, "\"etag\"", key, patience).await.map(drop),
        "folders" => store.folders("", patience).await.map(drop),
        "list" => store.list("", None, patience).await.map(drop),
        "delete" => store.delete(key, patience).await,
        _ => store.probe(patience).await,
    }
}

const CALLS: [&str; 9] = ["head", "get", "put", "upload", "copy", "list", "folders", "delete", "probe"];

#[tokio::test]
async fn a_bucket_that_is_gone_is_waited_for_no_longer_than_patience_lasts() {
    for mode in [Mode::Refuse, Mode::BlackHole] {
        let doorway = Doorway::open().await;
        doorway.bench.put("it", "hello").await;
        doorway.door.become_(mode).await;
        let Bench { store, .. } = &doorway.bench;
        for call in CALLS {
            let began = Instant::now();

            let outcome = ask(&**store, call, &doorway.bench.key(call), SHORT).await;

            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{mode:?}, {call}: {outcome:?}");
            assert!(began.elapsed() < SHORT + SLACK, "{mode:?}, {call}: {:?}", began.elapsed());
        }
        doorway.door.become_(Mode::Open).await;
        assert_eq!(doorway.bench.read("it").await.unwrap(), b"hello", "{mode:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_comes_back_within_the_patience_was_only_slow() {
    for mode in [Mode::Refuse, Mode::BlackHole] {
        let doorway = Doorway::open().await;
        // The connections it has by now go with the change.
        doorway.bench.put("it", "hello").await;
        doorway.door.become_(mode).await;
        let Bench { store, .. } = &doorway.bench;
        let asking = futures_util::future::join_all(CALLS.iter().map(|call| {
            let key = doorway.bench.key(call);
            async move { (call, ask(&**store, call, &key, PATIENCE).await) }
        }));
        let coming_back = async {
            let key = doorway.bench.key("it");
            let outcome = ask(&**store, "head", &key, SHORT).await;
            assert!(outcome.is_err(), "{mode:?}: it was never gone");
            doorway.door.become_(Mode::Open).await;
        };

        let (outcomes, ()) = tokio::join!(asking, coming_back);

        for (call, outcome) in outcomes {
            assert!(outcome.is_ok(), "{mode:?}, {call}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn once_a_bucket_is_known_to_be_gone_who_is_in_haste_is_told_at_once_and_who_waits_asks_seldom() {
    let doorway = Doorway::open().await;
    doorway.bench.put("it", "hello").await;
    doorway.door.become_(Mode::Refuse).await;
    let Bench { store, .. } = &doorway.bench;
    let key = doorway.bench.key("it");
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let (store, key) = (std::sync::Arc::clone(store), key.clone());
            tokio::spawn(async move { store.head(&key, PATIENCE).await })
        })
        .collect();
    tokio::time::sleep(SHORT * 5).await;

    let began = Instant::now();
    for _ in 0..10 {
        assert!(matches!(store.head(&key, SLACK).await, Err(StoreError::Unavailable(_))));
    }
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());

    doorway.door.become_(Mode::Open).await;
    let opened = Instant::now();
    for outcome in waiting {
        assert!(outcome.await.unwrap().unwrap().is_some());
    }
    assert!(opened.elapsed() < SLACK * 2, "{:?}", opened.elapsed());
}

#[tokio::test]
async fn a_body_that_falls_silent_is_resumed_over_another_connection() {
    let doorway = Doorway::open().await;
    let bytes = content(40 * MIB);
    doorway.beside.put("it", bytes.clone()).await;
    let patience = Duration::from_secs(4);
    let mut object = doorway.bench.store.get(&doorway.bench.key("it"), None, patience).await.unwrap().unwrap();
    let mut read = object.body.next().await.unwrap().unwrap().to_vec();
    doorway.door.become_(Mode::BlackHole).await;
    doorway.door.become_(Mode::Open).await;

    while let Some(chunk) = object.body.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }

    assert!(read == bytes, "other bytes");
    assert!(doorway.door.seen_operations(S3Operation::GetObject).len() > 1, "it did not fall silent");
}

#[tokio::test]
async fn a_body_whose_bucket_stays_away_ends_in_an_error_when_patience_does() {
    let doorway = Doorway::open().await;
    doorway.beside.put("it", content(40 * MIB)).await;
    let mut object = doorway.bench.store.get(&doorway.bench.key("it"), None, SHORT).await.unwrap().unwrap();
    object.body.next().await.unwrap().unwrap();
    doorway.door.become_(Mode::Refuse).await;
    let began = Instant::now();

    let end = loop {
        match object.body.next().await {
            Some(Ok(_)) => {}
            end => break end,
        }
    };

    assert!(matches!(end, Some(Err(StoreError::Unavailable(_)))), "{end:?}");
    assert!(began.elapsed() < SHORT + SLACK, "{:?}", began.elapsed());
}
