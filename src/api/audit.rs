//! What a request does, and what came of it, as it is told of whoever sends it.

use std::borrow::Cow;

use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::authorization::Unknown;
use super::body::ResponseBody;
use super::caller::{Caller, verb};
use super::error::ApiError;
use super::headers::{DOCKER_CONTENT_DIGEST, content_length, text};
use super::query::query_values;
use super::route::{Endpoint, Route};
use crate::access::{Action, Denied, Identity, Verb, Visit};
use crate::audit::{Event, Line};
use crate::oci::{Reference, RepoName, Tag};

/// Marks the answer to something that was taken and not kept.
#[derive(Clone)]
pub(super) struct Discarded;

/// What somebody wants to do with an image.
pub(super) struct Deed {
    /// What is told where it is done; `None` where that is not worth a line.
    event: Option<Event>,
    verb: Verb,
    reference: Option<Reference>,
    /// Tags that are to be set besides.
    tags: Vec<Tag>,
    digest: Option<String>,
    bytes: Option<u64>,
}

impl Deed {
    /// What a request for `endpoint` does that has these `headers` and this `query`.
    pub(super) fn of(endpoint: &Endpoint, headers: &HeaderMap, query: &str) -> Self {
        let (event, reference, digest) = match endpoint {
            Endpoint::StartUpload | Endpoint::FinishUpload(_) => (Some(Event::Write), None, query_values(query, "digest").next()),
            Endpoint::PutManifest(reference) => (Some(Event::Write), Some(reference), None),
            Endpoint::DeleteManifest(reference) => (Some(Event::Delete), Some(reference), None),
            Endpoint::DeleteBlob(digest) => (Some(Event::Delete), None, Some(digest.to_string())),
            Endpoint::StatManifest(reference) | Endpoint::GetManifest(reference) => (None, Some(reference), None),
            Endpoint::StatBlob(digest) | Endpoint::GetBlob(digest) | Endpoint::ListReferrers(digest) => {
                (None, None, Some(digest.to_string()))
            }
            Endpoint::ListTags | Endpoint::AppendUpload(_) | Endpoint::UploadStatus(_) | Endpoint::CancelUpload(_) => {
                (None, None, None)
            }
        };
        let named = match reference {
            Some(Reference::Digest(digest)) => Some(digest.to_string()),
            Some(Reference::Tag(_)) | None => None,
        };
        let sets_tags = matches!((endpoint, reference), (Endpoint::PutManifest(_), Some(Reference::Digest(_))));
        let tags = if sets_tags { query_values(query, "tag").filter_map(|tag| tag.parse().ok()).collect() } else { Vec::new() };
        let bytes = content_length(headers).filter(|_| endpoint.action() == Action::Push);
        Self { event, verb: verb(endpoint.action()), reference: reference.cloned(), tags, digest: digest.or(named), bytes }
    }

    /// What is to be told of it, since it was answered so; `None` where that is nothing. An upload that was only opened has
    /// changed nothing.
    pub(super) fn told<'a>(
        &'a self,
        caller: &Caller<'_>,
        visit: &'a Visit<'_>,
        answer: &'a Result<Response<ResponseBody>, ApiError>,
    ) -> Option<Line<'a>> {
        let line = Line {
            identity: Some(caller.known.identity.to_string().into()),
            profile: Some(visit.profile().name().into()),
            image: Some(visit.image().as_str().into()),
            tag: self.tag(),
            digest: self.digest.as_deref().map(Into::into),
            bytes: self.bytes,
            // Where nobody can say who they are everybody writes, all the time.
            is_routine: self.event.is_some() && !caller.in_force.authenticator.is_offered(),
            ..Line::default()
        };
        match (answer, self.event) {
            (Err(ApiError::Denied(Denied::Absent(_)) | ApiError::Unauthorized { .. }), _) => None,
            (Err(ApiError::Denied(denied)), _) => {
                let verb = denied.verb().unwrap_or(self.verb);
                let reason = Some(self.rule(verb, visit).into());
                let verb = Some(verb.to_string().into());
                Some(Line { event: Event::Denied, verb, result: "denied", reason, is_routine: false, ..line })
            }
            (_, None) => None,
            (Ok(response), Some(Event::Write)) if response.status() == StatusCode::ACCEPTED => None,
            (Ok(response), Some(event)) => {
                let digest = text(response.headers(), DOCKER_CONTENT_DIGEST).map(Cow::Borrowed).or(line.digest);
                let line = Line { event, digest, result: "done", ..line };
                let is_discarded = response.extensions().get::<Discarded>().is_some();
                let reason = || Some(self.rule(self.verb, visit).into());
                Some(if is_discarded { Line { result: "discarded", reason: reason(), ..line } } else { line })
            }
            (Err(error), Some(event)) => Some(Line { event, result: "failed", reason: Some(error.to_string().into()), ..line }),
        }
    }

    fn tag(&self) -> Option<Cow<'_, str>> {
        let own = match &self.reference {
            Some(Reference::Tag(tag)) => Some(tag.as_str()),
            Some(Reference::Digest(_)) | None => None,
        };
        let tags: Vec<&str> = own.into_iter().chain(self.tags.iter().map(Tag::as_str)).collect();
        (!tags.is_empty()).then(|| tags.join(" ").into())
    }

    /// The rule that decides whether `verb` may be done.
    fn rule(&self, verb: Verb, visit: &Visit<'_>) -> String {
        visit.ruling(verb, self.reference.as_ref(), &self.tags).why()
    }
}

/// What is told of a request for `route` that is turned away before anybody asks what its sender may; `None` where whatever
/// they showed has told of it.
pub(super) fn turned_away<'a>(route: Option<&Route>, error: &ApiError, is_routine: bool) -> Option<Line<'a>> {
    match error {
        ApiError::PlainHttp | ApiError::Unauthorized { unknown: Unknown::Malformed, .. } => {
            Some(not_taken("an Authorization header", &error.to_string()))
        }
        ApiError::Unauthorized { .. } | ApiError::Crowded(_) => None,
        _ => {
            let object = match route {
                Some(Route::Repository(name, endpoint)) => Some((name, endpoint.action())),
                _ => None,
            };
            Some(Line { is_routine, ..denied(object, error) })
        }
    }
}

/// What is told of `identity`, who is refused something with an image because of `error` before it is known in which profile;
/// `None` where they are not.
pub(super) fn unplaced<'a>(identity: &Identity, object: Option<(&RepoName, Action)>, error: &ApiError) -> Option<Line<'a>> {
    let identity = Some(identity.to_string().into());
    matches!(error, ApiError::Denied(_)).then(|| Line { identity, ..denied(object, error) })
}

fn denied<'a>(object: Option<(&RepoName, Action)>, error: &ApiError) -> Line<'a> {
    let (image, action) = object.unzip();
    let (image, verb) = (image.map(|image| image.to_string().into()), action.map(|action| verb(action).to_string().into()));
    Line { event: Event::Denied, image, verb, result: "denied", reason: Some(error.to_string().into()), ..Line::default() }
}

/// What is told of `shown`, by which somebody wants to be known, and which is not taken.
pub(super) fn not_taken<'a>(shown: &'a str, reason: &str) -> Line<'a> {
    let (identity, reason) = (Some(shown.into()), Some(reason.to_owned().into()));
    Line { event: Event::Login, identity, result: "refused", reason, ..Line::default() }
}
