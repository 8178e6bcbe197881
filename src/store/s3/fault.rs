//! What a failed request means: wait, give up, or call a person.

use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::S3Settings;
use super::rights::Lacking;
use super::signed::skew;
use crate::credentials::{Credentials, NoCredentials};
use crate::store::{Cause, Misconfiguration, StoreError};

/// A clock that is off by less is good enough to sign with: stores take 15 minutes, some 5.
const TOLERATED_SKEW: Duration = Duration::from_mins(4);

/// What a store says of keys that it does not take (S3 API, "Error responses"; Cloud Storage, "XML API error responses").
const KEYS_REFUSED: &[&str] = &[
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "AuthenticationRequired",
    // MinIO's word for a session whose keys are gone.
    "InvalidTokenId",
    // versitygw's for a key that is.
    "XAdminUserNotFound",
];

/// A request that did not succeed.
#[derive(Debug)]
pub(super) struct Fault {
    /// What to tell the caller if it stays like this.
    pub(super) error: StoreError,
    /// What may help before another attempt is made.
    pub(super) remedy: Remedy,
}

/// What may help against a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: the store has answered, and would answer so again.
    None,
    /// A little time: the store works, only not for this request as yet.
    Time,
    /// The store's recovery: it is down, or breaks what it begins.
    Recovery,
    /// The same, over new connections: nothing at all was heard, and this one may be one that the other side has forgotten.
    NewConnections,
    /// Fewer requests at once.
    LessLoad,
    /// Other keys than these, which the store refuses.
    OtherKeys {
        /// Whether they were good, so that others are about to come.
        are_expired: bool,
    },
    /// Any keys: for now there are none, and nothing was asked.
    Keys,
    /// Signing for this region: the bucket is there.
    Region(String),
}

/// Who we are to the bucket, for messages that help.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    bucket: String,
    region: String,
    endpoint: String,
    credentials: Credentials,
    /// Whether it was told that our clock is off.
    clock: Arc<Once>,
}

/// What a response says went wrong.
struct Refusal<'a> {
    operation: &'static str,
    status: u16,
    code: &'a str,
    bucket_region: Option<&'a str>,
    /// How far the store's clock is from the one that the request was signed by.
    skew: Duration,
}

impl Fault {
    fn passing(remedy: Remedy, cause: impl Into<Cause>) -> Self {
        Self { error: StoreError::Unavailable(cause.into()), remedy }
    }

    pub(super) fn lasting(error: StoreError) -> Self {
        Self { error, remedy: Remedy::None }
    }

    /// A response without something that every store must say.
    pub(super) fn incomplete(what: &str) -> Self {
        Self::passing(Remedy::Recovery, format!("the store's answer lacks {what}"))
    }

    /// There are no keys to ask with.
    pub(super) fn without_keys(missing: NoCredentials) -> Self {
        let remedy = if missing.is_passing { Remedy::Keys } else { Remedy::None };
        Self { error: StoreError::NoCredentials(missing), remedy }
    }

    /// Nothing was heard or sent for so long.
    pub(super) fn silent(still: Duration) -> Self {
        Self::passing(Remedy::NewConnections, format!("the store gave no sign of life for {still:?}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(&self.error) {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.error, f),
        }
    }
}

impl Identity {
    pub(super) fn of(settings: &S3Settings, credentials: Credentials) -> Self {
        Self {
            bucket: settings.bucket.clone(),
            region: settings.region.clone(),
            endpoint: settings.endpoint.clone().unwrap_or_else(|| "AWS".to_owned()),
            credentials,
            clock: Arc::new(Once::new()),
        }
    }

    /// What `error` means, coming from `operation`.
    pub(super) fn fault<E>(&self, operation: &'static str, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let SdkError::ServiceError(service) = &error else {
            if let Some(missing) = missing_credentials(&error) {
                return Fault::without_keys(missing);
            }
            return Fault::passing(Remedy::Recovery, format!("{operation}: {}", DisplayErrorContext(&error)));
        };
        let (said, response) = (service.err(), service.raw());
        let status = response.status().as_u16();
        let code = said.code().unwrap_or_default();
        let bucket_region = response.headers().get("x-amz-bucket-region").or_else(|| region_in(response));
        let cause = format!("{operation}: {status} {code}: {}", said.message().unwrap_or("no message"));
        self.judge(&Refusal { operation, status, code, bucket_region, skew: skew(response) }, cause)
    }

    fn judge(&self, refusal: &Refusal<'_>, cause: String) -> Fault {
        if let Some(mistake) = self.mistake(refusal) {
            let remedy = if refusal.is_about_keys() { Remedy::OtherKeys { are_expired: false } } else { Remedy::None };
            return Fault { error: StoreError::Misconfigured(mistake), remedy };
        }
        if self.is_elsewhere(refusal) {
            return self.wrong_region(refusal.bucket_region);
        }
        if refusal.is_about_time() {
            self.tell_of_clock(refusal.skew);
            return Fault::passing(Remedy::Time, cause);
        }
        if refusal.is_about_expiry() {
            return Fault::passing(Remedy::OtherKeys { are_expired: true }, cause);
        }
        if refusal.is_about_keys() {
            return Fault { error: lasting(refusal, cause.into()), remedy: Remedy::OtherKeys { are_expired: false } };
        }
        if ["XMinioStorageFull", "QuotaExceeded"].contains(&refusal.code) {
            return Fault::lasting(StoreError::Full(cause.into()));
        }
        match remedy(refusal.code).or_else(|| remedy_of(refusal.status)) {
            Some(remedy) => Fault::passing(remedy, cause),
            None if refusal.code == "AccessDenied" => {
                Fault::lasting(StoreError::Denied(Lacking::to(refusal.operation, cause).into()))
            }
            None => Fault::lasting(lasting(refusal, cause.into())),
        }
    }

    /// The mistake in how the bucket is set up, if it is one.
    fn mistake(&self, refusal: &Refusal<'_>) -> Option<Misconfiguration> {
        let access_key_id = self.credentials.id();
        match refusal.code {
            "NoSuchBucket" => {
                Some(Misconfiguration::NoSuchBucket { bucket: self.bucket.clone(), endpoint: self.endpoint.clone() })
            }
            "InvalidAccessKeyId" | "XAdminUserNotFound" => {
                Some(Misconfiguration::UnknownAccessKey { access_key_id, endpoint: self.endpoint.clone() })
            }
            "SignatureDoesNotMatch" => Some(Misconfiguration::WrongSecret { access_key_id }),
            _ => None,
        }
    }

    /// Whether the bucket is in another region than the one that was signed for.
    fn is_elsewhere(&self, refusal: &Refusal<'_>) -> bool {
        // The answer to a HEAD has no code.
        let is_told = refusal.bucket_region.is_some_and(|region| region != self.region);
        let codes = ["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"];
        codes.contains(&refusal.code) || refusal.status == 301 || (refusal.status == 400 && refusal.code.is_empty() && is_told)
    }

    fn wrong_region(&self, told: Option<&str>) -> Fault {
        let expected = told.filter(|region| *region != self.region && is_region(region)).map(str::to_owned);
        let remedy = expected.clone().map_or(Remedy::None, Remedy::Region);
        let mistake = Misconfiguration::WrongRegion { bucket: self.bucket.clone(), region: self.region.clone(), expected };
        Fault { error: StoreError::Misconfigured(mistake), remedy }
    }

    /// The SDK has taken the store's time from this answer, and signs the next request by it.
    fn tell_of_clock(&self, skew: Duration) {
        if skew > TOLERATED_SKEW {
            self.clock.call_once(|| {
                tracing::warn!(seconds = skew.as_secs(), "our clock is not the store's; requests are signed by the store's");
            });
        }
    }
}

impl Refusal<'_> {
    /// Whether a clock is off; the answer to a HEAD does not say so.
    fn is_about_time(&self) -> bool {
        let is_unsaid = self.status == 403 && self.code.is_empty() && self.skew > TOLERATED_SKEW;
        is_unsaid || self.code == "RequestTimeTooSkewed"
    }

    /// Whether keys were good, and are about to be replaced; the answer to a HEAD does not say so (S3 API, "Error responses").
    fn is_about_expiry(&self) -> bool {
        let is_unsaid = self.status == 400 && self.code.is_empty();
        is_unsaid || ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"].contains(&self.code)
    }

    /// Whether the store does not know the keys, or they do not fit; it may know others that their source has by now.
    ///
    /// The answer to a HEAD has no code. That of 403 may as well be about the object (see `absence`).
    fn is_about_keys(&self) -> bool {
        self.status == 401 || KEYS_REFUSED.contains(&self.code)
    }
}

/// What helps against what went wrong on the way, whatever status it is told with; 200 is one of them.
fn remedy(code: &str) -> Option<Remedy> {
    match code {
        "InternalError" | "ServiceUnavailable" => Some(Remedy::Recovery),
        "RequestTimeout" | "RequestTimeoutException" | "IncompleteBody" | "BadDigest" | "XAmzContentSHA256Mismatch" => {
            Some(Remedy::Time)
        }
        "RequestLimitExceeded" | "TooManyRequests" => Some(Remedy::LessLoad),
        // versitygw's and MinIO's words, who keep objects as files, for a key below another object's.
        "ObjectParentIsFile" | "XMinioParentIsObject" => Some(Remedy::None),
        // MinIO adds what it is that is slow.
        code if code.starts_with("SlowDown") || code.starts_with("Throttl") => Some(Remedy::LessLoad),
        _ => None,
    }
}

/// What helps against what is told by the status only.
fn remedy_of(status: u16) -> Option<Remedy> {
    match status {
        429 => Some(Remedy::LessLoad),
        408 | 409 | 425 => Some(Remedy::Time),
        // What the store does not offer, and room that it lacks, are no outage.
        501 | 505 | 507 => None,
        // A 404 that says nothing of ours comes from something that stands in for the store.
        200 | 404 | 500.. => Some(Remedy::Recovery),
        _ => None,
    }
}

/// What it comes to when nothing helps.
fn lasting(refusal: &Refusal<'_>, cause: Cause) -> StoreError {
    match refusal.status {
        507 => StoreError::Full(cause),
        416 => StoreError::OutOfRange,
        401 | 403 => StoreError::Denied(cause),
        _ => StoreError::Unavailable(cause),
    }
}

/// The region that the body of an error names.
fn region_in(response: &HttpResponse) -> Option<&str> {
    let body = std::str::from_utf8(response.body().bytes()?).ok()?;
    let (_, rest) = body.split_once("<Region>")?;
    rest.split_once("</Region>").map(|(region, _)| region)
}

/// Whether a store's word for a region can be one: it becomes part of host names and signatures.
fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Whether `error` says that there is no such object or upload. A 404 that
/// does not say so comes from something else, such as a proxy before the store.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(service) = error else { return false };
    match (service.raw().status().as_u16(), service.err().code()) {
        (404, Some("NoSuchKey" | "NoSuchUpload" | "NotFound")) => true,
        // What is archived cannot be read.
        (403, Some("InvalidObjectState")) => true,
        _ => false,
    }
}

/// Whether `error`, the answer to a HEAD, says that there is no such object: it has no body that could say more.
pub(super) fn is_absent_to_head<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::ServiceError(service) if service.raw().status().as_u16() == 404)
}

/// Why there were no credentials to ask with, if it was that.
fn missing_credentials(error: &(dyn std::error::Error + 'static)) -> Option<NoCredentials> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.find_map(|cause| cause.downcast_ref().cloned())
}

/// Whether `error` says that the object is not the one that was meant.
pub(super) fn has_changed<E>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::ServiceError(service) if service.raw().status().as_u16() == 412)
}
