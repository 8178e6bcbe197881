//! Where the keys to a bucket come from: one source, whole, and never shown.

use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::layers::{DEFAULT, EMPTY, Layer, Layers, ONLY_KEYS_REFER, Source as Stated, Word, refers_in_vain};
use super::problem::Place;
use super::secrets::resolved;
use super::setting::{
    ACCESS_KEY_ID, CREDENTIALS, FROM_FILE, FROM_ID, FROM_ROLE, FROM_SECRET, FROM_SECTION, FROM_TOKEN, FROM_TOKEN_FILE,
    KEYS_DURATION, KEYS_EXTERNAL_ID, KEYS_FILE, KEYS_FROM, KEYS_POLICY, KEYS_ROLE, KEYS_SECTION, KEYS_SESSION, KEYS_TOKEN_FILE,
    Kind, SECRET_ACCESS_KEY, SESSION_TOKEN, SOURCES, Setting,
};
use super::{store, units};
use crate::credentials::{AssumeRole, Part, Scope, Source, WebIdentity, session_policy};
use crate::secrets::{Secrets, Template};
use crate::store::S3Kind;

/// What to do when there are no keys.
const NO_KEYS: &str = "no keys to the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the same with LONGSHORE_, or in the file),
or state credentials = \"default\" (--credentials default) for what the AWS SDK finds: its files, web identity, the instance's role";

/// What to do when there are none for Google.
const NO_HMAC_KEYS: &str = "no keys to the bucket: a gs:// store needs both values of an HMAC key,
as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the same with LONGSHORE_, or in the file),
or credentials = \"google-metadata\", \"google-service-account\" or \"google-external-account\"";

/// What a profile's own settings give it nothing of.
const NO_KEYS_OF_ITS_OWN: &str =
    "no keys to the bucket: state credentials = { source = \"…\" }, or access_key_id and secret_access_key";

/// The settings that each source takes, besides `source` itself.
const TAKES: &[(&str, &[Setting])] = &[
    ("static", &[ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN]),
    ("hmac", &[ACCESS_KEY_ID, SECRET_ACCESS_KEY]),
    ("file", &[KEYS_FILE, KEYS_SECTION]),
    ("web-identity", &[KEYS_ROLE, KEYS_TOKEN_FILE, KEYS_SESSION, KEYS_DURATION, KEYS_POLICY]),
    (
        "assume-role",
        &[
            KEYS_ROLE,
            KEYS_EXTERNAL_ID,
            KEYS_SESSION,
            KEYS_DURATION,
            KEYS_POLICY,
            KEYS_FROM,
            FROM_FILE,
            FROM_SECTION,
            FROM_ROLE,
            FROM_TOKEN_FILE,
            FROM_ID,
            FROM_SECRET,
            FROM_TOKEN,
        ],
    ),
    ("google-service-account", &[KEYS_FILE]),
    ("google-external-account", &[KEYS_FILE]),
];

/// Those that Google takes.
const GOOGLES: &[&str] = &["static", "hmac", "google-metadata", "google-service-account", "google-external-account"];

/// How long the keys of a role may hold (STS API, AssumeRole, `DurationSeconds`).
const ROLE_DURATION: RangeInclusive<Duration> = Duration::from_mins(15)..=Duration::from_hours(12);

/// What the keys are for.
pub struct Purpose<'a> {
    /// Whose S3 it is.
    pub kind: S3Kind,
    /// The bucket's name.
    pub bucket: &'a str,
    /// What all keys in it begin with.
    pub prefix: &'a str,
    /// The key of the key management that objects are encrypted with.
    pub kms_key: Option<&'a str>,
    /// What else is done with objects.
    pub also: &'a [&'a str],
}

/// The credentials of the first source that says anything of them.
pub fn credentials(layers: &mut Layers, purpose: Purpose<'_>) -> Option<Source> {
    check_texts(layers);
    for index in 0..layers.stack.len() {
        if layers.stack[index].source < Stated::Gocdnext {
            check_pair(layers, index);
        }
    }
    let kind = purpose.kind;
    let Some(index) = deciding(layers) else {
        layers.refuse(&CREDENTIALS, no_keys(layers, kind));
        return None;
    };
    check_pair(layers, index);
    let name = match layers.stack[index].word(&CREDENTIALS) {
        Some(_) => layers.choose(&CREDENTIALS, |word| SOURCES.iter().find(|name| **name == word).copied())?,
        None => "static",
    };
    refuse_what_it_does_not_take(layers, index, name);
    refuse_what_the_store_does_not_take(layers, index, name, kind);
    Reading { layers, index, purpose }.source(name)
}

/// Which source says where the keys come from: the first that says anything of them.
pub fn deciding(layers: &Layers) -> Option<usize> {
    let mentions =
        |layer: &Layer| [CREDENTIALS, ACCESS_KEY_ID, SECRET_ACCESS_KEY].iter().any(|setting| layer.words(setting).is_some());
    layers.stack.iter().position(mentions)
}

/// Whether a setting comes from that one source.
pub fn is_about_keys(setting: &Setting) -> bool {
    *setting == CREDENTIALS || TAKES.iter().any(|(_, takes)| takes.contains(setting))
}

/// Whether there is something to tell of `setting` for the `source` of keys even where it is not stated.
pub fn is_taken_by(source: &str, setting: &Setting) -> bool {
    let is_optional = setting.kind == Kind::Credential || setting.key.contains(".from.");
    let takes = TAKES.iter().find(|(name, _)| *name == source).map_or(&[][..], |(_, takes)| takes);
    *setting == CREDENTIALS || (takes.contains(setting) && !is_optional)
}

/// What to do when there are no keys at all.
fn no_keys(layers: &Layers, kind: S3Kind) -> &'static str {
    match (layers.profile.as_str(), kind.has_hmac_keys) {
        (DEFAULT, true) => NO_HMAC_KEYS,
        (DEFAULT, false) => NO_KEYS,
        _ => NO_KEYS_OF_ITS_OWN,
    }
}

/// Tells what is wrong with the texts of keys, without showing them.
pub fn check_texts(layers: &mut Layers) {
    let secrets = layers.secrets.clone();
    for setting in [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, KEYS_EXTERNAL_ID, FROM_ID, FROM_SECRET, FROM_TOKEN] {
        layers.read(&setting, |text| template(&setting, text, secrets.as_ref()));
    }
}

/// A key, or what refers to one; what it comes to now is looked at and forgotten.
///
/// Where secrets could not be read, which has been told, nothing is said of what refers to them.
fn template(setting: &Setting, text: &str, secrets: Option<&Secrets>) -> Result<Template, String> {
    let template: Template = trimmed(text).parse().map_err(|error: crate::secrets::MalformedTemplate| error.to_string())?;
    let Some(value) = resolved(&template, secrets).map_err(|error| error.to_string())? else { return Ok(template) };
    let (part, rule) = match *setting {
        ACCESS_KEY_ID | FROM_ID => (Part::AccessKeyId, Part::AccessKeyId.rule()),
        SESSION_TOKEN | FROM_TOKEN => (Part::SessionToken, Part::SessionToken.rule()),
        KEYS_EXTERNAL_ID => (Part::SecretAccessKey, "an external id has no spaces in it, and is not empty"),
        _ => (Part::SecretAccessKey, Part::SecretAccessKey.rule()),
    };
    if part.can_be(value.expose_secret()) {
        return Ok(template);
    }
    Err(template.names().next().map_or_else(|| rule.into(), |name| format!("with secret {name} in it, is none: {rule}")))
}

/// Tells what a source leaves out of its key pair, or states beside another way to get one.
fn check_pair(layers: &mut Layers, index: usize) {
    let layer = &layers.stack[index];
    let parts = [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN];
    let Some(stated) = parts.iter().find_map(|setting| layer.word(setting)) else { return };
    if layer.word(&CREDENTIALS).is_some_and(|word| !["static", "hmac"].contains(&word.text.as_str())) {
        let message = format!("{} is stated too; one of the two is enough", layers.key(&CREDENTIALS));
        layers.problems.push(stated.place.clone(), message);
        return;
    }
    let missing = [ACCESS_KEY_ID, SECRET_ACCESS_KEY].into_iter().find(|setting| layer.words(setting).is_none());
    if let Some(missing) = missing {
        let message =
            format!("needs {} beside it: keys come whole from one source", name_beside(layers, stated, layer, &missing));
        layers.problems.push(stated.place.clone(), message);
    }
}

/// What a setting is called in a source that states `beside`.
fn name_beside(layers: &Layers, beside: &Word, layer: &Layer, setting: &Setting) -> String {
    match layer.source {
        Stated::File => layers.key(setting),
        Stated::Aws => {
            let name = setting.variable().unwrap_or_default().replacen("LONGSHORE", "AWS", 1);
            // In a table of variables, where the first stands.
            let table = beside.place.name().rsplit_once('.').map(|(table, _)| format!("{table}."));
            format!("{}{name}", table.unwrap_or_default())
        }
        _ => setting.variable().unwrap_or_default(),
    }
}

/// A setting that only another source of keys has is a mistake in this one.
fn refuse_what_it_does_not_take(layers: &mut Layers, index: usize, name: &str) {
    let takes = TAKES.iter().find(|(source, _)| *source == name).map_or(&[][..], |(_, takes)| takes);
    let others = TAKES.iter().flat_map(|(_, settings)| *settings).filter(|setting| !takes.contains(setting));
    let keys = [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN];
    let layer = &layers.stack[index];
    for word in others.filter(|setting| !keys.contains(setting)).filter_map(|setting| layer.word(setting)) {
        layers.problems.push(word.place.clone(), format!("is nothing that {name} takes"));
    }
}

/// Amazon's credentials are none for Google, nor the other way round.
fn refuse_what_the_store_does_not_take(layers: &mut Layers, index: usize, name: &str, kind: S3Kind) {
    let Some(place) = layers.stack[index].word(&CREDENTIALS).map(|word| word.place.clone()) else {
        if kind.has_hmac_keys
            && let Some(token) = layers.stack[index].word(&SESSION_TOKEN)
        {
            layers.problems.push(token.place.clone(), "an HMAC key of Google's has no session token");
        }
        return;
    };
    if kind.has_hmac_keys && !GOOGLES.contains(&name) {
        let names = GOOGLES[1..].join(", ");
        layers
            .problems
            .push(place, format!("what {name} finds are Amazon's keys, which Google does not take; there are: {names}"));
    } else if !kind.has_hmac_keys && name != "static" && GOOGLES.contains(&name) {
        layers.problems.push(place, format!("{name} is Google's, and the store is not"));
    }
}

/// Reads the settings of one source of keys.
struct Reading<'a> {
    layers: &'a mut Layers,
    index: usize,
    purpose: Purpose<'a>,
}

impl Reading<'_> {
    fn source(mut self, name: &str) -> Option<Source> {
        Some(match name {
            "static" | "hmac" => self.pair([ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN])?,
            "file" => self.file(KEYS_FILE, KEYS_SECTION)?,
            "environment" => Source::Environment,
            "web-identity" => Source::WebIdentity(self.web_identity()?),
            "instance" => Source::Instance,
            "assume-role" => Source::AssumeRole(Box::new(self.role()?)),
            "google-service-account" => Source::GoogleServiceAccount { file: self.needed(KEYS_FILE, store::path)? },
            "google-metadata" => Source::GoogleMetadata,
            "google-external-account" => Source::GoogleExternalAccount { file: self.needed(KEYS_FILE, store::path)? },
            _ => Source::Default,
        })
    }

    /// What the source has to say on `setting`, of which a mistake has been or is told.
    fn optional<T, E: ToString>(&mut self, setting: Setting, parse: impl Fn(&str) -> Result<T, E>) -> Option<Option<T>> {
        let Some(Word { text, place }) = self.layers.stack[self.index].word(&setting).cloned() else { return Some(None) };
        match parse(&text) {
            _ if text.is_empty() => self.refuse(place, EMPTY),
            _ if refers_in_vain(&setting, &text) => self.refuse(place, ONLY_KEYS_REFER),
            Ok(value) => Some(Some(value)),
            Err(error) => self.refuse(place, error.to_string()),
        }
    }

    fn refuse<T>(&mut self, place: Place, message: impl Into<String>) -> Option<T> {
        self.layers.problems.push(place, message);
        None
    }

    fn needed<T, E: ToString>(&mut self, setting: Setting, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let value = self.optional(setting, parse)?;
        if value.is_none() {
            self.layers.refuse(&setting, "must be stated for this source of keys");
        }
        value
    }

    fn template(&mut self, setting: Setting) -> Option<Option<Template>> {
        let secrets = self.layers.secrets.clone();
        self.optional(setting, |text| template(&setting, text, secrets.as_ref()))
    }

    fn pair(&mut self, [id, secret, token]: [Setting; 3]) -> Option<Source> {
        let (id, secret, token) = (self.template(id)?, self.template(secret)?, self.template(token)?);
        if id.is_none() && secret.is_none() {
            self.layers.refuse(&ACCESS_KEY_ID, "must be stated for this source of keys, and secret_access_key");
        }
        Some(Source::Static { access_key_id: id?, secret_access_key: secret?, session_token: token })
    }

    fn file(&mut self, file: Setting, section: Setting) -> Option<Source> {
        let (path, section) = (self.optional(file, store::path)?, self.optional(section, plain)?);
        Some(Source::File { path, section: section.unwrap_or_else(|| "default".to_owned()) })
    }

    fn web_identity(&mut self) -> Option<WebIdentity> {
        let role_arn = self.optional(KEYS_ROLE, arn)?;
        let policy = role_arn.as_deref().and_then(|role| self.policy(role));
        Some(WebIdentity {
            policy,
            role_arn,
            token_file: self.optional(KEYS_TOKEN_FILE, store::path)?,
            session_name: self.optional(KEYS_SESSION, session_name)?,
            duration: self.optional(KEYS_DURATION, |text| units::duration(text, &ROLE_DURATION))?,
            endpoint: None,
        })
    }

    fn role(&mut self) -> Option<AssumeRole> {
        let role_arn = self.needed(KEYS_ROLE, arn)?;
        Some(AssumeRole {
            external_id: self.template(KEYS_EXTERNAL_ID)?,
            session_name: self.optional(KEYS_SESSION, session_name)?,
            duration: self.optional(KEYS_DURATION, |text| units::duration(text, &ROLE_DURATION))?,
            policy: self.policy(&role_arn),
            endpoint: None,
            from: self.base()?,
            role_arn,
        })
    }

    /// What a role's keys are narrowed to.
    fn policy(&mut self, role_arn: &str) -> Option<String> {
        let is_narrowed = self.layers.choose(&KEYS_POLICY, |word| match word {
            "prefix" => Some(true),
            "none" => Some(false),
            _ => None,
        });
        let Purpose { bucket, prefix, kms_key, also, .. } = self.purpose;
        is_narrowed.unwrap_or(true).then(|| session_policy(&Scope { role_arn, bucket, prefix, kms_key, also }))
    }

    /// What a role is taken with.
    fn base(&mut self) -> Option<Source> {
        let name = self.optional(KEYS_FROM, |text| Ok::<_, String>(text.to_owned()))?.unwrap_or_else(|| "default".to_owned());
        Some(match name.as_str() {
            "static" => self.pair([FROM_ID, FROM_SECRET, FROM_TOKEN])?,
            "file" => self.file(FROM_FILE, FROM_SECTION)?,
            "environment" => Source::Environment,
            "web-identity" => Source::WebIdentity(WebIdentity {
                role_arn: self.optional(FROM_ROLE, arn)?,
                token_file: self.optional(FROM_TOKEN_FILE, store::path)?,
                ..WebIdentity::default()
            }),
            "instance" => Source::Instance,
            "default" => Source::Default,
            _ => {
                self.layers.refuse(&KEYS_FROM, format!("{name:?}: must be one of {}", super::setting::BASES.join(", ")));
                return None;
            }
        })
    }
}

/// The name of a role.
fn arn(text: &str) -> Result<String, &'static str> {
    let is_role = text.starts_with("arn:") && text.split(':').count() >= 6 && text.len() <= 2048;
    if is_role && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a role is named by its ARN, such as arn:aws:iam::123456789012:role/cache")
    }
}

/// What a session is called (STS API, AssumeRole, `RoleSessionName`).
fn session_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if (2..=64).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a session's name is 2 to 64 letters, digits and _+=,.@-")
}

/// A name without anything that could end it.
fn plain(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains(|c: char| c.is_control() || c == ']') {
        return Err("is the name of a section, as it stands between [ and ]");
    }
    Ok(text.to_owned())
}

/// A key without the line end that files and their readers leave behind it.
pub fn trimmed(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

#[cfg(test)]
mod tests;
