//! What stands in for a tag that is absent.

use longshore::oci::{Digest, Reference};
use longshore::registry::{Answering, Asker, Fallback, Repository, Target};

use crate::broken_store::Operation::{Copy, Get, Put};
use crate::broken_store::unavailable;
use crate::caches::{Cache, Imported, import, read_blob, steps};
use crate::harbour::{Harbour, Replica, digest};

/// `app`, in which what is absent under `tag` is answered from `to`: tags, or images with tags.
fn falling_back(replica: &Replica, tag: &str, to: &[&str], is_union: bool) -> Repository {
    let target = |text: &&str| match text.split_once(':') {
        Some((image, tag)) => {
            Target { repository: Some(replica.registry.repository(image.parse().unwrap())), tag: tag.parse().unwrap() }
        }
        None => Target { repository: None, tag: text.parse().unwrap() },
    };
    let fallback = Fallback { tag: tag.parse().unwrap(), to: to.iter().map(target).collect(), is_union };
    replica.answering(Answering { fallbacks: vec![fallback], ..Answering::default() })
}

async fn names(from: &Repository, tag: &str) -> Option<std::collections::BTreeSet<Digest>> {
    import(from, tag).await.as_ref().map(Imported::names)
}

/// A server with caches `cache-main` and `cache-dev` of `app` and `cache` of `base`.
async fn stocked() -> (Harbour, Replica) {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["main"]).push(&one.app, "cache-main").await;
    Cache::of(&["dev"]).push(&one.app, "cache-dev").await;
    let base = one.registry.writable_repository("base".parse().unwrap());
    Cache::of(&["base"]).push(&base, "cache").await;
    (harbour, one)
}

#[tokio::test(start_paused = true)]
async fn an_absent_tag_is_answered_from_the_first_that_is_there_and_only_then() {
    let (_, one) = stocked().await;
    for (to, expected) in [
        (&["cache-main", "cache-dev"][..], Some("main")),
        (&["nowhere", "cache-dev"], Some("dev")),
        (&["cache-x", "cache-main"], Some("main")),
        (&["base:cache"], Some("base")),
        (&["base:nowhere", "nowhere:cache", "cache-dev"], Some("dev")),
        (&["nowhere"], None),
    ] {
        let app = falling_back(&one, "cache-*", to, false);

        assert_eq!(names(&app, "cache-x").await, expected.map(|name| steps(&[name])), "{to:?}");
        assert_eq!(names(&app, "other").await, None, "no rule means it");
        assert_eq!(names(&app, "cache-dev").await, Some(steps(&["dev"])), "it is there");
    }
}

#[tokio::test(start_paused = true)]
async fn parts_are_enough_for_a_tag_to_be_there_and_count_where_it_stands_in() {
    let (_, one) = stocked().await;
    let app = falling_back(&one, "cache-*", &["cache-main"], false);
    Cache::of(&["more"]).push(&one.app, "cache-main--more").await;

    assert_eq!(names(&app, "cache-x").await, Some(steps(&["main", "more"])));
    Cache::of(&["own"]).push(&one.app, "cache-x--a").await;
    assert_eq!(names(&app, "cache-x").await, Some(steps(&["own"])));
}

#[tokio::test(start_paused = true)]
async fn a_union_is_of_all_that_are_there() {
    let (_, one) = stocked().await;
    let app = falling_back(&one, "cache-*", &["cache-main", "nowhere", "cache-dev", "base:cache"], true);

    assert_eq!(names(&app, "cache-x").await, Some(steps(&["main", "dev", "base"])));
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_from_another_image_is_read_there_and_nothing_is_copied() {
    let (harbour, one) = stocked().await;
    let app = falling_back(&one, "cache-*", &["base:cache"], false);
    let layer = digest("base");
    let written = || {
        harbour.calls(&[Copy])
            + ["blobs", "_oci/derived", "_oci/manifests", "_oci/tags"]
                .map(|place| harbour.store.calls_for(Put, &format!("app/{place}/")))
                .iter()
                .sum::<usize>()
    };
    let before = written();

    let found = import(&app, "cache-x").await.unwrap();
    assert_eq!(found.info.digest, Cache::of(&["base"]).digest());
    assert_eq!(read_blob(&app, &layer).await.as_deref(), Some(&b"base"[..]));

    assert_eq!(written(), before);
    assert_eq!(app.stat_blob(&layer, Asker::Push).await, None, "who pushes has to send it");
    let known = Reference::Digest(found.info.digest);
    assert_eq!(app.stat_manifest(&known, Asker::Push).await.unwrap(), None);
    assert_eq!(read_blob(&one.app, &layer).await, None, "no rule leads there");
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_where_it_stands_in_is_left_out() {
    let (_, one) = stocked().await;
    let base = one.registry.writable_repository("base".parse().unwrap());
    Cache::of(&["base", "gone"]).push(&base, "cache").await;
    assert!(base.delete_blob(&digest("gone")).await.unwrap());
    let app = falling_back(&one, "cache-*", &["base:cache"], false);

    assert_eq!(names(&app, "cache-x").await, Some(steps(&["base"])));
}

#[tokio::test(start_paused = true)]
async fn a_push_sees_no_fallback() {
    let (_, one) = stocked().await;
    let app = falling_back(&one, "cache-*", &["cache-main"], false);
    let tag = "cache-x".parse().unwrap();
    assert!(import(&app, "cache-x").await.is_some());

    assert_eq!(app.stat_manifest(&tag, Asker::Push).await.unwrap(), None);
    // Its own is what it sees from then on, and what its next pull gets.
    Cache::of(&["own"]).push(&one.app, "cache-x").await;
    assert_eq!(app.stat_manifest(&tag, Asker::Push).await.unwrap().unwrap().digest, Cache::of(&["own"]).digest());
    assert_eq!(names(&app, "cache-x").await, Some(steps(&["own"])));
    assert_eq!(names(&one.app, "cache-main").await, Some(steps(&["main"])));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_could_run_is_never_what_they_asked_for_in_vain() {
    let (_, one) = stocked().await;
    Cache::none(&["image"]).push(&one.app, "v1").await;
    Cache::inline(&["inline"]).push(&one.app, "v2").await;
    let plain = falling_back(&one, "*", &["v1"], false);
    assert_eq!(names(&plain, "x").await, None);

    let inline = falling_back(&one, "*", &["v1", "v2"], false);
    let tag: Reference = "x".parse().unwrap();
    assert_eq!(names(&inline, "x").await, Some(steps(&["inline"])));
    assert_eq!(inline.stat_manifest(&tag, Asker::Pull).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn one_that_can_not_be_read_is_passed_over_and_none_is_not_known_to_be_absent() {
    let (harbour, one) = stocked().await;
    harbour.store.when(Get).key("cache-main").fail(unavailable);

    let both = falling_back(&one, "cache-*", &["cache-main", "cache-dev"], false);
    assert_eq!(names(&both, "cache-x").await, Some(steps(&["dev"])));
    let only = falling_back(&one, "cache-*", &["cache-main"], false);
    assert!(only.stat_manifest(&"cache-x".parse().unwrap(), Asker::Import).await.is_err());
}
