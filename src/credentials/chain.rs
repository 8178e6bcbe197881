//! The SDK's own chain: environment, shared files, web identity, container, instance.

use async_trait::async_trait;
use aws_config::Region;
use aws_config::default_provider::credentials::{Builder, DefaultCredentialsChain};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use tokio::sync::OnceCell;

use super::error::{Failure, chain};
use super::fetch::Fetch;
use super::grant::{Grant, Lasts};
use super::question::Http;

/// Whatever the SDK finds.
pub(super) struct Chain {
    config: ProviderConfig,
    built: OnceCell<DefaultCredentialsChain>,
}

impl Chain {
    pub(super) fn of(region: &str, http: &Http) -> Self {
        let region = Some(Region::new(region.to_owned()));
        let config = ProviderConfig::empty().with_http_client(http.client.clone()).with_region(region);
        Self { config, built: OnceCell::new() }
    }
}

#[async_trait]
impl Fetch for Chain {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let build = || async { Builder::default().configure(self.config.clone()).build().await };
        let keys = self.built.get_or_init(build).await.provide_credentials().await.map_err(|error| failure(&error))?;
        let lasts = keys.expiry().map_or(Lasts::ForGood, Lasts::Until);
        Grant::keys(keys.access_key_id(), keys.secret_access_key(), keys.session_token(), lasts)
    }
}

fn failure(error: &CredentialsError) -> Failure {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            Failure::lasting("neither environment, shared files, web identity, container nor instance have any")
        }
        CredentialsError::InvalidConfiguration(_) => Failure::lasting(chain(error)),
        _ => Failure::passing(chain(error)),
    }
}
