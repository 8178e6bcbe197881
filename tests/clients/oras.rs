//! oras, the Python package of that name.

use std::path::Path;

use serde_json::{Value, json};

use crate::client::Program;
use crate::support::tools;

/// Does what its argument says, and puts out what comes of it.
const SCRIPT: &str = r#"
import hashlib, json, os, sys
import oras.client, oras.container, oras.oci

order = json.loads(sys.argv[1])
client = oras.client.OrasClient(insecure=True)
container = oras.container.Container(order["name"])

def ask(path, method="GET", headers=None):
    answer = client.do_request(f"http://{container.registry}/v2/{container.api_prefix}/{path}", method, headers=headers)
    answer.raise_for_status()
    return answer

def descriptor():
    answer = ask(f"manifests/{container.tag}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
    digest = "sha256:" + hashlib.sha256(answer.content).hexdigest()
    return oras.oci.Subject(answer.headers["Content-Type"], digest, len(answer.content))

outcome = None
if order["verb"] == "push":
    os.chdir(order["folder"])
    chunks = {"do_chunked": True, "chunk_size": order["chunk_bytes"]} if order["chunk_bytes"] else {}
    client.push(order["name"], files=order["files"], **chunks)
elif order["verb"] == "pull":
    client.pull(order["name"], outdir=order["folder"])
elif order["verb"] == "tags":
    outcome = client.get_tags(order["name"])
elif order["verb"] == "attach":
    os.chdir(order["folder"])
    client.push(order["as"], files=order["files"], subject=descriptor(), manifest_config=f"/dev/null:{order['kind']}")
elif order["verb"] == "referrers":
    outcome = ask(f"referrers/{descriptor().digest}").json()
elif order["verb"] == "delete":
    outcome = client.delete_tag(container, container.tag)
print("outcome", json.dumps(outcome))
"#;

pub struct Oras(Program);

impl Oras {
    pub fn new() -> Self {
        Self(Program::new(tools::python("oras")).with(["-c", SCRIPT]))
    }

    async fn order(&self, order: Value) -> Value {
        let lines = self.0.lines(&[order.to_string()]).await;
        let outcome = lines.iter().find_map(|line| line.strip_prefix("outcome "));
        serde_json::from_str(outcome.unwrap_or_else(|| panic!("{lines:?}"))).expect("JSON")
    }

    /// Pushes `files` of `folder`, in chunks of `chunk_bytes` or each in one piece.
    pub async fn push(&self, to: &str, folder: &Path, files: &[&str], chunk_bytes: Option<u64>) {
        self.order(json!({"verb": "push", "name": to, "folder": folder, "files": files, "chunk_bytes": chunk_bytes})).await;
    }

    /// Pulls the files into `folder`.
    pub async fn pull(&self, from: &str, folder: &Path) {
        self.order(json!({"verb": "pull", "name": from, "folder": folder})).await;
    }

    pub async fn tags(&self, of: &str) -> Value {
        self.order(json!({"verb": "tags", "name": of})).await
    }

    /// Pushes `file` as `name`, a thing of this kind that refers to `subject`.
    pub async fn attach(&self, subject: &str, name: &str, folder: &Path, file: &str, kind: &str) {
        self.order(json!({"verb": "attach", "name": subject, "as": name, "folder": folder, "files": [file], "kind": kind})).await;
    }

    pub async fn referrers(&self, of: &str) -> Value {
        self.order(json!({"verb": "referrers", "name": of})).await
    }

    /// Deletes what the tag names; whether there was such a tag.
    pub async fn delete(&self, name: &str) -> Value {
        self.order(json!({"verb": "delete", "name": name})).await
    }
}
