//! What a client is told, and how soon, while the store is silent, broken, full or wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use longshore::access::Access;
use longshore::oci::{Digest, MediaType};
use longshore::registry::Patience;
use longshore::store::{Key, MemoryStore, ObjectStore, StoreError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::broken_store::{BrokenStore, Operation, When, unavailable};
use crate::client::Answer;
use crate::stand::{PATIENCE, Stand, code, message};

/// How long a question waits; whatever waits for bytes waits for much longer.
const SHORT: Duration = Duration::from_millis(300);

/// How much longer an answer may take here, where tests share two cores.
const SLACK: Duration = Duration::from_secs(3);

const MIB: usize = 1024 * 1024;

/// A server over a store that can be broken.
struct Broken {
    store: Arc<BrokenStore>,
    stand: Stand,
}

/// What can become of a call.
type Fault = (&'static str, fn(When<'_>));

/// How a store can fail to answer.
const FAULTS: [Fault; 4] = [
    ("it fails", |when| when.fail(unavailable)),
    ("it fails in the end", |when| when.stall()),
    ("it never answers", |when| when.hang()),
    ("it does, and fails", |when| when.lose_answer(unavailable)),
];

impl Broken {
    fn new() -> Self {
        let store = BrokenStore::around(Arc::new(MemoryStore::default()));
        let patience = Patience { pull: SHORT, push: SHORT, bytes: PATIENCE };
        let stand = Stand::with(Arc::clone(&store) as Arc<dyn ObjectStore>, Access::Write, patience);
        Self { store, stand }
    }

    /// One with a blob and the manifest of a cache, by tag `cache` and by the digest.
    async fn with_cache() -> (Self, Digest, Digest) {
        let broken = Self::new();
        let blob = broken.stand.push("app", "hello").await;
        let put = broken.put_cache("cache").await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        (broken, blob, Digest::sha256(cache().as_bytes()))
    }

    async fn put_cache(&self, reference: &str) -> Answer {
        self.stand.put_manifest(&format!("/v2/app/manifests/{reference}"), MediaType::OCI_MANIFEST, cache()).await
    }

    async fn put_blob(&self, content: &'static str) -> Answer {
        let upload = self.stand.open_upload("app").await;
        self.stand.put(&upload, &Digest::sha256(content.as_bytes()), content).await
    }

    /// Puts `stored` where the blob `content` belongs; its path.
    async fn keep_blob(&self, content: &str, stored: String) -> String {
        self.store.put(&blob_key(content), stored.into(), "application/octet-stream", PATIENCE).await.unwrap();
        format!("/v2/app/blobs/{}", Digest::sha256(content.as_bytes()))
    }

    /// Asks as BuildKit does before it pushes.
    async fn ask_for_push(&self, path: &str) -> Answer {
        let request = Request::head(path).header("user-agent", "buildkit/v0.32.2");
        let accept = format!("{}, */*", MediaType::OCI_MANIFEST);
        self.stand.send(request.header("accept", accept).body("").unwrap()).await
    }

    /// What comes of a GET, whether its end comes or not: the head, and the bytes of the body.
    async fn get_raw(&self, path: &str, header: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.stand.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset is as good as an end.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }
}

fn blob_key(content: &str) -> Key {
    format!("app/blobs/{}", Digest::sha256(content.as_bytes())).parse().unwrap()
}

fn cache() -> String {
    let config = json!({"mediaType": MediaType::CACHE_CONFIG, "digest": Digest::sha256(b"hello").to_string(), "size": 5});
    json!({"schemaVersion": 2, "config": config, "layers": []}).to_string()
}

/// What a client is told of a store that failed: that, and nothing of why.
fn assert_unavailable(answer: &Answer, what: &str) {
    assert_eq!((answer.status, code(answer).as_str()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"), "{what}: {answer:?}");
    assert_eq!(message(answer), "storage unavailable", "{what}");
}

#[tokio::test]
async fn a_pull_learns_soon_that_the_store_gives_no_manifest() {
    for (fault, break_it) in FAULTS {
        let (broken, _, digest) = Broken::with_cache().await;
        break_it(broken.store.at_any_call());
        for reference in ["cache".to_owned(), digest.to_string()] {
            let (head, get) = (format!("HEAD /v2/app/manifests/{reference}"), format!("GET /v2/app/manifests/{reference}"));
            let began = Instant::now();

            let (head, get) = tokio::join!(broken.stand.ask(&head), broken.stand.ask(&get));

            assert!(began.elapsed() < SHORT + SLACK, "{fault}, {reference}: {:?}", began.elapsed());
            assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE, "{fault}, {reference}");
            assert_unavailable(&get, fault);
        }
    }
}

#[tokio::test]
async fn a_pull_learns_soon_that_a_manifest_does_not_come_to_its_end() {
    for (fault, break_it) in FAULTS {
        let (broken, _, digest) = Broken::with_cache().await;
        break_it(broken.store.when(Operation::Get).after(10));
        for reference in ["cache".to_owned(), digest.to_string()] {
            let began = Instant::now();

            let get = broken.stand.ask(&format!("GET /v2/app/manifests/{reference}")).await;

            assert!(began.elapsed() < SHORT + SLACK, "{fault}, {reference}: {:?}", began.elapsed());
            assert_unavailable(&get, fault);
        }
    }
}

#[tokio::test]
async fn a_push_is_told_soon_that_nothing_is_there_when_the_store_does_not_say() {
    for (fault, break_it) in FAULTS {
        let (broken, _, digest) = Broken::with_cache().await;
        // One that was pushed elsewhere: what was pushed here needs no question.
        let blob = broken.keep_blob("elsewhere", "elsewhere".to_owned()).await;
        break_it(broken.store.at_any_call());
        for path in ["/v2/app/manifests/cache", &format!("/v2/app/manifests/{digest}"), &blob] {
            let began = Instant::now();

            let head = tokio::time::timeout(PATIENCE, broken.ask_for_push(path)).await;

            let head = head.unwrap_or_else(|_| panic!("{fault}, {path}: no answer"));
            assert_eq!(head.status, StatusCode::NOT_FOUND, "{fault}, {path}");
            assert!(began.elapsed() < SHORT + SLACK, "{fault}, {path}: {:?}", began.elapsed());
        }
        broken.store.mend();
        assert_eq!(broken.ask_for_push("/v2/app/manifests/cache").await.status, StatusCode::OK, "{fault}");
    }
}

/// Makes an error whose cause is nobody's business, and what of it is everybody's.
type Told = (fn() -> StoreError, &'static str);

const ERRORS: [Told; 3] = [
    (|| StoreError::Unavailable("10.0.0.7 is down".into()), "storage unavailable"),
    (|| StoreError::Full("/dev/sda1 on 10.0.0.7".into()), "storage is full"),
    (|| StoreError::Denied("key AKIA at 10.0.0.7".into()), "storage refused access"),
];

#[tokio::test]
async fn a_store_that_fails_is_told_by_its_kind_and_nothing_more() {
    for (error, told) in ERRORS {
        for operation in [Operation::Get, Operation::Put, Operation::Upload, Operation::Write, Operation::Finish] {
            let (broken, blob, _) = Broken::with_cache().await;
            broken.store.when(operation).fail(error);

            let answer = match operation {
                Operation::Get => broken.stand.ask(&format!("GET /v2/app/blobs/{blob}")).await,
                Operation::Put => broken.put_cache("other").await,
                _ => broken.put_blob("other").await,
            };

            let said = (answer.status, code(&answer), message(&answer));
            let expected = (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE".to_owned(), told.to_owned());
            assert_eq!(said, expected, "{operation:?}");
            let text = format!("{answer:?}");
            assert!(!text.contains("10.0.0.7"), "{operation:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_blob_that_could_not_be_stored_can_be_pushed_again_and_was_never_there() {
    for operation in [Operation::Upload, Operation::Write, Operation::Finish] {
        let broken = Broken::new();
        broken.store.when(operation).nth(1).fail(|| StoreError::Full("".into()));

        assert_eq!(broken.put_blob("hello").await.status, StatusCode::SERVICE_UNAVAILABLE, "{operation:?}");
        assert!(broken.stand.keys().await.is_empty(), "{operation:?}");

        assert_eq!(broken.put_blob("hello").await.status, StatusCode::CREATED, "{operation:?}");
    }
}

#[tokio::test]
async fn a_blob_whose_storing_was_not_confirmed_can_be_pushed_again() {
    let broken = Broken::new();
    broken.store.when(Operation::Finish).nth(1).lose_answer(unavailable);

    assert_unavailable(&broken.put_blob("hello").await, "the answer is lost");

    assert_eq!(broken.put_blob("hello").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_blob_of_wrong_bytes_never_comes_to_its_end() {
    let broken = Broken::new();
    let wrong = broken.keep_blob(&"right".repeat(MIB), "wrong".repeat(MIB)).await;
    // In two pieces, of which the first can't be known to be wrong.
    drop(broken.store.when(Operation::Get).after(2 * MIB as u64).pause());

    let (head, body) = broken.get_raw(&wrong, "").await;

    assert!(head.starts_with("http/1.1 200") && head.contains(&format!("content-length: {}", 5 * MIB)), "{head}");
    assert!(!body.is_empty() && body.len() <= 2 * MIB && "wrong".repeat(MIB).starts_with(&body), "{} bytes", body.len());
}

#[tokio::test]
async fn a_blob_that_breaks_for_good_cuts_the_connection() {
    let broken = Broken::new();
    let content = "0123456789".repeat(MIB / 2);
    let path = broken.keep_blob(&content, content.clone()).await;
    broken.store.when(Operation::Get).after(2 * MIB as u64).fail(unavailable);

    for (range, status, first) in [("", "200", 0), ("Range: bytes=7-\r\n", "206", 7)] {
        let (head, body) = broken.get_raw(&path, range).await;

        let length = format!("content-length: {}", content.len() - first);
        assert!(head.starts_with(&format!("http/1.1 {status}")) && head.contains(&length), "{head}");
        let is_a_part = !body.is_empty() && body.len() <= 2 * MIB && content[first..].starts_with(&body);
        assert!(is_a_part, "{} bytes, and neither an end nor an error among them", body.len());
    }
}

#[tokio::test]
async fn a_blob_that_is_written_anew_while_it_is_pulled_comes_to_its_end() {
    let broken = Broken::new();
    let content = "0123456789".repeat(MIB / 2);
    let path = broken.keep_blob(&content, content.clone()).await;
    for (range, first) in [("", 0), ("Range: bytes=7-\r\n", 7)] {
        broken.store.when(Operation::Get).nth(1).after(2 * MIB as u64).fail(|| StoreError::Changed);
        broken.store.when(Operation::Get).nth(2).after(MIB as u64).fail(|| StoreError::Changed);

        let (_, body) = broken.get_raw(&path, range).await;

        assert!(body == content[first..], "{range}: {} bytes", body.len());
        broken.store.mend();
    }
}

#[tokio::test]
async fn a_blob_that_is_gone_or_of_another_size_when_it_would_be_read_on_cuts_the_connection() {
    let content = "0123456789".repeat(MIB / 2);
    for other in [None, Some("short")] {
        let broken = Broken::new();
        let path = broken.keep_blob(&content, content.clone()).await;
        broken.store.when(Operation::Get).nth(1).after(2 * MIB as u64).fail(|| StoreError::Changed);
        let again = broken.store.when(Operation::Get).nth(2).pause();
        let replaced = async {
            tokio::time::timeout(PATIENCE, again.arrived()).await.expect("it is asked for again");
            match other {
                Some(other) => drop(broken.keep_blob(&content, other.to_owned()).await),
                None => broken.store.delete(&blob_key(&content), PATIENCE).await.unwrap(),
            }
            again.release();
        };

        let ((_, body), ()) = tokio::join!(broken.get_raw(&path, ""), replaced);

        assert!(body.len() <= 2 * MIB && content.starts_with(&body), "{other:?}: {} bytes", body.len());
    }
}

#[tokio::test]
async fn a_tag_is_there_only_after_the_manifest_it_announces() {
    let broken = Broken::new();
    broken.stand.push("app", "hello").await;
    let second = broken.store.when(Operation::Put).key("_oci/tags/").pause();
    let (path, digest) = ("/v2/app/manifests/cache", Digest::sha256(cache().as_bytes()));

    let looking = async {
        second.arrived().await;
        let by_digest = broken.stand.ask(&format!("GET /v2/app/manifests/{digest}")).await;
        assert_eq!(by_digest.status, StatusCode::OK);
        assert_eq!(broken.stand.ask(&format!("GET {path}")).await.status, StatusCode::NOT_FOUND);
        second.release();
    };
    let (put, ()) = tokio::join!(broken.put_cache("cache"), looking);

    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    assert_eq!(broken.stand.ask(&format!("GET {path}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_manifest_whose_tag_could_not_be_written_is_not_acknowledged() {
    let (broken, ..) = Broken::with_cache().await;
    broken.store.when(Operation::Put).key("_oci/tags/").nth(1).fail(unavailable);

    assert_unavailable(&broken.put_cache("other").await, "no tag");
    assert_eq!(broken.stand.ask("GET /v2/app/manifests/other").await.status, StatusCode::NOT_FOUND);

    assert_eq!(broken.put_cache("other").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_question_that_failed_makes_no_blob_of_an_image_missing() {
    let broken = Broken::new();
    broken.stand.push("app", "config").await;
    // Not pushed here, so that the store is asked for it.
    broken.keep_blob("layer", "layer".to_owned()).await;
    let layer = Digest::sha256(b"layer");
    let descriptor = |media_type: &str, content: &str| json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()).to_string(), "size": content.len()});
    let image = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", "config"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer")],
    });
    for (fault, break_it) in FAULTS {
        break_it(broken.store.when(Operation::Head).key(&layer.to_string()));

        let path = format!("/v2/app/manifests/{}", fault.replace(' ', "-").replace(',', ""));
        let put = broken.stand.put_manifest(&path, MediaType::OCI_MANIFEST, image.to_string());
        let put = tokio::time::timeout(PATIENCE, put).await;

        let put = put.unwrap_or_else(|_| panic!("{fault}: no answer"));
        assert_eq!(put.status, StatusCode::CREATED, "{fault}: {put:?}");
        broken.store.mend();
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_store_is_silent_leaves_nothing() {
    let broken = Broken::new();
    let upload = broken.stand.open_upload("app").await;
    let finish = broken.store.when(Operation::Finish).pause();
    let digest = Digest::sha256(b"hello");
    let mut stream = TcpStream::connect(broken.stand.address).await.unwrap();
    let put = format!("PUT {upload}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    stream.write_all(put.as_bytes()).await.unwrap();
    finish.arrived().await;
    assert!(broken.stand.keys().await.is_empty());

    drop(stream);
    finish.release();

    // All or nothing, whichever of the two it came to.
    let keys = broken.stand.keys().await;
    assert!(keys.is_empty() || keys == [format!("app/blobs/{digest}")], "{keys:?}");
}
