//! Users with passwords and the groups that they are in, from the file and from one such as Apache's.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use secrecy::ExposeSecret;

use super::layers::Word;
use super::problem::Problems;
use super::secrets::resolved;
use super::tables::{GROUPS, Tables, USERS, rows};
use crate::access::{PasswordHash, User};
use crate::files;
use crate::secrets::{Secrets, Template, is_exposed};

/// Most bytes of a file of users.
const MAX_FILE_BYTES: usize = 4 << 20;

/// The groups, with their members.
pub fn groups(tables: &Tables, problems: &mut Problems) -> BTreeMap<String, Vec<String>> {
    let mut groups = BTreeMap::new();
    for row in rows(tables, GROUPS) {
        for (group, ..) in &row.cells {
            let members = row.list(group, |member| Ok::<_, String>(member.to_owned()), problems);
            groups.insert(group.clone(), members.unwrap_or_default());
        }
    }
    groups
}

/// The users whose hashes stand in the file.
pub fn users(tables: &Tables, secrets: Option<&Secrets>, problems: &mut Problems) -> Vec<User> {
    let mut users = Vec::new();
    for (name, Word { text, place }) in rows(tables, USERS).iter().flat_map(|row| row.texts(problems)).collect::<Vec<_>>() {
        let hash = || {
            let template = text.parse::<Template>().map_err(|error| error.to_string())?;
            let text = resolved(&template, secrets).map_err(|error| error.to_string())?;
            text.map(|text| user(name, text.expose_secret())).transpose()
        };
        match hash() {
            Ok(user) => users.extend(user),
            Err(message) => problems.push(place, message),
        }
    }
    users
}

/// The user `name` with that hash. Nothing of a hash is repeated.
fn user(name: &str, hash: &str) -> Result<User, String> {
    if name.is_empty() || name.len() > 255 || name.contains(|c: char| c == ':' || c.is_control()) {
        return Err("a user's name is 1 to 255 characters without a colon".into());
    }
    let hash = hash.parse::<PasswordHash>().map_err(|error| error.to_string())?;
    Ok(User { name: name.into(), hash, groups: Vec::new() })
}

/// The users of a file such as `htpasswd -B` writes, besides those who are known.
pub fn htpasswd(file: &Word, known: &[User], problems: &mut Problems, warnings: &mut Vec<String>) -> Vec<User> {
    let path = PathBuf::from(&file.text);
    let text = match files::read(&path, MAX_FILE_BYTES) {
        Ok(bytes) => std::str::from_utf8(&bytes).map(str::to_owned).map_err(|error| format!("cannot be read: {error}")),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Err("is larger than 4 MiB".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    let text = text.unwrap_or_else(|error| {
        problems.push(file.place.clone(), format!("{:?} {error}", file.text));
        String::new()
    });
    if is_exposed(&path) {
        warnings.push(format!("everybody on this machine can read the password hashes in {}", path.display()));
    }
    let mut users: Vec<User> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let read = line.trim_end().split_once(':').ok_or_else(|| "is no name and hash with a colon between".to_owned());
        match read.and_then(|(name, hash)| user(name, hash)) {
            Ok(user) if known.iter().chain(&users).any(|other| other.name == user.name) => {
                problems.push(file.place.clone(), format!("line {}: {} is stated twice", number + 1, user.name));
            }
            Ok(user) => users.push(user),
            Err(message) => problems.push(file.place.clone(), format!("line {}: {message}", number + 1)),
        }
    }
    users
}

pub fn warn_of_exposed(tables: &Tables, warnings: &mut Vec<String>) {
    let places = rows(tables, USERS).iter().flat_map(|row| row.cells.iter().map(|(_, place, _)| place));
    if let Some(place) = places.into_iter().find(|place| place.is_exposed()) {
        warnings.push(format!("{place} is a password's hash that everybody on this machine can read"));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::config::people::tests::{HASH, of};

    #[test]
    fn a_file_of_users_is_read_and_each_mistake_in_it_told_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        let load = |text: &str| {
            fs::write(&path, text.replace("<H>", HASH)).unwrap();
            of(&format!("[access]\nhtpasswd = \"{}\"\n[access.users]\nalice = \"<H>\"\n", path.display()))
        };

        let config = load("# comment\n\nbob:<H>\r\ncarol:<H>\n").unwrap();
        let names: Vec<_> = config.access.users.iter().map(|user| &*user.name).collect();
        assert_eq!(names, ["alice", "bob", "carol"]);
        assert!(config.files.contains(&path), "looked at for changes");

        let told = load("bob:$apr1$x$MARK\nalice:<H>\ncarol\n:<H>\ncarol:<H>\ncarol:<H>\n").unwrap_err();
        for line in [
            "line 1: is no bcrypt hash",
            "line 2: alice is stated twice",
            "line 3: is no name and hash",
            "line 4: a user's name",
            "line 6: carol is stated twice",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
        assert!(told.contains("access.htpasswd  line 2") && !told.contains("MARK"), "{told}");
        fs::remove_file(&path).unwrap();
        let told = of(&format!("[access]\nhtpasswd = \"{}\"", path.display())).unwrap_err();
        assert!(told.contains("cannot be read: No such file"), "{told}");
    }
}
