//! What an object costs, in requests.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use crate::bench::{MIB, PATIENCE, content, write};
use crate::s3::{Doorway, SOON};
use crate::support::door::S3Operation::{self, *};
use crate::support::door::{Action, Seen, Trip};

/// How long a request stands still, in a test of that.
const STILL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_upload_costs_one_request_or_one_for_each_part_and_two() {
    for (size, length, requests) in [
        (0, Some(0), &[(PutObject, 1)][..]),
        (3, Some(3), &[(PutObject, 1)]),
        (16 * MIB, Some(16 * MIB), &[(PutObject, 1)]),
        (0, None, &[(PutObject, 1)]),
        (3, None, &[(PutObject, 1)]),
        (16 * MIB + 1, Some(16 * MIB + 1), &[(CreateMultipartUpload, 1), (UploadPart, 3), (CompleteMultipartUpload, 1)]),
        (40 * MIB, Some(40 * MIB), &[(CreateMultipartUpload, 1), (UploadPart, 5), (CompleteMultipartUpload, 1)]),
        (40 * MIB, None, &[(CreateMultipartUpload, 1), (UploadPart, 5), (CompleteMultipartUpload, 1)]),
    ] {
        let doorway = Doorway::open().await;
        let mut upload = doorway.bench.upload("it", length).await;
        write(&mut *upload, content(size)).await.unwrap();
        upload.finish(None).await.unwrap();
        doorway.bench.store.settle().await;

        assert_eq!(doorway.requests(), counts(requests), "{size} bytes, {length:?}");
        assert!(doorway.beside.read("it").await.unwrap() == content(size), "{size} bytes, {length:?}");
    }
}

#[tokio::test]
async fn a_download_costs_one_request_for_each_part() {
    for (size, requests) in [(1, 1), (8 * MIB, 1), (8 * MIB + 1, 2), (40 * MIB, 5), (41 * MIB, 6)] {
        let doorway = Doorway::open().await;
        doorway.beside.put("it", content(size)).await;

        assert!(doorway.bench.read("it").await.unwrap() == content(size), "{size} bytes");

        assert_eq!(doorway.requests(), counts(&[(GetObject, requests)]), "{size} bytes");
    }
}

#[tokio::test]
async fn nothing_at_all_is_asked_for_without_a_range_once_it_has_none() {
    let doorway = Doorway::open().await;
    doorway.beside.put("it", "").await;

    assert_eq!(doorway.bench.read("it").await.unwrap(), b"");

    assert!(doorway.requests()[&GetObject] <= 2);
}

#[tokio::test]
async fn no_byte_is_hashed_twice() {
    let doorway = Doorway::open().await;
    let mut upload = doorway.bench.upload("it", Some(17 * MIB)).await;
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    upload.finish(None).await.unwrap();
    let (mut small, hash) = (doorway.bench.upload("small", Some(3)).await, Sha256::digest("abc"));
    small.write("abc".into()).await.unwrap();
    small.finish(Some(hash.into())).await.unwrap();

    let hashed = |operation| doorway.door.seen_operations(operation)[0].header("x-amz-content-sha256").to_owned();
    assert_eq!(hashed(UploadPart), "UNSIGNED-PAYLOAD");
    assert_eq!(hashed(PutObject), data_encoding::HEXLOWER.encode(&hash));
}

#[tokio::test]
async fn every_other_call_costs_one_request_and_touching_two() {
    let doorway = Doorway::open().await;
    let (bench, door) = (&doorway.bench, &doorway.door);

    bench.put("it", "hello").await;
    assert_eq!(doorway.requests(), counts(&[(PutObject, 1)]));
    door.forget();
    bench.head("it").await;
    assert_eq!(doorway.requests(), counts(&[(HeadObject, 1)]));
    door.forget();
    bench.read("it").await;
    assert_eq!(doorway.requests(), counts(&[(GetObject, 1)]));
    door.forget();
    bench.list("").await;
    assert_eq!(doorway.requests(), counts(&[(ListObjectsV2, 1)]));
    door.forget();
    bench.store.folders("root/", PATIENCE).await.unwrap();
    assert_eq!(doorway.requests(), counts(&[(ListObjectsV2, 1)]));
    door.forget();
    let etag = doorway.beside.head("it").await.unwrap().etag;
    assert!(bench.store.copy(&bench.key("it"), &etag, &bench.key("other"), PATIENCE).await.unwrap());
    assert_eq!(doorway.requests(), counts(&[(CopyObject, 1)]));
    door.forget();
    // Stores tell whole seconds, and it must be seen to be younger.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(bench.store.touch(&bench.key("it"), PATIENCE).await.unwrap());
    assert_eq!(doorway.requests(), counts(&[(HeadObject, 1), (CopyObject, 1)]), "what it is must be said again");
    door.forget();
    bench.delete("it").await;
    assert_eq!(doorway.requests(), counts(&[(DeleteObject, 1)]));
    door.forget();
    assert!(bench.head("it").await.is_none() && bench.read("it").await.is_none());
    assert_eq!(doorway.requests(), counts(&[(HeadObject, 1), (GetObject, 1)]), "absence is told at once");
}

#[tokio::test]
async fn no_more_than_eight_copies_are_made_at_once_and_each_costs_one_request_however_long_it_takes() {
    let doorway = Doorway::open().await;
    doorway.beside.put("it", "hello").await;
    let etag = doorway.beside.head("it").await.unwrap().etag;
    let is_copy = |seen: &Seen| seen.operation() == CopyObject;
    let held: Vec<_> = (0..8).map(|_| doorway.door.trip(1, Action::Hold, is_copy)).collect();
    // Half of it a copy may take, and a quarter of it any request may stand still.
    let patience = 4 * STILL;

    let copies = join_all((0..12).map(|number| {
        let (bench, etag) = (doorway.bench.clone(), etag.clone());
        tokio::spawn(async move { bench.store.copy(&bench.key("it"), &etag, &bench.key(&number.to_string()), patience).await })
    }));
    join_all(held.iter().map(|trip| trip.sprung(SOON))).await;
    tokio::time::sleep(STILL + STILL / 2).await;
    assert_eq!(doorway.requests(), counts(&[(CopyObject, 8)]));
    held.iter().for_each(Trip::release);

    assert!(copies.await.into_iter().all(|copied| matches!(copied, Ok(Ok(true)))));
    assert_eq!(doorway.requests(), counts(&[(CopyObject, 12)]));
}

#[tokio::test]
async fn a_page_of_a_long_listing_costs_one_request_wherever_it_begins() {
    let doorway = Doorway::open().await;
    let names: Vec<_> = (0..2100).map(|number| format!("{number:04}")).collect();
    stream::iter(&names).for_each_concurrent(64, |name| doorway.beside.put(name, "")).await;
    for (after, listed, is_truncated) in [(None, 1000, true), (Some("0499"), 1000, true), (Some("1599"), 500, false)] {
        doorway.door.forget();
        let after = after.map(|name| doorway.bench.key(name));

        let page = doorway.bench.store.list("root/", after.as_ref(), PATIENCE).await.unwrap();

        assert_eq!((page.objects.len(), page.is_truncated), (listed, is_truncated), "{after:?}");
        assert_eq!(doorway.requests(), counts(&[(ListObjectsV2, 1)]), "{after:?}");
    }
}

#[tokio::test]
async fn an_upload_that_never_got_a_byte_costs_nothing() {
    let doorway = Doorway::open().await;
    for length in [None, Some(3), Some(40 * MIB)] {
        doorway.bench.upload("it", length).await.abort().await;
        drop(doorway.bench.upload("it", length).await);
    }
    doorway.bench.store.settle().await;

    assert_eq!(doorway.requests(), counts(&[]));
}

pub fn counts(requests: &[(S3Operation, usize)]) -> BTreeMap<S3Operation, usize> {
    requests.iter().copied().collect()
}
