//! BuildKit's side of the wire: its request sequence over a connection that is kept.

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::ops::Range;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Empty, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::content::Blob;

type Blocks = stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;
type Body = Either<Empty<Bytes>, StreamBody<Blocks>>;

/// What buildkitd says before it pushes a layer (moby/buildkit v0.32.2).
const ACCEPT_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip, */*";

/// One connection to a registry. Whatever goes wrong on it panics: a measurement that cannot go on has failed.
#[derive(Debug)]
pub struct Client {
    server: SocketAddrV4,
    sender: SendRequest<Body>,
}

impl Client {
    pub async fn connect(server: SocketAddrV4) -> Self {
        let stream = TcpStream::connect(server).await.expect("the registry takes connections");
        stream.set_nodelay(true).expect("a socket can be set");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a new connection");
        tokio::spawn(connection);
        Self { server, sender }
    }

    /// Asks for `blob` as BuildKit does before a push; whether it is there.
    pub async fn has(&mut self, image: &str, blob: &Blob) -> bool {
        let path = format!("/v2/{image}/blobs/{}", blob.digest);
        let answer = self.ask(Request::head(path).header(header::ACCEPT, ACCEPT_LAYER)).await;
        let status = answer.status();
        assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND), "HEAD of a blob: {status}");
        status == StatusCode::OK
    }

    /// Pushes `blob` unless it is there: HEAD, POST, PUT.
    pub async fn push(&mut self, image: &str, blob: &Blob) {
        if self.has(image, blob).await {
            return;
        }
        let opened = self.ask(Request::post(format!("/v2/{image}/blobs/uploads/")).header(header::CONTENT_LENGTH, 0)).await;
        assert_eq!(opened.status(), StatusCode::ACCEPTED, "POST of an upload");
        let location = opened.headers()[header::LOCATION].to_str().expect("printable").to_owned();
        finish(opened).await;

        let separator = if location.contains('?') { '&' } else { '?' };
        let request = Request::put(format!("{location}{separator}digest={}", blob.digest.replace(':', "%3A")))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, blob.length);
        let blocks: Vec<_> = blob.blocks(0..blob.length).map(|block| Ok(Frame::data(block))).collect();
        let answer = self.send(request, Either::Right(StreamBody::new(stream::iter(blocks)))).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "PUT of a blob");
        finish(answer).await;
    }

    /// Pulls all of `blob`.
    pub async fn pull(&mut self, image: &str, blob: &Blob) {
        let answer = self.ask(Request::get(format!("/v2/{image}/blobs/{}", blob.digest))).await;
        assert_eq!(answer.status(), StatusCode::OK, "GET of a blob");
        receive(answer.into_body(), blob, 0..blob.length).await;
    }

    async fn ask(&mut self, request: http::request::Builder) -> Response<Incoming> {
        self.send(request, Either::Left(Empty::new())).await
    }

    async fn send(&mut self, request: http::request::Builder, body: Body) -> Response<Incoming> {
        let request = request.header(header::HOST, self.server.to_string()).header(header::USER_AGENT, "buildkit/v0.32");
        self.sender.ready().await.expect("the registry keeps its connections");
        self.sender.send_request(request.body(body).expect("a request")).await.expect("an answer")
    }
}

/// Reads what is in `range` of `blob`; panics when it is not that.
pub async fn receive<B>(mut body: B, blob: &Blob, range: Range<u64>)
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut at = range.start;
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.expect("the whole body").into_data() {
            assert!(at + bytes.len() as u64 <= range.end, "too many bytes were served");
            blob.must_hold(at, &bytes);
            at += bytes.len() as u64;
        }
    }
    assert_eq!(at, range.end, "the body ended early");
}

/// Reads an answer to its end, so that its connection is free again.
async fn finish(answer: Response<Incoming>) {
    answer.into_body().collect().await.expect("the whole answer");
}
