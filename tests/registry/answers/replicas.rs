//! Replicas agree, to the byte, and each has what another one announced.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore::oci::Digest;
use longshore::registry::{Answering, Fallback, Repository, Target};
use longshore::store::ObjectStore;

use crate::caches::{Cache, import, import_by, read_blob, steps};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key};

const SEED: u64 = 20_261_125;

/// Every kind of tag there is, and the steps that a build finds in each.
async fn stock(harbour: &Harbour) -> Vec<(&'static str, BTreeSet<Digest>)> {
    let one = harbour.replica();
    Cache::of(&["whole"]).push(&one.app, "whole").await;
    Cache::index(&["healed", "gone"]).push(&one.app, "healed").await;
    Cache::of(&["united"]).push(&one.app, "united").await;
    Cache::index(&["a", "gone"]).push(&one.app, "united--a").await;
    Cache::of(&["b"]).push(&one.app, "united--b").await;
    Cache::inline(&["inline", "gone"]).push(&one.app, "inline").await;
    let base = one.registry.writable_repository("base".parse().unwrap());
    Cache::of(&["base"]).push(&base, "cache").await;
    Cache::of(&["holed", "lost"]).push(&base, "holed").await;
    assert!(base.delete_blob(&digest("lost")).await.unwrap());
    harbour.store.delete(&key("gone"), PATIENCE.bytes).await.unwrap();
    let large: Vec<_> = (0..5000).map(|number| format!("large {number}")).collect();
    let large: Vec<_> = large.iter().map(String::as_str).collect();
    let cache = Cache::of(&large);
    assert!(cache.config.len() > 1 << 20);
    cache.push(&one.app, "large").await;
    one.registry.settle().await;
    vec![
        ("whole", steps(&["whole"])),
        ("healed", steps(&["healed"])),
        ("united", steps(&["united", "a", "b"])),
        ("inline", steps(&["inline"])),
        ("own-x", steps(&["united", "a", "b"])),
        ("other-x", steps(&["base"])),
        ("holed-x", steps(&["holed"])),
        ("all-x", steps(&["base", "whole"])),
        ("large", steps(&large)),
    ]
}

fn ruled(replica: &Replica) -> Repository {
    let base = || Some(replica.registry.repository("base".parse().unwrap()));
    let target = |repository, tag: &str| Target { repository, tag: tag.parse().unwrap() };
    let fallback = |tag: &str, to, is_union| Fallback { tag: tag.parse().unwrap(), to, is_union };
    let fallbacks = vec![
        fallback("own-*", vec![target(None, "united")], false),
        fallback("other-*", vec![target(base(), "cache")], false),
        fallback("holed-*", vec![target(base(), "holed")], false),
        fallback("all-*", vec![target(base(), "cache"), target(None, "whole")], true),
    ];
    replica.answering(Answering { fallbacks, ..Answering::default() })
}

#[tokio::test(start_paused = true)]
async fn what_one_announces_another_has_a_hundred_times_at_random() {
    let (harbour, mut chance) = (Harbour::new(), fastrand::Rng::with_seed(SEED));
    let tags = stock(&harbour).await;
    let replicas: Vec<_> = (0..3).map(|_| harbour.replica()).collect();
    let apps: Vec<_> = replicas.iter().map(ruled).collect();

    for round in 0..100 {
        let (tag, expected) = &tags[chance.usize(0..tags.len())];
        let (from, next) = (&apps[chance.usize(0..apps.len())], &apps[chance.usize(0..apps.len())]);

        let found = import_by(from, next, tag).await.unwrap_or_else(|| panic!("{tag} in round {round}"));

        assert_eq!(found.names(), *expected, "{tag} in round {round}");
        if let Some(layer) = found.steps.values().flatten().next() {
            assert!(read_blob(next, layer).await.is_some(), "{tag} in round {round}");
        }
        tokio::time::advance(Duration::from_secs(chance.u64(0..90))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_make_the_same_of_the_same() {
    let harbour = Harbour::new();
    let tags = stock(&harbour).await;
    let (one, other) = (harbour.replica(), harbour.replica());

    for (tag, _) in tags {
        let (here, there) = (import(&ruled(&one), tag).await.unwrap(), import(&ruled(&other), tag).await.unwrap());
        assert_eq!(here.info, there.info, "{tag}");
    }
}
