//! Images whose blobs lie in one place.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use longshore::oci::Reference;
use longshore::registry::{Asker, Layout, RegistryError, WritableRepository};
use longshore::store::ObjectStore;

use crate::broken_store::Operation::{Copy, Delete, Get, Head, List, Touch};
use crate::harbour::{Harbour, PATIENCE, Replica, digest, image};

/// The layout of clients of `type=s3` that state no prefix.
pub fn shared() -> Layout {
    Layout::Shared { blobs: "blobs/".into(), manifests: "manifests/".into() }
}

fn replica(harbour: &Harbour) -> Replica {
    harbour.arranged(|registry| registry.with_layout(shared()))
}

fn other(replica: &Replica) -> WritableRepository {
    replica.registry.writable_repository("org/other".parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn blobs_lie_together_and_all_else_under_its_images_name() {
    let harbour = Harbour::new();
    let one = replica(&harbour);
    one.push("layer").await;
    let manifest = one.push_image("tag", &["layer"]).await.unwrap();
    one.registry.settle().await;

    let layer = digest("layer");
    assert_eq!(
        harbour.keys().await,
        [
            format!("app/_oci/manifests/{manifest}"),
            "app/_oci/tags/tag".into(),
            format!("app/_oci/used/{manifest}"),
            format!("blobs/{layer}")
        ]
    );
    assert!(one.reads("layer").await && replica(&harbour).reads("layer").await);
    assert!(other(&one).read_manifest(&"tag".parse().unwrap(), Asker::Pull).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_one_image_has_another_is_told_of_and_mounts_without_a_question() {
    let harbour = Harbour::new();
    let one = replica(&harbour);
    one.push("layer").await;

    assert_eq!(other(&one).stat_blob(&digest("layer"), Asker::Push).await, Some(5));
    assert!(other(&one).mount_blob(&digest("layer"), &one.app).await.unwrap());

    assert_eq!(harbour.calls(&[Head, Get, List, Copy]), 0);
    assert!(!other(&one).mount_blob(&digest("nothing"), &one.app).await.unwrap());
}

// A store refuses to copy what is to stay as it is.
#[tokio::test(start_paused = true)]
async fn what_is_mounted_from_an_image_that_is_kept_as_this_one_is_not_copied() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;

    assert!(one.app.mount_blob(&digest("layer"), &one.app).await.unwrap());

    assert_eq!(harbour.calls(&[Copy]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mounted_blob_is_made_young_before_it_can_be_removed() {
    let harbour = Harbour::new();
    let one = replica(&harbour);
    one.push("layer").await;
    tokio::time::advance(Duration::from_hours(24 * 6)).await;

    assert!(other(&one).mount_blob(&digest("layer"), &one.app).await.unwrap());

    assert_eq!(harbour.calls(&[Touch]), 1);
}

#[tokio::test(start_paused = true)]
async fn no_blob_is_deleted_for_one_image() {
    let harbour = Harbour::new();
    let one = replica(&harbour);
    one.push("layer").await;

    let refused = one.app.delete_blob(&digest("layer")).await;

    assert!(matches!(refused, Err(RegistryError::BlobShared)), "{refused:?}");
    assert_eq!(harbour.calls(&[Delete]), 0);
    let manifest = one.push_image("tag", &["layer"]).await.unwrap();
    assert!(one.app.delete_manifest(&Reference::Digest(manifest)).await.unwrap());
    assert!(one.reads("layer").await);
}

#[tokio::test(start_paused = true)]
async fn images_are_those_that_have_something_of_their_own() {
    let harbour = Harbour::new();
    let one = replica(&harbour);
    one.push("layer").await;
    for name in ["app", "app/worker", "blobs", "manifests/app"] {
        let image_of = one.registry.writable_repository(name.parse().unwrap());
        let media_type = "application/vnd.oci.image.manifest.v1+json".parse().unwrap();
        image_of.write_manifest(&"tag".parse().unwrap(), &[], media_type, image(&["layer"]).into()).await.unwrap();
    }
    let left = format!("left/blobs/{}", digest("layer"));
    for theirs in ["manifests/ghcr.io/org/app", "manifests/x/_oci", "left/manifests/cache", &left] {
        harbour.store.put(&theirs.parse().unwrap(), "{}".into(), "text/plain", PATIENCE.bytes).await.unwrap();
    }
    let silent = one.registry.writable_repository("silent".parse().unwrap());
    let body = stream::iter([Ok("more".into())]).boxed();
    silent.write_blob(&digest("more"), Some(4), body).await.unwrap();

    let catalog = one.registry.catalog(None, 100).await.unwrap();

    let names: Vec<_> = catalog.names.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["app", "app/worker", "blobs", "manifests/app"]);
    assert!(silent.list_tags(None, 10, |_| true).await.unwrap().is_none());
}
