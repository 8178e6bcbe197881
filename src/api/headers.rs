//! What a request's headers say.

use http::header::{ACCEPT, CONTENT_LENGTH, ETAG, HeaderName, IF_NONE_MATCH, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue};

use super::MAX_HEADER_BYTES;
use super::error::ApiError;
use crate::access::Verb;
use crate::oci::{Digest, Reference};
use crate::registry::Asker;

/// The digest of what a response holds (distribution-spec v1.1.1, "Pulling manifests").
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The name of an upload; nobody needs it, older clients show it.
pub(super) const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// The manifest that the pushed one refers to (distribution-spec v1.1.1, "Pushing Manifests with Subject").
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// The tags that a push by digest has set (distribution-spec main of 2026-07, "Pushing Manifests").
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");

/// The filters that a listing of referrers went through (distribution-spec v1.1.1, "Listing Referrers").
pub(super) const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Refuses more headers than any client sends.
pub(super) fn check_size(headers: &HeaderMap) -> Result<(), ApiError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > MAX_HEADER_BYTES { Err(ApiError::HeadersTooLarge { limit: MAX_HEADER_BYTES }) } else { Ok(()) }
}

/// The text of a header, if it is there and is text.
pub(super) fn text(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// How long the body says it is, in bytes.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_LENGTH)?.parse().ok()
}

/// Who asks by HEAD whether a blob or manifest is there.
///
/// BuildKit and containerd push with one media type besides `*/*`, that of
/// what they are about to send; whoever wants to have a manifest names all
/// that it can read. Seen with BuildKit v0.12.5, v0.20.2 and v0.32.2.
pub(super) fn asker(headers: &HeaderMap) -> Asker {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let named = accepted.flat_map(|value| value.split(',')).filter(|media_type| media_type.trim() != "*/*").count();
    match reader(headers) {
        Asker::Import if named == 1 => Asker::Push,
        asker => asker,
    }
}

/// Who wants to have a manifest, by GET: what that accepts is the one type that it is known to have.
pub(super) fn reader(headers: &HeaderMap) -> Asker {
    let agent = text(headers, USER_AGENT).unwrap_or_default();
    if agent.starts_with("buildkit/") || agent.starts_with("containerd/") { Asker::Import } else { Asker::Pull }
}

/// What a client is about to do who asks for a manifest. Refused a HEAD for a tag, a push sends a GET to learn why.
pub(super) fn wanted(headers: &HeaderMap, reference: &Reference) -> Verb {
    match (asker(headers), reference) {
        (Asker::Push, Reference::Tag(_)) => Verb::Write,
        _ => Verb::Read,
    }
}

/// Whether the client has what `digest` names already (RFC 9110, 13.1.2, "If-None-Match").
pub(super) fn has_already(headers: &HeaderMap, digest: &Digest) -> bool {
    let own = etag(digest);
    let mut tags =
        headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == own)
}

/// The entity tag of content: its digest, since it never changes.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Says what content is.
pub(super) fn insert_digest(headers: &mut HeaderMap, digest: &Digest) {
    insert(headers, DOCKER_CONTENT_DIGEST, digest.to_string());
    insert(headers, ETAG, etag(digest));
}

/// Says where to go. Path-absolute, so that it holds behind proxies and on any
/// replica; without anything that a client might decode or encode differently.
pub(super) fn insert_location(headers: &mut HeaderMap, path: String) {
    insert(headers, LOCATION, path);
}

/// Sets a header to a text that was made here.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    // Names, digests and numbers hold nothing that a header could not.
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(agent: &'static str, accept: &[&'static str]) -> Asker {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        for value in accept {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        asker(&headers)
    }

    #[test]
    fn a_push_is_told_from_a_pull_by_what_it_accepts() {
        let manifest = "application/vnd.oci.image.manifest.v1+json, */*";
        let index = "application/vnd.oci.image.index.v1+json, */*";
        let many = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json, */*";
        for (agent, accept, who) in [
            ("buildkit/v0.32.2", &[manifest][..], Asker::Push),
            ("buildkit/v0.12.5", &[index], Asker::Push),
            ("containerd/2.3.3", &["application/vnd.oci.image.manifest.v1+json", "*/*"], Asker::Push),
            ("buildkit/v0.32.2", &[many], Asker::Import),
            ("buildkit/v0.32.2", &[], Asker::Import),
            ("containerd/2.3.3", &[many], Asker::Import),
            ("buildkit/v0.32.2", &["application/vnd.oci.image.layer.v1.tar+gzip, */*"], Asker::Push),
            ("docker/28.0", &[manifest], Asker::Pull),
            ("", &[manifest], Asker::Pull),
        ] {
            assert_eq!(asked(agent, accept), who, "{agent}: {accept:?}");
        }
    }
}
