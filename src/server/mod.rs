//! Sockets, HTTP/1.1, and ending well.
//!
//! HTTP/2 is left out on purpose: BuildKit and containerd speak HTTP/1.1 to
//! registries, even under TLS.

mod connection;
mod door;
mod listener;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{Api, Entrance};

pub use door::TlsDoor;
pub use listener::bind;

/// How often a draining server looks whether it may end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is left of the draining for requests that run when no more are taken.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// The pause after an accept that failed for want of file handles or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepted connections that nobody serves yet.
const ACCEPTED: usize = 16;

/// Most connections at once of those who watch.
const ADMIN_CONNECTIONS: usize = 16;

/// What a server allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once; further ones wait in the system's queue.
    pub connections: usize,
    /// How long running exports and requests may take to end once the server is told to stop.
    pub drain: Duration,
}

/// Serves `api` on `listeners` until `stop` is ready, then ends well.
///
/// Ending well: the server says that it is not ready, yet goes on accepting
/// while `is_busy` says that somebody is in the middle of pushing; then it
/// accepts no more and waits for what is running. All that for
/// `limits.drain` at most.
pub async fn serve(
    listeners: Vec<impl Into<Listening>>,
    api: Arc<Api>,
    limits: Limits,
    stop: impl Future<Output = ()>,
    is_busy: impl Fn() -> bool,
) {
    let connections = TaskTracker::new();
    let (accepting, closing, ending) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (accepted, mut incoming) = mpsc::channel(ACCEPTED);
    let room = Arc::new(Semaphore::new(limits.connections));
    // Whoever watches gets in when clients take up all the room.
    let side_room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    for listening in listeners.into_iter().map(Into::into) {
        let room = match listening.entrance {
            Entrance::Registry(_) => &room,
            Entrance::Admin => &side_room,
        };
        tokio::spawn(accept(listening, Arc::clone(room), accepted.clone(), accepting.clone()));
    }
    let serve_all = async {
        while let Some(Accepted { stream, entrance, door, permit }) = incoming.recv().await {
            let serving = connection::serve(stream, Arc::clone(&api), entrance, door, closing.clone());
            let ending = ending.clone();
            connections.spawn(async move {
                ending.run_until_cancelled(serving).await;
                drop(permit);
            });
        }
    };
    let draining = async {
        stop.await;
        api.begin_draining();
        let deadline = Instant::now() + limits.drain;
        let last_call = deadline - LAST_REQUESTS.min(limits.drain / 4);
        while is_busy() && Instant::now() < last_call {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        deadline
    };
    let deadline = tokio::select! {
        deadline = draining => deadline,
        () = serve_all => return,
    };
    accepting.cancel();
    closing.cancel();
    connections.close();
    if tokio::time::timeout_at(deadline, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "stopped with requests still running");
        // What they were doing is undone where they drop it, while there is still a runtime to do that in.
        ending.cancel();
        connections.wait().await;
    }
}

/// A socket that listens, what it is there for, and how its clients are greeted.
#[derive(Debug)]
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// What it is there for.
    pub entrance: Entrance,
    /// `None` where clients speak in the open.
    pub door: Option<Arc<TlsDoor>>,
}

impl From<(TcpListener, Entrance)> for Listening {
    fn from((listener, entrance): (TcpListener, Entrance)) -> Self {
        Self { listener, entrance, door: None }
    }
}

/// A connection that has come.
struct Accepted {
    stream: TcpStream,
    entrance: Entrance,
    door: Option<Arc<TlsDoor>>,
    permit: OwnedSemaphorePermit,
}

/// Takes connections from `listener` while there is room, until `stop`.
async fn accept(
    Listening { listener, entrance, door }: Listening,
    room: Arc<Semaphore>,
    accepted: mpsc::Sender<Accepted>,
    stop: CancellationToken,
) {
    let accepting = async {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let stream = next(&listener).await;
            let connection = Accepted { stream, entrance: entrance.clone(), door: door.clone(), permit };
            if accepted.send(connection).await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}

/// The next connection. Failing to take one is never a reason to stop taking more.
async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
