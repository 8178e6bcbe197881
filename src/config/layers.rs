//! What was stated and where: one layer per source, and the first layer that has a word on a setting decides.
//!
//! All layers' words are read, so that a mistake shows even where another
//! source overrides it; only those of `AWS_*` and `GOCDNEXT_*` are left alone
//! unless they decide, as they were not written for us.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::environment;
use super::file::{self, FileProfile};
use super::problem::{Place, Problems};
use super::setting::{Fallback, Kind, SETTINGS, Setting};
use super::sources::{Environment, Sources};
use super::tables::Tables;
use super::units;
use crate::secrets::Secrets;

/// The profile that flags, variables and all that names no other are about.
pub const DEFAULT: &str = "default";

/// Where a configuration comes from, in the order in which one source goes before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Flags and the store's word.
    CommandLine,
    /// `LONGSHORE_*`.
    Environment,
    /// The file that `--config` names, and those beside it.
    File,
    /// `GOCDNEXT_LAYER_CACHE_*`.
    Gocdnext,
    /// `AWS_*`, for what they name elsewhere too.
    Aws,
    /// What holds when nobody says anything.
    Default,
}

/// A text that somebody stated. It may be a secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Word {
    /// As it was written.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// What is said of an empty text that is no value.
pub const EMPTY: &str = "is empty; give it a value or take it away";

/// What is said of a reference to a secret elsewhere.
pub const ONLY_KEYS_REFER: &str = "refers to a secret, which only keys may";

/// Whether `text` refers to a secret although `setting` is none.
pub fn refers_in_vain(setting: &Setting, text: &str) -> bool {
    setting.kind != Kind::Credential && text.contains("{{secret:")
}

/// What one source states.
#[derive(Clone)]
pub struct Layer {
    /// Which source.
    pub source: Source,
    words: BTreeMap<&'static str, Vec<Word>>,
}

impl Layer {
    /// Nothing, so far.
    pub fn new(source: Source) -> Self {
        Self { source, words: BTreeMap::new() }
    }

    /// Sets what this source has to say on `setting`; nothing at all for an empty list, or what could not be read.
    pub fn state(&mut self, setting: &Setting, words: Vec<Word>) {
        self.words.insert(setting.key, words);
    }

    /// Sets it from one text that may be a list with commas between.
    pub fn state_text(&mut self, setting: &Setting, text: &str, place: &Place) {
        let word = |text: &str| Word { text: text.into(), place: place.clone() };
        let words = match setting.kind {
            Kind::List(_) if text.is_empty() && setting.may_be_empty() => Vec::new(),
            Kind::List(_) => text.split(',').map(|part| word(part.trim())).collect(),
            _ => vec![word(text)],
        };
        self.state(setting, words);
    }

    /// Forgets what it says on `settings`.
    pub fn forget(&mut self, settings: &[Setting]) {
        self.words.retain(|key, _| !settings.iter().any(|setting| setting.key == *key));
    }

    /// All it has to say on a setting.
    pub fn words(&self, setting: &Setting) -> Option<&[Word]> {
        self.words.get(setting.key).map(Vec::as_slice)
    }

    /// What it has to say on a setting that has one value.
    pub fn word(&self, setting: &Setting) -> Option<&Word> {
        self.words(setting)?.first()
    }

    /// Whether it says anything about the store, the keys or the images of a profile.
    pub fn is_about_a_profile(&self) -> bool {
        SETTINGS.iter().any(|setting| setting.key_in_profile().is_some() && self.words(setting).is_some())
    }
}

/// What all sources state about the server or about one profile, the one that decides first, and what is wrong with it.
pub struct Layers {
    /// The first decides.
    pub stack: Vec<Layer>,
    /// What is wrong so far.
    pub problems: Problems,
    /// The profile that it is about, if it is.
    pub profile: String,
    /// What keys may refer to; `None` where that could not be read.
    pub secrets: Option<Secrets>,
}

/// What was stated, by what it is about.
pub struct Gathered {
    /// The server and all that is not of a profile.
    pub server: Layers,
    /// Each profile. There is always one.
    pub profiles: Vec<Layers>,
    /// What people fill as they like.
    pub tables: Tables,
}

impl Gathered {
    /// Takes in all that `sources` state.
    ///
    /// # Errors
    ///
    /// A file cannot be understood, so that nothing can be said about what it states.
    pub fn of(sources: &Sources) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let Ok(file) = file::read(sources, &mut problems) else { return Err(problems) };
        let tables = file.tables;
        let own = [sources.flags.layer(), environment::longshore(&sources.environment, &mut problems)];
        let mut profiles: Vec<_> = file.profiles.into_iter().map(|profile| Layers::of_profile(profile, &mut problems)).collect();
        add_default(&mut profiles, &own, &sources.environment, &mut problems);
        let stack = own.into_iter().chain([file.layer, defaults()]).collect();
        Ok(Self { server: Layers { stack, problems, profile: DEFAULT.into(), secrets: None }, profiles, tables })
    }
}

/// Puts what flags and variables say over what a file says of the profile `default`, which is
/// there where anything at all is about it, or nothing about another.
fn add_default(profiles: &mut Vec<Layers>, own: &[Layer], environment: &Environment, problems: &mut Problems) {
    let process = [environment::gocdnext(environment, problems), environment::aws(environment)];
    let index = match profiles.iter().position(|profile| profile.profile == DEFAULT) {
        Some(index) => index,
        None if own.iter().chain(&process[..1]).any(Layer::is_about_a_profile) || profiles.is_empty() => {
            profiles.push(Layers {
                stack: vec![defaults()],
                problems: Problems::default(),
                profile: DEFAULT.into(),
                secrets: None,
            });
            profiles.len() - 1
        }
        None => return,
    };
    let stack = &mut profiles[index].stack;
    let end = stack.len() - 1;
    stack.splice(end..end, process);
    stack.splice(0..0, own.iter().cloned());
}

impl Layers {
    /// What a file says of a profile, with the variables that it gives it.
    fn of_profile(profile: FileProfile, problems: &mut Problems) -> Self {
        let FileProfile { name, layer, variables } = profile;
        let [gocdnext, aws] = environment::stated_in_file(variables, problems);
        Self { stack: vec![layer, gocdnext, aws, defaults()], problems: Problems::default(), profile: name, secrets: None }
    }

    /// What a setting is called in a file.
    pub fn key(&self, setting: &Setting) -> String {
        match setting.key_in_profile() {
            Some(key) => format!("profiles.{}.{key}", self.profile),
            None => setting.key.into(),
        }
    }

    /// Forgets what `source` says on `settings`.
    pub fn forget(&mut self, source: Source, settings: &[Setting]) {
        for layer in self.stack.iter_mut().filter(|layer| layer.source == source) {
            layer.forget(settings);
        }
    }

    /// What the deciding layer has to say on `setting`; `None` when it is stated nowhere and has no default.
    pub fn words(&self, setting: &Setting) -> Option<&[Word]> {
        self.stack.iter().find_map(|layer| layer.words(setting))
    }

    /// Who decides on `setting`, if anybody says anything.
    pub fn source(&self, setting: &Setting) -> Option<Source> {
        self.stack.iter().find(|layer| layer.words(setting).is_some()).map(|layer| layer.source)
    }

    /// The deciding value of a setting that has one.
    pub fn word(&self, setting: &Setting) -> Option<&Word> {
        self.words(setting)?.first()
    }

    /// Tells a problem of `setting`, at the place that decides it.
    pub fn refuse(&mut self, setting: &Setting, message: impl Into<String>) {
        let place = self.word(setting).map_or_else(|| Place::unstated(&self.key(setting)), |word| word.place.clone());
        self.problems.push(place, message);
    }

    /// The values of `setting` as `parse` reads them; every text that it refuses becomes a problem.
    pub fn read_all<T, E>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, E>) -> Option<Vec<T>>
    where
        E: ToString,
    {
        let mut decided = None;
        for layer in &self.stack {
            let Some(words) = layer.words(setting) else { continue };
            if layer.source >= Source::Gocdnext && decided.is_some() {
                continue;
            }
            let mut values = Vec::new();
            for word in words {
                match parse(&word.text) {
                    _ if refers_in_vain(setting, &word.text) => self.problems.push(word.place.clone(), ONLY_KEYS_REFER),
                    // Most likely a variable that was never filled in.
                    _ if word.text.is_empty() && !setting.may_be_empty() => {
                        self.problems.push(word.place.clone(), EMPTY);
                    }
                    Ok(value) => values.push(value),
                    Err(error) => self.problems.push(word.place.clone(), refusal(setting, &word.text, &error.to_string())),
                }
            }
            decided.get_or_insert(values);
        }
        decided
    }

    /// The value of `setting` as `parse` reads it; `None` when it is stated nowhere, or wrong and told so.
    pub fn read<T, E: ToString>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        self.read_all(setting, parse)?.into_iter().next()
    }

    /// The value of a setting that is one of a few words.
    pub fn choose<T>(&mut self, setting: &Setting, choice: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.read(setting, |text| choice(text).ok_or_else(|| format!("must be {}", choices(setting.kind))))
    }

    /// The value of a setting that is a time.
    pub fn duration(&mut self, setting: &Setting, allowed: &RangeInclusive<Duration>) -> Option<Duration> {
        self.read(setting, |text| units::duration(text, allowed))
    }

    /// The value of a setting that is a number of things.
    pub fn number(&mut self, setting: &Setting, allowed: &RangeInclusive<usize>) -> Option<usize> {
        self.read(setting, |text| units::number(text, allowed))
    }

    /// The value of a setting that is a number of bytes.
    pub fn size(&mut self, setting: &Setting, allowed: &RangeInclusive<u64>) -> Option<u64> {
        self.read(setting, |text| units::size(text, allowed))
    }
}

/// What the settings are when nobody says anything.
fn defaults() -> Layer {
    let mut layer = Layer::new(Source::Default);
    for setting in SETTINGS {
        if let Fallback::Value(text) = setting.default {
            layer.state_text(setting, text, &Place::unstated(setting.key));
        }
    }
    layer
}

/// The words that may be chosen from.
fn choices(kind: Kind) -> String {
    match kind {
        Kind::Choice([only]) => (*only).into(),
        Kind::Choice(words) => format!("one of {}", words.join(", ")),
        _ => "true or false".into(),
    }
}

/// Why `text` is no value of `setting`. What may be a secret, or may hold a password, is not repeated.
fn refusal(setting: &Setting, text: &str, why: &str) -> String {
    let may_be_secret = setting.kind == Kind::Credential || text.contains('@') || looks_like_a_key(text);
    if may_be_secret { why.into() } else { format!("{text:?}: {why}") }
}

/// Whether there is something in `text` like Amazon's keys and Google's, which may have been put in the wrong place.
fn looks_like_a_key(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '/' | '+'));
    words
        .filter(|word| word.len() >= 16)
        .any(|word| word.contains(|c: char| c.is_ascii_uppercase()) && word.contains(|c: char| c.is_ascii_digit()))
}
