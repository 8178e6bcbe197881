//! A MinIO server of the test's own.

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::keeper::Kept;
use super::rclone::Rclone;
use super::{client, eventually, ports, scratch, tools};

pub const ACCESS_KEY_ID: &str = "longshore-test";
pub const SECRET_ACCESS_KEY: &str = "longshore-test-secret";
pub const REGION: &str = "us-east-1";

/// The name of a host below which it has a host for each bucket.
pub const DOMAIN: &str = "s3.test";

/// A running MinIO; gone with its objects when dropped.
#[derive(Debug)]
pub struct Minio {
    pub address: SocketAddrV4,
    _kept: Kept,
    _root: TempDir,
}

impl Minio {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_in(REGION).await
    }

    /// The same in no region, so that it takes any for its own.
    pub async fn start_anywhere() -> Self {
        Self::start_in("").await
    }

    async fn start_in(region: &str) -> Self {
        let (address, console, root) = (ports::free_address(), ports::free_address(), scratch("minio"));
        let (data, log) = (root.path().join("data"), root.path().join("log"));

        let mut server = Command::new(tools::go_tool("minio", "minio"));
        server.arg("server").arg(&data);
        server.arg(format!("--address={address}")).arg(format!("--console-address={console}"));
        server.env("MINIO_ROOT_USER", ACCESS_KEY_ID).env("MINIO_ROOT_PASSWORD", SECRET_ACCESS_KEY);
        server.env("MINIO_DOMAIN", DOMAIN);
        server.env("MINIO_SITE_REGION", region).env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off").env("HOME", root.path());
        let kept = Kept::start(&server, root.path(), &log);

        let minio = Self { address, _kept: kept, _root: root };
        eventually("MinIO is ready", Duration::from_secs(60), || async {
            let request = http::Request::get("/minio/health/ready").body(bytes::Bytes::new()).expect("a request");
            client::try_send(address, request).await.filter(|answer| answer.status.is_success())
        })
        .await;
        minio
    }

    /// Makes an empty bucket called `name`.
    pub fn make_bucket(&self, name: &str) {
        assert!(self.rclone().make_bucket(name), "no bucket {name}");
    }

    /// An independent client of this server.
    pub fn rclone(&self) -> Rclone {
        Rclone::new(self.address, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    }
}
