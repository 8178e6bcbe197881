//! The printed policy, given to a user of MinIO as it is; and what is off where one action of it is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use longshore::oci::Digest;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::support::client::{Answer, ask, put_blob_request, send};
use crate::support::longshore::{Launch, Longshore};
use crate::support::mc::Admin;
use crate::support::minio::Minio;
use crate::support::s3_server;
use crate::world::MIB;

const BUCKET: &str = "permissions";
const SECRET: &str = "secret-of-a-user";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the log says of a permission that is missing.
const LACKS: &str = "the keys lack a permission";

/// How long a line of the log may take.
const SOON: Duration = Duration::from_secs(10);

/// What a client may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Pull,
    FindNothing,
    ListTags,
    Push,
    PushInChunks,
    PushLarge,
    DeleteTag,
    DeleteManifest,
}
use Deed::*;

const DEEDS: [Deed; 8] = [Pull, FindNothing, ListTags, Push, PushInChunks, PushLarge, DeleteTag, DeleteManifest];

async fn minio() -> &'static Minio {
    static BUCKETS: OnceCell<()> = OnceCell::const_new();
    let minio = s3_server::minio().await;
    BUCKETS.get_or_init(|| async { minio.make_bucket(BUCKET) }).await;
    minio
}

/// Longshore under a prefix that nobody else has, with the keys of the root user, and an image and three tags of it there.
async fn stocked() -> Launch {
    let launch = Launch::on_bucket_at(minio().await.address, BUCKET, &Uuid::new_v4().to_string()).env("LONGSHORE_KIND", "minio");
    let longshore = launch.start().await;
    for tag in ["v1", "v2"] {
        assert_eq!(push(&longshore, "stock", tag).await.status, StatusCode::CREATED);
    }
    assert_eq!(push(&longshore, "other-stock", "v1").await.status, StatusCode::CREATED);
    launch
}

/// The policy that is printed for what `launch` would serve.
fn printed(launch: &Launch, flags: &[&str]) -> Value {
    let command = flags.iter().fold(launch.clone().arg("policy").arg("default"), |launch, flag| launch.arg(flag));
    serde_json::from_str(&command.says()).expect("a policy is JSON")
}

/// The same with the keys of a user who may do what `policy` allows.
async fn as_user(launch: Launch, policy: &Value) -> Longshore {
    let id = Uuid::new_v4().simple().to_string()[..20].to_owned();
    Admin::of(minio().await.address).add_user(&id, SECRET, &policy.to_string());
    launch.env("LONGSHORE_ACCESS_KEY_ID", &id).env("LONGSHORE_SECRET_ACCESS_KEY", SECRET).start().await
}

/// `policy` without `action`, and without the statement that has no other.
fn without(mut policy: Value, action: &str) -> Value {
    let statements = policy["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut() {
        statement["Action"].as_array_mut().unwrap().retain(|it| it != action);
    }
    statements.retain(|statement| !statement["Action"].as_array().unwrap().is_empty());
    policy
}

fn digest(content: &[u8]) -> String {
    Digest::sha256(content).to_string()
}

/// What lies in the image `name` as a blob.
fn blob_of(name: &str) -> Bytes {
    format!("the only layer of {name}").into()
}

fn manifest_of(name: &str) -> String {
    let blob = blob_of(name);
    let descriptor = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&blob), "size": blob.len()});
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor, "layers": [descriptor]}).to_string()
}

async fn put(longshore: &Longshore, image: &str, content: Bytes, digest: &str) -> Answer {
    let request = put_blob_request(longshore.address, image, digest).await;
    send(longshore.address, request.body(content).unwrap()).await
}

/// Pushes an image of one layer; the last answer, or the first that is a failure.
async fn push(longshore: &Longshore, image: &str, tag: &str) -> Answer {
    let blob = blob_of(image);
    let pushed = put(longshore, image, blob.clone(), &digest(&blob)).await;
    if !pushed.status.is_success() {
        return pushed;
    }
    let request = Request::put(format!("/v2/{image}/manifests/{tag}")).header("content-type", OCI_MANIFEST);
    send(longshore.address, request.body(manifest_of(image).into()).unwrap()).await
}

/// Pushes a blob as docker does.
async fn push_in_chunks(longshore: &Longshore) -> Answer {
    let server = longshore.address;
    let begun = ask(server, "POST", "/v2/chunks/blobs/uploads/").await;
    let (first, last) = (Bytes::from("first, "), Bytes::from("last"));
    let request = |method, uri: &str, body| Request::builder().method(method).uri(uri).body(body).unwrap();
    let appended = send(server, request(Method::PATCH, begun.header("location"), first.clone())).await;
    if appended.status != StatusCode::ACCEPTED {
        return appended;
    }
    let all = digest(&[first, last.clone()].concat());
    let location = appended.header("location");
    let closing = format!("{location}{}digest={all}", if location.contains('?') { '&' } else { '?' });
    send(server, request(Method::PUT, &closing, last)).await
}

/// Pulls the image that is there, and its layer.
async fn pull(longshore: &Longshore) -> Answer {
    let server = longshore.address;
    let manifest = ask(server, "GET", "/v2/stock/manifests/v1").await;
    if manifest.status != StatusCode::OK {
        return manifest;
    }
    let blob = blob_of("stock");
    let pulled = ask(server, "GET", &format!("/v2/stock/blobs/{}", digest(&blob))).await;
    assert!(pulled.status != StatusCode::OK || pulled.body == blob);
    pulled
}

/// What comes of a deed.
async fn answer(longshore: &Longshore, deed: Deed) -> Answer {
    let server = longshore.address;
    match deed {
        Pull => pull(longshore).await,
        FindNothing => ask(server, "GET", "/v2/stock/manifests/never-pushed").await,
        ListTags => ask(server, "GET", "/v2/stock/tags/list").await,
        Push => push(longshore, "pushed", "v1").await,
        PushInChunks => push_in_chunks(longshore).await,
        PushLarge => {
            let large = Bytes::from(vec![7; 20 * MIB]);
            put(longshore, "large", large.clone(), &digest(&large)).await
        }
        DeleteTag => ask(server, "DELETE", "/v2/stock/manifests/v2").await,
        DeleteManifest => {
            let manifest = digest(manifest_of("other-stock").as_bytes());
            ask(server, "DELETE", &format!("/v2/other-stock/manifests/{manifest}")).await
        }
    }
}

/// The deeds that fail, each with what the client is told.
async fn failures(longshore: &Longshore) -> BTreeMap<Deed, String> {
    let mut failures = BTreeMap::new();
    for deed in DEEDS {
        let answer = answer(longshore, deed).await;
        let works = if deed == FindNothing { answer.status == StatusCode::NOT_FOUND } else { answer.status.is_success() };
        if !works {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{deed:?}: {answer:?}");
            failures.insert(deed, String::from_utf8(answer.body.to_vec()).unwrap());
        }
    }
    failures
}

/// The permissions that the log says are missing, as often as it does.
fn lacking(longshore: &Longshore) -> Vec<String> {
    let log = longshore.log();
    let lines = log.lines().filter(|line| line.contains(LACKS));
    let permission = |line: &str| line.split("permission=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let mut lacking: Vec<_> = lines.map(permission).collect();
    lacking.sort();
    lacking
}

#[tokio::test]
async fn each_action_of_the_policy_that_is_missing_takes_what_it_is_for_and_leaves_the_rest() {
    const COPIES: &str = "s3:PutObject or s3:GetObjectTagging";
    for (action, failing, said) in [
        ("nothing", &[][..], &[][..]),
        ("s3:GetObject", &[Pull, FindNothing, PushInChunks, DeleteTag, DeleteManifest], &["s3:GetObject"]),
        ("s3:PutObject", &[Push, PushInChunks, PushLarge, DeleteManifest], &["s3:PutObject"]),
        ("s3:DeleteObject", &[DeleteTag, DeleteManifest], &["s3:DeleteObject"]),
        ("s3:ListBucket", &[ListTags, DeleteManifest], &["s3:ListBucket"]),
    ] {
        let launch = stocked().await;
        let policy = without(printed(&launch, &[]), action);
        let longshore = as_user(launch, &policy).await;

        let failures = failures(&longshore).await;
        for deed in failing {
            let again = answer(&longshore, *deed).await;
            assert_eq!(again.status, StatusCode::SERVICE_UNAVAILABLE, "without {action}: {deed:?}: {again:?}");
        }

        let failed: Vec<_> = failures.keys().copied().collect();
        assert_eq!(failed, failing, "without {action}: {failures:?}\n{}", longshore.log());
        if !said.is_empty() {
            longshore.line_with(LACKS, SOON).await;
        }
        let lacking: Vec<_> = lacking(&longshore).into_iter().filter(|permission| permission != COPIES).collect();
        assert_eq!(lacking, said, "without {action}, each is told once:\n{}", longshore.log());
        let log = longshore.log();
        let warnings = log.lines().filter(|line| line.contains(" WARN ") && !line.contains("request failed"));
        assert_eq!(warnings.filter(|line| !line.contains(LACKS)).collect::<Vec<_>>(), [""; 0], "without {action}");
    }
}

#[tokio::test]
async fn what_is_missing_is_told_to_who_asks_for_it() {
    for (action, deed) in [
        ("s3:GetObject", Pull),
        ("s3:PutObject", Push),
        ("s3:PutObject", PushLarge),
        ("s3:DeleteObject", DeleteTag),
        ("s3:ListBucket", ListTags),
    ] {
        let launch = stocked().await;
        let policy = without(printed(&launch, &[]), action);
        let longshore = as_user(launch, &policy).await;

        let told = answer(&longshore, deed).await;

        let body: Value = serde_json::from_slice(&told.body).unwrap();
        let message = format!("storage refused access; its keys lack {action}");
        assert_eq!(body["errors"][0]["message"], message.as_str(), "{deed:?}");
    }
}

#[tokio::test]
async fn with_the_read_only_policy_all_can_be_read_and_nothing_written() {
    let launch = stocked().await;
    let policy = printed(&launch, &["--read-only"]);
    let longshore = as_user(launch, &policy).await;

    let failures = failures(&longshore).await;

    let failing: Vec<_> = failures.keys().copied().collect();
    assert_eq!(failing, [Push, PushInChunks, PushLarge, DeleteTag, DeleteManifest], "{failures:?}");
    for deed in [Push, PushInChunks, PushLarge] {
        assert!(failures[&deed].contains("its keys lack s3:PutObject"), "{failures:?}");
    }
    assert_eq!(lacking(&longshore), ["s3:DeleteObject", "s3:PutObject"], "{}", longshore.log());
}

#[tokio::test]
async fn nothing_lies_open_outside_the_prefix() {
    let (launch, other) = (stocked().await, stocked().await);
    let policy = printed(&launch, &[]);
    let longshore = as_user(other, &policy).await;

    for (deed, status) in [
        // Where nothing can be told, nothing is there.
        (Pull, StatusCode::NOT_FOUND),
        (Push, StatusCode::SERVICE_UNAVAILABLE),
        (PushLarge, StatusCode::SERVICE_UNAVAILABLE),
        (ListTags, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let answer = answer(&longshore, deed).await;
        assert_eq!(answer.status, status, "{deed:?}: {answer:?}");
    }
}

#[tokio::test]
async fn an_abort_that_is_refused_is_told_once_and_fails_nothing() {
    let launch = stocked().await;
    let policy = printed(&launch, &[]);
    let longshore = as_user(launch, &policy).await;
    let large = Bytes::from(vec![7; 20 * MIB]);

    for _ in 0..2 {
        let wrong = put(&longshore, "large", large.clone(), &digest(b"something else")).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong:?}");
    }

    longshore.line_with(LACKS, SOON).await;
    assert_eq!(put(&longshore, "large", large.clone(), &digest(&large)).await.status, StatusCode::CREATED);
    assert_eq!(lacking(&longshore), ["s3:AbortMultipartUpload"], "{}", longshore.log());
}

// MinIO lets anybody give tags who may write; what comes of a refusal is in tests/store/s3/extras.rs.
#[tokio::test]
async fn with_tags_the_policy_allows_to_give_them() {
    let launch = stocked().await.env("LONGSHORE_OBJECT_TAGS", "team=ci");
    let policy = printed(&launch, &[]);
    let longshore = as_user(launch, &policy).await;

    let failures = failures(&longshore).await;

    assert!(policy["Statement"][0]["Action"].as_array().unwrap().contains(&"s3:PutObjectTagging".into()), "{policy}");
    assert!(failures.is_empty() && lacking(&longshore).is_empty(), "{failures:?}\n{}", longshore.log());
}

#[tokio::test]
async fn sweeping_with_the_policy_leaves_unfinished_uploads_and_says_so() {
    let launch = stocked().await;
    let policy = printed(&launch, &[]);
    let id = Uuid::new_v4().simple().to_string()[..20].to_owned();
    Admin::of(minio().await.address).add_user(&id, SECRET, &policy.to_string());

    let sweep = launch.arg("sweep").env("LONGSHORE_ACCESS_KEY_ID", &id).env("LONGSHORE_SECRET_ACCESS_KEY", SECRET);
    let swept = sweep.command().output().unwrap();

    let told = String::from_utf8(swept.stderr).unwrap();
    assert!(swept.status.success(), "{told}");
    assert_eq!(told.matches("permission=\"s3:ListBucketMultipartUploads\"").count(), 1, "{told}");
    assert!(told.contains("the bucket does not list unfinished uploads"), "{told}");
}
