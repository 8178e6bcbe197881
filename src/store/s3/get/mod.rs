//! Reading an object: one request for a small one, ranges side by side for a large one.
//!
//! The first request asks for a first range and so learns how large the object
//! is. What it brings goes to the reader as it comes; what follows is read
//! ahead while it does, and all of it mends itself.

mod ahead;
mod cut;
mod run;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::SdkBody;
use futures_util::stream;

use self::ahead::Ahead;
use self::cut::cut;
use self::run::Run;
use super::fault::{Fault, has_changed, is_absent};
use super::{Shared, meta};
use crate::oci::ByteRange;
use crate::store::budget::PART;
use crate::store::{ByteStream, Key, Object, ObjectMeta, StoreError, span};

/// The furthest byte that a request names. Some stores ignore a range whose
/// numbers they cannot hold, others answer 400, and no object reaches so far.
const FURTHEST: u64 = i64::MAX as u64;

/// An object that is being read, and what it was when it was found.
struct Source {
    shared: Arc<Shared>,
    key: Key,
    etag: String,
    patience: Duration,
}

/// A run of bytes of an object, and the response that is bringing them.
struct Opened {
    meta: ObjectMeta,
    offset: u64,
    length: u64,
    body: SdkBody,
}

/// What is wanted of an object, and the part of it that is asked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    all: Option<ByteRange>,
    first: ByteRange,
}

/// Opens the object at `key`; its body mends itself for as long as `patience` allows.
pub(super) async fn get(
    shared: Arc<Shared>,
    key: &Key,
    range: Option<ByteRange>,
    patience: Duration,
) -> Result<Option<Object>, StoreError> {
    let wanted = Wanted::of(range);
    let opened = match shared.retry(patience, |_| shared.open_first(key, wanted)).await {
        // Of nothing at all there is no first range.
        Err(StoreError::OutOfRange) if range.is_none() => shared.retry(patience, |_| shared.open(key, None, None)).await?,
        opened => opened?,
    };
    let Some(Opened { meta, offset, length: first, body }) = opened else { return Ok(None) };
    let (_, length) = span(range, meta.size)?;
    let source = Arc::new(Source { shared, key: key.clone(), etag: meta.etag.clone(), patience });
    let run = Run::opened(source, offset, offset + first, body);
    let body = if first == length { run.stream() } else { Ahead::of(run, offset + length, range).stream() };
    Ok(Some(Object { meta, offset, length, body }))
}

impl Wanted {
    fn of(all: Option<ByteRange>) -> Self {
        let first = match all {
            None => ByteRange::Within(0, PART - 1),
            Some(ByteRange::From(first)) => ByteRange::Within(first, first.saturating_add(PART - 1)),
            Some(ByteRange::Within(first, last)) => ByteRange::Within(first, last.min(first.saturating_add(PART - 1))),
            // Where it begins is known only when it has been asked for.
            Some(ByteRange::Last(length)) => ByteRange::Last(length),
        };
        Self { all, first }
    }
}

impl Shared {
    async fn open_first(&self, key: &Key, wanted: Wanted) -> Result<Option<Opened>, Fault> {
        let Some(opened) = self.ask(key, Some(wanted.first), None).await? else { return Ok(None) };
        // A store that knows no ranges gives everything, which is fine for who wants that.
        let is_everything = wanted.all.is_none() && opened.length == opened.meta.size;
        if is_everything { Ok(Some(opened)) } else { opened.only(Some(wanted.first)).map(Some) }
    }

    async fn open(&self, key: &Key, range: Option<ByteRange>, if_match: Option<&str>) -> Result<Option<Opened>, Fault> {
        self.ask(key, range, if_match).await?.map(|opened| opened.only(range)).transpose()
    }

    async fn ask(&self, key: &Key, range: Option<ByteRange>, if_match: Option<&str>) -> Result<Option<Opened>, Fault> {
        let request = self.client().get_object().bucket(&self.bucket).key(self.object_key(key));
        match request.set_range(range.map(header)).set_if_match(if_match.map(str::to_owned)).send().await {
            Ok(response) => Opened::by(response).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) if has_changed(&error) => Err(Fault::lasting(StoreError::Changed)),
            Err(error) => Err(self.identity.fault("GetObject", error)),
        }
    }
}

impl Opened {
    fn by(response: GetObjectOutput) -> Result<Self, Fault> {
        let mut meta = meta(response.content_length, response.content_type, response.last_modified, response.e_tag)?;
        let (length, mut offset) = (meta.size, 0);
        if let Some(content_range) = response.content_range {
            (offset, meta.size) = parse(&content_range).ok_or_else(|| Fault::incomplete("a usable Content-Range"))?;
        }
        Ok(Self { meta, offset, length, body: response.body.into_inner() })
    }

    /// What of this is `range`. A store may ignore the one that it is asked for, and bring everything (RFC 9110,
    /// "Range"): MinIO does so with numbers too large for it.
    fn only(self, range: Option<ByteRange>) -> Result<Self, Fault> {
        let (offset, length) = span(range, self.meta.size).map_err(Fault::lasting)?;
        match (self.offset, self.length) {
            brought if brought == (offset, length) => Ok(self),
            brought if brought == (0, self.meta.size) => {
                Ok(Self { offset, length, body: cut(self.body, offset, length), ..self })
            }
            _ => Err(Fault::incomplete("the range that was asked for")),
        }
    }
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

/// The bytes that `next` brings, until it brings none.
fn streamed<S, F>(state: S, next: impl FnMut(S) -> F + Send + 'static) -> ByteStream
where
    S: Send + 'static,
    F: Future<Output = Result<Option<(bytes::Bytes, S)>, StoreError>> + Send + 'static,
{
    Box::pin(stream::try_unfold(state, next))
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

    #[test]
    fn no_more_than_a_part_is_asked_for_first() {
        let last = PART - 1;
        for (all, first) in [
            (None, ByteRange::Within(0, last)),
            (Some(ByteRange::From(5)), ByteRange::Within(5, 5 + last)),
            (Some(ByteRange::From(u64::MAX)), ByteRange::Within(u64::MAX, u64::MAX)),
            (Some(ByteRange::Within(5, 7)), ByteRange::Within(5, 7)),
            (Some(ByteRange::Within(5, u64::MAX)), ByteRange::Within(5, 5 + last)),
            (Some(ByteRange::Last(3)), ByteRange::Last(3)),
        ] {
            assert_eq!(Wanted::of(all).first, first, "{all:?}");
        }
    }
}
