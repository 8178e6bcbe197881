//! CNCF distribution, on a folder: what builds do at a registry that is none of ours.

use std::fs;
use std::net::SocketAddrV4;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::keeper::Kept;
use super::{client, eventually, ports, scratch, tools};

/// A running registry; gone with everything it kept when dropped.
#[derive(Debug)]
pub struct Distribution {
    pub address: SocketAddrV4,
    folder: TempDir,
    _kept: Kept,
}

impl Distribution {
    pub async fn start() -> Self {
        let (address, folder) = (ports::free_address(), scratch("distribution"));
        let config = json!({
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("root")}},
            "http": {"addr": address.to_string(), "secret": "of no importance"},
        });
        let path = folder.path().join("config.yml");
        // JSON is YAML.
        fs::write(&path, config.to_string()).expect("a file");
        let mut command = std::process::Command::new(tools::go_tool("registry", "registry"));
        command.arg("serve").arg(path).env("OTEL_TRACES_EXPORTER", "none");
        let kept = Kept::start(&command, folder.path(), &folder.path().join("log"));
        eventually("distribution answers", Duration::from_secs(20), async || {
            let ask = http::Request::get("/v2/").body(bytes::Bytes::new()).expect("a request");
            client::try_send(address, ask).await
        })
        .await;
        Self { address, folder, _kept: kept }
    }

    /// Removes the layer of the cache `tag` of `image` that has some of `sizes` bytes.
    pub async fn lose_layer(&self, image: &str, tag: &str, sizes: Range<u64>) {
        let manifest: Value =
            serde_json::from_slice(&client::pull_manifest(self.address, image, tag).await.body).expect("a manifest");
        let layers = manifest["layers"].as_array().expect("layers");
        let layer = layers.iter().find(|layer| sizes.contains(&layer["size"].as_u64().expect("a size"))).expect("such a layer");
        let hex = layer["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        let data = format!("root/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        fs::remove_file(self.folder.path().join(data)).expect("it was there");
    }
}
