//! A cache without the layers that are gone.

use std::time::Duration;

use longshore::oci::{Digest, MediaType, Reference};
use longshore::registry::Asker;
use longshore::store::ObjectStore;

use crate::broken_store::Operation::Put;
use crate::caches::{Cache, import, push_blob, steps};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key};

const LAYERS: [&str; 3] = ["one", "two", "three"];

/// A server, and `cache` pushed to it as `cache` by another one.
async fn pushed(cache: &Cache) -> (Harbour, Replica) {
    let harbour = Harbour::new();
    cache.push(&harbour.replica().app, "cache").await;
    let one = harbour.replica();
    (harbour, one)
}

/// Removes the blob `content` behind everybody's back.
async fn lose(harbour: &Harbour, content: &str) {
    harbour.store.delete(&key(content), PATIENCE.bytes).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_whole_cache_is_what_was_pushed_to_the_byte() {
    for cache in [Cache::of(&LAYERS), Cache::index(&LAYERS)] {
        let (_, one) = pushed(&cache).await;

        let imported = import(&one.app, "cache").await.unwrap();

        assert_eq!(imported.info.digest, cache.digest());
        assert_eq!(imported.names(), cache.steps());
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_whose_layer_is_gone_is_left_out_and_comes_back_with_it() {
    for cache in [Cache::of(&LAYERS), Cache::index(&LAYERS)] {
        let (harbour, one) = pushed(&cache).await;
        lose(&harbour, "two").await;

        let healed = import(&one.app, "cache").await.unwrap();

        assert_eq!((healed.names(), healed.info.media_type.as_str()), (steps(&["one", "three"]), cache.media_type));
        assert!(!healed.manifest.to_string().contains(&digest("two").to_string()), "{}", healed.manifest);
        push_blob(&harbour.replica().app, "two".to_owned()).await;
        assert_eq!(import(&one.app, "cache").await.unwrap().info.digest, cache.digest());
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_stands_on_one_that_is_gone_is_of_no_use() {
    let (harbour, one) = pushed(&Cache::inline(&LAYERS)).await;
    lose(&harbour, "two").await;

    let healed = import(&one.app, "cache").await.unwrap();

    assert_eq!(healed.names(), steps(&["one"]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_of_a_cache_of_which_the_config_or_every_layer_is_gone() {
    let cache = Cache::of(&LAYERS);
    for gone in [&[cache.config.as_str()][..], &LAYERS] {
        let (harbour, one) = pushed(&cache).await;
        for content in gone {
            lose(&harbour, content).await;
        }

        assert!(import(&one.app, "cache").await.is_none(), "{gone:?}");
        let push = one.app.stat_manifest(&"cache".parse().unwrap(), Asker::Push).await.unwrap();
        assert_eq!(push.unwrap().digest, cache.digest(), "a push is told what was pushed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_another_size_is_none() {
    let cache = Cache::of(&LAYERS);
    let (harbour, one) = pushed(&cache).await;
    harbour.store.put(&key("two"), "twice".into(), "text/plain", PATIENCE.bytes).await.unwrap();

    assert_eq!(import(&one.app, "cache").await.unwrap().names(), steps(&["one", "three"]));
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_known_to_be_wrong_is_none() {
    let cache = Cache::of(&LAYERS);
    let (harbour, one) = pushed(&cache).await;
    harbour.store.put(&key("two"), "owt".into(), "text/plain", PATIENCE.bytes).await.unwrap();
    harbour.store.when(crate::broken_store::Operation::Delete).fail(crate::broken_store::unavailable);
    let blob = one.app.read_blob(&digest("two"), None, Asker::Pull).await.unwrap().unwrap();
    assert!(futures_util::TryStreamExt::try_collect::<Vec<_>>(blob.body).await.is_err());
    one.registry.settle().await;

    assert_eq!(import(&one.app, "cache").await.unwrap().names(), steps(&["one", "three"]));
}

#[tokio::test(start_paused = true)]
async fn everyone_who_pulls_gets_the_healed_form_and_by_its_digest_too() {
    let (harbour, one) = pushed(&Cache::of(&LAYERS)).await;
    lose(&harbour, "two").await;
    let tag = "cache".parse().unwrap();
    let told = one.app.stat_manifest(&tag, Asker::Pull).await.unwrap().unwrap();

    for asker in [Asker::Pull, Asker::Import] {
        assert_eq!(one.app.read_manifest(&tag, asker).await.unwrap().unwrap().digest, told.digest);
        let other = harbour.replica();
        let known = Reference::Digest(told.digest);
        assert_eq!(other.app.stat_manifest(&known, asker).await.unwrap(), Some(told.clone()));
        assert_eq!(other.app.read_manifest(&known, asker).await.unwrap().unwrap().info(), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_is_told_of_nothing_that_was_made_here() {
    let (harbour, one) = pushed(&Cache::of(&LAYERS)).await;
    lose(&harbour, "two").await;
    let healed = import(&one.app, "cache").await.unwrap();
    let config: Digest = healed.manifest["config"]["digest"].as_str().unwrap().parse().unwrap();

    let manifest = one.app.stat_manifest(&Reference::Digest(healed.info.digest), Asker::Push).await.unwrap();
    assert_eq!((manifest, one.app.stat_blob(&config, Asker::Push).await), (None, None));
    assert!(one.app.stat_blob(&config, Asker::Import).await.is_some());
    // Other clients ask before they push, and read without asking.
    assert!(one.app.stat_blob(&config, Asker::Pull).await.is_none());
    assert!(one.app.read_blob(&config, None, Asker::Pull).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_made_is_stored_once_a_day_and_marks_what_it_was_made_of() {
    let cache = Cache::of(&LAYERS);
    let (harbour, one) = pushed(&cache).await;
    lose(&harbour, "two").await;
    let derived = || harbour.store.calls_for(Put, "_oci/derived/");

    let first = import(&one.app, "cache").await.unwrap();
    one.registry.settle().await;
    assert_eq!(derived(), 2, "the manifest and its config");
    for _ in 0..23 {
        tokio::time::advance(Duration::from_secs(60 * 60)).await;
        assert_eq!(import(&one.app, "cache").await.unwrap().info, first.info);
    }
    assert_eq!(derived(), 2);
    tokio::time::advance(Duration::from_secs(60 * 60)).await;
    import(&one.app, "cache").await.unwrap();
    assert_eq!(derived(), 4, "it must outlast what is yet to come of it");

    one.registry.settle().await;
    let marks = |digest: Digest| harbour.store.calls_for(Put, &format!("_oci/used/{digest}"));
    assert!(marks(cache.digest()) > 1 && marks(first.info.digest) == 0);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removed_is_made_anew() {
    let (harbour, one) = pushed(&Cache::of(&LAYERS)).await;
    lose(&harbour, "two").await;
    let healed = import(&one.app, "cache").await.unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    let gone = format!("app/_oci/derived/{}", healed.info.digest).parse().unwrap();
    harbour.store.delete(&gone, PATIENCE.bytes).await.unwrap();

    let known = Reference::Digest(healed.info.digest);
    assert!(one.app.read_manifest(&known, Asker::Import).await.unwrap().is_none());
    assert_eq!(import(&one.app, "cache").await.unwrap().info, healed.info);
}

#[tokio::test(start_paused = true)]
async fn a_config_that_lies_is_served_without_its_lies() {
    let mut cache = Cache::of(&LAYERS);
    let config = cache.config.replacen("[{\"link\":0}]", "[{\"link\":0},{\"link\":77}]", 1);
    assert_ne!(config, cache.config);
    cache.manifest = cache.manifest.replace(&digest(&cache.config).to_string(), &digest(&config).to_string());
    let size = |config: &str| format!("\"size\":{}}}", config.len());
    cache.manifest = cache.manifest.replacen(&size(&cache.config), &size(&config), 1);
    cache.config = config;
    let (_, one) = pushed(&cache).await;

    let imported = import(&one.app, "cache").await.unwrap();

    assert_ne!(imported.info.digest, cache.digest());
    assert_eq!(imported.names(), cache.steps());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_cache_config_is_left_to_who_can_read_it() {
    let mut cache = Cache::of(&LAYERS);
    cache.manifest = cache.manifest.replace(&digest(&cache.config).to_string(), &digest("{]").to_string());
    cache.manifest = cache.manifest.replacen(&format!("\"size\":{}}}", cache.config.len()), "\"size\":2}", 1);
    cache.config = "{]".to_owned();
    let (harbour, one) = pushed(&cache).await;
    let told = async || one.app.stat_manifest(&"cache".parse().unwrap(), Asker::Import).await.unwrap();

    assert_eq!(told().await.unwrap().digest, cache.digest());
    assert_eq!(told().await.unwrap().media_type, MediaType::OCI_MANIFEST);
    lose(&harbour, "two").await;
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(told().await.is_none(), "what is known to break a build is not served");
}
