//! Images, with a cache in them and without: somebody may want to run them.

use longshore::oci::{Digest, Reference};
use longshore::registry::{Answering, Asker, Kind};
use longshore::store::ObjectStore;
use serde_json::Value;

use crate::broken_store::Operation::{Get, Head, List, Put};
use crate::caches::{Cache, import, read_blob, steps, steps_of};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key};

const LAYERS: [&str; 3] = ["one", "two", "three"];

async fn pushed(image: &Cache, gone: &[&str]) -> (Harbour, Replica) {
    let harbour = Harbour::new();
    image.push(&harbour.replica().app, "v1").await;
    for content in gone {
        harbour.store.delete(&key(content), PATIENCE.bytes).await.unwrap();
    }
    let one = harbour.replica();
    (harbour, one)
}

#[tokio::test(start_paused = true)]
async fn an_image_with_a_hole_is_the_same_image_and_says_no_more_than_what_is_there() {
    let image = Cache::inline(&LAYERS);
    let (_, one) = pushed(&image, &["three"]).await;

    let healed = import(&one.app, "v1").await.unwrap();

    assert_eq!(healed.names(), steps(&["one", "two"]));
    let (pushed, mut served): (Value, Value) = (serde_json::from_str(&image.manifest).unwrap(), healed.manifest);
    let config = served["config"]["digest"].as_str().unwrap().parse().unwrap();
    let mut config: Value = serde_json::from_slice(&read_blob(&one.app, &config).await.unwrap()).unwrap();
    served["config"] = pushed["config"].clone();
    assert_eq!(served, pushed);
    let original: Value = serde_json::from_str(&image.config).unwrap();
    config["moby.buildkit.cache.v0"] = original["moby.buildkit.cache.v0"].clone();
    assert_eq!(config, original);
}

#[tokio::test(start_paused = true)]
async fn who_runs_an_image_gets_it_as_it_was_pushed_whatever_is_gone() {
    let image = Cache::inline(&LAYERS);
    let (_, one) = pushed(&image, &["three"]).await;

    let told = one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Pull).await.unwrap().unwrap();

    assert_eq!(told.digest, image.digest());
}

#[tokio::test(start_paused = true)]
async fn an_image_is_itself_whatever_its_parts_are_and_one_without_a_cache_always() {
    for (image, gone) in [(Cache::inline(&LAYERS), &[][..]), (Cache::none(&LAYERS), &[]), (Cache::none(&LAYERS), &["two"])] {
        let (harbour, one) = pushed(&image, gone).await;
        Cache::of(&["part"]).push(&harbour.replica().app, "v1--part").await;

        let told = one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap();

        assert_eq!(told.digest, image.digest());
    }
}

#[tokio::test(start_paused = true)]
async fn where_images_are_caches_alone_they_are_united_and_healed_for_everyone() {
    let (harbour, one) = pushed(&Cache::inline(&LAYERS), &["three"]).await;
    Cache::of(&["part"]).push(&harbour.replica().app, "v1--part").await;
    Cache::none(&["other"]).push(&harbour.replica().app, "v1--other").await;
    let caches = one.answering(Answering { kind: Some(Kind::Cache), ..Answering::default() });

    let united = import(&caches, "v1").await.unwrap();

    assert_eq!(united.names(), steps(&["one", "two", "part"]));
    let told = caches.stat_manifest(&"v1".parse().unwrap(), Asker::Pull).await.unwrap();
    assert_eq!(told, Some(united.info));
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_was_an_image_and_becomes_a_cache_has_its_parts() {
    let (harbour, one) = pushed(&Cache::none(&LAYERS), &[]).await;
    assert_eq!(import(&one.app, "v1").await.unwrap().info.digest, Cache::none(&LAYERS).digest());

    Cache::of(&["own"]).push(&harbour.replica().app, "v1").await;
    Cache::of(&["part"]).push(&harbour.replica().app, "v1--part").await;

    assert_eq!(import(&one.app, "v1").await.unwrap().names(), steps(&["own", "part"]));
}

#[tokio::test(start_paused = true)]
async fn where_there_are_only_images_everything_is_as_it_was_pushed() {
    for cache in [Cache::of(&LAYERS), Cache::inline(&LAYERS)] {
        let (harbour, one) = pushed(&cache, &["two"]).await;
        Cache::of(&["part"]).push(&harbour.replica().app, "v1--part").await;
        let images = one.answering(Answering { kind: Some(Kind::Image), ..Answering::default() });
        let lists = harbour.calls(&[List]);

        let told = images.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap();

        assert_eq!(told.digest, digest(&cache.manifest));
        assert_eq!(harbour.calls(&[List]), lists);
    }
}

/// The image of an index, as an import finds it, and the steps of the cache in it.
async fn import_index(one: &Replica) -> (Digest, Value, std::collections::BTreeMap<Digest, Vec<Digest>>) {
    let told = one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap();
    let read = async |digest: Digest| {
        let known = Reference::Digest(digest);
        let manifest = one.app.read_manifest(&known, Asker::Import).await.unwrap().expect("what an index names");
        serde_json::from_slice::<Value>(&manifest.bytes).unwrap()
    };
    let index = read(told.digest).await;
    let image = read(index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap()).await;
    let config = read_blob(&one.app, &image["config"]["digest"].as_str().unwrap().parse().unwrap()).await.unwrap();
    let steps = steps_of(&serde_json::from_slice(&config).unwrap(), image["layers"].as_array().unwrap());
    (told.digest, index, steps)
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_attested_is_healed_in_its_index() {
    let harbour = Harbour::new();
    let pusher = harbour.replica();
    let index = Cache::inline(&LAYERS).attested(&pusher.app).await;
    index.push_manifest(&pusher.app, "v1").await;
    let (whole, _, steps_of_whole) = import_index(&harbour.replica()).await;
    assert_eq!((whole, steps_of_whole.len()), (index.digest(), 3));
    harbour.store.delete(&key("three"), PATIENCE.bytes).await.unwrap();
    let one = harbour.replica();

    let (healed, served, left) = import_index(&one).await;

    assert_eq!(left.keys().copied().collect::<std::collections::BTreeSet<_>>(), steps(&["one", "two"]));
    let pushed: Value = serde_json::from_str(&index.manifest).unwrap();
    assert_eq!(served["manifests"][1], pushed["manifests"][1]);
    assert_eq!(served["manifests"][0]["platform"], pushed["manifests"][0]["platform"]);
    assert_eq!(import_index(&harbour.replica()).await.0, healed, "replicas agree");
    let told = one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Pull).await.unwrap().unwrap();
    assert_eq!(told.digest, index.digest(), "who runs it gets it as it was pushed");
}

#[tokio::test(start_paused = true)]
async fn an_index_of_plain_images_costs_a_look_once_and_stays_itself() {
    let harbour = Harbour::new();
    let pusher = harbour.replica();
    let index = Cache::none(&LAYERS).attested(&pusher.app).await;
    index.push_manifest(&pusher.app, "v1").await;
    harbour.store.delete(&key("three"), PATIENCE.bytes).await.unwrap();
    let one = harbour.replica();
    let asked = || harbour.calls(&[Get, List, Head]);
    let told = async || one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap().digest;

    let before = asked();
    assert_eq!(told().await, index.digest());
    // The tag and its parts, two images and their configs.
    assert_eq!(asked() - before, 6);
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_eq!(told().await, index.digest());
    assert_eq!(asked() - before, 7);
}

#[tokio::test(start_paused = true)]
async fn an_index_whose_image_was_not_there_may_yet_hold_a_cache() {
    let harbour = Harbour::new();
    let (pusher, image) = (harbour.replica(), Cache::inline(&LAYERS));
    let index = image.attested(&pusher.app).await;
    index.push_manifest(&pusher.app, "v1").await;
    assert!(pusher.app.delete_manifest(&Reference::Digest(image.digest())).await.unwrap());
    let one = harbour.replica();
    let told = async || one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap().digest;
    assert_eq!(told().await, index.digest());

    image.push_manifest(&pusher.app, "again").await;
    harbour.store.delete(&key("three"), PATIENCE.bytes).await.unwrap();

    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    assert_ne!(told().await, index.digest(), "it has a hole, which is healed");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_be_stored_an_image_is_served_as_it_is() {
    let (harbour, one) = pushed(&Cache::inline(&LAYERS), &["three"]).await;
    harbour.store.when(Put).key("_oci/derived/").fail(crate::broken_store::unavailable);

    let told = one.app.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap();

    assert_eq!(told.digest, Cache::inline(&LAYERS).digest());
}
