//! What a blob costs that comes as docker and skopeo send it: one PATCH of unknown length, then PUT.

use std::net::SocketAddrV4;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{Request, StatusCode};

use crate::stand::{minio, new_bucket, on_bucket, run};
use crate::support::client::{self, ask, send_streamed};
use crate::support::door::{Door, S3Operation, Seen};
use crate::support::longshore::Longshore;
use crate::support::project::digest_of;

/// More than Longshore sends to a store in one request.
static BLOB: LazyLock<Bytes> = LazyLock::new(|| std::iter::repeat_with(|| fastrand::u8(..)).take(64 * 1024 * 1024).collect());

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

    /// Sends all of [`BLOB`] with one PATCH to one replica, and the PUT to another.
    async fn upload(&self, patched: usize, closed: usize) {
        let [patched, closed] = [patched, closed].map(|replica| self.replicas[replica].address);
        let opened = ask(patched, "POST", "/v2/org/app/blobs/uploads/").await;
        let patch = Request::patch(opened.header("location")).body(BLOB.clone()).unwrap();
        let answer = send_streamed(patched, patch).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        assert_eq!(answer.header("range"), format!("0-{}", BLOB.len() - 1));

        let (location, digest) = (answer.header("location"), digest());
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = Request::put(format!("{location}{separator}digest={digest}")).header("content-length", "0");
        let answer = client::send(closed, put.body(Bytes::new()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }

    /// How often the store was asked for `operation`, successfully, and about what `of_which` is true of.
    fn count(&self, operation: S3Operation, of_which: impl Fn(&Seen) -> bool) -> usize {
        let seen = self.store.seen_operations(operation);
        seen.iter().filter(|seen| seen.status() == Some(StatusCode::OK) && of_which(seen)).count()
    }
}

fn digest() -> String {
    digest_of(&BLOB[..]).unwrap()
}

fn is_piece(seen: &Seen) -> bool {
    seen.path.contains("/_oci/uploads/")
}

/// What `replica` gives back.
async fn pulled(replica: SocketAddrV4) -> String {
    let answer = ask(replica, "GET", &format!("/v2/org/app/blobs/{}", digest())).await;
    assert_eq!(answer.status, StatusCode::OK);
    digest_of(&answer.body[..]).unwrap()
}

#[test]
fn a_replica_that_saw_all_of_an_upload_reads_none_of_it_back() {
    run(async {
        let pair = Pair::start().await;

        pair.upload(0, 0).await;

        assert_eq!(pair.count(S3Operation::GetObject, is_piece), 0);
        assert_eq!(pair.count(S3Operation::CopyObject, |_| true), 1, "{:#?}", pair.store.seen());
        assert_eq!(pulled(pair.replicas[1].address).await, digest());
    });
}

#[test]
fn a_replica_that_saw_nothing_of_an_upload_ends_it_too() {
    run(async {
        let pair = Pair::start().await;

        pair.upload(0, 1).await;

        assert!(pair.count(S3Operation::GetObject, is_piece) > 0);
        assert_eq!(pair.count(S3Operation::CopyObject, |_| true), 0);
        assert_eq!(pulled(pair.replicas[0].address).await, digest());
    });
}
