//! Listings: tags (end-8), referrers (end-12), and the catalog of the Docker registry API.

use http::header::{CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderValue, Response};
use serde_json::{Value, json};

use super::body::{ResponseBody, full};
use super::error::ApiError;
use super::headers::{OCI_FILTERS_APPLIED, insert};
use super::query::{escaped, next_page, query_value};
use crate::access::{Identity, Profiles, Visit};
use crate::oci::{Digest, InvalidReference, MediaType, RepoName, Tag};
use crate::registry::Repository;

/// Most entries on a page, also where a client asks for no number: with a
/// hundred thousand tags an answer of all of them helps nobody, and clients follow `Link`.
const PAGE: usize = 1000;

/// end-8: the tags of a repository that the client may read.
pub(super) async fn tags(visit: &Visit<'_>, query: &str) -> Result<Response<ResponseBody>, ApiError> {
    let last = query_value(query, "last").filter(|last| !last.is_empty());
    let last: Option<Tag> = last.map(|last| last.parse()).transpose().map_err(InvalidReference::Tag)?;
    let most = number(query)?;
    let (repository, name) = (visit.read()?, visit.image());
    let may_read = |tag: &str| tag.parse().is_ok_and(|tag| visit.may_read(&tag));
    let page = repository.list_tags(last.as_ref(), most, may_read).await?.ok_or_else(|| ApiError::NameUnknown(name.clone()))?;
    let mut response = json_response(&json!({"name": name.as_str(), "tags": page.tags}), "application/json");
    if let Some(last) = page.tags.last().filter(|_| page.is_truncated) {
        link(response.headers_mut(), &format!("/v2/{name}/tags/list?n={most}"), last);
    }
    Ok(response)
}

/// end-12: what refers to a manifest.
pub(super) async fn referrers(
    repository: &Repository,
    subject: &Digest,
    query: &str,
) -> Result<Response<ResponseBody>, ApiError> {
    let last: Option<Digest> = query_value(query, "last").map(|last| last.parse()).transpose()?;
    let wanted = query_value(query, "artifactType").filter(|wanted| !wanted.is_empty());
    let mut page = repository.list_referrers(subject, last.as_ref()).await?;
    if let Some(wanted) = &wanted {
        page.descriptors.retain(|descriptor| descriptor["artifactType"].as_str() == Some(wanted));
    }
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": page.descriptors});
    let mut response = json_response(&index, MediaType::OCI_INDEX);
    if wanted.is_some() {
        response.headers_mut().insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(last) = page.next_after {
        let filter = wanted.map(|wanted| format!("artifactType={}&", escaped(&wanted))).unwrap_or_default();
        let path = format!("/v2/{}/referrers/{subject}?{filter}n={PAGE}", repository.name());
        link(response.headers_mut(), &path, &last.to_string());
    }
    Ok(response)
}

/// The repositories there are for `identity`; Docker registry API, "Listing Repositories".
pub(super) async fn catalog(
    profiles: &Profiles,
    listener: Option<&str>,
    identity: &Identity,
    query: &str,
) -> Result<Response<ResponseBody>, ApiError> {
    let last = query_value(query, "last").filter(|last| !last.is_empty());
    let last: Option<RepoName> = last.map(|last| last.parse()).transpose()?;
    let most = number(query)?;
    let page = profiles.catalog(listener, identity, last.as_ref(), most).await?;
    let names: Vec<_> = page.names.iter().map(RepoName::as_str).collect();
    let mut response = json_response(&json!({"repositories": names}), "application/json");
    if let Some(last) = names.last().filter(|_| page.is_truncated) {
        link(response.headers_mut(), &format!("/v2/_catalog?n={most}"), last);
    }
    Ok(response)
}

/// How many entries a client wants, a page's worth at most.
fn number(query: &str) -> Result<usize, ApiError> {
    let Some(n) = query_value(query, "n") else { return Ok(PAGE) };
    let is_number = !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    // More digits than a number has are only more than a page.
    if is_number { Ok(n.parse().unwrap_or(PAGE).min(PAGE)) } else { Err(ApiError::Query("n", format!("{n:?} is no number"))) }
}

/// Says where the next page is.
fn link(headers: &mut HeaderMap, path: &str, last: &str) {
    insert(headers, LINK, next_page(path, last));
}

fn json_response(body: &Value, content_type: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(full(body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
