//! The words of the command line, made from the table of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::config::{Fallback, Flags, Kind, SETTINGS, Setting, is_store_word};

/// What the help says after the flags; a paragraph is one line, which clap breaks where the terminal ends.
const AFTER: &str = "\
Each flag is also a variable, LONGSHORE_DRAIN for --drain (and LONGSHORE_STORE for STORE), and a key of the \
configuration file; config.example.toml has them all. The flag goes before the variable, and that before the file.

Keys to a bucket are never flags. They come from LONGSHORE_ACCESS_KEY_ID and LONGSHORE_SECRET_ACCESS_KEY, from the \
file, or from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or from the AWS SDK's own chain with --credentials default.

Exit status: 0; 1 for what went wrong at run time; 2 for a mistake in words, settings, credentials or set-up.";

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve.
    Serve,
    /// Check the configuration.
    Check,
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
    let (command, inner) = match matches.subcommand() {
        Some(("check", inner)) => (Command::Check, inner),
        Some((_, inner)) => (Command::Serve, inner),
        None => (Command::Serve, &matches),
    };
    let stores: Vec<&String> = [&matches, inner][usize::from(matches.subcommand().is_none())..]
        .iter()
        .filter_map(|matches| matches.get_one::<String>("store"))
        .collect();
    if let Some(word) = stores.iter().find(|word| !is_store_word(word)) {
        return Err(unknown(word));
    }
    if stores.len() > 1 {
        return Err(grammar().error(ErrorKind::TooManyValues, "there can be only one store"));
    }
    Ok(Words { command, flags: flags(inner, stores.first().copied()) })
}

/// What a command line may look like.
fn grammar() -> clap::Command {
    clap::Command::new("longshore")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An OCI registry for BuildKit's cache that keeps it in a bucket, and holds the keys")
        .disable_help_subcommand(true)
        .max_term_width(120)
        .args(arguments())
        .subcommand(clap::Command::new("serve").about("Serves; so does longshore without a command").arg(store()))
        .subcommand(clap::Command::new("check").about("Checks the configuration and says what it comes to").arg(store()))
        .after_help(AFTER)
}

/// The store and every flag. Flags may stand before and after the command.
fn arguments() -> Vec<Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The configuration file, if there is one; none is looked for")
        .global(true);
    [store(), config].into_iter().chain(SETTINGS.iter().filter(|setting| is_flag(setting)).map(flag)).collect()
}

/// The argument that says where the bytes are kept.
fn store() -> Arg {
    let help = SETTINGS.iter().find(|setting| setting.kind == Kind::StoreWord).map_or("", |setting| setting.help);
    Arg::new("store").value_name("STORE").help(format!("{help} [default: the user's cache directory]"))
}

/// Whether a setting is stated with dashes.
fn is_flag(setting: &Setting) -> bool {
    setting.kind != Kind::StoreWord && setting.flag().is_some()
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
        .global(true)
}

/// What the value of a flag is called.
fn value_name(kind: Kind) -> String {
    match kind {
        Kind::StoreWord | Kind::Credential => String::new(),
        Kind::Text(name) | Kind::List(name) => name.into(),
        Kind::Boolean => "true|false".into(),
        Kind::Duration => "TIME".into(),
        Kind::Size => "SIZE".into(),
        Kind::Choice(words) => words.join("|"),
    }
}

/// What a flag is for, and what holds without it.
fn help(setting: &Setting) -> String {
    let repeats = if matches!(setting.kind, Kind::List(_)) { "; may repeat" } else { "" };
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

/// What the flags say.
fn flags(matches: &ArgMatches, store: Option<&String>) -> Flags {
    let mut flags = Flags::default();
    flags.config = matches.get_one::<PathBuf>("config").cloned();
    for setting in SETTINGS {
        let values: Vec<String> = match setting.kind {
            Kind::StoreWord => store.into_iter().cloned().collect(),
            Kind::Credential => continue,
            _ => matches.get_many::<String>(setting.word).into_iter().flatten().cloned().collect(),
        };
        if !values.is_empty() {
            flags.state(setting, values);
        }
    }
    flags
}

/// A word that is neither a command nor a store.
fn unknown(word: &str) -> clap::Error {
    let message = format!(
        "{word:?} is neither a command nor a store\n\n  commands: serve, check\n  stores:   s3://bucket/prefix, gs://bucket/prefix, /some/dir, ./dir"
    );
    grammar().error(ErrorKind::InvalidSubcommand, message)
}
