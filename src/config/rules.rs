//! What a profile says of its images: what they are for, which parts of a tag count, what stands in for a tag.

use std::cmp::Ordering;
use std::time::Duration;

use super::layers::{Layers, Word};
use super::problem::{Place, Problems};
use super::profile::is_tie;
use super::setting::{FALLBACK, PARTS_MAX, PARTS_MAX_BYTES, PARTS_SEPARATOR, PARTS_WINDOW, RULES, Setting};
use super::{DAY, FallbackRule, ImageKind, Parts, Profile, Rule};
use crate::config::layers::DEFAULT;
use crate::oci::{Pattern, RepoName, Tag};

/// Most bytes of a separator.
const MAX_SEPARATOR: usize = 16;

/// Which parts of a tag count.
pub fn parts(layers: &mut Layers) -> Option<Parts> {
    let separator = layers.read(&PARTS_SEPARATOR, separator);
    let window = layers.duration(&PARTS_WINDOW, &(Duration::from_secs(60)..=DAY * 365));
    let max = layers.number(&PARTS_MAX, &(1..=256));
    let max_bytes = layers.size(&PARTS_MAX_BYTES, &((1 << 20)..=(64 << 20)));
    Some(Parts { separator: separator?, window: window?, max: max?, max_bytes: max_bytes? })
}

fn separator(text: &str) -> Result<String, String> {
    // With something before and behind it, it must make a tag.
    let is_fit = text.len() <= MAX_SEPARATOR && format!("a{text}b").parse::<Tag>().is_ok();
    if is_fit { Ok(text.into()) } else { Err(format!("is 1 to {MAX_SEPARATOR} letters, digits, dots, dashes and underscores")) }
}

/// What images are for.
pub fn rules(layers: &mut Layers) -> Vec<Rule> {
    let tables = tables(layers, &RULES);
    let problems = &mut layers.problems;
    let mut rules: Vec<Rule> = Vec::new();
    for table in tables {
        let kind = table.read("kind", problems, |word| match word {
            "cache" => Ok(ImageKind::Cache),
            "image" => Ok(ImageKind::Image),
            _ => Err("must be one of cache, image"),
        });
        let parts = table.read("parts", problems, str::parse::<bool>);
        if !table.says("kind") && !table.says("parts") {
            problems.push(table.place.clone(), "says nothing: state kind, or parts");
        }
        let Some(image) = table.need("image", "ghcr.io/org/*", problems, str::parse) else { continue };
        let rule = Rule { image, kind, parts };
        let is_twice = |other: &&Rule| {
            let says_the_same = other.kind.is_some() && kind.is_some() || other.parts.is_some() && parts.is_some();
            says_the_same && is_tie(&other.image, &rule.image)
        };
        if let Some(other) = rules.iter().find(is_twice) {
            problems.push(
                table.place,
                format!("{} and {} mean the same images, and neither more of them than the other", other.image, rule.image),
            );
        }
        rules.push(rule);
    }
    rules
}

/// What stands in for tags.
pub fn fallbacks(layers: &mut Layers) -> Vec<FallbackRule> {
    let tables = tables(layers, &FALLBACK);
    let problems = &mut layers.problems;
    let mut fallbacks: Vec<FallbackRule> = Vec::new();
    for table in tables {
        let image = table.need("image", "ghcr.io/org/*", problems, str::parse);
        let tag = table.need("tag", "cache-*", problems, str::parse);
        let to = table.need("to", "cache-main", problems, |text| text.split(',').map(target).collect::<Result<Vec<_>, _>>());
        let is_union = table.read("union", problems, str::parse::<bool>).unwrap_or_default();
        let (Some(image), Some(tag), Some(to)) = (image, tag, to) else { continue };
        let rule = FallbackRule { image, tag, to, is_union };
        if let Some(other) = fallbacks.iter().find(|other| is_tie_of_fallbacks(other, &rule)) {
            let (image, tag) = (&other.image, &other.tag);
            problems.push(table.place, format!("ties with the one for {tag} of {image}: one tag could be either's"));
        }
        fallbacks.push(rule);
    }
    fallbacks
}

fn is_tie_of_fallbacks(one: &FallbackRule, other: &FallbackRule) -> bool {
    is_tie(&one.image, &other.image) && one.tag.specificity(&other.tag) == Ordering::Equal && one.tag.overlaps(&other.tag)
}

/// `tag` or `image:tag`.
fn target(text: &str) -> Result<(Option<RepoName>, Tag), String> {
    let (image, tag) = match text.rsplit_once(':') {
        Some((image, tag)) => (Some(image.parse::<RepoName>().map_err(|error| error.to_string())?), tag),
        None => (None, text),
    };
    Ok((image, tag.parse::<Tag>().map_err(|error| format!("{error}; that of another image is written IMAGE:TAG"))?))
}

/// A fallback never leaves its profile: what it would find there is none of its keys' business.
pub fn refuse_strangers(layers: &mut Layers, profiles: &[Profile]) {
    for profile in profiles.iter().filter(|profile| is_found_by_image(profile)) {
        for image in profile.fallbacks.iter().flat_map(|fallback| &fallback.to).filter_map(|(image, _)| image.as_ref()) {
            let whose = match owner(image, profiles) {
                Some(owner) if owner.name == profile.name => continue,
                Some(owner) => format!("the image {image} is of profile {}", owner.name),
                None => format!("the image {image} is of no profile"),
            };
            let place = Place::unstated(&format!("profiles.{}.fallback", profile.name));
            layers.problems.push(place, format!("{whose}, and a fallback stays within its own"));
        }
    }
}

/// Whether images lead to a profile, and not only a listener.
fn is_found_by_image(profile: &Profile) -> bool {
    profile.name == DEFAULT || !profile.images.is_empty()
}

fn owner<'a>(image: &RepoName, profiles: &'a [Profile]) -> Option<&'a Profile> {
    let patterns = profiles.iter().flat_map(|profile| profile.images.iter().map(move |pattern: &Pattern| (pattern, profile)));
    let deciding = patterns.filter(|(pattern, _)| pattern.matches(image)).max_by(|(left, _), (right, _)| left.specificity(right));
    deciding.map(|(_, profile)| profile).or_else(|| profiles.iter().find(|profile| profile.name == DEFAULT))
}

/// One of several tables under one key, as [`Kind::Tables`](super::setting::Kind) has it.
pub struct Table {
    /// Where it stands.
    pub place: Place,
    /// What its keys say, and where.
    pub says: Vec<(String, Word)>,
}

/// The tables that decide on `setting`.
pub fn tables(layers: &Layers, setting: &Setting) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for word in layers.words(setting).unwrap_or_default() {
        match (word.text.split_once(' ').and_then(|(_, said)| said.split_once('=')), tables.last_mut()) {
            (Some((key, text)), Some(table)) => {
                table.says.push((key.to_owned(), Word { text: text.to_owned(), place: word.place.clone() }));
            }
            _ => tables.push(Table { place: word.place.clone(), says: Vec::new() }),
        }
    }
    tables
}

impl Table {
    fn says(&self, key: &str) -> bool {
        self.says.iter().any(|(said, _)| said == key)
    }

    /// What it says under `key` as `parse` reads it; `None` when that is nothing, or wrong and told so.
    fn read<T, E: ToString>(&self, key: &str, problems: &mut Problems, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let (_, Word { text, place }) = self.says.iter().find(|(said, _)| said == key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                problems.push(place.clone(), format!("{text:?}: {}", error.to_string()));
                None
            }
        }
    }

    /// The same for what it has to say; `such_as` is an example.
    fn need<T, E: ToString>(
        &self,
        key: &str,
        such_as: &str,
        problems: &mut Problems,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.says(key) {
            problems.push(self.place.clone(), format!("needs {key}, such as {such_as:?}"));
        }
        self.read(key, problems, parse)
    }
}

/// The tables of `words` as a person reads them.
pub fn told(words: &[Word]) -> String {
    let mut told = String::new();
    for word in words {
        match word.text.split_once(' ') {
            None if told.is_empty() => {}
            None => told += "; ",
            Some((_, said)) => {
                told += if told.is_empty() || told.ends_with(' ') { "" } else { ", " };
                told += &said.replacen('=', " = ", 1);
            }
        }
    }
    if told.is_empty() { "(none)".to_owned() } else { told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::loaded;

    const RULED: &str = r#"
        [profiles.default.parts]
        separator = "__"
        window = "1h"
        max = 5
        max_bytes = "2MiB"
        [[profiles.default.rules]]
        image = "org/**"
        parts = false
        [[profiles.default.rules]]
        image = "org/app"
        kind = "cache"
        parts = true
        [[profiles.default.fallback]]
        image = "org/*"
        tag = "cache-*"
        to = ["cache-main", "org/base:cache"]
        union = true
        [[profiles.default.fallback]]
        image = "org/*"
        tag = "*"
        to = ["latest"]
    "#;

    #[test]
    fn rules_are_read_as_they_stand() {
        let profile = loaded(&[], &[], RULED).unwrap().profiles.remove(0);

        let parts = Parts { separator: "__".into(), window: Duration::from_secs(3600), max: 5, max_bytes: 2 << 20 };
        assert_eq!(profile.parts, parts);
        let told: Vec<_> = profile.rules.iter().map(|rule| (rule.image.as_str(), rule.kind, rule.parts)).collect();
        assert_eq!(told, [("org/**", None, Some(false)), ("org/app", Some(ImageKind::Cache), Some(true))]);
        let told: Vec<_> = profile.fallbacks.iter().map(|rule| (rule.tag.as_str(), rule.to.len(), rule.is_union)).collect();
        assert_eq!(told, [("cache-*", 2, true), ("*", 1, false)]);
        assert_eq!(profile.fallbacks[0].to[1].0.as_ref().map(RepoName::as_str), Some("org/base"));
    }

    #[test]
    fn nothing_stated_has_parts_and_no_rules() {
        let profile = loaded(&[], &[], "").unwrap().profiles.remove(0);

        let parts = Parts { separator: "--".into(), window: DAY, max: 32, max_bytes: 8 << 20 };
        assert_eq!((profile.parts, profile.rules, profile.fallbacks), (parts, vec![], vec![]));
    }

    #[test]
    fn every_mistake_is_told_by_its_key_at_once() {
        let told = loaded(
            &[],
            &[],
            "[profiles.default.parts]\nseparator = \"/\"\nmax = \"5\"\nmax_bytes = \"1KiB\"\n\
             [[profiles.default.rules]]\nimage = \"X\"\nkind = \"tool\"\n[[profiles.default.rules]]\nimage = \"a\"\n\
             [[profiles.default.rules]]\nimage = \"a\"\nparts = \"no\"\nimages = 1\n\
             [[profiles.default.fallback]]\ntag = \"a/b\"\nto = [\"X:y\", \"z\"]\n\
             [[profiles.default.fallback]]\nimage = \"a\"\ntag = \"b\"\nto = []\n",
        );

        let told = told.unwrap_err();
        for line in [
            "profiles.default.parts.separator  line 2   \"/\": is 1 to 16 letters",
            "profiles.default.parts.max        line 3   must be a whole number, not a text",
            "profiles.default.parts.max_bytes  line 4   \"1KiB\": must be at least 1MiB",
            "profiles.default.rules.image      line 6   \"X\": a pattern is components",
            "profiles.default.rules.kind       line 7   \"tool\": must be one of cache, image",
            "profiles.default.rules            line 8   says nothing: state kind, or parts",
            "profiles.default.rules.parts      line 12  must be true or false, not a text",
            "profiles.default.rules.images     line 13  there is no such key; did you mean image?",
            "profiles.default.fallback         line 14  needs image, such as \"ghcr.io/org/*\"",
            "profiles.default.fallback.tag     line 15  \"a/b\": a pattern on tags",
            "profiles.default.fallback.to      line 16  \"X:y,z\": a repository name is components",
            "profiles.default.fallback.to      line 20  is empty; name at least one",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
    }

    #[test]
    fn what_could_be_either_of_two_is_refused() {
        let rule = |image: &str, says: &str| format!("[[profiles.default.rules]]\nimage = \"{image}\"\n{says}\n");
        let fallback = |image: &str, tag: &str| {
            format!("[[profiles.default.fallback]]\nimage = \"{image}\"\ntag = \"{tag}\"\nto = [\"x\"]\n")
        };
        for (file, why) in [
            (rule("a/*", "parts = true") + &rule("a/**", "parts = false"), Some("a/* and a/** mean the same images")),
            (rule("a/*", "parts = true") + &rule("a/**", "kind = \"cache\""), None),
            (rule("a/*", "parts = true") + &rule("a/b", "parts = false"), None),
            (fallback("a/*", "c-*") + &fallback("a/**", "c-*x"), Some("ties with the one for c-* of a/*")),
            (fallback("a/*", "c-*") + &fallback("a/*", "c-x*"), None),
            (fallback("a/*", "c-*") + &fallback("b/*", "c-*"), None),
        ] {
            match (loaded(&[], &[], &file), why) {
                (Ok(_), None) => {}
                (Err(told), Some(why)) => assert!(told.contains(why), "{told}"),
                (outcome, _) => panic!("{file}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_fallback_stays_within_its_profile() {
        let team = |to: &str| {
            format!(
                "[profiles.team]\nimages = [\"team/*\"]\nstore = \"/team\"\n[profiles.other]\nimages = [\"other/**\"]\nstore = \"/other\"\n\
                 [[profiles.team.fallback]]\nimage = \"team/*\"\ntag = \"*\"\nto = [\"{to}\"]\n"
            )
        };
        assert!(loaded(&[], &[], &team("team/base:x")).is_ok());
        for (to, why) in [
            ("other/base:x", "the image other/base is of profile other, and a fallback stays within its own"),
            ("base:x", "the image base is of no profile"),
        ] {
            let told = loaded(&[], &[], &team(to)).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
