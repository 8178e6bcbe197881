//! Images, with a cache in them and without: somebody may want to run them.

use longshore::registry::{Answering, Asker, Kind};
use longshore::store::ObjectStore;
use serde_json::Value;

use crate::caches::{Cache, import, read_blob, steps};
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
        let lists = harbour.calls(&[crate::broken_store::Operation::List]);

        let told = images.stat_manifest(&"v1".parse().unwrap(), Asker::Import).await.unwrap().unwrap();

        assert_eq!(told.digest, digest(&cache.manifest));
        assert_eq!(harbour.calls(&[crate::broken_store::Operation::List]), lists);
    }
}
