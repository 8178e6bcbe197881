//! A stand-in for the stores that no test can reach: an S3 server in this process.
//!
//! It checks signatures and payload hashes, keeps its objects in a store of
//! ours, and refuses what its kind of store refuses ([`rules`]); where that is
//! not known exactly, it is the stricter one. What asks it may be looked at, held
//! up or answered before it ([`Strict::before`]), and a
//! [`Door`](super::door::Door) fits before it as before any server.

mod bearer;
mod bucket;
mod rules;

use std::fmt;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longshore::credentials::Source;
use longshore::secrets::Template;
use longshore::store::{MemoryStore, ObjectStore, S3Kind, S3Objects, S3Settings};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, S3Error, S3ErrorCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::minio::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use super::ports;
use bucket::Bucket;
use rules::Pace;

/// The one bucket there is; it takes the keys that [`Minio`](super::minio::Minio) takes.
pub const BUCKET: &str = "stand-in";

/// The store that is stood in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Amazon's, which refuses nothing but what is wrong.
    Aws,
    /// Google Cloud Storage through its S3-interoperable API.
    Gcs,
    /// Cloudflare's.
    R2,
    /// Backblaze's.
    B2,
}

/// A running stand-in; gone with its objects when dropped.
pub struct Strict {
    pub address: SocketAddrV4,
    counter: Arc<Counter>,
    _accepting: AbortOnDropHandle<()>,
}

/// Looks at a request, waits as long as it likes, and answers in the bucket's place if it wants to.
pub type Visitor = Arc<dyn Fn(&Parts) -> BoxFuture<'static, Option<Response<Body>>> + Send + Sync>;

/// Whether a token is taken.
type Tokens = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Where requests are taken.
struct Counter {
    kind: Kind,
    pace: Pace,
    bucket: S3Service,
    /// Which tokens are taken, where they are what lets somebody in.
    tokens: Option<Tokens>,
    visitors: Mutex<Vec<Visitor>>,
}

impl Strict {
    /// Starts one with nothing in it, on the runtime of the caller.
    pub fn start(kind: Kind) -> Self {
        Self::over(Arc::new(MemoryStore::default()), kind, kind.pause_between_writes())
    }

    /// Starts one that keeps its objects in `store`, and refuses a second write of one name within `pause`.
    pub fn over(store: Arc<dyn ObjectStore>, kind: Kind, pause: Duration) -> Self {
        Self::taking(store, kind, pause, None)
    }

    /// Starts one whose requests carry one of these tokens and are not signed ([`bearer`]). It takes writes of one name as they come.
    pub fn bearing(kind: Kind, tokens: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self::taking(Arc::new(MemoryStore::default()), kind, Duration::ZERO, Some(Box::new(tokens)))
    }

    fn taking(store: Arc<dyn ObjectStore>, kind: Kind, pause: Duration, tokens: Option<Tokens>) -> Self {
        let mut bucket = S3ServiceBuilder::new(Bucket::new(store, kind));
        if tokens.is_none() {
            bucket.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        }
        let (pace, bucket, visitors) = (Pace::new(pause), bucket.build(), Mutex::default());
        let counter = Arc::new(Counter { kind, pace, bucket, tokens, visitors });

        let address = ports::free_address();
        let listener = std::net::TcpListener::bind(address).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be set");
        let accepting = tokio::spawn(accept(TcpListener::from_std(listener).expect("a runtime"), Arc::clone(&counter)));
        Self { address, counter, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// What it stands in for.
    pub fn kind(&self) -> Kind {
        self.counter.kind
    }

    /// How to reach its bucket through `endpoint`.
    pub fn settings(&self, endpoint: SocketAddrV4) -> S3Settings {
        let kind = match self.kind() {
            Kind::Aws => S3Kind::AWS,
            Kind::Gcs => S3Kind::GCS,
            Kind::R2 => S3Kind::R2,
            Kind::B2 => S3Kind::B2,
        };
        S3Settings {
            bucket: BUCKET.to_owned(),
            prefix: String::new(),
            kind,
            region: self.kind().region().to_owned(),
            endpoint: Some(format!("http://{endpoint}")),
            path_style: true,
            credentials: Source::Static {
                access_key_id: Template::of_text(ACCESS_KEY_ID),
                secret_access_key: Template::of_text(SECRET_ACCESS_KEY),
                session_token: None,
            },
            objects: S3Objects::default(),
            ca_bundle: None,
            proxy: None,
        }
    }

    /// Shows every request from now on to `visitor` before anything else is done with it.
    pub fn before(&self, visitor: impl Fn(&Parts) -> BoxFuture<'static, Option<Response<Body>>> + Send + Sync + 'static) {
        self.counter.visitors.lock().expect("no panic").push(Arc::new(visitor));
    }
}

impl fmt::Debug for Strict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Strict({:?} at {})", self.counter.kind, self.address)
    }
}

/// An error as S3 servers tell it.
pub fn refusal(status: u16, code: &'static str, message: &'static str) -> Response<Body> {
    let mut error = S3Error::with_message(S3ErrorCode::from_bytes(code.as_bytes()).expect("text"), message);
    error.set_status_code(status.try_into().expect("a status"));
    error.to_http_response().expect("it can be written")
}

/// Serves whoever comes; the connections end with it.
async fn accept(listener: TcpListener, counter: Arc<Counter>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let counter = Arc::clone(&counter);
        connections.spawn(async move {
            let service = service_fn(|request| counter.answer(request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Counter {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, HttpError> {
        let (mut head, body) = request.into_parts();
        if let Some(answer) = self.refuse(&head).await {
            // Who is still sending would take the end of the connection for the answer.
            let _ = body.collect().await;
            return Ok(answer);
        }
        if self.tokens.is_some() {
            bearer::translate(&mut head.headers);
        }
        self.bucket.call(Request::from_parts(head, body.into())).await
    }

    /// What is answered without the bucket's being asked.
    async fn refuse(&self, head: &Parts) -> Option<Response<Body>> {
        let visitors = self.visitors.lock().expect("no panic").clone();
        for visitor in visitors {
            if let Some(answer) = visitor(head).await {
                return Some(answer);
            }
        }
        if let Some(answer) = self.tokens.as_ref().and_then(|tokens| bearer::refuse(head, tokens)) {
            return Some(answer);
        }
        if let Some(rule) = self.kind.rules().iter().find(|rule| (rule.is_broken_by)(head)) {
            return Some(refusal(rule.status, rule.code, rule.why));
        }
        let is_too_soon = rules::is_write(head) && self.pace.is_too_fast_for(head.uri.path());
        is_too_soon.then(|| refusal(429, "SlowDown", "one write a second for each name"))
    }
}
