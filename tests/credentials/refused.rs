//! What a bucket says of keys that it does not take, and who has others by then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use longshore::credentials::Source;
use longshore::store::{ObjectStore, StoreError};

use crate::support::issuer::Issuer;
use crate::support::scratch;
use crate::world::{PATIENCE, around, settings, store};

/// A file with the key `old`, a bucket that takes it until it is told to refuse it with `status` and `code`, and how they
/// go on: with the key `new` in the file, or not. What a request comes to then, and how often the bucket was asked.
async fn refused(status: u16, code: &'static str, has_successor: bool, patience: Duration) -> (Result<(), StoreError>, usize) {
    let folder = scratch("refused");
    let file = folder.path().join("credentials");
    let state = |id| std::fs::write(&file, format!("[a]\naws_access_key_id={id}\naws_secret_access_key=secret\n")).unwrap();
    let is_refusing = Arc::new(AtomicBool::new(false));
    let refuses = Arc::clone(&is_refusing);
    let bucket = Issuer::start(move |asked| {
        let is_old = asked.header("authorization").contains("Credential=old/");
        if is_old && refuses.load(Ordering::SeqCst) {
            (status, format!("<Error><Code>{code}</Code><Message>detail</Message></Error>"))
        } else {
            (204, String::new())
        }
    })
    .await;
    let source = Source::File { path: Some(file.clone()), section: "a".to_owned() };
    let store = store(settings(bucket.address, "bucket", source), &around(&[])).await;
    static KEY: LazyLock<longshore::store::Key> = LazyLock::new(|| "it".parse().unwrap());
    state("old");
    store.delete(&KEY, PATIENCE).await.unwrap();
    is_refusing.store(true, Ordering::SeqCst);
    if has_successor {
        state("new");
    }

    let outcome = store.delete(&KEY, patience).await;

    (outcome, bucket.asked().len() - 1)
}

#[tokio::test]
async fn every_word_for_a_key_that_is_not_taken_makes_its_source_be_read_and_the_request_be_made_again() {
    for (status, code) in [
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (400, "ExpiredToken"),
        (403, "ExpiredTokenException"),
        (400, "TokenRefreshRequired"),
        (400, "InvalidToken"),
        (403, "InvalidTokenId"),
        (403, "InvalidClientTokenId"),
        (403, "InvalidSecurity"),
        (403, "XAdminUserNotFound"),
        (401, "AuthenticationRequired"),
        (401, ""),
        (400, ""),
    ] {
        let (outcome, asked) = refused(status, code, true, PATIENCE).await;

        assert!(outcome.is_ok() && asked == 2, "{status} {code}: {outcome:?}, asked {asked} times");
    }
}

#[tokio::test]
async fn what_is_refused_for_something_else_is_not_asked_again() {
    let (outcome, asked) = refused(403, "AccessDenied", true, PATIENCE).await;

    assert!(matches!(outcome, Err(StoreError::Denied(_))), "{outcome:?}");
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn a_key_without_a_successor_is_an_error_at_once_and_an_expired_one_is_waited_for() {
    let (unknown, asked) = refused(403, "InvalidAccessKeyId", false, PATIENCE).await;
    assert!(matches!(unknown, Err(StoreError::Misconfigured(_))), "{unknown:?}");
    assert_eq!(asked, 1);

    let (expired, asked) = refused(400, "ExpiredToken", false, Duration::from_secs(1)).await;
    assert!(matches!(expired, Err(StoreError::Unavailable(_))), "{expired:?}");
    assert!(asked > 2, "asked {asked} times");
}
