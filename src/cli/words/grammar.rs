//! What a command line may look like.

use std::path::PathBuf;

use clap::{Arg, ArgAction, value_parser};

use crate::config::{Fallback, Kind, SETTINGS, Setting};

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
pub(super) const DRY_RUN: &str = "dry-run";

/// The argument of `explain`, and its flag for programs.
pub(super) const IMAGE: &str = "image";
pub(super) const JSON: &str = "json";

/// The argument of `policy`, which is a flag of `explain`, and the flag of `policy` for who never writes.
pub(super) const PROFILE: &str = "profile";
pub(super) const READ_ONLY: &str = "read-only";

/// The arguments of `can`, and its flag for what a token says.
pub(super) const IDENTITY: &str = "identity";
pub(super) const DEED: &str = "deed";
pub(super) const OBJECT: &str = "object";
pub(super) const CLAIMS: &str = "claims";
pub(super) const TOKEN: &str = "token";

/// What comes after the name of a secret, which nothing may.
pub(super) const VALUE: &str = "value";

/// The flag that names a further secret to be set.
pub(super) const AND: &str = "and";

/// Most characters beside a flag: clap puts what is said of each behind the longest.
const MOST_BESIDE_A_FLAG: usize = 24;

/// What a command line may look like.
pub(super) fn grammar() -> clap::Command {
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
    let identity = identity.help("anonymous, the name of a user, or that of an issuer with --token or --claims");
    let deed = Arg::new(DEED).value_name("push|pull|delete").required(true).value_parser(["push", "pull", "delete"]);
    let object = Arg::new(OBJECT).value_name("IMAGE:TAG").required(true).help("Such as org/app:cache-main");
    let claims = Arg::new(CLAIMS).long(CLAIMS).value_name("FILE").value_parser(value_parser!(PathBuf));
    let claims = claims.help("What the issuer's token says, in JSON");
    let token = Arg::new(TOKEN).long(TOKEN).value_name("FILE").value_parser(value_parser!(PathBuf)).conflicts_with(CLAIMS);
    let token = token.help("A token of the issuer, which is verified as a server would; - is standard input");
    clap::Command::new("can")
        .about("Says whether somebody may do something, and which rule decides: 0 is yes, 1 no")
        .args([identity, deed.hide_possible_values(true).help("What is to be done"), object, claims, token])
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
