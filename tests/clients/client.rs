//! What a client of registries can do, and running its program.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::image::{Contents, Image};
use crate::support::scratch;

/// A client. Each call begins with nothing of what the registry has.
///
/// Names are `<registry>/<image>:<tag>`. What a client has no command for, it answers with `None`.
#[async_trait]
pub trait Client: Sync {
    fn name(&self) -> &'static str;

    async fn push(&self, image: &Image, to: &str);

    /// What came, as the client hashed it, and the digest of the manifest.
    async fn pull(&self, from: &str) -> (Contents, String);

    async fn copy(&self, from: &str, to: &str);

    /// The digest of the manifest, without pulling anything.
    async fn digest(&self, _of: &str) -> Option<String> {
        None
    }

    /// The tags beside the one that is named.
    async fn tags(&self, _of: &str) -> Option<Vec<String>> {
        None
    }

    /// The images of the whole registry.
    async fn catalog(&self, _registry: &str) -> Option<Vec<String>> {
        None
    }

    async fn delete(&self, _name: &str) -> Option<()> {
        None
    }
}

/// Long enough that only a client that hangs is cut off.
const PATIENCE: Duration = Duration::from_secs(180);

/// A program with a home of its own.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    home: TempDir,
}

impl Program {
    pub fn new(path: PathBuf) -> Self {
        Self { path, arguments: Vec::new(), home: scratch("home") }
    }

    /// With `arguments` before all others.
    #[must_use]
    pub fn with(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The folder in which it runs, gone with this value.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What the program puts out; panics with what it says when it fails.
    pub async fn run(&self, arguments: &[impl AsRef<OsStr>]) -> String {
        let (what, output) = self.output(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {}\n{said}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    /// What the program says when it fails, as it must.
    pub async fn fail(&self, arguments: &[impl AsRef<OsStr>]) -> String {
        let (what, output) = self.output(arguments).await;
        assert!(!output.status.success(), "{what} does not fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    async fn output(&self, arguments: &[impl AsRef<OsStr>]) -> (String, Output) {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).args(arguments).env_clear().kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home()).env("TMPDIR", self.home()).env("XDG_RUNTIME_DIR", self.home());
        let command = command.current_dir(self.home()).stdin(std::process::Stdio::null());
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{command:?} hangs")).expect("it starts");
        (format!("{command:?}"), output)
    }

    /// What the program puts out, line by line.
    pub async fn lines(&self, arguments: &[impl AsRef<OsStr>]) -> Vec<String> {
        self.run(arguments).await.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    /// What the program puts out as JSON.
    pub async fn json(&self, arguments: &[impl AsRef<OsStr>]) -> Value {
        let output = self.run(arguments).await;
        serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error} in {output}"))
    }
}

/// `<registry>/<image>` of `<registry>/<image>:<tag>`.
pub fn without_tag(name: &str) -> &str {
    name.rsplit_once(':').expect("a tag").0
}
