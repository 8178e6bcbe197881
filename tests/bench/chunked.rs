//! How much memory 64 chunked uploads of 100 MB at once take: `cargo bench --bench chunked`.
//!
//! In one chunk of unknown length, as docker sends a layer, which the store
//! copies in the end; and in ten chunks, which are read back. A fresh server
//! for each line, with the defaults; what it prints is the kernel's own count
//! of resident memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode, header};
use longshore::oci::Digest;
use support::client::{Answer, ask, send, send_streamed};
use support::longshore::{Launch, Longshore};
use support::minio::Minio;

const UPLOADS: usize = 64;
const UPLOAD_BYTES: usize = 100_000_000;

/// What a client hands on at a time.
const BLOCK_BYTES: usize = 32 * 1024;

/// The most that may be resident.
const LIMIT_BYTES: u64 = 200_000_000;

/// How long a server is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    let blob = Blob::random();
    println!("{UPLOADS} uploads of {} MB at once", UPLOAD_BYTES / 1_000_000);
    println!("| store | chunks | idle | peak | after | MB/s |");
    println!("|---|---|---|---|---|---|");
    for chunks in [1, 10] {
        let folder = support::scratch("bench-folder");
        measure("folder", chunks, &blob, Launch::on_folder(folder.path()).start().await).await;
    }
    for chunks in [1, 10] {
        let minio = Minio::start().await;
        minio.make_bucket("bench");
        let launch = Launch::on_bucket_at(minio.address, "bench", "chunked");
        measure("S3 (MinIO)", chunks, &blob, launch.start().await).await;
    }
}

/// Has `server` take all uploads at once, and prints what that took.
async fn measure(store: &str, chunks: usize, blob: &Blob, server: Longshore) {
    tokio::time::sleep(SETTLE).await;
    let (idle, began) = (mb(server.resident_bytes()), Instant::now());
    join_all((0..UPLOADS).map(|number| blob.push(server.address, number, chunks))).await;
    let speed = (UPLOADS * UPLOAD_BYTES) as f64 / 1e6 / began.elapsed().as_secs_f64();
    let peak = server.peak_resident_bytes();
    tokio::time::sleep(SETTLE).await;
    println!("| {store} | {chunks} | {idle} | {} | {} | {speed:.0} |", mb(peak), mb(server.resident_bytes()));
    assert!(peak <= LIMIT_BYTES, "more than {}", mb(LIMIT_BYTES));
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Bytes that no store can shorten.
struct Blob {
    bytes: Bytes,
    digest: Digest,
}

impl Blob {
    fn random() -> Self {
        let mut bytes = vec![0; UPLOAD_BYTES];
        fastrand::fill(&mut bytes);
        Self { digest: Digest::sha256(&bytes), bytes: bytes.into() }
    }

    /// Sends it to the image `number`, in so many chunks.
    async fn push(&self, server: SocketAddrV4, number: usize, chunks: usize) {
        let opened = ask(server, "POST", &format!("/v2/bench/{number}/blobs/uploads/")).await;
        let mut location = opened.header("location").to_owned();
        let size = UPLOAD_BYTES / chunks;
        for start in (0..UPLOAD_BYTES).step_by(size) {
            let chunk = self.bytes.slice(start..start + size);
            let patch = Request::patch(location);
            let answer = if chunks == 1 {
                send_streamed(server, patch.body(blocks(chunk)).unwrap()).await
            } else {
                let range = format!("{start}-{}", start + size - 1);
                send(server, patch.header(header::CONTENT_RANGE, range).body(chunk).unwrap()).await
            };
            location = next_of(&answer);
        }
        let answer = ask(server, "PUT", &format!("{location}&digest={}", self.digest)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
}

/// `chunk` in blocks of the size that clients send.
fn blocks(chunk: Bytes) -> impl Iterator<Item = Bytes> + Send + 'static {
    let starts = (0..chunk.len()).step_by(BLOCK_BYTES);
    starts.map(move |start| chunk.slice(start..chunk.len().min(start + BLOCK_BYTES)))
}

fn next_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    answer.header("location").to_owned()
}
