//! One range of an object, resumed where it broke.

use std::sync::Arc;

use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Duration, Instant};

use super::{Source, streamed};
use crate::oci::ByteRange;
use crate::store::s3::fault::Fault;
use crate::store::s3::retry::{FIRST_SHARE, Pauses};
use crate::store::{ByteStream, StoreError};

/// How long a body may bring nothing before it is asked for anew.
const STILL: Duration = Duration::from_secs(15);

/// The rest of a range.
pub(super) struct Run {
    source: Arc<Source>,
    offset: u64,
    end: u64,
    /// What is bringing it; `None` before it is asked for and after it broke.
    body: Option<SdkBody>,
}

impl Run {
    /// The bytes from `offset` to `end` of `source`, which `body` is bringing.
    pub(super) fn opened(source: Arc<Source>, offset: u64, end: u64, body: SdkBody) -> Self {
        Self { source, offset, end, body: Some(body) }
    }

    /// The bytes from `offset` to `end` of `source`, yet to be asked for.
    pub(super) fn of(source: Arc<Source>, offset: u64, end: u64) -> Self {
        Self { source, offset, end, body: None }
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Where the next bytes are.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// All of it, as it comes.
    pub(super) fn stream(self) -> ByteStream {
        streamed(self, |mut run| async move { Ok(run.next().await?.map(|bytes| (bytes, run))) })
    }

    /// The next bytes, `None` when all have come.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        // What the reader took its time over is none of the store's.
        let (began, mut pauses) = (Instant::now(), Pauses::new());
        while self.offset < self.end {
            let left = self.source.patience.saturating_sub(began.elapsed());
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.open(left).await?,
            };
            match self.frame(&mut body).await {
                Ok(bytes) => {
                    self.offset += bytes.len() as u64;
                    self.body = Some(body);
                    return Ok(Some(bytes));
                }
                // Its connection goes with it, and the rest comes on another.
                Err(fault) => {
                    drop(body);
                    self.pause(fault, began, &mut pauses).await?;
                }
            }
        }
        Ok(None)
    }

    async fn frame(&self, body: &mut SdkBody) -> Result<Bytes, Fault> {
        let left = self.end - self.offset;
        let still = STILL.min(self.source.patience / FIRST_SHARE);
        loop {
            let frame = match tokio::time::timeout(still, body.frame()).await {
                Err(_) => return Err(Fault::silent(still)),
                Ok(None) => return Err(Fault::incomplete(&format!("the last {left} bytes"))),
                Ok(Some(Err(error))) => return Err(Fault::incomplete(&format!("the last {left} bytes: {error}"))),
                Ok(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(bytes) if bytes.len() as u64 > left => return Err(Fault::incomplete("an end where it said")),
                Ok(bytes) if !bytes.is_empty() => return Ok(bytes),
                _ => {}
            }
        }
    }

    async fn pause(&self, fault: Fault, began: Instant, pauses: &mut Pauses) -> Result<(), StoreError> {
        if began.elapsed() >= self.source.patience {
            return Err(fault.error);
        }
        tracing::debug!(key = %self.source.key, offset = self.offset, error = %fault, "store body broke, resuming");
        tokio::time::sleep(pauses.next()).await;
        Ok(())
    }

    /// Asks for what is missing, of the object that it was at first and no other.
    async fn open(&self, patience: Duration) -> Result<SdkBody, StoreError> {
        let Source { shared, key, etag, .. } = &*self.source;
        let rest = ByteRange::Within(self.offset, self.end - 1);
        let opened = shared.retry(patience, |_| shared.open(key, Some(rest), Some(etag))).await?;
        // Not every store heeds If-Match.
        let same = opened.filter(|opened| opened.meta.etag == *etag);
        same.map(|opened| opened.body).ok_or(StoreError::Changed)
    }
}
