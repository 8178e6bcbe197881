//! A server that stands in for one that issues credentials: it says what a test wants, remembers what it was asked, and
//! can be down.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A request, whole.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A field of the form that the body is; empty when there is none.
    pub fn field(&self, name: &str) -> String {
        let mut pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value).replace('+', " ");
        percent_decode_str(&value).decode_utf8().expect("text").into_owned()
    }
}

/// A status and a body.
pub type Answer = (u16, String);

/// How long the session with an instance's metadata service holds; it answers with what it was asked for.
const SESSION_SECONDS: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

type Answering = dyn Fn(&Asked) -> Answer + Send + Sync;

/// A running stand-in; gone when dropped.
pub struct Issuer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: AbortOnDropHandle<()>,
}

struct Shared {
    answer: Box<Answering>,
    asked: Mutex<Vec<Asked>>,
    is_down: AtomicBool,
}

impl Issuer {
    /// One that answers by `answer`, which may take its time.
    pub async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { answer: Box::new(answer), asked: Mutex::default(), is_down: AtomicBool::new(false) });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far, also while it was down.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic").clone()
    }

    /// Whether it answers from now on, or only that it cannot.
    pub fn is_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(request).await }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (head, body) = request.into_parts();
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec()).expect("text");
        let session = head.headers.get(&SESSION_SECONDS).cloned();
        let asked = Asked { method: head.method, path: head.uri.to_string(), headers: head.headers, body };
        self.asked.lock().expect("no panic").push(asked.clone());
        let (status, body) = if self.is_down.load(Ordering::SeqCst) {
            (503, r#"{"error": "unavailable"}"#.to_owned())
        } else {
            tokio::task::spawn_blocking(move || (self.answer)(&asked)).await.expect("no panic")
        };
        let mut response = Response::builder().status(status).body(Full::from(body)).expect("a response");
        response.headers_mut().extend(session.map(|seconds| (SESSION_SECONDS, seconds)));
        Ok(response)
    }
}

/// The time after `lifetime`, as services tell it.
pub fn until(lifetime: Duration) -> String {
    DateTime::from(SystemTime::now() + lifetime).fmt(DateTimeFormat::DateTime).expect("a year that can be written")
}

/// The keys called `id`, good for `lifetime`, as the token service tells them for `action`.
pub fn role_keys(action: &str, [id, secret, token]: [&str; 3], lifetime: Duration) -> Answer {
    let expires = until(lifetime);
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>{expires}</Expiration></Credentials></{action}Result></{action}Response>"
    );
    (200, body)
}

/// An error as the token service tells it.
pub fn role_error(status: u16, code: &str) -> Answer {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>detail</Message></Error>");
    (status, format!("<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{error}</ErrorResponse>"))
}
