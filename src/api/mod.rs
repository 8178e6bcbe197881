//! What a request means: the endpoints of the distribution specification.
//!
//! Requests become calls on a repository here, and outcomes become statuses;
//! no floor below knows HTTP.

mod blobs;
mod body;
mod error;
mod headers;
mod host;
mod listings;
mod manifests;
mod query;
mod route;
mod uploads;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use crate::access::Profile;
use crate::oci::RepoName;
use body::{ManifestMemory, empty, full};
use error::ApiError;
use route::{Endpoint, Route};

pub use body::{RequestBody, ResponseBody};
pub use host::Hosts;

/// Most bytes of headers that a request may have.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// The registry as clients see it.
#[derive(Debug)]
pub struct Api {
    profile: Profile,
    hosts: Hosts,
    manifests: ManifestMemory,
    is_draining: AtomicBool,
}

/// A request and what is known besides it.
struct Call {
    method: Method,
    headers: HeaderMap,
    query: String,
    body: RequestBody,
}

impl Api {
    /// An API over `profile`, for clients that call this server by one of `hosts`.
    #[must_use]
    pub fn new(profile: Profile, hosts: Hosts) -> Self {
        Self { profile, hosts, manifests: ManifestMemory::new(), is_draining: AtomicBool::new(false) }
    }

    /// From now on answers that no new requests should be sent here; those that come are answered still.
    pub fn begin_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Answers `request`, which came in on the local address `local`.
    pub async fn answer(&self, request: Request<RequestBody>, local: IpAddr) -> Response<ResponseBody> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let path = parts.uri.path();
        let span = tracing::debug_span!("request", method = %parts.method, path);
        let host = parts.uri.authority().map(|authority| authority.as_str().to_owned());
        let path = path.to_owned();
        let call = Call { method: parts.method, headers: parts.headers, query, body };
        let answering = async { self.route(call, &path, host.as_deref(), local).await.unwrap_or_else(ApiError::into_response) };
        let mut response = tracing::Instrument::instrument(answering, span).await;
        let headers = response.headers_mut();
        // docker takes a server for a registry by this (distribution-spec v1.1.1, "Legacy Docker support HTTP headers").
        headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        response
    }

    async fn route(
        &self,
        call: Call,
        path: &str,
        authority: Option<&str>,
        local: IpAddr,
    ) -> Result<Response<ResponseBody>, ApiError> {
        let route = Route::parse(&call.method, path);
        match route {
            // Whoever asks for these by whatever name is a probe.
            Ok(Route::Health) => return Ok(text(StatusCode::OK, "alive\n")),
            Ok(Route::Ready) => return Ok(self.readiness()),
            _ => {}
        }
        headers::check_size(&call.headers)?;
        self.hosts.check(&call.headers, authority, local)?;
        match route? {
            Route::Health | Route::Ready | Route::Version => Ok(version()),
            Route::Catalog => listings::catalog(&self.profile, &call.query).await,
            Route::Repository(name, endpoint) => self.dispatch(name, endpoint, call).await,
        }
    }

    async fn dispatch(&self, name: RepoName, endpoint: Endpoint, call: Call) -> Result<Response<ResponseBody>, ApiError> {
        let profile = &self.profile;
        match endpoint {
            Endpoint::StatBlob(digest) => blobs::stat(&profile.read(name)?, &digest).await,
            Endpoint::GetBlob(digest) => blobs::get(&profile.read(name)?, &digest, &call.headers).await,
            Endpoint::StatManifest(reference) => manifests::stat(&profile.read(name)?, &reference, &call.headers).await,
            Endpoint::GetManifest(reference) => manifests::get(&profile.read(name)?, &reference, &call.headers).await,
            Endpoint::PutManifest(reference) => manifests::put(&profile.write(name)?, &reference, call, &self.manifests).await,
            Endpoint::DeleteManifest(reference) => manifests::delete(&profile.write(name)?, &reference).await,
            Endpoint::DeleteBlob(digest) => blobs::delete(&profile.write(name)?, &digest).await,
            Endpoint::ListTags => listings::tags(&profile.read(name)?, &call.query).await,
            Endpoint::ListReferrers(subject) => listings::referrers(&profile.read(name)?, &subject, &call.query).await,
            Endpoint::StartUpload => uploads::start(profile, &profile.write(name)?, call).await,
            Endpoint::AppendUpload(id) => uploads::append(&profile.write(name)?, id, call).await,
            Endpoint::FinishUpload(id) => uploads::finish(&profile.write(name)?, id, call).await,
            Endpoint::UploadStatus(id) => uploads::status(&profile.write(name)?, id).await,
            Endpoint::CancelUpload(id) => uploads::cancel(&profile.write(name)?, id).await,
        }
    }

    fn readiness(&self) -> Response<ResponseBody> {
        if self.is_draining.load(Ordering::Relaxed) {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else {
            text(StatusCode::OK, "ready\n")
        }
    }
}

/// end-1: yes, this is a registry.
fn version() -> Response<ResponseBody> {
    let mut response = Response::new(full("{}"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A response of `status` without a body.
fn bare(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}
