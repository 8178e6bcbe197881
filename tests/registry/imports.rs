//! What an import costs, and that a tag is what the store says it is.

use std::time::Duration;

use longshore::oci::{Digest, Reference};
use longshore::registry::Asker;

use crate::broken_store::Operation::{Get, Head, List};
use crate::harbour::{Harbour, Replica, digest, image};

/// What the tag `tag` points to, as an import learns it.
async fn tagged(replica: &Replica) -> Option<Digest> {
    Some(replica.app.stat_manifest(&"tag".parse().unwrap(), Asker::Import).await.unwrap()?.digest)
}

async fn reads(replica: &Replica, digest: Digest, asker: Asker) -> bool {
    let manifest = replica.app.read_manifest(&Reference::Digest(digest), asker).await.unwrap();
    manifest.is_some_and(|manifest| Digest::sha256(&manifest.bytes) == digest)
}

async fn two_replicas() -> (Harbour, Replica, Replica) {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    other.push("first").await;
    other.push("second").await;
    other.push_image("tag", &["first"]).await.unwrap();
    (harbour, one, other)
}

#[tokio::test(start_paused = true)]
async fn an_import_of_an_image_that_is_known_costs_two_requests_marks_apart() {
    let (harbour, one, _) = two_replicas().await;
    assert!(tagged(&one).await.is_some());
    tokio::time::advance(Duration::from_secs(61)).await;
    let before = harbour.calls(&[Get, Head, List]);

    let found = tagged(&one).await.unwrap();
    assert!(reads(&one, found, Asker::Import).await && one.reads("first").await);

    assert_eq!(harbour.calls(&[Get, Head, List]) - before, 2);
}

#[tokio::test(start_paused = true)]
async fn a_tag_is_read_from_the_store_every_time() {
    let (_, one, other) = two_replicas().await;
    let first = tagged(&one).await.unwrap();

    other.push_image("tag", &["second"]).await.unwrap();

    let second = tagged(&one).await.unwrap();
    assert_eq!((first, second), (digest(&image(&["first"])), digest(&image(&["second"]))));
    assert!(reads(&one, first, Asker::Import).await, "what it left is still there");
    assert!(other.app.delete_manifest(&"tag".parse().unwrap()).await.unwrap());
    assert_eq!(tagged(&one).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_another_replica_removed_is_kept_for_no_one_but_an_import_that_was_told_of_it() {
    let (_, one, other) = two_replicas().await;
    let found = tagged(&one).await.unwrap();
    assert!(other.app.delete_manifest(&Reference::Digest(found)).await.unwrap());

    assert!(!reads(&one, found, Asker::Pull).await);
    assert!(reads(&one, found, Asker::Import).await);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(!reads(&one, found, Asker::Import).await);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_was_removed_here_is_gone_for_an_import_too() {
    let (_, one, _) = two_replicas().await;
    let found = tagged(&one).await.unwrap();

    assert!(one.app.delete_manifest(&Reference::Digest(found)).await.unwrap());

    assert!(!reads(&one, found, Asker::Import).await);
}

#[tokio::test(start_paused = true)]
async fn what_others_ask_is_not_kept() {
    let (harbour, one, _) = two_replicas().await;
    for asker in [Asker::Pull, Asker::Push] {
        one.app.stat_manifest(&"tag".parse().unwrap(), asker).await.unwrap();
    }
    let questions = harbour.calls(&[Get]);

    assert!(reads(&one, digest(&image(&["first"])), Asker::Import).await);

    assert_eq!(harbour.calls(&[Get]), questions + 1);
}
