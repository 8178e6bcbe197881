//! What a source hands out.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use secrecy::{ExposeSecret, SecretString};

use super::error::Failure;

/// How long a token holds at most for us, whatever is said: no clock has room for everything that can be.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// Credentials, and how long they are good.
#[derive(Clone)]
pub(super) struct Grant {
    /// What names them in messages.
    pub(super) id: String,
    pub(super) secret: Secret,
    pub(super) lasts: Lasts,
}

/// What gets us in.
#[derive(Clone)]
pub(super) enum Secret {
    /// Keys that sign requests.
    Keys(Keys),
    /// A token that requests carry.
    Token(SecretString),
}

/// A part of a key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Names the key.
    AccessKeyId,
    /// Signs for it.
    SecretAccessKey,
    /// Comes with temporary keys.
    SessionToken,
}

impl Part {
    /// Whether `text` can be it.
    #[must_use]
    pub fn can_be(self, text: &str) -> bool {
        match self {
            // They become parts of headers.
            Self::AccessKeyId | Self::SessionToken => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            Self::SecretAccessKey => !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace()),
        }
    }

    /// What every such text is.
    #[must_use]
    pub fn rule(self) -> &'static str {
        match self {
            Self::AccessKeyId => "an access key id is letters, digits and signs of ASCII, and no spaces",
            Self::SessionToken => "a session token is letters, digits and signs of ASCII, and no spaces",
            Self::SecretAccessKey => "a secret access key has no spaces and no control characters in it, and is not empty",
        }
    }
}

/// How long credentials are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Until they are refused.
    ForGood,
    /// The same, but the source may have others at any time, and is cheap to look at.
    UntilReplaced,
    /// Until then, by the source's clock.
    Until(SystemTime),
}

impl Grant {
    /// A key pair.
    ///
    /// # Errors
    ///
    /// Half of it is empty, or something in it could not be sent.
    pub(super) fn keys(id: &str, secret: &str, token: Option<&str>, lasts: Lasts) -> Result<Self, Failure> {
        let [id, secret] = [id, secret].map(str::trim_end);
        let token = token.map(str::trim_end).filter(|token| !token.is_empty());
        let parts = [(Part::AccessKeyId, Some(id)), (Part::SecretAccessKey, Some(secret)), (Part::SessionToken, token)];
        if let Some((part, _)) = parts.iter().find(|(part, text)| text.is_some_and(|text| !part.can_be(text))) {
            return Err(Failure::lasting(format!("what it has is no key: {}", part.rule())));
        }
        let keys = Keys::new(id, secret, token.map(str::to_owned), None, "longshore");
        Ok(Self { id: id.to_owned(), secret: Secret::Keys(keys), lasts })
    }

    /// A token that is good for `lifetime` from now on, got for `id`.
    pub(super) fn token(id: String, token: &str, lifetime: Duration) -> Result<Self, Failure> {
        if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(Failure::lasting("the token is empty, or has characters in it that no token has"));
        }
        let lasts = Lasts::Until(SystemTime::now() + lifetime.min(LONGEST));
        Ok(Self { id, secret: Secret::Token(token.to_owned().into()), lasts })
    }
}

impl Secret {
    /// What in it must not show.
    pub(super) fn values(&self) -> Vec<SecretString> {
        match self {
            Self::Token(token) => vec![token.clone()],
            Self::Keys(keys) => {
                let texts = [keys.secret_access_key()].into_iter().chain(keys.session_token());
                texts.map(|text| SecretString::from(text.to_owned())).collect()
            }
        }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keys(one), Self::Keys(other)) => parts(one) == parts(other),
            (Self::Token(one), Self::Token(other)) => one.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

fn parts(keys: &Keys) -> (&str, &str, Option<&str>) {
    (keys.access_key_id(), keys.secret_access_key(), keys.session_token())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_said_to_hold_for_ever_is_taken() {
        let grant = Grant::token("id".to_owned(), "token", Duration::from_secs(u64::MAX));

        assert!(grant.is_ok_and(|grant| matches!(grant.lasts, Lasts::Until(_))));
    }
}
