//! The settings in force, each with where it comes from, for a person to look at. No secret is among them.

mod access;

use percent_encoding::percent_decode_str;

use super::layers::{Gathered, Layer, Layers, Source, Word};
use super::setting::{
    ANONYMOUS, CREDENTIALS, ENDPOINT, FALLBACK, Fallback, IMAGES, KIND, Kind, LAYOUT, MAP, PARTS_MAX, PARTS_MAX_BYTES,
    PARTS_SEPARATOR, PARTS_WINDOW, PATH, PATH_STYLE, REGION, RULES, S3_NAME, S3_TAG, S3_WRITE, SETTINGS, STORE, Setting, WHO,
};
use super::{Config, Layout, Profile, Store};
use super::{credentials, layout, rules};
use crate::secrets::Template;

/// What a setting is that nobody states.
const BY_DEFAULT: &str = "default";

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The table of the file in which it would stand.
    pub section: String,
    /// Its key there.
    pub key: String,
    /// Its value, or in its place where it is kept if it is a secret.
    pub value: String,
    /// The flag, the variable, the file and line, or that it is the default.
    pub origin: String,
}

/// The settings that `config` has, which was made of what is `gathered`.
pub fn report(gathered: &Gathered, config: &Config) -> Vec<InForce> {
    let of_server = SETTINGS.iter().filter(|setting| setting.key_in_profile().is_none()).map(|setting| {
        let made = (setting.key == ANONYMOUS.key).then(|| config.access.anonymous.to_string());
        in_force(&gathered.server, &gathered.server.stack, setting, made)
    });
    let of_profiles = gathered.profiles.iter().zip(&config.profiles).flat_map(|(layers, profile)| of_profile(layers, profile));
    let mut told: Vec<InForce> = of_server.collect();
    put_behind("server", &mut told, access::greetings(&gathered.tables));
    put_behind("access", &mut told, access::people(&gathered.server, &gathered.tables, &config.access));
    told.extend(of_profiles);
    told
}

/// Puts `more` behind what is `told` of the table `section` and those in it.
fn put_behind(section: &str, told: &mut Vec<InForce>, more: Vec<InForce>) {
    let is_of_it = |it: &InForce| it.section.split('.').next() == Some(section);
    let end = told.iter().rposition(is_of_it).map_or(told.len(), |last| last + 1);
    told.splice(end..end, more);
}

/// The settings of a profile that are about a store such as it has.
fn of_profile(layers: &Layers, profile: &Profile) -> Vec<InForce> {
    let keys = credentials::deciding(layers).map_or(&[][..], |index| &layers.stack[index..=index]);
    let settings = SETTINGS.iter().filter(|setting| setting.key_in_profile().is_some());
    let told = settings.filter_map(|setting| match &profile.store {
        Store::Folder { .. } if !is_of_any_store(setting) => None,
        Store::S3(_) if *setting == PATH => None,
        Store::S3(_) if layout::OF_S3_CLIENTS.contains(setting) && profile.s3_clients.is_none() => None,
        // Keys come whole from one source, so what another one says of them counts for nothing.
        Store::S3(bucket) if credentials::is_about_keys(setting) => {
            let is_stated = keys.iter().any(|layer| layer.words(setting).is_some());
            let is_told = is_stated || credentials::is_taken_by(bucket.credentials.name(), setting);
            is_told.then(|| in_force(layers, keys, setting, made_of(profile, setting)))
        }
        _ => Some(in_force(layers, &layers.stack, setting, made_of(profile, setting))),
    });
    told.collect()
}

/// Whether a setting is about profiles whatever their store is.
fn is_of_any_store(setting: &Setting) -> bool {
    [STORE, PATH, IMAGES, WHO, MAP, LAYOUT, PARTS_SEPARATOR, PARTS_WINDOW, PARTS_MAX, PARTS_MAX_BYTES, RULES, FALLBACK]
        .contains(setting)
}

/// What was made of a setting that depends on others.
fn made_of(profile: &Profile, setting: &Setting) -> Option<String> {
    of_layout(profile, setting).or_else(|| of_store(&profile.store, setting))
}

fn of_layout(profile: &Profile, setting: &Setting) -> Option<String> {
    match *setting {
        LAYOUT => Some(if profile.layout == Layout::Image { "image" } else { "shared" }.into()),
        S3_NAME => Some(profile.s3_clients.as_ref()?.name.to_string()),
        S3_TAG => Some(profile.s3_clients.as_ref()?.tag.to_string()),
        S3_WRITE => Some(profile.s3_clients.as_ref()?.write.to_string()),
        _ => None,
    }
}

fn of_store(store: &Store, setting: &Setting) -> Option<String> {
    match store {
        Store::Folder { path } => match *setting {
            STORE => Some("folder".into()),
            PATH => Some(path.display().to_string()),
            _ => None,
        },
        Store::S3(bucket) => match *setting {
            STORE => Some("s3".into()),
            KIND => Some(bucket.kind.name.into()),
            REGION => Some(bucket.region.clone()),
            ENDPOINT => Some(bucket.endpoint.clone().unwrap_or_else(|| "(Amazon's, by region)".into())),
            PATH_STYLE => Some(bucket.path_style.to_string()),
            CREDENTIALS => Some(bucket.credentials.name().into()),
            _ => None,
        },
    }
}

/// A setting as the first of `stack` has it that states it; else as it was `made` of others.
fn in_force(layers: &Layers, stack: &[Layer], setting: &Setting, made: Option<String>) -> InForce {
    let key = layers.key(setting);
    let (section, key) = match setting.key_in_profile() {
        Some(key) => (format!("profiles.{}", layers.profile), key.to_owned()),
        None => key.rsplit_once('.').map(|(section, key)| (section.to_owned(), key.to_owned())).unwrap_or_default(),
    };
    let stated = stack.iter().find_map(|layer| Some((layer.source, layer.words(setting)?)));
    let (value, origin) = match (stated, setting.default) {
        (Some((Source::Default, words)), _) => (value(setting, words), BY_DEFAULT.to_owned()),
        (Some((source, words)), _) => (value(setting, words), origin(setting, source, words)),
        (None, Fallback::Told(how)) => (made.unwrap_or_else(|| format!("({how})")), BY_DEFAULT.to_owned()),
        (None, Fallback::Value(text)) => (text.to_owned(), BY_DEFAULT.to_owned()),
    };
    InForce { section, key, value, origin }
}

/// A value as a person reads it.
fn value(setting: &Setting, words: &[Word]) -> String {
    if let Kind::Tables(_) = setting.kind {
        return rules::told(words);
    }
    let texts = words.iter().map(|word| match setting.kind {
        Kind::Credential => kept(&word.text),
        // From a file they come percent-encoded.
        Kind::Pairs(_) => percent_decode_str(&word.text).decode_utf8_lossy().into_owned(),
        _ => word.text.clone(),
    });
    let text = texts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "(none)".to_owned() } else { text }
}

/// Where a secret is kept, in place of it.
fn kept(text: &str) -> String {
    let template = text.trim_end().parse::<Template>();
    let names: Vec<_> = template.iter().flat_map(Template::names).map(|name| format!("→ secret {name}")).collect();
    if names.is_empty() { "(stored)".to_owned() } else { names.join(", ") }
}

/// Where a value was stated.
fn origin(setting: &Setting, source: Source, words: &[Word]) -> String {
    let named = match source {
        Source::CommandLine => setting.flag(),
        Source::Environment => setting.variable(),
        _ => None,
    };
    // An empty list has no word that could tell.
    words.first().map(|word| word.place.origin(setting)).or(named).unwrap_or_else(|| "file".to_owned())
}
