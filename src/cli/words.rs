//! The words of the command line, made from the table of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::app::{Deed, Rights, Sweep};
use crate::config::{Fallback, Flags, Kind, SETTINGS, Setting, is_store_word};
use crate::oci::{RepoName, Tag};
use crate::secrets::SecretName;

/// What the help says after the flags; a paragraph is one line, which clap breaks where the terminal ends.
const AFTER: &str = "\
Each flag is also a variable, LONGSHORE_DRAIN for --drain (and LONGSHORE_STORE for STORE), and a key of the \
configuration file; config.example.toml has them all. The flag goes before the variable, and that before the file.

Keys to a bucket are never flags. They come from LONGSHORE_ACCESS_KEY_ID and LONGSHORE_SECRET_ACCESS_KEY, from the \
file, or from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or from the AWS SDK's own chain with --credentials default.

Exit status: 0; 1 for what went wrong at run time; 2 for a mistake in words, settings, credentials or set-up.";

/// What the help on sealed secrets says after the flags.
const AFTER_SECRET: &str = "\
The key to the file is 64 hexadecimal digits, such as openssl rand -hex 32 makes, in LONGSHORE_SECRET_KEY or in the \
file that LONGSHORE_SECRET_KEY_FILE names; else in GOCDNEXT_SECRET_KEY.";

/// The flag of `sweep` that keeps it from removing anything.
const DRY_RUN: &str = "dry-run";

/// The argument of `explain`, and its flag for programs.
const IMAGE: &str = "image";
const JSON: &str = "json";

/// The argument of `policy`, which is a flag of `explain`, and the flag of `policy` for who never writes.
const PROFILE: &str = "profile";
const READ_ONLY: &str = "read-only";

/// The arguments of `can`, and its flag for what a token says.
const IDENTITY: &str = "identity";
const DEED: &str = "deed";
const OBJECT: &str = "object";
const CLAIMS: &str = "claims";

/// What comes after the name of a secret, which nothing may.
const VALUE: &str = "value";

/// The flag that names a further secret to be set.
const AND: &str = "and";

/// Most characters beside a flag: clap puts what is said of each behind the longest.
const MOST_BESIDE_A_FLAG: usize = 24;

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
    let claims = matches.get_one::<PathBuf>(CLAIMS).cloned();
    Asked { identity: word(matches, IDENTITY), claims, deed, object: word(matches, OBJECT) }
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

/// What a command line may look like.
fn grammar() -> clap::Command {
    clap::Command::new("longshore")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An OCI registry for BuildKit's cache that keeps it in a bucket, and holds the keys")
        .disable_help_subcommand(true)
        .max_term_width(120)
        .args(arguments())
        .subcommand(clap::Command::new("serve").about("Serves; so does longshore without a command").args(arguments()))
        .subcommand(clap::Command::new("check").about("Checks the configuration and says what it comes to").args(arguments()))
        .subcommand(
            clap::Command::new("sweep")
                .about("Removes what unfinished uploads have left in the store for more than a day")
                .arg(Arg::new(DRY_RUN).long(DRY_RUN).action(ArgAction::SetTrue).help("Only say what would be removed"))
                .args(arguments()),
        )
        .subcommand(
            clap::Command::new("config").about("Prints the settings in force and where each comes from").args(arguments()),
        )
        .subcommand(explain())
        .subcommand(policy())
        .subcommand(secret())
        .subcommand(can())
        .subcommand(slug())
        .after_help(AFTER)
}

/// What a build gets.
fn explain() -> clap::Command {
    let image = Arg::new(IMAGE).value_name("IMAGE[:TAG]").required(true);
    let image = image.help("The image and its tag, as the build names them; without a tag all that there are");
    let profile = Arg::new(PROFILE).long(PROFILE).value_name("NAME");
    let profile = profile.help("The profile to look in, where it depends on who asks");
    let json = Arg::new(JSON).long(JSON).action(ArgAction::SetTrue).help("For programs: in JSON, sizes in bytes");
    clap::Command::new("explain")
        .about("Says what a build that imports a tag gets, what that is made of, and what is missing")
        .args([image, profile, json])
        .args(arguments())
}

/// What the keys of a profile must be allowed.
fn policy() -> clap::Command {
    let profile = Arg::new(PROFILE).value_name("PROFILE").required(true).help("The profile, such as default");
    let read_only = Arg::new(READ_ONLY).long(READ_ONLY).action(ArgAction::SetTrue).help("For keys that only read");
    clap::Command::new("policy")
        .about("Prints the least that a profile's keys must be allowed: a policy for IAM, or commands for Google's")
        .args([profile, read_only])
        .args(arguments())
}

/// Whether somebody may do something.
fn can() -> clap::Command {
    let identity = Arg::new(IDENTITY).value_name("IDENTITY").required(true);
    let identity = identity.help("anonymous, the name of a user, or that of an issuer with --claims");
    let deed = Arg::new(DEED).value_name("push|pull|delete").required(true).value_parser(["push", "pull", "delete"]);
    let object = Arg::new(OBJECT).value_name("IMAGE:TAG").required(true).help("Such as org/app:cache-main");
    let claims = Arg::new(CLAIMS).long(CLAIMS).value_name("FILE").value_parser(value_parser!(PathBuf));
    let claims = claims.help("What the issuer's token says, in JSON");
    clap::Command::new("can")
        .about("Says whether somebody may do something, and which rule decides: 0 is yes, 1 no")
        .args([identity, deed.hide_possible_values(true).help("What is to be done"), object, claims])
        .args(arguments().into_iter().filter(|argument| argument.get_id() != "store"))
}

/// What stands for a ref in a tag.
fn slug() -> clap::Command {
    let git_ref = Arg::new("ref").value_name("REF").required(true).help("Such as refs/heads/main");
    clap::Command::new("slug").about("Prints what {ref_slug} is for a ref").arg(git_ref)
}

/// What may be done with sealed secrets.
fn secret() -> clap::Command {
    let file = Arg::new("file")
        .long("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The file of sealed secrets [default: the one that secrets.sources of the configuration names]");
    let name = Arg::new("name").value_name("NAME").required(true).help("Letters, digits, _, - and ., such as CACHE_KEY");
    let and = Arg::new(AND).long(AND).value_name("NAME").action(ArgAction::Append);
    let and = and.help("A further secret, set in the same moment: standard input has a line for each then; may repeat");
    let value = Arg::new(VALUE).hide(true).num_args(1..).allow_hyphen_values(true);
    let command = |word, about| clap::Command::new(word).about(about).args([file.clone(), config()]).after_help(AFTER_SECRET);
    clap::Command::new("secret")
        .about("Sets, lists and removes secrets in a file that only a key opens")
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommand(command("set", "Sets a secret to what standard input says").args([name.clone(), and, value]))
        .subcommand(command("list", "Lists the names of the secrets and the profiles that use them"))
        .subcommand(command("rm", "Removes a secret").arg(name))
        .subcommand(command(
            "rekey",
            "Seals the secrets with the key in LONGSHORE_SECRET_NEW_KEY, or the file LONGSHORE_SECRET_NEW_KEY_FILE names",
        ))
        .after_help(AFTER_SECRET)
}

/// The store and every flag; they may stand before and after the command.
fn arguments() -> Vec<Arg> {
    let settings = SETTINGS.iter().filter(|setting| setting.flag().is_some()).map(|setting| match setting.kind {
        Kind::StoreWord => Arg::new(setting.word).value_name("STORE").help(help(setting)),
        _ => flag(setting),
    });
    settings.chain([config()]).collect()
}

fn config() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file, if there is one; none is looked for")
}

/// The flag of a setting. Its value is checked with all the others, later.
fn flag(setting: &Setting) -> Arg {
    let action = if matches!(setting.kind, Kind::List(_)) { ArgAction::Append } else { ArgAction::Set };
    Arg::new(setting.word)
        .long(setting.word)
        .value_name(value_name(setting.kind))
        .help(help(setting))
        .help_heading(heading(setting.section()))
        .action(action)
}

/// What the value of a flag is called.
fn value_name(kind: Kind) -> String {
    match kind {
        Kind::StoreWord | Kind::Credential | Kind::Tables(_) => String::new(),
        Kind::Text(name) | Kind::List(name) | Kind::Pairs(name) => name.into(),
        Kind::Boolean => "true|false".into(),
        Kind::Duration => "TIME".into(),
        Kind::Size => "SIZE".into(),
        Kind::Number => "NUMBER".into(),
        Kind::Choice(words) if is_short(words) => words.join("|"),
        Kind::Choice(_) => "WORD".into(),
    }
}

/// Whether there is room for all of a choice beside its flag.
fn is_short(words: &[&str]) -> bool {
    words.iter().map(|word| word.len() + 1).sum::<usize>() <= MOST_BESIDE_A_FLAG
}

/// What a flag is for, and what holds without it.
fn help(setting: &Setting) -> String {
    let repeats = if matches!(setting.kind, Kind::List(_)) { "; may repeat" } else { "" };
    let choices = match setting.kind {
        Kind::Choice(words) if !is_short(words) => format!("; one of {}", words.join(", ")),
        _ => String::new(),
    };
    let repeats = choices + repeats;
    match setting.default {
        Fallback::Value("") => format!("{}{repeats}", setting.help),
        Fallback::Value(default) | Fallback::Told(default) => format!("{}{repeats} [default: {default}]", setting.help),
    }
}

/// Under which title a flag is listed.
fn heading(section: &str) -> &'static str {
    match section {
        "server" => "Server",
        "access" => "Access",
        "store" => "Limits",
        "log" => "Log",
        _ => "Store",
    }
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
