//! What a request means: the endpoints of the distribution specification.
//!
//! Requests become calls on a repository here, and outcomes become statuses;
//! no floor below knows HTTP.

mod audit;
mod authorization;
mod blobs;
mod body;
mod caller;
mod counted;
mod discards;
mod error;
mod headers;
mod host;
mod listings;
mod manifests;
mod query;
mod route;
mod tokens;
mod uploads;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode, request};
use http_body_util::BodyExt;
use tracing::Instrument;

use crate::access::{Action, Authenticator, Destination, Identity, Known, Profiles, Scope, Visit};
use crate::audit::Audit;
use crate::metrics::{self, Direction, Metrics, ProfileMetrics};
use crate::oci::RepoName;
use crate::registry::Repository;
use crate::secrets::Mask;
use audit::Deed;
use body::{ManifestMemory, empty, full};
use caller::{Caller, InForce, verb};
use counted::Counted;
use error::{About, ApiError};
use route::{Endpoint, Route};

pub use crate::access::Certificate;
pub use body::{RequestBody, ResponseBody};
pub use error::Told;
pub use host::Hosts;

/// Most bytes of headers that a request may have.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// The registry as clients see it.
#[derive(Debug)]
pub struct Api {
    in_force: RwLock<Arc<InForce>>,
    hosts: Hosts,
    manifests: ManifestMemory,
    metrics: Metrics,
    mask: Mask,
    audit: Audit,
    is_draining: AtomicBool,
}

/// What a listener is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Clients of the registry; of this profile, or of the one that their image belongs to.
    Registry(Option<Arc<str>>),
    /// Whoever watches over it.
    Admin,
}

impl Entrance {
    /// The profile that all are about who come in here, if it is one.
    fn profile(&self) -> Option<&str> {
        match self {
            Self::Registry(profile) => profile.as_deref(),
            Self::Admin => None,
        }
    }
}

/// The other end of a connection, as far as it matters.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The address that it came to.
    pub local: IpAddr,
    /// The address that it comes from.
    pub remote: IpAddr,
    /// How it speaks.
    pub wire: Wire,
}

/// How the two sides of a connection speak.
#[derive(Clone, Debug)]
pub enum Wire {
    /// So that anybody on the way can listen.
    Plain,
    /// So that nobody can.
    Encrypted,
    /// So that nobody can, and the client has shown a certificate.
    Certified(Arc<Certificate>),
}

/// A request and what is known besides it.
struct Call {
    headers: HeaderMap,
    query: String,
    body: RequestBody,
}

impl Api {
    /// An API over `profiles`, for clients that call this server by one of `hosts`; it counts in `metrics` and shows them.
    #[must_use]
    pub fn new(profiles: Profiles, hosts: Hosts, metrics: Metrics) -> Self {
        let in_force = RwLock::new(Arc::new(InForce::of(profiles, Authenticator::default(), &metrics)));
        let manifests = ManifestMemory::new();
        let (mask, audit) = (Mask::default(), Audit::default());
        Self { in_force, hosts, manifests, metrics, mask, audit, is_draining: AtomicBool::new(false) }
    }

    /// With `mask` over what it says itself: errors and metrics, not what clients have stored.
    #[must_use]
    pub fn with_mask(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    /// With who did what told to `audit`.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// From now on new requests are about these, from whom `authenticator` knows; those that run go on with what they began with.
    pub fn put_in_force(&self, profiles: Profiles, authenticator: Authenticator) {
        let in_force = Arc::new(InForce::of(profiles, authenticator, &self.metrics));
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on answers that no new requests should be sent here; those that come are answered still.
    pub fn begin_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    /// Answers `request`, which came in by `entrance` in the open, on the local address `local`.
    pub async fn answer(&self, request: Request<RequestBody>, entrance: &Entrance, local: IpAddr) -> Response<ResponseBody> {
        self.answer_to(request, entrance, &Peer { local, remote: local, wire: Wire::Plain }).await
    }

    /// Tells of a client that has shown a certificate which is not taken.
    pub fn tell_of_refused_certificate(&self, reason: &str) {
        self.audit.tell(&audit::not_taken("a certificate", reason));
    }

    /// Answers `request`, which came in by `entrance` from `peer`.
    pub async fn answer_to(&self, request: Request<RequestBody>, entrance: &Entrance, peer: &Peer) -> Response<ResponseBody> {
        let began = Instant::now();
        let in_force = self.in_force();
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let span = tracing::debug_span!("request", method = %parts.method, path);
        let route = Route::parse(&parts.method, path);
        let label = route.as_ref().map_or("none", Route::label);
        let image = route.as_ref().ok().and_then(Route::repository).cloned();
        let admitted = self.admit(&parts, &route, &in_force, entrance, peer).instrument(span.clone()).await;
        // Who did not say who they are in words that count is nobody's tenant.
        let identity = admitted.as_ref().map_or(&Identity::Anonymous, |known| &known.identity);
        let profile = in_force.name(entrance, image.as_ref(), identity).map(str::to_owned);
        let counts = in_force.counts(profile.as_deref());
        let body = counted(body, image.as_ref(), counts, Direction::Received);
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let call = Call { headers: parts.headers, query, body };
        let answer = self.route(call, route, admitted, &in_force, entrance).instrument(span).await;
        let about = About { profile: profile.as_deref(), image: image.as_ref() };
        let mut response = answer.unwrap_or_else(|error| error.into_response(&about, &self.mask));
        let headers = response.headers_mut();
        // docker takes a server for a registry by this (distribution-spec v1.1.1, "Legacy Docker support HTTP headers").
        headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        counts.answered(label, response.status().as_u16(), began.elapsed());
        let image = image.filter(|_| response.status().is_success());
        response.map(|body| counted(body, image.as_ref(), counts, Direction::Sent))
    }

    /// Who sends a request, if it may come in at all. Who asks for nothing that is anybody's need not say so.
    async fn admit(
        &self,
        parts: &request::Parts,
        route: &Result<Route, ApiError>,
        in_force: &InForce,
        entrance: &Entrance,
        peer: &Peer,
    ) -> Result<Known, ApiError> {
        headers::check_size(&parts.headers)?;
        self.hosts.check(&parts.headers, parts.uri.authority().map(Authority::as_str), peer.local)?;
        match (entrance, route) {
            (_, Ok(Route::Health | Route::Ready)) => Ok(Known::anonymous()),
            (Entrance::Registry(_), Ok(route)) => {
                let scope = route.scope(parts.uri.query().unwrap_or_default());
                in_force.identify(&parts.headers, peer, scope.as_deref()).await
            }
            (Entrance::Admin, _) | (_, Err(_)) => Ok(Known::anonymous()),
        }
    }

    async fn route(
        &self,
        call: Call,
        route: Result<Route, ApiError>,
        admitted: Result<Known, ApiError>,
        in_force: &InForce,
        entrance: &Entrance,
    ) -> Result<Response<ResponseBody>, ApiError> {
        if let Some(answer) = self.state(&route) {
            return Ok(answer);
        }
        let turned_away = |error: &ApiError| {
            let is_routine = !in_force.authenticator.is_offered();
            audit::turned_away(route.as_ref().ok(), error, is_routine).iter().for_each(|line| self.audit.tell(line));
        };
        let known = admitted.inspect_err(turned_away)?;
        // Who writes names otherwise may be after those of others.
        route.as_ref().err().filter(|error| error.is_about_a_name()).into_iter().for_each(turned_away);
        match (entrance, route?) {
            (Entrance::Admin, Route::Metrics) => Ok(self.metrics()),
            (Entrance::Admin, _) => Err(ApiError::NotFound),
            (Entrance::Registry(listener), route) => {
                let scope = route.scope(&call.query);
                let caller = Caller { in_force, listener: listener.as_deref(), known: &known, scope: scope.as_deref() };
                let answer = self.registry(&caller, route, call).await;
                answer.map_err(|error| caller.refused(error))
            }
        }
    }

    async fn registry(&self, caller: &Caller<'_>, route: Route, call: Call) -> Result<Response<ResponseBody>, ApiError> {
        match route {
            Route::Token => tokens::give(caller, &call.query),
            Route::Version => caller.version(),
            Route::Catalog => {
                caller.check_scope(Scope::has_catalog)?;
                let identity = &caller.known.identity;
                let listed = listings::catalog(&caller.in_force.profiles, caller.listener, identity, &call.query).await;
                listed.inspect_err(|error| self.tell_of_unplaced(identity, None, error))
            }
            Route::Repository(name, endpoint) => {
                let action = endpoint.action();
                let visit = caller.visit(name.clone(), action);
                let identity = &caller.known.identity;
                let visit = visit.inspect_err(|error| self.tell_of_unplaced(identity, Some((&name, action)), error))?;
                // Who may not at all is told so, and need fetch no token to learn it.
                if visit.may(verb(action)) {
                    caller.check_scope(|scope| scope.has(visit.image(), action))?;
                }
                let from = |name: RepoName| caller.mountable(visit.profile(), name);
                let deed = Deed::of(&endpoint, &call.headers, &call.query);
                let answer = self.dispatch(&visit, endpoint, call, &from).await;
                if let Some(line) = deed.told(caller, &visit, &answer) {
                    self.audit.tell(&line);
                }
                answer
            }
            Route::Health | Route::Ready | Route::Metrics => Err(ApiError::NotFound),
        }
    }

    fn tell_of_unplaced(&self, identity: &Identity, object: Option<(&RepoName, Action)>, error: &ApiError) {
        audit::unplaced(identity, object, error).iter().for_each(|line| self.audit.tell(line));
    }

    /// The answer to a probe. Whoever asks for these by whatever name is one.
    fn state(&self, route: &Result<Route, ApiError>) -> Option<Response<ResponseBody>> {
        match route {
            Ok(Route::Health) => Some(plain(StatusCode::OK, "alive\n")),
            Ok(Route::Ready) if self.is_draining.load(Ordering::Relaxed) => {
                Some(plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"))
            }
            Ok(Route::Ready) => Some(plain(StatusCode::OK, "ready\n")),
            _ => None,
        }
    }

    fn metrics(&self) -> Response<ResponseBody> {
        let told = self.metrics.to_text();
        text(StatusCode::OK, self.mask.apply(&told).into_owned(), metrics::CONTENT_TYPE)
    }

    async fn dispatch(
        &self,
        visit: &Visit<'_>,
        endpoint: Endpoint,
        call: Call,
        from: &(dyn Fn(RepoName) -> Option<Repository> + Sync),
    ) -> Result<Response<ResponseBody>, ApiError> {
        match endpoint {
            Endpoint::StatBlob(digest) => blobs::stat(&visit.read()?, &digest, &call.headers).await,
            Endpoint::GetBlob(digest) => blobs::get(&visit.read()?, &digest, &call.headers).await,
            Endpoint::StatManifest(reference) => {
                let repository = visit.read_at(&reference, headers::wanted(&call.headers, &reference))?;
                manifests::stat(&repository, &reference, &call.headers).await
            }
            Endpoint::GetManifest(reference) => {
                let repository = visit.read_at(&reference, headers::wanted(&call.headers, &reference))?;
                manifests::get(&repository, &reference, &call.headers).await
            }
            Endpoint::PutManifest(reference) => manifests::put(visit, &reference, call, &self.manifests).await,
            Endpoint::DeleteManifest(reference) => manifests::delete(&visit.delete_at(&reference)?, &reference).await,
            Endpoint::DeleteBlob(digest) => blobs::delete(&visit.delete_blobs()?, &digest).await,
            Endpoint::ListTags => listings::tags(visit, &call.query).await,
            Endpoint::ListReferrers(subject) => listings::referrers(&visit.read()?, &subject, &call.query).await,
            Endpoint::StartUpload => match visit.upload()? {
                Destination::Kept(repository) => uploads::start(&repository, from, call).await,
                Destination::Discarded(_) => discards::start(visit.image(), call).await,
            },
            Endpoint::FinishUpload(id) => match visit.upload()? {
                Destination::Kept(repository) => uploads::finish(&repository, id, call).await,
                Destination::Discarded(_) => discards::finish(visit.image(), call).await,
            },
            Endpoint::AppendUpload(id) => uploads::append(&visit.keep()?, id, call).await,
            Endpoint::UploadStatus(id) => uploads::status(&visit.keep()?, id).await,
            Endpoint::CancelUpload(id) => uploads::cancel(&visit.keep()?, id).await,
        }
    }
}

/// `body`, with its bytes counted as those of `image`.
fn counted(body: RequestBody, image: Option<&RepoName>, counts: &ProfileMetrics, direction: Direction) -> RequestBody {
    let Some(image) = image.cloned() else { return body };
    let counts = counts.clone();
    Counted::new(body, move || counts.image_bytes(&image, direction)).boxed_unsync()
}

/// end-1: yes, this is a registry.
fn version() -> Response<ResponseBody> {
    let mut response = Response::new(full("{}"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, body: &'static str) -> Response<ResponseBody> {
    text(status, body, "text/plain")
}

fn text(status: StatusCode, body: impl Into<Bytes>, content_type: &'static str) -> Response<ResponseBody> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response of `status` without a body.
fn bare(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}
