//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::door::{NoAgreement, TlsDoor, certificate};
use crate::api::{Api, Entrance, Peer, Told, Wire};

/// How long a client may take to begin and send its next request. It counts
/// while a connection is idle too, and clients keep theirs for 120 s: the
/// client must be the one that closes, or a request is lost on the way.
const NEXT_REQUEST: Duration = Duration::from_secs(300);

/// Sounds out a connection that has been silent for a minute, and gives it up after another.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)).with_retries(4);

/// Most characters of what is told of an error beside its status.
const MOST_BESIDE_A_STATUS: usize = 200;

/// The buffer that bodies are read through: what fits the cache is fastest.
const BUFFER: usize = 64 * 1024;

/// Serves `stream` until it ends, or, once `closing`, until its running request is answered.
pub(super) async fn serve(
    stream: TcpStream,
    api: Arc<Api>,
    entrance: Entrance,
    door: Option<Arc<TlsDoor>>,
    closing: CancellationToken,
) {
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let (local, remote) = (local.ip(), remote.ip());
    // Answers are written whole; holding back their last packet only costs time.
    let _ = stream.set_nodelay(true);
    // A client that vanished without a word is found out, rather than waited for.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    let Some(door) = door else {
        return speak(stream, api, entrance, Peer { local, remote, wire: Wire::Plain }, closing).await;
    };
    match door.greet(stream).await {
        Ok(stream) => {
            let wire = certificate(&stream).map_or(Wire::Encrypted, |shown| Wire::Certified(Arc::new(shown)));
            speak(stream, api, entrance, Peer { local, remote, wire }, closing).await;
        }
        Err(NoAgreement { reason, is_about_a_certificate: true }) => api.tell_of_refused_certificate(&reason),
        Err(NoAgreement { reason, .. }) => tracing::debug!(reason, "no agreement on TLS"),
    }
}

/// Speaks HTTP over `stream`.
///
/// What is no HTTP is answered `HTTP/1.1 400` by hyper. BuildKit relies on it:
/// told that a registry may be insecure it tries TLS first, and takes anything
/// else for a broken server.
async fn speak<S>(stream: S, api: Arc<Api>, entrance: Entrance, peer: Peer, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(peer);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (api, entrance, peer) = (Arc::clone(&api), entrance.clone(), Arc::clone(&peer));
        async move {
            let has_body = request.method() != Method::HEAD;
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            let answer = api.answer_to(request, &entrance, &peer).await;
            Ok::<_, Infallible>(if has_body { answer } else { told_in_its_status(answer) })
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

/// `answer`, with what it has to say of an error beside its status (RFC 9112, 4, "reason-phrase"), which BuildKit and others
/// repeat: 401 Unauthorized: the token has expired.
fn told_in_its_status<B>(mut answer: Response<B>) -> Response<B> {
    let Some(Told(message)) = answer.extensions().get() else { return answer };
    let printable = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let message: String = message.chars().take(MOST_BESIDE_A_STATUS).map(printable).collect();
    let phrase = format!("{}: {message}", answer.status().canonical_reason().unwrap_or_default());
    if let Ok(phrase) = ReasonPhrase::try_from(phrase) {
        answer.extensions_mut().insert(phrase);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_beside_a_status_is_one_short_line() {
        let phrase = |told: &str| {
            let mut answer = Response::new(());
            *answer.status_mut() = http::StatusCode::UNAUTHORIZED;
            answer.extensions_mut().insert(Told(told.to_owned()));
            let phrase = told_in_its_status(answer).extensions().get::<ReasonPhrase>().cloned();
            String::from_utf8(phrase.unwrap().as_bytes().to_vec()).unwrap()
        };

        assert_eq!(phrase("the token has expired"), "Unauthorized: the token has expired");
        assert_eq!(phrase("a\r\nb: c\0 ü"), "Unauthorized: a??b: c? ?");
        assert!(phrase(&"x".repeat(1000)).len() < 300);
    }
}
