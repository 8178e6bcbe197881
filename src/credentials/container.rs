//! What ECS and EKS give a container: an address in the environment, and perhaps a token to show there.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use aws_smithy_types::date_time::{DateTime, Format};
use serde::Deserialize;

use super::environment::Environment;
use super::error::Failure;
use super::file;
use super::grant::{Grant, Lasts};
use super::question::{Answer, Http, Question};

/// Where relative addresses are (Amazon ECS, "Task IAM role").
const ECS: &str = "http://169.254.170.2";

/// Who besides this machine may be asked without TLS: ECS, and EKS's pod identity agent (AWS SDKs and Tools Reference
/// Guide, "Container credential provider").
const PLAIN: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// Keys as Amazon's machines tell them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Where a container's keys are, if this is one that has any.
pub(super) fn address(environment: &Environment) -> Option<Result<String, Failure>> {
    if let Some(path) = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Some(Ok(format!("{ECS}/{}", path.trim_start_matches('/'))));
    }
    let url = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
    let refused = || Failure::lasting("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor an address of the container's");
    Some(if may_be_asked(url) { Ok(url.to_owned()) } else { Err(refused()) })
}

/// Asks for a container's keys at `url`.
pub(super) async fn keys(url: &str, environment: &Environment, http: &Http) -> Result<Grant, Failure> {
    let mut question = Question::new("GET", url)?.with("accept", "application/json")?;
    if let Some(token) = token(environment).await? {
        question = question.with("authorization", token.trim_end())?;
    }
    granted(&http.ask(question).await?.good()?)
}

async fn token(environment: &Environment) -> Result<Option<String>, Failure> {
    match environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(path) => file::read(Path::new(path)).await.map(Some),
        None => Ok(environment.text("AWS_CONTAINER_AUTHORIZATION_TOKEN")),
    }
}

/// The keys in an answer.
pub(super) fn granted(answer: &Answer) -> Result<Grant, Failure> {
    let told: Told = answer.json()?;
    let expires = told.expiration.as_deref().map(time).transpose()?;
    let lasts = expires.map_or(Lasts::ForGood, Lasts::Until);
    Grant::keys(&told.access_key_id, &told.secret_access_key, told.token.as_deref(), lasts)
}

/// A time as RFC 3339 has it.
pub(super) fn time(text: &str) -> Result<SystemTime, Failure> {
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok().and_then(|time| SystemTime::try_from(time).ok());
    time.ok_or_else(|| Failure::lasting("its answer says no time until which they hold"))
}

/// Whether a token may be shown at `url`: over TLS, or on the machine itself.
fn may_be_asked(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return url.starts_with("https://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_here = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_here || host == "localhost" || PLAIN.contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_with(name: &str, value: &str) -> Option<Result<String, Failure>> {
        address(&Environment::of([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_relative_address_is_at_the_agent_of_ecs() {
        for path in ["/v2/credentials/id", "v2/credentials/id"] {
            let address = address_with("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path);

            assert_eq!(address, Some(Ok("http://169.254.170.2/v2/credentials/id".to_owned())));
        }
    }

    #[test]
    fn no_stranger_is_asked_without_tls() {
        for (url, is_asked) in [
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://[::1]:8080/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://localhost/x", true),
            ("https://example.org/x", true),
            ("http://example.org/x", false),
            ("http://169.254.170.2.example.org/x", false),
            ("http://169.254.170.2@example.org/x", false),
            ("http://192.168.0.1/x", false),
            ("ftp://127.0.0.1/x", false),
        ] {
            let address = address_with("AWS_CONTAINER_CREDENTIALS_FULL_URI", url);

            assert_eq!(address.is_some_and(|address| address.is_ok()), is_asked, "{url}");
        }
    }
}
