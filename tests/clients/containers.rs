//! buildah and podman, which keep images in a storage of their own.

use async_trait::async_trait;

use crate::client::{Client, Program, without_tag};
use crate::support::image::{Contents, Image, TAG, texts};
use crate::support::tools;

/// `program` on an empty storage, as root and without systemd.
fn anew(program: &str) -> Program {
    let program = Program::new(tools::debian_tool(program));
    let at = |folder: &str| program.home().join(folder).display().to_string();
    let (root, run_root) = (at("root"), at("run"));
    program.with(["--storage-driver=vfs", "--root", &root, "--runroot", &run_root])
}

/// The id of `image`, after it was put into the storage of `program`.
pub async fn loaded(program: &Program, image: &Image) -> String {
    // The path becomes a name, so it must be one: without upper case.
    std::os::unix::fs::symlink(image.layout(), program.home().join("layout")).expect("a new link");
    pulled(program, &format!("oci:layout:{TAG}")).await
}

/// The id of the image that `program` pulls from `source`.
async fn pulled(program: &Program, source: &str) -> String {
    program.run(&["pull", "--quiet", "--tls-verify=false", source]).await.trim().to_owned()
}

async fn push(program: &Program, id: &str, to: &str) {
    program.run(&["push", "--quiet", "--tls-verify=false", id, &format!("docker://{to}")]).await;
}

pub struct Buildah;

#[async_trait]
impl Client for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    async fn push(&self, image: &Image, to: &str) {
        let buildah = buildah();
        let id = loaded(&buildah, image).await;
        push(&buildah, &id, to).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        let buildah = buildah();
        let id = pulled(&buildah, from).await;
        let inspected = buildah.json(&["inspect", "--type=image", &id]).await;
        let config = format!("sha256:{}", inspected["FromImageID"].as_str().expect("an id"));
        let contents = Contents { config, layers: texts(&inspected["OCIv1"]["rootfs"]["diff_ids"]) };
        (contents, inspected["FromImageDigest"].as_str().expect("a digest").to_owned())
    }

    async fn copy(&self, from: &str, to: &str) {
        let buildah = buildah();
        let id = pulled(&buildah, from).await;
        push(&buildah, &id, to).await;
    }
}

pub fn buildah() -> Program {
    anew("buildah")
}

pub struct Podman;

pub fn podman() -> Program {
    let podman = anew("podman");
    let temporary = podman.home().join("tmp").display().to_string();
    podman.with(["--cgroup-manager=cgroupfs", "--events-backend=none", "--tmpdir", &temporary])
}

#[async_trait]
impl Client for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    async fn push(&self, image: &Image, to: &str) {
        let podman = podman();
        let id = loaded(&podman, image).await;
        push(&podman, &id, to).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        let podman = podman();
        let id = pulled(&podman, from).await;
        let inspected = podman.json(&["image", "inspect", &id]).await[0].clone();
        let config = format!("sha256:{}", inspected["Id"].as_str().expect("an id"));
        let contents = Contents { config, layers: texts(&inspected["RootFS"]["Layers"]) };
        (contents, inspected["Digest"].as_str().expect("a digest").to_owned())
    }

    async fn copy(&self, from: &str, to: &str) {
        let podman = podman();
        let id = pulled(&podman, from).await;
        push(&podman, &id, to).await;
    }

    async fn tags(&self, of: &str) -> Option<Vec<String>> {
        let search = ["search", "--list-tags", "--tls-verify=false", "--format=json", without_tag(of)];
        Some(texts(&podman().json(&search).await[0]["Tags"]))
    }

    async fn catalog(&self, registry: &str) -> Option<Vec<String>> {
        let all = format!("{registry}/");
        let found = podman().lines(&["search", "--tls-verify=false", "--format={{.Name}}", &all]).await;
        Some(found.iter().filter_map(|name| name.strip_prefix(&all)).map(str::to_owned).collect())
    }
}
