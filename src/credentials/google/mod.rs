//! Tokens from Google, for its XML API: requests carry them, and are not signed.

mod external_account;
mod metadata;
mod policy;
mod service_account;

use std::time::Duration;

use serde::Deserialize;

use super::error::Failure;
use super::grant::Grant;
use super::question::Answer;

pub(super) use external_account::ExternalAccount;
pub(super) use metadata::Metadata;
pub use policy::commands;
pub(super) use service_account::ServiceAccount;

/// What is wanted: objects, and nothing else (Cloud Storage, "OAuth 2.0 scopes").
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// A token as all of Google's token services tell it (RFC 6749, "Successful Response").
#[derive(Deserialize)]
struct Told {
    access_token: String,
    expires_in: u64,
}

/// The token in an answer, got for `id`.
fn granted(answer: &Answer, id: String) -> Result<Grant, Failure> {
    let told: Told = answer.json()?;
    Grant::token(id, &told.access_token, Duration::from_secs(told.expires_in))
}

/// What a JSON file of Google's says. No text of it is repeated: there is a private key in some.
fn parsed<T: serde::de::DeserializeOwned>(path: &std::path::Path, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::lasting(format!("{} is not of the form that it should have (line {line}, column {column})", path.display()))
    })
}
