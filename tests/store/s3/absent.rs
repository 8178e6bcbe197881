//! What is there and cannot be read, and what is refused and is not there.

use http::Response;
use http_body_util::Full;
use longshore::store::{ObjectStore, S3Store, StoreError};

use super::stand_in::{Answer, Asked, StandIn, error};
use crate::bench::{MIB, PATIENCE, s3_store};

/// A bucket that refuses to let objects be read, and answers a listing with `listing`, if it has anything to say to that.
async fn refusing(listing: fn() -> Option<Answer>) -> (StandIn, S3Store) {
    let stand_in = StandIn::saying(move |asked: &Asked| match asked.operation {
        "HeadObject" => Some(Response::builder().status(403).body(Full::default()).unwrap()),
        "GetObject" => Some(error(403, "AccessDenied")),
        "ListObjectsV2" => listing(),
        _ => None,
    })
    .await;
    let store = s3_store(stand_in.settings(), MIB).await;
    (stand_in, store)
}

/// What a HEAD and a GET come to: `Some` is an object, `None` absence.
async fn look(store: &S3Store) -> [Result<Option<()>, StoreError>; 2] {
    let key = "it".parse().unwrap();
    let head = store.head(&key, PATIENCE).await.map(|found| found.map(drop));
    [head, store.get(&key, None, PATIENCE).await.map(|found| found.map(drop))]
}

#[tokio::test]
async fn what_is_refused_is_absent_where_we_may_not_list_and_that_is_asked_once() {
    let (stand_in, store) = refusing(|| Some(error(403, "AccessDenied"))).await;

    for _ in 0..3 {
        for outcome in look(&store).await {
            assert!(matches!(outcome, Ok(None)), "{outcome:?}");
        }
    }
    let both = tokio::join!(look(&store), look(&store));
    assert!(matches!(both, ([Ok(None), Ok(None)], [Ok(None), Ok(None)])), "{both:?}");

    let listings: Vec<_> = stand_in.asked().into_iter().filter(|asked| asked.operation == "ListObjectsV2").collect();
    assert_eq!(listings.len(), 1);
    let prefix = stand_in.settings().prefix;
    assert!(listings[0].target.contains("max-keys=1"), "{}", listings[0].target);
    assert!(listings[0].target.contains("prefix=") && !prefix.is_empty(), "{}", listings[0].target);
}

#[tokio::test]
async fn what_is_refused_stays_refused_where_we_may_list_or_cannot_know() {
    for (listing, listings) in [((|| None) as fn() -> Option<Answer>, 1), (|| Some(error(400, "Teapot")), 4)] {
        let (stand_in, store) = refusing(listing).await;

        for _ in 0..2 {
            for outcome in look(&store).await {
                assert!(matches!(outcome, Err(StoreError::Denied(_))), "{outcome:?}");
            }
        }

        let asked = stand_in.operations().into_iter().filter(|operation| *operation == "ListObjectsV2").count();
        assert_eq!(asked, listings);
    }
}

#[tokio::test]
async fn a_write_that_is_refused_is_refused_whether_or_not_we_may_list() {
    let stand_in = StandIn::saying(|_| Some(error(403, "AccessDenied"))).await;
    let store = s3_store(stand_in.settings(), MIB).await;

    let outcome = store.put(&"it".parse().unwrap(), "hello".into(), "text/plain", PATIENCE).await;

    assert!(matches!(outcome, Err(StoreError::Denied(_))), "{outcome:?}");
    assert_eq!(stand_in.operations(), ["PutObject"]);
}

#[tokio::test]
async fn what_is_archived_is_absent_until_it_is_restored() {
    const HEADERS: [&str; 3] = ["x-amz-storage-class", "x-amz-restore", "x-amz-archive-status"];
    for (values, is_there) in [
        (["GLACIER", "", ""], false),
        (["DEEP_ARCHIVE", "", ""], false),
        (["GLACIER", "ongoing-request=\"true\"", ""], false),
        (["GLACIER", "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"", ""], true),
        (["INTELLIGENT_TIERING", "", "ARCHIVE_ACCESS"], false),
        (["INTELLIGENT_TIERING", "", "DEEP_ARCHIVE_ACCESS"], false),
        (["INTELLIGENT_TIERING", "", ""], true),
        (["GLACIER_IR", "", ""], true),
        (["", "", ""], true),
    ] {
        let stand_in = StandIn::saying(move |asked: &Asked| {
            let mut answer = Response::builder().header("etag", "\"etag\"").header("content-length", "5");
            answer = answer.header("last-modified", "Wed, 25 Nov 2026 12:00:00 GMT");
            for (name, value) in HEADERS.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
                answer = answer.header(*name, value);
            }
            match asked.operation {
                "HeadObject" => Some(answer.body(Full::default()).unwrap()),
                "GetObject" | "CopyObject" if !is_there => Some(error(403, "InvalidObjectState")),
                _ => None,
            }
        })
        .await;
        let store = s3_store(stand_in.settings(), MIB).await;

        let outcomes = look(&store).await;

        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Ok(found) if found.is_some() == is_there)),
            "{values:?} {outcomes:?}"
        );
        let copied = store.copy(&"it".parse().unwrap(), "\"etag\"", &"other".parse().unwrap(), PATIENCE).await;
        assert_eq!(copied.unwrap(), is_there, "{values:?}");
        assert!(!stand_in.operations().contains(&"ListObjectsV2"), "a refusal that says why needs no listing");
    }
}

/// A listing of these keys and storage classes.
fn listing(objects: &[(String, &str)], is_truncated: bool) -> Answer {
    let objects: String = objects
        .iter()
        .map(|(key, class)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-25T12:00:00Z</LastModified><ETag>\"e\"</ETag>\
                 <Size>5</Size><StorageClass>{class}</StorageClass></Contents>"
            )
        })
        .collect();
    let body = format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{objects}</ListBucketResult>");
    Response::new(Full::from(body))
}

#[tokio::test]
async fn a_listing_passes_over_what_is_archived_even_a_whole_page_of_it() {
    let stand_in = StandIn::saying(|asked: &Asked| {
        let (_, query) = asked.target.split_once('?')?;
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="))?.replace("%2F", "/");
        let key = |name: &str| format!("{prefix}{name}");
        Some(if query.contains("start-after=") {
            listing(&[(key("c"), "STANDARD"), (key("d"), "DEEP_ARCHIVE")], false)
        } else {
            listing(&[(key("a"), "GLACIER"), (key("b"), "DEEP_ARCHIVE")], true)
        })
    })
    .await;
    let store = s3_store(stand_in.settings(), MIB).await;

    let page = store.list("", None, PATIENCE).await.unwrap();

    let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!((keys, page.is_truncated), (vec!["c"], false));
}
