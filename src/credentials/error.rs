//! Why there are no credentials, said without any.

use std::error::Error;

/// A profile has no credentials now. The message is for the operator, and free of secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{from}: {reason}")]
pub struct NoCredentials {
    /// Whose they would be.
    pub profile: String,
    /// What the source is called.
    pub from: &'static str,
    /// What went wrong.
    pub reason: String,
    /// Whether it may go by itself, such as an outage.
    pub is_passing: bool,
}

/// A fetch that brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) is_passing: bool,
}

impl Failure {
    /// One that a person must mend.
    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_passing: false }
    }

    /// One that may go by itself.
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_passing: true }
    }
}

/// `error` and what lies behind it. Only what each says of itself: an SDK's `Debug` has whole responses in it.
pub(super) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
