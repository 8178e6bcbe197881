//! What must be allowed to the keys of a profile.

use crate::config::{Config, Profile, Store};
use crate::credentials::{self, Scope, Source, WebIdentity, google_commands};
use crate::store::{S3Kind, S3Settings};

pub use crate::credentials::Rights;

/// What a person does so that the keys of a profile may do what they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Nothing: there are no keys.
    None,
    /// Attach this policy, in JSON, to whom the keys belong.
    Policy(String),
    /// The same, but the store writes it otherwise: only its kind is known, and the permissions are these.
    PolicyInOtherWords(&'static str, String),
    /// Run these commands.
    Commands(Vec<String>),
}

/// There is no such profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile {name:?}; there are: {}", .known.join(", "))]
pub struct NoSuchProfile {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<String>,
}

/// The least that the keys of the profile `name` need for `rights`.
///
/// # Errors
///
/// There is no such profile.
pub fn permissions(config: &Config, name: &str, rights: Rights) -> Result<Permissions, NoSuchProfile> {
    Ok(match &named(config, name)?.store {
        Store::Folder { .. } => Permissions::None,
        Store::S3(bucket) => of_bucket(bucket, rights),
    })
}

/// The profile that is called `name`.
pub(super) fn named<'a>(config: &'a Config, name: &str) -> Result<&'a Profile, NoSuchProfile> {
    config.profiles.iter().find(|profile| profile.name == name).ok_or_else(|| {
        let known = config.profiles.iter().map(|profile| profile.name.clone()).collect();
        NoSuchProfile { name: name.to_owned(), known }
    })
}

fn of_bucket(bucket: &S3Settings, rights: Rights) -> Permissions {
    let also = bucket.objects.permissions();
    let scope = Scope {
        role_arn: arn(bucket),
        bucket: &bucket.bucket,
        prefix: &bucket.prefix,
        kms_key: bucket.objects.kms_key(),
        also: &also,
    };
    match bucket.kind {
        S3Kind::GCS => Permissions::Commands(google_commands(&scope, rights, !bucket.credentials.has_tokens())),
        S3Kind { has_policies: true, .. } => Permissions::Policy(credentials::policy(&scope, rights)),
        S3Kind { name, .. } => Permissions::PolicyInOtherWords(name, credentials::policy(&scope, rights)),
    }
}

/// What tells the partition: the role, else the region (AWS General Reference, "Amazon Resource Names").
fn arn(bucket: &S3Settings) -> &str {
    match (&bucket.credentials, bucket.region.as_str()) {
        (Source::AssumeRole(role), _) => &role.role_arn,
        (Source::WebIdentity(WebIdentity { role_arn: Some(role), .. }), _) => role,
        (_, region) if region.starts_with("cn-") => "arn:aws-cn",
        (_, region) if region.starts_with("us-gov-") => "arn:aws-us-gov",
        _ => "arn:aws",
    }
}
