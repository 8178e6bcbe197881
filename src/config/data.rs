//! A whole configuration as plain data, from which each floor gets what it wants.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::{Layout, S3Clients};
use crate::access::{Grant, Issuer, User, Who};
use crate::audit::AuditFile;
use crate::oci::{Pattern, RepoName, Tag, TagPattern};
use crate::secrets::Secrets;
use crate::store::S3Settings;
use crate::tls::Tls;

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
    /// Where it is kept who did what; `None` for the log.
    pub audit: Option<AuditFile>,
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
