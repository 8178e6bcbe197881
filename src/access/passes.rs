//! Passes: tokens that we give out ourselves, to be shown in place of a password (distribution v3, "Token Authentication Specification").
//!
//! A pass says who somebody is and what they asked for; what they may is
//! looked up each time. Whoever has the key takes it, so that any replica does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Identity;
use crate::oci::RepoName;

/// How long a pass is good for.
pub const LIFETIME: Duration = Duration::from_secs(300);

/// What each begins with, and what is signed before the rest so that no other use of the key makes one.
const PREFIX: &str = "longshore1.";

/// Most scopes that one pass is given for.
const MAX_SCOPES: usize = 32;

/// What is asked for with the catalog.
const CATALOG: &str = "registry:catalog:*";

/// Gives out passes, and takes them.
pub struct Passes {
    realm: String,
    /// The first signs; a pass may be signed with any.
    keys: Vec<hmac::Key>,
}

/// What somebody does with an image, as clients call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Reading.
    Pull,
    /// Writing.
    Push,
    /// Removing.
    Delete,
}

/// What a pass is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// What may be done with images.
    images: BTreeMap<String, Vec<Action>>,
    /// Whether they may be listed.
    catalog: bool,
}

/// What a pass says.
#[derive(Serialize, Deserialize)]
struct Said {
    holder: Holder,
    scope: Scope,
    /// Seconds after 1970.
    until: u64,
}

/// Whose it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Holder {
    Anonymous,
    User(String),
    Issued(String, BTreeMap<String, Vec<String>>),
}

/// A pass that was taken.
pub(super) struct Taken {
    /// Groups are not in it: those of now count.
    pub(super) identity: Identity,
    pub(super) scope: Scope,
    pub(super) until: u64,
}

impl Passes {
    /// Those that are fetched at `realm` and signed with the first of `keys`; those signed with the others count still.
    #[must_use]
    pub fn new(realm: String, keys: &[SecretString]) -> Self {
        let key = |secret: &SecretString| hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self { realm, keys: keys.iter().map(key).collect() }
    }

    /// Where they are fetched.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// A pass for `identity`, good until then at the latest, in seconds after 1970; and how long it is good for.
    pub(super) fn give(&self, identity: &Identity, scope: Scope, until: u64) -> Option<(SecretString, Duration)> {
        let now = now();
        let until = until.min(now + LIFETIME.as_secs());
        let holder = match identity {
            Identity::Anonymous => Holder::Anonymous,
            // A connection that shows a certificate needs no other word.
            Identity::Certified(_) => return None,
            Identity::User { name, .. } => Holder::User(name.to_string()),
            Identity::Issued { issuer, claims } => Holder::Issued(issuer.to_string(), (**claims).clone()),
        };
        let said = serde_json::to_vec(&Said { holder, scope, until }).ok()?;
        let said = BASE64URL_NOPAD.encode(&said);
        let signature = BASE64URL_NOPAD.encode(hmac::sign(self.keys.first()?, &self.signed(&said)).as_ref());
        Some((format!("{PREFIX}{said}.{signature}").into(), Duration::from_secs(until.saturating_sub(now))))
    }

    /// What a pass says, if it is one of ours and still good.
    pub(super) fn take(&self, text: &str) -> Option<Taken> {
        let (said, signature) = text.strip_prefix(PREFIX)?.split_once('.')?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        let signed = self.signed(said);
        self.keys.iter().find(|key| hmac::verify(key, &signed, &signature).is_ok())?;
        let Said { holder, scope, until } = serde_json::from_slice(&BASE64URL_NOPAD.decode(said.as_bytes()).ok()?).ok()?;
        let identity = match holder {
            Holder::Anonymous => Identity::Anonymous,
            Holder::User(name) => Identity::User { name: name.into(), groups: [].into() },
            Holder::Issued(issuer, claims) => Identity::Issued { issuer: issuer.into(), claims: Arc::new(claims) },
        };
        (until > now()).then_some(Taken { identity, scope, until })
    }

    /// What a signature is over: where two services share a key, the passes of one are not the other's.
    fn signed(&self, said: &str) -> Vec<u8> {
        [PREFIX, &self.realm, "\n", said].concat().into_bytes()
    }
}

/// Whether `text` looks like a pass.
pub(super) fn is_pass(text: &str) -> bool {
    text.starts_with(PREFIX)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Scope {
    /// What `wanted` asks for, each part such as `repository:org/app:pull,push`, as far as `allows` lets it be had.
    pub fn granted<'a>(wanted: impl Iterator<Item = &'a str>, allows: impl Fn(&RepoName, Action) -> bool) -> Self {
        let mut scope = Self::default();
        for part in wanted.take(MAX_SCOPES) {
            scope.catalog |= part == CATALOG;
            let Some((name, actions)) = part.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':')) else { continue };
            let Ok(image) = name.parse::<RepoName>() else { continue };
            let actions =
                actions.split(',').flat_map(|word| Action::named(word).iter().copied()).filter(|action| allows(&image, *action));
            let granted = scope.images.entry(name.to_owned()).or_default();
            granted.extend(actions);
            granted.sort_unstable();
            granted.dedup();
        }
        scope
    }

    /// Whether `action` on `image` is in it. Some clients ask to push where they remove.
    #[must_use]
    pub fn has(&self, image: &RepoName, action: Action) -> bool {
        let is_enough = |given: &Action| *given == action || (action == Action::Delete && *given == Action::Push);
        self.images.get(image.as_str()).is_some_and(|given| given.iter().any(is_enough))
    }

    /// Whether listing images is in it.
    #[must_use]
    pub fn has_catalog(&self) -> bool {
        self.catalog
    }
}

impl Action {
    /// What a word asks for; `*` is everything.
    fn named(word: &str) -> &'static [Self] {
        match word {
            "pull" => &[Self::Pull],
            "push" => &[Self::Push],
            "delete" => &[Self::Delete],
            "*" => &[Self::Pull, Self::Push, Self::Delete],
            _ => &[],
        }
    }

    /// The words that a client is told to ask with, to do this with `image`.
    #[must_use]
    pub fn scope(self, image: &RepoName) -> String {
        let actions = match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        };
        format!("repository:{image}:{actions}")
    }

    /// The words to ask with for the catalog.
    #[must_use]
    pub fn catalog_scope() -> String {
        CATALOG.to_owned()
    }
}

impl std::fmt::Debug for Passes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passes({})", self.realm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a key of thirty-two bytes, or so";

    fn passes(realm: &str, keys: &[&str]) -> Passes {
        Passes::new(realm.to_owned(), &keys.iter().map(|&key| key.into()).collect::<Vec<_>>())
    }

    fn alice() -> Identity {
        Identity::User { name: "alice".into(), groups: [].into() }
    }

    fn given(passes: &Passes, until: u64) -> String {
        let scope = Scope::granted(["repository:app:pull"].into_iter(), |_, _| true);
        passes.give(&alice(), scope, until).unwrap().0.expose_secret().to_owned()
    }

    #[test]
    fn a_pass_is_taken_by_whoever_has_the_key_for_that_realm() {
        let pass = given(&passes("https://a", &[KEY]), u64::MAX);
        for (realm, keys, is_taken) in [
            ("https://a", &[KEY][..], true),
            ("https://a", &["a new key", KEY], true),
            ("https://a", &["a new key"], false),
            ("https://b", &[KEY], false),
        ] {
            let taken = passes(realm, keys).take(&pass);
            assert_eq!(taken.map(|taken| taken.identity), is_taken.then(alice), "{realm} {keys:?}");
        }
    }

    #[test]
    fn what_is_changed_or_over_is_no_pass() {
        let passes = passes("https://a", &[KEY]);
        let pass = given(&passes, u64::MAX);
        let (said, signature) = pass.split_once('.').unwrap().1.split_once('.').unwrap();
        let other = BASE64URL_NOPAD.encode(
            String::from_utf8(BASE64URL_NOPAD.decode(said.as_bytes()).unwrap()).unwrap().replace("alice", "carol").as_bytes(),
        );
        for text in [
            String::new(),
            PREFIX.to_owned(),
            format!("{PREFIX}{said}"),
            format!("{PREFIX}{said}."),
            format!("{PREFIX}{other}.{signature}"),
            format!("{PREFIX}{said}.{}", &signature[1..]),
            format!("{said}.{signature}"),
            given(&passes, now() - 1),
        ] {
            assert!(passes.take(&text).is_none(), "{text}");
        }
        assert!(passes.take(&pass).is_some());
    }

    #[test]
    fn who_shows_a_certificate_is_given_none() {
        let certified = Identity::Certified(Arc::default());

        assert!(passes("https://a", &[KEY]).give(&certified, Scope::default(), u64::MAX).is_none());
    }

    #[test]
    fn what_is_asked_for_is_granted_in_part() {
        let allows = |image: &RepoName, action| image.as_str() == "org/app" || action == Action::Pull;
        let wanted =
            ["repository:org/app:pull,push", "repository:other:pull,push,delete", "repository:x:*", "registry:catalog:*"];
        let wanted = wanted.into_iter().chain(["repository:A:pull", "repository:y", "plugin:z:pull", "repository:w:fly"]);

        let scope = Scope::granted(wanted, allows);

        for (image, action, expected) in [
            ("org/app", Action::Pull, true),
            ("org/app", Action::Push, true),
            ("org/app", Action::Delete, true),
            ("other", Action::Pull, true),
            ("other", Action::Push, false),
            ("x", Action::Pull, true),
            ("x", Action::Delete, false),
            ("w", Action::Pull, false),
            ("unasked", Action::Pull, false),
        ] {
            assert_eq!(scope.has(&image.parse().unwrap(), action), expected, "{image} {action:?}");
        }
        assert!(scope.has_catalog() && !Scope::default().has_catalog());
    }
}
