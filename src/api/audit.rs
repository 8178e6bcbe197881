//! Who changed what: a line for each write and delete by those who say who they are.

use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::body::ResponseBody;
use super::error::ApiError;
use super::headers::{DOCKER_CONTENT_DIGEST, content_length, text};
use super::route::Endpoint;
use crate::access::{AUDIT, Identity, Visit};
use crate::oci::Reference;

/// Marks the answer to something that was taken and not kept.
#[derive(Clone)]
pub(super) struct Discarded;

/// A change that somebody asks for.
pub(super) struct Change {
    event: &'static str,
    tag: Option<String>,
    digest: Option<String>,
    bytes: Option<u64>,
}

impl Change {
    /// What `endpoint` changes, if it does; its request has `headers`.
    pub(super) fn of(endpoint: &Endpoint, headers: &HeaderMap) -> Option<Self> {
        let (event, reference, digest) = match endpoint {
            Endpoint::StartUpload | Endpoint::FinishUpload(_) => ("write", None, None),
            Endpoint::PutManifest(reference) => ("write", Some(reference), None),
            Endpoint::DeleteManifest(reference) => ("delete", Some(reference), None),
            Endpoint::DeleteBlob(digest) => ("delete", None, Some(digest)),
            _ => return None,
        };
        let (tag, named) = match reference {
            Some(Reference::Tag(tag)) => (Some(tag.to_string()), None),
            Some(Reference::Digest(digest)) => (None, Some(digest)),
            None => (None, None),
        };
        Some(Self { event, tag, digest: digest.or(named).map(ToString::to_string), bytes: content_length(headers) })
    }

    /// Tells of it, and what came of it. A refusal has been told, and an upload that was only opened has changed nothing.
    pub(super) fn tell(self, identity: &Identity, visit: &Visit<'_>, answer: &Result<Response<ResponseBody>, ApiError>) {
        let (digest, result) = match answer {
            Ok(response) if response.status() == StatusCode::ACCEPTED && self.event == "write" => return,
            Err(ApiError::Denied(_) | ApiError::Unauthorized { .. }) => return,
            Ok(response) => {
                let digest = text(response.headers(), DOCKER_CONTENT_DIGEST).map(str::to_owned);
                (digest, if response.extensions().get::<Discarded>().is_some() { "discarded" } else { "done" })
            }
            Err(_) => (None, "failed"),
        };
        let Self { event, tag, digest: named, bytes } = self;
        let (profile, image) = (visit.profile().name(), visit.image());
        let digest = digest.or(named);
        tracing::info!(target: AUDIT, event, %identity, profile, %image, tag, digest, bytes, result, "changed");
    }
}
