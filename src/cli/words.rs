//! The words of the command line, made from the table of settings.

mod grammar;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::app::{Deed, Rights, Sweep};
use crate::config::{Flags, Kind, SETTINGS, is_store_word};
use crate::oci::{RepoName, Tag};
use crate::secrets::SecretName;
use grammar::{AND, CLAIMS, DEED, DRY_RUN, IDENTITY, IMAGE, JSON, OBJECT, PROFILE, READ_ONLY, TOKEN, VALUE, grammar};

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve,
    /// Check the configuration.
    Check,
    /// Remove what unfinished uploads left in the store, or only look for it.
    Sweep(Sweep),
    /// Tell the settings in force, and where each comes from.
    Config,
    /// Tell what a build that imports a tag gets, and why.
    Explain(OfImage),
    /// Tell what the keys of a profile must be allowed.
    Policy(OfProfile),
    /// Work on a file of sealed secrets.
    Secret(OnSecrets),
    /// Tell whether somebody may do something.
    Can(Asked),
    /// Tell what stands for a ref in a tag.
    Slug(String),
}

/// Whether somebody may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub identity: String,
    /// The file with what the issuer's token says.
    pub claims: Option<PathBuf>,
    /// The file with such a token; `-` is standard input.
    pub token: Option<PathBuf>,
    /// What is to be done.
    pub deed: Deed,
    /// With which image and tag.
    pub object: String,
}

/// What is to be explained, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfImage {
    /// The image.
    pub image: RepoName,
    /// One of its tags; `None` for all.
    pub tag: Option<Tag>,
    /// The profile that is meant, where who asks decides.
    pub profile: Option<String>,
    /// Whether a program will read it.
    pub is_json: bool,
}

/// What the keys of a profile must be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfProfile {
    /// The profile's name.
    pub profile: String,
    /// What the keys are for.
    pub rights: Rights,
}

/// Work on a file of sealed secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnSecrets {
    /// What is to be done.
    pub work: SecretWork,
    /// The file, if it is named.
    pub file: Option<PathBuf>,
}

/// What is to be done with sealed secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretWork {
    /// Set these in one go, to what standard input says.
    Set(Vec<SecretName>),
    /// Tell which there are.
    List,
    /// Remove one.
    Remove(SecretName),
    /// Seal them with another key.
    Rekey,
}

/// A command line, understood.
pub struct Words {
    /// What is asked for.
    pub command: Command,
    /// What it says about settings.
    pub flags: Flags,
}

/// Understands a command line, the program's name first.
///
/// # Errors
///
/// It makes no sense, or asks for help or the version.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Words, clap::Error> {
    let matches = grammar().try_get_matches_from(arguments)?;
    let command = match matches.subcommand() {
        Some(("check", _)) => Command::Check,
        Some(("config", _)) => Command::Config,
        Some(("explain", after)) => Command::Explain(of_image(after)?),
        Some(("policy", after)) => Command::Policy(of_profile(after)),
        Some(("secret", after)) => Command::Secret(on_secrets(after)?),
        Some(("can", after)) => Command::Can(asked(after)),
        Some(("slug", after)) => Command::Slug(word(after, "ref")),
        Some(("sweep", after)) if after.get_flag(DRY_RUN) => Command::Sweep(Sweep::Look),
        Some(("sweep", _)) => Command::Sweep(Sweep::Remove),
        _ => Command::Serve,
    };
    let parts: Vec<&ArgMatches> = std::iter::successors(Some(&matches), |part| Some(part.subcommand()?.1)).collect();
    Ok(Words { command, flags: flags(&parts)? })
}

/// What the words after `explain` ask for. The name may be the one that a build uses, with this server's address before it.
fn of_image(matches: &ArgMatches) -> Result<OfImage, clap::Error> {
    let typed = matches.get_one::<String>(IMAGE).map_or("", String::as_str);
    let invalid = |error: &dyn std::fmt::Display| grammar().error(ErrorKind::InvalidValue, format!("{typed:?}: {error}"));
    let name = match typed.split_once('/') {
        Some((server, name)) if server.contains(':') => name,
        _ => typed,
    };
    let (image, tag) = name.split_once(':').map_or((name, None), |(image, tag)| (image, Some(tag)));
    let tag = tag.map(|tag| tag.parse().map_err(|error| invalid(&error))).transpose()?;
    let (image, profile) = (image.parse().map_err(|error| invalid(&error))?, matches.get_one::<String>(PROFILE).cloned());
    Ok(OfImage { image, tag, profile, is_json: matches.get_flag(JSON) })
}

/// What the words after `policy` ask for.
fn of_profile(matches: &ArgMatches) -> OfProfile {
    let rights = if matches.get_flag(READ_ONLY) { Rights::Read } else { Rights::Write };
    OfProfile { profile: matches.get_one::<String>(PROFILE).cloned().unwrap_or_default(), rights }
}

/// What the words after `can` ask for.
fn asked(matches: &ArgMatches) -> Asked {
    let deed = match matches.get_one::<String>(DEED).map(String::as_str) {
        Some("push") => Deed::Push,
        Some("delete") => Deed::Delete,
        _ => Deed::Pull,
    };
    let [claims, token] = [CLAIMS, TOKEN].map(|file| matches.get_one::<PathBuf>(file).cloned());
    Asked { identity: word(matches, IDENTITY), claims, token, deed, object: word(matches, OBJECT) }
}

/// A word that must be there.
fn word(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

/// What the words after `secret` ask for. What may be a secret in the wrong place is not repeated.
fn on_secrets(matches: &ArgMatches) -> Result<OnSecrets, clap::Error> {
    let (word, after) = matches.subcommand().unwrap_or(("list", matches));
    let invalid = |message: String| grammar().error(ErrorKind::InvalidValue, message);
    if after.try_contains_id(VALUE).unwrap_or_default() {
        let message = "the value of a secret is read from standard input: others can read a command line";
        return Err(invalid(message.into()));
    }
    let parsed = |text: &String| text.parse().map_err(|error| invalid(format!("{error}")));
    let name = || parsed(after.get_one("name").unwrap_or(&String::new()));
    let further = || after.get_many(AND).into_iter().flatten().map(parsed);
    let work = match word {
        "set" => {
            let names: Vec<SecretName> = std::iter::once(name()).chain(further()).collect::<Result<_, _>>()?;
            if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
                return Err(invalid("a secret is named twice".into()));
            }
            SecretWork::Set(names)
        }
        "rm" => SecretWork::Remove(name()?),
        "rekey" => SecretWork::Rekey,
        _ => SecretWork::List,
    };
    Ok(OnSecrets { work, file: after.get_one("file").cloned() })
}

/// What the arguments before and after the command say together.
fn flags(parts: &[&ArgMatches]) -> Result<Flags, clap::Error> {
    let mut flags = Flags::default();
    flags.config = once("config", stated(parts, "config"))?.pop();
    for setting in SETTINGS.iter().filter(|setting| setting.flag().is_some()) {
        let values: Vec<String> = stated(parts, setting.word);
        let values = if matches!(setting.kind, Kind::List(_)) { values } else { once(setting.word, values)? };
        if let (Kind::StoreWord, Some(word)) = (setting.kind, values.iter().find(|word| !is_store_word(word))) {
            return Err(unknown(word));
        }
        if !values.is_empty() {
            flags.state(setting, values);
        }
    }
    Ok(flags)
}

/// The values of an argument in those parts that take it.
fn stated<T: Clone + Send + Sync + 'static>(parts: &[&ArgMatches], name: &str) -> Vec<T> {
    parts.iter().filter_map(|part| part.try_get_many(name).ok()?).flatten().cloned().collect()
}

/// The values of an argument that can have only one; clap sees to that on either side of the command.
fn once<T>(name: &str, values: Vec<T>) -> Result<Vec<T>, clap::Error> {
    if values.len() > 1 {
        return Err(grammar().error(ErrorKind::ArgumentConflict, format!("{name} is stated before the command and after it")));
    }
    Ok(values)
}

/// A word that is neither a command nor a store.
fn unknown(word: &str) -> clap::Error {
    let message = format!(
        "{word:?} is neither a command nor a store\n\n  commands: serve, check, sweep, config, policy, secret, can, slug\n  stores:   s3://bucket/prefix, gs://bucket/prefix, /some/dir, ./dir"
    );
    grammar().error(ErrorKind::InvalidSubcommand, message)
}
