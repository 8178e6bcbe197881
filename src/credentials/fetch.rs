//! From a source's description to what fetches from it.

use std::time::Duration;

use async_trait::async_trait;

use super::chain::Chain;
use super::error::Failure;
use super::file::SharedFile;
use super::google::{ExternalAccount, Metadata, ServiceAccount};
use super::grant::Grant;
use super::instance::Instance;
use super::question::Http;
use super::stated::{InEnvironment, Stated};
use super::sts::{RoleByKeys, RoleByToken};
use super::{Credentials, Source, Surroundings};

/// How long a service that issues credentials may take.
const ISSUED: Duration = Duration::from_secs(10);

/// How long what is on this machine may take: where nobody answers by then, nobody is there.
pub(super) const NEARBY: Duration = Duration::from_secs(2);

/// Fetches credentials from one source.
#[async_trait]
pub(super) trait Fetch: Send + Sync {
    /// The credentials that the source has now.
    async fn fetch(&self) -> Result<Grant, Failure>;

    /// How long that may take.
    fn limit(&self) -> Duration {
        ISSUED
    }

    /// Them, if they are looked up at each request; then they are fetched only when they are refused.
    fn at_hand(&self) -> Option<Result<Grant, Failure>> {
        None
    }
}

/// What fetches from `source`.
pub(super) fn from(source: &Source, region: &str, around: &Surroundings, http: &Http) -> Box<dyn Fetch> {
    match source {
        Source::Static { access_key_id, secret_access_key, session_token } => Box::new(Stated {
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.clone(),
            secrets: around.secrets.clone(),
            reread: around.reread.clone(),
        }),
        Source::File { path, section } => Box::new(SharedFile::of(path.as_ref(), section, &around.environment)),
        Source::Environment => Box::new(InEnvironment(around.environment.clone())),
        Source::WebIdentity(identity) => Box::new(RoleByToken::of(identity, region, around, http)),
        Source::Instance => Box::new(Instance::of(&around.environment, http)),
        Source::AssumeRole(role) => {
            let name = role.from.name();
            let base = Credentials::over(around, name, from(&role.from, region, around, http));
            Box::new(RoleByKeys::of(role, base, region, around, http))
        }
        Source::Default => Box::new(Chain::of(region, http)),
        Source::GoogleServiceAccount { file } => Box::new(ServiceAccount::of(file, http)),
        Source::GoogleMetadata => Box::new(Metadata::of(&around.environment, http)),
        Source::GoogleExternalAccount { file } => Box::new(ExternalAccount::of(file, http)),
    }
}
