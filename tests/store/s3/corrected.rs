//! What we had wrong and the store puts right: its region, and the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::Full;
use longshore::store::{Misconfiguration, ObjectStore, S3Settings, StoreError};

use super::stand_in::{Answer, Asked, StandIn, error};
use crate::bench::{MIB, PATIENCE, minio, s3_store, settings};

/// The region that a request was signed for.
fn region(asked: &Asked) -> &str {
    asked.header("authorization").and_then(|text| text.split('/').nth(2)).unwrap_or_default()
}

fn redirect(status: u16, header: Option<&str>, body: &str) -> Answer {
    let answer = Response::builder().status(status).header("content-type", "application/xml");
    let answer = match header {
        Some(region) => answer.header("x-amz-bucket-region", region),
        None => answer,
    };
    answer.body(Full::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn a_wrong_region_is_corrected_by_what_the_store_says() {
    const MALFORMED: &str = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
    for (status, header, body) in [
        (301, Some("eu-west-1"), "<Error><Code>PermanentRedirect</Code></Error>"),
        (400, Some("eu-west-1"), ""),
        (400, None, MALFORMED),
    ] {
        let stand_in = StandIn::saying(move |asked| (region(asked) != "eu-west-1").then(|| redirect(status, header, body))).await;
        let store = Arc::new(s3_store(stand_in.settings(), MIB).await);
        let key = "it".parse().unwrap();

        // Several at once, of which each learns it by itself.
        let (one, other) = tokio::join!(store.get(&key, None, PATIENCE), store.get(&key, None, PATIENCE));
        assert!(one.unwrap().is_some() && other.unwrap().is_some(), "{status} {header:?}");
        store.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();

        let asked = stand_in.asked();
        assert_eq!(region(asked.last().unwrap()), "eu-west-1");
        assert!(asked.len() <= 5, "{:?}", stand_in.operations());
    }
}

#[tokio::test]
async fn a_region_that_is_corrected_and_still_wrong_is_a_mistake() {
    for (header, expected) in [(Some("eu-west-1"), Some("eu-west-1")), (None, None), (Some("evil.example/"), None)] {
        let stand_in = StandIn::saying(move |_| Some(redirect(301, header, ""))).await;
        let store = s3_store(stand_in.settings(), MIB).await;

        for _ in 0..2 {
            let probed = store.probe(PATIENCE).await;

            let Err(StoreError::Misconfigured(Misconfiguration::WrongRegion { expected: told, .. })) = probed else {
                panic!("{header:?}: {probed:?}")
            };
            assert_eq!(told.as_deref(), expected);
        }
        assert_eq!(stand_in.asked().len(), if expected.is_some() { 3 } else { 2 }, "{header:?}");
    }
}

#[tokio::test]
async fn a_region_that_minio_has_otherwise_is_corrected() {
    let settings = settings(minio().await.address);
    let store = s3_store(S3Settings { region: "eu-central-1".to_owned(), ..settings }, MIB).await;

    store.probe(PATIENCE).await.unwrap();
    store.put(&"it".parse().unwrap(), "hello".into(), "text/plain", PATIENCE).await.unwrap();
}

/// When a request says that it was signed, by the hour.
fn hour_signed(asked: &Asked) -> &str {
    &asked.header("x-amz-date").unwrap()[..11]
}

#[tokio::test]
async fn a_clock_that_is_off_is_corrected_by_the_store_s() {
    for code in ["RequestTimeTooSkewed", ""] {
        let stand_in = StandIn::saying(move |asked| {
            let is_skewed = !hour_signed(asked).starts_with("20300102T03");
            let mut answer = match (is_skewed, code) {
                (false, _) => Response::builder()
                    .header("etag", "\"e\"")
                    .header("content-length", "5")
                    .header("last-modified", "Wed, 25 Nov 2026 12:00:00 GMT")
                    .body(Full::default())
                    .unwrap(),
                (true, "") => Response::builder().status(403).body(Full::default()).unwrap(),
                (true, code) => error(403, code),
            };
            answer.headers_mut().insert("date", "Wed, 02 Jan 2030 03:30:00 GMT".parse().unwrap());
            Some(answer)
        })
        .await;
        let store = s3_store(stand_in.settings(), MIB).await;
        let began = Instant::now();

        let found = store.head(&"it".parse().unwrap(), PATIENCE).await.unwrap();

        assert!(found.is_some() && began.elapsed() < PATIENCE / 2);
        assert_eq!(stand_in.operations(), ["HeadObject", "HeadObject"], "{code:?}");
    }
}

#[tokio::test]
async fn a_refusal_to_a_request_of_the_right_time_is_not_about_time_though_our_clock_is_off() {
    let stand_in = StandIn::saying(|asked| {
        let mut answer = match asked.operation {
            "HeadObject" => Response::builder().status(403).body(Full::default()).unwrap(),
            _ => error(403, "AccessDenied"),
        };
        answer.headers_mut().insert("date", "Wed, 02 Jan 2030 03:30:00 GMT".parse().unwrap());
        Some(answer)
    })
    .await;
    let store = s3_store(stand_in.settings(), MIB).await;
    // From this the store's time is known.
    store.probe(PATIENCE).await.unwrap_err();

    let found = store.head(&"it".parse().unwrap(), PATIENCE).await;

    assert!(matches!(found, Ok(None)), "{found:?}");
    assert_eq!(stand_in.operations(), ["GetObject", "ListObjectsV2", "HeadObject"]);
}

#[tokio::test]
async fn a_store_whose_clock_goes_wrong_for_a_moment_is_followed_and_left_again() {
    let asked = AtomicUsize::new(0);
    let stand_in = StandIn::saying(move |request| {
        let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
        let is_off = hour_signed(request).starts_with("20300102T03");
        (is_first || is_off).then(|| {
            let mut answer = Response::builder().status(403).body(Full::default()).unwrap();
            if is_first {
                answer.headers_mut().insert("date", "Wed, 02 Jan 2030 03:30:00 GMT".parse().unwrap());
            }
            answer
        })
    })
    .await;
    let store = s3_store(stand_in.settings(), MIB).await;

    let found = store.head(&"it".parse().unwrap(), PATIENCE).await;

    assert!(matches!(found, Ok(Some(_))), "{found:?}");
    assert_eq!(stand_in.operations(), ["HeadObject"; 3]);
}

#[tokio::test]
async fn keys_that_have_expired_are_waited_for() {
    for operation in ["HeadObject", "GetObject"] {
        let asked = AtomicUsize::new(0);
        let stand_in = StandIn::saying(move |request| {
            // The answer to a HEAD has no body to say why.
            let code = if request.operation == "HeadObject" { "" } else { "ExpiredToken" };
            (asked.fetch_add(1, Ordering::SeqCst) < 3).then(|| error(400, code))
        })
        .await;
        let (store, key) = (s3_store(stand_in.settings(), MIB).await, "it".parse().unwrap());

        let is_found = match operation {
            "HeadObject" => store.head(&key, PATIENCE).await.unwrap().is_some(),
            _ => store.get(&key, None, PATIENCE).await.unwrap().is_some(),
        };

        assert!(is_found, "{operation}");
        assert_eq!(stand_in.operations(), [operation; 4]);
    }
}

#[tokio::test]
async fn a_store_that_wants_a_name_written_less_often_gets_it_in_the_end() {
    for (status, code) in [(429, "SlowDown"), (429, ""), (503, "SlowDown"), (503, "SlowDownWrite")] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let stand_in = StandIn::saying(move |_| (count.fetch_add(1, Ordering::SeqCst) < 4).then(|| error(status, code))).await;
        let store = s3_store(stand_in.settings(), MIB).await;

        store.put(&"it".parse().unwrap(), "hello".into(), "text/plain", Duration::from_secs(20)).await.unwrap();

        assert_eq!(asked.load(Ordering::SeqCst), 5, "{status} {code}");
    }
}
