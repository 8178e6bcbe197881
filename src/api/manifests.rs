//! Manifests: HEAD and GET (end-3), PUT (end-7).

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::audit::Discarded;
use super::body::{ManifestMemory, ResponseBody, full};
use super::error::ApiError;
use super::headers::{
    OCI_SUBJECT, OCI_TAG, asker, content_length, has_already, insert, insert_digest, insert_location, reader, text,
};
use super::query::query_values;
use super::{Call, bare};
use crate::access::{Destination, Visit};
use crate::oci::{InvalidReference, MediaType, Reference, Tag};
use crate::registry::{ManifestInfo, Repository, WritableRepository, discard_manifest};

/// Most tags in one push by digest. The specification asks for 10; a URL holds not many more.
const MAX_TAGS: usize = 50;

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
    let found = repository.read_manifest(reference, reader(headers)).await?;
    let manifest = found.ok_or_else(|| ApiError::ManifestUnknown(reference.clone()))?;
    let is_held = has_already(headers, &manifest.digest);
    let mut response = if is_held { bare(StatusCode::NOT_MODIFIED) } else { Response::new(full(manifest.bytes.clone())) };
    describe(response.headers_mut(), &manifest.info());
    Ok(response)
}

/// end-7: stores a manifest by tag or digest.
pub(super) async fn put(
    visit: &Visit<'_>,
    reference: &Reference,
    call: Call,
    memory: &ManifestMemory,
) -> Result<Response<ResponseBody>, ApiError> {
    let tags = tags(&call.query, reference)?;
    let destination = visit.write_at(reference, &tags).await?;
    let media_type: MediaType = text(&call.headers, CONTENT_TYPE).unwrap_or_default().parse()?;
    let bytes = memory.collect(call.body, content_length(&call.headers)).await?;
    let is_kept = matches!(destination, Destination::Kept(_));
    let written = match destination {
        Destination::Kept(repository) => repository.write_manifest(reference, &tags, media_type, bytes).await?,
        Destination::Discarded(denied) => discard_manifest(reference, media_type, &bytes)?.ok_or(denied)?,
    };
    let mut response = bare(StatusCode::CREATED);
    if !is_kept {
        response.extensions_mut().insert(Discarded);
    }
    let headers = response.headers_mut();
    insert_location(headers, format!("/v2/{}/manifests/{}", visit.image(), written.digest));
    insert_digest(headers, &written.digest);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Some(subject) = written.subject {
        insert(headers, OCI_SUBJECT, subject.to_string());
    }
    if !tags.is_empty() {
        let accepted: Vec<_> = tags.iter().map(Tag::as_str).collect();
        insert(headers, OCI_TAG, accepted.join(", "));
    }
    Ok(response)
}

/// The tags that a push by digest asks for besides; distribution-spec main of 2026-07, "Pushing Manifests".
fn tags(query: &str, reference: &Reference) -> Result<Vec<Tag>, ApiError> {
    let Reference::Digest(_) = reference else { return Ok(Vec::new()) };
    let tags: Vec<Tag> =
        query_values(query, "tag").map(|tag| tag.parse().map_err(InvalidReference::Tag)).collect::<Result<_, _>>()?;
    if tags.len() > MAX_TAGS {
        Err(ApiError::Query("tag", format!("at most {MAX_TAGS} tags go into one request")))
    } else {
        Ok(tags)
    }
}

/// end-9: removes a tag, or a manifest with all of its tags.
pub(super) async fn delete(repository: &WritableRepository, reference: &Reference) -> Result<Response<ResponseBody>, ApiError> {
    let was_there = repository.delete_manifest(reference).await?;
    if was_there { Ok(bare(StatusCode::ACCEPTED)) } else { Err(ApiError::ManifestUnknown(reference.clone())) }
}

fn describe(headers: &mut HeaderMap, info: &ManifestInfo) {
    insert_digest(headers, &info.digest);
    headers.insert(CONTENT_LENGTH, info.size.into());
    insert(headers, CONTENT_TYPE, info.media_type.clone());
}
