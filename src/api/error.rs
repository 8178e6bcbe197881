//! What a client is told when something could not be done: the one place where
//! status and code are chosen.

use std::error::Error;

use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::authorization::Unknown;
use super::body::{ResponseBody, full};
use crate::access::{Denied, Refused, Unidentified};
use crate::oci::{ErrorCode, InvalidChunkRange, InvalidDigest, InvalidMediaType, InvalidName, InvalidReference, RepoName};
use crate::registry::{InvalidUploadId, MAX_MANIFEST_BYTES, RegistryError};
use crate::secrets::Mask;
use crate::store::StoreError;

/// Why a request was not answered as asked. Every message is fit to send.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("no such endpoint")]
    NotFound,
    /// A path that would be another one if it were decoded.
    #[error("no such endpoint")]
    Encoded,
    #[error("this endpoint answers {0}")]
    MethodNotAllowed(&'static str),
    #[error("the request's headers have more than {limit} bytes")]
    HeadersTooLarge { limit: usize },
    #[error("this server is not called {host:?}; if it should be, add that to server.hosts")]
    UnknownHost { host: String },
    #[error("requests from pages of other origins are refused")]
    ForeignOrigin,
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    #[error(transparent)]
    Upload(#[from] InvalidUploadId),
    #[error("the query has no digest; a PUT that ends an upload says ?digest=<digest of the whole blob>")]
    DigestMissing,
    #[error("Content-Range: {0}")]
    ContentRange(#[from] InvalidChunkRange),
    #[error("the query's {0} makes no sense: {1}")]
    Query(&'static str, String),
    #[error("no such repository: {0}")]
    NameUnknown(RepoName),
    #[error("Content-Type: {0}")]
    MediaType(#[from] InvalidMediaType),
    #[error("a manifest has at most {MAX_MANIFEST_BYTES} bytes")]
    ManifestTooLarge,
    #[error(transparent)]
    Denied(#[from] Denied),
    /// With what the client is asked for.
    #[error("{unknown}")]
    Unauthorized { unknown: Unknown, challenge: String },
    /// Asking again, in a while, may work.
    #[error(transparent)]
    Crowded(Unidentified),
    #[error(
        "passwords and tokens are not taken over plain HTTP from beyond this machine; use TLS, or set access.allow_plain_http"
    )]
    PlainHttp,
    #[error("blob unknown: {0}")]
    BlobUnknown(crate::oci::Digest),
    #[error("manifest unknown: {0}")]
    ManifestUnknown(crate::oci::Reference),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// With headers that say where the upload stands, which goes on.
    #[error("{refusal}")]
    Misplaced { refusal: RegistryError, position: Box<HeaderMap> },
}

/// What an error answer says, kept beside it: an answer to HEAD has no body that could say it.
#[derive(Clone, Debug)]
pub struct Told(pub String);

/// What a request is about, for whoever reads that it failed.
pub(super) struct About<'a> {
    pub(super) profile: Option<&'a str>,
    pub(super) image: Option<&'a RepoName>,
}

/// Most characters of what is said of an error and all that lies behind it: a store may say anything.
const MOST_OF_AN_ERROR: usize = 2000;

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Denied(denied) => denied.into(),
            Refused::Registry(error) => error.into(),
        }
    }
}

impl ApiError {
    /// Whether what was asked for is called in a way in which nothing can be.
    pub(super) fn is_about_a_name(&self) -> bool {
        matches!(self, Self::Encoded | Self::Name(_) | Self::Reference(_) | Self::Digest(_))
    }

    fn status_and_code(&self) -> (StatusCode, ErrorCode) {
        use ErrorCode as Code;
        use RegistryError as R;
        use StatusCode as S;
        match self {
            Self::NotFound | Self::Encoded => (S::NOT_FOUND, Code::Unsupported),
            Self::MethodNotAllowed(_) => (S::METHOD_NOT_ALLOWED, Code::Unsupported), // code-13
            Self::HeadersTooLarge { .. } => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, Code::Unsupported),
            Self::UnknownHost { .. } => (S::MISDIRECTED_REQUEST, Code::Denied),
            Self::Denied(Denied::Unseen(_)) => (S::NOT_FOUND, Code::NameUnknown), // code-9
            Self::Denied(Denied::Absent(_)) => (S::NOT_FOUND, Code::ManifestUnknown), // code-7
            Self::ForeignOrigin | Self::PlainHttp | Self::Denied(_) => (S::FORBIDDEN, Code::Denied), // code-12
            Self::Unauthorized { .. } => (S::UNAUTHORIZED, Code::Unauthorized),   // code-11
            Self::Crowded(_) => (S::SERVICE_UNAVAILABLE, Code::Unavailable),
            Self::Name(_) => (S::BAD_REQUEST, Code::NameInvalid), // code-8
            Self::Reference(InvalidReference::Digest(_)) | Self::Digest(_) | Self::DigestMissing => {
                (S::BAD_REQUEST, Code::DigestInvalid) // code-4
            }
            Self::Reference(InvalidReference::Tag(_)) | Self::MediaType(_) => (S::BAD_REQUEST, Code::ManifestInvalid), // code-6
            Self::ContentRange(_) => (S::BAD_REQUEST, Code::SizeInvalid),                                              // code-10
            Self::Query(..) => (S::BAD_REQUEST, Code::Unsupported),
            Self::NameUnknown(_) => (S::NOT_FOUND, Code::NameUnknown), // code-9
            Self::Upload(_) => (S::NOT_FOUND, Code::BlobUploadUnknown), // code-3
            Self::ManifestTooLarge => (S::PAYLOAD_TOO_LARGE, Code::ManifestInvalid),
            Self::BlobUnknown(_) => (S::NOT_FOUND, Code::BlobUnknown), // code-1
            Self::ManifestUnknown(_) => (S::NOT_FOUND, Code::ManifestUnknown), // code-7
            Self::Registry(R::DigestMismatch { .. }) => (S::BAD_REQUEST, Code::DigestInvalid), // code-4
            Self::Registry(R::LengthMismatch { .. } | R::BodyBroken { .. }) => (S::BAD_REQUEST, Code::SizeInvalid), // code-10
            Self::Registry(R::BodyStalled(..)) => (S::BAD_REQUEST, Code::BlobUploadInvalid), // code-2
            Self::Registry(R::UploadUnknown) => (S::NOT_FOUND, Code::BlobUploadUnknown), // code-3
            Self::Misplaced { .. } | Self::Registry(R::ChunkOutOfOrder { .. }) => {
                (S::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid)
            } // code-2
            Self::Registry(R::TooLarge { .. } | R::TooManyChunks { .. }) => (S::PAYLOAD_TOO_LARGE, Code::SizeInvalid),
            Self::Registry(R::ManifestInvalid(_)) => (S::BAD_REQUEST, Code::ManifestInvalid), // code-6
            Self::Registry(R::ManifestBlobUnknown(_)) => (S::BAD_REQUEST, Code::ManifestBlobUnknown), // code-5
            Self::Registry(R::OutOfRange { .. }) => (S::RANGE_NOT_SATISFIABLE, Code::SizeInvalid),
            Self::Registry(R::BlobShared) => (S::METHOD_NOT_ALLOWED, Code::Unsupported), // code-13
            Self::Registry(R::Corrupt(_)) => (S::INTERNAL_SERVER_ERROR, Code::Unknown),
            // Throttled by the store is 503 too, not 429 or 502: BuildKit fails a build on either at once.
            Self::Registry(R::Store(
                StoreError::Unavailable(_)
                | StoreError::Full(_)
                | StoreError::Denied(_)
                | StoreError::NoCredentials(_)
                | StoreError::Misconfigured(_)
                | StoreError::TooLarge { .. }
                | StoreError::OutOfRange
                | StoreError::Changed,
            )) => (S::SERVICE_UNAVAILABLE, Code::Unavailable),
        }
    }

    /// The response that tells the client, without what `mask` holds. Said to the log here, and nowhere else.
    pub(super) fn into_response(self, about: &About<'_>, mask: &Mask) -> Response<ResponseBody> {
        let (status, code) = self.status_and_code();
        let (profile, repository) = (about.profile, about.image.map(tracing::field::display));
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), profile, repository, error = %chain(&self), "request failed");
        } else {
            tracing::debug!(status = status.as_u16(), profile, repository, error = %chain(&self), "request refused");
        }
        let message = match (&self, about.profile) {
            (Self::Registry(RegistryError::Store(StoreError::Misconfigured(_))), Some(profile)) => {
                format!("profile {profile:?}: {self}")
            }
            _ => self.to_string(),
        };
        let message = mask.apply(&message).into_owned();
        let body = json!({"errors": [{"code": code.as_str(), "message": message}]}).to_string();
        let mut response = Response::new(full(body));
        *response.status_mut() = status;
        response.extensions_mut().insert(Told(message));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Unauthorized { challenge, .. } => {
                headers.extend(HeaderValue::try_from(challenge).map(|value| (WWW_AUTHENTICATE, value)));
            }
            Self::Crowded(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::MethodNotAllowed(methods) => {
                headers.insert(ALLOW, HeaderValue::from_static(methods));
            }
            Self::Registry(RegistryError::OutOfRange { size }) => {
                headers.extend(HeaderValue::try_from(format!("bytes */{size}")).map(|value| (CONTENT_RANGE, value)));
            }
            Self::Registry(RegistryError::BlobShared) => {
                headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Misplaced { position, .. } => headers.extend(*position),
            _ => {}
        }
        response
    }
}

/// `error` and everything behind it, for the log: on one line, and no longer than it is worth.
pub(super) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    let whole = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let mut told = String::with_capacity(whole.len());
    for c in whole.chars().take(MOST_OF_AN_ERROR) {
        if c.is_control() { told.extend(c.escape_default()) } else { told.push(c) }
    }
    if whole.chars().nth(MOST_OF_AN_ERROR).is_some() { told + "…" } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_says_is_one_line_that_ends_somewhere() {
        let says = |text: &str| chain(&ApiError::Registry(RegistryError::Store(StoreError::Unavailable(text.to_owned().into()))));

        assert!(says("a\nb\r\u{1b}[31m é").ends_with(r": a\nb\r\u{1b}[31m é"), "{}", says("a\nb\r\u{1b}[31m é"));
        assert!(says(&"x".repeat(100_000)).len() < 3000);
    }
}
