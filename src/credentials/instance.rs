//! What the machine that we run on gives us, where it is one of Amazon's.

use std::time::Duration;

use async_trait::async_trait;

use super::container;
use super::environment::Environment;
use super::error::Failure;
use super::fetch::{Fetch, NEARBY};
use super::grant::Grant;
use super::question::{Http, Question};

/// Where an instance's roles are (Amazon EC2, "Retrieve security credentials from instance metadata").
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// How long a session with the metadata service lasts, in seconds: three questions.
const SESSION_SECONDS: &str = "60";

/// A container's keys where there are any, else the instance's.
///
/// The SDK's own providers read the process's environment, and pass off keys
/// that they had before as fresh ones when nobody answers.
pub(super) struct Instance {
    environment: Environment,
    http: Http,
}

impl Instance {
    pub(super) fn of(environment: &Environment, http: &Http) -> Self {
        Self { environment: environment.clone(), http: http.clone() }
    }

    /// The keys of the instance's role. Only with a session (IMDSv2): what a process is tricked into fetching has none.
    async fn of_machine(&self) -> Result<Grant, Failure> {
        let base = self.service()?;
        let begin = Question::new("PUT", &format!("{base}/latest/api/token"))?;
        let session = self.http.ask(begin.with("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS)?).await?.good()?;
        let session = session.text()?.trim();
        let ask = async |path: &str| {
            let question = Question::new("GET", &format!("{base}/{ROLES}{path}"))?.with("x-aws-ec2-metadata-token", session)?;
            self.http.ask(question).await
        };
        let roles = ask("").await?;
        if roles.status == 404 {
            return Err(Failure::lasting("the instance has no role"));
        }
        let roles = roles.good()?;
        let role = roles.text()?.lines().next().unwrap_or_default().trim().to_owned();
        container::granted(&ask(&role).await?.good()?)
    }

    /// Where the metadata service answers.
    fn service(&self) -> Result<String, Failure> {
        let says = |name, value: &str| self.environment.get(name).is_some_and(|text| text.eq_ignore_ascii_case(value));
        if says("AWS_EC2_METADATA_DISABLED", "true") {
            return Err(Failure::lasting("AWS_EC2_METADATA_DISABLED is true"));
        }
        let usual = if says("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6") {
            "http://[fd00:ec2::254]"
        } else {
            "http://169.254.169.254"
        };
        let stated = self.environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        Ok(stated.unwrap_or(usual).trim_end_matches('/').to_owned())
    }
}

#[async_trait]
impl Fetch for Instance {
    async fn fetch(&self) -> Result<Grant, Failure> {
        match container::address(&self.environment) {
            Some(address) => container::keys(&address?, &self.environment, &self.http).await,
            None => self.of_machine().await,
        }
    }

    fn limit(&self) -> Duration {
        NEARBY
    }
}
