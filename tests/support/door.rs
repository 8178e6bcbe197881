//! A door in front of a server: every request that passes is seen, and it can be shut.
//!
//! A door forwards HTTP/1.1 as it comes: the same headers (`Host` too, which
//! S3 signatures cover), bodies streamed both ways, one connection behind for
//! each in front. It stands before an S3 server, before Longshore itself, or
//! before replicas of it, which take turns. Single requests can be
//! [troubled](Door::trouble) on their way.

use std::collections::HashMap;
use std::io::IoSlice;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};

use super::fault::{Broken, Fault, Flow, struck, whole};
use super::ports;
use super::shape::{Paced, Pipe, Shape};

/// How a door treats those who come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Open,
    /// Connections are refused; those there were are reset.
    Refuse,
    /// Connections are accepted, and nothing ever comes back on them; those there were
    /// freeze as well, and stay frozen when the door opens again.
    BlackHole,
}

/// What happens when the request that a [`Trip`] waits for arrives.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// The door changes its mode before the server behind sees the request.
    Become(Mode),
    /// The server behind does as it is asked, and the door changes its mode before anybody learns of it.
    LoseAnswer(Mode),
    /// The request waits until [`Trip::release`], and the server behind doesn't see it before that.
    Hold,
}

/// A request that came to the door.
#[derive(Debug)]
pub struct Seen {
    pub method: Method,
    /// Still percent-encoded.
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub came: Instant,
    answer: OnceLock<(StatusCode, Instant)>,
    uploaded: AtomicU64,
    downloaded: AtomicU64,
    refusal: Mutex<Vec<u8>>,
}

impl Seen {
    /// The value of header `name`, empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What the server behind answered, `None` while it hasn't.
    pub fn status(&self) -> Option<StatusCode> {
        self.answer.get().map(|&(status, _)| status)
    }

    /// When the head of the answer came, `None` while it hasn't.
    pub fn answered(&self) -> Option<Instant> {
        self.answer.get().map(|&(_, answered)| answered)
    }

    /// Bytes of the request's body that came so far.
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded.load(Ordering::Relaxed)
    }

    /// Bytes of the answer's body that went out so far.
    pub fn downloaded_bytes(&self) -> u64 {
        self.downloaded.load(Ordering::Relaxed)
    }

    /// The body of an answer that was an error, as far as it came; empty for any other.
    pub fn refusal(&self) -> String {
        String::from_utf8_lossy(&self.refusal.lock().expect("no panic")).into_owned()
    }

    /// The access key id that an S3 request is signed with; empty where none is.
    pub fn signer(&self) -> &str {
        let (_, credential) = self.header("authorization").split_once("Credential=").unwrap_or_default();
        credential.split('/').next().unwrap_or_default()
    }

    fn note_upload(&self, data: &Bytes) {
        self.uploaded.fetch_add(data.len() as u64, Ordering::Relaxed);
    }

    fn note_download(&self, data: &Bytes) {
        self.downloaded.fetch_add(data.len() as u64, Ordering::Relaxed);
        if self.status().is_some_and(|status| status.is_client_error() || status.is_server_error()) {
            self.refusal.lock().expect("no panic").extend_from_slice(data);
        }
    }

    /// What this asks of an S3 server, path style.
    pub fn operation(&self) -> S3Operation {
        let has = |name: &str| self.query.split('&').any(|pair| pair == name || pair.starts_with(&format!("{name}=")));
        let in_bucket = self.path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
        match (self.method.as_str(), in_bucket) {
            ("HEAD", true) => S3Operation::HeadObject,
            ("GET", true) if has("uploadId") => S3Operation::ListParts,
            ("GET", true) => S3Operation::GetObject,
            ("PUT", true) if has("uploadId") && self.headers.contains_key("x-amz-copy-source") => S3Operation::UploadPartCopy,
            ("PUT", true) if has("uploadId") => S3Operation::UploadPart,
            ("PUT", true) if self.headers.contains_key("x-amz-copy-source") => S3Operation::CopyObject,
            ("PUT", true) => S3Operation::PutObject,
            ("POST", true) if has("uploads") => S3Operation::CreateMultipartUpload,
            ("POST", true) if has("uploadId") => S3Operation::CompleteMultipartUpload,
            ("DELETE", true) if has("uploadId") => S3Operation::AbortMultipartUpload,
            ("DELETE", true) => S3Operation::DeleteObject,
            ("POST", false) if has("delete") => S3Operation::DeleteObjects,
            ("GET", false) if has("uploads") => S3Operation::ListMultipartUploads,
            ("GET", false) if has("list-type") => S3Operation::ListObjectsV2,
            _ => S3Operation::Other,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum S3Operation {
    HeadObject,
    GetObject,
    PutObject,
    CopyObject,
    DeleteObject,
    DeleteObjects,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    ListObjectsV2,
    Other,
}

/// A running door; closed when dropped.
#[derive(Debug)]
pub struct Door {
    /// Where the door stands.
    pub address: SocketAddrV4,
    hall: Arc<Hall>,
}

impl Door {
    /// Opens a door that leads to `behind`, on the runtime of the caller.
    pub fn open(behind: SocketAddrV4) -> Self {
        Self::open_at(ports::free_address(), behind)
    }

    /// Opens a door at `address` that leads to `behind`.
    pub fn open_at(address: SocketAddrV4, behind: SocketAddrV4) -> Self {
        Self::open_to(address, vec![behind], Shape::default())
    }

    /// Opens a door behind which `behind` seems to be as far away as `shape` says.
    pub fn open_shaped(behind: SocketAddrV4, shape: Shape) -> Self {
        Self::open_to(ports::free_address(), vec![behind], shape)
    }

    /// Opens a door that leads each request to the next of `replicas`, whichever connection it came on.
    pub fn open_in_turn(replicas: &[SocketAddrV4]) -> Self {
        Self::open_to(ports::free_address(), replicas.to_owned(), Shape::default())
    }

    fn open_to(address: SocketAddrV4, behind: Vec<SocketAddrV4>, shape: Shape) -> Self {
        let hall = Arc::new(Hall {
            address,
            behind,
            pipe: Pipe::new(shape),
            turn: AtomicUsize::new(0),
            mode: Mutex::new(Mode::Open),
            listener: Mutex::new(None),
            connections: Mutex::default(),
            next_connection: AtomicU64::new(0),
            seen: Mutex::default(),
            trips: Mutex::default(),
            trouble: Mutex::default(),
        });
        hall.listen();
        Self { address, hall }
    }

    /// Changes how those who come from now on, and those who are there, are treated.
    pub async fn become_(&self, mode: Mode) {
        self.hall.become_(mode).await;
    }

    /// Every request that came since the door was opened or [`forget`](Self::forget) was called.
    pub fn seen(&self) -> Vec<Arc<Seen>> {
        self.hall.seen.lock().expect("no panic").clone()
    }

    /// The requests among [`seen`](Self::seen) that ask an S3 server for `operation`.
    pub fn seen_operations(&self, operation: S3Operation) -> Vec<Arc<Seen>> {
        self.seen().into_iter().filter(|seen| seen.operation() == operation).collect()
    }

    /// Forgets the requests seen so far.
    pub fn forget(&self) {
        self.hall.seen.lock().expect("no panic").clear();
    }

    /// Does `action` when the `nth` request (from 1) that `is_it` arrives, counted from now.
    pub fn trip(&self, nth: usize, action: Action, is_it: impl Fn(&Seen) -> bool + Send + Sync + 'static) -> Trip {
        let wire = Arc::new(Wire {
            is_it: Box::new(is_it),
            left: AtomicUsize::new(nth),
            action,
            sprung: Notify::new(),
            released: Semaphore::new(0),
        });
        self.hall.trips.lock().expect("no panic").push(Arc::clone(&wire));
        Trip { wire }
    }

    /// Lets befall each request from now on what `trouble` says.
    pub fn trouble(&self, trouble: impl Fn(&Seen) -> Option<Fault> + Send + Sync + 'static) {
        *self.hall.trouble.lock().expect("no panic") = Some(Trouble(Arc::new(trouble)));
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.hall.stop_listening();
        self.hall.reset_connections();
    }
}

/// Stands for one request that is waited for; see [`Door::trip`].
#[derive(Debug)]
pub struct Trip {
    wire: Arc<Wire>,
}

impl Trip {
    /// Waits until the request has come; panics after `limit`.
    pub async fn sprung(&self, limit: Duration) {
        let came = tokio::time::timeout(limit, self.wire.sprung.notified()).await;
        came.unwrap_or_else(|_| panic!("the request that was waited for did not come within {limit:?}"));
        self.wire.sprung.notify_one();
    }

    /// Whether the request has come.
    pub fn has_sprung(&self) -> bool {
        self.wire.left.load(Ordering::SeqCst) == 0
    }

    /// Lets the request go on that [`Action::Hold`] holds, or will hold.
    pub fn release(&self) {
        self.wire.released.add_permits(1);
    }
}

struct Wire {
    is_it: Box<dyn Fn(&Seen) -> bool + Send + Sync>,
    /// How many such requests are still to come.
    left: AtomicUsize,
    action: Action,
    sprung: Notify,
    released: Semaphore,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("left", &self.left).field("action", &self.action).finish_non_exhaustive()
    }
}

/// Says what befalls a request.
type Befalls = dyn Fn(&Seen) -> Option<Fault> + Send + Sync;

/// What befalls requests.
#[derive(Clone)]
struct Trouble(Arc<Befalls>);

impl std::fmt::Debug for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trouble")
    }
}

impl Wire {
    /// Whether `seen` is the request that was waited for.
    fn is_sprung_by(&self, seen: &Seen) -> bool {
        (self.is_it)(seen) && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) == Ok(1)
    }
}

/// What lies between the two sides.
#[derive(Debug)]
struct Hall {
    address: SocketAddrV4,
    /// The servers, which take turns.
    behind: Vec<SocketAddrV4>,
    pipe: Pipe,
    turn: AtomicUsize,
    mode: Mutex<Mode>,
    listener: Mutex<Option<JoinHandle<()>>>,
    connections: Mutex<HashMap<u64, Connection>>,
    next_connection: AtomicU64,
    seen: Mutex<Vec<Arc<Seen>>>,
    trips: Mutex<Vec<Arc<Wire>>>,
    trouble: Mutex<Option<Trouble>>,
}

/// A connection from in front.
#[derive(Debug)]
struct Connection {
    frozen: Arc<AtomicBool>,
    /// A second handle on the socket, by which it can be told to reset.
    socket: OwnedFd,
    task: AbortHandle,
}

impl Connection {
    fn reset_at_end(&self) {
        let _ = socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
    }
}

impl Hall {
    fn listen(self: &Arc<Self>) {
        // std's sets SO_REUSEADDR, so a door finds its port again.
        let listener = std::net::TcpListener::bind(self.address).expect("the door's port is free");
        listener.set_nonblocking(true).expect("a socket can be set");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let hall = Arc::clone(self);
        let accept = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                hall.admit(stream);
            }
        });
        *self.listener.lock().expect("no panic") = Some(accept);
    }

    fn stop_listening(&self) -> Option<JoinHandle<()>> {
        let accept = self.listener.lock().expect("no panic").take();
        accept.inspect(JoinHandle::abort)
    }

    fn reset_connections(&self) {
        for (_, connection) in self.connections.lock().expect("no panic").drain() {
            connection.reset_at_end();
            connection.task.abort();
        }
    }

    /// Why the connection `id` ends here, by a reset.
    fn reset(&self, id: u64) -> Broken {
        if let Some(connection) = self.connections.lock().expect("no panic").get(&id) {
            connection.reset_at_end();
        }
        "a test reset it".into()
    }

    /// May end its caller, when that is a connection's own task: nothing is left to do after the first await.
    async fn become_(self: &Arc<Self>, mode: Mode) {
        let previous = std::mem::replace(&mut *self.mode.lock().expect("no panic"), mode);
        let mut closing = None;
        match mode {
            Mode::Open => {}
            Mode::Refuse => {
                closing = self.stop_listening();
                self.reset_connections();
            }
            Mode::BlackHole => {
                for connection in self.connections.lock().expect("no panic").values() {
                    connection.frozen.store(true, Ordering::SeqCst);
                }
            }
        }
        if previous == Mode::Refuse && mode != Mode::Refuse {
            self.listen();
        }
        if let Some(closing) = closing {
            let _ = closing.await;
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let frozen = Arc::new(AtomicBool::new(false));
        let socket = stream.as_fd().try_clone_to_owned().expect("a second handle");
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        // Held over the look at the mode, so that a change of it finds this connection or is found by it.
        let mut connections = self.connections.lock().expect("no panic");
        match *self.mode.lock().expect("no panic") {
            Mode::Open => {}
            Mode::Refuse => return,
            Mode::BlackHole => frozen.store(true, Ordering::SeqCst),
        }
        let stream = Freezable { stream: self.pipe.pace(stream), frozen: Arc::clone(&frozen) };
        let hall = Arc::clone(self);
        let task = tokio::spawn(async move {
            hall.serve(id, stream).await;
            hall.connections.lock().expect("no panic").remove(&id);
        });
        connections.insert(id, Connection { frozen, socket, task: task.abort_handle() });
    }

    async fn serve(self: &Arc<Self>, id: u64, stream: Freezable) {
        let (mut senders, mut behind) = (Vec::new(), FuturesUnordered::new());
        for &server in &self.behind {
            let Some((sender, connection)) = connect(server).await else { return };
            senders.push(Arc::new(Behind { server, sender: tokio::sync::Mutex::new(sender) }));
            behind.push(connection);
        }
        let service = service_fn(|request| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % senders.len();
            self.admit_request(id, Arc::clone(&senders[turn]), request)
        });
        let mut front = hyper::server::conn::http1::Builder::new();
        let front = front.max_buf_size(BUFFER_BYTES).serve_connection(TokioIo::new(stream), service);
        tokio::pin!(front);
        tokio::select! {
            _ = front.as_mut() => {}
            _ = behind.next() => {
                front.as_mut().graceful_shutdown();
                let _ = front.await;
            }
        }
    }

    /// Lets befall a request what is to befall it.
    async fn admit_request(
        self: &Arc<Self>,
        id: u64,
        behind: Arc<Behind>,
        request: Request<Incoming>,
    ) -> Result<Response<Noted>, Broken> {
        let seen = self.see(&request);
        self.pipe.delay().await;
        let trouble = self.trouble.lock().expect("no panic").clone();
        let forward = |request| self.forward(behind, Arc::clone(&seen), request);
        let answer = match trouble.and_then(|Trouble(trouble)| trouble(&seen)) {
            None => forward(request.map(whole)).await?.map(whole),
            Some(Fault::Late(time)) => {
                tokio::time::sleep(time).await;
                forward(request.map(whole)).await?.map(whole)
            }
            Some(Fault::Request(strike)) => forward(request.map(|body| struck(body, strike))).await?.map(whole),
            Some(Fault::Answer(strike)) => forward(request.map(whole)).await?.map(|body| struck(body, strike)),
            Some(Fault::Reset) => return Err(self.reset(id)),
            Some(Fault::AnswerLost) => {
                forward(request.map(whole)).await?;
                return Err(self.reset(id));
            }
            Some(Fault::Answered(answer)) => {
                // Who is still sending would take the end of the connection for the answer.
                request.into_body().collect().await?;
                answer.map(Full::new).map(whole)
            }
            Some(Fault::AnsweredOtherwise(answer)) => {
                forward(request.map(whole)).await?.into_body().collect().await?;
                answer.map(Full::new).map(whole)
            }
        };
        Ok(answer.map(|body| Noted { body, seen, note: Seen::note_download }))
    }

    fn see(&self, request: &Request<Incoming>) -> Arc<Seen> {
        let seen = Arc::new(Seen {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
            came: Instant::now(),
            answer: OnceLock::new(),
            uploaded: AtomicU64::new(0),
            downloaded: AtomicU64::new(0),
            refusal: Mutex::default(),
        });
        self.seen.lock().expect("no panic").push(Arc::clone(&seen));
        seen
    }

    async fn forward(
        self: &Arc<Self>,
        behind: Arc<Behind>,
        seen: Arc<Seen>,
        request: Request<Flow>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let lost = self.spring_trips(&seen).await;
        let mut sender = behind.sender.lock().await;
        if sender.is_closed() {
            // The server ended the connection while the request was held here; a client would have taken a new one.
            if let Some((anew, connection)) = connect(behind.server).await {
                *sender = anew;
                tokio::spawn(connection);
            }
        }
        let request = request.map(|body| Noted { body, seen: Arc::clone(&seen), note: Seen::note_upload });
        let response = sender.send_request(request).await?;
        if let Some((wire, mode)) = lost {
            self.shut(&wire, mode).await;
        }
        let _ = seen.answer.set((response.status(), Instant::now()));
        Ok(response)
    }

    /// Does what is to be done before the request is passed on; the trip that its answer springs, if any.
    async fn spring_trips(self: &Arc<Self>, seen: &Seen) -> Option<(Arc<Wire>, Mode)> {
        let trips = self.trips.lock().expect("no panic").clone();
        let sprung = trips.into_iter().find(|wire| wire.is_sprung_by(seen))?;
        match sprung.action {
            Action::LoseAnswer(mode) => return Some((sprung, mode)),
            Action::Become(mode) => self.shut(&sprung, mode).await,
            Action::Hold => {
                sprung.sprung.notify_one();
                sprung.released.acquire().await.expect("never closed").forget();
            }
        }
        None
    }

    /// Changes the mode under a request whose connection is thereby reset or frozen: this never comes back.
    async fn shut(self: &Arc<Self>, wire: &Arc<Wire>, mode: Mode) {
        let (hall, wire) = (Arc::clone(self), Arc::clone(wire));
        // In a task of its own: refusing ends the one that this runs in, and whoever waits must find the door shut.
        tokio::spawn(async move {
            hall.become_(mode).await;
            wire.sprung.notify_one();
        });
        std::future::pending().await
    }
}

/// What is read at a time, at most: a door costs least when it stays in the processor's cache.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection to a server behind.
struct Behind {
    server: SocketAddrV4,
    sender: tokio::sync::Mutex<SendRequest<Noted>>,
}

async fn connect(server: SocketAddrV4) -> Option<(SendRequest<Noted>, BoxFuture<'static, ()>)> {
    let stream = TcpStream::connect(server).await.ok()?;
    let _ = stream.set_nodelay(true);
    let mut behind = hyper::client::conn::http1::Builder::new();
    let (sender, connection) = behind.max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await.ok()?;
    Some((sender, Box::pin(async move { connection.await.unwrap_or_default() })))
}

/// A body whose bytes are noted as they pass.
struct Noted {
    body: Flow,
    seen: Arc<Seen>,
    note: fn(&Seen, &Bytes),
}

impl Body for Noted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            (self.note)(&self.seen, data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection on which, once frozen, nothing ever happens again.
struct Freezable {
    stream: Paced<TcpStream>,
    frozen: Arc<AtomicBool>,
}

impl Freezable {
    /// The stream; while frozen nobody is woken, for there is nothing to wake up to.
    fn moving(self: Pin<&mut Self>) -> Poll<Pin<&mut Paced<TcpStream>>> {
        if self.frozen.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(Pin::new(&mut self.get_mut().stream)) }
    }
}

impl AsyncRead for Freezable {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.moving()).poll_read(context, buffer)
    }
}

impl AsyncWrite for Freezable {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        std::task::ready!(self.moving()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        std::task::ready!(self.moving()).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.moving()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        std::task::ready!(self.moving()).poll_shutdown(context)
    }
}
