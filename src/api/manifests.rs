//! Manifests: HEAD and GET (end-3), PUT (end-7).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::{ResponseBody, collect_manifest, full};
use super::error::ApiError;
use super::headers::{asker, content_length, has_already, insert, insert_digest, insert_location, text};
use super::{Call, bare};
use crate::oci::{MediaType, Reference};
use crate::registry::{MAX_MANIFEST_BYTES, ManifestInfo, Repository, WritableRepository};

/// end-3, HEAD: what there is to tell of a manifest. `Accept` converts nothing:
/// a manifest is what was pushed.
pub(super) async fn stat(
    repository: &Repository,
    reference: &Reference,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, ApiError> {
    let found = repository.stat_manifest(reference, asker(headers)).await?;
    let info = found.ok_or_else(|| ApiError::ManifestUnknown(reference.clone()))?;
    let mut response = bare(StatusCode::OK);
    describe(response.headers_mut(), &info);
    Ok(response)
}

/// end-3, GET: a manifest.
pub(super) async fn get(
    repository: &Repository,
    reference: &Reference,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>, ApiError> {
    let found = repository.read_manifest(reference).await?;
    let manifest = found.ok_or_else(|| ApiError::ManifestUnknown(reference.clone()))?;
    let is_held = has_already(headers, &manifest.digest);
    let mut response = if is_held { bare(StatusCode::NOT_MODIFIED) } else { Response::new(full(manifest.bytes.clone())) };
    describe(response.headers_mut(), &manifest.info());
    Ok(response)
}

/// end-7: stores a manifest by tag or digest.
pub(super) async fn put(
    repository: &WritableRepository,
    reference: &Reference,
    call: Call,
) -> Result<Response<ResponseBody>, ApiError> {
    if content_length(&call.headers).is_some_and(|length| length > MAX_MANIFEST_BYTES) {
        return Err(ApiError::ManifestTooLarge);
    }
    let media_type: MediaType = text(&call.headers, CONTENT_TYPE).unwrap_or_default().parse()?;
    let bytes = collect_manifest(call.body).await?;
    let digest = repository.write_manifest(reference, media_type, bytes).await?;
    let mut response = bare(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{}/manifests/{digest}", repository.name()));
    insert_digest(headers, &digest);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(response)
}

fn describe(headers: &mut HeaderMap, info: &ManifestInfo) {
    insert_digest(headers, &info.digest);
    headers.insert(CONTENT_LENGTH, info.size.into());
    insert(headers, CONTENT_TYPE, info.media_type.clone());
}
