//! From file, environment and flags to plain data, with every problem told at once.
//!
//! A setting is stated by its flag, else by its `LONGSHORE_*` variable, else
//! in a file, else by a `GOCDNEXT_LAYER_CACHE_*` variable, else by an `AWS_*`
//! one; the first that says anything decides. [`SETTINGS`] is the one table of
//! them. Flags and variables are about the profile `default`; others stand in
//! files alone. Nothing here reads the process's environment, looks up a name,
//! or opens anything but the files and the sources of secrets it is told to.
//!
//! Where it is not plain:
//!
//! - An empty `LONGSHORE_*` variable is a mistake (most likely it was never
//!   filled in) except where nothing is a value: `LONGSHORE_PREFIX`,
//!   `LONGSHORE_HOSTS`, `LONGSHORE_ADMIN_LISTEN`. An empty `AWS_*` one counts as unset.
//! - Unknown `LONGSHORE_*` variables are refused. `LONGSHORE_TEST_*` and
//!   `LONGSHORE_SECRET_*` are kept for other uses, and what Kubernetes sets
//!   for a Service called `longshore` is passed over.
//! - A store in one word (`s3://bucket/prefix`) is the store, the bucket and
//!   the prefix in one: it stands in for those of every lower source. A lower
//!   source that states a store of another kind has no say on the store at
//!   all, its keys and endpoint included.

mod access;
mod bucket;
mod credentials;
mod data;
mod environment;
mod file;
mod host;
mod issuers;
mod layers;
mod layout;
mod objects;
mod people;
mod problem;
mod profile;
mod report;
mod rules;
mod secrets;
mod setting;
mod sources;
mod store;
mod tables;
mod tenants;
mod units;
mod users;

use std::path::PathBuf;
use std::time::Duration;

use layers::{Gathered, Layers};

pub use data::{
    Access, Anonymous, Config, FallbackRule, ImageKind, Listener, Log, LogFormat, LogLevel, Parts, Profile, Rule, Server, Store,
    StoreLimits, TokenService,
};
pub use layout::{Layout, S3Clients};
pub use problem::Problems;
pub use report::InForce;
pub use setting::{Fallback, Kind, SETTINGS, Setting};
pub use sources::{Environment, File, Flags, Sources};
pub use store::is_store_word;
pub use units::written_time;

/// Makes a configuration of everything that was stated.
///
/// # Errors
///
/// Everything that is wrong with it, in words that hold no secret.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    load_for(sources, Purpose::Serving(None))
}

/// Makes a configuration that is to be put in force while a server listens as `in_force` says: who may do what is judged by
/// that too, since it will go on so.
///
/// # Errors
///
/// As [`load`].
pub fn load_beside(sources: &Sources, in_force: &Server) -> Result<Config, Problems> {
    load_for(sources, Purpose::Serving(Some(in_force)))
}

/// The files and folders that a configuration is made of, as far as that can be told of one that is wrong.
#[must_use]
pub fn places(flags: &Flags, environment: &Environment) -> Vec<PathBuf> {
    let mut places = Sources::paths_to_read(flags, environment);
    if let Ok(Gathered { server: mut layers, .. }) =
        Sources::gather(flags, environment).and_then(|sources| Gathered::of(&sources))
    {
        let secrets = layers.read_all(&setting::SECRET_SOURCES, str::parse).unwrap_or_default();
        places.extend(crate::secrets::places(&secrets, &environment.variables().collect()));
        places.extend(layers.word(&setting::HTPASSWD).map(|word| PathBuf::from(&word.text)));
    }
    places
}

/// Makes a configuration of everything that was stated, for work on the store
/// that serves nobody: so who may do what need not be stated.
///
/// # Errors
///
/// As [`load`].
pub fn load_unserved(sources: &Sources) -> Result<Config, Problems> {
    load_for(sources, Purpose::StoreOnly)
}

/// The settings of a configuration that is fine, with where each comes from; and the configuration, whose secrets are in none
/// of them.
///
/// # Errors
///
/// As [`load`].
pub fn in_force(sources: &Sources) -> Result<(Vec<InForce>, Config), Problems> {
    let (config, gathered) = read(sources, Purpose::Serving(None))?;
    Ok((report::report(&gathered, &config), config))
}

/// Where secrets come from, whatever else the configuration states: it may be
/// waiting for the secret that is about to be set.
///
/// # Errors
///
/// The file is not TOML, or what it says of just this is wrong.
pub fn secret_sources(sources: &Sources) -> Result<Vec<crate::secrets::Source>, Problems> {
    let Gathered { server: mut layers, .. } = Gathered::of(sources)?;
    let found = layers.read_all(&setting::SECRET_SOURCES, str::parse);
    let problems = layers.problems.of(&setting::SECRET_SOURCES);
    if problems.is_empty() { Ok(found.unwrap_or_default()) } else { Err(problems) }
}

/// What a configuration is needed for.
enum Purpose<'a> {
    /// Where others may reach it: as it says itself, and as a server listens that goes on under it.
    Serving(Option<&'a Server>),
    StoreOnly,
}

fn load_for(sources: &Sources, purpose: Purpose<'_>) -> Result<Config, Problems> {
    read(sources, purpose).map(|(config, _)| config)
}

/// The configuration, and what it was made of.
fn read(sources: &Sources, purpose: Purpose<'_>) -> Result<(Config, Gathered), Problems> {
    let Gathered { server: mut layers, profiles: mut stated, tables } = Gathered::of(sources)?;
    let log = log(&mut layers);
    let mut tls_files = Vec::new();
    let server = access::server(&mut layers, &tables, &mut tls_files);
    let store = limits(&mut layers);
    let secrets = secrets::open(&mut layers, &sources.environment);
    let (mut warnings, mut kinds, mut profiles) = (unheeded(sources), Vec::new(), Vec::new());
    if let Some(secrets) = &secrets {
        secrets::warn_of_exposed(secrets, &mut warnings);
    }
    for of_profile in &mut stated {
        of_profile.secrets = secrets.clone();
        let kind = store::decide(of_profile, &sources.environment);
        profiles.extend(profile::profile(of_profile, kind, &sources.environment, &mut warnings));
        kinds.extend(kind);
        layers.problems.extend(std::mem::take(&mut of_profile.problems));
    }
    profile::refuse_ties(&mut layers, &profiles);
    rules::refuse_strangers(&mut layers, &profiles);
    let people = people::people(&mut layers, &tables, secrets.as_ref(), &mut warnings);
    tenants::serve(&mut layers, &mut profiles, &stated, &people);
    let has_people = people::are_stated(&layers, &tables);
    let anonymous = match purpose {
        Purpose::Serving(in_force) => {
            if let Some(server) = &server {
                access::refuse_what_leads_nowhere(&mut layers, server, &stated);
            }
            if let Some(server) = server.as_ref().filter(|_| profiles.len() == stated.len()) {
                people::warn_of_no_profile(&people.grants, &profiles, &server.listeners, &mut warnings);
                tenants::tell_apart(&mut layers, &profiles, &server.listeners, &mut warnings);
            }
            access::anonymous(&mut layers, server.iter().chain(in_force), &kinds, has_people)
        }
        Purpose::StoreOnly => access::anonymous(&mut layers, [], &[], has_people),
    };
    let read = [sources.paths(), people.files.clone(), tls_files].concat();
    tenants::warn_of_those_who_are_not_asked(anonymous, &profiles, &mut warnings);
    let access = access::access(&mut layers, anonymous, people, secrets.as_ref());
    if let (Some(access), Some(server)) = (&access, &server) {
        people::warn_of_plain_http(access.allow_plain_http, has_people, &server.listeners, &mut warnings);
    }
    secrets::tell_of_literals(&mut layers, &mut warnings);
    let config = || {
        let (log, server, access, store, secrets) = (log?, server?, access?, store?, secrets?);
        let files = [read, secrets.files()].concat();
        Some(Config { log, server, access, store, profiles, secrets, warnings, files })
    };
    match config() {
        Some(config) if layers.problems.is_empty() => Ok((config, Gathered { server: layers, profiles: stated, tables })),
        _ => Err(layers.problems),
    }
}

/// Warns of what looks like settings, and is none.
fn unheeded(sources: &Sources) -> Vec<String> {
    let files = sources.passed_over.iter().map(|path| format!("{} is not read: a profile's file ends in .toml", path.display()));
    let variables = environment::unheeded(&sources.environment).map(|name| format!("{name} means nothing here"));
    files.chain(variables).collect()
}

/// What is logged.
fn log(layers: &mut Layers) -> Option<Log> {
    let format = layers.choose(&setting::LOG_FORMAT, |word| match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let level = layers.choose(&setting::LOG_LEVEL, |word| match word {
        "error" => Some(LogLevel::Error),
        "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        "trace" => Some(LogLevel::Trace),
        _ => None,
    });
    Some(Log { format: format?, level: level? })
}

/// How much the store may cost. The least memory is two parts of 16 MiB, so that one can be filled while the other is sent.
fn limits(layers: &mut Layers) -> Option<StoreLimits> {
    let upload_memory = layers.size(&setting::UPLOAD_MEMORY, &((32 << 20)..=(64 << 30)));
    let patience = layers.duration(&setting::PATIENCE, &(Duration::from_secs(1)..=Duration::from_hours(1)));
    let max_requests = layers.number(&setting::MAX_REQUESTS, &(16..=65_536));
    let index_memory = layers.size(&setting::INDEX_MEMORY, &((1 << 20)..=(16 << 30)));
    let index_ttl = layers.duration(&setting::INDEX_TTL, &(Duration::from_secs(1)..=DAY));
    let touch_after = layers.duration(&setting::TOUCH_AFTER, &(Duration::from_hours(1)..=DAY * 365));
    let grace = layers.duration(&setting::GRACE, &(DAY..=DAY * 3650));
    let (index_ttl, touch_after, grace) = (index_ttl?, touch_after?, grace?);
    refuse_short_grace(layers, grace, touch_after + index_ttl + LONGEST_BUILD);
    Some(StoreLimits {
        upload_memory: upload_memory?,
        patience: patience?,
        max_requests: max_requests?,
        index_memory: index_memory?,
        index_ttl,
        touch_after,
        grace,
    })
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a build may rely on what it was told at its beginning.
const LONGEST_BUILD: Duration = DAY;

/// A layer that was told to be there, just before it would have been made young again, must outlast the build that relies on it.
fn refuse_short_grace(layers: &mut Layers, grace: Duration, least: Duration) {
    if grace <= least {
        let least = units::written_time(least);
        layers.refuse(
            &setting::GRACE,
            format!("must be more than {least}, which is store.touch_after, store.index_ttl and 24h for a build together"),
        );
    }
}

#[cfg(test)]
mod tests;
