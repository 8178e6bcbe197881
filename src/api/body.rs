//! Bodies as they come and as they go.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::error::ApiError;
use crate::registry::{self, MAX_MANIFEST_BYTES, RegistryError};
use crate::store::Cause;

/// The body of a request.
pub type RequestBody = UnsyncBoxBody<Bytes, Cause>;

/// The body of a response. An error in it cuts the connection, so that no
/// client takes what it has for the whole.
pub type ResponseBody = UnsyncBoxBody<Bytes, Cause>;

/// A body of `bytes`.
pub(super) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of nothing.
pub(super) fn empty() -> ResponseBody {
    full(Bytes::new())
}

/// A body of whatever `stream` brings. Where it breaks, the log says why.
pub(super) fn streamed(stream: impl Stream<Item = Result<Bytes, RegistryError>> + Send + 'static) -> ResponseBody {
    let frames = stream.map_ok(Frame::data).map_err(|error| {
        tracing::warn!(error = %super::error::chain(&error), "response cut off");
        Cause::from(error)
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The bytes of `body`, as the registry takes them.
pub(super) fn bytes_of(body: RequestBody) -> registry::Body {
    Box::pin(BodyStream::new(body).try_filter_map(async |frame| Ok(frame.into_data().ok())))
}

/// How long a client that sends a manifest may take over the first [`MANIFEST_HEAD`] bytes.
const MANIFEST_PAUSE: Duration = Duration::from_secs(60);

/// Bytes that are taken without a turn, as nearly all manifests are: who never sends the rest keeps no one from theirs.
const MANIFEST_HEAD: u64 = 64 * 1024;

/// How long the rest of a manifest may take from its turn on, and half as long more for each MiB.
const MANIFEST_TURN: Duration = Duration::from_secs(10);

/// Memory for manifests that are being received, all together, in units of
/// [`MANIFEST_UNIT`]: more of them wait for their turn.
const MANIFEST_MEMORY: usize = 32 * 1024;

/// What that memory is counted in, in bytes.
const MANIFEST_UNIT: u64 = 1024;

/// The memory that manifests are received in.
#[derive(Debug)]
pub(super) struct ManifestMemory(Semaphore);

impl ManifestMemory {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(MANIFEST_MEMORY))
    }

    /// All of a manifest that says to have `length` bytes, if it says so.
    pub(super) async fn collect(&self, body: RequestBody, length: Option<u64>) -> Result<Bytes, ApiError> {
        let length = length.unwrap_or(MAX_MANIFEST_BYTES);
        if length > MAX_MANIFEST_BYTES {
            return Err(ApiError::ManifestTooLarge);
        }
        let mut gathered = Gathered { body, length, bytes: BytesMut::new() };
        if !gathered.to(length.min(MANIFEST_HEAD), MANIFEST_PAUSE).await? {
            let units = u32::try_from(length.div_ceil(MANIFEST_UNIT)).unwrap_or(u32::MAX);
            // Never closed; were it, the bound would be gone and nothing else.
            let _held = self.0.acquire_many(units).await;
            let mib = u32::try_from(length >> 20).unwrap_or(u32::MAX);
            gathered.to(u64::MAX, MANIFEST_TURN * (mib + 2) / 2).await?;
        }
        Ok(gathered.bytes.freeze())
    }
}

/// What came of a body of `length` bytes at most.
struct Gathered {
    body: RequestBody,
    length: u64,
    bytes: BytesMut,
}

impl Gathered {
    /// Gathers more than `enough` bytes, or all there are; whether that was all.
    async fn to(&mut self, enough: u64, limit: Duration) -> Result<bool, ApiError> {
        let over = Instant::now() + limit;
        while self.bytes.len() as u64 <= enough {
            let received = self.bytes.len() as u64;
            let next = tokio::time::timeout_at(over, self.body.frame()).await;
            let Some(frame) = next.map_err(|_| RegistryError::BodyStalled(limit, received))? else { return Ok(true) };
            let frame = frame.map_err(|cause| RegistryError::BodyBroken { received, cause })?;
            let Ok(chunk) = frame.into_data() else { continue };
            if received + chunk.len() as u64 > self.length {
                return Err(ApiError::ManifestTooLarge);
            }
            self.bytes.extend_from_slice(&chunk);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use futures_util::{StreamExt, stream};

    use super::*;

    /// A body that begins so, and ends there or never.
    fn body(begins: &Bytes, ends: bool) -> RequestBody {
        let (sent, never) = (stream::iter([Ok(Frame::data(begins.clone()))]), stream::pending());
        let rest = if ends { stream::empty().left_stream() } else { never.right_stream() };
        StreamBody::new(sent.chain(rest)).boxed_unsync()
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_no_more_keeps_others_waiting_for_half_a_minute_at_most() {
        let large = Bytes::from(vec![7; 100 * 1024]);
        for (count, sent, waited) in [(1000, 1, 0), (8, large.len(), 30)] {
            let (memory, began) = (ManifestMemory::new(), Instant::now());
            let stalled = (0..count).map(|_| memory.collect(body(&large.slice(..sent), false), Some(MAX_MANIFEST_BYTES)));
            let honest = async |bytes: Bytes| {
                let taken = memory.collect(body(&bytes, true), Some(bytes.len() as u64)).await.unwrap();
                assert_eq!(taken, bytes);
                began.elapsed().as_secs()
            };

            let (stalled, small, large) = tokio::join!(join_all(stalled), honest(large.slice(..1000)), honest(large.clone()));

            assert_eq!((small, large), (0, waited), "{count} that sent {sent}");
            let is_told = |outcome: &Result<Bytes, ApiError>| matches!(outcome, Err(ApiError::Registry(RegistryError::BodyStalled(_, received))) if *received == sent as u64);
            assert!(stalled.iter().all(is_told), "{stalled:?}");
            assert!(began.elapsed() <= MANIFEST_PAUSE);
        }
    }
}
