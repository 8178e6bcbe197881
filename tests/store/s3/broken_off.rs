//! Uploads that end before their end, answers that are lost, bodies that break.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use futures_util::{StreamExt, TryStreamExt};
use longshore::store::StoreError;
use sha2::{Digest, Sha256};

use super::requests::counts;
use super::{Doorway, SOON};
use crate::bench::{MIB, PATIENCE, content, minio, write};
use crate::support::door::{Action, Mode, S3Operation};
use crate::support::minio::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::support::s3_server::S3Server;
use S3Operation::{AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, GetObject, PutObject, UploadPart};

/// How long what must fail is tried.
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn nothing_is_visible_before_the_bucket_is_told_to_complete() {
    let doorway = Doorway::open().await;
    let complete = doorway.door.trip(1, Action::Hold, |seen| seen.operation() == CompleteMultipartUpload);
    let mut upload = doorway.bench.upload("it", Some(40 * MIB)).await;
    write(&mut *upload, content(40 * MIB)).await.unwrap();

    let finish = tokio::spawn(upload.finish(None));
    complete.sprung(SOON).await;
    assert!(doorway.beside.is_absent("it").await);

    complete.release();
    finish.await.unwrap().unwrap();
    assert!(doorway.beside.read("it").await.unwrap() == content(40 * MIB));
}

#[tokio::test]
async fn an_upload_given_up_half_way_is_aborted_once() {
    for is_aborted in [true, false] {
        let doorway = Doorway::open().await;
        let mut upload = doorway.bench.upload("it", Some(40 * MIB)).await;
        write(&mut *upload, content(20 * MIB)).await.unwrap();

        if is_aborted {
            upload.abort().await
        } else {
            drop(upload)
        }
        doorway.bench.store.settle().await;

        let mut requests = doorway.requests();
        requests.remove(&UploadPart);
        assert_eq!(requests, counts(&[(CreateMultipartUpload, 1), (AbortMultipartUpload, 1)]));
        let abort = &doorway.door.seen_operations(AbortMultipartUpload)[0];
        assert!(abort.status().is_some_and(|status| status.is_success()), "{abort:?}");
        let is_last = doorway.door.seen().iter().all(|seen| seen.came <= abort.came);
        assert!(is_last, "nothing comes after the abort");
        assert!(doorway.beside.is_absent("it").await);
    }
}

#[tokio::test]
async fn an_upload_dropped_while_it_is_being_created_is_aborted() {
    let doorway = Doorway::open().await;
    let create = doorway.door.trip(1, Action::Hold, |seen| seen.operation() == CreateMultipartUpload);
    let mut upload = doorway.bench.upload("it", Some(40 * MIB)).await;
    upload.write(content(1)).await.unwrap();
    create.sprung(SOON).await;

    drop(upload);
    create.release();
    doorway.bench.store.settle().await;

    assert_eq!(doorway.requests(), counts(&[(CreateMultipartUpload, 1), (AbortMultipartUpload, 1)]));
}

#[tokio::test]
async fn a_finish_that_nobody_waits_for_any_more_is_done_or_aborted() {
    let doorway = Doorway::open().await;
    let complete = doorway.door.trip(1, Action::Hold, |seen| seen.operation() == CompleteMultipartUpload);
    let mut upload = doorway.bench.upload("it", Some(17 * MIB)).await;
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    let finish = tokio::spawn(upload.finish(None));
    complete.sprung(SOON).await;

    finish.abort();
    assert!(finish.await.unwrap_err().is_cancelled());
    complete.release();
    doorway.bench.store.settle().await;

    assert_eq!(doorway.requests().get(&AbortMultipartUpload), Some(&1));
    assert!(doorway.beside.read("it").await.is_none_or(|bytes| bytes == content(17 * MIB)));
}

#[tokio::test]
async fn a_part_that_the_bucket_refuses_fails_the_upload_which_is_aborted() {
    let doorway = Doorway::open().await;
    let mut upload = doorway.bench.upload("it", Some(40 * MIB)).await;
    let part = doorway.door.trip(1, Action::Hold, |seen| seen.operation() == UploadPart);
    write(&mut *upload, content(9 * MIB)).await.unwrap();
    part.sprung(SOON).await;
    end_upload(&doorway).await;
    part.release();

    let outcome = async {
        write(&mut *upload, content(31 * MIB)).await?;
        upload.finish(None).await
    };

    assert!(outcome.await.is_err());
    doorway.bench.store.settle().await;
    assert_eq!(doorway.requests().get(&CompleteMultipartUpload), None);
    assert!(doorway.beside.is_absent("it").await);
}

#[tokio::test]
async fn an_upload_that_somebody_else_aborted_fails_soon() {
    let doorway = Doorway::open().await;
    let mut upload = doorway.bench.upload("it", Some(17 * MIB)).await;
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    let complete = doorway.door.trip(1, Action::Hold, |seen| seen.operation() == CompleteMultipartUpload);
    let finish = tokio::spawn(upload.finish(None));
    complete.sprung(SOON).await;
    end_upload(&doorway).await;

    complete.release();
    let outcome = tokio::time::timeout(PATIENCE / 2, finish).await.expect("it waited for what never comes back");

    assert!(matches!(outcome.unwrap(), Err(StoreError::Unavailable(_))));
    assert!(doorway.beside.is_absent("it").await);
}

/// Aborts the upload that was begun through the door, as a lifecycle rule would.
async fn end_upload(doorway: &Doorway) {
    let part = &doorway.door.seen_operations(UploadPart)[0];
    let (bucket, key) = part.path.trim_start_matches('/').split_once('/').unwrap();
    let id = part.query.split('&').find_map(|pair| pair.strip_prefix("uploadId=")).unwrap();
    let id = percent_encoding::percent_decode_str(id).decode_utf8().unwrap();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(format!("http://{}", minio().await.address))
        .force_path_style(true)
        .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let client = aws_sdk_s3::Client::from_conf(config.build());
    client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await.unwrap();
}

#[tokio::test]
async fn bytes_of_another_hash_are_refused_by_the_bucket_itself() {
    for (server, size) in S3Server::ALL.into_iter().flat_map(|server| [(server, 3), (server, 16 * MIB)]) {
        let doorway = Doorway::open_to(server).await;
        for (hashed, is_right) in [(content(size + 1), false), (content(size), true)] {
            let (store, key) = (&doorway.bench.store, doorway.bench.key("it"));
            let patience = if is_right { PATIENCE } else { SHORT };
            let mut upload = store.upload(&key, Some(size as u64), patience).await.unwrap();
            write(&mut *upload, content(size)).await.unwrap();

            let outcome = upload.finish(Some(Sha256::digest(&hashed).into())).await;

            assert_eq!(outcome.is_ok(), is_right, "{server:?}: {outcome:?}");
            assert_eq!(doorway.beside.read("it").await.is_some(), is_right, "{server:?}");
        }
        // It may have been the wire that changed them: so they are sent again, and nothing else is asked.
        assert!(doorway.requests().keys().all(|operation| *operation == PutObject), "{server:?}: {:?}", doorway.requests());
    }
}

#[tokio::test]
async fn a_lost_answer_to_complete_is_no_failure() {
    for server in S3Server::ALL {
        let doorway = Doorway::open_to(server).await;
        let complete = doorway.door.trip(1, Action::LoseAnswer(Mode::Refuse), |seen| seen.operation() == CompleteMultipartUpload);
        let mut upload = doorway.bench.upload("it", Some(40 * MIB)).await;
        write(&mut *upload, content(40 * MIB)).await.unwrap();

        let finish = tokio::spawn(upload.finish(None));
        complete.sprung(SOON).await;
        assert!(doorway.beside.head("it").await.is_some(), "{server:?}: it was done");
        doorway.door.become_(Mode::Open).await;

        finish.await.unwrap().unwrap();
        doorway.bench.store.settle().await;
        assert_eq!(doorway.requests().get(&AbortMultipartUpload), None, "{server:?}");
        assert!(doorway.beside.read("it").await.unwrap() == content(40 * MIB), "{server:?}");
    }
}

#[tokio::test]
async fn other_lost_answers_are_no_failures_either() {
    for (lost, size) in [(PutObject, MIB), (CreateMultipartUpload, 17 * MIB), (UploadPart, 17 * MIB)] {
        let doorway = Doorway::open().await;
        let trip = doorway.door.trip(1, Action::LoseAnswer(Mode::Refuse), move |seen| seen.operation() == lost);

        let uploading = async {
            let mut upload = doorway.bench.upload("it", Some(size)).await;
            write(&mut *upload, content(size)).await?;
            upload.finish(None).await
        };
        let mending = async {
            trip.sprung(SOON).await;
            doorway.door.become_(Mode::Open).await;
        };
        let (outcome, ()) = tokio::join!(uploading, mending);

        assert!(outcome.is_ok(), "{lost:?}: {outcome:?}");
        assert!(doorway.beside.read("it").await.unwrap() == content(size), "{lost:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_resumed_where_it_broke() {
    let doorway = Doorway::open().await;
    let bytes = content(40 * MIB);
    doorway.beside.put("it", bytes.clone()).await;
    let mut object = doorway.bench.get("it", None).await.unwrap().unwrap();
    let mut read = Vec::new();
    for _ in 0..3 {
        read.extend_from_slice(&object.body.try_next().await.unwrap().unwrap());
        doorway.door.become_(Mode::Refuse).await;
        doorway.door.become_(Mode::Open).await;
    }

    while let Some(chunk) = object.body.try_next().await.unwrap() {
        read.extend_from_slice(&chunk);
    }

    assert!(read == bytes, "other bytes");
    let requests = doorway.door.seen_operations(GetObject);
    assert!(requests.len() > 5, "it did not break");
    assert_eq!((requests[0].header("range"), requests[0].header("if-match")), ("bytes=0-8388607", ""));
    for resumed in &requests[1..] {
        let (first, last) = resumed.header("range").strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (first, last) = (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap());
        assert!(first > 0 && first / (8 * MIB) == last / (8 * MIB) && (last + 1).is_multiple_of(8 * MIB), "{resumed:?}");
        assert_eq!(resumed.header("if-match"), object.meta.etag);
    }
}

#[tokio::test]
async fn a_range_that_breaks_is_resumed_within_the_range() {
    let doorway = Doorway::open().await;
    let bytes = content(40 * MIB);
    doorway.beside.put("it", bytes.clone()).await;
    let range = longshore::oci::ByteRange::Within(MIB as u64, 33 * MIB as u64);
    let mut object = doorway.bench.get("it", Some(range)).await.unwrap().unwrap();
    let mut read = object.body.try_next().await.unwrap().unwrap().to_vec();
    doorway.door.become_(Mode::Refuse).await;
    doorway.door.become_(Mode::Open).await;

    while let Some(chunk) = object.body.try_next().await.unwrap() {
        read.extend_from_slice(&chunk);
    }

    assert!(read == bytes[MIB..=33 * MIB], "other bytes");
    assert!(doorway.door.seen_operations(GetObject).len() > 1, "it did not break");
}

#[tokio::test]
async fn a_body_that_breaks_is_not_resumed_with_another_object() {
    for change in ["overwritten", "deleted"] {
        let doorway = Doorway::open().await;
        let old = content(40 * MIB);
        doorway.beside.put("it", old.clone()).await;
        let mut object = doorway.bench.get("it", None).await.unwrap().unwrap();
        let mut read = object.body.try_next().await.unwrap().unwrap().to_vec();
        doorway.door.become_(Mode::Refuse).await;
        match change {
            "deleted" => doorway.beside.delete("it").await,
            _ => doorway.beside.put("it", vec![b'x'; 40 * MIB]).await,
        }
        doorway.door.become_(Mode::Open).await;

        let end = loop {
            match object.body.next().await {
                Some(Ok(chunk)) => read.extend_from_slice(&chunk),
                end => break end,
            }
        };

        assert!(matches!(end, Some(Err(StoreError::Changed))), "{change}: {end:?}");
        assert!(old.starts_with(&read), "{change}: other bytes");
    }
}
