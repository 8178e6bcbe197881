//! What a configuration is made from, as the caller hands it over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::environment::CONFIG;
use super::layers::Layer;
use super::problem::{Place, Problems, Source};
use super::setting::Setting;

/// Flags, environment and file; nothing else is looked at.
#[derive(Default)]
pub struct Sources {
    /// What the command line says.
    pub flags: Flags,
    /// The variables of the process.
    pub environment: Environment,
    /// The file that the command line or a variable names, if one does.
    pub file: Option<File>,
}

/// A configuration file: what it is called, and what is in it.
pub struct File {
    /// As the person who named it did.
    pub path: PathBuf,
    /// TOML.
    pub text: String,
}

/// What the command line says: the file to read, and settings in the words of their author.
#[derive(Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    settings: Vec<(&'static Setting, Vec<String>)>,
}

/// The variables of a process. They may hold secrets, so there is no `Debug`.
#[derive(Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Sources {
    /// Reads the file that `flags` or `LONGSHORE_CONFIG` names, if either does. No other file is ever read.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn gather(flags: Flags, environment: Environment) -> Result<Self, Problems> {
        let variable = || environment.get(CONFIG).map(|path| (PathBuf::from(path), Place::variable(Source::Environment, CONFIG)));
        let named = flags.config.clone().map(|path| (path, Place::flag("--config"))).or_else(variable);
        let file = named.map(|(path, place)| read(path, place)).transpose()?;
        Ok(Self { flags, environment, file })
    }
}

/// The file at `path`, which was named at `place`.
fn read(path: PathBuf, place: Place) -> Result<File, Problems> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(File { path, text }),
        Err(error) => {
            let mut problems = Problems::none(None);
            problems.push(place, format!("{:?} cannot be read: {error}", path.display().to_string()));
            Err(problems)
        }
    }
}

impl Flags {
    /// Takes in one flag, with all the values it was given.
    pub fn state(&mut self, setting: &'static Setting, values: Vec<String>) {
        self.settings.push((setting, values));
    }

    /// What the flags state.
    pub(super) fn layer(&self) -> Layer {
        let mut layer = Layer::new(Source::CommandLine);
        for (setting, values) in &self.settings {
            layer.state_text(setting, &values.join(","), &Place::flag(&setting.flag().unwrap_or_default()));
        }
        layer
    }
}

impl Environment {
    /// The value of a variable, as it is.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The names that are text, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.to_str())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
