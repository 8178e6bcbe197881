//! `longshore sweep`: what it removes, what it leaves, what it says, and how it ends.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;

use crate::support::client::{ask, send};
use crate::support::longshore::Launch;
use crate::support::minio::{ACCESS_KEY_ID, Minio, SECRET_ACCESS_KEY};
use crate::support::uploads::Uploads;
use crate::support::{ports, scratch};
use crate::{Outcome, longshore};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An upload begun in 1970.
const OLD: &str = "00000000000000000000000000000000-0000000001";

/// An upload begun within the day of the test.
fn young() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    format!("00000000000000000000000000000000-{now:010x}")
}

/// Makes a file in `folder` that is as old as `age`.
fn leave(folder: &Path, key: &str, age: Duration) {
    let path = folder.join(key);
    fs::create_dir_all(path.parent().expect("a folder")).expect("it is ours");
    fs::write(&path, "bytes").expect("it is ours");
    File::open(&path).expect("it is there").set_modified(SystemTime::now() - age).expect("it is ours");
}

/// Every file below `folder`, in order.
fn files(folder: &Path) -> Vec<String> {
    let (mut files, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("it stays")) {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => files.push(path.strip_prefix(folder).expect("below").to_str().expect("plain").to_owned()),
            }
        }
    }
    files.sort();
    files
}

/// What it said and how it ended, where nothing went wrong.
fn said(outcome: &Outcome) -> (&str, &str, Option<i32>) {
    (&outcome.stdout, &outcome.stderr, outcome.status)
}

#[test]
fn a_folder_is_swept_of_what_is_over_and_of_nothing_else() {
    let folder = scratch("sweep");
    let at = |key: &str, age| leave(folder.path(), key, age);
    let goes = [
        format!("ghcr.io/org/app/_oci/uploads/{OLD}/00000000000000000000"),
        format!("ghcr.io/org/app/_oci/uploads/{OLD}/00000000000000000005"),
        // The one who named it said that it begins today, and the store says that it did not.
        format!("only/leftovers/_oci/uploads/{}/00000000000000000000", young()),
    ];
    for key in &goes {
        at(key, 2 * DAY);
    }
    at("@tmp/dead", 2 * DAY);
    let stays = [
        "@tmp/young".to_owned(),
        "ghcr.io/org/app/_oci/tags/v1".to_owned(),
        format!("ghcr.io/org/app/_oci/uploads/{}/00000000000000000000", young()),
        "ghcr.io/org/app/blobs/sha256:00".to_owned(),
        "ghcr.io/org/app/worker/_oci/tags/v1".to_owned(),
    ];
    for key in &stays {
        at(key, if key.contains("/tags/") { 2 * DAY } else { Duration::ZERO });
    }
    let path = folder.path().to_str().expect("a plain path");
    let before = files(folder.path());

    let looked = longshore(&["sweep", path, "--dry-run"], &[]);
    let left = files(folder.path());
    let swept = longshore(&["sweep", path], &[]);
    let again = longshore(&["sweep", path], &[]);

    let images = "ghcr.io/org/app: 2 pieces\nonly/leftovers: 1 piece\nof no image: 1 unfinished upload\n";
    let total = "3 pieces and 1 unfinished upload of 2 images; 3 images seen\n";
    assert_eq!(said(&looked), (&*format!("{images}would sweep {total}"), "", Some(0)));
    assert_eq!(left, before, "only looked at");
    assert_eq!(said(&swept), (&*format!("{images}swept {total}"), "", Some(0)));
    assert_eq!(files(folder.path()), stays);
    assert_eq!(said(&again), ("swept nothing; 2 images seen\n", "", Some(0)));
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = scratch("sweep");
    let nowhere = folder.path().join("nowhere");

    let outcome = longshore(&["sweep", nowhere.to_str().expect("a plain path")], &[]);

    assert_eq!(said(&outcome), ("swept nothing; 0 images seen\n", "", Some(0)));
    assert!(!nowhere.exists());
}

/// Sweeps the bucket `cache` at `endpoint` below the prefix `team`, with the keys to MinIO.
async fn sweep(endpoint: std::net::SocketAddrV4, flags: &'static [&'static str]) -> Outcome {
    let endpoint = format!("http://{endpoint}");
    let call = move || {
        let keys = [("LONGSHORE_ACCESS_KEY_ID", ACCESS_KEY_ID), ("LONGSHORE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)];
        longshore(&[&["sweep", "s3://cache/team", "--endpoint", &endpoint], flags].concat(), &keys)
    };
    tokio::task::spawn_blocking(call).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_swept_of_pieces_of_what_is_over_and_a_push_goes_on_beside_it() {
    let minio = Minio::start().await;
    minio.make_bucket("cache");
    let server = Launch::on_bucket_at(minio.address, "cache", "team").start().await;
    let opened = ask(server.address, "POST", "/v2/app/blobs/uploads/").await;
    let patch = Request::patch(opened.header("location")).body(Bytes::from("hello")).expect("a request");
    let location = send(server.address, patch).await.header("location").to_owned();
    let rclone = minio.rclone();
    let old = |image: &str| format!("team/{image}/_oci/uploads/{OLD}/00000000000000000000");
    for key in [old("app"), old("org/leftovers"), old("app").replacen("team", "other", 1)] {
        rclone.write("cache", &key, "bytes");
    }

    let looked = sweep(minio.address, &["--dry-run"]).await;
    let swept = sweep(minio.address, &[]).await;

    let images = "app: 1 piece\norg/leftovers: 1 piece\n";
    assert_eq!(said(&looked), (&*format!("{images}would sweep 2 pieces of 2 images; 2 images seen\n"), "", Some(0)));
    assert_eq!(said(&swept), (&*format!("{images}swept 2 pieces of 2 images; 2 images seen\n"), "", Some(0)));
    let keys: Vec<_> = rclone.list("cache").into_keys().filter(|key| key.contains(OLD)).collect();
    assert_eq!(keys, [old("app").replacen("team", "other", 1)]);
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let put = Request::put(format!("{location}&digest={digest}")).body(Bytes::new()).expect("a request");
    assert_eq!(send(server.address, put).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_nobody_finished_are_aborted_only_where_uploads_write_and_when_they_are_old() {
    let bucket = Uploads::start().await;
    for (id, key, age) in [
        ("blob", "team/org/app/blobs/sha256:00", 2 * DAY),
        ("another", "team/org/app/blobs/sha256:00", 3 * DAY),
        ("piece", "team/org/app/_oci/uploads/x/00000000000000000000", 2 * DAY),
        ("nested", "team/org/app/blobs_/blobs/sha256:00", 2 * DAY),
        ("young", "team/org/app/blobs/sha256:01", DAY - Duration::from_secs(600)),
        ("tag", "team/org/app/_oci/tags/v1", 2 * DAY),
        ("foreign", "team/org/app/backup.tar", 2 * DAY),
        ("prefix", "teamwork/blobs/sha256:00", 2 * DAY),
    ] {
        bucket.leave(key, id, age);
    }
    let everything = bucket.ids().len();

    let looked = sweep(bucket.address, &["--dry-run"]).await;
    let left = bucket.ids().len();
    let swept = sweep(bucket.address, &[]).await;

    let images = "org/app: 3 unfinished uploads\norg/app/blobs: 1 unfinished upload\n";
    let total = "4 unfinished uploads of 2 images; 2 images seen\n";
    assert_eq!(said(&looked), (&*format!("{images}would sweep {total}"), "", Some(0)));
    assert_eq!(left, everything, "only looked at");
    assert_eq!(said(&swept), (&*format!("{images}swept {total}"), "", Some(0)));
    let mut ids = bucket.ids();
    ids.sort();
    assert_eq!(ids, ["foreign", "prefix", "tag", "young"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_ends_it_with_1_and_a_mistake_with_2() {
    let minio = Minio::start().await;

    let down = sweep(ports::free_address(), &["--patience", "1s"]).await;
    let no_bucket = sweep(minio.address, &[]).await;
    let no_keys = longshore(&["sweep", "s3://cache"], &[]);
    let no_store = longshore(&["sweep", "cache"], &[]);

    assert!(down.stderr.contains("s3://cache/team") && down.stderr.contains("storage unavailable: "), "{}", down.stderr);
    assert_eq!((down.status, &*down.stdout), (Some(1), ""));
    assert!(no_bucket.stderr.contains("there is no bucket \"cache\""), "{}", no_bucket.stderr);
    assert!(no_keys.stderr.contains("no keys to the bucket") && !no_keys.stderr.contains("anonymous"), "{}", no_keys.stderr);
    for outcome in [no_bucket, no_keys, no_store] {
        assert_eq!((outcome.status, &*outcome.stdout), (Some(2), ""), "{}", outcome.stderr);
    }
}
