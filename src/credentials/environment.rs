//! The process's variables, as a value.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// What the names of variables begin with that say something of credentials; and `HOME`.
const PREFIXES: &[&str] = &["AWS_", "GCE_METADATA_"];

/// Variables that Amazon's and Google's own tools heed. `Debug` shows their names only.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, SecretString>);

impl Environment {
    /// Those of `variables` that matter here. An empty one counts as unset.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let matters = |name: &str| name == "HOME" || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let variables = variables.into_iter().filter(|(name, value)| matters(name) && !value.is_empty());
        Self(variables.map(|(name, value)| (name, value.into())).collect())
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.expose_secret())
    }

    /// The same, as a value of its own.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
