//! A buildkitd of the test's own, and builds on it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::keeper::Kept;
use super::{eventually, scratch_in, scratch_parent, tools};

/// A running buildkitd; gone with everything it kept when dropped.
#[derive(Debug)]
pub struct Buildkit {
    name: &'static str,
    tool: &'static str,
    kept: Kept,
    root: TempDir,
}

/// A build to be done; see [`Buildkit::build`].
#[derive(Clone, Debug)]
pub struct Build {
    context: PathBuf,
    exports: Vec<String>,
    imports: Vec<String>,
    outputs: Vec<String>,
    options: Vec<String>,
    logins: Option<PathBuf>,
    tokens_by_daemon: bool,
}

/// What came of a build.
#[derive(Debug)]
pub struct Outcome {
    pub succeeded: bool,
    /// What buildctl said; of buildkitd's log too, when the build failed.
    pub log: String,
}

impl Build {
    /// Of the `Dockerfile` in `context`; exports, imports and puts out nothing.
    pub fn of(context: &Path) -> Self {
        Self {
            context: context.to_owned(),
            exports: Vec::new(),
            imports: Vec::new(),
            outputs: Vec::new(),
            options: Vec::new(),
            logins: None,
            tokens_by_daemon: false,
        }
    }

    /// `--export-cache`, as buildctl takes it; may be given more than once.
    #[must_use]
    pub fn export_cache(mut self, attributes: &str) -> Self {
        self.exports.push(attributes.to_owned());
        self
    }

    /// `--import-cache`, as buildctl takes it; may be given more than once.
    #[must_use]
    pub fn import_cache(mut self, attributes: &str) -> Self {
        self.imports.push(attributes.to_owned());
        self
    }

    /// `--output`, as buildctl takes it; may be given more than once.
    #[must_use]
    pub fn output(mut self, attributes: &str) -> Self {
        self.outputs.push(attributes.to_owned());
        self
    }

    /// With what `docker login` has written into `folder`.
    #[must_use]
    pub fn logged_in(mut self, folder: &Path) -> Self {
        self.logins = Some(folder.to_owned());
        self
    }

    /// With tokens for registries fetched by the daemon, if `by_daemon`, rather than by buildctl.
    #[must_use]
    pub fn fetching_tokens(mut self, by_daemon: bool) -> Self {
        self.tokens_by_daemon = by_daemon;
        self
    }

    /// Stops at the stage called `name`.
    #[must_use]
    pub fn target(mut self, name: &str) -> Self {
        self.options.push(format!("target={name}"));
        self
    }

    /// With an attestation to how it was built, if it `is` to have one: an image is then one of an index.
    #[must_use]
    pub fn attested(mut self, is: bool) -> Self {
        self.options.extend(is.then(|| "attest:provenance=mode=min".to_owned()));
        self
    }

    /// What buildctl finds around it.
    fn variables(&self) -> Vec<(&str, &OsStr)> {
        let logins = self.logins.iter().map(|folder| ("DOCKER_CONFIG", folder.as_os_str()));
        logins.chain(self.tokens_by_daemon.then_some(("BUILDKIT_NO_CLIENT_TOKEN", OsStr::new("1")))).collect()
    }

    /// Puts the files of the result into `folder`.
    #[must_use]
    pub fn output_to(self, folder: &Path) -> Self {
        self.output(&format!("type=local,dest={}", folder.display()))
    }
}

impl Buildkit {
    /// Starts the newest BuildKit we test with; `name` tells it from others in messages.
    pub async fn start(name: &'static str) -> Self {
        Self::start_version(name, "buildkit").await
    }

    /// Starts the BuildKit of `tests/tools/<tool>`, with nothing in its cache.
    pub async fn start_version(name: &'static str, tool: &'static str) -> Self {
        Self::start_in(&scratch_parent(), name, tool).await
    }

    /// The same, with all its files somewhere under `parent`.
    pub async fn start_in(parent: &Path, name: &'static str, tool: &'static str) -> Self {
        Self::start_with(parent, name, tool, &[]).await
    }

    /// The same, with these variables besides.
    pub async fn start_with(parent: &Path, name: &'static str, tool: &'static str, variables: &[(&str, &str)]) -> Self {
        let buildkit = match Self::try_start(parent, name, tool, variables, "overlayfs").await {
            Ok(buildkit) => Ok(buildkit),
            Err(_) => Self::try_start(parent, name, tool, variables, "native").await,
        };
        buildkit.unwrap_or_else(|log| panic!("buildkitd does not start:\n{log}"))
    }

    async fn try_start(
        parent: &Path,
        name: &'static str,
        tool: &'static str,
        variables: &[(&str, &str)],
        snapshotter: &str,
    ) -> Result<Self, String> {
        let root = scratch_in(parent, "buildkit");
        let at = |file: &str| root.path().join(file).display().to_string();
        fs::write(at("buildkitd.toml"), "").expect("a file");
        fs::create_dir(at("tmp")).expect("a directory");

        let mut daemon = std::process::Command::new(tools::go_tool(tool, "buildkitd"));
        daemon.args(["--config", &at("buildkitd.toml"), "--root", &at("root")]);
        // v0.12 knows no such flag.
        if !tool.ends_with("0.12") {
            daemon.args(["--otel-socket-path", &at("otel.sock")]);
        }
        daemon.args(["--addr", &format!("unix://{}", at("socket"))]);
        daemon.args(["--containerd-worker=false", "--oci-worker=true", "--oci-worker-gc=false", "--oci-worker-net=host"]);
        daemon.arg(format!("--oci-worker-snapshotter={snapshotter}"));
        daemon.arg("--oci-worker-binary").arg(tools::debian_tool("runc"));
        daemon.env("HOME", root.path()).env("TMPDIR", at("tmp")).envs(variables.iter().copied());
        let kept = Kept::start(&daemon, root.path(), &root.path().join("log"));

        let buildkit = Self { name, tool, kept, root };
        let answered = eventually("buildkitd answers", Duration::from_secs(60), async || {
            let workers = buildkit.buildctl(&["debug", "workers"]).await;
            (workers.succeeded || buildkit.kept.server_ended()).then_some(workers.succeeded)
        });
        if answered.await { Ok(buildkit) } else { Err(buildkit.daemon_log()) }
    }

    /// Does `build`; never panics because it failed.
    pub async fn build(&self, build: &Build) -> Outcome {
        let context = build.context.display();
        let (local_context, local_dockerfile) = (format!("context={context}"), format!("dockerfile={context}"));
        let mut arguments = vec!["build", "--progress=plain", "--frontend=dockerfile.v0"];
        arguments.extend(["--local", &local_context, "--local", &local_dockerfile]);
        arguments.extend(build.exports.iter().flat_map(|attributes| ["--export-cache", attributes]));
        arguments.extend(build.imports.iter().flat_map(|attributes| ["--import-cache", attributes]));
        arguments.extend(build.outputs.iter().flat_map(|attributes| ["--output", attributes]));
        arguments.extend(build.options.iter().flat_map(|option| ["--opt", option]));
        let mut outcome = self.buildctl_with(&arguments, &build.variables()).await;
        if !outcome.succeeded {
            outcome.log = format!("{arguments:?} on {}:\n{}", self.name, outcome.log);
        }
        outcome
    }

    /// Does `build`; panics with its log when it fails.
    pub async fn must_build(&self, build: &Build) -> Outcome {
        let outcome = self.build(build).await;
        assert!(outcome.succeeded, "the build failed\n{}\n-- buildkitd:\n{}", outcome.log, self.daemon_log());
        outcome
    }

    /// Forgets everything it has built.
    pub async fn prune(&self) {
        let pruned = self.buildctl(&["prune", "--all"]).await;
        assert!(pruned.succeeded, "{}", pruned.log);
    }

    /// The last lines that the daemon said.
    pub fn daemon_log(&self) -> String {
        let log = fs::read_to_string(self.root.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    async fn buildctl(&self, arguments: &[&str]) -> Outcome {
        self.buildctl_with(arguments, &[]).await
    }

    async fn buildctl_with(&self, arguments: &[&str], variables: &[(&str, &OsStr)]) -> Outcome {
        let output = Command::new(tools::go_tool(self.tool, "buildctl"))
            .arg(format!("--addr=unix://{}", self.root.path().join("socket").display()))
            .args(arguments)
            .env_clear()
            .env("HOME", self.root.path())
            .envs(variables.iter().copied())
            .kill_on_drop(true)
            .output()
            .await
            .expect("buildctl runs");
        let said = [output.stdout, output.stderr].concat();
        Outcome { succeeded: output.status.success(), log: String::from_utf8_lossy(&said).into_owned() }
    }
}
