//! The composition root: the one place that reads a [`Config`] and builds the floors from it.

mod sweep;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::access::{Access, Profile};
use crate::api::{Api, Hosts};
use crate::config::{self, Anonymous, Config, Store, StoreLimits};
use crate::credentials::{Environment, Surroundings};
use crate::metrics::{Metrics, ProfileMetrics};
use crate::registry::{Belief, Patience, Registry};
use crate::secrets::Secrets;
use crate::server::{self, Limits};
use crate::store::{FolderStore, MemoryBudget, Misconfiguration, ObjectStore, S3Store, Share, StoreError};

pub use crate::api::Entrance;
pub use crate::registry::{Leftovers, Sweep, Swept};
pub use sweep::{SweepError, sweep};

/// Most connections at once: what a large farm of builders opens.
const MAX_CONNECTIONS: u64 = 4096;

/// Files that a process has open besides connections and what they read and write.
const OTHER_FILES: u64 = 64;

/// Most images whose bytes are counted apart: each is a series or two that a Prometheus keeps.
const IMAGES_COUNTED: usize = 100;

/// How long the start waits for the store to say that it is set up right.
const PROBE: Duration = Duration::from_secs(2);

/// How long the end waits for what runs in the background, such as aborts.
const SETTLE: Duration = Duration::from_secs(10);

/// A server that listens and has yet to answer.
pub struct App {
    listeners: Vec<(TcpListener, Entrance)>,
    api: Arc<Api>,
    registry: Arc<Registry>,
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
}

impl App {
    /// Listens, opens the store and asks it whether it is set up right.
    ///
    /// A store that is down or does not answer is only warned of: it may come back.
    ///
    /// # Errors
    ///
    /// What a person must mend before it makes sense to start.
    pub async fn build(config: Config) -> Result<Self, SetupError> {
        let mut listeners = listen(&config.server.listeners, Entrance::Registry)?;
        listeners.extend(listen(&config.server.admin_listeners, Entrance::Admin)?);
        let name = config.profile.name;
        let mistake = |mistake| SetupError::Store { profile: name.clone(), mistake };

        let metrics = Metrics::new(IMAGES_COUNTED);
        let counts = metrics.profile(&name);
        let memory = Arc::new(MemoryBudget::new(config.store.upload_memory));
        let store = open(config.profile.store, &name, memory.share(), counts.clone()).await.map_err(mistake)?;
        metrics.watch_memory(move || memory.held());
        probe(&*store, &name).await.map_err(mistake)?;

        let registry = Registry::new(store, Patience::with_bytes(config.store.patience));
        let registry = Arc::new(registry.with_belief(belief(&config.store)).with_metrics(counts));
        let profile = Profile::new(name, Arc::clone(&registry), access(config.access.anonymous));
        let api = Arc::new(Api::new(profile, Hosts::new(config.server.hosts), metrics));
        let limits = Limits { connections: connections(), drain: config.server.drain };
        Ok(Self { listeners, api, registry, limits })
    }

    /// Where those come in who use `entrance`, with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self, entrance: Entrance) -> Vec<SocketAddr> {
        let listeners = self.listeners.iter().filter(|(_, its)| *its == entrance);
        listeners.filter_map(|(listener, _)| listener.local_addr().ok()).collect()
    }

    /// Serves until `stop` is ready and running exports have ended.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let registry = Arc::clone(&self.registry);
        server::serve(self.listeners, self.api, self.limits, stop, || registry.has_open_exports()).await;
        if tokio::time::timeout(SETTLE, self.registry.settle()).await.is_err() {
            tracing::warn!("stopped before the store answered the last requests; unfinished uploads may be left in it");
        }
    }
}

/// How many connections can be served with the files that the process may
/// open, after raising that as far as it goes: each may need one more, for what
/// it reads or writes.
fn connections() -> usize {
    let limits = getrlimit(Resource::Nofile);
    // Where it may not be raised, what there is must do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = (files.saturating_sub(OTHER_FILES) / 2).clamp(1, MAX_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

fn listen(wanted: &[config::Listener], entrance: Entrance) -> Result<Vec<(TcpListener, Entrance)>, SetupError> {
    let bound = wanted.iter().map(|listener| (listener, server::bind(listener.address)));
    let listeners = bound.filter_map(|(config::Listener { address, required }, outcome)| match outcome {
        Ok(listener) => Some(Ok((listener, entrance))),
        Err(cause) if cause.kind() == io::ErrorKind::AddrInUse => Some(Err(SetupError::AddressTaken { address: *address })),
        Err(_) if !required => None,
        Err(cause) => Some(Err(SetupError::CannotListen { address: *address, cause })),
    });
    listeners.collect()
}

fn belief(limits: &StoreLimits) -> Belief {
    Belief { index_ttl: limits.index_ttl, index_bytes: limits.index_memory, touch_after: limits.touch_after, grace: limits.grace }
}

async fn open(
    store: Store,
    profile: &str,
    memory: Share,
    metrics: ProfileMetrics,
) -> Result<Arc<dyn ObjectStore>, Misconfiguration> {
    match store {
        Store::Folder { path } => Ok(Arc::new(FolderStore::open(&path)?)),
        Store::S3(bucket) => Ok(Arc::new(S3Store::new(*bucket, &surroundings(profile), memory, metrics).await?)),
    }
}

/// What the source of a profile's credentials finds around it.
fn surroundings(profile: &str) -> Surroundings {
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Surroundings {
        profile: profile.to_owned(),
        secrets: Secrets::default(),
        environment: Environment::of(variables),
        ..Surroundings::default()
    }
}

async fn probe(store: &dyn ObjectStore, profile: &str) -> Result<(), Misconfiguration> {
    match store.probe(PROBE).await {
        Ok(()) => Ok(()),
        Err(StoreError::Misconfigured(mistake)) => Err(mistake),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            tracing::warn!(profile, %error, cause, "the store does not answer as it should; starting all the same");
            Ok(())
        }
    }
}

fn access(anonymous: Anonymous) -> Access {
    match anonymous {
        Anonymous::None => Access::None,
        Anonymous::Read => Access::Read,
        Anonymous::Write => Access::Write,
    }
}
