//! Roles, from Amazon's token service or one that speaks like it.
//!
//! The SDK's own providers refuse what MinIO answers, which names no role
//! user, and cannot look up an external id anew.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Config, IdentityCache, Region, StalledStreamProtectionConfig};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::types::Credentials as Told;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::error::{Failure, chain};
use super::fetch::Fetch;
use super::grant::{Grant, Lasts};
use super::question::Http;
use super::stated::resolved;
use super::{AssumeRole, Credentials, Environment, Surroundings, WebIdentity, file};
use crate::secrets::{Secrets, Template};

/// Most characters of a session's name (AWS STS API, AssumeRole, `RoleSessionName`).
const MAX_NAME: usize = 64;

/// A service that has not taken a connection by then is not there.
const CONNECT: Duration = Duration::from_secs(3);

/// What is asked for, besides who asks.
struct Wanted {
    role_arn: Option<String>,
    session_name: String,
    duration: Option<i32>,
    policy: Option<String>,
}

/// A role for a token that somebody keeps in a file.
pub(super) struct RoleByToken {
    client: Client,
    wanted: Wanted,
    token_file: Option<PathBuf>,
}

/// A role for other keys.
pub(super) struct RoleByKeys {
    client: Client,
    wanted: Wanted,
    external_id: Option<Template>,
    secrets: Secrets,
    base: Credentials,
}

impl RoleByToken {
    pub(super) fn of(identity: &WebIdentity, region: &str, around: &Surroundings, http: &Http) -> Self {
        let (variables, identity) = (&around.environment, identity.clone());
        let session_name = identity.session_name.or_else(|| variables.text("AWS_ROLE_SESSION_NAME"));
        let wanted = Wanted {
            role_arn: identity.role_arn.or_else(|| variables.text("AWS_ROLE_ARN")),
            session_name: session_name.unwrap_or_else(|| session_of(&around.profile)),
            duration: identity.duration.map(whole_seconds),
            policy: identity.policy,
        };
        let client = Client::from_conf(config(identity.endpoint, region, variables, http).allow_no_auth().build());
        let token_file = identity.token_file.or_else(|| variables.get("AWS_WEB_IDENTITY_TOKEN_FILE").map(PathBuf::from));
        Self { client, wanted, token_file }
    }
}

#[async_trait]
impl Fetch for RoleByToken {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let role = self.wanted.role_arn.clone().ok_or_else(|| Failure::lasting("AWS_ROLE_ARN is not set"))?;
        let file = self.token_file.as_deref();
        let file = file.ok_or_else(|| Failure::lasting("AWS_WEB_IDENTITY_TOKEN_FILE is not set"))?;
        let token = file::read(file).await?;
        let request = self.client.assume_role_with_web_identity().role_arn(role).web_identity_token(token.trim());
        let request = request.role_session_name(&self.wanted.session_name).set_policy(self.wanted.policy.clone());
        match request.set_duration_seconds(self.wanted.duration).send().await {
            Ok(answer) => granted(answer.credentials),
            Err(error) => Err(failure(&error)),
        }
    }
}

impl RoleByKeys {
    /// The role, for what `base` has.
    pub(super) fn of(role: &AssumeRole, base: Credentials, region: &str, around: &Surroundings, http: &Http) -> Self {
        let wanted = Wanted {
            role_arn: Some(role.role_arn.clone()),
            session_name: role.session_name.clone().unwrap_or_else(|| session_of(&around.profile)),
            duration: role.duration.map(whole_seconds),
            policy: role.policy.clone(),
        };
        let config = config(role.endpoint.clone(), region, &around.environment, http).credentials_provider(base.clone());
        Self {
            client: Client::from_conf(config.build()),
            wanted,
            external_id: role.external_id.clone(),
            secrets: around.secrets.clone(),
            base,
        }
    }

    /// Asks once; why it was refused, and whether the keys that asked may be to blame.
    async fn ask(&self) -> Result<Grant, (Failure, bool)> {
        let external_id = self.external_id.as_ref().map(|id| resolved(id, &self.secrets)).transpose();
        let external_id = external_id.map_err(|failure| (failure, false))?.map(|id| id.expose_secret().to_owned());
        let request = self.client.assume_role().set_role_arn(self.wanted.role_arn.clone()).set_external_id(external_id);
        let request = request.role_session_name(&self.wanted.session_name).set_policy(self.wanted.policy.clone());
        match request.set_duration_seconds(self.wanted.duration).send().await {
            Ok(answer) => granted(answer.credentials).map_err(|failure| (failure, false)),
            Err(error) => Err((failure(&error), error.code().is_some_and(is_about_keys))),
        }
    }
}

#[async_trait]
impl Fetch for RoleByKeys {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let began = Instant::now();
        match self.ask().await {
            Err((_, true)) if self.base.refused(began).await => self.ask().await.map_err(|(failure, _)| failure),
            asked => asked.map_err(|(failure, _)| failure),
        }
    }
}

/// A client that asks once and keeps nothing: all else is for [`Credentials`] to do.
fn config(stated: Option<String>, region: &str, variables: &Environment, http: &Http) -> aws_sdk_sts::config::Builder {
    let endpoint = stated.or_else(|| variables.text("AWS_ENDPOINT_URL_STS")).or_else(|| variables.text("AWS_ENDPOINT_URL"));
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .http_client(http.client.clone())
        .identity_cache(IdentityCache::no_cache())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    config.set_endpoint_url(endpoint);
    config
}

/// The keys that were told.
fn granted(told: Option<Told>) -> Result<Grant, Failure> {
    let told = told.ok_or_else(|| Failure::lasting("its answer has no keys"))?;
    let expires = SystemTime::try_from(told.expiration).map_err(|_| Failure::lasting("its answer says no time"))?;
    Grant::keys(&told.access_key_id, &told.secret_access_key, Some(&told.session_token), Lasts::Until(expires))
}

fn failure<E>(error: &SdkError<E>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let SdkError::ServiceError(service) = error else { return without_answer(error) };
    let (status, said) = (service.raw().status().as_u16(), service.err());
    let reason = format!("it answered {status} {}: {}", said.code().unwrap_or_default(), said.message().unwrap_or("no message"));
    let is_passing = matches!(status, 408 | 429 | 500..) || said.code().is_some_and(|code| code.starts_with("Throttl"));
    Failure { reason, is_passing }
}

/// What it means that nothing was answered: most often an outage, but the keys to ask with may be missing.
fn without_answer(error: &(dyn std::error::Error + 'static)) -> Failure {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    match causes.find_map(|cause| cause.downcast_ref::<super::NoCredentials>()) {
        Some(missing) => Failure { reason: missing.to_string(), is_passing: missing.is_passing },
        None => Failure::passing(chain(error)),
    }
}

/// Whether a refusal may mean that the keys are no longer good (AWS STS API, "Common errors"; the third is MinIO's).
fn is_about_keys(code: &str) -> bool {
    ["InvalidClientTokenId", "ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "UnrecognizedClientException"]
        .contains(&code)
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// A session's name that tells in the role owner's logs whose it is.
fn session_of(profile: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_=,.@-".contains(c) { c } else { '-' };
    "longshore-".chars().chain(profile.chars().map(plain)).take(MAX_NAME).collect()
}
