//! Blobs: HEAD and GET (end-2).

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::bare;
use super::body::{ResponseBody, streamed};
use super::error::ApiError;
use super::headers::{asker, etag, has_already, insert_digest, reader, text};
use crate::oci::{ByteRange, Digest};
use crate::registry::{Asker, Repository, WritableRepository};
use crate::store::OCTET_STREAM;

/// end-2, HEAD: whether the blob is there, and its size.
pub(super) async fn stat(
    repository: &Repository,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, ApiError> {
    let size = repository.stat_blob(digest, asker(headers)).await.ok_or(ApiError::BlobUnknown(*digest))?;
    let mut response = bare(StatusCode::OK);
    describe(response.headers_mut(), digest, size);
    Ok(response)
}

/// end-2, GET: the blob, or one range of it.
pub(super) async fn get(
    repository: &Repository,
    digest: &Digest,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, ApiError> {
    if has_already(headers, digest) && repository.stat_blob(digest, Asker::Pull).await.is_some() {
        let mut response = bare(StatusCode::NOT_MODIFIED);
        insert_digest(response.headers_mut(), digest);
        return Ok(response);
    }
    let range = range(headers, digest);
    let blob = repository.read_blob(digest, range, reader(headers)).await?.ok_or(ApiError::BlobUnknown(*digest))?;
    let mut response = Response::new(streamed(blob.body));
    describe(response.headers_mut(), digest, blob.length);
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = (blob.offset + blob.length).saturating_sub(1);
        let content_range = format!("bytes {}-{last}/{}", blob.offset, blob.size);
        super::headers::insert(response.headers_mut(), CONTENT_RANGE, content_range);
    }
    Ok(response)
}

/// end-10: removes a blob.
pub(super) async fn delete(repository: &WritableRepository, digest: &Digest) -> Result<Response<ResponseBody>, ApiError> {
    if repository.delete_blob(digest).await? { Ok(bare(StatusCode::ACCEPTED)) } else { Err(ApiError::BlobUnknown(*digest)) }
}

/// The range that a client wants. What is no single range is ignored, as RFC
/// 9110, 14.2, allows, and so is one that depends on other content (`If-Range`).
fn range(headers: &HeaderMap, digest: &Digest) -> Option<ByteRange> {
    let range = text(headers, RANGE)?.parse().ok()?;
    let depends = headers.get(IF_RANGE);
    depends.is_none_or(|on| on.to_str().is_ok_and(|on| on == etag(digest))).then_some(range)
}

fn describe(headers: &mut HeaderMap, digest: &Digest, length: u64) {
    insert_digest(headers, digest);
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTET_STREAM));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}
