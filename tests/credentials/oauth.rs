//! Google's store by OAuth: requests carry a token, and nothing of Amazon's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use longshore::credentials::Source;
use longshore::store::{ObjectStore, S3Encryption, S3Kind, S3Objects, S3Settings, StoreError};

use crate::google;
use crate::support::client;
use crate::support::issuer::Issuer;
use crate::support::strict::{BUCKET, Kind, Strict};
use crate::world::{MIB, PATIENCE, around, settings, store};

const HOUR: Duration = Duration::from_hours(1);

/// A store of Google's that takes the tokens `token-N` from `N` on.
fn google_from(least: Arc<AtomicUsize>) -> Strict {
    Strict::bearing(Kind::Gcs, move |token| {
        let number = token.strip_prefix("token-").and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| number >= least.load(Ordering::SeqCst))
    })
}

/// A metadata server that hands out `token-1`, `token-2` and so on.
async fn metadata_server() -> Issuer {
    let next = AtomicUsize::new(1);
    Issuer::start(move |_| google::token(&format!("token-{}", next.fetch_add(1, Ordering::SeqCst)), HOUR)).await
}

fn at(strict: &Strict) -> S3Settings {
    let kind = S3Kind::GCS;
    S3Settings { kind, region: "auto".to_owned(), ..settings(strict.address, BUCKET, Source::GoogleMetadata) }
}

async fn read(store: &dyn ObjectStore, key: &str) -> Option<Vec<u8>> {
    let object = store.get(&key.parse().unwrap(), None, PATIENCE).await.unwrap()?;
    let chunks: Vec<_> = object.body.try_collect().await.unwrap();
    Some(chunks.concat())
}

#[tokio::test]
async fn everything_works_with_a_token_and_in_googles_words() {
    let (strict, issuer) = (google_from(Arc::default()), metadata_server().await);
    let objects = S3Objects {
        encryption: Some(S3Encryption::Customer(vec![7; 32].into())),
        storage_class: Some("NEARLINE".to_owned()),
        ..S3Objects::default()
    };
    let store =
        store(S3Settings { objects, ..at(&strict) }, &around(&[("GCE_METADATA_HOST", &issuer.address.to_string())])).await;
    let (small, large) = ("small".parse().unwrap(), "large".parse().unwrap());

    store.probe(PATIENCE).await.unwrap();
    store.put(&small, "hello".into(), "text/plain", PATIENCE).await.unwrap();
    let mut upload = store.upload(&large, Some(20 * MIB as u64), PATIENCE).await.unwrap();
    for _ in 0..20 {
        upload.write(vec![5; MIB].into()).await.unwrap();
    }
    upload.finish(None).await.unwrap();
    let etag = store.head(&small, PATIENCE).await.unwrap().unwrap().etag;
    assert!(store.copy(&small, &etag, &"copy".parse().unwrap(), PATIENCE).await.unwrap());
    assert!(!store.copy(&small, "\"another\"", &"copy".parse().unwrap(), PATIENCE).await.unwrap());
    // No younger within the second, so it is waited for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(store.touch(&small, PATIENCE).await.unwrap());

    assert_eq!(read(&store, "copy").await.unwrap(), b"hello");
    assert!(read(&store, "large").await.unwrap() == vec![5; 20 * MIB]);
    let meta = store.head(&small, PATIENCE).await.unwrap().unwrap();
    assert_eq!((meta.size, meta.content_type.as_str()), (5, "text/plain"));
    assert_eq!(store.list("", None, PATIENCE).await.unwrap().objects.len(), 3);
    store.delete(&small, PATIENCE).await.unwrap();
    assert_eq!(read(&store, "small").await, None);
    assert_eq!(issuer.asked().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_refused_is_fetched_once_more() {
    let least = Arc::new(AtomicUsize::new(1));
    let (strict, issuer) = (google_from(Arc::clone(&least)), metadata_server().await);
    let store = store(at(&strict), &around(&[("GCE_METADATA_HOST", &issuer.address.to_string())])).await;
    let key = "it".parse().unwrap();
    store.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();

    least.store(2, Ordering::SeqCst);
    assert!(store.head(&key, PATIENCE).await.unwrap().is_some(), "an answer without a body");
    assert_eq!(issuer.asked().len(), 2);

    least.store(usize::MAX, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let refused = store.head(&key, PATIENCE).await;
    assert!(matches!(refused, Err(StoreError::Denied(_))), "{refused:?}");
    assert_eq!(issuer.asked().len(), 3);
}

#[tokio::test]
async fn the_stand_in_refuses_amazons_words_beside_a_token_and_who_has_none() {
    const TOKEN: (&str, &str) = ("authorization", "Bearer token-1");
    let strict = google_from(Arc::new(AtomicUsize::new(1)));
    for (headers, status) in [
        (&[TOKEN][..], 404),
        (&[TOKEN, ("x-goog-meta-a", "b")], 404),
        (&[TOKEN, ("x-amz-date", "20261125T000000Z")], 400),
        (&[TOKEN, ("x-goog-date", "20261125T000000Z")], 400),
        (&[("authorization", "AWS4-HMAC-SHA256 Credential=id/20261125/auto/s3/aws4_request")], 400),
        (&[("authorization", "Bearer token-0")], 401),
        (&[], 401),
    ] {
        let mut request = http::Request::get(format!("/{BUCKET}/it"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }

        let answer = client::send(strict.address, request.body(bytes::Bytes::new()).unwrap()).await;

        assert_eq!(answer.status.as_u16(), status, "{headers:?}: {answer:?}");
    }
}
