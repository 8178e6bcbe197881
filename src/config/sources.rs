//! What a configuration is made from, as the caller hands it over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::CONFIG;
use super::layers::{Layer, Source};
use super::problem::{Place, Problems};
use super::setting::Setting;
use crate::files;
use crate::secrets::is_exposed;

/// The folder beside the configuration file with a file for each of further profiles.
const PROFILES: &str = "profiles.d";

/// Largest file that is read: a thousand profiles have room in it.
const MAX_BYTES: usize = 1024 * 1024;

/// Most files of profiles.
const MAX_PROFILES: usize = 1024;

/// Flags, environment and files; nothing else is looked at.
#[derive(Default)]
pub struct Sources {
    /// What the command line says.
    pub flags: Flags,
    /// The variables of the process.
    pub environment: Environment,
    /// The file that the command line or a variable names, if one does.
    pub file: Option<File>,
    /// The files of `profiles.d` beside it, each a profile.
    pub profiles: Vec<File>,
    /// The files there that are none by their names.
    pub passed_over: Vec<PathBuf>,
}

/// A configuration file: what it is called, and what is in it.
#[derive(Clone)]
pub struct File {
    /// As the person who named it did.
    pub path: PathBuf,
    /// TOML.
    pub text: String,
    /// Whether everybody on this machine can read it.
    pub is_exposed: bool,
}

/// What the command line says: the file to read, and settings in the words of their author.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    settings: Vec<(&'static Setting, Vec<String>)>,
}

/// The variables of a process. They may hold secrets, so there is no `Debug`.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Sources {
    /// Reads the file that `flags` or `LONGSHORE_CONFIG` names, if either does, and
    /// `profiles.d/*.toml` beside it. No other file is ever read.
    ///
    /// # Errors
    ///
    /// One of them cannot be read.
    pub fn gather(flags: &Flags, environment: &Environment) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let file = named(flags, environment).map(|(path, place)| {
            let profiles = profiles_beside(&path, &mut problems);
            let passed_over = entries(&folder_beside(&path)).into_iter().flatten().filter(|it| !is_of_a_profile(it)).collect();
            (read(path, place, &mut problems), profiles, passed_over)
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let (file, profiles, passed_over) = file.unwrap_or_default();
        Ok(Self { flags: flags.clone(), environment: environment.clone(), file, profiles, passed_over })
    }

    /// The files and folders that were read, and that are worth a look for changes.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let folder = self.file.as_ref().map(|file| folder_beside(&file.path));
        self.file.iter().chain(&self.profiles).map(|file| file.path.clone()).chain(folder).collect()
    }

    /// The files and folders that [`gather`](Self::gather) would read, also where it cannot.
    pub(super) fn paths_to_read(flags: &Flags, environment: &Environment) -> Vec<PathBuf> {
        let Some((file, _)) = named(flags, environment) else { return Vec::new() };
        let folder = folder_beside(&file);
        let profiles = profiles_in(&folder).unwrap_or_default();
        [vec![file, folder], profiles].concat()
    }
}

/// The configuration file that is named, and where.
fn named(flags: &Flags, environment: &Environment) -> Option<(PathBuf, Place)> {
    let variable = || environment.get(CONFIG).map(|path| (PathBuf::from(path), Place::variable(CONFIG)));
    flags.config.clone().map(|path| (path, Place::flag("--config"))).or_else(variable)
}

/// Where the files of further profiles are.
fn folder_beside(file: &Path) -> PathBuf {
    file.with_file_name(PROFILES)
}

/// The files of profiles beside the file at `path`, by name.
fn profiles_beside(path: &Path, problems: &mut Problems) -> Vec<File> {
    let folder = folder_beside(path);
    let paths = match profiles_in(&folder) {
        Ok(paths) if paths.len() > MAX_PROFILES => Err(format!("has more than {MAX_PROFILES} profiles")),
        Ok(paths) => Ok(paths),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    match paths {
        Ok(paths) => paths.into_iter().filter_map(|path| read(path.clone(), whole(&path), problems)).collect(),
        Err(why) => {
            problems.push(whole(&folder), why);
            Vec::new()
        }
    }
}

/// The files of profiles in `folder`, by name.
fn profiles_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = entries(folder)?.filter(|path| is_of_a_profile(path)).take(MAX_PROFILES + 1).collect();
    paths.sort();
    Ok(paths)
}

/// What is in `folder`, except what editors and Kubernetes keep there for themselves.
fn entries(folder: &Path) -> std::io::Result<impl Iterator<Item = PathBuf>> {
    let is_hidden = |path: &PathBuf| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let paths = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(move |path| !is_hidden(path)))
}

/// A file that nobody has named.
fn whole(path: &Path) -> Place {
    Place::whole(&Arc::from(path.display().to_string()))
}

/// Whether a file is one of a profile.
fn is_of_a_profile(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// The file at `path`, which was named at `place`.
fn read(path: PathBuf, place: Place, problems: &mut Problems) -> Option<File> {
    let text = files::read(&path, MAX_BYTES).map_err(|error| error.to_string());
    match text.and_then(|bytes| std::str::from_utf8(&bytes).map(str::to_owned).map_err(|error| error.to_string())) {
        Ok(text) => Some(File { is_exposed: is_exposed(&path), path, text }),
        Err(why) => {
            problems.push(place, format!("{:?} cannot be read: {why}", path.display().to_string()));
            None
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

    /// All of them.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
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
