//! Bodies as they come and as they go.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use tokio::sync::Semaphore;

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

/// How long a client that sends a manifest may pause, also before it begins.
const MANIFEST_PAUSE: Duration = Duration::from_secs(60);

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
        let units = u32::try_from(length.div_ceil(MANIFEST_UNIT)).unwrap_or(u32::MAX);
        // Never closed; were it, the bound would be gone and nothing else.
        let _held = self.0.acquire_many(units).await;
        collect(body, length).await
    }
}

async fn collect(mut body: RequestBody, length: u64) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::with_capacity(usize::try_from(length.min(MANIFEST_UNIT * 64)).unwrap_or_default());
    loop {
        let received = bytes.len() as u64;
        let next = tokio::time::timeout(MANIFEST_PAUSE, body.frame()).await;
        let Some(frame) = next.map_err(|_| RegistryError::BodyStalled(MANIFEST_PAUSE, received))? else { break };
        let frame = frame.map_err(|cause| RegistryError::BodyBroken { received, cause })?;
        let Ok(chunk) = frame.into_data() else { continue };
        if received + chunk.len() as u64 > length {
            return Err(ApiError::ManifestTooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
