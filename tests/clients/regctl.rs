//! regctl, of regclient.

use async_trait::async_trait;

use crate::client::{Client, Program, without_tag};
use crate::support::image::{Contents, Image, TAG, pulled};
use crate::support::{scratch, tools};

pub struct Regctl(Program);

impl Regctl {
    pub fn new() -> Self {
        Self(Program::new(tools::go_tool("regctl", "regctl")))
    }

    /// Runs a command that talks to the registry of `name`, which has no TLS.
    pub async fn run(&self, name: &str, arguments: &[&str]) -> String {
        let registry = name.split('/').next().expect("a registry");
        let host = format!("--host=reg={registry},tls=disabled");
        self.0.run(&[&[host.as_str()], arguments].concat()).await
    }

    async fn lines(&self, name: &str, arguments: &[&str]) -> Vec<String> {
        self.run(name, arguments).await.lines().map(str::to_owned).collect()
    }
}

#[async_trait]
impl Client for Regctl {
    fn name(&self) -> &'static str {
        "regctl"
    }

    async fn push(&self, image: &Image, to: &str) {
        let from = format!("ocidir://{}:{TAG}", image.layout().display());
        self.run(to, &["image", "copy", &from, to]).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        let folder = scratch("pulled");
        self.run(from, &["image", "copy", from, &format!("ocidir://{}:{TAG}", folder.path().display())]).await;
        pulled(folder.path())
    }

    async fn copy(&self, from: &str, to: &str) {
        self.run(from, &["image", "copy", from, to]).await;
    }

    async fn digest(&self, of: &str) -> Option<String> {
        Some(self.run(of, &["manifest", "head", of]).await.trim().to_owned())
    }

    async fn tags(&self, of: &str) -> Option<Vec<String>> {
        Some(self.lines(of, &["tag", "ls", without_tag(of)]).await)
    }

    async fn catalog(&self, registry: &str) -> Option<Vec<String>> {
        Some(self.lines(registry, &["repo", "ls", registry]).await)
    }

    async fn delete(&self, name: &str) -> Option<()> {
        self.run(name, &["tag", "delete", name]).await;
        Some(())
    }
}
