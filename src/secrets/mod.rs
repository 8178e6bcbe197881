//! Secrets by name, and the values that refer to them.

mod mask;
mod name;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::SecretString;

pub use mask::Mask;
pub use name::{InvalidSecretName, SecretName};
pub use template::{MalformedTemplate, Template};

/// The secrets as they are now. Clones see the same ones.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<BTreeMap<SecretName, SecretString>>>);

/// A secret that is referred to and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret {name} is in none of the sources")]
pub struct Unresolved {
    /// Which one.
    pub name: SecretName,
}

impl Secrets {
    /// These, and no others. Names that are none are left out.
    pub fn of<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let secrets = secrets.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.to_owned().into())));
        Self(Arc::new(RwLock::new(secrets.collect())))
    }

    /// The secret `name`.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn get(&self, name: &SecretName) -> Result<SecretString, Unresolved> {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        secrets.get(name).cloned().ok_or_else(|| Unresolved { name: name.clone() })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}
