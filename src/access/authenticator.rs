//! Who somebody is, by what they present.

use secrecy::SecretString;

use super::Identity;
use super::passwords::{Passwords, User};

/// Finds out who clients are.
#[derive(Debug)]
pub struct Authenticator {
    passwords: Passwords,
    over_plain_http: bool,
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

/// What was presented is nobody's, or is no longer good. The message says no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user name and password, or the token, are not accepted")]
pub struct Unidentified;

impl Default for Authenticator {
    /// One that knows nobody.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Authenticator {
    /// One that knows these.
    #[must_use]
    pub fn new(users: Vec<User>) -> Self {
        Self { passwords: Passwords::of(users), over_plain_http: false }
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
        !self.passwords.is_empty()
    }

    /// Who presents this.
    ///
    /// # Errors
    ///
    /// Something was presented, and it is not accepted.
    pub async fn identify(&self, presented: &Presented) -> Result<Identity, Unidentified> {
        match presented {
            Presented::Nothing => Ok(Identity::Anonymous),
            _ if !self.is_offered() => Ok(Identity::Anonymous),
            Presented::Password { user, password } => {
                let checked = self.passwords.check(user, password).await;
                if checked.is_news {
                    tell_of_login(user, checked.identity.is_some());
                }
                checked.identity.ok_or(Unidentified)
            }
            Presented::Token(_) => {
                tracing::info!(target: super::AUDIT, event = "login", result = "refused", "token refused");
                Err(Unidentified)
            }
        }
    }
}

fn tell_of_login(user: &str, is_right: bool) {
    let identity = Identity::User { name: user.into(), groups: [].into() };
    let result = if is_right { "accepted" } else { "refused" };
    tracing::info!(target: super::AUDIT, event = "login", %identity, result, "password checked");
}
