//! A plain HTTP client: one connection for one request, nothing done on its own account.

use std::convert::Infallible;
use std::net::SocketAddrV4;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What came back, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The value of header `name`; panics when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}")).to_str().expect("a printable header")
    }
}

/// Sends one request to `server`; `None` when no whole answer came.
pub async fn try_send(server: SocketAddrV4, request: Request<Bytes>) -> Option<Answer> {
    whole(exchange(server, request.map(Full::new)).await?).await
}

/// Sends one request to `server`; panics when no whole answer comes.
pub async fn send(server: SocketAddrV4, request: Request<Bytes>) -> Answer {
    let what = format!("{} {}", request.method(), request.uri());
    try_send(server, request).await.unwrap_or_else(|| panic!("no answer to {what}"))
}

/// Sends one request whose body, these blocks, has no length that the server could know; panics when no whole answer comes.
pub async fn send_streamed<B>(server: SocketAddrV4, request: Request<B>) -> Answer
where
    B: Iterator<Item = Bytes> + Send + 'static,
{
    let what = format!("{} {}", request.method(), request.uri());
    let request = request.map(|blocks| StreamBody::new(stream::iter(blocks.map(|block| Ok(Frame::data(block))))));
    let answer = async { whole(exchange(server, request).await?).await };
    answer.await.unwrap_or_else(|| panic!("no answer to {what}"))
}

/// Sends one request; the answer, whose body is still to come, `None` when there is none.
pub async fn exchange<B>(server: SocketAddrV4, request: Request<B>) -> Option<Response<Incoming>>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = TcpStream::connect(server).await.ok()?;
    let (mut connection, io) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(io);
    connection.send_request(addressed(server, request)).await.ok()
}

/// Asks for `path` by `method`, without a body.
pub async fn ask(server: SocketAddrV4, method: &str, path: &str) -> Answer {
    send(server, Request::builder().method(method).uri(path).body(Bytes::new()).expect("a request")).await
}

/// Asks for `path` by `method`, without a body, as BuildKit does for what is of one of the types `accept`.
pub async fn ask_as_buildkit(server: SocketAddrV4, method: &str, path: &str, accept: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header(header::USER_AGENT, "buildkit/v0.32.2");
    send(server, request.header(header::ACCEPT, accept).body(Bytes::new()).expect("a request")).await
}

/// Pulls the manifest of `image` that `reference` names, any form of it; panics when there is none.
pub async fn pull_manifest(server: SocketAddrV4, image: &str, reference: &str) -> Answer {
    let request = Request::get(format!("/v2/{image}/manifests/{reference}")).header(header::ACCEPT, ANY_MANIFEST);
    let answer = send(server, request.body(Bytes::new()).expect("a request")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer
}

/// What BuildKit accepts when it pulls (moby/buildkit v0.32.2).
pub const ANY_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, */*";

/// Pushes one blob the way BuildKit does: HEAD, POST, one PUT. The PUT's answer.
pub async fn push_blob(server: SocketAddrV4, image: &str, digest: &str, content: Bytes) -> Answer {
    let head = ask(server, "HEAD", &format!("/v2/{image}/blobs/{digest}")).await;
    assert_eq!(head.status, StatusCode::NOT_FOUND, "{digest} is there already");
    let put = put_blob_request(server, image, digest).await.body(content).expect("a request");
    send(server, put).await
}

/// Opens an upload; the PUT that will carry the whole blob, still without its body.
pub async fn put_blob_request(server: SocketAddrV4, image: &str, digest: &str) -> http::request::Builder {
    let opened = ask(server, "POST", &format!("/v2/{image}/blobs/uploads/")).await;
    assert_eq!(opened.status, StatusCode::ACCEPTED, "{opened:?}");
    let location = opened.header("location");
    let separator = if location.contains('?') { '&' } else { '?' };
    let uri = format!("{location}{separator}digest={}", digest.replace(':', "%3A"));
    Request::put(uri).header(header::CONTENT_TYPE, "application/octet-stream")
}

fn addressed<B>(server: SocketAddrV4, mut request: Request<B>) -> Request<B> {
    let host = server.to_string().parse().expect("an address is a header value");
    request.headers_mut().entry(header::HOST).or_insert(host);
    request
}

async fn whole(response: Response<hyper::body::Incoming>) -> Option<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Answer { status: head.status, headers: head.headers, body })
}
