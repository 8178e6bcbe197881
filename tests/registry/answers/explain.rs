//! What a person is told of an answer.

use std::time::Duration;

use longshore::registry::{Answering, Explanation, Fallback, Outcome, Parts, Target, Why};
use longshore::store::ObjectStore;

use crate::broken_store::Operation::{Delete, Put, Touch};
use crate::caches::{Cache, import};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn explain(replica: &Replica, tag: &str) -> Explanation {
    replica.app.explain(&tag.parse().unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_tells_what_a_build_would_get_of_what_and_changes_nothing() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["base", "a"]).push(&one.app, "cache--a").await;
    tokio::time::advance(HOUR).await;
    Cache::of(&["base", "b", "c"]).push(&one.app, "cache--b").await;
    harbour.store.delete(&key("c"), PATIENCE.bytes).await.unwrap();
    one.registry.settle().await;
    let writes = || harbour.calls(&[Put, Touch, Delete]);
    let (before, two) = (writes(), harbour.replica());

    let Explanation { story, cache, blobs, .. } = explain(&two, "cache").await;
    two.registry.settle().await;

    assert_eq!(writes(), before);
    assert_eq!(story.outcome, Outcome::Made { united: 2, is_rescued: false });
    assert_eq!(story.sources.iter().map(|told| told.name.as_str()).collect::<Vec<_>>(), ["app:cache--b", "app:cache--a"]);
    let usable: Vec<_> = story.sources.iter().map(|told| told.found.as_ref().unwrap().usable.results).collect();
    assert_eq!(usable, [2, 2]);
    assert_eq!(story.sources[0].gone, [digest("c")].into());
    let cache = cache.unwrap();
    assert_eq!((cache.steps.records, cache.steps.results), (4, 3));
    let gone: Vec<_> = blobs.iter().filter(|(_, seen)| seen.is_gone).map(|(digest, _)| *digest).collect();
    assert_eq!(gone, [digest("c")]);
    let age = |content: &str| harbour.clock.now().duration_since(blobs[&digest(content)].last_modified.unwrap()).unwrap();
    assert!(age("a") >= HOUR && age("b") < HOUR, "{:?} {:?}", age("a"), age("b"));
    // And that is what a build gets.
    let imported = import(&two.app, "cache").await.unwrap();
    let config: &str = imported.manifest["config"]["digest"].as_str().unwrap();
    let config = crate::caches::read_blob(&two.app, &config.parse().unwrap()).await.unwrap();
    assert_eq!((imported.steps.len(), config.len()), (cache.steps.results, cache.config_bytes));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_cache_is_told_as_that() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::none(&["a", "b"]).push(&one.app, "image").await;
    Cache::inline(&["c", "d"]).push(&one.app, "inline").await;
    Cache::of(&["e"]).push(&one.app, "lost").await;
    harbour.store.delete(&key("e"), PATIENCE.bytes).await.unwrap();

    let one = harbour.replica();
    let image = explain(&one, "image").await;
    let (inline, lost, absent) = (explain(&one, "inline").await, explain(&one, "lost").await, explain(&one, "absent").await);

    assert_eq!((image.story.outcome, image.cache.is_some(), image.story.sources.len()), (Outcome::AsIs, false, 1));
    assert_eq!((inline.story.outcome, inline.cache.unwrap().steps.results), (Outcome::AsIs, 2));
    assert_eq!((lost.story.outcome, lost.cache.is_some(), lost.story.sources.len()), (Outcome::Nothing, false, 1));
    assert_eq!((absent.story.outcome, absent.story.sources.len()), (Outcome::Nothing, 0));
    let rules = Answering { kind: Some(longshore::registry::Kind::Image), ..Answering::default() };
    assert!(one.answering(rules).explain(&"inline".parse().unwrap()).await.unwrap().is_left_alone);
    assert!(!image.is_left_alone);
}

#[tokio::test(start_paused = true)]
async fn it_tells_which_parts_do_not_count_and_what_stands_in() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["own"]).push(&one.app, "cache").await;
    Cache::none(&["image"]).push(&one.app, "cache--image").await;
    for part in ["a", "b"] {
        Cache::of(&[part]).push(&one.app, &format!("cache--{part}")).await;
    }
    let to = vec![Target { repository: None, tag: "cache".parse().unwrap() }];
    let fallbacks = vec![Fallback { tag: "x-*".parse().unwrap(), to, is_union: false }];
    let parts = Parts { most: 2, ..Parts::default() };
    let app = one.answering(Answering { parts, fallbacks, ..Answering::default() });

    let story = app.explain(&"x-1".parse().unwrap()).await.unwrap().story;

    assert_eq!(story.stands_in, ["app:cache"]);
    let passed_over: Vec<_> = story.passed_over.iter().map(|over| (over.name.as_str(), over.why)).collect();
    assert_eq!(passed_over, [("app:cache--image", Why::TooMany)]);
    assert_eq!(story.outcome, Outcome::Made { united: 3, is_rescued: false });
}
