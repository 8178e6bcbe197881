//! Uploads of blobs: POST (end-4a, end-4b, end-11) and the closing PUT (end-6).

use http::header::{CONTENT_LENGTH, RANGE};
use http::{HeaderValue, Response, StatusCode};

use super::body::{ResponseBody, bytes_of};
use super::error::ApiError;
use super::headers::{DOCKER_UPLOAD_UUID, content_length, insert, insert_digest, insert_location, query_value};
use super::{Call, bare};
use crate::registry::{UploadId, WritableRepository};

/// end-4a: begins an upload. end-4b: takes the whole blob at once, where the query has a `digest`.
///
/// end-11, a mount, begins an upload too: nothing is copied between images yet,
/// and a client that is answered so sends the blob itself.
pub(super) async fn start(repository: &WritableRepository, call: Call) -> Result<Response<ResponseBody>, ApiError> {
    if query_value(&call.query, "digest").is_some() {
        return finish(repository, call).await;
    }
    let id = UploadId::begin();
    let mut response = bare(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{}/blobs/uploads/{id}", repository.name()));
    insert(headers, DOCKER_UPLOAD_UUID, id.to_string());
    headers.insert(RANGE, HeaderValue::from_static("0-0"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

/// end-6: ends an upload with the digest of the blob, here with all of its bytes.
pub(super) async fn finish(repository: &WritableRepository, call: Call) -> Result<Response<ResponseBody>, ApiError> {
    let digest = query_value(&call.query, "digest").filter(|digest| !digest.is_empty()).ok_or(ApiError::DigestMissing)?;
    let digest = digest.parse()?;
    repository.write_blob(&digest, content_length(&call.headers), bytes_of(call.body)).await?;
    let mut response = bare(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{}/blobs/{digest}", repository.name()));
    insert_digest(headers, &digest);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}
