//! MinIO's own client, for what only its administrator may do.

use std::net::SocketAddrV4;
use std::process::Command;

use tempfile::TempDir;

use super::minio::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use super::{scratch, tools};

/// The administrator of one MinIO.
#[derive(Debug)]
pub struct Admin {
    server: SocketAddrV4,
    home: TempDir,
}

impl Admin {
    pub fn of(server: SocketAddrV4) -> Self {
        Self { server, home: scratch("mc") }
    }

    /// Makes a key pair that may do all that the root user may.
    pub fn add_key(&self, access_key_id: &str, secret_access_key: &str) {
        let pair = ["--access-key", access_key_id, "--secret-key", secret_access_key];
        self.run(&[&["user", "svcacct", "add"][..], &pair, &["at", ACCESS_KEY_ID]].concat());
    }

    /// Takes such a pair away; from then on the server knows it no more.
    pub fn remove_key(&self, access_key_id: &str) {
        self.run(&["user", "svcacct", "rm", "at", access_key_id]);
    }

    /// Makes a user that may do what `policy`, in JSON, allows.
    pub fn add_user(&self, access_key_id: &str, secret_access_key: &str, policy: &str) {
        let file = self.home.path().join(access_key_id);
        std::fs::write(&file, policy).expect("it is ours");
        self.run(&["user", "add", "at", access_key_id, secret_access_key]);
        self.run(&["policy", "create", "at", access_key_id, file.to_str().expect("a plain path")]);
        self.run(&["policy", "attach", "at", access_key_id, "--user", access_key_id]);
    }

    /// Runs `mc admin`, where `at` is the server.
    fn run(&self, arguments: &[&str]) {
        let mut client = Command::new(tools::go_tool("mc", "mc"));
        client.arg("--config-dir").arg(self.home.path()).args(["--disable-pager", "--quiet", "admin"]).args(arguments);
        client.env("MC_HOST_at", format!("http://{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}@{}", self.server));
        let output = client.env("HOME", self.home.path()).output().expect("it starts");
        assert!(output.status.success(), "mc admin {arguments:?}: {output:?}");
    }
}
