//! A store that fails now and then, in every way, each time over before patience is: no build fails, and caches work.

use std::time::Duration;

use crate::stage::{Quay, Store, assert_all, export, import, spawn};
use crate::support::project::Project;
use crate::support::weather::{self, Climate, Weather};

/// A build makes few requests, so every third is struck.
const CLIMATE: Climate =
    Climate { one_in: 3, longest: Duration::from_secs(15), limit: Duration::from_secs(20), storm: Duration::from_secs(4) };

/// An import that gets no manifest within 2 s builds without it, which is no failure but shows nothing of the cache.
const WITHOUT_STORMS: Climate = Climate { storm: Duration::ZERO, ..CLIMATE };

/// Layers that are sent with one request each, and one that is sent in parts.
const LAYERS: &[u64] = &[200_000, 30_000, 20_000_000];

#[test]
fn builds_and_caches_do_not_notice_a_store_that_fails_now_and_then() {
    let seed = weather::seed();
    let builds = (seed..seed + 4).map(|seed| (format!("seed {seed}"), spawn(build_through_weather(seed)))).collect();
    assert_all(builds);
}

async fn build_through_weather(seed: u64) {
    let (quay, project) = (Quay::on(Store::Bucket).await, Project::with_layers(LAYERS));
    let cache = quay.cache("org/app:cache");

    let weather = Weather::at(quay.back(), seed, CLIMATE);
    let exported = export(&project, &format!("{cache},mode=max")).await;
    println!("export: {weather}");
    let weather = Weather::at(quay.back(), seed, WITHOUT_STORMS);
    let imported = import(&project, &cache).await;
    println!("import: {weather}");

    assert_eq!(imported, exported, "{weather:?}");
    for (key, digest) in quay.objects().await {
        assert!(key.rsplit_once("/blobs/").is_none_or(|(_, named)| named == digest), "{key} is {digest}");
    }
}
