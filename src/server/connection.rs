//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Entrance};

/// How long a client may take to begin and send its next request. It counts
/// while a connection is idle too, and clients keep theirs for 120 s: the
/// client must be the one that closes, or a request is lost on the way.
const NEXT_REQUEST: Duration = Duration::from_secs(300);

/// Sounds out a connection that has been silent for a minute, and gives it up after another.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);

/// The buffer that bodies are read through: what fits the cache is fastest.
const BUFFER: usize = 64 * 1024;

/// Serves `stream` until it ends, or, once `closing`, until its running request is answered.
///
/// What is no HTTP is answered `HTTP/1.1 400` by hyper. BuildKit relies on it:
/// told that a registry may be insecure it tries TLS first, and takes anything
/// else for a broken server.
pub(super) async fn serve(stream: TcpStream, api: Arc<Api>, entrance: Entrance, closing: CancellationToken) {
    let Ok(local) = stream.local_addr() else { return };
    // Answers are written whole; holding back their last packet only costs time.
    let _ = stream.set_nodelay(true);
    // A client that vanished without a word is found out, rather than waited for.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (api, entrance) = (Arc::clone(&api), entrance.clone());
        async move {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            Ok::<_, Infallible>(api.answer(request, &entrance, local.ip()).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
