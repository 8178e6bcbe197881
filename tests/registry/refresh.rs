//! A blob that clients are told of never grows so old that it could be removed.

use std::time::Duration;

use longshore::registry::Asker;
use longshore::store::{ObjectStore, StoreError};

use crate::broken_store::Operation::{Head, List, Touch};
use crate::broken_store::unavailable;
use crate::caches::{Cache, import, steps};
use crate::harbour::{Harbour, PATIENCE, Replica, key};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Between three days and seven: a blob can't be removed yet, but there must be no more waiting.
const MIDDLE: Duration = Duration::from_secs(5 * 24 * 60 * 60);

/// A blob `layer` that was pushed so long ago.
async fn aged(age: Duration) -> (Harbour, Replica) {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    tokio::time::advance(age).await;
    (harbour, one)
}

#[tokio::test(start_paused = true)]
async fn a_young_blob_is_left_as_it_is() {
    let (harbour, one) = aged(DAY * 3 - HOUR).await;

    assert!(one.has("layer").await);
    one.registry.settle().await;

    assert_eq!(harbour.age("layer").await, Some(DAY * 3 - HOUR));
}

#[tokio::test(start_paused = true)]
async fn an_old_blob_is_made_young_beside_the_answer_once_for_all_who_ask() {
    let (harbour, one) = aged(DAY * 3).await;
    let touch = harbour.store.when(Touch).pause();

    for _ in 0..10 {
        assert!(one.has("layer").await && one.has_for_others("layer").await, "nobody waits for it");
    }
    touch.release();
    one.registry.settle().await;

    assert_eq!(harbour.age("layer").await, Some(Duration::ZERO));
    assert_eq!(harbour.store.calls(Touch), 1);
    assert!(one.has("layer").await);
    assert_eq!(harbour.store.calls(Touch), 1, "it is known to be young now");
}

#[tokio::test(start_paused = true)]
async fn the_layers_of_a_cache_that_is_pulled_are_made_young_beside_the_answer_once() {
    let harbour = Harbour::new();
    let cache = Cache::of(&["one", "two", "three"]);
    cache.push(&harbour.replica().app, "cache").await;
    harbour.store.delete(&key("two"), PATIENCE.bytes).await.unwrap();
    for (age, touched) in [(DAY * 3 - HOUR, 0), (HOUR, 3), (HOUR, 3)] {
        tokio::time::advance(age).await;
        let one = harbour.replica();
        let touch = harbour.store.when(Touch).nth(1).pause();

        assert_eq!(import(&one.app, "cache").await.unwrap().names(), steps(&["one", "three"]), "nobody waits for it");

        touch.release();
        one.registry.settle().await;
        assert_eq!(harbour.store.calls(Touch), touched, "two layers and the config");
    }
    assert_eq!((harbour.age("one").await, harbour.age("three").await), (Some(HOUR), Some(HOUR)));
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_no_longer_young_is_sent_again_with_its_tag() {
    let (_, one) = aged(Duration::ZERO).await;
    let found = one.push_image("tag", &["layer"]).await.unwrap();
    for (age, is_told) in [(DAY * 3 - HOUR, true), (HOUR, false)] {
        tokio::time::advance(age).await;
        for reference in ["tag".to_owned(), found.to_string()] {
            let reference = reference.parse().unwrap();
            let told = async |asker| one.app.stat_manifest(&reference, asker).await.unwrap().is_some();

            assert_eq!((told(Asker::Push).await, told(Asker::Pull).await), (is_told, true), "{reference} {age:?}");
        }
    }
    one.push_image("tag", &["layer"]).await.unwrap();
    assert!(one.app.stat_manifest(&"tag".parse().unwrap(), Asker::Push).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_blob_grows_old_in_the_index_too() {
    let (harbour, one) = aged(DAY * 3 - Duration::from_secs(1)).await;
    assert!(one.has("layer").await);

    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(one.has("layer").await);
    one.registry.settle().await;

    assert_eq!(harbour.age("layer").await, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_could_be_removed_soon_is_made_young_before_anybody_is_told_of_it() {
    let (harbour, one) = aged(MIDDLE).await;
    let touch = harbour.store.when(Touch).hold_answer();

    let (is_there, ()) = tokio::join!(one.has("layer"), async {
        touch.arrived().await;
        assert_eq!(harbour.age("layer").await, Some(Duration::ZERO));
        touch.release();
    });

    assert!(is_there);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_can_not_be_made_young_is_told_of_until_it_could_be_removed_soon() {
    for (age, is_there) in [(DAY * 3, true), (MIDDLE - HOUR, true), (MIDDLE, false), (DAY * 8, false)] {
        let (harbour, one) = aged(age).await;
        for fault in ["fail", "never", "stall", "hang"] {
            let rule = harbour.store.when(Touch);
            match fault {
                "fail" => rule.fail(unavailable),
                "never" => rule.fail(|| StoreError::TooLarge { limit: 5 }),
                "stall" => rule.stall(),
                _ => rule.hang(),
            }
            let began = tokio::time::Instant::now();

            assert_eq!(one.has("layer").await, is_there, "{age:?} {fault}");

            assert!(began.elapsed() <= PATIENCE.push, "{age:?} {fault}");
            harbour.store.mend();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_with_which_it_failed_is_not_tried_again_at_each_question() {
    let (harbour, one) = aged(MIDDLE).await;
    harbour.store.when(Touch).fail(unavailable);

    for _ in 0..10 {
        assert!(!one.has("layer").await);
    }
    assert_eq!(harbour.store.calls(Touch), 1);
    let told = one.metrics.to_text();
    assert!(told.contains(r#"longshore_blob_refreshes_total{profile="app",result="failed"} 1"#), "{told}");

    harbour.store.mend();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(one.has("layer").await);
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_sent_again_is_young() {
    let (harbour, one) = aged(MIDDLE).await;
    harbour.store.when(Touch).fail(unavailable);
    assert!(!one.has("layer").await);

    one.push("layer").await;

    assert!(one.has("layer").await);
    assert_eq!(harbour.age("layer").await, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_was_asked_before_a_blob_was_sent_again_does_not_make_it_old() {
    let (harbour, _) = aged(MIDDLE).await;
    let cold = harbour.replica();
    let list = harbour.store.when(List).hold_answer();

    let (_, ()) = tokio::join!(cold.has("new"), async {
        list.arrived().await;
        tokio::time::advance(Duration::from_secs(1)).await;
        cold.push("layer").await;
        list.release();
    });

    assert!(cold.has("layer").await);
    assert_eq!((harbour.store.calls(Touch), harbour.calls(&[List])), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_while_it_is_made_young_is_gone() {
    for age in [DAY * 3, MIDDLE] {
        let (harbour, one) = aged(age).await;
        let touch = harbour.store.when(Touch).hold_answer();

        let ((), ()) = tokio::join!(
            async {
                one.has("layer").await;
            },
            async {
                touch.arrived().await;
                assert!(one.remove("layer").await);
                touch.release();
            }
        );
        one.registry.settle().await;

        assert!(!one.has("layer").await && !one.has_for_others("layer").await, "{age:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_removed_is_found_out_when_it_is_to_be_made_young() {
    let (harbour, one) = aged(DAY * 3 - Duration::from_secs(1)).await;
    assert!(one.has("layer").await);
    tokio::time::advance(Duration::from_secs(2)).await;
    harbour.store.delete(&key("layer"), PATIENCE.bytes).await.unwrap();
    let questions = harbour.store.calls(Head);

    assert!(one.has("layer").await, "advice, not evidence");
    one.registry.settle().await;

    assert_eq!(harbour.store.calls(Head), questions);
    assert!(!one.has("layer").await);
}
