//! The keys of issuers, as they publish them (OpenID Connect Discovery 1.0, "Obtaining OpenID Provider Configuration Information").
//!
//! They are kept until others come, so an issuer that is down keeps nobody out
//! whose key is known. They are asked for one at a time, and for the sake of a
//! key that is not known once a minute at most: anybody can make up names.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::jwt::Token;
use super::keys::{Key, KeySet};

/// Where an issuer says where its keys are.
const CONFIGURATION: &str = ".well-known/openid-configuration";

/// How long it may take to get them.
const PATIENCE: Duration = Duration::from_secs(10);

/// How old keys may get before they are asked for anew, so that one that was withdrawn is not good for ever.
const OLD: Duration = Duration::from_secs(60 * 60);

/// How long after a question the next one is asked for a key that is not known; and where none are known at all.
const PAUSE: Duration = Duration::from_secs(60);
const PAUSE_OF_NONE: Duration = Duration::from_secs(5);

/// Whoever fetches from issuers.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// What is at `url`, of a size that does no harm, from whom the system trusts, or `trust`. Redirects are not followed: an
    /// error, as is any other answer than a good one.
    async fn get(&self, url: &str, trust: Option<&Trust>) -> Result<Vec<u8>, String>;
}

/// Certificates to trust, in PEM, which were found to be usable.
pub type Trust = Arc<[u8]>;

/// The keys of all issuers that publish them, which outlive a change of the settings.
pub struct KeyRing {
    fetch: Arc<dyn Fetch>,
    published: Mutex<Vec<Arc<Published>>>,
}

/// The keys that one issuer publishes.
pub(super) struct Published {
    issuer: String,
    trust: Option<Trust>,
    fetch: Arc<dyn Fetch>,
    held: Mutex<Held>,
    turn: Arc<AsyncMutex<()>>,
}

#[derive(Default)]
struct Held {
    keys: KeySet,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

/// What of an issuer's configuration counts.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl KeyRing {
    /// One that is filled by `fetch`.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self { fetch, published: Mutex::default() }
    }

    /// The keys that the issuer at `url` publishes, who may be known by `trust`. Nothing is asked yet.
    pub(super) fn of(&self, url: &str, trust: Option<&Trust>) -> Arc<Published> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let known = published.iter().find(|known| known.issuer == url && known.trust.as_ref() == trust);
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let (fetch, turn) = (Arc::clone(&self.fetch), Arc::default());
        let new = Arc::new(Published { issuer: url.to_owned(), trust: trust.cloned(), fetch, held: Mutex::default(), turn });
        published.push(Arc::clone(&new));
        new
    }
}

/// Whether tokens and keys may come from `url`: what is fetched in the open could be anybody's, except on this machine.
#[must_use]
pub fn is_safe_url(url: &str) -> bool {
    let is_clean = url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(['@', '#', '\\']);
    let host = |rest: &str| rest.split(['/', '?']).next().map(str::to_owned).unwrap_or_default();
    let name = |host: &str| host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    is_clean
        && match url.split_once("://") {
            Some(("https", rest)) => !host(rest).is_empty(),
            Some(("http", rest)) => ["127.0.0.1", "[::1]", "localhost"].contains(&name(&host(rest)).as_str()),
            _ => false,
        }
}

impl Published {
    /// The key that `token` says it is signed with.
    pub(super) async fn find(self: &Arc<Self>, token: &Token<'_>) -> Option<Key> {
        if let Some(key) = self.known(token) {
            self.renew_if_old();
            return Some(key);
        }
        let _turn = self.turn.lock().await;
        // Somebody else may have asked meanwhile.
        if let Some(key) = self.known(token) {
            return Some(key);
        }
        if self.may_ask() {
            self.ask().await;
        }
        self.known(token)
    }

    fn known(&self, token: &Token<'_>) -> Option<Key> {
        self.held().keys.find(token).cloned()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has old keys asked for anew, while those that are known go on to count.
    fn renew_if_old(self: &Arc<Self>) {
        let is_old = self.held().fetched.is_some_and(|fetched| fetched.elapsed() > OLD);
        if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned()
            && is_old
            && self.may_ask()
        {
            let own = Arc::clone(self);
            tokio::spawn(async move {
                own.ask().await;
                drop(turn);
            });
        }
    }

    /// Whether the last question was long enough ago. Then this is the next.
    fn may_ask(&self) -> bool {
        let mut held = self.held();
        let pause = if held.fetched.is_some() { PAUSE } else { PAUSE_OF_NONE };
        let may = held.asked.is_none_or(|asked| asked.elapsed() >= pause);
        held.asked = if may { Some(Instant::now()) } else { held.asked };
        may
    }

    async fn ask(&self) {
        match tokio::time::timeout(PATIENCE, self.fetched()).await.unwrap_or_else(|_| Err("no answer in time".into())) {
            Ok(keys) => {
                let mut held = self.held();
                held.keys = keys;
                held.fetched = Some(Instant::now());
            }
            Err(reason) => tracing::warn!(issuer = self.issuer, reason, "the keys of an issuer could not be fetched"),
        }
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        self.fetch.get(url, self.trust.as_ref()).await
    }

    async fn fetched(&self) -> Result<KeySet, String> {
        let url = format!("{}/{CONFIGURATION}", self.issuer.trim_end_matches('/'));
        let found: Configuration = serde_json::from_slice(&self.get(&url).await?)
            .map_err(|_| "its configuration is no JSON with issuer and jwks_uri".to_owned())?;
        if found.issuer != self.issuer {
            return Err("its configuration is another issuer's".into());
        }
        // Who is asked where nobody can listen does not send us where somebody can.
        let is_as_safe = found.jwks_uri.starts_with("https://") || !self.issuer.starts_with("https://");
        if !is_safe_url(&found.jwks_uri) || !is_as_safe {
            return Err("its keys are not behind https://".into());
        }
        KeySet::parse(&self.get(&found.jwks_uri).await?).map_err(|error| format!("what should be its keys {error}"))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing")
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Published({})", self.issuer)
    }
}
