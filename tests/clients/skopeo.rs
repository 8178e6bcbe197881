//! skopeo, which changes nothing on the way if it needn't.

use async_trait::async_trait;

use crate::client::{Client, Program, without_tag};
use crate::support::image::{Contents, Image, TAG, pulled, texts};
use crate::support::{scratch, tools};

pub struct Skopeo(Program);

impl Skopeo {
    pub fn new() -> Self {
        let program = Program::new(tools::debian_tool("skopeo"));
        Self(program.with(["--insecure-policy"]))
    }

    async fn move_image(&self, from: &str, to: &str) {
        let plain_http = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        self.0.run(&[&["copy", "--quiet"], &plain_http[..], &[from, to]].concat()).await;
    }
}

fn remote(name: &str) -> String {
    format!("docker://{name}")
}

#[async_trait]
impl Client for Skopeo {
    fn name(&self) -> &'static str {
        "skopeo"
    }

    async fn push(&self, image: &Image, to: &str) {
        self.move_image(&format!("oci:{}:{TAG}", image.layout().display()), &remote(to)).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        let folder = scratch("pulled");
        self.move_image(&remote(from), &format!("oci:{}:{TAG}", folder.path().display())).await;
        pulled(folder.path())
    }

    async fn copy(&self, from: &str, to: &str) {
        self.move_image(&remote(from), &remote(to)).await;
    }

    async fn digest(&self, of: &str) -> Option<String> {
        let inspected = self.0.json(&["inspect", "--tls-verify=false", &remote(of)]).await;
        Some(inspected["Digest"].as_str().expect("a digest").to_owned())
    }

    async fn tags(&self, of: &str) -> Option<Vec<String>> {
        let listed = self.0.json(&["list-tags", "--tls-verify=false", &remote(without_tag(of))]).await;
        Some(texts(&listed["Tags"]))
    }

    async fn delete(&self, name: &str) -> Option<()> {
        self.0.run(&["delete", "--tls-verify=false", &remote(name)]).await;
        Some(())
    }
}
