//! containerd, by its own `ctr`.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;

use crate::client::{Client, Program};
use crate::support::image::{Contents, Image, TAG, pulled};
use crate::support::keeper::Kept;
use crate::support::{eventually, scratch, tools};

/// A running containerd; gone with everything it kept when dropped.
#[derive(Debug)]
pub struct Containerd {
    pub socket: PathBuf,
    _kept: Kept,
    _root: TempDir,
}

impl Containerd {
    pub async fn start() -> Self {
        let root = scratch("containerd");
        let at = |file: &str| root.path().join(file).display().to_string();
        // What one namespace has pulled, the others don't have.
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n\
             [plugins.\"io.containerd.metadata.v1.bolt\"]\ncontent_sharing_policy = \"isolated\"\n",
            at("root"),
            at("state"),
            at("socket"),
            at("ttrpc"),
        );
        fs::write(at("config.toml"), config).expect("a file");

        let mut daemon = std::process::Command::new(tools::debian_tool("containerd"));
        daemon.args(["--config", &at("config.toml")]).env("HOME", root.path());
        let kept = Kept::start(&daemon, root.path(), &root.path().join("log"));
        let containerd = Self { socket: root.path().join("socket"), _kept: kept, _root: root };
        eventually("containerd answers", Duration::from_secs(60), || async {
            tokio::net::UnixStream::connect(&containerd.socket).await.ok()
        })
        .await;
        containerd
    }
}

pub struct Ctr {
    containerd: Containerd,
    namespaces: AtomicUsize,
}

impl Ctr {
    pub async fn start() -> Self {
        Self { containerd: Containerd::start().await, namespaces: AtomicUsize::new(0) }
    }

    /// ctr in a namespace that has nothing yet.
    fn anew(&self) -> Program {
        let namespace = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        let program = Program::new(tools::debian_tool("ctr"));
        program.with(["--address", self.containerd.socket.to_str().expect("text"), "--namespace", &namespace])
    }

    async fn pulled(&self, name: &str) -> Program {
        let ctr = self.anew();
        ctr.run(&["images", "pull", "--plain-http", "--snapshotter=native", name]).await;
        ctr
    }
}

#[async_trait]
impl Client for Ctr {
    fn name(&self) -> &'static str {
        "ctr"
    }

    async fn push(&self, image: &Image, to: &str) {
        let (ctr, archive) = (self.anew(), image.archive("made"));
        ctr.run(&["images", "import", "--no-unpack", "--base-name=registry.test/made", archive.to_str().expect("text")]).await;
        ctr.run(&["images", "tag", &format!("registry.test/made:{TAG}"), to]).await;
        ctr.run(&["images", "push", "--plain-http", to]).await;
    }

    async fn pull(&self, from: &str) -> (Contents, String) {
        let ctr = self.pulled(from).await;
        let (archive, layout) = (ctr.home().join("exported.tar"), scratch("pulled"));
        ctr.run(&["images", "export", archive.to_str().expect("text"), from]).await;
        let tar = Program::new(tools::debian_tool("tar"));
        tar.run(&["-xf", archive.to_str().expect("text"), "-C", layout.path().to_str().expect("text")]).await;

        let exported = pulled(layout.path());
        let listed = ctr.run(&["images", "ls", &format!("name=={from}")]).await;
        assert!(listed.contains(&exported.1), "{listed}");
        exported
    }

    async fn copy(&self, from: &str, to: &str) {
        let ctr = self.pulled(from).await;
        ctr.run(&["images", "tag", from, to]).await;
        ctr.run(&["images", "push", "--plain-http", to]).await;
    }
}
