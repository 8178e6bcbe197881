//! MinIO's own client, for what only its administrator may do.

use std::net::SocketAddrV4;
use std::process::Command;

use tempfile::TempDir;
use uuid::Uuid;

use super::minio::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use super::{scratch, tools};

/// A name for a key that no other test has; MinIO takes 20 characters at most.
pub fn fresh_id() -> String {
    Uuid::new_v4().simple().to_string()[..20].to_owned()
}

/// The least that a profile on `bucket` needs, as a policy.
pub fn least_policy(bucket: &str) -> String {
    serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], "Resource": [format!("arn:aws:s3:::{bucket}/*")]},
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [format!("arn:aws:s3:::{bucket}")]},
    ]})
    .to_string()
}

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
        self.add_key_of(ACCESS_KEY_ID, access_key_id, secret_access_key);
    }

    /// Makes a key pair that may do all that `user` may.
    pub fn add_key_of(&self, user: &str, access_key_id: &str, secret_access_key: &str) {
        let pair = ["--access-key", access_key_id, "--secret-key", secret_access_key];
        self.run(&[&["user", "svcacct", "add"][..], &pair, &["at", user]].concat());
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
