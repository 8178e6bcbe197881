//! Tokens by which a CI system vouches for a job.
//!
//! jsonwebtoken reads them and verifies who signed them for whom. What is ours
//! is whose key that must be, and for how long they count.

mod jwt;
mod key_ring;
mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::identity::{Identity, claims};
use super::text_pattern::TextPattern;
use jwt::Token;
use key_ring::Published;
use keys::Key;

pub use jsonwebtoken::Algorithm;
pub use jwt::is_of_a_key_pair;
pub(super) use jwt::is_token;
pub use key_ring::{Fetch, KeyRing, Trust, is_safe_url};
pub use keys::{InvalidKeySet, KeySet};

/// How far clocks may be apart, in seconds.
const LEEWAY: u64 = 60;

/// Who vouches for jobs, and for which of them it is believed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What the configuration calls it.
    pub name: Arc<str>,
    /// What its tokens call it: a URL.
    pub url: String,
    /// Whom a token must be for; one of these.
    pub audiences: Vec<String>,
    /// How a token may be signed.
    pub algorithms: Vec<Algorithm>,
    /// What its claims must be like.
    pub require: BTreeMap<Box<str>, TextPattern>,
    /// How long after it was issued a token is taken, also where it has expired before.
    pub session: Duration,
    /// Its keys; `None` where it is asked for them.
    pub keys: Option<KeySet>,
    /// What is trusted besides what the system trusts, where it is asked.
    pub trust: Option<Trust>,
}

/// All issuers that are believed.
#[derive(Debug, Default)]
pub(super) struct Issuers(Vec<(Issuer, Option<Arc<Published>>)>);

/// A token that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) identity: Identity,
    /// Until when it is good, in seconds after 1970.
    pub(super) until: u64,
}

/// Why a token is not accepted. For the log; the client is told no more than that, and where it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not written as tokens are, and what is wrong with it.
    #[error("{0}")]
    Form(&'static str),
    /// Nobody could say who has signed it.
    #[error("it is signed in no way that is taken")]
    Algorithm,
    /// By none of those who are believed.
    #[error("its issuer is not known here")]
    Issuer,
    /// Its issuer does not say that it has such a key, or cannot be asked.
    #[error("its key is not known")]
    Key,
    /// By somebody else than it says.
    #[error("its signature is wrong")]
    Signature,
    /// For another service.
    #[error("it is for somebody else")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time is to come.
    #[error("it is not good yet")]
    Early,
    /// It is about jobs that are not ours.
    #[error("its claims are not as require has them")]
    Claims,
}

impl Issuers {
    /// These; keys that are published are kept in `ring`.
    pub(super) fn of(issuers: Vec<Issuer>, ring: &KeyRing) -> Self {
        let keyed = issuers.into_iter().map(|issuer| {
            let published = issuer.keys.is_none().then(|| ring.of(&issuer.url, issuer.trust.as_ref()));
            (issuer, published)
        });
        Self(keyed.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one is called so.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(issuer, _)| *issuer.name == *name)
    }

    /// Who a token says that somebody is, if it is one to believe.
    pub(super) async fn check(&self, text: &str) -> Result<Accepted, Refusal> {
        let token = Token::parse(text)?;
        let named = token.text("iss").ok_or(Refusal::Issuer)?;
        let (issuer, published) = self.0.iter().find(|(issuer, _)| issuer.url == named).ok_or(Refusal::Issuer)?;
        if !issuer.algorithms.contains(&token.algorithm) {
            return Err(Refusal::Algorithm);
        }
        let key = match (&issuer.keys, published) {
            (Some(keys), _) => keys.find(&token).cloned(),
            (None, Some(published)) => published.find(&token).await,
            (None, None) => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        issuer.judge(&token, key.as_ref(), now)
    }
}

impl Issuer {
    /// Whether `token`, which names this issuer and `key`, is to be believed at `now`.
    fn judge(&self, token: &Token<'_>, key: Option<&Key>, now: u64) -> Result<Accepted, Refusal> {
        key.ok_or(Refusal::Key)?.verify(token, &self.audiences)?;
        let until = self.until(token, now)?;
        let identity = Identity::Issued { issuer: Arc::clone(&self.name), claims: Arc::new(claims(&token.claims)) };
        let is_like =
            |claim: &str, pattern: &TextPattern| identity.values(claim).iter().any(|value| pattern.matches(value, &identity));
        if self.require.iter().all(|(claim, pattern)| is_like(claim, pattern)) {
            Ok(Accepted { identity, until })
        } else {
            Err(Refusal::Claims)
        }
    }

    /// Until when the token is good: the same on every server that is set up so.
    fn until(&self, token: &Token<'_>, now: u64) -> Result<u64, Refusal> {
        let expires = token.time("exp")?.ok_or(Refusal::Form("it does not say when it expires"))?;
        let (issued, early) = (token.time("iat")?, token.time("nbf")?);
        if issued.max(early).is_some_and(|time| time > now + LEEWAY) {
            return Err(Refusal::Early);
        }
        let session = issued.filter(|_| !self.session.is_zero()).map(|issued| issued + self.session.as_secs());
        let until = expires.saturating_add(LEEWAY).max(session.unwrap_or_default());
        if until > now { Ok(until) } else { Err(Refusal::Expired) }
    }
}
