//! Where credentials come from, as plain data.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::grant::Part;
use crate::secrets::{SecretName, Secrets, Template};

/// Where the credentials of a profile come from. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A key pair as stated, one of Amazon's or a Google HMAC key; what it refers to is looked up at each request.
    Static {
        /// Names the key.
        access_key_id: Template,
        /// Signs for it.
        secret_access_key: Template,
        /// Comes with temporary keys.
        session_token: Option<Template>,
    },
    /// A file as Amazon's tools have it, read again every few seconds while it is used.
    File {
        /// `None`: as `AWS_SHARED_CREDENTIALS_FILE` says, else `~/.aws/credentials`.
        path: Option<PathBuf>,
        /// The `[section]` of it.
        section: String,
    },
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
    /// A role, for a token that Kubernetes or another issuer keeps in a file.
    WebIdentity(WebIdentity),
    /// Whatever Amazon's machine or container gives us: a pod's identity on EKS, a task's role on ECS, an instance's on EC2.
    Instance,
    /// A role, for credentials from another source.
    AssumeRole(Box<AssumeRole>),
    /// The SDK's own chain.
    Default,
    /// The key of a service account of Google's, in its JSON file.
    GoogleServiceAccount {
        /// The file.
        file: PathBuf,
    },
    /// Whatever Google's metadata server gives us.
    GoogleMetadata,
    /// Google's workload identity federation, by its JSON file.
    GoogleExternalAccount {
        /// The file.
        file: PathBuf,
    },
}

/// A role, for a token in a file. What is `None` comes from the environment, or is left to the service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebIdentity {
    /// Else `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// Else `AWS_WEB_IDENTITY_TOKEN_FILE`. Read at each refresh.
    pub token_file: Option<PathBuf>,
    /// Else `AWS_ROLE_SESSION_NAME`, else made of the profile's name.
    pub session_name: Option<String>,
    /// How long they are to hold.
    pub duration: Option<Duration>,
    /// What of the role's permissions is wanted, see [`session_policy`](super::session_policy).
    pub policy: Option<String>,
    /// `scheme://host[:port]` of the token service; else `AWS_ENDPOINT_URL_STS`, else Amazon's.
    pub endpoint: Option<String>,
}

/// A role, for credentials from another source. What is `None` is left to the service.
#[derive(Clone, Debug, PartialEq)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: String,
    /// What the role's owner wants to hear.
    pub external_id: Option<Template>,
    /// Else made of the profile's name.
    pub session_name: Option<String>,
    /// How long they are to hold.
    pub duration: Option<Duration>,
    /// What of the role's permissions is wanted, see [`session_policy`](super::session_policy).
    pub policy: Option<String>,
    /// `scheme://host[:port]` of the token service; else `AWS_ENDPOINT_URL_STS`, else Amazon's.
    pub endpoint: Option<String>,
    /// Who asks for it. None of Google's.
    pub from: Source,
}

impl Source {
    /// What it is called in settings and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Static { .. } => "static",
            Self::File { .. } => "file",
            Self::Environment => "environment",
            Self::WebIdentity(_) => "web-identity",
            Self::Instance => "instance",
            Self::AssumeRole(_) => "assume-role",
            Self::Default => "default",
            Self::GoogleServiceAccount { .. } => "google-service-account",
            Self::GoogleMetadata => "google-metadata",
            Self::GoogleExternalAccount { .. } => "google-external-account",
        }
    }

    /// The secrets that stand in it as they are, and are not referred to.
    #[must_use]
    pub fn literals(&self) -> Vec<SecretString> {
        self.templates().into_iter().filter_map(Template::text).cloned().collect()
    }

    /// The secrets that it refers to.
    #[must_use]
    pub fn names(&self) -> Vec<SecretName> {
        self.ids().into_iter().chain(self.templates()).flat_map(Template::names).cloned().collect()
    }

    /// Whether `secrets` have all that it refers to, and what comes of it can be keys.
    #[must_use]
    pub fn resolves_with(&self, secrets: &Secrets) -> bool {
        match self {
            Self::Static { access_key_id, secret_access_key, session_token } => {
                let parts = [(Part::AccessKeyId, access_key_id), (Part::SecretAccessKey, secret_access_key)];
                let token = session_token.iter().map(|token| (Part::SessionToken, token));
                let is_fit = |(part, template): (Part, &Template)| {
                    template.resolve(secrets).is_ok_and(|text| part.can_be(text.expose_secret().trim_end()))
                };
                parts.into_iter().chain(token).all(is_fit)
            }
            Self::AssumeRole(role) => {
                role.external_id.iter().all(|id| id.resolve(secrets).is_ok()) && role.from.resolves_with(secrets)
            }
            _ => true,
        }
    }

    /// What in it names a key, and is no secret by itself.
    fn ids(&self) -> Vec<&Template> {
        match self {
            Self::Static { access_key_id, .. } => vec![access_key_id],
            Self::AssumeRole(role) => role.from.ids(),
            _ => Vec::new(),
        }
    }

    /// What in it is secret.
    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Static { secret_access_key, session_token, .. } => {
                [secret_access_key].into_iter().chain(session_token).collect()
            }
            Self::AssumeRole(role) => role.external_id.iter().chain(role.from.templates()).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it hands out tokens that requests carry, and no keys that sign them.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        matches!(self, Self::GoogleServiceAccount { .. } | Self::GoogleMetadata | Self::GoogleExternalAccount { .. })
    }
}
