//! A stretch out of a body that is longer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_sdk_s3::primitives::SdkBody;
use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

/// The bytes of a body that follow the first ones. A frame comes for each of
/// the body's, though there be nothing of it: who waits sees that it gets on.
struct Cut {
    body: SdkBody,
    /// How many bytes are still to be left out.
    skip: u64,
    /// How many bytes are still to come after them.
    left: u64,
}

/// `length` bytes of `body` from `offset` on.
pub(super) fn cut(body: SdkBody, offset: u64, length: u64) -> SdkBody {
    SdkBody::from_body_1_x(Cut { body, skip: offset, left: length })
}

impl Cut {
    fn rest(&mut self, mut bytes: Bytes) -> Bytes {
        let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        bytes.advance(skipped);
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        self.left -= bytes.len() as u64;
        bytes
    }
}

impl Body for Cut {
    type Data = Bytes;
    type Error = aws_smithy_types::body::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.rest(bytes)))))
    }
}
