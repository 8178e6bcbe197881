//! A versitygw of the test's own: S3 in front of a folder.

use std::fs;
use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::keeper::Kept;
use super::minio::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use super::{client, eventually, ports, scratch, tools};

/// A running versitygw; gone with its objects when dropped.
#[derive(Debug)]
pub struct Versitygw {
    pub address: SocketAddrV4,
    _kept: Kept,
    _root: TempDir,
}

impl Versitygw {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let (address, root) = (ports::free_address(), scratch("versitygw"));
        let (data, log) = (root.path().join("data"), root.path().join("log"));
        fs::create_dir(&data).expect("a directory");

        let mut server = Command::new(tools::go_tool("versitygw", "versitygw"));
        server.args(["--quiet", "--health", "/health", "--region", REGION, "--port", &address.to_string(), "posix"]).arg(&data);
        server.env("ROOT_ACCESS_KEY", ACCESS_KEY_ID).env("ROOT_SECRET_KEY", SECRET_ACCESS_KEY).env("HOME", root.path());
        let kept = Kept::start(&server, root.path(), &log);

        eventually("versitygw answers", Duration::from_secs(60), || async {
            let request = http::Request::get("/health").body(bytes::Bytes::new()).expect("a request");
            client::try_send(address, request).await.filter(|answer| answer.status.is_success())
        })
        .await;
        Self { address, _kept: kept, _root: root }
    }
}
