//! Registries: ours and CNCF distribution.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Side;
use crate::bucket::Bucket;
use crate::server::{Recipe, Server};
use crate::support::longshore::Launch;
use crate::support::process::Process;
use crate::support::{minio, ports, scratch, tools};

/// A registry that runs for one measurement; what it kept on disk is gone when dropped.
#[derive(Debug)]
pub struct Registry {
    pub address: SocketAddrV4,
    server: Server,
    recipe: Recipe,
    _home: Home,
}

/// What must outlive the server.
#[derive(Debug)]
enum Home {
    Ours { _launch: Launch },
    Theirs { _folder: TempDir },
}

/// How long a server is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(1);

impl Registry {
    /// Starts the registry called `side`, which must be one, on `bucket`, or on a folder of its own.
    pub async fn start(side: Side, bucket: &Bucket) -> Self {
        let (recipe, home) = match side {
            Side::Longshore => longshore(bucket),
            Side::Distribution => distribution(|_| in_bucket(bucket)),
            Side::OnDisk => distribution(|folder| json!({"filesystem": {"rootdirectory": folder}})),
            Side::TypeS3 | Side::Direct => panic!("{side:?} is no registry"),
        };
        Self { address: recipe.address, server: Server::start(&recipe).await, recipe, _home: home }
    }

    /// Ends it without warning and starts it again.
    pub async fn restart(&mut self) {
        self.server.kill().await;
        self.server = Server::start(&self.recipe).await;
    }

    pub fn process(&self) -> Process {
        self.server.process
    }

    /// The memory it takes while nobody asks for anything, in bytes.
    pub async fn idle_bytes(&self) -> u64 {
        tokio::time::sleep(SETTLE).await;
        self.process().resident_bytes()
    }
}

fn longshore(bucket: &Bucket) -> (Recipe, Home) {
    let launch = Launch::on_bucket_at(bucket.endpoint, &bucket.name, "cache");
    let recipe = Recipe { command: launch.command(), address: launch.address, ready: "/readyz" };
    (recipe, Home::Ours { _launch: launch })
}

/// With `storage`, which is told of a folder, and otherwise set as its documentation does.
fn distribution(storage: impl FnOnce(&Path) -> Value) -> (Recipe, Home) {
    let (address, folder) = (ports::free_address(), scratch("distribution"));
    let mut storage = storage(folder.path());
    storage["cache"] = json!({"blobdescriptor": "inmemory"});
    storage["delete"] = json!({"enabled": true});
    storage["redirect"] = json!({"disable": true});
    let config = json!({
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": true}},
        "storage": storage,
        "http": {"addr": address.to_string(), "secret": "of no importance"},
    });
    let path = folder.path().join("config.yml");
    // JSON is YAML.
    fs::write(&path, config.to_string()).expect("a file");

    let mut command = Command::new(tools::go_tool("registry", "registry"));
    command.arg("serve").arg(path).env("OTEL_TRACES_EXPORTER", "none");
    (Recipe { command, address, ready: "/v2/" }, Home::Theirs { _folder: folder })
}

fn in_bucket(bucket: &Bucket) -> Value {
    json!({"s3": {
        "accesskey": minio::ACCESS_KEY_ID,
        "secretkey": minio::SECRET_ACCESS_KEY,
        "region": minio::REGION,
        "regionendpoint": format!("http://{}", bucket.endpoint),
        "forcepathstyle": true,
        "secure": false,
        "v4auth": true,
        "bucket": bucket.name,
    }})
}
