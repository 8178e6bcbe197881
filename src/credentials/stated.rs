//! Keys that need no fetching.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use super::environment::Environment;
use super::error::Failure;
use super::fetch::Fetch;
use super::grant::{Grant, Lasts};
use crate::secrets::{Secrets, Template};

/// Keys as they are stated, with the secrets in them as they are now.
pub(super) struct Stated {
    pub(super) access_key_id: Template,
    pub(super) secret_access_key: Template,
    pub(super) session_token: Option<Template>,
    pub(super) secrets: Secrets,
    pub(super) reread: Reread,
}

/// Has the sources of secrets read again, if anybody can; by itself it does nothing.
#[derive(Clone, Default)]
pub struct Reread(Option<Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>>);

impl Reread {
    /// Does it by `reread`, which is over when what was read is in force.
    pub fn by(reread: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(reread)))
    }

    async fn run(&self) {
        if let Some(reread) = &self.0 {
            reread().await;
        }
    }
}

impl fmt::Debug for Reread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reread({})", self.0.is_some())
    }
}

impl Stated {
    fn resolve(&self) -> Result<Grant, Failure> {
        // All of one moment: those of a new pair come into force while requests run.
        let secrets = self.secrets.now();
        let id = resolved(&self.access_key_id, &secrets)?;
        let secret = resolved(&self.secret_access_key, &secrets)?;
        let token = self.session_token.as_ref().map(|token| resolved(token, &secrets)).transpose()?;
        let token = token.as_ref().map(|token| token.expose_secret());
        Grant::keys(id.expose_secret(), secret.expose_secret(), token, Lasts::ForGood)
    }
}

/// `template` with its secrets as they are now.
pub(super) fn resolved(template: &Template, secrets: &Secrets) -> Result<SecretString, Failure> {
    template.resolve(secrets).map_err(|error| Failure::lasting(error.to_string()))
}

#[async_trait]
impl Fetch for Stated {
    async fn fetch(&self) -> Result<Grant, Failure> {
        self.reread.run().await;
        self.resolve()
    }

    fn at_hand(&self) -> Option<Result<Grant, Failure>> {
        Some(self.resolve())
    }
}

/// Keys in variables, which stay as they were when the process began.
pub(super) struct InEnvironment(pub(super) Environment);

#[async_trait]
impl Fetch for InEnvironment {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let needed = |name| self.0.get(name).ok_or_else(|| Failure::lasting(format!("{name} is not set")));
        let (id, secret) = (needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
        Grant::keys(id, secret, self.0.get("AWS_SESSION_TOKEN"), Lasts::ForGood)
    }
}
