//! Who somebody is, by what they present.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret, SecretString};

use super::identity::{Certificate, Identity};
use super::memory::Memory;
use super::passes::{Passes, Scope, Taken, is_pass};
use super::passwords::{Passwords, User};
use super::tokens::{Accepted, Issuer, Issuers, KeyRing, Refusal, is_token};
use super::turns::Crowded;
use crate::audit::{Audit, Event, Line};

/// Finds out who clients are.
pub struct Authenticator {
    passwords: Passwords,
    issuers: Issuers,
    /// Tokens that were accepted.
    memory: Memory,
    passes: Option<Passes>,
    over_plain_http: bool,
    audit: Audit,
}

/// Who somebody is, and for how long and for what that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who it is.
    pub identity: Identity,
    /// Until when, in seconds after 1970.
    pub until: u64,
    /// For what, where they show a pass.
    pub scope: Option<Scope>,
}

impl Known {
    /// One who has shown a certificate.
    #[must_use]
    pub fn certified(shown: Arc<Certificate>) -> Self {
        Self::always(Identity::Certified(shown))
    }

    /// Somebody who did not say who they are.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::always(Identity::Anonymous)
    }

    /// Somebody who is always that, for whatever they want.
    pub(super) fn always(identity: Identity) -> Self {
        Self { identity, until: u64::MAX, scope: None }
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("passwords", &self.passwords).field("issuers", &self.issuers).finish()
    }
}

/// What a client says of who it is.
pub enum Presented {
    /// Nothing.
    Nothing,
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// A token.
    Token(SecretString),
}

/// What was presented is not accepted. The messages say no more than who presented it may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// It is nobody's.
    #[error("the user name and password, or the token, are not accepted")]
    Refused,
    /// It was good once.
    #[error("the token has expired; a longer session for its issuer would take it still")]
    Expired,
    /// It was not looked at; asking again may work.
    #[error("too many passwords from where you are wait to be checked; try again")]
    Crowded,
}

impl Authenticator {
    /// One that knows `users`.
    #[must_use]
    pub fn new(users: Vec<User>) -> Self {
        let (passwords, issuers) = (Passwords::of(users), Issuers::default());
        Self { passwords, issuers, memory: Memory::new(), passes: None, over_plain_http: false, audit: Audit::default() }
    }

    /// The same, which also believes `issuers`; keys that they publish are kept in `ring`.
    #[must_use]
    pub fn with_issuers(self, issuers: Vec<Issuer>, ring: &KeyRing) -> Self {
        Self { issuers: Issuers::of(issuers, ring), ..self }
    }

    /// The same, which gives out passes.
    #[must_use]
    pub fn with_passes(self, passes: Option<Passes>) -> Self {
        Self { passes, ..self }
    }

    /// The same, which tells `audit` of logins.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Where passes are fetched, if they are given out.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.passes.as_ref().map(Passes::realm)
    }

    /// A pass for `known`, for `scope`, and how long it is good for; `None` where none are given out.
    #[must_use]
    pub fn pass(&self, known: &Known, scope: Scope) -> Option<(SecretString, Duration)> {
        self.passes.as_ref()?.give(&known.identity, scope, known.until)
    }

    /// The same, which takes passwords and tokens over plain HTTP from beyond this machine, if that is `allowed`.
    #[must_use]
    pub fn over_plain_http(self, allowed: bool) -> Self {
        Self { over_plain_http: allowed, ..self }
    }

    /// Whether passwords and tokens may come over plain HTTP from beyond this machine.
    #[must_use]
    pub fn allows_plain_http(&self) -> bool {
        self.over_plain_http
    }

    /// Whether anybody could say who they are. Where nobody can, everybody is anonymous, whatever they present.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        !self.passwords.is_empty() || !self.issuers.is_empty()
    }

    /// Who presents this.
    ///
    /// # Errors
    ///
    /// Something was presented, and it is not accepted.
    pub async fn identify(&self, presented: &Presented) -> Result<Known, Unidentified> {
        self.identify_from(presented, Ipv4Addr::UNSPECIFIED.into()).await
    }

    /// Who presents this, which comes from `address`.
    ///
    /// # Errors
    ///
    /// Something was presented, and it is not accepted.
    pub async fn identify_from(&self, presented: &Presented, address: IpAddr) -> Result<Known, Unidentified> {
        match presented {
            Presented::Nothing => Ok(Known::always(Identity::Anonymous)),
            _ if !self.is_offered() => Ok(Known::always(Identity::Anonymous)),
            // docker login can carry a token only so.
            Presented::Password { password, .. } if is_token(password.expose_secret()) && !self.issuers.is_empty() => {
                self.by_token(password).await
            }
            Presented::Password { user, password } => self.by_password(user, password, address).await.map(Known::always),
            Presented::Token(pass) if is_pass(pass.expose_secret()) => self.by_pass(pass),
            Presented::Token(token) => self.by_token(token).await,
        }
    }

    async fn by_password(&self, user: &str, password: &SecretString, from: IpAddr) -> Result<Identity, Unidentified> {
        let identity = Identity::User { name: user.into(), groups: [].into() };
        let checked = self.passwords.check(user, password, from).await.map_err(|Crowded| {
            self.tell_of_login(&identity, Err("not looked at: too many wait for that who come from there"));
            Unidentified::Crowded
        })?;
        if checked.is_news {
            self.tell_of_login(&identity, checked.identity.as_ref().map(drop).ok_or("wrong, or nobody is called so"));
        }
        checked.identity.ok_or(Unidentified::Refused)
    }

    async fn by_token(&self, token: &SecretString) -> Result<Known, Unidentified> {
        let mark = self.memory.mark("", token.expose_secret());
        if let Some(known) = mark.and_then(|mark| self.memory.recall(&mark)) {
            return known.ok_or(Unidentified::Refused);
        }
        match self.vouched(token).await {
            Ok(known) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let limit = Duration::from_secs(known.until.saturating_sub(now));
                mark.into_iter().for_each(|mark| self.memory.remember(mark, Some(known.clone()), limit));
                self.tell_of_login(&known.identity, Ok(()));
                Ok(known)
            }
            Err(refusal) => {
                self.tell_of_login(&"a token", Err(&refusal.to_string()));
                Err(if refusal == Refusal::Expired { Unidentified::Expired } else { Unidentified::Refused })
            }
        }
    }

    /// Whom a CI system vouches for by `token`.
    ///
    /// # Errors
    ///
    /// It does not, or is not believed. Why is not for whoever has shown the token.
    pub async fn vouched(&self, token: &SecretString) -> Result<Known, Refusal> {
        let Accepted { identity, until } = self.issuers.check(token.expose_secret()).await?;
        Ok(Known { identity, until, scope: None })
    }

    /// Who shows a pass, as they are known now: one who is gone is nobody.
    fn by_pass(&self, pass: &SecretString) -> Result<Known, Unidentified> {
        let taken = self.passes.as_ref().and_then(|passes| passes.take(pass.expose_secret()));
        let known = taken.and_then(|Taken { identity, scope, until }| {
            let identity = match identity {
                Identity::User { name, .. } => self.passwords.user(&name)?.clone(),
                Identity::Issued { ref issuer, .. } if !self.issuers.has(issuer) => return None,
                identity => identity,
            };
            Some(Known { identity, until, scope: Some(scope) })
        });
        known.ok_or_else(|| {
            self.tell_of_login(&"a pass", Err("it is not ours, or over, or its holder is gone"));
            Unidentified::Refused
        })
    }

    fn tell_of_login(&self, identity: &dyn fmt::Display, outcome: Result<(), &str>) {
        let identity = Some(identity.to_string().into());
        let result = if outcome.is_ok() { "accepted" } else { "refused" };
        let reason = outcome.err().map(Into::into);
        self.audit.tell(&Line { event: Event::Login, identity, result, reason, ..Line::default() });
    }
}

impl Default for Authenticator {
    /// One that knows nobody.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_trait::async_trait;

    use super::super::tokens::{Fetch, Trust};
    use super::*;

    /// Nobody is asked.
    struct Nobody;

    #[async_trait]
    impl Fetch for Nobody {
        async fn get(&self, url: &str, _: Option<&Trust>) -> Result<Vec<u8>, String> {
            panic!("{url}")
        }
    }

    fn authenticator(issuer: &str) -> Authenticator {
        let issuer = Issuer {
            name: issuer.into(),
            url: "https://ci.example".into(),
            audiences: Vec::new(),
            algorithms: Vec::new(),
            require: BTreeMap::new(),
            session: Duration::ZERO,
            keys: None,
            trust: None,
        };
        let passes = Passes::new("https://a".into(), &["a key of thirty-two bytes, or so".into()]);
        let ring = KeyRing::new(Arc::new(Nobody));
        Authenticator::new(Vec::new()).with_issuers(vec![issuer], &ring).with_passes(Some(passes))
    }

    #[tokio::test]
    async fn a_pass_of_a_job_counts_while_its_issuer_does() {
        let identity = Identity::Issued { issuer: "ci".into(), claims: Arc::default() };
        let (pass, _) = authenticator("ci").pass(&Known::always(identity.clone()), Scope::default()).unwrap();
        for (issuer, expected) in [("ci", Ok(identity)), ("other", Err(Unidentified::Refused))] {
            let known = authenticator(issuer).identify(&Presented::Token(pass.clone())).await;
            assert_eq!(known.map(|known| known.identity), expected, "{issuer}");
        }
    }
}
