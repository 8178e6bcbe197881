//! Bodies whose bytes are counted as they pass.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::RequestBody;
use crate::metrics::Counter;

/// A body that moves a counter, which there is from the first byte on: what
/// brings none leaves no trace.
pub(super) struct Counted<F> {
    body: RequestBody,
    make: F,
    counter: Option<Counter>,
}

impl<F: Fn() -> Counter> Counted<F> {
    /// `body`, counted by what `make` gives.
    pub(super) fn new(body: RequestBody, make: F) -> Self {
        Self { body, make, counter: None }
    }
}

impl<F: Fn() -> Counter + Unpin> Body for Counted<F> {
    type Data = Bytes;
    type Error = <RequestBody as Body>::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, make, counter } = self.get_mut();
        let polled = Pin::new(body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(bytes) = frame.data_ref().filter(|bytes| !bytes.is_empty())
        {
            counter.get_or_insert_with(make).inc_by(bytes.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
