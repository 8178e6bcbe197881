//! A tag together with its parts.

use std::time::Duration;

use longshore::registry::{Answering, Asker, Kind, Parts};

use crate::broken_store::Operation::{Get, List};
use crate::broken_store::unavailable;
use crate::caches::{Cache, Imported, import, steps};
use crate::harbour::{Harbour, PATIENCE, Replica, digest};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn names(replica: &Replica, tag: &str) -> Option<std::collections::BTreeSet<longshore::oci::Digest>> {
    import(&replica.app, tag).await.as_ref().map(Imported::names)
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_the_union_of_itself_and_its_parts() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["base", "a"]).push(&one.app, "cache--a").await;
    assert_eq!(names(&one, "cache").await, Some(steps(&["base", "a"])), "the tag itself may be absent");
    Cache::index(&["base", "b"]).push(&one.app, "cache--b").await;
    Cache::of(&["own"]).push(&one.app, "cache").await;

    assert_eq!(names(&one, "cache").await, Some(steps(&["base", "a", "b", "own"])));
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_a_part_is_none() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for tag in ["cache", "cache-x", "cachex", "cache--a", "cache--a--b", "other--cache"] {
        Cache::of(&[tag]).push(&one.app, tag).await;
    }

    assert_eq!(names(&one, "cache").await, Some(steps(&["cache", "cache--a", "cache--a--b"])));
    assert_eq!(names(&one, "cache--a").await, Some(steps(&["cache--a"])), "a part has no parts");
    assert_eq!(names(&one, "cach").await, None);
}

#[tokio::test(start_paused = true)]
async fn old_parts_and_many_parts_are_left_out() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["old"]).push(&one.app, "cache--old").await;
    tokio::time::advance(HOUR * 24).await;
    Cache::of(&["day"]).push(&one.app, "cache--day").await;
    assert_eq!(names(&one, "cache").await, Some(steps(&["old", "day"])));
    tokio::time::advance(HOUR).await;

    Cache::of(&["new"]).push(&one.app, "cache").await;

    assert_eq!(names(&one, "cache").await, Some(steps(&["day", "new"])));
    let few = Parts { most: 1, window: HOUR * 100, ..Parts::default() };
    let few = one.answering(Answering { parts: few, ..Answering::default() });
    assert_eq!(import(&few, "cache").await.unwrap().names(), steps(&["day", "new"]));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_are_left_out_of_what_would_be_too_large() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for part in ["a", "b", "c"] {
        Cache::of(&[part]).push(&one.app, &format!("cache--{part}")).await;
        tokio::time::advance(HOUR).await;
    }
    let config_bytes = Cache::of(&["a"]).config.len() as u64;
    let small = Parts { max_bytes: config_bytes * 5 / 2, ..Parts::default() };
    let small = one.answering(Answering { parts: small, ..Answering::default() });

    assert_eq!(import(&small, "cache").await.unwrap().names(), steps(&["b", "c"]));
}

#[tokio::test(start_paused = true)]
async fn parts_can_be_off_and_called_otherwise() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for tag in ["cache", "cache--a", "cache.part.b"] {
        Cache::of(&[tag]).push(&one.app, tag).await;
    }
    let with = |parts: Parts| one.answering(Answering { parts, ..Answering::default() });

    let off = with(Parts { are_on: false, ..Parts::default() });
    assert_eq!(import(&off, "cache").await.unwrap().names(), steps(&["cache"]));
    let other = with(Parts { separator: ".part.".into(), ..Parts::default() });
    assert_eq!(import(&other, "cache").await.unwrap().names(), steps(&["cache", "cache.part.b"]));
    let images = one.answering(Answering { kind: Some(Kind::Image), ..Answering::default() });
    assert_eq!(import(&images, "cache").await.unwrap().names(), steps(&["cache"]));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_can_not_be_read_in_time_is_left_out() {
    let of_part = digest(&Cache::of(&["a"]).config).to_string();
    for key in ["_oci/tags/cache--a", &of_part] {
        for fault in ["fail", "stall", "hang"] {
            let harbour = Harbour::new();
            for tag in ["cache", "cache--a", "cache--b"] {
                Cache::of(&[tag.trim_start_matches("cache--")]).push(&harbour.replica().app, tag).await;
            }
            let (one, rule) = (harbour.replica(), harbour.store.when(Get).key(key));
            match fault {
                "fail" => rule.fail(unavailable),
                "stall" => rule.stall(),
                _ => rule.hang(),
            }
            let began = tokio::time::Instant::now();

            assert_eq!(names(&one, "cache").await, Some(steps(&["cache", "b"])), "{key} {fault}");

            assert!(began.elapsed() <= PATIENCE.pull, "{key} {fault}: {:?}", began.elapsed());
            harbour.store.mend();
            assert_eq!(names(&one, "cache").await, Some(steps(&["cache", "a", "b"])), "{key} {fault}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_parts_can_not_be_listed_the_tag_is_itself_and_an_absent_one_unknown() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for tag in ["cache", "cache--a", "other--b"] {
        Cache::of(&[tag]).push(&one.app, tag).await;
    }
    harbour.store.when(List).key("_oci/tags/").fail(unavailable);

    assert_eq!(names(&one, "cache").await, Some(steps(&["cache"])));
    assert!(one.app.stat_manifest(&"other".parse().unwrap(), Asker::Import).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_of_a_part_is_left_out_of_the_union() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["base", "a"]).push(&one.app, "cache--a").await;
    Cache::of(&["base", "b"]).push(&one.app, "cache--b").await;
    assert!(one.remove("a").await);

    assert_eq!(names(&one, "cache").await, Some(steps(&["base", "b"])));
}

#[tokio::test(start_paused = true)]
async fn a_push_sees_its_own_tag_alone() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["a"]).push(&one.app, "cache--a").await;
    Cache::of(&["own"]).push(&one.app, "cache").await;
    let pushed = async |tag: &str| one.app.stat_manifest(&tag.parse().unwrap(), Asker::Push).await.unwrap();

    assert_eq!(pushed("cache").await.unwrap().digest, Cache::of(&["own"]).digest());
    assert_eq!(pushed("cache--a").await.unwrap().digest, Cache::of(&["a"]).digest());
    assert!(one.app.delete_manifest(&"cache".parse().unwrap()).await.unwrap());
    assert_eq!(pushed("cache").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_many_ask_for_at_once_is_made_once() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for part in ["a", "b"] {
        Cache::of(&[part]).push(&one.app, &format!("cache--{part}")).await;
    }
    let tag = "cache".parse().unwrap();

    let asked = (0..50).map(|_| one.app.stat_manifest(&tag, Asker::Import));
    let told = futures_util::future::join_all(asked).await;

    assert!(told.iter().all(|told| told.as_ref().unwrap() == told.as_ref().unwrap() && told.as_ref().unwrap().is_some()));
    let made = harbour.store.calls_for(crate::broken_store::Operation::Put, "_oci/derived/");
    assert!(made <= 4, "{made}");
}
