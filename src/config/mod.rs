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

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::access::{Grant, Issuer, User, Who};
use crate::oci::{Pattern, RepoName, Tag, TagPattern};
use crate::secrets::Secrets;
use crate::store::S3Settings;
use crate::tls::Tls;
use layers::{Gathered, Layers};

pub use layout::{Layout, S3Clients};
pub use problem::Problems;
pub use report::InForce;
pub use setting::{Fallback, Kind, SETTINGS, Setting};
pub use sources::{Environment, File, Flags, Sources};
pub use store::is_store_word;
pub use units::written_time;

/// A whole configuration, checked and with every default filled in.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is logged.
    pub log: Log,
    /// How clients reach us.
    pub server: Server,
    /// Who may do what.
    pub access: Access,
    /// How much the store may cost.
    pub store: StoreLimits,
    /// Where the bytes are; at least one, each of another name.
    pub profiles: Vec<Profile>,
    /// What keys refer to.
    pub secrets: Secrets,
    /// What is no mistake and yet worth a word to whoever wrote it.
    pub warnings: Vec<String>,
    /// The files and folders that all this was read from.
    pub files: Vec<PathBuf>,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line is written.
    pub format: LogFormat,
    /// What is worth a line.
    pub level: LogLevel,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The least important thing that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A person must act.
    Error,
    /// We did not do what was asked.
    Warn,
    /// Started, stopped, reloaded.
    Info,
    /// One request's story.
    Debug,
    /// Everything.
    Trace,
}

/// How clients reach us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// At least one; no two are the same, unless their port is 0.
    pub listeners: Vec<Listener>,
    /// Where those come in who watch; may be none.
    pub admin_listeners: Vec<Listener>,
    /// Names and IP addresses in small letters, without port or brackets.
    pub hosts: Vec<String>,
    /// How long running exports may go on once we are told to stop.
    pub drain: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most images that are counted apart.
    pub metrics_images: usize,
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The port may be 0: any that is free.
    pub address: SocketAddr,
    /// Whether it is a failure that the machine has no such address.
    pub required: bool,
    /// The profile of all who come in here; `None` where the image decides.
    pub profile: Option<String>,
    /// How clients are greeted; `None` where they speak in the open.
    pub tls: Option<Tls>,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Access {
    /// What clients without credentials may do.
    pub anonymous: Anonymous,
    /// Whether passwords are taken over plain HTTP from beyond this machine.
    pub allow_plain_http: bool,
    /// Who has a password.
    pub users: Vec<User>,
    /// Who vouches for jobs.
    pub issuers: Vec<Issuer>,
    /// Where clients fetch tokens, if they do.
    pub tokens: Option<TokenService>,
    /// Who may do what, besides.
    pub grants: Vec<Grant>,
}

/// Where clients fetch tokens to show in place of passwords.
#[derive(Clone, Debug)]
pub struct TokenService {
    /// The URL, as they reach it.
    pub realm: String,
    /// What tokens are signed with; the first signs.
    pub keys: Vec<SecretString>,
}

/// What clients without credentials may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// How much the store may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of memory for bodies on their way to and from a bucket, all together.
    pub upload_memory: u64,
    /// How long a layer may wait for the store.
    pub patience: Duration,
    /// Most requests to one profile's store at once.
    pub max_requests: usize,
    /// Bytes of memory for what is known to be in the store.
    pub index_memory: u64,
    /// How long a layer that was in the store is taken to be there still.
    pub index_ttl: Duration,
    /// How old a layer that is in use may get before it is made young again.
    pub touch_after: Duration,
    /// How old a layer that nobody needs is at least when it is removed; a day
    /// and more above the other two, so that no build outlasts it.
    pub grace: Duration,
}

/// A store under a name, with the keys to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// `default` for the one that all images belong to that are no other's.
    pub name: String,
    /// The images that are its own, whatever else there is.
    pub images: Vec<Pattern>,
    /// Those whose images it has that are no profile's own; nobody is served by two.
    pub who: Vec<Who>,
    /// Images that are kept as another one. No two mean the same image and are equally specific.
    pub map: Vec<(Pattern, RepoName)>,
    /// Where in the store things lie.
    pub layout: Layout,
    /// Who else has caches there, and what they call them.
    pub s3_clients: Option<S3Clients>,
    /// Which parts of a tag count.
    pub parts: Parts,
    /// What images are for; the most specific that says so decides.
    pub rules: Vec<Rule>,
    /// What stands in for tags that are absent. No two mean the same tag and are equally specific.
    pub fallbacks: Vec<FallbackRule>,
    /// Where the bytes are.
    pub store: Store,
}

/// Which parts of a tag count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// What stands between a tag and the name of its part.
    pub separator: String,
    /// How much older than the newest a part may be.
    pub window: Duration,
    /// How many there may be, the newest.
    pub max: usize,
    /// How many bytes of configs are united, of the newest.
    pub max_bytes: u64,
}

/// What some images are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which ones.
    pub image: Pattern,
    /// What they are for, if this says so.
    pub kind: Option<ImageKind>,
    /// Whether their tags have parts, if this says so.
    pub parts: Option<bool>,
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// Builds alone.
    Cache,
    /// Being run alone.
    Image,
}

/// What stands in for some tags while they are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FallbackRule {
    /// Of which images.
    pub image: Pattern,
    /// Which tags.
    pub tag: TagPattern,
    /// Tags of the same image, or of another one.
    pub to: Vec<(Option<RepoName>, Tag)>,
    /// Whether all of them do that are there, and not only the first.
    pub is_union: bool,
}

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq)]
pub enum Store {
    /// In a folder, which need not exist yet; a relative path starts at the working directory.
    Folder {
        /// Never empty.
        path: PathBuf,
    },
    /// In a bucket.
    S3(Box<S3Settings>),
}

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

impl Config {
    /// The values of all secrets that it refers to, and those that stand in it as they are: what no output may show.
    #[must_use]
    pub fn secret_values(&self) -> Vec<SecretString> {
        let stated = self.profiles.iter().flat_map(|profile| profile.store.literals());
        let keys = self.access.tokens.iter().flat_map(|tokens| tokens.keys.clone());
        self.secrets.values().into_iter().chain(stated).chain(keys).collect()
    }
}

impl Store {
    /// The secrets that stand in it as they are, and are not referred to.
    #[must_use]
    pub fn literals(&self) -> Vec<SecretString> {
        match self {
            Self::S3(bucket) => bucket.literals(),
            Self::Folder { .. } => Vec::new(),
        }
    }
}

impl fmt::Display for Store {
    /// The place in a few words, without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path } => write!(f, "folder {}", path.display()),
            Self::S3(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Anonymous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::credentials::Source;
    use crate::secrets::Template;

    /// The configuration of these flags, by their words, these variables and this file; or all that is wrong, as it is told.
    pub fn loaded(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Config, String> {
        let mut sources = Sources::default();
        for (word, value) in flags {
            let setting = SETTINGS.iter().find(|setting| setting.word == *word).expect(word);
            sources.flags.state(setting, vec![(*value).into()]);
        }
        sources.environment = [("HOME", "/home/user")].iter().chain(variables).copied().collect();
        sources.file = Some(File { path: "config.toml".into(), text: file.into(), is_exposed: false });
        load(&sources).map_err(|problems| problems.to_string())
    }

    /// What the store may cost when nobody says anything.
    fn limits() -> StoreLimits {
        StoreLimits {
            upload_memory: 64 << 20,
            patience: Duration::from_mins(3),
            max_requests: 256,
            index_memory: 16 << 20,
            index_ttl: Duration::from_mins(10),
            touch_after: DAY * 3,
            grace: DAY * 7,
        }
    }

    #[test]
    fn nothing_stated_is_a_folder_served_on_loopback() {
        let config = loaded(&[], &[], "").unwrap();

        assert_eq!(config.server.listeners, host::listeners("localhost:5000").unwrap());
        assert_eq!(config.server.admin_listeners, []);
        assert_eq!(config.server.hosts, [""; 0]);
        assert_eq!(config.server.drain, Duration::from_mins(2));
        assert_eq!((config.server.max_connections, config.server.metrics_images), (4096, 100));
        assert_eq!(config.access.anonymous, Anonymous::Write);
        assert_eq!(config.store, limits());
        assert_eq!(config.log, Log { format: LogFormat::Text, level: LogLevel::Info });
        assert_eq!(config.profiles[0].store.to_string(), "folder /home/user/.cache/longshore");
    }

    #[test]
    fn a_flag_goes_before_a_variable_and_that_before_the_file() {
        let (flag, variable) = (&[("drain", "1s")], &[("LONGSHORE_DRAIN", "2s")]);
        let file = "[server]\ndrain = \"3s\"";
        for (flags, variables, file, seconds) in
            [(&flag[..], &variable[..], file, 1), (&[], variable, file, 2), (&[], &[], file, 3), (&[], &[], "", 120)]
        {
            assert_eq!(loaded(flags, variables, file).unwrap().server.drain, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn every_scalar_is_read_from_the_file() {
        let config = loaded(
            &[],
            &[],
            r#"
            [server]
            listen = ["0.0.0.0:80", "[::]:0"]
            admin_listen = ["127.0.0.1:9090"]
            hosts = ["Longshore.ci.svc", "10.0.0.7"]
            max_connections = 100
            metrics_images = 0
            [access]
            anonymous = "read"
            [store]
            upload_memory = "1GiB"
            patience = "1m30s"
            max_requests = 64
            index_memory = "2MiB"
            index_ttl = "1m"
            touch_after = "1d"
            grace = "3d"
            [secrets]
            sources = ["env", "dir:/"]
            [log]
            format = "json"
            level = "trace"
            [profiles.default]
            store = "s3"
            bucket = "ci-cache"
            prefix = "team/"
            region = "eu-central-1"
            endpoint = "https://objects.example"
            path_style = false
            access_key_id = "id"
            secret_access_key = "secret"
            session_token = "token"
            "#,
        )
        .unwrap();

        let addresses: Vec<String> = config.server.listeners.iter().map(|listener| listener.address.to_string()).collect();
        assert_eq!(addresses, ["0.0.0.0:80", "[::]:0"]);
        assert_eq!(config.server.admin_listeners, host::listeners("127.0.0.1:9090").unwrap());
        assert_eq!(config.server.hosts, ["longshore.ci.svc", "10.0.0.7"]);
        assert_eq!((config.server.max_connections, config.server.metrics_images), (100, 0));
        assert_eq!(config.access.anonymous, Anonymous::Read);
        let expected = StoreLimits {
            upload_memory: 1 << 30,
            patience: Duration::from_secs(90),
            max_requests: 64,
            index_memory: 2 << 20,
            index_ttl: Duration::from_mins(1),
            touch_after: DAY,
            grace: DAY * 3,
        };
        assert_eq!(config.store, expected);
        assert_eq!(config.log, Log { format: LogFormat::Json, level: LogLevel::Trace });
        let Store::S3(s3) = &config.profiles[0].store else { panic!("a folder") };
        assert_eq!(s3.to_string(), "s3://ci-cache/team, region eu-central-1, at https://objects.example");
        assert!(!s3.path_style);
        let Source::Static { access_key_id, secret_access_key, session_token } = &s3.credentials else { panic!("no keys") };
        let text = |template: &Template| template.text().unwrap().expose_secret().to_owned();
        assert_eq!([text(access_key_id), text(secret_access_key)], ["id", "secret"]);
        assert_eq!(text(session_token.as_ref().unwrap()), "token");
    }

    #[test]
    fn what_comes_from_several_sources_is_told_by_the_names_they_use() {
        let problems = loaded(
            &[("drain", "5")],
            &[("LONGSHORE_PATIENCE", "0s"), ("LONGSHORE_LOG_LEVEL", ""), ("LONGSHORE_BUKET", "b")],
            "[store]\nupload_memory = 5\n\n[server]\nlisten = [\n  \"127.0.0.1:1\",\n  \"nowhere\",\n]\n[profiles.ci]\n[profiles.default]\nstroe = \"s3\"\n",
        );

        assert_eq!(
            problems.unwrap_err(),
            r#"command line: 1 problem
  --drain  "5": a time is a whole number and its unit, such as 90s, 3m, 24h or 1m30s; the units are s, m, h and d
environment: 3 problems
  LONGSHORE_BUKET      there is no such variable; did you mean LONGSHORE_BUCKET?
  LONGSHORE_LOG_LEVEL  is empty; give it a value or take it away
  LONGSHORE_PATIENCE   "0s": must be at least 1s
config.toml: 3 problems
  store.upload_memory     line 2   must be a text with a unit, such as "64MiB", not a number
  server.listen           line 7   "nowhere": is an address and a port, such as 127.0.0.1:5000, [::1]:5000 or localhost:5000
  profiles.default.stroe  line 11  there is no such key; did you mean store?
configuration: 1 problem
  profiles.ci.store  nothing says where to keep the bytes: state a folder or a bucket"#
        );
    }

    #[test]
    fn a_layer_in_use_outlasts_a_build_before_it_could_be_removed() {
        let file = |grace| format!("[store]\nindex_ttl = \"1h\"\ntouch_after = \"2d\"\ngrace = \"{grace}\"");

        let refused = loaded(&[], &[], &file("73h")).unwrap_err();

        assert!(loaded(&[], &[], &file("74h")).is_ok());
        let expected = "store.grace  line 4  must be more than 3d1h, which is store.touch_after, store.index_ttl and 24h for a build together";
        assert!(refused.contains(expected), "{refused}");
        let unstated = loaded(&[("touch-after", "6d")], &[], "").unwrap_err();
        assert!(unstated.contains("must be more than 7d10m,"), "{unstated}");
    }

    #[test]
    fn sources_of_secrets_are_told_apart_from_whatever_else_is_wrong() {
        let sources = |text: &str| {
            let file = Some(File { path: "config.toml".into(), text: text.into(), is_exposed: false });
            let environment = [("LONGSHORE_BUKET", "b")].into_iter().collect();
            let found = secret_sources(&Sources { file, environment, ..Sources::default() });
            found.map(|sources| sources.len()).map_err(|problems| problems.to_string())
        };

        assert_eq!(sources("[server]\ndrain = 5\n[secrets]\nsources = [\"env\", \"dir:/run/secrets\"]"), Ok(2));
        assert_eq!(sources(""), Ok(1));
        for (text, told) in [
            ("[secrets]\nsources = [\"vault:x\"]", "secrets.sources  line 2  \"vault:x\": a source of secrets is sealed:/path"),
            ("[secrets]\nsources = 1", "secrets.sources  line 2  must be a list of texts, not a number"),
            ("[secrets]\nsources = []", "secrets.sources  line 2  is empty; name at least one"),
            ("[secrets", "not TOML"),
        ] {
            let refused = sources(text).unwrap_err();
            assert!(refused.contains(" 1 problem\n") && refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn a_mistake_shows_even_where_another_source_decides() {
        let problems = loaded(&[("drain", "5s")], &[], "[server]\ndrain = \"5\"").unwrap_err();

        assert!(problems.contains("server.drain  line 2"), "{problems}");
    }

    #[test]
    fn nothing_that_is_told_or_printed_holds_a_secret() {
        const S3: &str = "[access]\nanonymous = \"write\"\n[profiles.default]\nbucket = \"ci-cache\"\n";
        let env = |name| vec![(name, "MARK MARK")];
        for (variables, file) in [
            (vec![("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "MARK"), ("AWS_SESSION_TOKEN", "MARK")], ""),
            (vec![], "access_key_id = \"id\"\nsecret_access_key = \"MARK\"\nsession_token = \"MARK\""),
            (env("LONGSHORE_SECRET_ACCESS_KEY"), ""),
            (env("LONGSHORE_ACCESS_KEY_ID"), ""),
            (env("LONGSHORE_SESSION_TOKEN"), ""),
            (env("AWS_SECRET_ACCESS_KEY"), ""),
            (env("LONGSHORE_SECRET_ACESS_KEY"), ""),
            (env("LONGSHORE_ACCESS_KEY"), ""),
            (vec![("LONGSHORE_ENDPOINT", "https://user:MARK@host")], ""),
            (vec![("AWS_ENDPOINT_URL", "https://user:MARK@host")], ""),
            (vec![("LONGSHORE_STORE", "s3://user:MARK@ci-cache/x")], ""),
            (vec![], "secret_access_key = \"MARK\""),
            (vec![], "secret_access_key = \"MARK\"\ncredentials = \"default\""),
            (vec![], "secret_access_key = \"MARK"),
            (vec![], "secret_access_key = MARK"),
            (vec![], "secret_access_key = \"\\MARK\""),
            (vec![], "secret_access_key = \"MARK\" MARK"),
            (vec![], "secret_access_key = \"MARK\"\nsecret_access_key = \"MARK\""),
            (vec![], "secret_access_key = [\"MARK\"]"),
            (vec![], "secret_access_key = { value = \"MARK\" }"),
            (vec![], "secret_access_key = \"{{MARK}}\""),
            (vec![], "secret_key = \"MARK\""),
        ] {
            let told = match loaded(&[], &variables, &format!("{S3}{file}")) {
                Ok(config) => format!("{config:?} {}", config.profiles[0].store),
                Err(problems) => problems,
            };
            assert!(!told.contains("MARK"), "{told}");
        }
    }
}
