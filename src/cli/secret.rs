//! `longshore secret`: work on a file of sealed secrets.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::config::{self, Flags, Problems, Sources, Store};
use crate::secrets::{
    Environment, Flaw, KeyError, SealKey, SealedError, SealedFile, SealedSecrets, SecretName, Source, Was, value,
};

use super::words::{OnSecrets, SecretWork};
use super::{MISTAKE, complain, prompt, say};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error("longshore: which file? State --file, or one sealed:/path in secrets.sources of the file that --config names")]
    NoFile,
    #[error("longshore: secrets.sources has more than one sealed:/path; state one of them with --file")]
    ManyFiles,
    #[error("longshore: {0}")]
    Key(#[from] KeyError),
    #[error("longshore: the value of {name} {flaw}")]
    Value { name: SecretName, flaw: Flaw },
    #[error("longshore: standard input must have a line for each of {wanted} secrets, and has {found}")]
    Lines { wanted: usize, found: usize },
    #[error("longshore: standard input cannot be read: {0}")]
    Input(#[source] io::Error),
    #[error("longshore: {}: {cause}", path.display())]
    Sealed { path: PathBuf, cause: SealedError },
}

/// Does as asked, and says what came of it.
pub(super) fn run(asked: OnSecrets, flags: Flags) -> ExitCode {
    let users = match asked.work {
        SecretWork::List | SecretWork::Remove(_) => Users::of(&flags),
        SecretWork::Set(_) | SecretWork::Rekey => Users::default(),
    };
    let is_list = asked.work == SecretWork::List;
    match work(asked, flags, &users) {
        Ok(told) => {
            told.iter().for_each(|line| say(line));
            users.unknown.iter().filter(|_| is_list).for_each(|why| complain(why));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            complain(&failure);
            failure.status()
        }
    }
}

/// Profiles and the secrets that they refer to.
#[derive(Default)]
struct Users {
    profiles: Vec<(String, Vec<SecretName>)>,
    /// Why there may be others.
    unknown: Option<String>,
}

impl Users {
    /// Those of the configuration.
    fn of(flags: &Flags) -> Self {
        let sources = Sources::gather(flags, &std::env::vars_os().collect());
        let has_file = sources.as_ref().is_ok_and(|sources| sources.file.is_some());
        match sources.and_then(|sources| config::load_unserved(&sources)) {
            Ok(config) => {
                let names = |store: &Store| match store {
                    Store::S3(bucket) => bucket.credentials.names(),
                    Store::Folder { .. } => Vec::new(),
                };
                let profiles = config.profiles.iter().map(|profile| (profile.name.clone(), names(&profile.store))).collect();
                let unnamed = "longshore: no configuration was read, so who uses the secrets is not known; name it with --config";
                Self { profiles, unknown: (!has_file).then(|| unnamed.to_owned()) }
            }
            Err(problems) => Self {
                profiles: Vec::new(),
                unknown: Some(format!("{problems}\nlongshore: so who uses the secrets is not known")),
            },
        }
    }

    /// The profiles that use the secret `name`, with commas between.
    fn using(&self, name: &SecretName) -> String {
        let using = self.profiles.iter().filter(|(_, names)| names.contains(name)).map(|(user, _)| user.as_str());
        using.collect::<Vec<_>>().join(", ")
    }
}

/// Does as asked; the lines to say.
fn work(asked: OnSecrets, flags: Flags, users: &Users) -> Result<Vec<String>, Failure> {
    let environment: Environment = std::env::vars_os().collect();
    let path = match asked.file {
        Some(path) => path,
        None => configured(flags)?,
    };
    let key = SealKey::from_environment(&environment)?;
    let file = SealedFile::new(&path);
    let failure = |cause| Failure::Sealed { path: path.clone(), cause };
    let place = path.display();
    match asked.work {
        SecretWork::Set(names) => {
            let secrets = names.iter().cloned().zip(values(&names)?).collect();
            let did = file.set(&key, secrets).map_err(failure)?.into_iter().map(|was| match was {
                Was::Absent => "is now",
                Was::Present => "has a new value",
            });
            Ok(names.iter().zip(did).map(|(name, did)| format!("{name} {did} in {place}")).collect())
        }
        SecretWork::List => Ok(table(&file.read(&key).map_err(failure)?, users)),
        SecretWork::Remove(name) => {
            file.remove(&key, &name).map_err(failure)?;
            let using = users.using(&name);
            if !using.is_empty() {
                complain(&format_args!("longshore: still in use: {using}"));
            }
            Ok(vec![format!("{name} is no longer in {place}")])
        }
        SecretWork::Rekey => {
            let new = SealKey::new_from_environment(&environment)?;
            let count = file.rekey(&key, &new).map_err(failure)?;
            let plural = if count == 1 { " is" } else { "s are" };
            let home = match key.file() {
                Some(path) => format!("which must stand in {} from now on", path.display()),
                None => format!("which {} must be from now on", key.origin()),
            };
            Ok(vec![format!("{place}: {count} secret{plural} sealed with the new key, {home}")])
        }
    }
}

/// What standard input says that the values of `names` are.
fn values(names: &[SecretName]) -> Result<Vec<SecretString>, Failure> {
    let texts = prompt::read(names).map_err(Failure::Input)?;
    if texts.len() != names.len() {
        return Err(Failure::Lines { wanted: names.len(), found: texts.len() });
    }
    let value = |(name, text): (&SecretName, &Zeroizing<Vec<u8>>)| {
        value(text).map_err(|flaw| Failure::Value { name: name.clone(), flaw })
    };
    names.iter().zip(&texts).map(value).collect()
}

/// The file of sealed secrets that the configuration names.
fn configured(flags: Flags) -> Result<PathBuf, Failure> {
    let sources = config::secret_sources(&Sources::gather(&flags, &std::env::vars_os().collect())?)?;
    let mut sealed = sources.into_iter().filter_map(|source| match source {
        Source::Sealed(path) => Some(path),
        _ => None,
    });
    match (sealed.next(), sealed.next()) {
        (Some(path), None) => Ok(path),
        (None, _) => Err(Failure::NoFile),
        (Some(_), Some(_)) => Err(Failure::ManyFiles),
    }
}

/// A line for each secret: its name, when it was set, and where profiles are known, those that use it.
fn table(secrets: &SealedSecrets, users: &Users) -> Vec<String> {
    let width = secrets.keys().map(|name| name.as_str().len()).max().unwrap_or(0);
    let line = |(name, set_at): (&SecretName, u64)| {
        let using = match users.using(name).as_str() {
            "" if users.unknown.is_some() => String::new(),
            "" => "  no profile".into(),
            using => format!("  {using}"),
        };
        format!("{:width$}  {}{using}", name.as_str(), time(set_at))
    };
    secrets.iter().map(|(name, secret)| line((name, secret.set_at))).collect()
}

/// A time as people and machines read it, in UTC.
fn time(seconds: u64) -> String {
    let time = DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    time.fmt(Format::DateTime).unwrap_or_else(|_| seconds.to_string())
}

impl Failure {
    /// 2 for what a person must mend, else 1.
    fn status(&self) -> ExitCode {
        let cause = match self {
            Self::Input(cause) => Some(cause),
            Self::Sealed { cause: SealedError::Unreadable(cause) | SealedError::Unwritable(cause), .. } => Some(cause),
            _ => None,
        };
        match cause {
            Some(cause) if !is_set_up_wrong(cause) => ExitCode::FAILURE,
            _ => ExitCode::from(MISTAKE),
        }
    }
}

/// Whether a person must mend something before it can be done.
fn is_set_up_wrong(cause: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let kinds = [Kind::NotFound, Kind::PermissionDenied, Kind::NotADirectory, Kind::IsADirectory, Kind::InvalidInput];
    kinds.contains(&cause.kind()) || [Kind::ReadOnlyFilesystem, Kind::FileTooLarge].contains(&cause.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::SealedSecret;

    #[test]
    fn a_list_tells_names_times_and_who_uses_them() {
        let secret = |set_at| SealedSecret { value: "MARK".into(), set_at };
        let name = |text: &str| text.parse::<SecretName>().unwrap();
        let secrets = [(name("A"), secret(1_764_102_600)), (name("team-b.key"), secret(0))].into();

        let nobody = Users { unknown: Some("why".into()), ..Users::default() };
        assert_eq!(table(&secrets, &nobody), ["A           2025-11-25T20:30:00Z", "team-b.key  1970-01-01T00:00:00Z"]);
        let profiles = vec![("a".to_owned(), vec![name("A")]), ("b".to_owned(), vec![name("A"), name("C")])];
        let users = Users { profiles, unknown: None };
        assert_eq!(table(&secrets, &users)[0], "A           2025-11-25T20:30:00Z  a, b");
        assert_eq!(table(&secrets, &users)[1], "team-b.key  1970-01-01T00:00:00Z  no profile");
    }
}
