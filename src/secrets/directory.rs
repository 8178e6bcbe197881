//! A directory with a file for each secret.
//!
//! Kubernetes puts a set of files in place at once by turning the link `..data`
//! to another directory. So all are read from where that leads, and once more
//! if it has turned meanwhile: never one secret of the old set beside one of
//! the new.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::SecretName;
use super::source::Reading;
use super::value::{Flaw, Found, of_file};

/// Kubernetes' link to the present set of files.
const PRESENT: &str = "..data";

/// Most secrets of one directory.
const MAX_FILES: usize = 1024;

/// How often it is read before it counts as never at rest.
const ATTEMPTS: usize = 5;

/// The secrets in `directory`. Names that begin with a dot or are none of a secret are passed over.
pub(super) fn read(directory: &Path) -> io::Result<Reading> {
    for _ in 0..ATTEMPTS {
        let place = place(directory)?;
        let values = values(&place, &directory.canonicalize()?);
        if self::place(directory)? == place {
            return values.map(|values| reading(directory, values));
        }
    }
    Err(io::Error::other("it changes faster than it can be read"))
}

/// What `directory` has, with what tells by its age that this has changed: links for files that come and go, and each file.
fn reading(directory: &Path, values: BTreeMap<SecretName, Found>) -> Reading {
    let present = directory.join(PRESENT);
    let place = if present.exists() { present } else { directory.to_owned() };
    let plain_files = values.keys().map(|name| place.join(name.as_str())).collect();
    Reading { values, places: vec![directory.to_owned(), place], plain_files }
}

/// What [`read`] looks at in `directory`, also where it cannot be read.
pub(super) fn places(directory: &Path) -> Vec<PathBuf> {
    let present = directory.join(PRESENT);
    let files = place(directory).and_then(|place| place.read_dir()).into_iter().flatten();
    let files = files.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_FILES);
    [directory.to_owned(), present].into_iter().chain(files).collect()
}

/// Where the files are now.
fn place(directory: &Path) -> io::Result<PathBuf> {
    match directory.join(PRESENT).canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => directory.canonicalize(),
        outcome => outcome,
    }
}

/// What the files at `place` hold. Links are followed within `bounds`.
fn values(place: &Path, bounds: &Path) -> io::Result<BTreeMap<SecretName, Found>> {
    let mut values = BTreeMap::new();
    for entry in place.read_dir()? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        values.insert(name, found(&path, bounds));
        if values.len() > MAX_FILES {
            return Err(io::Error::other(format!("it has more than {MAX_FILES} files")));
        }
    }
    Ok(values)
}

fn found(path: &Path, bounds: &Path) -> Found {
    let unreadable = |error: io::Error| Flaw::Unreadable(error.to_string().into());
    let real = path.canonicalize().map_err(unreadable)?;
    if !real.starts_with(bounds) {
        return Err(Flaw::LeadsOut);
    }
    if real.is_dir() {
        return Err(Flaw::Directory);
    }
    of_file(&real).map_err(unreadable)?
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    use secrecy::ExposeSecret;

    use super::*;

    /// `NAME=value`, or `NAME: flaw`, of each.
    fn told(directory: &Path) -> Vec<String> {
        let line = |(name, found): (SecretName, Found)| match found {
            Ok(value) => format!("{name}={}", value.expose_secret()),
            Err(flaw) => format!("{name}: {flaw}"),
        };
        read(directory).unwrap().values.into_iter().map(line).collect()
    }

    #[test]
    fn each_file_is_a_secret_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("A", "a\n"), ("team-b.key", "b"), (".hidden", "x"), ("two words", "x"), ("empty", "")] {
            write(at(name), text).unwrap();
        }
        create_dir(at("kubernetes.io")).unwrap();
        symlink("A", at("link")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();

        let told = told(folder.path());

        assert_eq!(told[0], "A=a");
        assert!(told[1].starts_with("dangling: cannot be read: No such file"), "{told:?}");
        assert_eq!(told[2], "empty: is empty");
        assert!(told[3].starts_with("kubernetes.io: is a directory"), "{told:?}");
        assert_eq!(told[4..], ["link=a", "team-b.key=b"]);
    }

    #[test]
    fn a_link_that_leads_out_is_not_followed() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        write(&outside, "MARK").unwrap();
        let folder = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join("A")).unwrap();

        assert_eq!(told(folder.path()), ["A: is a link that leads out of the directory"]);
    }

    /// Puts `value` in place as Kubernetes does.
    fn swap(directory: &Path, version: &str, value: &str) {
        create_dir(directory.join(version)).unwrap();
        write(directory.join(version).join("A"), value).unwrap();
        symlink(version, directory.join("..next")).unwrap();
        std::fs::rename(directory.join("..next"), directory.join(PRESENT)).unwrap();
    }

    #[test]
    fn the_set_of_files_that_kubernetes_has_put_in_place_is_read() {
        let folder = tempfile::tempdir().unwrap();
        swap(folder.path(), "..2026_1", "one");
        symlink("..data/A", folder.path().join("A")).unwrap();
        assert_eq!(told(folder.path()), ["A=one"]);
        let before: Vec<_> = read(folder.path()).unwrap().plain_files.iter().map(|file| file.canonicalize().unwrap()).collect();

        swap(folder.path(), "..2026_2", "two");

        assert_eq!(told(folder.path()), ["A=two"]);
        let after: Vec<_> = read(folder.path()).unwrap().plain_files.iter().map(|file| file.canonicalize().unwrap()).collect();
        assert_ne!(before, after);
    }

    // Kubernetes removes the old set right after.
    #[test]
    fn no_secret_of_one_set_is_read_beside_one_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let set = |version: usize| {
            let name = format!("..{version}");
            create_dir(folder.path().join(&name)).unwrap();
            for file in ["A", "B", "C"] {
                write(folder.path().join(&name).join(file), version.to_string()).unwrap();
            }
            symlink(&name, folder.path().join("..next")).unwrap();
            std::fs::rename(folder.path().join("..next"), folder.path().join(PRESENT)).unwrap();
        };
        set(0);
        let mut seen = std::collections::BTreeSet::new();

        std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                for version in 1..300 {
                    set(version);
                    std::fs::remove_dir_all(folder.path().join(format!("..{}", version - 1))).unwrap();
                }
            });
            while !swapping.is_finished() {
                let Ok(reading) = read(folder.path()) else { continue };
                let values: Vec<String> = reading.values.into_values().map(|it| it.unwrap().expose_secret().to_owned()).collect();
                assert!(values.len() == 3 && values.iter().all(|value| *value == values[0]), "{values:?}");
                seen.insert(values[0].clone());
            }
        });

        assert!(seen.len() > 1, "nothing was read in between");
    }

    #[test]
    fn a_directory_that_is_none_or_too_full_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(&folder.path().join("absent")).is_err());
        for index in 0..=MAX_FILES {
            write(folder.path().join(format!("f{index}")), "x").unwrap();
        }

        let refused = read(folder.path()).err().unwrap().to_string();

        assert_eq!(refused, "it has more than 1024 files");
    }
}
