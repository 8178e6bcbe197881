//! The variables of a process that have to do with secrets.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::SecretName;
use super::value::{Found, value};

/// What the variable of a secret begins with; its name is the rest, letter for letter.
const PREFIX: &str = "LONGSHORE_SECRET_";

/// Names that no secret of the environment can have, since their variables mean
/// something else: the key to sealed secrets, and the setting `LONGSHORE_SECRET_ACCESS_KEY`.
const TAKEN: [&str; 5] = ["KEY", "KEY_FILE", "NEW_KEY", "NEW_KEY_FILE", "ACCESS_KEY"];

/// The variables that have to do with secrets, as they were when the process began. There is no `Debug`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The value of a variable, as it is.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// The secrets that variables hold.
    pub(super) fn secrets(&self) -> impl Iterator<Item = (SecretName, Found)> {
        let names = self.0.iter().filter_map(|(variable, text)| Some((variable.strip_prefix(PREFIX)?, text)));
        let secrets = names.filter(|(name, _)| !TAKEN.contains(name));
        secrets.filter_map(|(name, text)| Some((name.parse().ok()?, value(text.as_bytes()))))
    }

    /// Whether a variable of the secret `name` would mean something else.
    pub(super) fn cannot_hold(name: &SecretName) -> bool {
        TAKEN.contains(&name.as_str())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let named = variables.into_iter().filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())));
        Self(named.filter(|(name, _)| name.starts_with(PREFIX) || name == super::sealed::GOCDNEXT_KEY).collect())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_what_follows_the_prefix_unless_that_means_something_else() {
        let variables = [
            ("LONGSHORE_SECRET_TEAM_B", "b\n"),
            ("LONGSHORE_SECRET_a.b-c", "c"),
            ("LONGSHORE_SECRET_KEY", "no"),
            ("LONGSHORE_SECRET_KEY_FILE", "no"),
            ("LONGSHORE_SECRET_NEW_KEY", "no"),
            ("LONGSHORE_SECRET_NEW_KEY_FILE", "no"),
            ("LONGSHORE_SECRET_ACCESS_KEY", "no"),
            ("LONGSHORE_SECRET_", "no"),
            ("LONGSHORE_SECRET__A", "no"),
            ("LONGSHORE_TEAM_B", "no"),
            ("GOCDNEXT_SECRET_KEY", "no"),
        ];

        let environment: Environment = variables.into_iter().collect();

        let found: Vec<_> =
            environment.secrets().map(|(name, value)| (name.to_string(), value.unwrap().expose_secret().to_owned())).collect();
        assert_eq!(found, [("TEAM_B".into(), "b".into()), ("a.b-c".into(), "c".to_owned())]);
    }
}
