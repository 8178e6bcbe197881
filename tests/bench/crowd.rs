//! Many at once, with the defaults: `cargo bench --bench crowd`.
//!
//! How much memory 64 uploads of 1 GiB take that come at the same time, and how
//! long a small config takes behind clients that begin a layer and stop. The
//! store is in this process: it speaks as much S3 as that needs, hashes what
//! comes, and forgets it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longshore::oci::{Algorithm, Digest, Hasher};
use support::client;
use support::longshore::{Launch, Longshore};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const UPLOADS: usize = 64;
const BLOCK_BYTES: usize = 1024 * 1024;

/// Clients that begin a layer and stop, and the most that a config may take behind them.
const STALLED: usize = 8;
const CONFIGS: usize = 50;
const CONFIG_LIMIT: Duration = Duration::from_millis(100);

/// What each upload sends, in MiB, unless `LONGSHORE_BENCH_MIB` says otherwise.
const UPLOAD_MIB: usize = 1024;

/// Most resident memory.
const LIMIT: u64 = 300_000_000;

#[tokio::main]
async fn main() {
    let launch = Launch::on_bucket_at(drain().await, "bench", "crowd");

    let mut server = launch.start().await;
    let blocks = std::env::var("LONGSHORE_BENCH_MIB").map_or(UPLOAD_MIB, |mib| mib.parse().expect("a number of MiB"));
    let began = Instant::now();
    upload_all(server.address, blocks).await;
    let speed = (UPLOADS * blocks * BLOCK_BYTES) as f64 / 1e9 / began.elapsed().as_secs_f64();
    let peak = server.peak_resident_bytes();
    println!("{UPLOADS} uploads of {blocks} MiB at once: at most {:.1} MB resident, {speed:.2} GB/s", peak as f64 / 1e6);
    server.kill().await;

    let mut server = launch.start().await;
    let _stalled = stall(&server).await;
    let slowest = push_configs(server.address).await;
    println!("a config of 3 KB behind {STALLED} clients that sent one byte of a layer: {slowest:.1?} at most");
    server.kill().await;

    assert!(peak < LIMIT, "more than {LIMIT} bytes resident");
    assert!(slowest < CONFIG_LIMIT, "longer than {CONFIG_LIMIT:?}");
}

/// Pushes the same layer of so many blocks to many images at once.
async fn upload_all(server: SocketAddrV4, blocks: usize) {
    let block = Bytes::from((0..BLOCK_BYTES).map(|at| (at * 7 / 3) as u8).collect::<Vec<_>>());
    let mut hasher = Hasher::new(Algorithm::Sha256);
    (0..blocks).for_each(|_| hasher.update(&block));
    let digest = hasher.finish();
    let mut uploads = JoinSet::new();
    for nth in 0..UPLOADS {
        let block = block.clone();
        uploads.spawn(async move {
            let put = client::put_blob_request(server, &format!("image{nth}"), &digest.to_string()).await;
            let frames = (0..blocks).map(move |_| Ok::<_, Infallible>(Frame::data(block.clone())));
            let body = StreamBody::new(stream::iter(frames));
            let put = put.header(header::HOST, server.to_string()).header(header::CONTENT_LENGTH, blocks * BLOCK_BYTES);
            let stream = TcpStream::connect(server).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let answer = sender.send_request(put.body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::CREATED);
        });
    }
    uploads.join_all().await;
}

/// Connections on which one byte of a large layer was sent, and no more.
async fn stall(server: &Longshore) -> Vec<TcpStream> {
    let mut stalled = Vec::new();
    for nth in 0..STALLED {
        let digest = Digest::sha256(&[nth as u8]);
        let put = client::put_blob_request(server.address, "stalled", &digest.to_string()).await.body(()).unwrap();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nx", put.uri());
        stream.write_all(head.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    stalled
}

/// Pushes configs one after another; how long the slowest took.
async fn push_configs(server: SocketAddrV4) -> Duration {
    let mut slowest = Duration::ZERO;
    for nth in 0..CONFIGS {
        let config = Bytes::from(format!("{nth:03000}"));
        let began = Instant::now();
        let put = client::push_blob(server, "configs", &Digest::sha256(&config).to_string(), config.clone()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// A bucket that takes everything and keeps nothing; where it is.
async fn drain() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut http = hyper::server::conn::http1::Builder::new();
            let connection = http.max_buf_size(64 * 1024).serve_connection(TokioIo::new(stream), service_fn(take));
            tokio::spawn(connection);
        }
    });
    address
}

async fn take(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, query) = (request.method().clone(), request.uri().query().unwrap_or_default().to_owned());
    let (mut body, mut hasher) = (request.into_body(), Hasher::new(Algorithm::Sha256));
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
            hasher.update(data);
        }
    }
    let answer = Response::builder().header(header::ETAG, format!("\"{}\"", hasher.finish()));
    let (status, body) = match method {
        Method::PUT => (StatusCode::OK, ""),
        Method::POST if query.starts_with("uploads") => {
            (StatusCode::OK, "<InitiateMultipartUploadResult><UploadId>it</UploadId></InitiateMultipartUploadResult>")
        }
        Method::POST => (StatusCode::OK, "<CompleteMultipartUploadResult><ETag>\"it\"</ETag></CompleteMultipartUploadResult>"),
        Method::DELETE => (StatusCode::NO_CONTENT, ""),
        _ if query.contains("list-type") => {
            (StatusCode::OK, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        }
        _ => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>"),
    };
    Ok(answer.status(status).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
}
