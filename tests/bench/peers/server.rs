//! A server that is measured.

use std::net::{SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::keeper::Kept;
use crate::support::process::Process;
use crate::support::{client, eventually, scratch};

/// How long a server may take until it answers, or to end.
const START: Duration = Duration::from_secs(30);

/// How one is started, as often as wanted, and how it tells that it is ready.
#[derive(Debug)]
pub struct Recipe {
    pub command: Command,
    pub address: SocketAddrV4,
    /// Answered with success once it is ready.
    pub ready: &'static str,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    address: SocketAddrV4,
    _kept: Kept,
    _root: TempDir,
}

impl Server {
    /// Starts what `recipe` says and waits until it is ready.
    pub async fn start(recipe: &Recipe) -> Self {
        let root = scratch("bench-server");
        let log = root.path().join("log");
        let kept = Kept::start(&recipe.command, root.path(), &log);
        let deadline = Instant::now() + START;
        while !is_ready(recipe).await {
            assert!(!kept.server_ended() && Instant::now() < deadline, "does not start: {}", last_words(&log));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let process = kept.server().expect("it answered");
        Self { process, address: recipe.address, _kept: kept, _root: root }
    }

    /// Ends it without warning, and waits until its port is free.
    pub async fn kill(&self) {
        self.process.signal(Signal::KILL);
        // Gone is a process when its first thread is, but the port when the last one is.
        eventually("the server has ended", START, async || TcpListener::bind(self.address).ok()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing it holds is needed, and a server may take its time to end.
        if !self.process.has_ended() {
            self.process.signal(Signal::KILL);
        }
    }
}

async fn is_ready(recipe: &Recipe) -> bool {
    let ask = http::Request::get(recipe.ready).body(Bytes::new()).expect("a request");
    client::try_send(recipe.address, ask).await.is_some_and(|answer| answer.status.is_success())
}

fn last_words(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    said.lines().last().unwrap_or("it said nothing").to_owned()
}
