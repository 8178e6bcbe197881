//! Secrets by name, the values that refer to them, and the mask that keeps them out of what is said.
//!
//! A name is looked up in the sources in their order, and the first that has
//! it decides. A source that cannot be read is a mistake at once; a value in
//! it that cannot be used is one for whoever refers to it. All values are read
//! when the sources are opened, and again when that is asked for: a lookup
//! touches no file.

mod directory;
mod environment;
mod mask;
mod name;
mod sealed;
mod source;
mod template;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

pub use environment::Environment;
pub use mask::Mask;
pub use name::{InvalidSecretName, SecretName};
pub use sealed::{KeyError, SealKey, SealedError, SealedFile, SealedSecret, SealedSecrets, Was};
pub use source::{InvalidSource, Source, places};
pub use template::{MalformedTemplate, Template};
use value::Found;
pub use value::{Flaw, MAX_BYTES as MAX_SECRET_BYTES, value};

/// The secrets as they are now. Clones see the same ones.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    environment: Arc<Environment>,
    held: RwLock<Arc<Held>>,
}

/// What the sources had when they were read last.
#[derive(Default)]
struct Held {
    sources: Vec<Source>,
    values: BTreeMap<SecretName, (Source, Found)>,
    places: Vec<PathBuf>,
    plain_files: Vec<PathBuf>,
}

/// What is wrong with the sources of secrets. The messages name source and secret, and hold no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A source that cannot be read.
    #[error("{origin}: {why}")]
    Source {
        /// Which one.
        origin: Source,
        /// What is wrong with it.
        why: String,
    },
    /// A secret that could be used and no longer can.
    #[error(transparent)]
    Secret(#[from] Unresolved),
}

/// A secret that is referred to and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret {name}{why}")]
pub struct Unresolved {
    /// Which one.
    pub name: SecretName,
    /// Why.
    pub why: Lack,
}

/// Why a secret cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// No source has it.
    #[error(" is in none of the sources")]
    Absent,
    /// No source has it, and the environment never could.
    #[error(" is in none of the sources, and the environment cannot have it: LONGSHORE_SECRET_{0} means something else")]
    Taken(SecretName),
    /// The first source that has it has no usable value.
    #[error(", from {origin}, {flaw}")]
    Unfit {
        /// Which source.
        origin: Source,
        /// What is wrong with the value.
        flaw: Flaw,
    },
}

/// The secrets that are other than before, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// There were none of these.
    pub added: Vec<SecretName>,
    /// These have another value.
    pub changed: Vec<SecretName>,
    /// There are none of these any more.
    pub removed: Vec<SecretName>,
}

impl Secrets {
    /// The secrets of `sources`, of which the first that has a name decides.
    ///
    /// # Errors
    ///
    /// Every source that cannot be read.
    pub fn open(sources: Vec<Source>, environment: Environment) -> Result<Self, Vec<Mistake>> {
        let held = RwLock::new(Arc::new(Held::read(sources, &environment)?));
        Ok(Self(Arc::new(Inner { environment: Arc::new(environment), held })))
    }

    /// These, and no others. Names that are none, and values that cannot be used, are left out.
    pub fn of<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let found =
            |(name, text): (&str, &str)| Some((name.parse().ok()?, (Source::Environment, Ok(value(text.as_bytes()).ok()?))));
        let values = secrets.into_iter().filter_map(found).collect();
        Self(Arc::new(Inner { held: RwLock::new(Arc::new(Held { values, ..Held::default() })), ..Inner::default() }))
    }

    /// The secret `name`.
    ///
    /// # Errors
    ///
    /// No source has it, or the first that does has nothing usable.
    pub fn get(&self, name: &SecretName) -> Result<SecretString, Unresolved> {
        let held = self.held();
        let why = match held.values.get(name) {
            Some((_, Ok(value))) => return Ok(value.clone()),
            Some((origin, Err(flaw))) => Lack::Unfit { origin: origin.clone(), flaw: flaw.clone() },
            None if held.sources.contains(&Source::Environment) && Environment::cannot_hold(name) => Lack::Taken(name.clone()),
            None => Lack::Absent,
        };
        Err(Unresolved { name: name.clone(), why })
    }

    /// The secrets as they are at this moment, whatever is put in force later: of a pair, one half is never older.
    #[must_use]
    pub fn now(&self) -> Self {
        Self(Arc::new(Inner { environment: Arc::clone(&self.0.environment), held: RwLock::new(self.held()) }))
    }

    /// Whether both have the same, and had it put in force by the same reading.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held(), &other.held())
    }

    /// Reads all sources again and puts what they have in force; what has changed.
    ///
    /// # Errors
    ///
    /// Every source that cannot be read, and every secret that could be used
    /// until now and no longer can. Then all stays as it is.
    pub fn reload(&self) -> Result<Changes, Vec<Mistake>> {
        let next = self.reread()?;
        let was_good = |name: &&SecretName| self.get(name).is_ok();
        let next_held = next.held();
        let lost = next_held.values.keys().filter(was_good).filter_map(|name| next.get(name).err());
        let mistakes: Vec<Mistake> = lost.map(Mistake::from).collect();
        if mistakes.is_empty() { Ok(self.adopt(&next)) } else { Err(mistakes) }
    }

    /// What the sources have now, without putting it in force: so that whoever
    /// refers to secrets can be asked first whether all of it will do.
    ///
    /// # Errors
    ///
    /// Every source that cannot be read.
    pub fn reread(&self) -> Result<Self, Vec<Mistake>> {
        Self::open(self.held().sources.clone(), (*self.0.environment).clone())
    }

    /// Puts what `next` has in force here, its sources too; what has changed.
    pub fn adopt(&self, next: &Self) -> Changes {
        let next = next.held();
        let mut held = self.0.held.write().unwrap_or_else(PoisonError::into_inner);
        let changes = Changes::between(&held, &next);
        *held = next;
        changes
    }

    /// All values that can be used, for a [`Mask`].
    #[must_use]
    pub fn values(&self) -> Vec<SecretString> {
        self.held().values.values().filter_map(|(_, found)| found.clone().ok()).collect()
    }

    /// The files and directories that the sources were read from: when one of
    /// them changes, it is time to [`reload`](Self::reload).
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let held = self.held();
        held.places.iter().chain(&held.plain_files).cloned().collect()
    }

    /// The files that others on this machine may read who have secrets from them: plain ones, and that of a key.
    #[must_use]
    pub fn exposed(&self) -> Vec<PathBuf> {
        self.held().plain_files.iter().filter(|path| is_exposed(path)).cloned().collect()
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.0.held.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn read(sources: Vec<Source>, environment: &Environment) -> Result<Self, Vec<Mistake>> {
        let mut held = Self::default();
        let mut mistakes = Vec::new();
        for source in &sources {
            match source.read(environment) {
                Ok(reading) => {
                    held.places.extend(reading.places);
                    held.plain_files.extend(reading.plain_files);
                    for (name, found) in reading.values {
                        held.values.entry(name).or_insert_with(|| (source.clone(), found));
                    }
                }
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(Self { sources, ..held }) } else { Err(mistakes) }
    }

    /// The value of `name`, if there is one that can be used.
    fn value(&self, name: &SecretName) -> Option<&str> {
        self.values.get(name)?.1.as_ref().ok().map(ExposeSecret::expose_secret)
    }
}

impl Changes {
    /// Whether all is as before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// All of them.
    #[must_use]
    pub fn names(self) -> Vec<SecretName> {
        [self.added, self.changed, self.removed].concat()
    }

    fn between(before: &Held, after: &Held) -> Self {
        let mut changes = Self::default();
        for name in before.values.keys().chain(after.values.keys()).collect::<BTreeSet<_>>() {
            match (before.value(name), after.value(name)) {
                (None, Some(_)) => changes.added.push(name.clone()),
                (Some(_), None) => changes.removed.push(name.clone()),
                (before, after) if before != after => changes.changed.push(name.clone()),
                _ => (),
            }
        }
        changes
    }
}

/// Whether everybody on this machine may read the file at `path`, the directories above it allowing.
#[must_use]
pub fn is_exposed(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let may = |path: &Path, mode| std::fs::metadata(path).is_ok_and(|it| it.permissions().mode() & mode != 0);
    may(&path, 0o004) && path.ancestors().skip(1).all(|directory| may(directory, 0o001))
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests;
