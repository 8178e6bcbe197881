//! How much memory a layer of 2 GiB takes on its way in and out: `cargo bench --bench memory`.
//!
//! A fresh server for each line, with the defaults, on the folder store and on
//! MinIO; what it prints is the kernel's own count of resident memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use longshore::oci::{Algorithm, Digest, Hasher};
use support::door::Door;
use support::longshore::{Launch, Longshore};
use support::minio::Minio;
use tokio::net::TcpStream;

const LAYER_BYTES: u64 = 2 * 1024 * 1024 * 1024;
const BLOCK_BYTES: usize = 256 * 1024;

/// How long a server is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    let folder = support::scratch("bench-folder");
    let minio = Minio::start().await;
    minio.make_bucket("bench");
    let door = Door::open(minio.address);
    let layer = Layer::random();

    println!("| store | idle | {layer} pushed: peak | after | GB/s | pulled: peak | after | GB/s |");
    println!("|---|---|---|---|---|---|---|---|");
    for name in ["folder", "MinIO"] {
        let launch = match name {
            "folder" => Launch::on_folder(folder.path()),
            _ => Launch::on_bucket(&door, "bench", "memory"),
        };
        let mut server = launch.start().await;
        tokio::time::sleep(SETTLE).await;
        let idle = mb(server.resident_bytes());
        let pushed = measure(&server, layer.push(server.address)).await;
        server.kill().await;
        let server = launch.start().await;
        let pulled = measure(&server, layer.pull(server.address)).await;
        println!("| {name} | {idle} | {pushed} | {pulled} |");
    }
}

/// Runs `transfer`; the peak of `server`'s memory, what is left after it, and the speed.
async fn measure(server: &Longshore, transfer: impl Future<Output = ()>) -> String {
    let began = Instant::now();
    transfer.await;
    let gigabytes_per_second = LAYER_BYTES as f64 / 1e9 / began.elapsed().as_secs_f64();
    let peak = mb(server.peak_resident_bytes());
    tokio::time::sleep(SETTLE).await;
    format!("{peak} | {} | {gigabytes_per_second:.2}", mb(server.resident_bytes()))
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Bytes that no store can shorten, made anew each time from a seed.
struct Layer {
    seed: u64,
    digest: Digest,
}

impl Layer {
    fn random() -> Self {
        let seed = fastrand::u64(..);
        let mut hasher = Hasher::new(Algorithm::Sha256);
        blocks(seed).for_each(|block| hasher.update(&block));
        Self { seed, digest: hasher.finish() }
    }

    async fn push(&self, server: SocketAddrV4) {
        let put = support::client::put_blob_request(server, "bench", &self.digest.to_string()).await;
        let frames = blocks(self.seed).map(|block| Ok::<_, Infallible>(Frame::data(block)));
        let body = StreamBody::new(stream::iter(frames));
        let request = put.header(header::CONTENT_LENGTH, LAYER_BYTES).header(header::HOST, server.to_string()).body(body);
        let answer = send(server, request.unwrap()).await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    async fn pull(&self, server: SocketAddrV4) {
        let request = Request::get(format!("/v2/bench/blobs/{}", self.digest)).header(header::HOST, server.to_string());
        let answer = send(server, request.body(http_body_util::Empty::<Bytes>::new()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let (mut body, mut hasher) = (answer.into_body(), Hasher::new(Algorithm::Sha256));
        while let Some(frame) = body.frame().await {
            hasher.update(frame.unwrap().data_ref().unwrap());
        }
        assert_eq!(hasher.finish(), self.digest);
    }
}

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} GiB", LAYER_BYTES >> 30)
    }
}

fn blocks(seed: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..LAYER_BYTES / BLOCK_BYTES as u64).map(move |_| {
        let mut block = vec![0; BLOCK_BYTES];
        random.fill(&mut block);
        block.into()
    })
}

async fn send<B>(server: SocketAddrV4, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(server).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}
