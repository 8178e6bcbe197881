//! Bodies as they come and as they go.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};

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

/// All of a manifest, which must be small enough to hold.
pub(super) async fn collect_manifest(mut body: RequestBody) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let received = bytes.len() as u64;
        let frame = frame.map_err(|cause| RegistryError::BodyBroken { received, cause })?;
        let Ok(chunk) = frame.into_data() else { continue };
        if received + chunk.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ApiError::ManifestTooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
