//! docker, by a daemon of the test's own.

use std::fs;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;

use crate::client::{Client, Program};
use crate::containerd::Containerd;
use crate::support::image::{Contents, Image, texts};
use crate::support::keeper::Kept;
use crate::support::{eventually, scratch, tools};

/// A running daemon and the command that talks to it; gone with everything it kept when dropped.
pub struct Docker {
    docker: Program,
    _kept: Kept,
    _root: TempDir,
    /// Outlives the daemon, whose it is.
    _containerd: Containerd,
}

impl Docker {
    pub async fn start() -> Self {
        let (containerd, root) = (Containerd::start().await, scratch("docker"));
        let at = |file: &str| root.path().join(file).display().to_string();
        fs::write(at("daemon.json"), "{}").expect("a file");
        fs::create_dir(at("tmp")).expect("a folder");

        let host = format!("--host=unix://{}", at("socket"));
        let mut daemon = std::process::Command::new(tools::debian_tool("dockerd"));
        daemon.args([&host, "--config-file", &at("daemon.json"), "--pidfile", &at("daemon.pid")]);
        daemon.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--storage-driver=vfs"]);
        daemon.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        daemon.arg("--containerd").arg(&containerd.socket);
        daemon.env("HOME", root.path()).env("TMPDIR", at("tmp"));
        let log = root.path().join("log");
        let kept = Kept::start(&daemon, root.path(), &log);

        let socket = root.path().join("socket");
        let answered = eventually("docker's daemon answers or ends", Duration::from_secs(60), || async {
            let is_there = tokio::net::UnixStream::connect(&socket).await.is_ok();
            (is_there || kept.server_ended()).then_some(is_there)
        });
        assert!(answered.await, "docker's daemon does not start:\n{}", fs::read_to_string(log).unwrap_or_default());
        let docker = Program::new(tools::debian_tool("docker")).with([host]);
        Self { docker, _kept: kept, _root: root, _containerd: containerd }
    }

    /// Says who it is to `registry`.
    pub async fn log_in(&self, registry: &str, user: &str, password: &str) {
        self.docker.run(&["login", "-u", user, "-p", password, registry]).await;
    }

    /// Pushes what it calls `name`.
    pub async fn push_as(&self, name: &str, to: &str) {
        if name != to {
            self.docker.run(&["tag", name, to]).await;
        }
        self.docker.run(&["push", "--quiet", to]).await;
    }

    async fn pull_anew(&self, name: &str) {
        self.forget_all().await;
        self.docker.run(&["pull", "--quiet", name]).await;
    }

    async fn forget_all(&self) {
        self.docker.run(&["image", "prune", "--all", "--force"]).await;
        assert_eq!(self.docker.lines(&["images", "--all", "--quiet"]).await, [""; 0]);
    }
}

#[async_trait]
impl Client for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn push(&self, image: &Image, to: &str) {
        self.forget_all().await;
        self.docker.run(&["load", "--quiet", "--input", image.archive("made:made").to_str().expect("text")]).await;
        self.push_as("made:made", to).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        self.pull_anew(from).await;
        let inspected = self.docker.json(&["image", "inspect", from]).await[0].clone();
        let id = inspected["Id"].as_str().expect("an id").to_owned();
        let contents = Contents { config: id, layers: texts(&inspected["RootFS"]["Layers"]) };
        let names = texts(&inspected["RepoDigests"]);
        (contents, names[0].split_once('@').expect("a name with a digest").1.to_owned())
    }

    async fn copy(&self, from: &str, to: &str) {
        self.pull_anew(from).await;
        self.push_as(from, to).await;
    }

    async fn digest(&self, of: &str) -> Option<String> {
        let inspected = self.docker.json(&["manifest", "inspect", "--verbose", "--insecure", of]).await;
        Some(inspected["Descriptor"]["digest"].as_str().expect("a digest").to_owned())
    }
}
