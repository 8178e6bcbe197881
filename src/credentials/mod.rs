//! Where the keys to a bucket come from, and keeping good ones at hand.
//!
//! A [`Source`] says where, as plain data; [`Credentials`] fetches from there.
//! Those of one profile are one value, shared by all its requests: a request
//! waits only when there is nothing valid, and no other source is ever tried.

mod chain;
mod container;
mod environment;
mod error;
mod fetch;
mod file;
mod google;
mod grant;
mod held;
mod instance;
mod policy;
mod question;
mod source;
mod stated;
mod sts;

use std::fmt;
use std::sync::Arc;

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::secrets::{Mask, Secrets};
use fetch::Fetch;
use grant::Secret;
use held::Keeper;

pub use environment::Environment;
pub use error::NoCredentials;
pub use google::commands as google_commands;
pub use grant::Part;
pub use policy::{Rights, Scope, policy, session_policy};
pub use question::Http;
pub use source::{AssumeRole, Source, WebIdentity};
pub use stated::Reread;

/// What a source needs to know besides what it says itself.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Whose credentials they are, for messages and the log.
    pub profile: String,
    /// What templates refer to.
    pub secrets: Secrets,
    /// How their sources are read again, when keys that refer to them are refused.
    pub reread: Reread,
    /// What the process was told by variables.
    pub environment: Environment,
    /// What keeps out of all that is said what the source hands out.
    pub mask: Mask,
}

/// The credentials of one profile, fetched from its source and kept good. Clones share them.
///
/// They are refreshed before they expire, one refresh at a time; the old ones
/// are used for as long as they hold while that fails.
#[derive(Clone)]
pub struct Credentials(Arc<Keeper>);

impl Credentials {
    /// Those of `source`, which is asked over `http`, in `region` where that matters. Nothing is asked yet.
    #[must_use]
    pub fn new(source: &Source, region: &str, surroundings: &Surroundings, http: &Http) -> Self {
        let fetch = fetch::from(source, region, surroundings, http);
        Self::over(surroundings, source.name(), fetch)
    }

    fn over(Surroundings { profile, mask, .. }: &Surroundings, from: &'static str, fetch: Box<dyn Fetch>) -> Self {
        Self(Arc::new(Keeper::new(profile.clone(), from, fetch, mask.clone())))
    }

    /// Waits until there are some that are valid, until `deadline`.
    ///
    /// # Errors
    ///
    /// There are none by then, or it is known that there will be none.
    pub async fn ready(&self, deadline: Instant) -> Result<(), NoCredentials> {
        let ready = tokio::time::timeout_at(deadline, self.0.ready()).await;
        ready.map_err(|_| self.0.missing(error::Failure::passing("it has not answered yet")))?.map(drop)
    }

    /// Reads the source once more, since a request that began then was refused; whether there are others now.
    ///
    /// Who began with older ones than those in force is told so at once, and
    /// no source is read more often than every few seconds.
    pub async fn refused(&self, began: Instant) -> bool {
        self.0.refused(began).await
    }

    /// Whether there are others now than when a request began then.
    #[must_use]
    pub fn changed_since(&self, began: Instant) -> bool {
        self.0.changed_since(began)
    }

    /// What names those in use: an access key id, or an account. No secret.
    #[must_use]
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// The token that requests carry instead of a signature.
    ///
    /// # Errors
    ///
    /// There is none, or what there is signs requests.
    pub async fn token(&self) -> Result<SecretString, NoCredentials> {
        match self.0.get().await?.secret {
            Secret::Token(token) => Ok(token),
            Secret::Keys(_) => Err(self.0.missing(error::Failure::lasting("it has keys and no token"))),
        }
    }

    async fn keys(&self) -> Result<aws_credential_types::Credentials, CredentialsError> {
        match self.0.get().await.map_err(CredentialsError::provider_error)?.secret {
            Secret::Keys(keys) => Ok(keys),
            Secret::Token(_) => Err(CredentialsError::invalid_configuration("the source has a token and no keys")),
        }
    }
}

impl ProvideCredentials for Credentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.keys())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.id())
    }
}
