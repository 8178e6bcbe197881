//! A bucket in which there are unfinished uploads and nothing else.
//!
//! It lists them by prefix, as Amazon's does and MinIO does not, and believes
//! whoever asks. No process that began them is needed, and no day's wait.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::ports;

/// How many uploads are on a page.
pub const PAGE: usize = 3;

/// What a request that lists objects gets to see.
const NO_OBJECTS: &str = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";

/// A running bucket; its clones are the same one.
#[derive(Clone, Debug)]
pub struct Uploads {
    pub address: SocketAddrV4,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    /// When they were begun, by key and id.
    uploads: BTreeMap<(String, String), SystemTime>,
    /// How often they were listed.
    listings: usize,
    ignores_prefix: bool,
}

impl Uploads {
    /// One with no upload in it, on the runtime of the caller.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = ports::v4(listener.local_addr().expect("it is bound"));
        let bucket = Self { address, held: Arc::default() };
        let serving = bucket.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let bucket = serving.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let answer = bucket.answer(&request);
                    async { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        bucket
    }

    /// Puts an upload to `key` there that is of this age.
    pub fn leave(&self, key: &str, id: &str, age: Duration) {
        self.held().uploads.insert((key.to_owned(), id.to_owned()), SystemTime::now() - age);
    }

    /// From now on lists them all, whatever is asked for.
    pub fn ignore_prefix(&self) {
        self.held().ignores_prefix = true;
    }

    /// The ids of those that are there, in the order of their keys.
    pub fn ids(&self) -> Vec<String> {
        self.held().uploads.keys().map(|(_, id)| id.clone()).collect()
    }

    /// How often they were listed.
    pub fn listings(&self) -> usize {
        self.held().listings
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no panic")
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let query = request.uri().query().unwrap_or_default();
        let (status, body) = match *request.method() {
            Method::GET if value(query, "uploads").is_some() => (StatusCode::OK, self.held().page(query)),
            Method::GET => (StatusCode::OK, NO_OBJECTS.to_owned()),
            Method::DELETE => self.abort(request.uri().path(), query),
            _ => (StatusCode::NOT_IMPLEMENTED, String::new()),
        };
        let answer = Response::builder().status(status).header("content-type", "application/xml");
        answer.body(Full::new(body.into())).expect("an answer")
    }

    fn abort(&self, path: &str, query: &str) -> (StatusCode, String) {
        let path = decoded(path.trim_start_matches('/'));
        let (_, key) = path.split_once('/').expect("the bucket stands in the path");
        let upload = (key.to_owned(), value(query, "uploadId").expect("an upload's id"));
        match self.held().uploads.remove(&upload) {
            Some(_) => (StatusCode::NO_CONTENT, String::new()),
            None => (StatusCode::NOT_FOUND, "<Error><Code>NoSuchUpload</Code></Error>".to_owned()),
        }
    }
}

impl Held {
    fn page(&mut self, query: &str) -> String {
        self.listings += 1;
        let [prefix, key, id] = ["prefix", "key-marker", "upload-id-marker"].map(|name| value(query, name).unwrap_or_default());
        let (prefix, after) = (if self.ignores_prefix { String::new() } else { prefix }, (key, id));
        let mut found = self.uploads.iter().filter(|(upload, _)| upload.0.starts_with(&prefix) && **upload > after);
        let page: Vec<_> = found.by_ref().take(PAGE).collect();
        let uploads: String = page
            .iter()
            .map(|((key, id), began)| {
                let began = DateTime::from(**began).fmt(Format::DateTime).expect("a time");
                format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{began}</Initiated></Upload>")
            })
            .collect();
        let last = page.last().map_or(("", ""), |((key, id), _)| (key, id));
        let next = format!("<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{}</NextUploadIdMarker>", last.0, last.1);
        let is_truncated = found.next().is_some();
        let result = "ListMultipartUploadsResult";
        format!("<{result}><IsTruncated>{is_truncated}</IsTruncated>{next}{uploads}</{result}>")
    }
}

/// The value of `name` in `query`, if it is there.
fn value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(found, _)| *found == name).map(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().expect("text").into_owned()
}
