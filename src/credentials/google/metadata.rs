//! The metadata server of Google's machines and clusters.

use std::time::Duration;

use async_trait::async_trait;

use super::super::environment::Environment;
use super::super::error::Failure;
use super::super::fetch::{Fetch, NEARBY};
use super::super::grant::Grant;
use super::super::question::{Http, Question};
use super::granted;

/// Where it is, without asking a name service (Compute Engine, "View and query VM metadata").
const HOST: &str = "169.254.169.254";

/// The token of the machine's, or the pod's, own account.
const TOKEN: &str = "computeMetadata/v1/instance/service-accounts/default/token";

/// Asks the metadata server.
pub struct Metadata {
    url: String,
    http: Http,
}

impl Metadata {
    pub(in super::super) fn of(environment: &Environment, http: &Http) -> Self {
        let host = environment.get("GCE_METADATA_HOST").unwrap_or(HOST);
        Self { url: format!("http://{host}/{TOKEN}"), http: http.clone() }
    }
}

#[async_trait]
impl Fetch for Metadata {
    async fn fetch(&self) -> Result<Grant, Failure> {
        // Without the header it answers nobody: what a process is tricked into fetching has none.
        let question = Question::new("GET", &self.url)?.with("metadata-flavor", "Google")?;
        let answer = self.http.ask(question).await?;
        if answer.status == 404 {
            return Err(Failure::lasting("the machine has no service account"));
        }
        granted(&answer.good()?, "the machine's service account".to_owned())
    }

    fn limit(&self) -> Duration {
        NEARBY
    }
}
