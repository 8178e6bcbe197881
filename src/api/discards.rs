//! Uploads of blobs by those whose pushes are taken and not kept.

use http::header::{CONTENT_LENGTH, RANGE};
use http::{HeaderValue, Response, StatusCode};

use super::audit::Discarded;
use super::body::{ResponseBody, bytes_of};
use super::error::ApiError;
use super::headers::{DOCKER_UPLOAD_UUID, content_length, insert, insert_digest, insert_location};
use super::query::query_value;
use super::{Call, bare};
use crate::oci::{Digest, RepoName};
use crate::registry::{UploadId, discard_blob};

/// end-4a, end-4b: begins an upload, or takes the whole blob. Nothing is mounted, so whatever asks for that sends the blob.
pub(super) async fn start(image: &RepoName, call: Call) -> Result<Response<ResponseBody>, ApiError> {
    if query_value(&call.query, "digest").is_some() {
        return finish(image, call).await;
    }
    let id = UploadId::begin();
    let mut response = bare(StatusCode::ACCEPTED);
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{image}/blobs/uploads/{id}"));
    insert(headers, DOCKER_UPLOAD_UUID, id.to_string());
    headers.insert(RANGE, HeaderValue::from_static("0-0"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

/// end-6: takes the whole blob.
pub(super) async fn finish(image: &RepoName, call: Call) -> Result<Response<ResponseBody>, ApiError> {
    let digest = query_value(&call.query, "digest").filter(|digest| !digest.is_empty()).ok_or(ApiError::DigestMissing)?;
    let digest: Digest = digest.parse()?;
    discard_blob(&digest, content_length(&call.headers), bytes_of(call.body)).await?;
    let mut response = bare(StatusCode::CREATED);
    response.extensions_mut().insert(Discarded);
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{image}/blobs/{digest}"));
    insert_digest(headers, &digest);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}
