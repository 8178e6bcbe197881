//! Multipart uploads that a process left behind when it was killed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use longshore::registry::{Leftovers, Patience, Registry, Sweep};
use longshore::store::{Misconfiguration, ObjectStore, S3Store, StoreError, Unfinished};

use super::refused::refusing;
use super::requests::counts;
use super::{Doorway, SOON};
use crate::bench::{MIB, PATIENCE, content, s3_store, settings, write};
use crate::support::door::Action;
use crate::support::door::S3Operation::{AbortMultipartUpload, ListMultipartUploads, UploadPart};
use crate::support::uploads::Uploads;

const HOUR: Duration = Duration::from_secs(3600);

fn an_hour_ago() -> SystemTime {
    SystemTime::now() - HOUR
}

/// The bucket of unfinished uploads, and a store over it at the prefix `cache`.
async fn bucket() -> (Uploads, S3Store) {
    let uploads = Uploads::start().await;
    let mut settings = settings(uploads.address);
    settings.prefix = "cache".to_owned();
    let store = s3_store(settings, 64 * MIB).await;
    (uploads, store)
}

async fn told(store: &S3Store, prefix: &str) -> Vec<Unfinished> {
    store.unfinished(prefix, an_hour_ago(), PATIENCE).await.unwrap().expect("it tells")
}

async fn keys(store: &S3Store, prefix: &str) -> Vec<String> {
    told(store, prefix).await.into_iter().map(|upload| upload.key.expect("S3 knows").to_string()).collect()
}

#[tokio::test]
async fn old_uploads_under_a_prefix_are_told_page_by_page_and_no_others() {
    let (uploads, store) = bucket().await;
    for (key, age) in [
        ("cache/app/blobs/a", 2 * HOUR),
        ("cache/app/blobs/b", HOUR / 2),
        ("cache/app/blobs/c", 25 * HOUR),
        ("cache/app/blobs/c+d e", 25 * HOUR),
        ("cache/app/blobs/d", 25 * HOUR),
        ("cache/app/other", 25 * HOUR),
        ("cache/application/blobs/a", 25 * HOUR),
        ("app/blobs/a", 25 * HOUR),
    ] {
        uploads.leave(key, "id", age);
    }

    assert_eq!(keys(&store, "app/blobs/").await, ["app/blobs/a", "app/blobs/c", "app/blobs/c+d e", "app/blobs/d"]);
    assert_eq!(uploads.listings(), 2, "one request a page");
    assert_eq!(keys(&store, "none/").await, [""; 0]);
    assert_eq!(keys(&store, "").await.len(), 6);
    assert_eq!(uploads.ids().len(), 8, "only told");
}

#[tokio::test]
async fn of_several_uploads_to_one_key_each_is_told_and_only_the_one_meant_is_discarded() {
    let (uploads, store) = bucket().await;
    for id in ["1", "2", "3", "4", "5"] {
        uploads.leave("cache/app/blobs/a", id, 2 * HOUR);
    }
    let found = told(&store, "app/blobs/").await;
    assert_eq!(found.len(), 5);

    store.discard(&found[3], PATIENCE).await.unwrap();
    store.discard(&found[3], PATIENCE).await.expect("it may be over");

    assert_eq!(uploads.ids(), ["1", "2", "3", "5"]);
}

#[tokio::test]
async fn an_image_is_swept_of_old_uploads_to_its_own_blobs_and_pieces_and_no_others() {
    for is_careless in [false, true] {
        let (uploads, store) = bucket().await;
        for (id, key, age) in [
            ("blob", "cache/org/app/blobs/sha256:00", 25 * HOUR),
            ("piece", "cache/org/app/_oci/uploads/x/00000000000000000000", 25 * HOUR),
            ("young", "cache/org/app/blobs/sha256:00", 23 * HOUR),
            ("below", "cache/org/app/worker/blobs/sha256:00", 25 * HOUR),
            ("above", "cache/org/blobs/sha256:00", 25 * HOUR),
            ("beside", "cache/org/app-2/blobs/sha256:00", 25 * HOUR),
            ("foreign", "cache/org/app/blobs.tar", 25 * HOUR),
        ] {
            uploads.leave(key, id, age);
        }
        if is_careless {
            uploads.ignore_prefix();
        }
        let registry = Arc::new(Registry::new(Arc::new(store), Patience::with_bytes(PATIENCE)));
        let app = registry.writable_repository("org/app".parse().unwrap());

        let swept = app.sweep(Sweep::Remove).await.unwrap();

        assert_eq!(swept, Leftovers { pieces: 0, uploads: 2 });
        let mut left = uploads.ids();
        left.sort();
        assert_eq!(left, ["above", "below", "beside", "foreign", "young"], "a bucket that ignores the prefix: {is_careless}");
        assert!(is_careless || uploads.listings() == 2);
    }
}

#[tokio::test]
async fn an_upload_in_minio_whose_writer_is_gone_is_told_by_its_key_and_discarded_for_good() {
    let doorway = Doorway::open().await;
    let (store, key) = (&doorway.bench.store, doorway.bench.key("it"));
    let part = doorway.door.trip(1, Action::Hold, |seen| seen.operation() == UploadPart);
    part.release();
    let mut upload = doorway.bench.upload("it", Some(17 * MIB)).await;
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    part.sprung(SOON).await;
    doorway.door.forget();

    let young = store.unfinished(key.as_str(), an_hour_ago(), PATIENCE).await.unwrap().unwrap();
    assert!(young.is_empty(), "it has just begun: {young:?}");
    let found = store.unfinished(key.as_str(), SystemTime::now() + HOUR, PATIENCE).await.unwrap().unwrap();
    assert_eq!(found.iter().map(|upload| upload.key.clone()).collect::<Vec<_>>(), [Some(key.clone())]);
    store.discard(&found[0], PATIENCE).await.unwrap();

    let mut requests = doorway.requests();
    requests.remove(&UploadPart);
    assert_eq!(requests, counts(&[(ListMultipartUploads, 2), (AbortMultipartUpload, 1)]));
    assert_eq!(store.unfinished(key.as_str(), SystemTime::now() + HOUR, PATIENCE).await.unwrap(), Some(vec![]));

    drop(upload);
    doorway.bench.store.settle().await;
    assert!(doorway.beside.is_absent("it").await);
}

#[tokio::test]
async fn a_bucket_that_does_not_list_uploads_tells_none_and_is_not_asked_again() {
    for (status, code) in [
        (403, "AccessDenied"),
        (401, ""),
        (405, "MethodNotAllowed"),
        (501, "NotImplemented"),
        (400, "InvalidRequest"),
        (404, "NotFound"),
    ] {
        let began = std::time::Instant::now();
        let store = s3_store(refusing(status, code).await, 64 * MIB).await;

        let told = store.unfinished("app/blobs/", an_hour_ago(), PATIENCE).await;

        assert!(matches!(told, Ok(None)), "{status} {code}: {told:?}");
        assert!(began.elapsed() < PATIENCE, "{status} {code}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_down_or_not_there_has_not_said_that_it_tells_none() {
    for (status, code) in [(503, "SlowDown"), (500, "InternalError")] {
        let store = s3_store(refusing(status, code).await, 64 * MIB).await;
        let told = store.unfinished("", an_hour_ago(), Duration::from_millis(100)).await;
        assert!(matches!(told, Err(StoreError::Unavailable(_))), "{status} {code}: {told:?}");
    }
    let store = s3_store(refusing(404, "NoSuchBucket").await, 64 * MIB).await;
    let told = store.unfinished("", an_hour_ago(), PATIENCE).await;
    assert!(matches!(told, Err(StoreError::Misconfigured(Misconfiguration::NoSuchBucket { .. }))), "{told:?}");
}
