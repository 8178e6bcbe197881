//! Reading an object: one request, resumed where it broke.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::fault::{Fault, is_absent};
use super::retry::{FIRST_SHARE, Pauses};
use super::{Shared, meta};
use crate::oci::ByteRange;
use crate::store::{Key, Object, ObjectMeta, StoreError, span};

/// How long a body may bring nothing before it is asked for anew.
const STILL: Duration = Duration::from_secs(15);

/// The furthest byte that a request names. Some stores ignore a range whose
/// numbers they cannot hold, others answer 400, and no object reaches so far.
const FURTHEST: u64 = i64::MAX as u64;

/// A run of bytes of an object, and the response that is bringing them.
struct Opened {
    meta: ObjectMeta,
    offset: u64,
    length: u64,
    body: SdkBody,
}

/// Opens the object at `key`; its body mends itself for as long as `patience` allows.
pub(super) async fn get(
    shared: Arc<Shared>,
    key: &Key,
    range: Option<ByteRange>,
    patience: Duration,
) -> Result<Option<Object>, StoreError> {
    let opened = shared.retry(patience, |_| shared.open(key, range, None)).await?;
    let Some(Opened { meta, offset, length, body }) = opened else { return Ok(None) };
    let reader = Reader {
        shared,
        key: key.clone(),
        etag: meta.etag.clone(),
        offset,
        end: offset + length,
        body,
        patience,
        last_byte: Instant::now(),
        pauses: Pauses::new(),
    };
    let body = Box::pin(stream::try_unfold(reader, |mut reader| async move {
        let bytes = reader.next().await?;
        Ok(bytes.map(|bytes| (bytes, reader)))
    }));
    Ok(Some(Object { meta, offset, length, body }))
}

impl Shared {
    async fn open(&self, key: &Key, range: Option<ByteRange>, if_match: Option<&str>) -> Result<Option<Opened>, Fault> {
        let request = self.client().get_object().bucket(&self.bucket).key(self.object_key(key));
        match request.set_range(range.map(header)).set_if_match(if_match.map(str::to_owned)).send().await {
            Ok(response) => opened(response, range).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.identity.fault("GetObject", error)),
        }
    }
}

fn opened(response: GetObjectOutput, range: Option<ByteRange>) -> Result<Opened, Fault> {
    let mut meta = meta(response.content_length, response.content_type, response.last_modified, response.e_tag)?;
    let (length, mut offset) = (meta.size, 0);
    if let Some(content_range) = response.content_range {
        (offset, meta.size) = parse(&content_range).ok_or_else(|| Fault::incomplete("a usable Content-Range"))?;
    }
    // A range that a store makes nothing of, it ignores: a number too large for MinIO, a part of nothing for others.
    if span(range, meta.size).map_err(Fault::lasting)? != (offset, length) {
        return Err(Fault::incomplete("the range that was asked for"));
    }
    Ok(Opened { meta, offset, length, body: response.body.into_inner() })
}

/// The first byte and the whole size that a `Content-Range: bytes first-last/size` tells.
fn parse(content_range: &str) -> Option<(u64, u64)> {
    let (bytes, size) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = bytes.split_once('-')?;
    Some((first.parse().ok()?, size.parse().ok()?))
}

fn header(range: ByteRange) -> String {
    let near = |position: u64| position.min(FURTHEST);
    match range {
        ByteRange::From(first) => format!("bytes={}-", near(first)),
        ByteRange::Within(first, last) => format!("bytes={}-{}", near(first), near(last)),
        ByteRange::Last(length) => format!("bytes=-{length}"),
    }
}

/// The rest of a body.
struct Reader {
    shared: Arc<Shared>,
    key: Key,
    etag: String,
    offset: u64,
    end: u64,
    body: SdkBody,
    patience: Duration,
    last_byte: Instant,
    pauses: Pauses,
}

impl Reader {
    /// The next bytes, `None` when all have come.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while self.offset < self.end {
            match self.frame().await {
                Ok(bytes) => {
                    self.offset += bytes.len() as u64;
                    self.last_byte = Instant::now();
                    self.pauses = Pauses::new();
                    return Ok(Some(bytes));
                }
                Err(fault) => self.resume(fault).await?,
            }
        }
        Ok(None)
    }

    async fn frame(&mut self) -> Result<Bytes, Fault> {
        let left = self.end - self.offset;
        loop {
            let still = STILL.min(self.patience / FIRST_SHARE);
            let frame = match tokio::time::timeout(still, self.body.frame()).await {
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

    /// Asks for what is missing on another connection: the broken one went with its body.
    async fn resume(&mut self, fault: Fault) -> Result<(), StoreError> {
        let left = self.patience.saturating_sub(self.last_byte.elapsed());
        if left.is_zero() {
            return Err(fault.error);
        }
        tracing::debug!(key = %self.key, offset = self.offset, error = %fault, "store body broke, resuming");
        self.body = SdkBody::empty();
        tokio::time::sleep(self.pauses.next()).await;
        let rest = ByteRange::Within(self.offset, self.end - 1);
        let opened = self.shared.retry(left, |_| self.shared.open(&self.key, Some(rest), Some(&self.etag))).await?;
        let opened = opened.ok_or_else(|| StoreError::Unavailable("the object went away while it was read".into()))?;
        self.body = opened.body;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_tells_where_the_body_begins_and_how_much_there_is() {
        for (text, read) in [
            ("bytes 0-9/10", Some((0, 10))),
            ("bytes 3-4/10", Some((3, 10))),
            ("bytes 3-4/*", None),
            ("bytes */10", None),
            ("3-4/10", None),
            ("", None),
        ] {
            assert_eq!(parse(text), read, "{text}");
        }
    }
}
