//! A server that stands in for a bucket: it says what a test wants, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longshore::store::S3Settings;
use tokio::net::TcpListener;

use crate::bench::settings;

pub type Answer = Response<Full<Bytes>>;

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub operation: &'static str,
    /// With the host, when it came as to a proxy.
    pub target: String,
    pub headers: HeaderMap,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A running stand-in; it ends with the runtime of its test.
pub struct StandIn {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    /// One that answers by `answer`, and is agreeable where that has nothing to say.
    pub async fn saying(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_in = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, answer) = (Arc::clone(&stand_in.asked), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                    async move {
                        let (parts, body) = request.into_parts();
                        body.collect().await?;
                        let question = question(&parts);
                        asked.lock().unwrap().push(question.clone());
                        Ok::<_, hyper::Error>(answer(&question).unwrap_or_else(|| agreeable(&question)))
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        stand_in
    }

    /// How to reach it.
    pub fn settings(&self) -> S3Settings {
        settings(self.address)
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Its operations, in the order in which they were asked for.
    pub fn operations(&self) -> Vec<&'static str> {
        self.asked().iter().map(|asked| asked.operation).collect()
    }
}

/// An error as S3 tells it.
pub fn error(status: u16, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>detail</Message></Error>");
    Response::builder().status(status).header("content-type", "application/xml").body(Full::from(body)).unwrap()
}

fn question(parts: &Parts) -> Asked {
    let query = parts.uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_copy = parts.headers.contains_key("x-amz-copy-source");
    let operation = match parts.method {
        Method::HEAD => "HeadObject",
        Method::GET if has("list-type") => "ListObjectsV2",
        Method::GET => "GetObject",
        Method::PUT if has("uploadId") => "UploadPart",
        Method::PUT if is_copy => "CopyObject",
        Method::PUT => "PutObject",
        Method::POST if has("uploads") => "CreateMultipartUpload",
        Method::POST => "CompleteMultipartUpload",
        Method::DELETE if has("uploadId") => "AbortMultipartUpload",
        Method::DELETE => "DeleteObject",
        _ => "Other",
    };
    Asked { operation, target: parts.uri.to_string(), headers: parts.headers.clone() }
}

/// What a bucket in which every object is `hello` would say.
fn agreeable(asked: &Asked) -> Answer {
    const MODIFIED: &str = "Wed, 25 Nov 2026 12:00:00 GMT";
    let answer = Response::builder().header("etag", "\"etag\"").header("last-modified", MODIFIED);
    let xml = |body: &str| Full::from(body.to_owned());
    let answer = match asked.operation {
        "HeadObject" => answer.header("content-length", "5").body(Full::default()),
        "GetObject" => answer.body(xml("hello")),
        "DeleteObject" | "AbortMultipartUpload" => answer.status(StatusCode::NO_CONTENT).body(Full::default()),
        "ListObjectsV2" => answer.body(xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")),
        "CopyObject" => answer.body(xml("<CopyObjectResult><ETag>\"etag\"</ETag></CopyObjectResult>")),
        "CreateMultipartUpload" => {
            answer.body(xml("<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"))
        }
        "CompleteMultipartUpload" => {
            answer.body(xml("<CompleteMultipartUploadResult><ETag>\"etag\"</ETag></CompleteMultipartUploadResult>"))
        }
        _ => answer.body(Full::default()),
    };
    answer.unwrap()
}
