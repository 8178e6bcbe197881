//! What a blob costs that comes as docker and skopeo send it: one PATCH of unknown length, then PUT.

use std::net::SocketAddrV4;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use longshore::oci::{Algorithm, Digest, Hasher};

use crate::stand::{minio, new_bucket, on_bucket, run};
use crate::support::client::{self, ask, exchange, send_streamed};
use crate::support::door::{Door, S3Operation, Seen};
use crate::support::longshore::Longshore;

const MIB: u64 = 1024 * 1024;

/// What a blob is made of: so many bytes that no two parts of it are alike.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| std::iter::repeat_with(|| fastrand::u8(..)).take(65_521).collect());

/// A blob of so many bytes.
#[derive(Clone, Copy)]
struct Blob(u64);

impl Blob {
    fn blocks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let length = BLOCK.len() as u64;
        let rest = usize::try_from(self.0 % length).unwrap();
        (0..self.0 / length).map(|_| BLOCK.clone()).chain([BLOCK.slice(..rest)])
    }

    fn digest(self) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        self.blocks().for_each(|block| hasher.update(&block));
        hasher.finish()
    }
}

/// Two replicas over one bucket, and a door before the bucket.
struct Pair {
    replicas: [Longshore; 2],
    store: Door,
}

impl Pair {
    async fn start() -> Self {
        let store = Door::open(minio().await.address);
        let bucket = new_bucket().await;
        let launches = [on_bucket(store.address, &bucket), on_bucket(store.address, &bucket)];
        let replicas = [launches[0].start().await, launches[1].start().await];
        store.forget();
        Self { replicas, store }
    }

    /// Sends all of `blob` with one PATCH to one replica, and the PUT to another; its digest.
    async fn upload(&self, blob: Blob, patched: usize, closed: usize) -> Digest {
        let [patched, closed] = [patched, closed].map(|replica| self.replicas[replica].address);
        let opened = ask(patched, "POST", "/v2/org/app/blobs/uploads/").await;
        let patch = Request::patch(opened.header("location")).body(blob.blocks()).unwrap();
        let answer = send_streamed(patched, patch).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(answer.header("range"), format!("0-{}", blob.0 - 1));

        let (location, digest) = (answer.header("location"), blob.digest());
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = Request::put(format!("{location}{separator}digest={digest}")).header("content-length", "0");
        let answer = client::send(closed, put.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        digest
    }

    /// How often the store was asked for `operation`, successfully, and about what `of_which` is true of.
    fn count(&self, operation: S3Operation, of_which: impl Fn(&Seen) -> bool) -> usize {
        let seen = self.store.seen_operations(operation);
        seen.iter().filter(|seen| seen.status().is_some_and(|status| status.is_success()) && of_which(seen)).count()
    }
}

fn is_piece(seen: &Seen) -> bool {
    seen.path.contains("/_oci/uploads/")
}

/// The digest of what `replica` gives back as `digest`.
async fn pulled(replica: SocketAddrV4, digest: &Digest) -> Digest {
    let get = Request::get(format!("/v2/org/app/blobs/{digest}")).body(Empty::<Bytes>::new()).unwrap();
    let answer = exchange(replica, get).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let (mut body, mut hasher) = (answer.into_body(), Hasher::new(Algorithm::Sha256));
    while let Some(frame) = body.frame().await {
        hasher.update(frame.unwrap().data_ref().unwrap());
    }
    hasher.finish()
}

#[test]
fn a_replica_that_saw_all_of_a_gibibyte_reads_none_of_it_back() {
    run(async {
        let pair = Pair::start().await;

        let digest = pair.upload(Blob(1024 * MIB), 0, 0).await;

        assert_eq!(pair.store.seen_operations(S3Operation::GetObject).len(), 0);
        assert_eq!(pair.count(S3Operation::UploadPart, |seen| !is_piece(seen)), 0, "what came was stored once");
        assert_eq!(pair.count(S3Operation::CopyObject, |_| true), 1, "{:#?}", pair.store.seen());
        assert_eq!(pulled(pair.replicas[1].address, &digest).await, digest);
    });
}

#[test]
fn a_replica_that_saw_nothing_of_an_upload_ends_it_too() {
    run(async {
        let pair = Pair::start().await;

        let digest = pair.upload(Blob(64 * MIB), 0, 1).await;

        assert!(pair.count(S3Operation::GetObject, is_piece) > 0);
        assert_eq!(pair.count(S3Operation::CopyObject, |_| true), 0);
        assert_eq!(pulled(pair.replicas[0].address, &digest).await, digest);
    });
}
