//! Every setting there is, one line each: its key, flag, variable, default and help come from here.

use self::Fallback::{Told, Value};
use self::Kind::{Boolean, Choice, Credential, Duration, List, Number, Pairs, Size, StoreWord, Tables, Text};
use crate::store::KIND_NAMES;

/// One setting: a thing that a person may state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands in the file; those of any profile are told as those of `default`.
    pub key: &'static str,
    /// Its flag without the dashes; its variable is `LONGSHORE_` and this in capitals.
    /// Empty for what only a file states.
    pub word: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds when nobody states it.
    pub default: Fallback,
    /// What it is for, in a sentence.
    pub help: &'static str,
}

/// What the value of a setting looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Where the bytes are kept; on the command line it is the argument, not a flag.
    StoreWord,
    /// A text; what to call it in the help.
    Text(&'static str),
    /// Several texts, with commas between in a flag or a variable; what to call one in the help.
    List(&'static str),
    /// Keys with values: a table, or a text such as `key=value&key=value`; what to call that in the help.
    Pairs(&'static str),
    /// `true` or `false`.
    Boolean,
    /// A whole number of things.
    Number,
    /// A time with its unit.
    Duration,
    /// A number of bytes with its unit.
    Size,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any number of tables with these keys, each with what its value looks like: only a file has room for them.
    Tables(&'static [(&'static str, Kind)]),
    /// A key, or part of a pair: no flag, since others can read a command line, and never repeated in a message.
    Credential,
}

/// What holds when nobody states a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// As if this had been stated.
    Value(&'static str),
    /// It depends on the other settings: how, in words.
    Told(&'static str),
}

impl Setting {
    /// Its flag with the dashes, or the argument's name; `None` for what must not stand on a command line.
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        match self.kind {
            Credential => None,
            _ if self.word.is_empty() => None,
            StoreWord => Some("STORE".into()),
            _ if self.word.is_empty() => None,
            _ => Some(format!("--{}", self.word)),
        }
    }

    /// Its variable; `None` for what only a file states.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        let word = self.word.to_ascii_uppercase().replace('-', "_");
        (!word.is_empty()).then(|| format!("LONGSHORE_{word}"))
    }

    /// Its key in the table of a profile; `None` for what is not of a profile.
    #[must_use]
    pub fn key_in_profile(&self) -> Option<&'static str> {
        self.key.strip_prefix("profiles.default.")
    }

    /// The table of the file in which it stands.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Whether its value must not be known to others.
    pub(super) fn is_secret(&self) -> bool {
        self.kind == Credential && ![ACCESS_KEY_ID.key, FROM_ID.key].contains(&self.key)
    }

    /// Whether an empty text is a value of it, and not a mistake.
    pub(super) fn may_be_empty(&self) -> bool {
        [PREFIX.key, HOSTS.key, ADMIN_LISTEN.key].contains(&self.key)
    }
}

/// S3 User Guide, "Access control list (ACL) overview", "Canned ACL", those that objects can have.
pub(super) const CANNED_ACLS: &[&str] = &[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
];

/// Where keys can come from.
pub(super) const SOURCES: &[&str] = &[
    "static",
    "hmac",
    "file",
    "environment",
    "web-identity",
    "instance",
    "assume-role",
    "default",
    "google-service-account",
    "google-metadata",
    "google-external-account",
];

/// What a role can be taken with.
pub(super) const BASES: &[&str] = &["static", "file", "environment", "web-identity", "instance", "default"];

/// What a rule says.
pub(super) const RULE_KEYS: &[(&str, Kind)] =
    &[("image", Text("PATTERN")), ("kind", Choice(&["cache", "image"])), ("parts", Boolean)];

/// Whom a profile serves: a user, a group, a certificate, or an issuer and any claims of its tokens.
pub(super) const WHO_KEYS: &[(&str, Kind)] = &[(ANY_KEY, Text("PATTERN"))];

/// Stands for every key in the tables of a setting.
pub(super) const ANY_KEY: &str = "";

/// What a fallback says.
pub(super) const FALLBACK_KEYS: &[(&str, Kind)] =
    &[("image", Text("PATTERN")), ("tag", Text("PATTERN")), ("to", List("TAG")), ("union", Boolean)];

/// Makes a constant of every setting, and [`SETTINGS`] of them all.
macro_rules! settings {
    ($($name:ident: $key:literal, $word:literal, $kind:expr, $default:expr, $help:literal;)*) => {
        $(pub(super) const $name: Setting = Setting { key: $key, word: $word, kind: $kind, default: $default, help: $help };)*

        /// Every setting, in the order in which a person would read about them.
        pub const SETTINGS: &[Setting] = &[$($name),*];
    };
}

#[rustfmt::skip]
settings! {
    STORE:             "profiles.default.store",             "store",             StoreWord,                    Told("the user's cache directory"),     "Where the bytes are kept: s3://bucket/prefix, gs://bucket/prefix, /some/dir or ./dir";
    PATH:              "profiles.default.path",              "path",              Text("DIR"),                  Told("longshore in $XDG_CACHE_HOME, else in ~/.cache"), "The folder, for a store that is one";
    BUCKET:            "profiles.default.bucket",            "bucket",            Text("NAME"),                 Told("none"),                           "The bucket, for a store that is one";
    PREFIX:            "profiles.default.prefix",            "prefix",            Text("PREFIX"),               Value(""),                              "What every key in the bucket begins with, without slashes at its ends";
    KIND:              "profiles.default.kind",              "kind",              Choice(&KIND_NAMES),          Told("what the endpoint is known for, else generic; aws without one"), "Whose S3 it is, as they differ";
    REGION:            "profiles.default.region",            "region",            Text("REGION"),               Told("AWS_REGION, AWS_DEFAULT_REGION, else by kind"), "The bucket's region";
    ENDPOINT:          "profiles.default.endpoint",          "endpoint",          Text("URL"),                  Told("AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else by kind"), "Where an S3-compatible store answers";
    PATH_STYLE:        "profiles.default.path_style",        "path-style",        Boolean,                      Told("false for aws, else true"), "Whether the bucket stands in the path of a URL and not in its host name";
    CREDENTIALS:       "profiles.default.credentials",       "credentials",       Choice(SOURCES),              Told("the key pair"),                   "Where keys come from, when they are not stated; default is the AWS SDK's own chain: its files, web identity, the instance's role";
    ACCESS_KEY_ID:     "profiles.default.access_key_id",     "access-key-id",     Credential,                   Told("AWS_ACCESS_KEY_ID"),              "The key pair's public half";
    SECRET_ACCESS_KEY: "profiles.default.secret_access_key", "secret-access-key", Credential,                   Told("AWS_SECRET_ACCESS_KEY"),          "The key pair's secret half; it comes from where the public half comes from";
    SESSION_TOKEN:     "profiles.default.session_token",     "session-token",     Credential,                   Told("AWS_SESSION_TOKEN"),              "What goes with a key pair that was given out for a while";
    KEYS_FILE:         "profiles.default.credentials.file",  "",                  Text("FILE"),                 Told("by source"),                      "The file of a source that reads one";
    KEYS_SECTION:      "profiles.default.credentials.section", "",                Text("NAME"),                 Told("default"),                        "The section of a shared credentials file";
    KEYS_ROLE:         "profiles.default.credentials.role_arn", "",               Text("ARN"),                  Told("by source"),                      "The role to take";
    KEYS_TOKEN_FILE:   "profiles.default.credentials.token_file", "",             Text("FILE"),                 Told("AWS_WEB_IDENTITY_TOKEN_FILE"),    "The file with the token of a web identity";
    KEYS_SESSION:      "profiles.default.credentials.session_name", "",           Text("NAME"),                 Told("longshore"),                      "What the session of a role is called";
    KEYS_EXTERNAL_ID:  "profiles.default.credentials.external_id", "",            Credential,                   Told("none"),                           "What a role of another account asks for";
    KEYS_DURATION:     "profiles.default.credentials.duration", "",               Duration,                     Told("1h"),                             "How long a role's keys hold, from 15m to 12h";
    KEYS_POLICY:       "profiles.default.credentials.session_policy", "",         Choice(&["prefix", "none"]),  Told("prefix"),                         "Whether a role's keys are narrowed to what the profile needs";
    KEYS_FROM:         "profiles.default.credentials.from",  "",                  Choice(BASES),                Told("default"),                        "What a role is taken with";
    FROM_FILE:         "profiles.default.credentials.from.file", "",              Text("FILE"),                 Told("by source"),                      "As credentials.file";
    FROM_SECTION:      "profiles.default.credentials.from.section", "",           Text("NAME"),                 Told("default"),                        "As credentials.section";
    FROM_ROLE:         "profiles.default.credentials.from.role_arn", "",          Text("ARN"),                  Told("AWS_ROLE_ARN"),                   "As credentials.role_arn, of a web identity";
    FROM_TOKEN_FILE:   "profiles.default.credentials.from.token_file", "",        Text("FILE"),                 Told("AWS_WEB_IDENTITY_TOKEN_FILE"),    "As credentials.token_file";
    FROM_ID:           "profiles.default.credentials.from.access_key_id", "",     Credential,                   Told("none"),                           "As access_key_id";
    FROM_SECRET:       "profiles.default.credentials.from.secret_access_key", "", Credential,                   Told("none"),                           "As secret_access_key";
    FROM_TOKEN:        "profiles.default.credentials.from.session_token", "",     Credential,                   Told("none"),                           "As session_token";
    SSE:               "profiles.default.sse",               "sse",               Choice(&["AES256", "aws:kms"]), Told("what the bucket does by itself"), "How the store encrypts: with its own keys, or with one of its key management";
    SSE_KMS_KEY_ID:    "profiles.default.sse_kms_key_id",    "sse-kms-key-id",    Text("KEY"),                  Told("the account's own key"),          "The key for aws:kms";
    SSE_CUSTOMER_KEY:  "profiles.default.sse_customer_key",  "sse-customer-key",  Credential,                   Told("none"),                           "A key to encrypt with that every request brings: 32 bytes in base64";
    STORAGE_CLASS:     "profiles.default.storage_class",     "storage-class",     Text("CLASS"),                Told("the bucket's own"),               "The storage class of what is written";
    ACL:               "profiles.default.acl",               "acl",               Choice(CANNED_ACLS),          Told("the bucket's own"),               "The ACL of what is written";
    OBJECT_TAGS:       "profiles.default.object_tags",       "object-tags",       Pairs("KEY=VALUE&..."),       Told("none"),                           "Tags for what is written";
    REQUEST_PAYER:     "profiles.default.request_payer",     "request-payer",     Boolean,                      Value("false"),                         "Whether to pay for requests, in a bucket whose owner does not";
    CA_BUNDLE:         "profiles.default.ca_bundle",         "ca-bundle",         Text("FILE"),                 Told("none"),                           "Certificates in PEM to trust besides the system's";
    PROXY:             "profiles.default.proxy",             "proxy",             Text("URL"),                  Told("none; HTTP_PROXY and its like do not count"), "The proxy to go through to the store";
    IMAGES:            "profiles.default.images",            "",                  List("PATTERN"),              Told("those that no other profile has"), "Which images are its own";
    WHO:               "profiles.default.who",               "",                  Tables(WHO_KEYS),             Told("nobody: images alone lead to it"), "Whose images it has, of those that no profile has for its own";
    MAP:               "profiles.default.map",               "",                  Pairs("PATTERN=IMAGE"),       Told("none"),                           "Images that are kept as another";
    LAYOUT:            "profiles.default.layout",            "layout",            Choice(&["image", "shared"]),  Told("image; shared for the bucket that GOCDNEXT_LAYER_CACHE_BUCKET names"), "Whether the layers of all images lie in one place, as for type=s3 clients with one prefix, or each image's under its name";
    S3_NAME:           "profiles.default.s3_clients.name",   "",                  Text("NAME"),                 Told("{tag} in layout image, {image} in layout shared"), "What type=s3 clients in the same bucket call a cache";
    S3_TAG:            "profiles.default.s3_clients.tag",    "",                  Text("TAG"),                  Told("cache"),                          "Which tag that is, where the name has no {tag}";
    S3_WRITE:          "profiles.default.s3_clients.write",  "",                  Boolean,                      Told("false; true for the bucket that GOCDNEXT_LAYER_CACHE_BUCKET names"), "Whether caches that are pushed are written for type=s3 clients too";
    S3_BLOBS:          "profiles.default.s3_clients.blobs_prefix", "",            Text("PREFIX"),               Told("blobs/"),                         "Their blobs_prefix, in layout shared";
    S3_MANIFESTS:      "profiles.default.s3_clients.manifests_prefix", "",        Text("PREFIX"),               Told("manifests/"),                     "Their manifests_prefix, in layout shared";
    PARTS_SEPARATOR:   "profiles.default.parts.separator",   "",                  Text("TEXT"),                 Value("--"),                            "What stands between a tag and the name of its part";
    PARTS_WINDOW:      "profiles.default.parts.window",      "",                  Duration,                     Value("24h"),                           "How much older than the newest a part may be, from 1m to 365d";
    PARTS_MAX:         "profiles.default.parts.max",         "",                  Number,                       Value("32"),                            "How many parts of a tag count, the newest, from 1 to 256";
    PARTS_MAX_BYTES:   "profiles.default.parts.max_bytes",   "",                  Size,                         Value("8MiB"),                          "How much of configs is united, of the newest, from 1MiB to 64MiB";
    RULES:             "profiles.default.rules",             "",                  Tables(RULE_KEYS),            Told("none"),                           "What images are for, and whether their tags have parts";
    FALLBACK:          "profiles.default.fallback",          "",                  Tables(FALLBACK_KEYS),        Told("none"),                           "What stands in for tags that are absent";
    LISTEN:            "server.listen",                      "listen",            List("ADDRESS"),              Value("localhost:5000"),                "Where to listen: IP:PORT, or localhost:PORT for 127.0.0.1 and, where there is IPv6, [::1]; with =PROFILE for clients of that profile alone";
    ADMIN_LISTEN:      "server.admin_listen",                "admin-listen",      List("ADDRESS"),              Value(""),                              "Where to answer GET /metrics, such as 127.0.0.1:9090; nowhere unless stated";
    HOSTS:             "server.hosts",                       "hosts",             List("NAME"),                 Value(""),                              "Names this server may be called by, besides localhost and loopback addresses";
    DRAIN:             "server.drain",                       "drain",             Duration,                     Value("120s"),                          "How long running exports may go on once we are told to stop, at most 1h";
    MAX_CONNECTIONS:   "server.max_connections",             "max-connections",   Number,                       Value("4096"),                          "Most connections of clients at once, from 1 to 1000000; half of the files that the process may open, if that is less";
    METRICS_IMAGES:    "server.metrics_images",              "metrics-images",    Number,                       Value("100"),                           "Most images that are counted apart in the metrics, to 10000; what is left is counted together";
    ANONYMOUS:         "access.anonymous",                   "anonymous",         Choice(&["none", "read", "write"]), Told("write for a folder served on loopback only; else it must be stated"), "What clients without credentials may do";
    HTPASSWD:          "access.htpasswd",                    "htpasswd",          Text("FILE"),                 Told("none"),                           "A file of users with bcrypt hashes of their passwords, as htpasswd -B makes it";
    ALLOW_PLAIN_HTTP:  "access.allow_plain_http",            "allow-plain-http",  Boolean,                      Value("false"),                         "Whether passwords and tokens are taken over plain HTTP from beyond this machine";
    TOKEN_REALM:       "access.token.realm",                 "token-realm",       Text("URL"),                  Told("none: clients send passwords"),   "Where clients fetch a token to show in place of a password: this server's /token, as they reach it";
    TOKEN_KEY:         "access.token.key",                   "token-key",         Credential,                   Told("none"),                           "What such tokens are signed with, 32 bytes or more, the same on every replica";
    TOKEN_OLD_KEY:     "access.token.previous_key",          "token-previous-key", Credential,                  Told("none"),                           "What they were signed with before, which counts still";
    AUDIT_FILE:        "access.audit.file",                  "audit-file",        Text("FILE"),                 Told("none: the log has it"),           "A file to keep in who did what; it is begun anew where it was moved away";
    AUDIT_FORMAT:      "access.audit.format",                "audit-format",      Choice(&["text", "json"]),    Told("text"),                           "How a line of that file is written";
    UPLOAD_MEMORY:     "store.upload_memory",                "upload-memory",     Size,                         Value("64MiB"),                         "Memory for bodies on their way to and from a bucket, all together, from 32MiB to 64GiB";
    PATIENCE:          "store.patience",                     "patience",          Duration,                     Value("3m"),                            "How long a layer may wait for the store, from 1s to 1h";
    MAX_REQUESTS:      "store.max_requests",                 "max-requests",      Number,                       Value("256"),                           "Most requests to the store of one profile at once, from 16 to 65536; fewer while it asks for fewer";
    INDEX_MEMORY:      "store.index_memory",                 "index-memory",      Size,                         Value("16MiB"),                         "Memory for what is known to be in the store, from 1MiB to 16GiB";
    INDEX_TTL:         "store.index_ttl",                    "index-ttl",         Duration,                     Value("10m"),                           "How long a layer that was in the store is taken to be there still, from 1s to 24h";
    TOUCH_AFTER:       "store.touch_after",                  "touch-after",       Duration,                     Value("3d"),                            "How old a layer that is still in use may get before it is made young again, from 1h to 365d";
    GRACE:             "store.grace",                        "grace",             Duration,                     Value("7d"),                            "How old a layer that nobody needs is at least when it is removed; more than index_ttl, touch_after and 24h together";
    SECRET_SOURCES:    "secrets.sources",                    "",                  List("SOURCE"),               Value("env"),                           "Where secrets come from that keys refer to; the first that has one decides";
    LOG_FORMAT:        "log.format",                         "log-format",        Choice(&["text", "json"]),    Value("text"),                          "How a line of the log is written";
    LOG_LEVEL:         "log.level",                          "log-level",         Choice(&["error", "warn", "info", "debug", "trace"]), Value("info"),  "What is worth a line of the log";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_settings_share_a_name() {
        assert_eq!(SETTINGS.iter().map(|setting| setting.key).collect::<BTreeSet<_>>().len(), SETTINGS.len());
        let variables: Vec<_> = SETTINGS.iter().filter_map(Setting::variable).collect();
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len());
    }

    #[test]
    fn no_key_has_a_flag() {
        for setting in [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, SSE_CUSTOMER_KEY] {
            assert_eq!(setting.flag(), None, "{setting:?}");
        }
        assert_eq!(PATH_STYLE.flag().as_deref(), Some("--path-style"));
        assert_eq!(PATH_STYLE.variable().as_deref(), Some("LONGSHORE_PATH_STYLE"));
    }

    // Kubernetes gives a pod LONGSHORE_PORT when a Service is called longshore.
    #[test]
    fn no_setting_is_called_port() {
        assert!(SETTINGS.iter().all(|setting| setting.word != "port"));
    }
}
