//! How an answer came about, for a person who wants to know.

use longshore::registry::{Answering, Fallback, Outcome, Parts, Target, What, Why};
use longshore::store::ObjectStore;

use crate::broken_store::Operation::Put;
use crate::caches::Cache;
use crate::harbour::{Harbour, PATIENCE, Replica, digest, key};

async fn stocked() -> (Harbour, Replica) {
    let harbour = Harbour::new();
    let one = harbour.replica();
    Cache::of(&["own", "gone"]).push(&one.app, "cache").await;
    Cache::of(&["part"]).push(&one.app, "cache--part").await;
    Cache::none(&["image"]).push(&one.app, "cache--image").await;
    Cache::none(&["image"]).push(&one.app, "v1").await;
    one.registry.settle().await;
    harbour.store.delete(&key("gone"), PATIENCE.bytes).await.unwrap();
    let one = harbour.replica();
    (harbour, one)
}

#[tokio::test(start_paused = true)]
async fn it_tells_of_each_source_what_is_there_and_what_is_gone_and_stores_nothing() {
    let (harbour, one) = stocked().await;
    let writes = harbour.calls(&[Put]);

    let story = one.app.explain(&"cache".parse().unwrap()).await.unwrap().story;

    let told: Vec<_> = story.sources.iter().map(|told| (told.name.as_str(), told.gone.len())).collect();
    assert_eq!(told, [("app:cache", 1), ("app:cache--part", 0)]);
    let own = story.sources[0].found.as_ref().unwrap();
    assert_eq!((own.steps.results, own.usable.results), (2, 1));
    assert_eq!(own.missing, [(digest("gone"), 4)].into());
    assert!(own.config_bytes > 100 && !own.steps.are_of_last_stage());
    let passed_over: Vec<_> = story.passed_over.iter().map(|it| (it.name.as_str(), it.why)).collect();
    assert_eq!(passed_over, [("app:cache--image", Why::NoCache)]);
    assert_eq!(story.outcome, Outcome::Made { united: 2, is_rescued: false });
    one.registry.settle().await;
    assert_eq!(harbour.calls(&[Put]), writes);
}

#[tokio::test(start_paused = true)]
async fn it_tells_what_stands_in_what_is_nothing_and_what_is_an_image() {
    let (_, one) = stocked().await;
    let to = vec![Target { repository: None, tag: "cache".parse().unwrap() }];
    let fallbacks = vec![Fallback { tag: "x-*".parse().unwrap(), to, is_union: false }];
    let app = one.answering(Answering { fallbacks, ..Answering::default() });

    let story = app.explain(&"x-1".parse().unwrap()).await.unwrap().story;
    assert_eq!(story.stands_in, ["app:cache"]);
    assert_eq!(app.explain(&"y".parse().unwrap()).await.unwrap().story.outcome, Outcome::Nothing);
    let image = app.explain(&"v1".parse().unwrap()).await.unwrap().story;
    assert_eq!((image.sources[0].what, image.outcome), (What::Image, Outcome::AsIs));
    assert!(image.sources[0].found.is_none(), "there is no cache in it");
}

#[tokio::test(start_paused = true)]
async fn it_tells_which_parts_do_not_count() {
    let (_, one) = stocked().await;
    let parts = Parts { most: 0, ..Parts::default() };
    let few = one.answering(Answering { parts, ..Answering::default() });

    let story = few.explain(&"cache".parse().unwrap()).await.unwrap().story;

    assert_eq!(story.passed_over.iter().map(|it| it.why).collect::<Vec<_>>(), [Why::TooMany, Why::TooMany]);
}
