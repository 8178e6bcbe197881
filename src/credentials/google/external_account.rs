//! Workload identity federation: somebody else's token is exchanged for one of Google's.
//!
//! Source: [AIP-4117](https://google.aip.dev/auth/4117), "External Account Credentials", and RFC 8693, "OAuth 2.0 Token
//! Exchange".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::container::time;
use super::super::error::Failure;
use super::super::fetch::Fetch;
use super::super::file;
use super::super::grant::Grant;
use super::super::question::{Http, Question};
use super::{SCOPE, Told, granted, parsed};

/// What an exchange is called in a form.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What is wanted for the other token.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What a token must be for, that is to be exchanged for a service account's.
const IMPERSONATION_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// How long a service account's token lasts where the file does not say, in seconds.
const LIFETIME_SECONDS: u64 = 3600;

/// Exchanges as a file says, which is read at each refresh.
pub struct ExternalAccount {
    file: PathBuf,
    http: Http,
}

/// The file, as `gcloud iam workload-identity-pools create-cred-config` makes it.
#[derive(Deserialize)]
struct Account {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Sourced,
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<Impersonation>,
}

#[derive(Deserialize)]
struct Impersonation {
    token_lifetime_seconds: Option<u64>,
}

/// Where the other token is.
#[derive(Deserialize)]
struct Sourced {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    format: Option<Form>,
}

/// How it is written there.
#[derive(Deserialize)]
struct Form {
    r#type: String,
    subject_token_field_name: Option<String>,
}

/// A service account's token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

impl ExternalAccount {
    pub(in super::super) fn of(file: &Path, http: &Http) -> Self {
        Self { file: file.to_owned(), http: http.clone() }
    }

    async fn subject_token(&self, sourced: &Sourced) -> Result<SecretString, Failure> {
        let text = match (&sourced.file, &sourced.url) {
            (Some(path), _) => file::read(path).await?,
            (None, Some(url)) => {
                let mut question = Question::new("GET", url)?;
                for (name, value) in &sourced.headers {
                    question = question.with(&name.to_ascii_lowercase(), value)?;
                }
                self.http.ask(question).await?.good()?.text()?.to_owned()
            }
            (None, None) => return Err(Failure::lasting("its credential_source is neither a file nor a URL")),
        };
        subject_token(&text, sourced.format.as_ref())
    }

    /// A service account's token, for the one in `federated`.
    async fn impersonate(&self, url: &str, account: &Account, federated: &Told) -> Result<Grant, Failure> {
        let lifetime = account.service_account_impersonation.as_ref().and_then(|it| it.token_lifetime_seconds);
        let wanted = json!({"scope": [SCOPE], "lifetime": format!("{}s", lifetime.unwrap_or(LIFETIME_SECONDS))});
        let question = Question::new("POST", url)?.with_body("application/json", wanted.to_string())?;
        let question = question.with("authorization", &format!("Bearer {}", federated.access_token))?;
        let told: Impersonated = self.http.ask(question).await?.good()?.json()?;
        let lifetime = time(&told.expire_time)?.duration_since(SystemTime::now()).unwrap_or_default();
        Grant::token(impersonated(url).to_owned(), &told.access_token, lifetime)
    }
}

#[async_trait]
impl Fetch for ExternalAccount {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let account: Account = parsed(&self.file, &file::read(&self.file).await?)?;
        let subject = self.subject_token(&account.credential_source).await?;
        let impersonation = account.service_account_impersonation_url.as_deref();
        let fields = [
            ("grant_type", TOKEN_EXCHANGE),
            ("audience", &account.audience),
            ("scope", if impersonation.is_some() { IMPERSONATION_SCOPE } else { SCOPE }),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token_type", &account.subject_token_type),
            ("subject_token", subject.expose_secret()),
        ];
        let answer = self.http.ask(Question::form(&account.token_url, &fields)?).await?.good()?;
        match impersonation {
            Some(url) => self.impersonate(url, &account, &answer.json()?).await,
            None => granted(&answer, account.audience),
        }
    }
}

/// The token in `text`.
fn subject_token(text: &str, form: Option<&Form>) -> Result<SecretString, Failure> {
    let field = match form {
        Some(Form { r#type, subject_token_field_name: Some(field) }) if r#type == "json" => field,
        Some(Form { r#type, .. }) if r#type != "text" => {
            return Err(Failure::lasting("the format of its credential_source is unknown"));
        }
        _ => return Ok(text.trim().to_owned().into()),
    };
    let json: Option<Value> = serde_json::from_str(text).ok();
    let token = json.as_ref().and_then(|json| json.get(field)?.as_str());
    token.map(SecretString::from).ok_or_else(|| Failure::lasting(format!("where the other token is, there is no {field:?}")))
}

/// The account that a URL such as `https://…/serviceAccounts/<account>:generateAccessToken` is about.
fn impersonated(url: &str) -> &str {
    let last = url.rsplit('/').next().unwrap_or(url);
    last.split(':').next().unwrap_or(last)
}
