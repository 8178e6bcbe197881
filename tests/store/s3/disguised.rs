//! Answers that say 200 and do not mean it, or mean something else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use longshore::oci::ByteRange;
use longshore::store::{ObjectStore, S3Settings, StoreError};

use super::stand_in::{Answer, StandIn, error};
use crate::bench::{MIB, PATIENCE, collect, content, s3_store, write};
use crate::support::door::Door;
use crate::support::fault::{Fault, How, Strike};
use crate::support::ports;

/// Uploads something in parts to a bucket that answers the first `failing` times that it is to complete it with this error behind a 200.
async fn complete(failing: usize, code: &'static str, patience: Duration) -> (Result<String, StoreError>, StandIn) {
    let asked = AtomicUsize::new(0);
    let stand_in = StandIn::saying(move |request| {
        let fails = request.operation == "CompleteMultipartUpload" && asked.fetch_add(1, Ordering::SeqCst) < failing;
        fails.then(|| error(200, code))
    })
    .await;
    let store = s3_store(stand_in.settings(), 64 * MIB).await;
    let mut upload = store.upload(&"it".parse().unwrap(), Some(17 * MIB as u64), patience).await.unwrap();
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    let outcome = upload.finish(None).await;
    store.settle().await;
    (outcome, stand_in)
}

fn count(stand_in: &StandIn, operation: &str) -> usize {
    stand_in.operations().iter().filter(|asked| **asked == operation).count()
}

#[tokio::test]
async fn an_upload_whose_end_fails_behind_a_200_is_ended_again() {
    for code in ["InternalError", "ServiceUnavailable", "SlowDown"] {
        let (outcome, stand_in) = complete(2, code, PATIENCE).await;

        assert_eq!(outcome.unwrap(), "\"etag\"", "{code}");
        assert_eq!((count(&stand_in, "CompleteMultipartUpload"), count(&stand_in, "AbortMultipartUpload")), (3, 0), "{code}");
    }
}

#[tokio::test]
async fn an_upload_whose_end_keeps_failing_behind_a_200_has_failed_and_is_aborted() {
    for code in ["InternalError", "InvalidPart"] {
        let (outcome, stand_in) = complete(usize::MAX, code, Duration::from_millis(500)).await;

        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{code}: {outcome:?}");
        assert_eq!(count(&stand_in, "AbortMultipartUpload"), 1, "{code}");
    }
}

/// A bucket in which every object has `size` bytes, and which brings them all whatever range it is asked for.
async fn without_ranges(size: usize) -> StandIn {
    let whole = move || -> Answer {
        let answer = Response::builder().header("etag", "\"etag\"").header("last-modified", "Wed, 25 Nov 2026 12:00:00 GMT");
        answer.body(Full::from(content(size))).unwrap()
    };
    StandIn::saying(move |asked| (asked.operation == "GetObject").then(whole)).await
}

#[tokio::test]
async fn of_a_store_that_ignores_ranges_the_range_comes_that_was_asked_for() {
    let (size, whole) = (20 * MIB, content(20 * MIB));
    let stand_in = without_ranges(size).await;
    let store = s3_store(stand_in.settings(), 64 * MIB).await;
    for (range, begins, ends) in [
        (None, 0, size),
        (Some(ByteRange::Within(0, 9)), 0, 10),
        (Some(ByteRange::Within(5, 18 * MIB as u64)), 5, 18 * MIB + 1),
        (Some(ByteRange::From(19 * MIB as u64)), 19 * MIB, size),
        (Some(ByteRange::Last(3)), size - 3, size),
    ] {
        let object = store.get(&"it".parse().unwrap(), range, PATIENCE).await.unwrap().unwrap();

        assert_eq!((object.meta.size, object.offset, object.length), (size as u64, begins as u64, (ends - begins) as u64));
        assert!(collect(object).await.unwrap() == whole[begins..ends], "{range:?}: other bytes");
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_resumed_though_the_store_ignores_ranges() {
    let stand_in = without_ranges(20 * MIB).await;
    let door = Door::open(ports::v4(stand_in.address));
    let asked = AtomicUsize::new(0);
    door.trouble(move |_| {
        let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        is_first.then_some(Fault::Answer(Strike { share: 0.5, how: How::BreaksOff }))
    });
    let settings = S3Settings { endpoint: Some(format!("http://{}", door.address)), ..stand_in.settings() };
    let store = s3_store(settings, 64 * MIB).await;

    let object = store.get(&"it".parse().unwrap(), None, PATIENCE).await.unwrap().unwrap();

    assert!(collect(object).await.unwrap() == content(20 * MIB), "other bytes");
    assert_eq!(stand_in.operations(), ["GetObject"; 2]);
}
