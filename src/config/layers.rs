//! What was stated and where: one layer per source, and the first layer that has a word on a setting decides.
//!
//! All layers' words are read, so that a mistake shows even where another
//! source overrides it; only those of `AWS_*` are left alone unless they
//! decide, as they were not written for us.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::environment;
use super::file;
use super::problem::{Place, Problems, Source};
use super::setting::{Fallback, Kind, SETTINGS, Setting};
use super::sources::Sources;
use super::units;

/// A text that somebody stated. It may be a secret, so it has no `Debug`.
#[derive(Clone)]
pub struct Word {
    /// As it was written.
    pub text: String,
    /// Where.
    pub place: Place,
}

/// What one source states.
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
}

/// What all sources state, the one that decides first, and what is wrong with it.
pub struct Layers {
    /// The first decides.
    pub stack: Vec<Layer>,
    /// What is wrong so far.
    pub problems: Problems,
}

impl Layers {
    /// Takes in all that `sources` state.
    ///
    /// # Errors
    ///
    /// The file cannot be understood, so that nothing can be said about what it states.
    pub fn gather(sources: &Sources) -> Result<Self, Problems> {
        let mut problems = Problems::none(sources.file.as_ref().map(|file| file.path.display().to_string()));
        let flags = sources.flags.layer();
        let variables = environment::longshore(&sources.environment, &mut problems);
        let file = sources.file.as_ref().map_or(Ok(Layer::new(Source::File)), |file| file::layer(&file.text, &mut problems));
        let Ok(file) = file else { return Err(problems) };
        Ok(Self { stack: vec![flags, variables, file, environment::aws(&sources.environment), defaults()], problems })
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

    /// The deciding value of a setting that has one.
    pub fn word(&self, setting: &Setting) -> Option<&Word> {
        self.words(setting)?.first()
    }

    /// Tells a problem of `setting`, at the place that decides it.
    pub fn refuse(&mut self, setting: &Setting, message: impl Into<String>) {
        let place = self.word(setting).map_or_else(|| Place::unstated(setting), |word| word.place.clone());
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
            if layer.source == Source::Aws && decided.is_some() {
                continue;
            }
            let mut values = Vec::new();
            for word in words {
                match parse(&word.text) {
                    // Most likely a variable that was never filled in.
                    _ if word.text.is_empty() && !setting.may_be_empty() => {
                        self.problems.push(word.place.clone(), "is empty; give it a value or take it away");
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
            layer.state_text(setting, text, &Place::unstated(setting));
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
    if setting.kind == Kind::Credential || text.contains('@') { why.into() } else { format!("{text:?}: {why}") }
}
