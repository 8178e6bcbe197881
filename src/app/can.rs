//! What somebody may do, and the rule that decides it, without serving anybody.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::SecretString;
use serde_json::Value;

use super::rules::rules;
use super::running::{access, authenticator, key_ring};
use crate::access::{Grants, Identity, Known, Part, Rule, Ruling, Standing, Verb, claims, reached};
use crate::config::Config;
use crate::oci::{RepoName, Tag};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Setting a tag.
    Push,
    /// Reading what it names.
    Pull,
    /// Removing it.
    Delete,
}

/// Somebody, something, and what is to be done with it, in the words of whoever asks.
#[derive(Clone, Debug)]
pub struct Question {
    /// `anonymous`, the name of a user, or that of an issuer where there are claims.
    pub identity: String,
    /// What the issuer's token says, in JSON.
    pub claims: Option<String>,
    /// A token of the issuer.
    pub token: Option<SecretString>,
    /// What is to be done.
    pub deed: Deed,
    /// `IMAGE:TAG`.
    pub object: String,
}

/// Whether it may be done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may.
    pub is_allowed: bool,
    /// The answer and the rule that decides, in a line; before it one for who a token says that it is.
    pub text: String,
}

/// A question that has no answer. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoQuestion(String);

/// Who may what, as `config` has it.
///
/// # Errors
///
/// The question makes no sense.
pub async fn can(config: &Config, question: &Question) -> Result<Decision, NoQuestion> {
    let Some(token) = &question.token else { return decided(config, question, &identity(config, question)?) };
    let known = match authenticator(config, &key_ring()).vouched(token).await {
        Ok(known) => known,
        Err(refusal) => {
            return Ok(Decision { is_allowed: false, text: format!("denied: the token is not accepted: {refusal}") });
        }
    };
    let decision = decided(config, question, &of_issuer(&known.identity, &question.identity)?)?;
    Ok(Decision { text: format!("{}\n{decision}", presented(&known)), ..decision })
}

/// The one a token says that it is, who must be one of `name`'s.
fn of_issuer(identity: &Identity, name: &str) -> Result<Identity, NoQuestion> {
    match identity {
        Identity::Issued { issuer, .. } if **issuer != *name => {
            Err(NoQuestion(format!("the token is one of {issuer}'s, not of {name:?}")))
        }
        identity => Ok(identity.clone()),
    }
}

/// Who it is, and how long the token counts.
fn presented(known: &Known) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{}, for another {} s", known.identity, known.until.saturating_sub(now))
}

fn decided(config: &Config, question: &Question, identity: &Identity) -> Result<Decision, NoQuestion> {
    let (image, tag) = object(&question.object)?;
    let profile = match reached(&config.profiles, &image, identity) {
        Ok(profile) => profile,
        Err(unplaced) => return Ok(Decision { is_allowed: false, text: format!("denied: {unplaced}") }),
    };
    let (grants, rules) = (Grants::new(config.access.grants.clone()), rules(profile));
    let standing = Standing::new(&grants, access(config.access.anonymous), identity, &image);
    let standing = standing.with_separator(rules.separator(&image));
    let part = Part::Tag(&tag);
    let ruling = standing.rule(question.deed.verb(), part);
    let more = match (question.deed, ruling) {
        (Deed::Push, Ruling::Allowed(_)) if !standing.rule(Verb::Create, part).is_allowed() => {
            "; but not as the first tag of the image, which takes create"
        }
        _ => "",
    };
    Ok(Decision { is_allowed: ruling.is_allowed(), text: format!("{}{more}", told(ruling, question.deed)) })
}

fn told(ruling: Ruling<'_>, deed: Deed) -> String {
    let by = |what: &str, rule: Rule<'_>| format!("{what} by {rule}");
    match (ruling, deed) {
        (Ruling::Allowed(rule), _) => by("allowed", rule),
        (Ruling::Instead(rule), Deed::Pull) => by("denied, and told to be absent,", rule),
        (Ruling::Instead(rule), _) => by("taken and not kept", rule),
        (Ruling::Denied, _) => format!("denied: {}", ruling.why()),
    }
}

/// Who is asked about.
fn identity(config: &Config, question: &Question) -> Result<Identity, NoQuestion> {
    let name = question.identity.as_str();
    if let Some(text) = &question.claims {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
            return Err(NoQuestion("the claims are no object of JSON".into()));
        };
        return Ok(Identity::Issued { issuer: name.into(), claims: Arc::new(claims(&fields)) });
    }
    if name == "anonymous" {
        return Ok(Identity::Anonymous);
    }
    let user = config.access.users.iter().find(|user| *user.name == *name);
    let user = user.ok_or_else(|| {
        NoQuestion(format!("no user is called {name:?}; an issuer takes --claims FILE beside it, or --token FILE"))
    })?;
    Ok(Identity::User { name: Arc::clone(&user.name), groups: user.groups.clone().into() })
}

fn object(text: &str) -> Result<(RepoName, Tag), NoQuestion> {
    let (image, tag) = text.rsplit_once(':').ok_or_else(|| NoQuestion(format!("{text:?} is no IMAGE:TAG")))?;
    let image = image.parse().map_err(|error| NoQuestion(format!("{image:?}: {error}")))?;
    let tag = tag.parse().map_err(|error| NoQuestion(format!("{tag:?}: {error}")))?;
    Ok((image, tag))
}

impl Deed {
    fn verb(self) -> Verb {
        match self {
            Self::Push => Verb::Write,
            Self::Pull => Verb::Read,
            Self::Delete => Verb::Delete,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
