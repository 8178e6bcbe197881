//! Clients that say who they are, by a password.

use std::fs;

use http::StatusCode;
use tempfile::TempDir;

use crate::client::{Client, Program};
use crate::containers::{loaded, podman};
use crate::docker::Docker;
use crate::stand::run;
use crate::support::client::ask;
use crate::support::image::{Image, TAG, pulled};
use crate::support::longshore::{Launch, Longshore};
use crate::support::{scratch, tools};

/// Longshore with a user who may do everything with `org/**`, and everybody else `anonymous`.
struct Guarded {
    longshore: Longshore,
    _folder: TempDir,
}

impl Guarded {
    /// With tokens that clients fetch for a password, if there are to be `tokens`.
    async fn start(anonymous: &str, tokens: bool) -> Self {
        let folder = scratch("guarded");
        let (config, store) = (folder.path().join("config.toml"), folder.path().join("store"));
        let launch = Launch::bare(&["--config", config.to_str().unwrap(), "--log-level", "debug"]).listening();
        let launch = launch.keeping("a password", "sesame-of-alice").env("LONGSHORE_SECRET_TOKENS", &"k".repeat(32));
        let realm = format!("[access.token]\nrealm = \"http://{}/token\"\nkey = \"{{{{secret:TOKENS}}}}\"\n", launch.address);
        let realm = if tokens { realm } else { String::new() };
        let hash = bcrypt::hash_with_salt("sesame-of-alice", 6, [7; 16]).unwrap();
        let text = format!(
            "[access]\nanonymous = \"{anonymous}\"\n{realm}[access.users]\nalice = \"{hash}\"\n[[access.grants]]\n\
             who = {{ user = \"alice\" }}\nimages = [\"org/**\"]\nallow = [\"read\", \"write\", \"delete\", \"create\"]\n\
             [profiles.default]\nstore = \"{}\"\n",
            store.display()
        );
        fs::write(&config, text).unwrap();
        Self { longshore: launch.start().await, _folder: folder }
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}:{TAG}", self.longshore.address)
    }

    async fn has(&self, image: &str) -> bool {
        let head = ask(self.longshore.address, "HEAD", &format!("/v2/{image}/manifests/{TAG}")).await;
        head.status == StatusCode::OK
    }
}

/// A client: how it logs in to a registry, pushes an image and pulls it.
struct Row {
    program: Program,
    login: fn(&str) -> Vec<String>,
    push: fn(&Image, &str) -> Vec<String>,
    /// Into a layout in a folder.
    pull: fn(&str, &str) -> Vec<String>,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn rows() -> Vec<(&'static str, Row)> {
    vec![
        (
            "crane",
            Row {
                program: Program::new(tools::go_tool("crane", "crane")),
                login: |registry| words(&["auth", "login", registry, "-u", "alice", "-p", "sesame-of-alice"]),
                push: |image, to| words(&["push", image.layout().to_str().unwrap(), to]),
                pull: |from, layout| words(&["pull", "--format=oci", from, layout]),
            },
        ),
        (
            "skopeo",
            Row {
                program: Program::new(tools::debian_tool("skopeo")).with(["--insecure-policy"]),
                login: |registry| words(&["login", "--tls-verify=false", "-u", "alice", "-p", "sesame-of-alice", registry]),
                push: |image, to| {
                    let from = format!("oci:{}:{TAG}", image.layout().display());
                    words(&["copy", "--quiet", "--dest-tls-verify=false", &from, &format!("docker://{to}")])
                },
                pull: |from, layout| {
                    words(&[
                        "copy",
                        "--quiet",
                        "--src-tls-verify=false",
                        &format!("docker://{from}"),
                        &format!("oci:{layout}:{TAG}"),
                    ])
                },
            },
        ),
        (
            "regctl",
            Row {
                program: Program::new(tools::go_tool("regctl", "regctl")),
                login: |registry| {
                    words(&[
                        "registry",
                        "login",
                        registry,
                        "-u",
                        "alice",
                        "-p",
                        "sesame-of-alice",
                        "--host",
                        &format!("reg={registry},tls=disabled"),
                    ])
                },
                push: |image, to| {
                    let registry = to.split('/').next().unwrap();
                    let from = format!("ocidir://{}:{TAG}", image.layout().display());
                    words(&["--host", &format!("reg={registry},tls=disabled"), "image", "copy", &from, to])
                },
                pull: |from, layout| {
                    let registry = from.split('/').next().unwrap();
                    words(&[
                        "--host",
                        &format!("reg={registry},tls=disabled"),
                        "image",
                        "copy",
                        from,
                        &format!("ocidir://{layout}:{TAG}"),
                    ])
                },
            },
        ),
    ]
}

#[test]
fn who_has_logged_in_pushes_and_pulls() {
    run(async {
        for (anonymous, tokens) in [("none", false), ("read", false), ("none", true), ("read", true)] {
            let guarded = Guarded::start(anonymous, tokens).await;
            for (name, row) in rows() {
                let image = Image::random(2, 1024 * 1024);
                row.program.run(&(row.login)(&guarded.longshore.address.to_string())).await;
                let (it, folder) = (guarded.name(&format!("org/{name}")), scratch("pulled"));
                let layout = folder.path().join("layout");
                row.program.run(&(row.push)(&image, &it)).await;
                row.program.run(&(row.pull)(&it, layout.to_str().unwrap())).await;
                assert_eq!(pulled(&layout).0, image.contents, "{name}, anonymous {anonymous}, tokens {tokens}");
                assert_eq!(guarded.has(&format!("org/{name}")).await, anonymous == "read", "{name}, without a password");
            }
        }
    });
}

#[test]
fn who_has_not_logged_in_pulls_where_everybody_may_and_pushes_nowhere() {
    run(async {
        for tokens in [false, true] {
            pulls_and_does_not_push(&Guarded::start("read", tokens).await).await;
        }
    });
}

async fn pulls_and_does_not_push(guarded: &Guarded) {
    {
        let image = Image::random(2, 1024 * 1024);
        let it = guarded.name("org/app");
        let (_, known) = rows().remove(0);
        known.program.run(&(known.login)(&guarded.longshore.address.to_string())).await;
        known.program.run(&(known.push)(&image, &it)).await;
        for (name, row) in rows() {
            let folder = scratch("pulled");
            let layout = folder.path().join("layout");
            let (pull, push) = ((row.pull)(&it, layout.to_str().unwrap()), (row.push)(&image, &guarded.name("org/other")));
            row.program.run(&pull).await;
            assert_eq!(pulled(&layout).0, image.contents, "{name}");
            let said = row.program.fail(&push).await;
            assert!(
                said.to_lowercase().contains("unauthorized") || said.contains("401") || said.contains("authentication required"),
                "{name}: {said}"
            );
            assert!(!guarded.has("org/other").await, "{name}");
        }
    }
}

#[test]
fn podman_and_docker_log_in_push_and_pull() {
    run(async {
        let docker = Docker::start().await;
        for tokens in [false, true] {
            let (guarded, image) = (Guarded::start("none", tokens).await, Image::random(2, 1024 * 1024));
            let registry = guarded.longshore.address.to_string();

            let (podman, it) = (podman(), guarded.name("org/podman"));
            podman.run(&["login", "--tls-verify=false", "-u", "alice", "-p", "sesame-of-alice", &registry]).await;
            let id = loaded(&podman, &image).await;
            podman.run(&["push", "--quiet", "--tls-verify=false", &id, &format!("docker://{it}")]).await;
            podman.run(&["rmi", "--force", &id]).await;
            let pulled = podman.run(&["pull", "--quiet", "--tls-verify=false", &it]).await;
            assert_eq!(format!("sha256:{}", pulled.trim()), image.contents.config, "tokens {tokens}");

            docker.log_in(&registry, "alice", "sesame-of-alice").await;
            let it = guarded.name("org/docker");
            docker.push(&image, &it).await;
            assert_eq!(docker.pull(&it).await.0, image.contents, "tokens {tokens}");
        }
    });
}
