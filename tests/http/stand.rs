//! A server under test in this process, and requests whose answers are checked
//! for what is true of every answer.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use longshore::access::{Access, Authenticator, Grants, Profile, Profiles};
use longshore::api::{Api, Entrance, Hosts};
use longshore::metrics::Metrics;
use longshore::oci::Digest;
use longshore::registry::{Patience, Registry};
use longshore::secrets::Mask;
use longshore::server::{self, Limits};
use longshore::store::{MemoryStore, ObjectStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{self, Answer};

/// Long enough that only a test that has failed waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A secret of the server's, which also is a name and a tag.
pub const SECRET: &str = "sesame-open";

/// A server, gone when dropped.
pub struct Stand {
    pub address: SocketAddrV4,
    /// Where those come in who watch.
    pub admin: SocketAddrV4,
    pub store: Arc<dyn ObjectStore>,
    pub running: JoinHandle<()>,
    /// What is behind it, to wait for.
    pub registry: Arc<Registry>,
    stop: DropGuard,
}

impl Stand {
    /// A server over an empty store in memory, open to everybody.
    pub fn new() -> Self {
        Self::with(Arc::new(MemoryStore::default()), Access::Write, Patience::with_bytes(PATIENCE))
    }

    pub fn with(store: Arc<dyn ObjectStore>, anonymous: Access, patience: Patience) -> Self {
        let registry = Registry::new(Arc::clone(&store), patience);
        Self::of(registry, store, anonymous)
    }

    /// A server of `registry`, which is over `store`.
    pub fn of(registry: Registry, store: Arc<dyn ObjectStore>, anonymous: Access) -> Self {
        Self::over(registry, store, anonymous, Grants::default(), Authenticator::default())
    }

    /// A server whose clients may say who they are, and may what `grants` say.
    pub fn guarded(
        store: Arc<dyn ObjectStore>,
        anonymous: Access,
        patience: Patience,
        grants: Grants,
        authenticator: Authenticator,
    ) -> Self {
        Self::over(Registry::new(Arc::clone(&store), patience), store, anonymous, grants, authenticator)
    }

    fn over(
        registry: Registry,
        store: Arc<dyn ObjectStore>,
        anonymous: Access,
        grants: Grants,
        authenticator: Authenticator,
    ) -> Self {
        let registry = Arc::new(registry);
        let profile = Profile::new("default".to_owned(), Arc::clone(&registry), anonymous);
        Self::among(vec![profile], registry, store, grants, authenticator)
    }

    /// A server of `profiles`; `registry`, over `store`, is that of one of them.
    pub fn among(
        profiles: Vec<Profile>,
        registry: Arc<Registry>,
        store: Arc<dyn ObjectStore>,
        grants: Grants,
        authenticator: Authenticator,
    ) -> Self {
        let settling = Arc::clone(&registry);
        let mask = Mask::default();
        mask.add(&SECRET.into());
        let api = Api::new(Profiles::new([]), Hosts::new(["longshore.test".to_owned()]), Metrics::new(10));
        let api = Arc::new(api.with_mask(mask));
        api.put_in_force(Profiles::new(profiles.into_iter().map(Arc::new)).with_grants(grants), authenticator);
        let ((listener, address), (admin_listener, admin)) = (listen(), listen());
        let listeners = vec![(listener, Entrance::Registry(None)), (admin_listener, Entrance::Admin)];
        let limits = Limits { connections: 64, drain: PATIENCE };
        let token = CancellationToken::new();
        let stop = token.clone().drop_guard();
        let running = tokio::spawn(async move {
            server::serve(listeners, api, limits, token.cancelled_owned(), || registry.has_open_exports()).await;
        });
        Self { address, admin, store, running, registry: settling, stop }
    }

    /// Tells the server to stop, as SIGTERM does.
    pub fn stop(self) -> (SocketAddrV4, JoinHandle<()>) {
        drop(self.stop);
        (self.address, self.running)
    }

    pub async fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        send(self.address, request).await
    }

    pub async fn ask(&self, line: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        self.send(Request::builder().method(method).uri(path).body("").unwrap()).await
    }

    /// Opens an upload in `image`; where its bytes go.
    pub async fn open_upload(&self, image: &str) -> String {
        let opened = self.ask(&format!("POST /v2/{image}/blobs/uploads/")).await;
        assert_eq!(opened.status, StatusCode::ACCEPTED, "{opened:?}");
        let location = opened.header("location").to_owned();
        assert!(location.starts_with("/v2/"), "path-absolute: {location}");
        location
    }

    pub async fn push(&self, image: &str, content: &'static str) -> Digest {
        let digest = Digest::sha256(content.as_bytes());
        let put = self.put(&self.open_upload(image).await, &digest, content).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        digest
    }

    pub async fn put(&self, location: &str, digest: &Digest, content: impl Into<Bytes>) -> Answer {
        let and = if location.contains('?') { '&' } else { '?' };
        self.send(Request::put(format!("{location}{and}digest={digest}")).body(content).unwrap()).await
    }

    /// Sends a chunk; `range` as its `Content-Range`, if any.
    pub async fn patch(&self, location: &str, range: Option<&str>, content: &'static str) -> Answer {
        let mut request = Request::patch(location);
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        self.send(request.body(content).unwrap()).await
    }

    pub async fn put_manifest(&self, path: &str, media_type: &str, manifest: impl Into<Bytes>) -> Answer {
        self.send(Request::put(path).header("content-type", media_type).body(manifest).unwrap()).await
    }

    /// Sends `bytes` as they are, says that no more will come, and reads whatever is answered.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is as good as an end.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The keys of everything that is stored.
    pub async fn keys(&self) -> Vec<String> {
        let page = self.store.list("", None, PATIENCE).await.unwrap();
        page.objects.iter().map(|object| object.key.to_string()).collect()
    }
}

fn listen() -> (TcpListener, SocketAddrV4) {
    let listener = server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
    (listener, address)
}

pub async fn send(address: SocketAddrV4, request: Request<impl Into<Bytes>>) -> Answer {
    let is_head = request.method() == http::Method::HEAD;
    let is_api = request.uri().path().starts_with("/v2");
    let answer = client::send(address, request.map(Into::into)).await;
    if is_api {
        check(&answer, is_head);
    }
    answer
}

/// What is true of every answer of the API.
pub fn check(answer: &Answer, is_head: bool) {
    assert_eq!(answer.header("docker-distribution-api-version"), "registry/2.0", "{answer:?}");
    assert!(answer.headers.get("content-encoding").is_none(), "{answer:?}");
    assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "fails a build at once");
    assert_ne!(answer.status, StatusCode::BAD_GATEWAY, "fails a build at once");
    if let Some(digest) = answer.headers.get("docker-content-digest") {
        let digest: Digest = digest.to_str().unwrap().parse().expect("a digest");
        let is_all_of_it = answer.status == StatusCode::OK && !is_head;
        assert!(!is_all_of_it || Digest::of(digest.algorithm(), &answer.body) == digest, "{answer:?}");
    }
    if answer.status.is_client_error() || answer.status.is_server_error() {
        assert_eq!(answer.header("content-type"), "application/json", "{answer:?}");
        assert!(is_head || !code(answer).is_empty());
    }
}

/// The code of the first error in `answer`.
pub fn code(answer: &Answer) -> String {
    text(answer, "code")
}

/// The message of the first error in `answer`.
pub fn message(answer: &Answer) -> String {
    text(answer, "message")
}

fn text(answer: &Answer, field: &str) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("no JSON in {answer:?}"));
    body["errors"][0][field].as_str().unwrap_or_else(|| panic!("no {field} in {answer:?}")).to_owned()
}
