//! What pulls cost, marks apart: in requests to the store, and in time where each takes 20 ms.

use std::sync::Arc;
use std::time::Duration;

use longshore::oci::Reference;
use longshore::registry::{Asker, Belief};
use longshore::store::{Clock, ObjectStore};
use tokio::time::Instant;

use crate::broken_store::Operation::{Get, Head, List, Put};
use crate::caches::{Cache, import, steps};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key, replica_over};
use crate::large::{Distant, LATENCY, cold};

/// How often a store was asked in each of these ways.
fn asked(harbour: &Harbour) -> [usize; 4] {
    let derived = harbour.store.calls_for(Put, "_oci/derived/");
    [harbour.calls(&[Get]), harbour.calls(&[List]), harbour.calls(&[Head]), derived]
}

/// What `call` costs.
async fn cost<T>(harbour: &Harbour, call: impl Future<Output = T>) -> ([usize; 4], T) {
    let before = asked(harbour);
    let came = call.await;
    let after = asked(harbour);
    (std::array::from_fn(|at| after[at] - before[at]), came)
}

#[tokio::test(start_paused = true)]
async fn an_import_of_a_whole_cache_costs_four_requests_and_two_within_a_minute() {
    let (harbour, cache) = (Harbour::new(), Cache::of(&["one", "two", "three"]));
    cache.push(&harbour.replica().app, "cache").await;
    let one = harbour.replica();

    let (cold, first) = cost(&harbour, import(&one.app, "cache")).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    let (warm, second) = cost(&harbour, import(&one.app, "cache")).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let (later, _) = cost(&harbour, import(&one.app, "cache")).await;

    assert_eq!((cold, warm, later), ([2, 2, 0, 0], [1, 1, 0, 0], [2, 2, 0, 0]));
    assert_eq!((first.unwrap().info.digest, second.unwrap().info.digest), (cache.digest(), cache.digest()));
}

/// A distant store, a replica that knows nothing of it, and `cache` in it as `cache`.
async fn distant(blobs: usize, cache: &Cache) -> (Arc<Distant>, Replica) {
    let (store, one) = cold(blobs, Belief::default().index_bytes).await;
    let near = replica_over(Arc::new(store.memory.clone()) as Arc<dyn ObjectStore>, Belief::default(), &Clock::default());
    cache.push(&near.app, "cache").await;
    near.registry.settle().await;
    (store, one)
}

#[tokio::test(start_paused = true)]
async fn an_import_of_a_whole_cache_takes_two_rounds_and_then_one() {
    let (_, one) = distant(0, &Cache::of(&["one", "two", "three"])).await;

    for rounds in [2, 1] {
        let began = Instant::now();
        assert!(import(&one.app, "cache").await.is_some());
        assert_eq!(began.elapsed(), LATENCY * rounds);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_pull_of_two_hundred_layers_among_a_hundred_thousand_takes_less_than_200_ms() {
    let names: Vec<_> = (0..200).map(|number| format!("layer {number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (store, one) = distant(100_000, &Cache::of(&names)).await;
    let began = Instant::now();

    let told = one.app.stat_manifest(&"cache".parse().unwrap(), Asker::Import).await.unwrap();

    assert!(told.is_some() && began.elapsed() <= Duration::from_millis(200), "{:?}", began.elapsed());
    assert!(store.questions().0 >= 190, "they were looked for");
}

#[tokio::test(start_paused = true)]
async fn fifty_of_two_hundred_layers_that_are_gone_cost_a_listing_and_a_question_each() {
    let names: Vec<_> = (0..200).map(|number| format!("layer {number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (harbour, cache) = (Harbour::new(), Cache::of(&names));
    cache.push(&harbour.replica().app, "cache").await;
    for name in &names[..50] {
        harbour.store.delete(&key(name), PATIENCE.bytes).await.unwrap();
    }
    let one = harbour.replica();

    let (cold, healed) = cost(&harbour, import(&one.app, "cache")).await;
    let (warm, again) = cost(&harbour, import(&one.app, "cache")).await;

    assert_eq!(healed.unwrap().names(), steps(&names[50..]));
    assert_eq!((cold, warm), ([2, 2, 50, 2], [1, 1, 50, 0]));
    assert_eq!(harbour.store.calls_for(List, "app/blobs/"), 1);
    assert!(again.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_union_costs_a_request_for_each_manifest_and_config_and_then_what_a_tag_does() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    Cache::of(&["base"]).push(&other.app, "cache").await;
    for part in ["a", "b", "c"] {
        Cache::of(&["base", part]).push(&other.app, &format!("cache--{part}")).await;
    }

    let (cold, united) = cost(&harbour, import(&one.app, "cache")).await;
    let (warm, _) = cost(&harbour, import(&one.app, "cache")).await;

    assert_eq!(united.unwrap().names(), steps(&["base", "a", "b", "c"]));
    assert_eq!((cold, warm), ([8, 2, 0, 2], [1, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_plain_image_costs_what_is_asked_for_and_once_a_look_for_parts() {
    let (harbour, image) = (Harbour::new(), Cache::none(&["one", "two"]));
    image.push(&harbour.replica().app, "v1").await;
    let one = harbour.replica();

    let (cold, first) = cost(&harbour, import(&one.app, "v1")).await;
    let (warm, _) = cost(&harbour, import(&one.app, "v1")).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    let (later, _) = cost(&harbour, import(&one.app, "v1")).await;

    assert_eq!(first.unwrap().info.digest, image.digest());
    assert_eq!((cold, warm, later), ([2, 1, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn who_pulls_an_image_to_run_it_pays_for_nothing_else() {
    let (harbour, image) = (Harbour::new(), Cache::inline(&["one", "two"]));
    image.push(&harbour.replica().app, "v1").await;
    let one = harbour.replica();
    let tag: Reference = "v1".parse().unwrap();

    let (head, _) = cost(&harbour, one.app.stat_manifest(&tag, Asker::Pull)).await;
    let (get, manifest) = cost(&harbour, one.app.read_manifest(&tag, Asker::Pull)).await;

    assert_eq!((head, get), ([1, 0, 0, 0], [1, 0, 0, 0]));
    assert_eq!(manifest.unwrap().unwrap().digest, digest(&image.manifest));
}
