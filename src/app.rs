//! The composition root: the one place that reads a [`Config`] and builds the floors from it.

mod can;
mod explain;
mod fixed;
mod policy;
mod reloaded;
mod reread;
mod rules;
mod running;
mod sweep;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::api::Entrance;
use crate::config::{self, Config};
use crate::secrets::Mask;
use crate::server::{self, Limits, Listening, TlsDoor};
use crate::store::Misconfiguration;

pub use crate::access::slug;
pub use crate::registry::{
    Explanation, Finding, FoundByS3, IMPORT_LIMIT, Leftovers, Outcome, Seen, SeenByS3, ServedCache, Steps, Story, Sweep, Swept,
    Told, What,
};
pub use can::{Decision, Deed, NoQuestion, Question, can};
pub use explain::{ExplainError, Explained, explain};
pub use policy::{NoSuchProfile, Permissions, Rights, permissions};
pub use reloaded::Reloaded;
pub use running::{Occasion, Running};
pub use sweep::{SweepError, sweep};

/// Files that a process has open besides connections and what they read and write.
const OTHER_FILES: u64 = 64;

/// How long the end waits for what runs in the background, such as aborts.
const SETTLE: Duration = Duration::from_secs(10);

/// A server that listens and has yet to answer.
pub struct App {
    listeners: Vec<Listening>,
    running: Arc<Running>,
    limits: Limits,
}

/// Why a server cannot start as it is set up. The messages are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Something else listens there.
    #[error("{address} is taken by another program; stop it, or choose another address with --listen")]
    AddressTaken {
        /// Where.
        address: SocketAddr,
    },
    /// The machine does not let us listen there.
    #[error("cannot listen on {address}: {cause}; choose another address with --listen")]
    CannotListen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The store cannot be used as it is set up.
    #[error("profile {profile}: {mistake}")]
    Store {
        /// Whose store it is.
        profile: String,
        /// What is wrong.
        mistake: Misconfiguration,
    },
    /// It cannot be kept who did what.
    #[error("access.audit.file: {path} cannot be written: {cause}; mend that, or name another file")]
    Audit {
        /// Where it was to be kept.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A profile would end without anybody having said that it should: its images would go to another one.
    #[error("profile {profile} is in none of the files any more; if that is meant, send SIGHUP or restart")]
    Gone {
        /// Which one.
        profile: String,
    },
}

/// All that keeps a server from starting, or new settings from being in force.
#[derive(Debug)]
pub struct SetupErrors(Vec<SetupError>);

impl App {
    /// Listens, opens the stores and asks them whether they are set up right. What is logged or told goes through `mask`.
    ///
    /// A store that is down or does not answer is only warned of: it may come back.
    ///
    /// # Errors
    ///
    /// What a person must mend before it makes sense to start.
    pub async fn build(config: Config, mask: Mask) -> Result<Self, SetupErrors> {
        let mut listeners = listen(&config.server.listeners)?;
        listeners.extend(listen_for_admin(&config.server.admin_listeners)?);
        let limits = Limits { connections: connections(config.server.max_connections), drain: config.server.drain };
        let doors = listeners.iter().map(|it| (it.listener.local_addr().ok(), it.door.clone()));
        let doors = doors.filter_map(|(address, door)| Some((address?, door?))).collect();
        Ok(Self { listeners, running: Arc::new(Running::start(config, doors, mask).await?), limits })
    }

    /// What can be changed while it serves.
    #[must_use]
    pub fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }

    /// Where those come in who use the registry, and those who watch it, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> [Vec<SocketAddr>; 2] {
        let (admin, registry): (Vec<_>, Vec<_>) = self.listeners.iter().partition(|it| it.entrance == Entrance::Admin);
        [registry, admin].map(|those| those.iter().filter_map(|it| it.listener.local_addr().ok()).collect())
    }

    /// Serves until `stop` is ready and running exports have ended.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let running = Arc::clone(&self.running);
        server::serve(self.listeners, running.api(), self.limits, stop, || running.has_open_exports()).await;
        if tokio::time::timeout(SETTLE, self.running.settle()).await.is_err() {
            tracing::warn!("stopped before the store answered the last requests; unfinished uploads may be left in it");
        }
        self.running.settle_audit().await;
    }
}

impl From<SetupError> for SetupErrors {
    fn from(error: SetupError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for SetupErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|error| format!("longshore: {error}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SetupErrors {}

/// How many connections can be served, at `most`, with the files that the
/// process may open, after raising that as far as it goes: each may need one
/// more, for what it reads or writes.
fn connections(most: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    // Where it may not be raised, what there is must do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX).max(1);
    if possible < most {
        tracing::warn!(possible, max_connections = most, "the process may not open files enough for all connections");
    }
    possible.min(most)
}

fn listen(wanted: &[config::Listener]) -> Result<Vec<Listening>, SetupErrors> {
    bind(wanted, |listener| Entrance::Registry(listener.profile.as_deref().map(Arc::from)))
}

fn listen_for_admin(wanted: &[config::Listener]) -> Result<Vec<Listening>, SetupErrors> {
    bind(wanted, |_| Entrance::Admin)
}

/// Listens on all of `wanted`, or tells all that stands against it.
fn bind(wanted: &[config::Listener], entrance: impl Fn(&config::Listener) -> Entrance) -> Result<Vec<Listening>, SetupErrors> {
    let (mut listeners, mut errors) = (Vec::new(), Vec::new());
    for wanted in wanted {
        let address = wanted.address;
        match server::bind(address) {
            Ok(listener) => {
                let door = wanted.tls.clone().map(|tls| Arc::new(TlsDoor::new(tls)));
                listeners.push(Listening { listener, entrance: entrance(wanted), door });
            }
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => errors.push(SetupError::AddressTaken { address }),
            Err(_) if !wanted.required => {}
            Err(cause) => errors.push(SetupError::CannotListen { address, cause }),
        }
    }
    if errors.is_empty() { Ok(listeners) } else { Err(SetupErrors(errors)) }
}
