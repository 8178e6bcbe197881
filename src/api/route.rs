//! Which endpoint of the specification a request is for.

use http::Method;
use percent_encoding::percent_decode_str;

use super::error::ApiError;
use super::query::query_value;
use crate::access::Action;
use crate::oci::{Digest, Reference, RepoName};
use crate::registry::UploadId;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether the process lives.
    Health,
    /// Whether requests should be sent here.
    Ready,
    /// What is counted.
    Metrics,
    /// A token to show in place of a password.
    Token,
    /// end-1: whether this is a registry.
    Version,
    /// Docker registry API: which repositories there are.
    Catalog,
    /// Something of a repository.
    Repository(RepoName, Endpoint),
}

/// An endpoint of one repository; distribution-spec v1.1.1, "Endpoints".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// end-2, HEAD.
    StatBlob(Digest),
    /// end-2, GET.
    GetBlob(Digest),
    /// end-3, HEAD.
    StatManifest(Reference),
    /// end-3, GET.
    GetManifest(Reference),
    /// end-4a, end-4b, end-11.
    StartUpload,
    /// end-5.
    AppendUpload(UploadId),
    /// end-6.
    FinishUpload(UploadId),
    /// end-7.
    PutManifest(Reference),
    /// end-8a, end-8b.
    ListTags,
    /// end-9.
    DeleteManifest(Reference),
    /// end-10.
    DeleteBlob(Digest),
    /// end-12a, end-12b.
    ListReferrers(Digest),
    /// end-13.
    UploadStatus(UploadId),
    /// end-14.
    CancelUpload(UploadId),
}

impl Route {
    /// The route of a request with `method` for `path`.
    pub(super) fn parse(method: &Method, path: &str) -> Result<Self, ApiError> {
        let segments = segments(path)?;
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        match (method.as_str(), &segments[..]) {
            ("GET" | "HEAD", ["healthz"]) => Ok(Self::Health),
            ("GET" | "HEAD", ["readyz"]) => Ok(Self::Ready),
            ("GET" | "HEAD", ["metrics"]) => Ok(Self::Metrics),
            ("GET", ["token"]) => Ok(Self::Token),
            (_, ["token"]) => Err(ApiError::MethodNotAllowed("GET")),
            ("GET" | "HEAD", ["v2"] | ["v2", ""]) => Ok(Self::Version),
            (_, ["healthz" | "readyz" | "metrics" | "v2"] | ["v2", ""]) => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            ("GET", ["v2", "_catalog"]) => Ok(Self::Catalog),
            (method, ["v2", rest @ ..]) => {
                // An unknown endpoint is told apart from a malformed name by looking at the right end first.
                let (name, endpoint) = endpoint(method, rest)?;
                let name = name.join("/").parse()?;
                Ok(Self::Repository(name, endpoint()?))
            }
            _ => Err(ApiError::NotFound),
        }
    }
}

impl Route {
    /// What a token is to be fetched for, to ask for this with this `query`.
    pub(super) fn scope(&self, query: &str) -> Option<String> {
        match self {
            Self::Repository(name, endpoint) => {
                // Who mounts a blob reads another image as well; who may not sends it.
                let is_start = *endpoint == Endpoint::StartUpload;
                let from = query_value(query, "from").filter(|_| is_start).and_then(|from| from.parse::<RepoName>().ok());
                let own = std::iter::once(endpoint.action().scope(name));
                Some(own.chain(from.map(|from| Action::Pull.scope(&from))).collect::<Vec<_>>().join(" "))
            }
            Self::Catalog => Some(Action::catalog_scope()),
            Self::Health | Self::Ready | Self::Metrics | Self::Token | Self::Version => None,
        }
    }

    /// What it is counted as.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
            Self::Token => "token",
            Self::Version => "version",
            Self::Catalog => "catalog",
            Self::Repository(_, endpoint) => endpoint.label(),
        }
    }

    /// The repository that it is for.
    pub(super) fn repository(&self) -> Option<&RepoName> {
        match self {
            Self::Repository(name, _) => Some(name),
            Self::Health | Self::Ready | Self::Metrics | Self::Token | Self::Version | Self::Catalog => None,
        }
    }
}

impl Endpoint {
    /// What is done with the repository, as a token is asked for it.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::StatBlob(_) | Self::GetBlob(_) | Self::StatManifest(_) | Self::GetManifest(_) => Action::Pull,
            Self::ListTags | Self::ListReferrers(_) => Action::Pull,
            Self::StartUpload | Self::AppendUpload(_) | Self::FinishUpload(_) | Self::PutManifest(_) => Action::Push,
            Self::UploadStatus(_) | Self::CancelUpload(_) => Action::Push,
            Self::DeleteManifest(_) | Self::DeleteBlob(_) => Action::Delete,
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::StatBlob(_) => "stat_blob",
            Self::GetBlob(_) => "get_blob",
            Self::StatManifest(_) => "stat_manifest",
            Self::GetManifest(_) => "get_manifest",
            Self::StartUpload => "start_upload",
            Self::AppendUpload(_) => "append_upload",
            Self::FinishUpload(_) => "finish_upload",
            Self::PutManifest(_) => "put_manifest",
            Self::ListTags => "list_tags",
            Self::DeleteManifest(_) => "delete_manifest",
            Self::DeleteBlob(_) => "delete_blob",
            Self::ListReferrers(_) => "list_referrers",
            Self::UploadStatus(_) => "upload_status",
            Self::CancelUpload(_) => "cancel_upload",
        }
    }
}

type Parse<'a> = Box<dyn FnOnce() -> Result<Endpoint, ApiError> + 'a>;

/// The name and the endpoint in `segments`. A name holds any number of
/// slashes, so a path is known by its right end.
fn endpoint<'a>(method: &str, segments: &'a [&'a str]) -> Result<(&'a [&'a str], Parse<'a>), ApiError> {
    let (name, parse): (_, Parse) = match (method, segments) {
        ("POST", [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""]) => {
            (name, Box::new(|| Ok(Endpoint::StartUpload)))
        }
        (_, [_, .., "blobs", "uploads"] | [_, .., "blobs", "uploads", ""]) => return Err(ApiError::MethodNotAllowed("POST")),
        ("PATCH", [name @ .., "blobs", "uploads", id]) => (name, Box::new(|| Ok(Endpoint::AppendUpload(id.parse()?)))),
        ("PUT", [name @ .., "blobs", "uploads", id]) => (name, Box::new(|| Ok(Endpoint::FinishUpload(id.parse()?)))),
        ("GET", [name @ .., "blobs", "uploads", id]) => (name, Box::new(|| Ok(Endpoint::UploadStatus(id.parse()?)))),
        ("DELETE", [name @ .., "blobs", "uploads", id]) => (name, Box::new(|| Ok(Endpoint::CancelUpload(id.parse()?)))),
        (_, [_, .., "blobs", "uploads", _]) => return Err(ApiError::MethodNotAllowed("GET, PATCH, PUT, DELETE")),
        ("HEAD", [name @ .., "blobs", digest]) => (name, Box::new(|| Ok(Endpoint::StatBlob(digest.parse()?)))),
        ("GET", [name @ .., "blobs", digest]) => (name, Box::new(|| Ok(Endpoint::GetBlob(digest.parse()?)))),
        ("DELETE", [name @ .., "blobs", digest]) => (name, Box::new(|| Ok(Endpoint::DeleteBlob(digest.parse()?)))),
        (_, [_, .., "blobs", _]) => return Err(ApiError::MethodNotAllowed("GET, HEAD, DELETE")),
        ("HEAD", [name @ .., "manifests", reference]) => (name, Box::new(|| Ok(Endpoint::StatManifest(reference.parse()?)))),
        ("GET", [name @ .., "manifests", reference]) => (name, Box::new(|| Ok(Endpoint::GetManifest(reference.parse()?)))),
        ("PUT", [name @ .., "manifests", reference]) => (name, Box::new(|| Ok(Endpoint::PutManifest(reference.parse()?)))),
        ("DELETE", [name @ .., "manifests", reference]) => (name, Box::new(|| Ok(Endpoint::DeleteManifest(reference.parse()?)))),
        (_, [_, .., "manifests", _]) => return Err(ApiError::MethodNotAllowed("GET, HEAD, PUT, DELETE")),
        ("GET", [name @ .., "tags", "list"]) => (name, Box::new(|| Ok(Endpoint::ListTags))),
        ("GET", [name @ .., "referrers", digest]) => (name, Box::new(|| Ok(Endpoint::ListReferrers(digest.parse()?)))),
        (_, [_, .., "tags", "list"] | [_, .., "referrers", _]) => return Err(ApiError::MethodNotAllowed("GET")),
        _ => return Err(ApiError::NotFound),
    };
    Ok((name, parse))
}

/// The decoded parts of `path` between its slashes.
fn segments(path: &str) -> Result<Vec<String>, ApiError> {
    let decode = |segment: &str| {
        let segment = percent_decode_str(segment).decode_utf8().map_err(|_| ApiError::Encoded)?;
        // An encoded slash would make one component look like two.
        if segment.contains('/') { Err(ApiError::Encoded) } else { Ok(segment.into_owned()) }
    };
    path.strip_prefix('/').ok_or(ApiError::NotFound)?.split('/').map(decode).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parse(line: &str) -> Result<Route, ApiError> {
        let (method, path) = line.split_once(' ').unwrap();
        Route::parse(&method.parse().unwrap(), path)
    }

    #[test]
    fn every_endpoint_is_known_by_the_right_end_of_its_path() {
        let digest = || Digest::sha256(b"");
        let tag = || Reference::Tag("v1".parse().unwrap());
        let id = UploadId::begin();
        for (line, name, endpoint) in [
            (format!("HEAD /v2/a/blobs/{DIGEST}"), "a", Endpoint::StatBlob(digest())),
            (format!("GET /v2/a/b/c/blobs/{DIGEST}"), "a/b/c", Endpoint::GetBlob(digest())),
            (format!("GET /v2/a/blobs/{}", DIGEST.replace(':', "%3A")), "a", Endpoint::GetBlob(digest())),
            (format!("GET /v2/blobs/uploads/blobs/{DIGEST}"), "blobs/uploads", Endpoint::GetBlob(digest())),
            ("POST /v2/a/blobs/uploads/".into(), "a", Endpoint::StartUpload),
            ("POST /v2/a/blobs/uploads".into(), "a", Endpoint::StartUpload),
            (format!("PUT /v2/a/blobs/uploads/{id}"), "a", Endpoint::FinishUpload(id)),
            ("HEAD /v2/a/manifests/v1".into(), "a", Endpoint::StatManifest(tag())),
            ("PUT /v2/manifests/manifests/v1".into(), "manifests", Endpoint::PutManifest(tag())),
            (format!("GET /v2/a/manifests/{DIGEST}"), "a", Endpoint::GetManifest(Reference::Digest(digest()))),
        ] {
            let route = parse(&line).map_err(|error| error.to_string());

            assert_eq!(route, Ok(Route::Repository(name.parse().unwrap(), endpoint)), "{line}");
        }
        for (line, route) in [("GET /v2/", Route::Version), ("GET /v2", Route::Version), ("GET /healthz", Route::Health)] {
            assert_eq!(parse(line).ok(), Some(route), "{line}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_by_what_is_wrong_with_it() {
        for (line, code) in [
            ("GET /", "NotFound"),
            ("GET /v1/", "NotFound"),
            ("GET /v2/a", "NotFound"),
            ("GET /v2/a/b", "NotFound"),
            ("GET v2/", "NotFound"),
            ("GET /v2/a%2fb/manifests/v1", "Encoded"),
            ("GET /v2/a/manifests/%ff", "Encoded"),
            ("GET /v2/../manifests/v1", "Name"),
            ("GET /v2/%2e%2e/manifests/v1", "Name"),
            ("GET /v2//manifests/v1", "Name"),
            ("GET /v2/A/manifests/v1", "Name"),
            ("POST /v2/blobs/uploads/", "Name"),
            ("GET /v2/a/manifests/-", "Reference"),
            ("GET /v2/a/manifests/sha256:00", "Reference"),
            ("GET /v2/a/blobs/sha256:00", "Digest"),
            ("PUT /v2/a/blobs/uploads/..", "Upload"),
            ("POST /v2/", "MethodNotAllowed"),
            ("PATCH /v2/a/manifests/v1", "MethodNotAllowed"),
            ("POST /v2/a/blobs/uploads/x", "MethodNotAllowed"),
            ("DELETE /v2/a/tags/list", "MethodNotAllowed"),
        ] {
            let error = parse(line).unwrap_err();

            assert!(format!("{error:?}").starts_with(code), "{line}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_path_has_a_route_or_a_reason(
            method in "GET|HEAD|PUT|POST|PATCH|DELETE|OPTIONS",
            path in "/?(v2|blobs|uploads|manifests|tags|list|_catalog|referrers|a|%2[eEfF]|%[0-9a-f]{0,2}|\\PC{0,3}|/){0,12}",
        ) {
            if let Err(error) = Route::parse(&method.parse().unwrap(), &path) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn every_name_is_found_before_every_endpoint(name in "(blobs|uploads|manifests|tags|list|referrers|v2|a){1}(/(blobs|uploads|manifests|tags|list|referrers|v2|a)){0,4}") {
            let digest = Digest::sha256(b"");
            for (line, endpoint) in [
                (format!("/v2/{name}/manifests/t"), Endpoint::GetManifest("t".parse().unwrap())),
                (format!("/v2/{name}/blobs/{DIGEST}"), Endpoint::GetBlob(digest)),
                (format!("/v2/{name}/tags/list"), Endpoint::ListTags),
                (format!("/v2/{name}/referrers/{DIGEST}"), Endpoint::ListReferrers(digest)),
            ] {
                let route = Route::parse(&Method::GET, &line).map_err(|error| error.to_string());

                prop_assert_eq!(route, Ok(Route::Repository(name.parse().unwrap(), endpoint)), "{}", line);
            }
        }
    }
}
