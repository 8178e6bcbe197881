//! Starting, ending, and what goes on meanwhile.

use bytes::Bytes;
use http::{Request, StatusCode};
use longshore::oci::{Digest, MediaType};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client;
use crate::stand::{Stand, send};

async fn ask(stand: std::net::SocketAddrV4, line: &str) -> StatusCode {
    let (method, path) = line.split_once(' ').unwrap();
    send(stand, Request::builder().method(method).uri(path).body("").unwrap()).await.status
}

#[tokio::test]
async fn a_server_told_to_stop_lets_a_running_export_reach_its_manifest() {
    let stand = Stand::new();
    let layer = stand.push("app", "layer").await;
    let upload = stand.open_upload("app").await;

    let (address, running) = stand.stop();
    while ask(address, "GET /readyz").await == StatusCode::OK {}

    assert_eq!(ask(address, "GET /healthz").await, StatusCode::OK);
    let config = Digest::sha256(b"config");
    let put = Request::put(format!("{upload}?digest={config}")).body("config").unwrap();
    assert_eq!(send(address, put).await.status, StatusCode::CREATED);
    let manifest = json!({"schemaVersion": 2,
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.to_string(), "size": 5}],
        "config": {"mediaType": MediaType::CACHE_CONFIG, "digest": config.to_string(), "size": 6}});
    let put = Request::put("/v2/app/manifests/cache").header("content-type", MediaType::OCI_MANIFEST);
    assert_eq!(send(address, put.body(manifest.to_string()).unwrap()).await.status, StatusCode::CREATED);

    running.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "it has ended");
}

#[tokio::test]
async fn a_server_told_to_stop_answers_the_request_that_is_running() {
    let stand = Stand::new();
    let (upload, digest) = (stand.open_upload("app").await, Digest::sha256(b"hello"));
    let mut stream = TcpStream::connect(stand.address).await.unwrap();
    let head = format!("PUT {upload}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe");
    stream.write_all(head.as_bytes()).await.unwrap();
    stand.ask("GET /healthz").await;

    let (_, running) = stand.stop();
    stream.write_all(b"llo").await.unwrap();

    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "HTTP/1.1 201");
    drop(stream);
    running.abort();
}

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let stand = Stand::new();
    let _idle = TcpStream::connect(stand.address).await.unwrap();
    stand.ask("GET /healthz").await;

    let (_, running) = stand.stop();

    running.await.unwrap();
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let stand = Stand::new();
    let mut stream = TcpStream::connect(stand.address).await.unwrap();

    for _ in 0..3 {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 1024];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
    }
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_wait_and_are_served() {
    let stand = Stand::new();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(TcpStream::connect(stand.address).await.unwrap());
    }
    let request = Request::get("/healthz").body(Bytes::new()).unwrap();
    let address = stand.address;
    let waiting = tokio::spawn(async move { client::send(address, request).await.status });

    idle.pop();

    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
}
