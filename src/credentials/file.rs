//! The credentials file that Amazon's tools share.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::environment::Environment;
use super::error::Failure;
use super::fetch::{Fetch, NEARBY};
use super::grant::{Grant, Lasts};
use crate::files;

/// Largest file that is read for credentials or tokens.
const MAX_BYTES: usize = 1024 * 1024;

/// One section of the file.
pub(super) struct SharedFile {
    path: Option<PathBuf>,
    section: String,
}

impl SharedFile {
    /// `section` of the file at `path`, else of the one that `environment` points to.
    pub(super) fn of(path: Option<&PathBuf>, section: &str, environment: &Environment) -> Self {
        let in_home = || environment.get("HOME").map(|home| Path::new(home).join(".aws/credentials"));
        let pointed_to = || environment.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(in_home);
        Self { path: path.cloned().or_else(pointed_to), section: section.to_owned() }
    }
}

#[async_trait]
impl Fetch for SharedFile {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let path = self.path.as_deref().ok_or_else(|| Failure::lasting("no path is stated, and HOME is not set"))?;
        let text = read(path).await?;
        let lacks = |what: &str| Failure::lasting(format!("[{}] of {} has no {what}", self.section, path.display()));
        let value = |name| value(&text, &self.section, name);
        let id = value("aws_access_key_id").ok_or_else(|| lacks("aws_access_key_id"))?;
        let secret = value("aws_secret_access_key").ok_or_else(|| lacks("aws_secret_access_key"))?;
        Grant::keys(id, secret, value("aws_session_token"), Lasts::UntilReplaced)
    }

    fn limit(&self) -> std::time::Duration {
        NEARBY
    }
}

/// The text of the file at `path`, which is of a sane size.
pub(super) async fn read(path: &Path) -> Result<String, Failure> {
    let bad = |reason: &dyn std::fmt::Display| Failure::lasting(format!("{}: {reason}", path.display()));
    let bytes = files::read_beside(path, MAX_BYTES).await.map_err(|error| bad(&error))?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| bad(&"not UTF-8"))
}

/// What `name` is in `[section]` of `text` (AWS SDKs and Tools Reference Guide, "Format of the config and credentials
/// files").
fn value<'a>(text: &'a str, section: &str, name: &str) -> Option<&'a str> {
    let header = |line: &'a str| line.strip_prefix('[')?.split_once(']').map(|(name, _)| name.trim());
    let lines = text.lines().map(str::trim).skip_while(|line| header(line) != Some(section)).skip(1);
    let mut values = lines.take_while(|line| header(line).is_none()).filter(|line| !line.starts_with(['#', ';']));
    values.find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_in_its_section_and_in_no_other() {
        const FILE: &str = "a = 0\n[one]\na = 1\n# b = x\n ; b = x\n[ two ] # b\nb=2=3\r\na =\n\n[three]\nb = 4\n";
        for (section, name, expected) in [
            ("one", "a", Some("1")),
            ("one", "b", None),
            ("two", "b", Some("2=3")),
            ("two", "a", Some("")),
            ("three", "b", Some("4")),
            ("three", "a", None),
            ("four", "a", None),
            ("", "a", None),
        ] {
            assert_eq!(value(FILE, section, name), expected, "[{section}] {name}");
        }
    }
}
