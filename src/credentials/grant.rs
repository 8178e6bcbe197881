//! What a source hands out.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as Keys;
use secrecy::{ExposeSecret, SecretString};

use super::error::Failure;

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
        // The first and the last become parts of headers.
        let is_header = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        for (name, value, is_good) in [
            ("access key id", id, is_header(id)),
            ("secret access key", secret, !secret.contains(char::is_control)),
            ("session token", token.unwrap_or("-"), token.is_none_or(is_header)),
        ] {
            if value.is_empty() || !is_good {
                return Err(Failure::lasting(format!("the {name} is empty, or has characters in it that none has")));
            }
        }
        let keys = Keys::new(id, secret, token.map(str::to_owned), None, "longshore");
        Ok(Self { id: id.to_owned(), secret: Secret::Keys(keys), lasts })
    }

    /// A token that is good for `lifetime` from now on, got for `id`.
    pub(super) fn token(id: String, token: &str, lifetime: Duration) -> Result<Self, Failure> {
        if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(Failure::lasting("the token is empty, or has characters in it that no token has"));
        }
        let lasts = Lasts::Until(SystemTime::now() + lifetime);
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
