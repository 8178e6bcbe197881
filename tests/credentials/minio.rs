//! Credentials that a real server issues, narrows and takes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use longshore::credentials::{AssumeRole, Scope, Source, session_policy};
use longshore::store::{Misconfiguration, ObjectStore, S3Settings, StoreError};
use tokio::sync::OnceCell;

use crate::support::mc::{Admin, fresh_id};
use crate::support::minio::{ACCESS_KEY_ID, Minio, SECRET_ACCESS_KEY};
use crate::support::token_service::short_lived_role;
use crate::support::{s3_server, scratch};
use crate::world::{MIB, PATIENCE, ROLE, around, role, settings, stated, store};

pub const BUCKET: &str = "credentials";

/// The one MinIO of this process, with a [`BUCKET`].
pub async fn minio() -> &'static Minio {
    static BUCKETS: OnceCell<()> = OnceCell::const_new();
    let minio = s3_server::minio().await;
    BUCKETS.get_or_init(|| async { minio.make_bucket(BUCKET) }).await;
    minio
}

pub async fn admin() -> Arc<Admin> {
    Arc::new(Admin::of(minio().await.address))
}

/// A role with this session policy. MinIO does not mind which: the session may do what the base keys may, and those everything.
fn session(endpoint: String, policy: Option<String>) -> Source {
    let role = role(endpoint, stated(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    Source::AssumeRole(Box::new(AssumeRole { duration: Some(Duration::from_mins(15)), policy, ..role }))
}

async fn whole(store: &dyn ObjectStore, key: &str) -> usize {
    let object = store.get(&key.parse().unwrap(), None, PATIENCE).await.unwrap().unwrap();
    object.body.try_fold(0, async |sum, chunk| Ok(sum + chunk.len())).await.unwrap()
}

async fn write(store: &dyn ObjectStore, key: &str, size: usize) -> Result<String, StoreError> {
    let mut upload = store.upload(&key.parse().unwrap(), Some(size as u64), PATIENCE).await?;
    for _ in 0..size / MIB {
        upload.write(vec![7; MIB].into()).await?;
    }
    upload.finish(None).await
}

#[tokio::test]
async fn a_session_that_is_narrowed_is_refused_outside_its_prefix() {
    let address = minio().await.address;
    let policy = session_policy(&Scope { role_arn: ROLE, bucket: BUCKET, prefix: "team-a", kms_key: None, also: &[] });
    let narrowed = |prefix: &str| {
        let credentials = session(format!("http://{address}"), Some(policy.clone()));
        S3Settings { prefix: prefix.to_owned(), ..settings(address, BUCKET, credentials) }
    };
    let inside = store(narrowed("team-a"), &around(&[])).await;
    let key = "it".parse().unwrap();

    inside.probe(PATIENCE).await.unwrap();
    inside.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();
    write(&inside, "large", 20 * MIB).await.unwrap();
    assert_eq!(whole(&inside, "large").await, 20 * MIB);
    // No younger within the second, so it is waited for.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(inside.touch(&key, PATIENCE).await.unwrap());
    assert_eq!(inside.list("", None, PATIENCE).await.unwrap().objects.len(), 2);
    assert!(inside.unfinished("it", std::time::SystemTime::now(), PATIENCE).await.unwrap().is_none());
    inside.delete(&key, PATIENCE).await.unwrap();
    assert!(inside.head(&key, PATIENCE).await.unwrap().is_none());

    for prefix in ["team-b", "team-a2", ""] {
        let outside = store(narrowed(prefix), &around(&[])).await;
        for outcome in [
            outside.put(&key, "hello".into(), "text/plain", PATIENCE).await,
            outside.delete(&key, PATIENCE).await,
            outside.list("", None, PATIENCE).await.map(drop),
        ] {
            assert!(matches!(outcome, Err(StoreError::Denied(_))), "{prefix:?}: {outcome:?}");
        }
    }
}

/// Reads and writes objects of `store` until `is_over`; how many, none of which may fail.
async fn load(store: &dyn ObjectStore, name: usize, is_over: &AtomicBool) -> usize {
    let key = format!("load/{name}").parse().unwrap();
    let mut rounds = 0;
    while !is_over.load(Ordering::SeqCst) {
        store.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();
        assert!(store.head(&key, PATIENCE).await.unwrap().is_some());
        assert_eq!(whole(store, key.as_str()).await, 5);
        store.list("load/", None, PATIENCE).await.unwrap();
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_rotated_under_a_running_load_fail_nothing() {
    let (address, admin, folder) = (minio().await.address, admin().await, scratch("rotated"));
    let file = folder.path().join("credentials");
    let state = |id: &str| {
        let next = folder.path().join("next");
        std::fs::write(&next, format!("[a]\naws_access_key_id={id}\naws_secret_access_key=secret-{id}\n")).unwrap();
        std::fs::rename(&next, &file).unwrap();
    };
    let source = Source::File { path: Some(file.clone()), section: "a".to_owned() };
    let mut ids = vec![fresh_id()];
    admin.add_key(&ids[0], &format!("secret-{}", ids[0]));
    state(&ids[0]);
    let (store, is_over) =
        (Arc::new(store(settings(address, BUCKET, source), &around(&[])).await), Arc::new(AtomicBool::new(false)));
    let loads: Vec<_> = (0..8)
        .map(|name| {
            let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
            tokio::spawn(async move { load(&*store, name, &is_over).await })
        })
        .collect();

    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (id, last) = (fresh_id(), ids.last().unwrap().clone());
        let admin = Arc::clone(&admin);
        let (added, removed) = (id.clone(), last.clone());
        tokio::task::block_in_place(|| {
            admin.add_key(&added, &format!("secret-{added}"));
            state(&added);
            admin.remove_key(&removed);
        });
        ids.push(id);
        // No sooner than a source is read again for a refusal.
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    is_over.store(true, Ordering::SeqCst);

    for load in loads {
        assert!(load.await.unwrap() > 3);
    }
}

#[tokio::test]
async fn keys_that_are_gone_and_have_no_successor_are_told_by_their_name() {
    let (address, admin) = (minio().await.address, admin().await);
    let id = fresh_id();
    admin.add_key(&id, "a-marked-secret");
    let store = store(settings(address, BUCKET, stated(&id, "a-marked-secret")), &around(&[])).await;
    store.probe(PATIENCE).await.unwrap();
    admin.remove_key(&id);

    for outcome in [store.probe(PATIENCE).await, store.list("", None, PATIENCE).await.map(drop)] {
        let Err(StoreError::Misconfigured(mistake)) = outcome else { panic!("{outcome:?}") };
        let endpoint = format!("http://{address}");
        assert_eq!(mistake, Misconfiguration::UnknownAccessKey { access_key_id: id.clone(), endpoint });
    }
}

// The answer to a HEAD says only that it was refused.
#[tokio::test]
async fn a_head_whose_key_is_gone_is_asked_once_more_with_its_successor() {
    let (address, admin, folder) = (minio().await.address, admin().await, scratch("head"));
    let file = folder.path().join("credentials");
    let state = |id: &str| std::fs::write(&file, format!("[a]\naws_access_key_id={id}\naws_secret_access_key=secret-{id}\n"));
    let (old, new) = (fresh_id(), fresh_id());
    for id in [&old, &new] {
        admin.add_key(id, &format!("secret-{id}"));
    }
    state(&old).unwrap();
    let source = Source::File { path: Some(file.clone()), section: "a".to_owned() };
    let store = store(settings(address, BUCKET, source), &around(&[])).await;
    let key = "it".parse().unwrap();
    store.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();

    state(&new).unwrap();
    admin.remove_key(&old);

    assert!(store.head(&key, PATIENCE).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_takes_longer_than_its_keys_hold_does_not_notice() {
    const LIFETIME: Duration = Duration::from_secs(20);
    let issuer = short_lived_role(admin().await, "secret-of-a-session", LIFETIME).await;
    let store = Arc::new(store(settings(minio().await.address, BUCKET, session(issuer.url(), None)), &around(&[])).await);
    let (began, size) = (Instant::now(), 45);

    // A client that sends a part's worth a second or so, and others beside it.
    let is_over = Arc::new(AtomicBool::new(false));
    let beside = {
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        tokio::spawn(async move { load(&*store, 100, &is_over).await })
    };
    let mut upload = store.upload(&"slow".parse().unwrap(), Some((size * MIB) as u64), PATIENCE).await.unwrap();
    for _ in 0..size {
        upload.write(vec![7; MIB].into()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    upload.finish(None).await.unwrap();
    is_over.store(true, Ordering::SeqCst);

    assert!(beside.await.unwrap() > 10);
    assert_eq!(whole(&*store, "slow").await, size * MIB);
    let handed_out = issuer.asked().len();
    assert!(began.elapsed() > 2 * LIFETIME && (3..=6).contains(&handed_out), "{handed_out}");
}
