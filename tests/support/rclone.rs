//! An S3 client that is not ours: what it lists and reads is what is in the bucket.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::tools;

/// rclone, speaking to one S3 server with one pair of keys.
#[derive(Clone, Debug)]
pub struct Rclone {
    program: PathBuf,
    endpoint: SocketAddrV4,
    access_key_id: String,
    secret_access_key: String,
}

impl Rclone {
    pub fn new(endpoint: SocketAddrV4, access_key_id: &str, secret_access_key: &str) -> Self {
        Self {
            program: tools::debian_tool("rclone"),
            endpoint,
            access_key_id: access_key_id.to_owned(),
            secret_access_key: secret_access_key.to_owned(),
        }
    }

    /// Makes `bucket`; whether the server is there to do it.
    pub fn make_bucket(&self, bucket: &str) -> bool {
        self.output(&["mkdir", &format!("s3:{bucket}")]).status.success()
    }

    /// Removes `bucket` with everything in it; whether it could.
    pub fn purge(&self, bucket: &str) -> bool {
        self.output(&["purge", &format!("s3:{bucket}")]).status.success()
    }

    /// Removes the object at `key`.
    pub fn remove(&self, bucket: &str, key: &str) {
        self.run(&["deletefile", &format!("s3:{bucket}/{key}")]);
    }

    /// Every key in `bucket` with its object's size in bytes.
    pub fn list(&self, bucket: &str) -> BTreeMap<String, u64> {
        let listing = self.run(&["lsf", "--recursive", "--files-only", "--format=sp", &format!("s3:{bucket}")]);
        let line = |line: &str| {
            let (size, key) = line.split_once(';').expect("size;key");
            (key.to_owned(), size.parse().expect("a size"))
        };
        String::from_utf8(listing).expect("keys are text").lines().map(line).collect()
    }

    /// Makes `text` the object at `key`.
    pub fn write(&self, bucket: &str, key: &str, text: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("text");
        std::fs::write(&file, text).expect("it is ours");
        self.run(&["copyto", file.to_str().expect("a plain path"), &format!("s3:{bucket}/{key}")]);
    }

    /// Makes every file in `folder` the object of its name below `prefix`, where nothing is yet.
    pub fn fill(&self, bucket: &str, prefix: &str, folder: &Path) {
        let (from, to) = (folder.to_str().expect("a plain path"), format!("s3:{bucket}/{prefix}"));
        self.run(&["copy", "--transfers=64", "--no-check-dest", "--s3-no-head", "--s3-no-check-bucket", from, &to]);
    }

    /// The bytes of the object at `key`.
    pub fn read(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.run(&["cat", &format!("s3:{bucket}/{key}")])
    }

    /// Every key in `bucket` with the digest of its object's bytes, computed here from what was read.
    pub fn digests(&self, bucket: &str) -> BTreeMap<String, String> {
        let sums = self.run(&["hashsum", "sha256", "--download", &format!("s3:{bucket}")]);
        let line = |line: &str| {
            let (hex, key) = line.split_once("  ").expect("hash  key");
            (key.to_owned(), format!("sha256:{hex}"))
        };
        String::from_utf8(sums).expect("keys are text").lines().map(line).collect()
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.output(arguments);
        assert!(output.status.success(), "rclone {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn output(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(["--config=/dev/null", "--retries=1", "--low-level-retries=1"])
            .args(arguments)
            .env_clear()
            .env("RCLONE_CONFIG_S3_TYPE", "s3")
            .env("RCLONE_CONFIG_S3_PROVIDER", "Minio")
            .env("RCLONE_CONFIG_S3_ENDPOINT", format!("http://{}", self.endpoint))
            .env("RCLONE_CONFIG_S3_ACCESS_KEY_ID", &self.access_key_id)
            .env("RCLONE_CONFIG_S3_SECRET_ACCESS_KEY", &self.secret_access_key)
            .output()
            .expect("rclone runs")
    }
}
