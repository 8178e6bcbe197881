//! A store whose credentials cannot be had: who waits for them, for how long, and what is said.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use longshore::credentials::Source;
use longshore::store::{Misconfiguration, ObjectStore, S3Settings, S3Store, StoreError};

use crate::google;
use crate::support::issuer::{Answer, Asked, Issuer, role_error, role_keys};
use crate::world::{PATIENCE, around, role, settings, stated, store};

const HOUR: Duration = Duration::from_hours(1);

/// A role that `issuer` gives.
fn given_by(issuer: &Issuer) -> Source {
    Source::AssumeRole(Box::new(role(issuer.url(), stated("base", "secret"))))
}

/// An issuer, a bucket which takes whatever it gets, and the store that has the role of the one for the other.
struct Scene {
    issuer: Issuer,
    bucket: Issuer,
    store: S3Store,
}

impl Scene {
    async fn set(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let (issuer, bucket) = (Issuer::start(answer).await, Issuer::start(|_| (200, String::new())).await);
        let settings = settings(bucket.address, "bucket", given_by(&issuer));
        Self { issuer, bucket, store: store(settings, &around(&[])).await }
    }

    async fn issuing() -> Self {
        Self::set(|_| role_keys("AssumeRole", ["id", "secret", "token"], HOUR)).await
    }

    async fn delete(&self, patience: Duration) -> Result<(), StoreError> {
        self.store.delete(&"it".parse().unwrap(), patience).await
    }
}

#[tokio::test]
async fn an_outage_of_the_source_is_waited_out_and_not_taken_for_the_store_s() {
    let scene = Scene::issuing().await;
    scene.issuer.is_down(true);
    let began = Instant::now();

    let (hasty, patient, ()) = tokio::join!(scene.delete(Duration::from_secs(2)), scene.delete(PATIENCE), async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(scene.bucket.asked().is_empty(), "nothing is asked without keys");
        scene.issuer.is_down(false);
    });

    let Err(error @ StoreError::NoCredentials(_)) = hasty else { panic!("{hasty:?}") };
    assert_eq!(error.to_string(), "profile \"team-a\" has no credentials for its storage");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("assume-role: it answered 503"), "{source}");
    patient.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_has_little_patience_does_not_wait_longer_for_a_source_that_says_nothing() {
    let scene = Scene::set(|_| {
        std::thread::sleep(Duration::from_secs(8));
        role_keys("AssumeRole", ["id", "secret", "token"], HOUR)
    })
    .await;
    // So many as would make a store that says nothing count as down.
    for patience in [Duration::from_secs(4), Duration::from_secs(1)] {
        let began = Instant::now();

        let all = futures_util::future::join_all((0..4).map(|_| scene.delete(patience))).await;

        assert!(all.iter().all(|outcome| matches!(outcome, Err(StoreError::NoCredentials(_)))), "{all:?}");
        assert!(began.elapsed() < patience + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    // It was not asked in vain: what it says at last is for whoever still waits.
    scene.delete(PATIENCE).await.unwrap();
    assert_eq!(scene.issuer.asked().len(), 1);
}

#[tokio::test]
async fn what_a_person_must_mend_is_told_at_once_and_stops_the_start() {
    let scene = Scene::set(|_| role_error(403, "AccessDenied")).await;
    let began = Instant::now();

    let (deleted, probed) = (scene.delete(PATIENCE).await, scene.store.probe(PATIENCE).await);

    assert!(matches!(deleted, Err(StoreError::NoCredentials(_))), "{deleted:?}");
    let Err(StoreError::Misconfigured(mistake @ Misconfiguration::NoCredentials { .. })) = probed else { panic!("{probed:?}") };
    assert_eq!(mistake.to_string(), "no credentials: assume-role: it answered 403 AccessDenied: detail");
    assert!(began.elapsed() < PATIENCE / 2 && scene.bucket.asked().is_empty());
}

#[tokio::test]
async fn keys_that_the_store_refuses_again_and_again_do_not_hammer_their_source() {
    let number = AtomicUsize::new(0);
    let issuer = Issuer::start(move |_| {
        let id = format!("id-{}", number.fetch_add(1, Ordering::SeqCst));
        role_keys("AssumeRole", [&id, "secret", "token"], HOUR)
    })
    .await;
    let refusing = Issuer::start(|_| (403, "<Error><Code>InvalidAccessKeyId</Code></Error>".to_owned())).await;
    let store = store(settings(refusing.address, "bucket", given_by(&issuer)), &around(&[])).await;

    for _ in 0..10 {
        let outcome = store.delete(&"it".parse().unwrap(), PATIENCE).await;
        assert!(matches!(outcome, Err(StoreError::Misconfigured(Misconfiguration::UnknownAccessKey { .. }))), "{outcome:?}");
    }

    // Once for the first refusal, whose request was made again with what came of it.
    assert_eq!((issuer.asked().len(), refusing.asked().len()), (2, 11));
}

#[tokio::test]
async fn a_token_that_cannot_be_had_is_told_in_the_same_way() {
    let (issuer, bucket) = (Issuer::start(|_| google::token("token", HOUR)).await, Issuer::start(|_| (200, String::new())).await);
    issuer.is_down(true);
    let settings: S3Settings = settings(bucket.address, "bucket", Source::GoogleMetadata);
    let store = store(settings, &around(&[("GCE_METADATA_HOST", &issuer.address.to_string())])).await;

    let outcome = store.delete(&"it".parse().unwrap(), Duration::from_secs(1)).await;

    assert!(matches!(outcome, Err(StoreError::NoCredentials(_))), "{outcome:?}");
    assert!(bucket.asked().is_empty());
}
