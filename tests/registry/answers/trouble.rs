//! Answers from a store that is slow, fails, or lets nobody write.

use std::time::Duration;

use futures_util::FutureExt;
use longshore::oci::Reference;
use longshore::registry::Asker;
use longshore::store::{ObjectStore, StoreError};

use crate::broken_store::Operation::{Get, Head, List, Put};
use crate::broken_store::{BrokenStore, unavailable};
use crate::caches::{Cache, import, steps};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key};

const LAYERS: [&str; 2] = ["one", "two"];

async fn pushed(gone: &[&str]) -> (Harbour, Replica, Cache) {
    let (harbour, cache) = (Harbour::new(), Cache::of(&LAYERS));
    cache.push(&harbour.replica().app, "cache").await;
    for content in gone {
        harbour.store.delete(&key(content), PATIENCE.bytes).await.unwrap();
    }
    let one = harbour.replica();
    (harbour, one, cache)
}

async fn told(one: &Replica, tag: &str) -> Result<Option<longshore::oci::Digest>, longshore::registry::RegistryError> {
    Ok(one.app.stat_manifest(&tag.parse().unwrap(), Asker::Import).await?.map(|info| info.digest))
}

/// The store refuses every write, as S3 does where the keys may not.
fn refuse_writes(store: &BrokenStore) {
    store.when(Put).key("_oci/derived/").fail(|| StoreError::Denied("AccessDenied: s3:PutObject".into()));
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_say_in_time_counts_as_there() {
    for fault in ["fail", "stall", "hang"] {
        for operation in [Head, List] {
            let (harbour, one, cache) = pushed(&["two"]).await;
            let rule = harbour.store.when(operation).key("app/blobs/");
            match fault {
                "fail" => rule.fail(unavailable),
                "stall" => rule.stall(),
                _ => rule.hang(),
            }
            let began = tokio::time::Instant::now();

            let found = told(&one, "cache").await.unwrap().unwrap();

            assert!(began.elapsed() <= PATIENCE.pull, "{fault} {operation:?}: {:?}", began.elapsed());
            let is_asked_all_the_same = operation == List && fault == "fail";
            assert_eq!(found == cache.digest(), !is_asked_all_the_same, "{fault} {operation:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_in_time_to_be_gone_is_left_out_though_the_rest_is_not_known() {
    let (harbour, one, _) = pushed(&["two"]).await;
    Cache::of(&["one", "two", "three"]).push_manifest(&one.app, "cache").await;
    crate::caches::push_blob(&one.app, Cache::of(&["one", "two", "three"]).config).await;
    harbour.store.when(Head).key(&digest("three").to_string()).hang();

    let told = told(&one, "cache").await.unwrap().unwrap();

    let known = one.app.read_manifest(&Reference::Digest(told), Asker::Import).await.unwrap().unwrap();
    let known = String::from_utf8_lossy(&known.bytes).into_owned();
    assert!(!known.contains(&digest("two").to_string()) && known.contains(&digest("three").to_string()), "{known}");
}

#[tokio::test(start_paused = true)]
async fn a_config_that_can_not_be_read_in_time_is_left_to_who_pulls() {
    let (harbour, one, cache) = pushed(&[]).await;
    harbour.store.when(Get).key(&digest(&cache.config).to_string()).hang();

    assert_eq!(told(&one, "cache").await.unwrap(), Some(cache.digest()));
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_stored_what_is_whole_is_served_as_it_is_and_else_nothing() {
    let (harbour, one, _) = pushed(&["two"]).await;
    refuse_writes(&harbour.store);

    for _ in 0..10 {
        assert_eq!(told(&one, "cache").await.unwrap(), None);
    }
    let writes = harbour.store.calls_for(Put, "_oci/derived/");
    assert!(writes <= 2, "{writes} in vain");
    // Parts that can't be united: one that is whole is better than nothing.
    Cache::of(&["a"]).push(&one.app, "cache--a").await;
    assert_eq!(told(&one, "cache").await.unwrap(), Some(Cache::of(&["a"]).digest()));
    harbour.store.mend();
    tokio::time::advance(Duration::from_secs(10 * 60)).await;
    assert_eq!(import(&one.app, "cache").await.unwrap().names(), steps(&["one", "a"]));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_stored_is_not_announced_and_stored_by_the_next_who_asks() {
    for fault in ["fail", "lose", "hang"] {
        let (harbour, one, cache) = pushed(&["two"]).await;
        let rule = harbour.store.when(Put).key("_oci/derived/").nth(1);
        match fault {
            "fail" => rule.fail(unavailable),
            "lose" => rule.lose_answer(unavailable),
            _ => rule.hang(),
        }

        let first = told(&one, "cache").await;

        assert!(!matches!(first, Ok(Some(_))), "{fault}: {first:?}");
        let second = import(&one.app, "cache").await.unwrap();
        assert!(second.info.digest != cache.digest() && second.names() == steps(&["one"]), "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_middle_leaves_nothing_that_others_miss() {
    let operations = [Get, List, Head, Put];
    for operation in operations {
        for nth in 1..=4 {
            let (harbour, one, _) = pushed(&["two"]).await;
            let pause = harbour.store.when(operation).nth(nth).pause();

            // As far as it gets before the call that waits, and then it is dropped.
            let tag = "cache".parse().unwrap();
            let mut asking = Box::pin(one.app.stat_manifest(&tag, Asker::Import));
            let left = futures_util::future::select(&mut asking, Box::pin(pause.arrived())).await;
            drop(left);
            drop(asking);
            drop(pause);

            let found = import(&one.app, "cache").await.unwrap();
            assert_eq!(found.names(), steps(&["one"]), "{operation:?} {nth}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_can_not_be_read_is_an_error_for_a_pull_and_nothing_else() {
    let (harbour, one, _) = pushed(&[]).await;
    harbour.store.when(Get).key("_oci/tags/").stall();
    let began = tokio::time::Instant::now();

    assert!(told(&one, "cache").await.is_err());

    assert!(began.elapsed() <= PATIENCE.pull);
    assert!(one.app.stat_manifest(&"cache".parse().unwrap(), Asker::Push).map(|told| told.unwrap()).await.is_none());
}
