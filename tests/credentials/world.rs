//! Credentials under test, and short words for what is asked of them.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use longshore::credentials::{AssumeRole, Credentials, Environment, Http, NoCredentials, Source, Surroundings};
use longshore::metrics::ProfileMetrics;
use longshore::secrets::Template;
use longshore::store::{MemoryBudget, S3Kind, S3Objects, S3Settings, S3Store};
use secrecy::ExposeSecret;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::minio::REGION;

pub const MIB: usize = 1024 * 1024;

/// Long enough that only a test that has failed waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whose the credentials are.
pub const PROFILE: &str = "team-a";

/// The role that is assumed.
pub const ROLE: &str = "arn:aws:iam::1:role/cache";

/// What sources find around them where these variables are set.
pub fn around(variables: &[(&str, &str)]) -> Surroundings {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Surroundings { profile: PROFILE.to_owned(), environment: Environment::of(variables), ..Surroundings::default() }
}

/// The credentials of `source`.
pub fn credentials(source: &Source, around: &Surroundings) -> Credentials {
    let connector = SharedHttpConnector::new(Connector::builder().build_http());
    Credentials::new(source, REGION, around, &Http { client: Builder::new().build_http(), connector })
}

/// The access key id, the secret, and the session token if there is one.
pub async fn keys(credentials: &Credentials) -> [String; 3] {
    let keys = credentials.provide_credentials().await.unwrap();
    [keys.access_key_id(), keys.secret_access_key(), keys.session_token().unwrap_or_default()].map(str::to_owned)
}

/// The access key id, or the token, of what is in force.
pub async fn in_force(source: &Source, credentials: &Credentials) -> String {
    if source.has_tokens() {
        return credentials.token().await.unwrap().expose_secret().to_owned();
    }
    let [id, _, _] = keys(credentials).await;
    id
}

/// Why there are none.
pub async fn missing(credentials: &Credentials) -> NoCredentials {
    credentials.ready(Instant::now() + PATIENCE).await.unwrap_err()
}

pub fn stated(access_key_id: &str, secret_access_key: &str) -> Source {
    Source::Static {
        access_key_id: Template::of_text(access_key_id),
        secret_access_key: Template::of_text(secret_access_key),
        session_token: None,
    }
}

/// Any role, that the token service at `endpoint` gives to `from`.
pub fn role(endpoint: String, from: Source) -> AssumeRole {
    AssumeRole {
        role_arn: ROLE.to_owned(),
        external_id: None,
        session_name: None,
        duration: None,
        policy: None,
        endpoint: Some(endpoint),
        from,
    }
}

/// `bucket` at `endpoint`, under a prefix that nobody else has.
pub fn settings(endpoint: impl std::fmt::Display, bucket: &str, credentials: Source) -> S3Settings {
    S3Settings {
        bucket: bucket.to_owned(),
        prefix: Uuid::new_v4().to_string(),
        kind: S3Kind::MINIO,
        region: REGION.to_owned(),
        endpoint: Some(format!("http://{endpoint}")),
        path_style: true,
        credentials,
        objects: S3Objects::default(),
        ca_bundle: None,
        proxy: None,
    }
}

/// The store of `settings`.
pub async fn store(settings: S3Settings, around: &Surroundings) -> S3Store {
    let memory = Arc::new(MemoryBudget::new(64 * MIB as u64)).share();
    S3Store::new(settings, around, memory, ProfileMetrics::default()).await.unwrap()
}
