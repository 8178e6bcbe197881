//! What serves: the profiles with their stores, which can be changed while it does.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use secrecy::SecretString;
use tokio::sync::Mutex as AsyncMutex;

use super::fixed::Fixed;
use super::reloaded::{Reloaded, tell_of_refused};
use super::reread::reread;
use super::{SetupError, SetupErrors, rules};
use crate::access::{self, Access, Authenticator, Fetch, Grants, KeyRing, Passes, Profiles, Trust};
use crate::api::{Api, Hosts};
use crate::audit::{Audit, AuditFile, Kept};
use crate::config::{Anonymous, Config, Layout, Profile, S3Clients, Server, Store, StoreLimits};
use crate::credentials::{Environment, Http, Surroundings};
use crate::metrics::{Metrics, ProfileMetrics};
use crate::registry::{self, Belief, Patience, Registry};
use crate::secrets::{Mask, SecretName, Secrets};
use crate::server::TlsDoor;
use crate::store::{FolderStore, MemoryBudget, Misconfiguration, ObjectStore, S3Store, Share, StoreError};

/// How long the start waits for a store to say that it is set up right.
const PROBE: Duration = Duration::from_secs(2);

/// How long the end waits for a disk to take the last lines of who did what.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Whose values the mask hides: those in force, those that were so before, which
/// running requests may still tell of, and those that were read between two reloads.
const MASKED: [&str; 2] = ["in force", "before"];
pub(super) const BETWEEN: &str = "between";

/// What serves.
pub struct Running {
    api: Arc<Api>,
    metrics: Metrics,
    memory: Arc<MemoryBudget>,
    environment: Environment,
    mask: Mask,
    audit: Audit,
    /// What cannot change while it serves.
    fixed: Fixed,
    stands: Arc<Mutex<Vec<Stand>>>,
    /// One change at a time.
    changing: Arc<AsyncMutex<()>>,
    /// The listeners that speak TLS.
    doors: Doors,
    /// The keys of those who vouch for jobs, which outlive a change.
    ring: KeyRing,
}

/// How clients are greeted, by the address that they come to.
pub(super) type Doors = Vec<(SocketAddr, Arc<TlsDoor>)>;

/// Fetches the keys of issuers.
#[derive(Default)]
struct FromIssuers(OnceLock<Http>);

#[async_trait]
impl Fetch for FromIssuers {
    async fn get(&self, url: &str, trust: Option<&Trust>) -> Result<Vec<u8>, String> {
        let got = match trust {
            // Whom the system trusts is read when it is first needed.
            None => self.0.get_or_init(Http::plain).get(url).await,
            // Once an hour, which is too seldom to keep connections for.
            Some(trust) => Http::trusting(trust)?.get(url).await,
        };
        got.map(Vec::from)
    }
}

/// A profile in force, with what it was made of.
#[derive(Clone)]
pub(super) struct Stand {
    pub(super) stated: Profile,
    registry: Arc<Registry>,
    pub(super) secrets: Secrets,
}

/// Why settings are put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Somebody asked for it.
    Asked,
    /// Their files are other than they were: somebody has changed them, or they are lost or half written.
    Noticed,
}

impl Running {
    /// Opens the stores of all profiles, and asks each whether it is set up right.
    pub(super) async fn start(config: Config, doors: Doors, mask: Mask) -> Result<Self, SetupErrors> {
        hide(&mask, &config, Vec::new());
        let metrics = Metrics::new(config.server.metrics_images);
        let memory = Arc::new(MemoryBudget::new(config.store.upload_memory));
        let held = Arc::clone(&memory);
        metrics.watch_memory(move || held.held());
        let api = Api::new(Profiles::new([]), Hosts::new(config.server.hosts.clone()), metrics.clone());
        let audit = Audit::new(mask.clone(), metrics.audit_lines_lost());
        let api = Arc::new(api.with_mask(mask.clone()).with_audit(audit.clone()));
        let (fixed, environment) = (Fixed::of(&config), environment());
        let ((stands, changing), ring) = (Default::default(), key_ring());
        let running = Self { api, metrics, memory, environment, mask, audit, fixed, stands, changing, doors, ring };
        let audit = running.open_audit(&config)?;
        let (stands, refused) = running.stands_of(&config).await?;
        // Whoever has several is not to go without all because of one.
        if refused.len() == stands.len() {
            return Err(SetupErrors(refused));
        }
        for error in refused {
            tracing::error!(%error, "its images are answered 503 until that is mended");
        }
        running.put_in_force(&config, stands, audit);
        Ok(running)
    }

    /// How it listens, which stays so.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.fixed.server
    }

    /// Puts `config` in force, all of it or nothing; requests that run go on with what they began with. Where nobody asked
    /// for it, no profile ends.
    ///
    /// # Errors
    ///
    /// What a person must mend first. Then nothing has changed.
    pub async fn reload(&self, config: Config, occasion: Occasion) -> Result<Reloaded, SetupErrors> {
        let _alone = self.changing.lock().await;
        let before = self.stands().clone();
        let values = |stand: &Stand| [stand.secrets.values(), stand.stated.store.literals()].concat();
        hide(&self.mask, &config, before.iter().flat_map(values).collect());
        let stated = |stand: &Stand| stand.stated.name.clone();
        let stays = |name: &String| config.profiles.iter().any(|profile| profile.name == *name);
        let closed: Vec<_> = before.iter().map(stated).filter(|name| !stays(name)).collect();
        if occasion == Occasion::Noticed && !closed.is_empty() {
            return Err(SetupErrors(closed.into_iter().map(|profile| SetupError::Gone { profile }).collect()));
        }
        let audit = self.open_audit(&config)?;
        let (stands, refused) = self.stands_of(&config).await?;
        if !refused.is_empty() {
            return Err(SetupErrors(refused));
        }
        let is_kept = |stand: &Stand| before.iter().any(|old| Arc::ptr_eq(&old.registry, &stand.registry));
        let opened = stands.iter().filter(|stand| !is_kept(stand)).map(stated).collect();
        let later = self.fixed.changes(&Fixed::of(&config));
        let secrets = self.put_in_force(&config, stands, audit);
        Ok(Reloaded { opened, closed, secrets, grants: Some(config.access.grants.len()), later })
    }

    /// Says what came of a reload: what has changed, or why nothing has.
    pub fn tell_of_reload(&self, outcome: Result<&Reloaded, &str>) {
        match outcome {
            Ok(reloaded) => reloaded.tell(&self.audit),
            Err(problems) => tell_of_refused(problems, &self.audit),
        }
    }

    /// Waits until it is kept who did what; not for long, where the disk does not answer.
    pub async fn settle_audit(&self) {
        self.audit.settle(LAST_LINES).await;
    }

    /// The file in which `config` has it kept who did what; the one in force stays open until another one is in force.
    fn open_audit(&self, config: &Config) -> Result<Option<Arc<Kept>>, SetupErrors> {
        let stated = config.access.audit.as_ref();
        let path = || stated.map(|AuditFile { path, .. }| path.display().to_string()).unwrap_or_default();
        self.audit.open(stated).map_err(|cause| SetupError::Audit { path: path(), cause }.into())
    }

    pub(super) fn api(&self) -> Arc<Api> {
        Arc::clone(&self.api)
    }

    pub(super) fn has_open_exports(&self) -> bool {
        self.stands().iter().any(|stand| stand.registry.has_open_exports())
    }

    pub(super) async fn settle(&self) {
        let registries: Vec<_> = self.stands().iter().map(|stand| Arc::clone(&stand.registry)).collect();
        join_all(registries.iter().map(|registry| registry.settle())).await;
    }

    pub(super) fn stands(&self) -> MutexGuard<'_, Vec<Stand>> {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `config` has of profiles: those that have not changed as they are, the others opened; and what the stores of
    /// these say is wrong.
    async fn stands_of(&self, config: &Config) -> Result<(Vec<Stand>, Vec<SetupError>), SetupErrors> {
        let before = self.stands().clone();
        let opening = config.profiles.iter().map(|stated| {
            let same = before.iter().find(|stand| stand.stated.name == stated.name && is_kept_alike(&stand.stated, stated));
            let same = same.map(|stand| Stand { stated: stated.clone(), ..stand.clone() });
            async move {
                match same {
                    Some(stand) => Ok((stand, None)),
                    None => self.open(stated, config).await,
                }
            }
        });
        let (mut stands, mut refused, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for outcome in join_all(opening).await {
            match outcome {
                Ok((stand, refusal)) => {
                    stands.push(stand);
                    refused.extend(refusal);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok((stands, refused)) } else { Err(SetupErrors(errors.into_iter().chain(refused).collect())) }
    }

    /// Opens the store of a profile; with what that says is wrong, if it does.
    async fn open(&self, stated: &Profile, config: &Config) -> Result<(Stand, Option<SetupError>), SetupError> {
        self.tell_of_other_layout(stated);
        let mistake = |mistake| SetupError::Store { profile: stated.name.clone(), mistake };
        let counts = self.metrics.profile(&stated.name);
        // Those of this configuration, which are tried here before they are in force anywhere else.
        let secrets = config.secrets.clone();
        let surroundings = Surroundings {
            profile: stated.name.clone(),
            secrets: secrets.clone(),
            reread: reread(&secrets, &self.stands, &self.changing, (&self.mask, &self.audit)),
            environment: self.environment.clone(),
            mask: self.mask.clone(),
        };
        let store = open(&stated.store, &surroundings, &self.fixed.store, (self.memory.share(), counts.clone()))
            .await
            .map_err(mistake)?;
        let refusal = probe(&*store, &stated.name).await.map_err(mistake).err();
        let registry = Registry::new(store, Patience::with_bytes(self.fixed.store.patience));
        let registry = registry.with_layout(layout(stated)).with_s3_clients(s3_clients(stated));
        let belief = belief(&self.fixed.store, config.profiles.len());
        let registry = Arc::new(registry.with_belief(belief).with_metrics(counts));
        Ok((Stand { stated: stated.clone(), registry, secrets }, refusal))
    }

    /// Says it where a profile goes on in its store in another layout than before.
    fn tell_of_other_layout(&self, stated: &Profile) {
        let is_it = |stand: &Stand| stand.stated.name == stated.name && stand.stated.store == stated.store;
        if self.stands().iter().any(|stand| is_it(stand) && stand.stated.layout != stated.layout) {
            tracing::warn!(profile = stated.name, "another layout than before: what was kept until now is not found in it");
        }
    }

    /// Has new requests served by `stands`; which secrets are other than before.
    fn put_in_force(&self, config: &Config, stands: Vec<Stand>, audit: Option<Arc<Kept>>) -> Vec<SecretName> {
        let mut in_force = self.stands();
        let changed: BTreeSet<_> = stands.iter().flat_map(|stand| stand.secrets.adopt(&config.secrets).names()).collect();
        let anonymous = access(config.access.anonymous);
        let profiles = stands.iter().map(|stand| Arc::new(profile(&stand.stated, Arc::clone(&stand.registry), anonymous)));
        let authenticator = authenticator(config, &self.ring).with_audit(self.audit.clone());
        let grants = Grants::new(config.access.grants.clone());
        for listener in &config.server.listeners {
            let door = self.doors.iter().find(|(address, _)| *address == listener.address).map(|(_, door)| door);
            if let (Some(door), Some(tls)) = (door, &listener.tls)
                && door.replace(tls.clone())
            {
                tracing::info!(address = %listener.address, "certificate changed over");
            }
        }
        self.api.put_in_force(Profiles::new(profiles).with_grants(grants), authenticator);
        self.audit.put_in_force(audit);
        *in_force = stands;
        changed.into_iter().collect()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stands().iter().map(|stand| stand.stated.name.clone())).finish()
    }
}

/// Keys of issuers, none of which is there yet.
pub(super) fn key_ring() -> KeyRing {
    KeyRing::new(Arc::new(FromIssuers::default()))
}

/// Who clients are, as `config` has it; the keys of issuers are in `ring`.
pub(super) fn authenticator(config: &Config, ring: &KeyRing) -> Authenticator {
    let authenticator = Authenticator::new(config.access.users.clone());
    let authenticator = authenticator.with_issuers(config.access.issuers.clone(), ring);
    let passes = config.access.tokens.as_ref().map(|tokens| Passes::new(tokens.realm.clone(), &tokens.keys));
    authenticator.with_passes(passes).over_plain_http(config.access.allow_plain_http)
}

/// Whether what is kept for one of two profiles is just so kept for the other.
fn is_kept_alike(one: &Profile, other: &Profile) -> bool {
    one.store == other.store && one.layout == other.layout && one.s3_clients == other.s3_clients
}

/// Where the registry of a profile has things.
pub(super) fn layout(stated: &Profile) -> registry::Layout {
    match &stated.layout {
        Layout::Image => registry::Layout::Image,
        Layout::Shared { blobs_prefix, manifests_prefix } => {
            registry::Layout::Shared { blobs: blobs_prefix.clone(), manifests: manifests_prefix.clone() }
        }
    }
}

pub(super) fn s3_clients(stated: &Profile) -> Option<registry::S3Clients> {
    let S3Clients { name, tag, write } = stated.s3_clients.clone()?;
    Some(registry::S3Clients { name, tag, write })
}

/// Keeps the secrets of `config`, and those `before`, out of whatever is said.
fn hide(mask: &Mask, config: &Config, before: Vec<SecretString>) {
    mask.hold(MASKED[1], before);
    mask.hold(MASKED[0], config.secret_values());
}

/// The profile that is `stated`, over `registry`.
pub(super) fn profile(stated: &Profile, registry: Arc<Registry>, anonymous: Access) -> access::Profile {
    let profile = access::Profile::new(stated.name.clone(), registry, anonymous);
    profile
        .with_images(stated.images.clone())
        .with_who(stated.who.clone())
        .with_map(stated.map.clone())
        .with_rules(rules::rules(stated))
}

/// What the sources of credentials find around the process.
pub(super) fn environment() -> Environment {
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Environment::of(variables)
}

/// What is believed of one of so many profiles, which share the memory for it.
fn belief(limits: &StoreLimits, profiles: usize) -> Belief {
    let index_bytes = limits.index_memory / u64::try_from(profiles.max(1)).unwrap_or(1);
    Belief { index_ttl: limits.index_ttl, index_bytes, touch_after: limits.touch_after, grace: limits.grace }
}

async fn open(
    store: &Store,
    surroundings: &Surroundings,
    limits: &StoreLimits,
    (memory, metrics): (Share, ProfileMetrics),
) -> Result<Arc<dyn ObjectStore>, Misconfiguration> {
    match store {
        Store::Folder { path } => Ok(Arc::new(folder(path.clone()).await?)),
        Store::S3(bucket) => Ok(Arc::new(
            S3Store::new((**bucket).clone(), surroundings, memory, metrics).await?.with_max_requests(limits.max_requests),
        )),
    }
}

/// Opens a folder beside all else, in case its file system hangs.
async fn folder(path: PathBuf) -> Result<FolderStore, Misconfiguration> {
    let named = path.display().to_string();
    let failed = |error| Misconfiguration::FolderNotWritable { path: named, reason: format!("{error}") };
    tokio::task::spawn_blocking(move || FolderStore::open(&path)).await.map_err(failed)?
}

async fn probe(store: &dyn ObjectStore, profile: &str) -> Result<(), Misconfiguration> {
    match store.probe(PROBE).await {
        Ok(()) => Ok(()),
        Err(StoreError::Misconfigured(mistake)) => Err(mistake),
        // What it lacks the store has told, and does without.
        Err(error) if error.lacks().is_some() => Ok(()),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            tracing::warn!(profile, %error, cause, "the store does not answer as it should; starting all the same");
            Ok(())
        }
    }
}

/// What everybody may.
pub(super) fn access(anonymous: Anonymous) -> Access {
    match anonymous {
        Anonymous::None => Access::None,
        Anonymous::Read => Access::Read,
        Anonymous::Write => Access::Write,
    }
}

#[cfg(test)]
mod tests;
