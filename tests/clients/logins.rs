//! Clients that say who they are, by a password.

use std::fs;

use http::StatusCode;
use tempfile::TempDir;

use crate::client::{Client, Program};
use crate::containers::{buildah, loaded, podman};
use crate::docker::Docker;
use crate::stand::run;
use crate::support::client::ask;
use crate::support::door::Door;
use crate::support::image::{Image, TAG, pulled};
use crate::support::longshore::{Launch, Longshore};
use crate::support::{scratch, tools};

/// Of everybody.
const PASSWORD: &str = "sesame-of-alice";

/// Longshore behind a door, with alice who may do everything with `org/**`, bob who may with `bob/**`, and everybody else
/// `anonymous`.
struct Guarded {
    longshore: Longshore,
    door: Door,
    _folder: TempDir,
}

impl Guarded {
    /// With tokens that clients fetch for a password, if there are to be `tokens`.
    async fn start(anonymous: &str, tokens: bool) -> Self {
        let folder = scratch("guarded");
        let (config, store) = (folder.path().join("config.toml"), folder.path().join("store"));
        let launch = Launch::bare(&["--config", config.to_str().unwrap(), "--log-level", "debug"]).listening();
        let launch = launch.keeping("a password", PASSWORD).env("LONGSHORE_SECRET_TOKENS", &"k".repeat(32));
        let door = Door::open(launch.address);
        let realm = format!("[access.token]\nrealm = \"http://{}/token\"\nkey = \"{{{{secret:TOKENS}}}}\"\n", door.address);
        let realm = if tokens { realm } else { String::new() };
        let hash = bcrypt::hash_with_salt(PASSWORD, 6, [7; 16]).unwrap();
        let text = format!(
            "[access]\nanonymous = \"{anonymous}\"\n{realm}[access.users]\nalice = \"{hash}\"\nbob = \"{hash}\"\n[[access.grants]]\n\
             who = {{ user = \"alice\" }}\nimages = [\"org/**\"]\nallow = [\"read\", \"write\", \"delete\", \"create\"]\n\
             [[access.grants]]\nwho = {{ user = \"bob\" }}\nimages = [\"bob/**\"]\nallow = [\"read\", \"write\", \"create\"]\n\
             [profiles.default]\nstore = \"{}\"\n",
            store.display()
        );
        fs::write(&config, text).unwrap();
        Self { longshore: launch.start().await, door, _folder: folder }
    }

    /// What clients call the registry.
    fn registry(&self) -> String {
        self.door.address.to_string()
    }

    fn name(&self, image: &str) -> String {
        format!("{}/{image}:{TAG}", self.door.address)
    }

    /// Panics unless somebody has asked for layers of `from` to be mounted, and was told each time to push them.
    fn assert_mounts_are_pushes(&self, from: &str) {
        let is_mount = |query: &str| query.contains("mount=") && query.replace("%2F", "/").contains(&format!("from={from}"));
        let seen = self.door.seen();
        let answers: Vec<_> = seen.iter().filter(|seen| is_mount(&seen.query)).filter_map(|seen| seen.status()).collect();
        assert!(!answers.is_empty() && answers.iter().all(|status| *status == StatusCode::ACCEPTED), "{from}: {answers:?}");
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
                login: |registry| words(&["auth", "login", registry, "-u", "alice", "-p", PASSWORD]),
                push: |image, to| words(&["push", image.layout().to_str().unwrap(), to]),
                pull: |from, layout| words(&["pull", "--format=oci", from, layout]),
            },
        ),
        (
            "skopeo",
            Row {
                program: Program::new(tools::debian_tool("skopeo")).with(["--insecure-policy"]),
                login: |registry| words(&["login", "--tls-verify=false", "-u", "alice", "-p", PASSWORD, registry]),
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
                        PASSWORD,
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
                row.program.run(&(row.login)(&guarded.registry())).await;
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
        known.program.run(&(known.login)(&guarded.registry())).await;
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
fn those_with_a_storage_of_their_own_log_in_push_and_pull_and_mounts_that_they_may_not_have_are_pushes() {
    run(async {
        let docker = Docker::start().await;
        for tokens in [false, true] {
            let (guarded, image) = (Guarded::start("none", tokens).await, Image::random(2, 1024 * 1024));
            for (name, program) in [("podman", podman()), ("buildah", buildah())] {
                pushes_and_pulls(&guarded, name, &program, &image).await;
            }
            let registry = guarded.registry();
            docker.log_in(&registry, "alice", PASSWORD).await;
            let it = guarded.name("org/docker");
            docker.push(&image, &it).await;
            assert_eq!(docker.pull(&it).await.0, image.contents, "tokens {tokens}");

            // It knows that the layers are in the one, which bob may not read.
            docker.log_in(&registry, "bob", PASSWORD).await;
            let other = guarded.name("bob/docker");
            docker.push_as(&it, &other).await;
            assert_eq!(docker.pull(&other).await.0, image.contents, "tokens {tokens}");
            guarded.assert_mounts_are_pushes("org/docker");
        }
    });
}

/// Logs `program` in as alice and pushes `image`; and as bob, who may not read that, pushes it elsewhere and pulls it.
async fn pushes_and_pulls(guarded: &Guarded, name: &str, program: &Program, image: &Image) {
    let (from, to) = (format!("org/{name}"), format!("bob/{name}"));
    let id = loaded(program, image).await;
    for (user, to) in [("alice", &from), ("bob", &to)] {
        program.run(&["login", "--tls-verify=false", "-u", user, "-p", PASSWORD, &guarded.registry()]).await;
        program.run(&["push", "--quiet", "--tls-verify=false", &id, &format!("docker://{}", guarded.name(to))]).await;
    }
    program.run(&["rmi", "--force", &id]).await;
    let pulled = program.run(&["pull", "--quiet", "--tls-verify=false", &guarded.name(&to)]).await;
    assert_eq!(format!("sha256:{}", pulled.trim()), image.contents.config, "{name}");
}
