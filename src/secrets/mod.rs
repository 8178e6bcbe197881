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
mod tests {
    use std::fs::{remove_file, write};

    use super::*;

    const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    /// Secrets of a folder `secrets` and a file `sealed` in `folder`, then of the environment.
    struct World {
        folder: tempfile::TempDir,
        environment: Environment,
    }

    impl World {
        fn new(variables: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("secrets")).unwrap();
            let environment = variables.iter().chain(&[("LONGSHORE_SECRET_KEY", KEY)]).copied().collect();
            Self { folder, environment }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn seal(&self, name: &str, text: &str) {
            let key = SealKey::from_environment(&self.environment).unwrap();
            let value = value(text.as_bytes()).unwrap();
            SealedFile::new(self.path("sealed")).set(&key, vec![(name.parse().unwrap(), value)]).unwrap();
        }

        /// `sources` with their paths in the folder.
        fn open(&self, sources: &[&str]) -> Result<Secrets, Vec<String>> {
            let at = |source: &&str| source.replace('@', &format!("{}/", self.folder.path().display())).parse().unwrap();
            let opened = Secrets::open(sources.iter().map(at).collect(), self.environment.clone());
            opened.map_err(|mistakes| self.told(&mistakes))
        }

        fn told(&self, mistakes: &[Mistake]) -> Vec<String> {
            mistakes.iter().map(|mistake| mistake.to_string().replace(self.folder.path().to_str().unwrap(), "@")).collect()
        }
    }

    fn get(secrets: &Secrets, name: &str) -> Result<String, String> {
        let value = secrets.get(&name.parse().unwrap());
        value.map(|value| value.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_source_that_has_a_name_decides() {
        let world = World::new(&[("LONGSHORE_SECRET_A", "of env"), ("LONGSHORE_SECRET_B", "of env")]);
        world.seal("A", "of sealed");
        write(world.path("secrets/A"), "of dir").unwrap();
        write(world.path("single"), "of file").unwrap();
        for (sources, a) in [
            (&["sealed:@sealed", "env", "dir:@secrets", "file:A=@single"][..], "of sealed"),
            (&["env", "sealed:@sealed", "dir:@secrets"], "of env"),
            (&["dir:@secrets", "env"], "of dir"),
            (&["file:A=@single", "sealed:@sealed"], "of file"),
        ] {
            assert_eq!(get(&world.open(sources).unwrap(), "A").as_deref(), Ok(a), "{sources:?}");
        }
        assert_eq!(get(&world.open(&["dir:@secrets", "env"]).unwrap(), "B").as_deref(), Ok("of env"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_told_to_who_refers_to_it_and_nothing_stands_in_for_it() {
        let world =
            World::new(&[("LONGSHORE_SECRET_EMPTY", ""), ("LONGSHORE_SECRET_A", "a"), ("LONGSHORE_SECRET_ACCESS_KEY", "no")]);
        for (name, bytes) in [("LINES", &b"MARK\nMARK"[..]), ("A", b"\n"), ("BYTES", b"MARK\xff")] {
            write(world.path("secrets").join(name), bytes).unwrap();
        }

        let secrets = world.open(&["dir:@secrets", "env"]).unwrap();

        let dir = format!("dir:{}", world.path("secrets").display());
        for (name, told) in [
            ("A", format!("secret A, from {dir}, is empty")),
            ("LINES", format!("secret LINES, from {dir}, has a control character in it, such as a line break")),
            ("BYTES", format!("secret BYTES, from {dir}, is not UTF-8")),
            ("EMPTY", "secret EMPTY, from env, is empty".into()),
            ("NONE", "secret NONE is in none of the sources".into()),
            (
                "ACCESS_KEY",
                "secret ACCESS_KEY is in none of the sources, and the environment cannot have it: \
                 LONGSHORE_SECRET_ACCESS_KEY means something else"
                    .into(),
            ),
        ] {
            assert_eq!(get(&secrets, name), Err(told));
        }
    }

    #[test]
    fn every_source_that_cannot_be_read_is_told_at_once() {
        let world = World::new(&[]);
        write(world.path("plain"), "MARK").unwrap();

        let mistakes = world.open(&["sealed:@nowhere", "env", "sealed:@plain", "dir:@nowhere", "file:A=@nowhere"]).unwrap_err();

        assert_eq!(
            mistakes,
            [
                "sealed:@/nowhere: there is no such file; longshore secret set NAME makes it",
                "sealed:@/plain: is not a file of sealed secrets",
                "dir:@/nowhere: No such file or directory (os error 2)",
                "file:A=@/nowhere: No such file or directory (os error 2)",
            ]
        );
    }

    #[test]
    fn a_key_that_is_wrong_or_missing_opens_nothing() {
        let mut world = World::new(&[]);
        world.seal("A", "a");

        world.environment = [("LONGSHORE_SECRET_KEY", "f".repeat(64))].into_iter().collect();
        assert_eq!(
            world.open(&["sealed:@sealed"]).unwrap_err(),
            ["sealed:@/sealed: is sealed with another key than LONGSHORE_SECRET_KEY has"]
        );
        world.environment = Environment::default();
        assert!(world.open(&["sealed:@sealed"]).unwrap_err()[0].starts_with("sealed:@/sealed: there is no key: set LONGSHORE_"));
    }

    #[test]
    fn a_reload_puts_all_that_has_changed_in_force_and_tells_the_names() {
        let world = World::new(&[]);
        for (name, text) in [("KEPT", "k"), ("CHANGED", "old"), ("REMOVED", "r")] {
            write(world.path("secrets").join(name), text).unwrap();
        }
        world.seal("SEALED", "old");
        let secrets = world.open(&["dir:@secrets", "sealed:@sealed"]).unwrap();
        let seen_elsewhere = secrets.clone();
        assert_eq!(secrets.reload(), Ok(Changes::default()));

        write(world.path("secrets/CHANGED"), "new").unwrap();
        write(world.path("secrets/ADDED"), "a").unwrap();
        remove_file(world.path("secrets/REMOVED")).unwrap();
        world.seal("SEALED", "new");
        let changes = secrets.reload().unwrap();

        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<SecretName>>();
        let expected = Changes { added: names(&["ADDED"]), changed: names(&["CHANGED", "SEALED"]), removed: names(&["REMOVED"]) };
        assert_eq!(changes, expected);
        assert_eq!(get(&seen_elsewhere, "CHANGED").as_deref(), Ok("new"));
        assert!(get(&seen_elsewhere, "REMOVED").is_err());
    }

    #[test]
    fn a_reload_with_one_mistake_changes_nothing() {
        let world = World::new(&[]);
        write(world.path("secrets/A"), "a").unwrap();
        write(world.path("secrets/B"), "b").unwrap();
        world.seal("SEALED", "old");
        let secrets = world.open(&["dir:@secrets", "sealed:@sealed"]).unwrap();
        let whole = std::fs::read(world.path("sealed")).unwrap();
        write(world.path("secrets/A"), "new").unwrap();

        write(world.path("sealed"), &whole[..whole.len() / 2]).unwrap();
        let cut = world.told(&secrets.reload().unwrap_err());
        write(world.path("sealed"), &whole).unwrap();
        write(world.path("secrets/B"), "").unwrap();
        let emptied = world.told(&secrets.reload().unwrap_err());

        assert_eq!(cut, ["sealed:@/sealed: is damaged: it is not what was written; put back a copy of it"]);
        assert_eq!(emptied, ["secret B, from dir:@/secrets, is empty"]);
        assert_eq!([get(&secrets, "A"), get(&secrets, "B"), get(&secrets, "SEALED")].map(Result::unwrap), ["a", "b", "old"]);
        write(world.path("secrets/B"), "b").unwrap();
        assert_eq!(secrets.reload().unwrap().changed, ["A".parse().unwrap()]);
    }

    #[test]
    fn what_is_read_anew_is_in_force_only_once_it_is_adopted() {
        let world = World::new(&[]);
        write(world.path("secrets/A"), "a").unwrap();
        let secrets = world.open(&["dir:@secrets"]).unwrap();
        write(world.path("secrets/A"), "new").unwrap();

        let next = secrets.reread().unwrap();

        assert_eq!([get(&secrets, "A"), get(&next, "A")].map(Result::unwrap), ["a", "new"]);
        assert_eq!(secrets.adopt(&next).changed, ["A".parse().unwrap()]);
        assert_eq!(get(&secrets, "A").as_deref(), Ok("new"));
    }

    #[test]
    fn what_is_looked_up_at_one_moment_is_of_that_moment() {
        let world = World::new(&[]);
        write(world.path("secrets/A"), "a").unwrap();
        let secrets = world.open(&["dir:@secrets"]).unwrap();
        let moment = secrets.now();

        write(world.path("secrets/A"), "new").unwrap();
        secrets.reload().unwrap();

        assert_eq!([get(&moment, "A"), get(&secrets, "A")].map(Result::unwrap), ["a", "new"]);
    }

    #[test]
    fn the_files_that_values_depend_on_are_told() {
        let world = World::new(&[]);
        world.seal("S", "s");
        write(world.path("secrets/A"), "a").unwrap();
        write(world.path("single"), "a").unwrap();

        let files = world.open(&["sealed:@sealed", "env", "dir:@secrets", "file:B=@single"]).unwrap().files();

        for name in ["sealed", "secrets", "secrets/A", "single"] {
            assert!(files.contains(&world.path(name)), "{name}: {files:?}");
        }
    }

    #[test]
    fn a_file_that_everybody_may_read_is_exposed() {
        let world = World::new(&[]);
        let path = world.path("file");
        write(&path, "").unwrap();
        let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        for (directory, mode, exposed) in
            [(0o755, 0o600, false), (0o755, 0o640, false), (0o755, 0o644, true), (0o711, 0o604, true), (0o750, 0o644, false)]
        {
            allow(world.folder.path(), directory);
            allow(&path, mode);
            assert_eq!(is_exposed(&path), exposed, "{directory:o} {mode:o}");
        }
        assert!(!is_exposed(Path::new("/no/such/file")));
    }

    #[test]
    fn plain_files_that_others_may_read_are_told_and_sealed_ones_are_not() {
        let mut world = World::new(&[]);
        world.seal("S", "s");
        for (name, text) in [("secrets/A", "a"), ("secrets/B", "b"), ("single", "a"), ("key", KEY)] {
            write(world.path(name), text).unwrap();
            std::fs::set_permissions(world.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        std::fs::set_permissions(world.path("secrets/B"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::set_permissions(world.path("sealed"), std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(world.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        world.environment = [("LONGSHORE_SECRET_KEY_FILE", world.path("key"))].into_iter().collect();

        let exposed = world.open(&["sealed:@sealed", "dir:@secrets", "file:B=@single"]).unwrap().exposed();

        assert_eq!(exposed, [world.path("key"), world.path("secrets/A"), world.path("single")]);
    }

    #[test]
    fn nothing_of_a_value_is_printed() {
        let secrets = Secrets::of([("A", "MARK")]);

        assert!(!format!("{secrets:?} {:?}", secrets.get(&"A".parse().unwrap())).contains("MARK"));
    }
}
