//! What a failed request means: wait, give up, or call a person.

use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::{S3Credentials, S3Settings};
use crate::store::{Misconfiguration, StoreError};

/// A request that did not succeed.
#[derive(Debug)]
pub(super) struct Fault {
    /// What to tell the caller if it stays like this.
    pub(super) error: StoreError,
    /// Whether it may be gone at the next attempt.
    pub(super) is_passing: bool,
    /// Whether nothing at all was heard: the connection may be one that the other side has forgotten.
    pub(super) is_silence: bool,
}

/// Who we are to the bucket, for messages that help.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    bucket: String,
    region: String,
    endpoint: String,
    access_key_id: String,
}

/// What a response says went wrong.
struct Refusal<'a> {
    status: u16,
    code: &'a str,
    bucket_region: Option<&'a str>,
}

impl Fault {
    fn passing(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: StoreError::Unavailable(cause.into()), is_passing: true, is_silence: false }
    }

    pub(super) fn lasting(error: StoreError) -> Self {
        Self { error, is_passing: false, is_silence: false }
    }

    /// A response without something that every store must say.
    pub(super) fn incomplete(what: &str) -> Self {
        Self::passing(format!("the store's answer lacks {what}"))
    }

    /// Nothing was heard or sent for so long.
    pub(super) fn silent(still: Duration) -> Self {
        let fault = Self::passing(format!("the store gave no sign of life for {still:?}"));
        Self { is_silence: true, ..fault }
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
    pub(super) fn of(settings: &S3Settings) -> Self {
        let access_key_id = match &settings.credentials {
            S3Credentials::Static { access_key_id, .. } => access_key_id.clone(),
            S3Credentials::Default => "of the default credentials".to_owned(),
        };
        Self {
            bucket: settings.bucket.clone(),
            region: settings.region.clone(),
            endpoint: settings.endpoint.clone().unwrap_or_else(|| "AWS".to_owned()),
            access_key_id,
        }
    }

    /// What `error` means, coming from `operation`.
    pub(super) fn fault<E>(&self, operation: &'static str, error: SdkError<E, HttpResponse>) -> Fault
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let SdkError::ServiceError(service) = &error else {
            if has_no_credentials(&error) {
                let reason = "neither environment, shared files, web identity, container nor instance have any".to_owned();
                return Fault::lasting(StoreError::Misconfigured(Misconfiguration::NoCredentials { reason }));
            }
            return Fault::passing(format!("{operation}: {}", DisplayErrorContext(&error)));
        };
        let (said, response) = (service.err(), service.raw());
        let status = response.status().as_u16();
        let code = said.code().unwrap_or_default();
        let bucket_region = response.headers().get("x-amz-bucket-region");
        let cause = format!("{operation}: {status} {code}: {}", said.message().unwrap_or("no message"));
        self.judge(&Refusal { status, code, bucket_region }, cause)
    }

    fn judge(&self, refusal: &Refusal<'_>, cause: String) -> Fault {
        if let Some(mistake) = self.mistake(refusal) {
            return Fault::lasting(StoreError::Misconfigured(mistake));
        }
        match refusal.code {
            // A clock that is off, or keys that are about to be replaced, come right again.
            "RequestTimeTooSkewed" | "ExpiredToken" | "ExpiredTokenException" => return Fault::passing(cause),
            // What went wrong on the way, whatever status it is told with; 200 is one of them.
            "RequestTimeout"
            | "RequestTimeoutException"
            | "InternalError"
            | "SlowDown"
            | "ServiceUnavailable"
            | "RequestLimitExceeded"
            | "IncompleteBody"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch" => return Fault::passing(cause),
            code if code.starts_with("Throttl") => return Fault::passing(cause),
            "XMinioStorageFull" | "QuotaExceeded" => return Fault::lasting(StoreError::Full(cause.into())),
            _ => {}
        }
        match refusal.status {
            507 => Fault::lasting(StoreError::Full(cause.into())),
            416 => Fault::lasting(StoreError::OutOfRange),
            401 | 403 => Fault::lasting(StoreError::Denied(cause.into())),
            // What the store does not offer it will not offer later.
            501 | 505 => Fault::lasting(StoreError::Unavailable(cause.into())),
            // A 404 that says nothing of ours comes from something that stands in for the store.
            200 | 404 | 408 | 409 | 425 | 429 | 500.. => Fault::passing(cause),
            _ => Fault::lasting(StoreError::Unavailable(cause.into())),
        }
    }

    /// The mistake in how the bucket is set up, if it is one.
    fn mistake(&self, refusal: &Refusal<'_>) -> Option<Misconfiguration> {
        let access_key_id = self.access_key_id.clone();
        let elsewhere = refusal.bucket_region.filter(|region| *region != self.region);
        match refusal.code {
            "NoSuchBucket" => {
                Some(Misconfiguration::NoSuchBucket { bucket: self.bucket.clone(), endpoint: self.endpoint.clone() })
            }
            "InvalidAccessKeyId" => Some(Misconfiguration::UnknownAccessKey { access_key_id, endpoint: self.endpoint.clone() }),
            "SignatureDoesNotMatch" => Some(Misconfiguration::WrongSecret { access_key_id }),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                Some(self.wrong_region(elsewhere))
            }
            _ if refusal.status == 301 => Some(self.wrong_region(elsewhere)),
            _ => None,
        }
    }

    fn wrong_region(&self, expected: Option<&str>) -> Misconfiguration {
        Misconfiguration::WrongRegion {
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            expected: expected.map(str::to_owned),
        }
    }
}

/// Whether `error` says that there is no such object or upload. A 404 that
/// does not say so comes from something else, such as a proxy before the store.
pub(super) fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(service) = error else { return false };
    let is_not_found = service.raw().status().as_u16() == 404;
    is_not_found && matches!(service.err().code(), Some("NoSuchKey" | "NoSuchUpload" | "NotFound"))
}

/// Whether `error`, the answer to a HEAD, says that there is no such object: it has no body that could say more.
pub(super) fn is_absent_to_head<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::ServiceError(service) if service.raw().status().as_u16() == 404)
}

/// Whether the source of our keys has none.
fn has_no_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| matches!(cause.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_))))
}

/// Whether `error` says that the object is not the one that was meant.
pub(super) fn has_changed<E>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(error, SdkError::ServiceError(service) if service.raw().status().as_u16() == 412)
}
