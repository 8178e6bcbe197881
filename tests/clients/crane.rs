//! crane, of go-containerregistry.

use async_trait::async_trait;

use crate::client::{Client, Program, without_tag};
use crate::support::image::{Contents, Image, pulled};
use crate::support::{scratch, tools};

pub struct Crane(Program);

impl Crane {
    pub fn new() -> Self {
        Self(Program::new(tools::go_tool("crane", "crane")))
    }
}

#[async_trait]
impl Client for Crane {
    fn name(&self) -> &'static str {
        "crane"
    }

    async fn push(&self, image: &Image, to: &str) {
        self.0.run(&["push", image.layout().to_str().expect("text"), to]).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        self.0.run(&["validate", "--remote", from]).await;
        let folder = scratch("pulled");
        let layout = folder.path().join("layout");
        self.0.run(&["pull", "--format=oci", from, layout.to_str().expect("text")]).await;
        pulled(&layout)
    }

    async fn copy(&self, from: &str, to: &str) {
        self.0.run(&["copy", from, to]).await;
    }

    async fn digest(&self, of: &str) -> Option<String> {
        Some(self.0.run(&["digest", of]).await.trim().to_owned())
    }

    async fn tags(&self, of: &str) -> Option<Vec<String>> {
        Some(self.0.lines(&["ls", without_tag(of)]).await)
    }

    async fn catalog(&self, registry: &str) -> Option<Vec<String>> {
        Some(self.0.lines(&["catalog", registry]).await)
    }

    async fn delete(&self, name: &str) -> Option<()> {
        self.0.run(&["delete", name]).await;
        Some(())
    }
}
