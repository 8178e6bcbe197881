//! Who sends a request, and what that lets them do: what is asked before anything is done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Response};
use secrecy::SecretString;

use super::authorization::{self, Unknown};
use super::body::ResponseBody;
use super::error::ApiError;
use super::{Entrance, Peer, Wire, version};
use crate::access::{
    Action, Authenticator, Denied, Identity, Known, Presented, Profile, Profiles, Scope, Unidentified, Unplaced, Verb, Visit,
};
use crate::metrics::{Metrics, ProfileMetrics};
use crate::oci::RepoName;
use crate::registry::Repository;

/// What requests that are about no profile are counted under; no profile can be called so.
const NO_PROFILE: &str = "_none";

/// What new requests go by. Those that run go on with what they began with.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) profiles: Profiles,
    pub(super) authenticator: Authenticator,
    counts: HashMap<String, ProfileMetrics>,
    /// Of requests that are about none.
    others: ProfileMetrics,
}

/// Who sends a request, and where it came in.
pub(super) struct Caller<'a> {
    pub(super) in_force: &'a InForce,
    pub(super) listener: Option<&'a str>,
    pub(super) known: &'a Known,
    /// What a client is told to fetch a token for, to send this request.
    pub(super) scope: Option<&'a str>,
}

impl InForce {
    pub(super) fn of(profiles: Profiles, authenticator: Authenticator, metrics: &Metrics) -> Self {
        let counts = profiles.iter().map(|profile| (profile.name().to_owned(), metrics.profile(profile.name()))).collect();
        Self { profiles, authenticator, counts, others: metrics.profile(NO_PROFILE) }
    }

    /// Who sends a request with these `headers` from `peer`, to do what takes a token for `scope`.
    pub(super) async fn identify(&self, headers: &HeaderMap, peer: &Peer, scope: Option<&str>) -> Result<Known, ApiError> {
        let presented = match self.authenticator.is_offered() {
            true => authorization::presented(headers).map_err(|unknown| self.unauthorized(unknown, scope))?,
            false => Presented::Nothing,
        };
        match (&presented, &peer.wire) {
            (Presented::Nothing, Wire::Certified(shown)) => return Ok(Known::certified(Arc::clone(shown))),
            (Presented::Nothing, _) | (_, Wire::Encrypted | Wire::Certified(_)) => {}
            _ if self.authenticator.allows_plain_http() || peer.local.to_canonical().is_loopback() => {}
            _ => return Err(ApiError::PlainHttp),
        }
        let known = self.authenticator.identify_from(&presented, peer.remote).await;
        known.map_err(|unidentified| match unidentified {
            Unidentified::Crowded => ApiError::Crowded(unidentified),
            Unidentified::Refused | Unidentified::Expired => self.unauthorized(unidentified.into(), scope),
        })
    }

    fn unauthorized(&self, unknown: Unknown, scope: Option<&str>) -> ApiError {
        ApiError::Unauthorized { unknown, challenge: authorization::challenge(self.authenticator.realm(), scope) }
    }

    /// What the profile is called that a request of `identity` is about.
    pub(super) fn name(&self, entrance: &Entrance, image: Option<&RepoName>, identity: &Identity) -> Option<&str> {
        Some(self.profiles.of(entrance.profile(), image?, identity).ok()?.name())
    }

    pub(super) fn counts(&self, profile: Option<&str>) -> &ProfileMetrics {
        profile.and_then(|name| self.counts.get(name)).unwrap_or(&self.others)
    }
}

impl<'a> Caller<'a> {
    /// end-1: yes, this is a registry. A client that could say who it is is asked to, or it would never learn that it can.
    pub(super) fn version(&self) -> Result<Response<ResponseBody>, ApiError> {
        match self.known.identity {
            Identity::Anonymous if self.in_force.authenticator.is_offered() => Err(self.unauthorized(Unknown::Nobody)),
            _ => Ok(version()),
        }
    }

    /// What the client may do with an image, who wants to do `action`.
    pub(super) fn visit(&self, image: RepoName, action: Action) -> Result<Visit<'a>, ApiError> {
        let visit = self.in_force.profiles.visit(self.listener, image.clone(), &self.known.identity);
        visit.map_err(|unplaced| self.unplaced(image, action, &unplaced))
    }

    /// What the client is told of an image that is of no profile for them: the same as of one that is none of their business.
    fn unplaced(&self, image: RepoName, action: Action, unplaced: &Unplaced) -> ApiError {
        let identity = &self.known.identity;
        tracing::warn!(repository = %image, %identity, "{unplaced}");
        let is_offered = self.in_force.authenticator.is_offered();
        match (unplaced, identity, action) {
            (Unplaced::Torn(_), ..) => Denied::Torn(identity.to_string()).into(),
            // A profile may serve those who say who they are.
            (Unplaced::Nobodys, Identity::Anonymous, _) if is_offered => self.unauthorized(Unknown::Nobody),
            (Unplaced::Nobodys, Identity::Anonymous, _) | (_, _, Action::Pull) => ApiError::NameUnknown(image),
            (Unplaced::Nobodys, _, Action::Push | Action::Delete) => Denied::Stranger.into(),
        }
    }

    /// The repository `name`, if it is in `profile` too and the client may read it.
    pub(super) fn mountable(&self, profile: &Arc<Profile>, name: RepoName) -> Option<Repository> {
        self.check_scope(|scope| scope.has(&name, Action::Pull)).ok()?;
        let its = self.in_force.profiles.visit(self.listener, name, &self.known.identity).ok()?;
        its.read().ok().filter(|_| Arc::ptr_eq(its.profile(), profile))
    }

    /// Whether the client may do `action` with any part of `image`.
    pub(super) fn may(&self, image: &RepoName, action: Action) -> bool {
        let visit = self.in_force.profiles.visit(self.listener, image.clone(), &self.known.identity);
        visit.is_ok_and(|visit| visit.may(verb(action)))
    }

    /// A token that the client can show in place of what it showed now.
    pub(super) fn pass(&self, scope: Scope) -> Option<(SecretString, Duration)> {
        self.in_force.authenticator.pass(self.known, scope)
    }

    /// Refuses a client that shows a token which it fetched for something else than what `has` looks for.
    pub(super) fn check_scope(&self, has: impl Fn(&Scope) -> bool) -> Result<(), ApiError> {
        let is_fine = self.known.scope.as_ref().is_none_or(has);
        let wanted = || self.scope.unwrap_or_default().to_owned();
        if is_fine { Ok(()) } else { Err(self.unauthorized(Unknown::OutOfScope(wanted()))) }
    }

    /// What the client is told of `error`: where it is a refusal, and they did not say who they are, that they could.
    pub(super) fn refused(&self, error: ApiError) -> ApiError {
        match (&error, &self.known.identity) {
            (ApiError::Denied(Denied::Absent(_)), _) => error,
            (ApiError::Denied(_), Identity::Anonymous) if self.in_force.authenticator.is_offered() => {
                self.unauthorized(Unknown::Nobody)
            }
            _ => error,
        }
    }

    fn unauthorized(&self, unknown: Unknown) -> ApiError {
        self.in_force.unauthorized(unknown, self.scope)
    }
}

/// What an action is in the words of grants.
pub(super) fn verb(action: Action) -> Verb {
    match action {
        Action::Pull => Verb::Read,
        Action::Push => Verb::Write,
        Action::Delete => Verb::Delete,
    }
}
