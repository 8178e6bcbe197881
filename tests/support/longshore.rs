//! The program under test, as a user would start it.

use std::io::Write;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::door::Door;
use super::marks::Marks;
use super::process::Process;
use super::{client, eventually, minio, ports, scratch};

/// What is in the names of variables whose values are secret.
const SECRET_VARIABLES: [&str; 5] =
    ["SECRET_ACCESS_KEY", "SESSION_TOKEN", "LONGSHORE_SECRET_", "GOCDNEXT_SECRET_KEY", "CUSTOMER_KEY"];

/// How to start Longshore; [`start`](Launch::start) does it, as often as wanted.
#[derive(Clone, Debug)]
pub struct Launch {
    pub address: SocketAddrV4,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    home: Arc<TempDir>,
    /// What nothing that it says may show.
    marks: Marks,
}

impl Launch {
    /// With nothing but `arguments`; no `--listen`, no store.
    pub fn bare(arguments: &[&str]) -> Self {
        Self {
            address: ports::free_address(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            home: Arc::new(scratch("home")),
            marks: Marks::default(),
        }
    }

    /// With what the file at `config` says, on a port of its own, open to anyone.
    pub fn configured(config: &Path) -> Self {
        Self::bare(&["--config", config.to_str().expect("a path in UTF-8"), "--anonymous", "write"]).listening()
    }

    /// On a folder, on a port of its own.
    pub fn on_folder(folder: &Path) -> Self {
        Self::on(folder.to_str().expect("a path in UTF-8"))
    }

    /// On `prefix` in a bucket of the MinIO behind `door`, on a port of its own.
    pub fn on_bucket(door: &Door, bucket: &str, prefix: &str) -> Self {
        Self::on_bucket_at(door.address, bucket, prefix)
    }

    /// On `prefix` in a bucket of the MinIO at `minio`, on a port of its own.
    pub fn on_bucket_at(minio: SocketAddrV4, bucket: &str, prefix: &str) -> Self {
        Self::on(&format!("s3://{bucket}/{prefix}"))
            .env("LONGSHORE_ENDPOINT", &format!("http://{minio}"))
            .env("LONGSHORE_PATH_STYLE", "true")
            .env("LONGSHORE_REGION", minio::REGION)
            .env("LONGSHORE_ACCESS_KEY_ID", minio::ACCESS_KEY_ID)
            .env("LONGSHORE_SECRET_ACCESS_KEY", minio::SECRET_ACCESS_KEY)
    }

    /// On the store that `word` names, on a port of its own, open to anyone.
    pub fn on(word: &str) -> Self {
        Self::bare(&[word, "--anonymous", "write"]).listening()
    }

    /// On its port.
    #[must_use]
    pub fn listening(self) -> Self {
        let address = self.address.to_string();
        self.arg("--listen").arg(&address)
    }

    /// Another one, just like this, on a port of its own.
    #[must_use]
    pub fn beside(&self) -> Self {
        let (here, address) = (self.address.to_string(), ports::free_address());
        let there = |argument: &String| if *argument == here { address.to_string() } else { argument.clone() };
        Self { address, arguments: self.arguments.iter().map(there).collect(), ..self.clone() }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// One more variable, the only ones besides `HOME`, `XDG_CACHE_HOME` and `PATH`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        if SECRET_VARIABLES.iter().any(|secret| name.contains(secret)) && !name.ends_with("_FILE") {
            self.marks.add(name, value);
        }
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a secret that it finds elsewhere, which is called `what` and is to show nowhere.
    #[must_use]
    pub fn keeping(mut self, what: &str, secret: &str) -> Self {
        self.marks.add(what, secret);
        self
    }

    /// With the secrets that `other` has.
    #[must_use]
    pub fn keeping_what(mut self, other: &Self) -> Self {
        self.marks.extend(&other.marks);
        self
    }

    /// Calls the program in the same surroundings with `words` after its arguments, and `input` on standard input.
    /// What it says shows no secret.
    pub fn call(&self, words: &[&str], input: &str) -> Output {
        let mut command = self.command();
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("longshore starts");
        // One that has no use for it may have ended by now.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        self.assert_hides(&format!("the command line of {words:?}"), &Process::new(child.id()).command_line());
        let output = child.wait_with_output().expect("a child of ours");
        for said in [&output.stdout, &output.stderr] {
            self.assert_hides(&format!("{words:?}"), &String::from_utf8_lossy(said));
        }
        output
    }

    /// Panics when `text`, which is what `place` says, shows a secret that the program was given.
    pub fn assert_hides(&self, place: &str, text: &str) {
        self.marks.assert_absent(place, text);
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&self) -> Longshore {
        let mut longshore = self.spawn();
        let address = self.address;
        for _ in 0.. {
            let ready = http::Request::get("/readyz").body(bytes::Bytes::new()).expect("a request");
            if client::try_send(address, ready).await.is_some_and(|answer| answer.status.is_success()) {
                break;
            }
            if let Some(status) = longshore.child.try_wait().expect("a child of ours") {
                panic!("longshore ended before it was ready, {status}:\n{}", longshore.log());
            }
            assert!(longshore.started.elapsed() < Duration::from_secs(20), "not ready in 20 s:\n{}", longshore.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        longshore
    }

    /// What starts it.
    pub fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.args(&self.arguments).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.home.path()).env("XDG_CACHE_HOME", self.home.path().join("cache"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Runs it to its end; what it says on standard output. Panics when it fails.
    pub fn says(&self) -> String {
        let output = self.command().output().expect("longshore starts");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("what it says is text")
    }

    /// Starts it and does not wait, for those that are to fail.
    pub fn spawn(&self) -> Longshore {
        let mut command = Command::from(self.command());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("longshore starts");
        let lines = Lines::default();
        lines.follow(child.stdout.take().expect("piped"));
        lines.follow(child.stderr.take().expect("piped"));
        Longshore { address: self.address, child, lines, started: std::time::Instant::now(), launch: self.clone() }
    }
}

/// A Longshore that was started; killed when dropped.
#[derive(Debug)]
pub struct Longshore {
    pub address: SocketAddrV4,
    child: Child,
    lines: Lines,
    started: std::time::Instant,
    launch: Launch,
}

impl Longshore {
    /// Everything it said so far, on both outputs.
    pub fn log(&self) -> String {
        self.lines.all().join("\n")
    }

    /// Panics when what it said so far, or what others see of its process, shows a secret that it was given.
    pub fn assert_hides_secrets(&self) {
        self.launch.assert_hides("the log", &self.log());
        // None of one that has ended.
        let command_line = self.child.id().map(|pid| Process::new(pid).command_line());
        self.launch.assert_hides("the command line", &command_line.unwrap_or_default());
    }

    /// Everything it said, once it has ended and all of that has been read.
    pub async fn log_to_end(&self) -> String {
        self.lines.to_end().await;
        self.log()
    }

    /// Waits for a line with `word` in it; the line. Panics after `limit`.
    pub async fn line_with(&self, word: &str, limit: Duration) -> String {
        self.lines.with(word, limit).await
    }

    /// Asks it to end, once.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Asks it to read its settings again.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.ended(Duration::from_secs(10)).await;
    }

    /// Waits until it has ended; how. Panics after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let status = tokio::time::timeout(limit, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("still running after {limit:?}:\n{}", self.lines.all().join("\n")));
        status.expect("a child of ours")
    }

    /// Waits until a new connection to it is refused; panics after `limit`.
    pub async fn refuses(&self, limit: Duration) {
        let address = self.address;
        eventually("connections are refused", limit, || async move {
            tokio::net::TcpStream::connect(address).await.is_err().then_some(())
        })
        .await;
    }

    /// Memory resident now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.process().resident_bytes()
    }

    /// The most memory that was ever resident, in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.process().peak_resident_bytes()
    }

    fn process(&self) -> Process {
        Process::new(self.child.id().expect("running"))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        self.process().signal(signal);
    }
}

/// Whatever a test is about, nothing shows a secret.
impl Drop for Longshore {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_hides_secrets();
        }
    }
}

/// The lines that a process has said so far.
#[derive(Clone, Debug, Default)]
struct Lines {
    said: Arc<Mutex<Vec<String>>>,
    count: watch::Sender<usize>,
    /// How many outputs are still being read.
    open: watch::Sender<usize>,
}

impl Lines {
    fn follow(&self, output: impl AsyncRead + Unpin + Send + 'static) {
        let lines = self.clone();
        self.open.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            let mut output = BufReader::new(output).lines();
            while let Ok(Some(line)) = output.next_line().await {
                lines.said.lock().expect("no panic").push(line);
                lines.count.send_modify(|count| *count += 1);
            }
            lines.open.send_modify(|open| *open -= 1);
        });
    }

    async fn to_end(&self) {
        self.open.subscribe().wait_for(|open| *open == 0).await.expect("the sender is ours");
    }

    fn all(&self) -> Vec<String> {
        self.said.lock().expect("no panic").clone()
    }

    async fn with(&self, word: &str, limit: Duration) -> String {
        let mut count = self.count.subscribe();
        let found = tokio::time::timeout(limit, async {
            loop {
                if let Some(line) = self.all().into_iter().find(|line| line.contains(word)) {
                    return line;
                }
                count.changed().await.expect("the sender is ours");
            }
        });
        found.await.unwrap_or_else(|_| panic!("no line with {word:?} within {limit:?}:\n{}", self.all().join("\n")))
    }
}
