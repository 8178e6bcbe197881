//! Uploads of blobs: POST (end-4a, end-4b, end-11), PATCH (end-5), the closing
//! PUT (end-6), GET (end-13) and DELETE (end-14).

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::{ResponseBody, bytes_of};
use super::error::ApiError;
use super::headers::{DOCKER_UPLOAD_UUID, content_length, insert, insert_digest, insert_location, text};
use super::query::query_value;
use super::{Call, bare};
use crate::oci::{Algorithm, ChunkRange, Digest, InvalidChunkRange, RepoName};
use crate::registry::{LastChunk, RegistryError, Repository, UploadId, WritableRepository};

/// Tells, in the URL of an upload, that pieces of it are stored. Only a hint:
/// without it a closing PUT that has a body is taken for the whole blob.
const HOLDS: &str = "holds";

/// end-4a: begins an upload. end-4b: takes the whole blob at once, where the query has a `digest`.
/// end-11: copies a blob of another repository, if `from` has it: one of the same profile that the client may read.
pub(super) async fn start(
    repository: &WritableRepository,
    from: &(dyn Fn(RepoName) -> Option<Repository> + Sync),
    call: Call,
) -> Result<Response<ResponseBody>, ApiError> {
    check_algorithm(&call.query)?;
    if let Some(digest) = query_value(&call.query, "digest") {
        let digest = digest.parse()?;
        repository.write_blob(&digest, content_length(&call.headers), bytes_of(call.body)).await?;
        return Ok(created(repository, &digest));
    }
    if let Some(digest) = mount(repository, from, &call.query).await {
        return Ok(created(repository, &digest));
    }
    let mut response = bare(StatusCode::ACCEPTED);
    // No OCI-Chunk-Min-Length: a registry says it "if [it] has a minimum chunk size" (distribution-spec v1.1.1,
    // "Pushing a blob in chunks"), and any size is taken here. As a mere wish it would turn away clients whose
    // chunks are smaller and fixed, and spare little: docker, podman and crane send a blob as one chunk.
    describe(response.headers_mut(), repository, repository.begin_upload(), 0);
    Ok(response)
}

/// Mounts the blob that `query` names. Whatever stands against it, the client can send the blob itself:
/// so there is no error here, and without `from` nothing is searched for.
async fn mount(
    repository: &WritableRepository,
    from: &(dyn Fn(RepoName) -> Option<Repository> + Sync),
    query: &str,
) -> Option<Digest> {
    let digest = query_value(query, "mount")?.parse().ok()?;
    let from = from(query_value(query, "from")?.parse().ok()?)?;
    match repository.mount_blob(&digest, &from).await {
        Ok(is_mounted) => is_mounted.then_some(digest),
        Err(error) => {
            tracing::warn!(%digest, %error, "blob not mounted; the client will send it");
            None
        }
    }
}

/// end-4c: an upload may say by which algorithm it will be named.
fn check_algorithm(query: &str) -> Result<(), ApiError> {
    match query_value(query, "digest-algorithm") {
        Some(algorithm) if !Algorithm::ALL.iter().any(|known| known.to_string() == algorithm) => {
            Err(ApiError::Digest(crate::oci::InvalidDigest::UnsupportedAlgorithm))
        }
        _ => Ok(()),
    }
}

/// end-5: takes one chunk.
pub(super) async fn append(
    repository: &WritableRepository,
    id: UploadId,
    call: Call,
) -> Result<Response<ResponseBody>, ApiError> {
    let (start, length) = chunk(&call.headers)?;
    match repository.append_upload(id, start, length, bytes_of(call.body)).await {
        Ok(received) => {
            let mut response = bare(StatusCode::ACCEPTED);
            describe(response.headers_mut(), repository, id, received);
            Ok(response)
        }
        Err(error) => Err(refused(repository, id, error)),
    }
}

/// end-6: ends an upload with the digest of the whole blob.
pub(super) async fn finish(
    repository: &WritableRepository,
    id: UploadId,
    call: Call,
) -> Result<Response<ResponseBody>, ApiError> {
    let digest = query_value(&call.query, "digest").filter(|digest| !digest.is_empty()).ok_or(ApiError::DigestMissing)?;
    let digest = digest.parse()?;
    let (start, length) = chunk(&call.headers)?;
    let length = if call.headers.contains_key(TRANSFER_ENCODING) { length } else { Some(length.unwrap_or_default()) };
    let holds_pieces = query_value(&call.query, HOLDS).is_some_and(|holds| holds != "0") || start.is_some_and(|start| start > 0);
    let body = bytes_of(call.body);
    let written = if length == Some(0) || holds_pieces {
        repository.finish_upload(id, &digest, LastChunk { start, length, body }).await
    } else {
        // BuildKit's way, and everybody's whose blob comes whole: nothing is asked of the store first.
        repository.write_blob(&digest, length, body).await
    };
    match written {
        Ok(()) => Ok(created(repository, &digest)),
        Err(error) => Err(refused(repository, id, error)),
    }
}

/// end-13: how much of an upload has come.
pub(super) async fn status(repository: &WritableRepository, id: UploadId) -> Result<Response<ResponseBody>, ApiError> {
    let received = repository.upload_status(id).await?;
    let mut response = bare(StatusCode::NO_CONTENT);
    describe(response.headers_mut(), repository, id, received);
    response.headers_mut().remove(CONTENT_LENGTH);
    Ok(response)
}

/// end-14: gives an upload up.
pub(super) async fn cancel(repository: &WritableRepository, id: UploadId) -> Result<Response<ResponseBody>, ApiError> {
    repository.cancel_upload(id).await?;
    Ok(bare(StatusCode::NO_CONTENT))
}

/// Where a chunk begins and how long it is, as far as the headers say.
fn chunk(headers: &HeaderMap) -> Result<(Option<u64>, Option<u64>), ApiError> {
    let length = content_length(headers);
    if !headers.contains_key(CONTENT_RANGE) {
        return Ok((None, length));
    }
    let stated: ChunkRange = text(headers, CONTENT_RANGE).unwrap_or_default().parse()?;
    // The body decides where nothing else says its length; it must then be as long as stated.
    if length.is_some_and(|length| length != stated.length) {
        return Err(InvalidChunkRange.into());
    }
    Ok((Some(stated.first), Some(stated.length)))
}

/// Why something could not be done; with where the upload stands, if it goes on.
fn refused(repository: &WritableRepository, id: UploadId, error: RegistryError) -> ApiError {
    let RegistryError::ChunkOutOfOrder { received } = error else { return error.into() };
    let mut position = Box::<HeaderMap>::default();
    describe_position(&mut position, repository, id, received);
    ApiError::Misplaced { refusal: error, position }
}

/// Says where the next chunk goes.
fn describe(headers: &mut HeaderMap, repository: &WritableRepository, id: UploadId, received: u64) {
    describe_position(headers, repository, id, received);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
}

fn describe_position(headers: &mut HeaderMap, repository: &WritableRepository, id: UploadId, received: u64) {
    let holds = if received == 0 { String::new() } else { format!("?{HOLDS}={received}") };
    insert_location(headers, format!("/v2/{}/blobs/uploads/{id}{holds}", repository.name()));
    insert(headers, DOCKER_UPLOAD_UUID, id.to_string());
    // Inclusive at both ends, so nothing at all can't be said; everybody says it so.
    insert(headers, RANGE, format!("0-{}", received.saturating_sub(1)));
}

fn created(repository: &WritableRepository, digest: &Digest) -> Response<ResponseBody> {
    let mut response = bare(StatusCode::CREATED);
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{}/blobs/{digest}", repository.name()));
    insert_digest(headers, digest);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}
