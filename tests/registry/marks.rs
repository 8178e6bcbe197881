//! The marks that say when a manifest was last used.

use std::time::Duration;

use longshore::registry::Asker;
use longshore::store::ObjectStore;

use crate::broken_store::Operation::Put;
use crate::broken_store::unavailable;
use crate::harbour::{Harbour, PATIENCE, Replica, digest, image};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How old the mark of the image is, `None` when there is none.
async fn mark(harbour: &Harbour, one: &Replica) -> Option<Duration> {
    one.registry.settle().await;
    let key = format!("app/_oci/used/{}", digest(&image(&["layer"]))).parse().unwrap();
    let meta = harbour.store.head(&key, PATIENCE.bytes).await.unwrap()?;
    assert_eq!(meta.size, 0);
    Some(harbour.clock.now().duration_since(meta.last_modified).unwrap())
}

async fn pushed() -> (Harbour, Replica) {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    one.push_image("tag", &["layer"]).await.unwrap();
    assert_eq!(mark(&harbour, &one).await, Some(Duration::ZERO));
    (harbour, one)
}

#[tokio::test(start_paused = true)]
async fn every_use_of_a_manifest_is_marked_but_not_more_often_than_every_six_hours() {
    for by in ["tag", &digest(&image(&["layer"])).to_string()] {
        for (way, asker) in [("stat", Asker::Push), ("stat", Asker::Import), ("stat", Asker::Pull), ("read", Asker::Pull)] {
            let (harbour, one) = pushed().await;
            let reference = by.parse().unwrap();
            let use_it = async || match way {
                "stat" => assert!(one.app.stat_manifest(&reference, asker).await.unwrap().is_some()),
                _ => assert!(one.app.read_manifest(&reference, asker).await.unwrap().is_some()),
            };

            tokio::time::advance(HOUR * 6 - HOUR / 2).await;
            use_it().await;
            assert_eq!(mark(&harbour, &one).await, Some(HOUR * 6 - HOUR / 2), "{way} {by} {asker:?}");
            tokio::time::advance(HOUR / 2).await;
            use_it().await;
            assert_eq!(mark(&harbour, &one).await, Some(Duration::ZERO), "{way} {by} {asker:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_marked() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for reference in ["tag", &digest(&image(&["layer"])).to_string()] {
        let reference = reference.parse().unwrap();
        one.app.stat_manifest(&reference, Asker::Push).await.unwrap();
        one.app.read_manifest(&reference, Asker::Import).await.unwrap();
    }

    assert_eq!(mark(&harbour, &one).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_can_not_be_written_harms_nobody_and_is_tried_again_later() {
    let (harbour, one) = pushed().await;
    tokio::time::advance(HOUR * 6).await;
    harbour.store.when(Put).key("_oci/used/").fail(unavailable);
    let tag = "tag".parse().unwrap();

    for _ in 0..10 {
        assert!(one.app.read_manifest(&tag, Asker::Pull).await.unwrap().is_some());
        one.registry.settle().await;
    }
    harbour.store.mend();
    tokio::time::advance(HOUR).await;
    one.app.read_manifest(&tag, Asker::Pull).await.unwrap();

    assert_eq!(mark(&harbour, &one).await, Some(Duration::ZERO));
    assert_eq!(harbour.store.calls(Put), 5, "manifest, tag, mark; one that failed, one that did not");
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_hangs_keeps_nobody_waiting() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    harbour.store.when(Put).key("_oci/used/").hang();
    let began = tokio::time::Instant::now();

    one.push_image("tag", &["layer"]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    one.registry.settle().await;

    assert!(began.elapsed() <= PATIENCE.push);
}

#[tokio::test(start_paused = true)]
async fn the_mark_goes_with_its_manifest_and_comes_back_with_it() {
    let (harbour, one) = pushed().await;

    assert!(one.app.delete_manifest(&digest(&image(&["layer"])).to_string().parse().unwrap()).await.unwrap());
    assert_eq!(mark(&harbour, &one).await, None);

    one.push_image("tag", &["layer"]).await.unwrap();
    assert_eq!(mark(&harbour, &one).await, Some(Duration::ZERO));
}
