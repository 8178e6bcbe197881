//! `longshore explain`: what a build that imports a tag gets, and why.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::app::{
    self, ExplainError, Explained, Explanation, Finding, FoundByS3, Outcome, Seen, SeenByS3, ServedCache, Steps, Story, Told,
    What,
};
use crate::config::Config;
use crate::oci::Digest;

use super::words::OfImage;
use super::{MISTAKE, complain, log, say};

/// Most blobs that a page names, the largest; the JSON has all.
const MOST_NAMED: usize = 40;

/// How many bytes BuildKit reads of what describes a cache.
const LIMIT: usize = app::IMPORT_LIMIT;

/// Explains, on a page or in JSON.
pub(super) fn run(config: Config, asked: &OfImage) -> ExitCode {
    log::start(config.log);
    let runtime = match Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("longshore: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let of = (asked.image.clone(), asked.tag.clone());
    match runtime.block_on(app::explain(config, of, asked.profile.as_deref(), log::mask().clone())) {
        Ok(explained) if asked.is_json => say(&in_json(&explained, SystemTime::now())),
        Ok(explained) => {
            let is_colourful = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
            say(&page(&explained, SystemTime::now(), Ink { is_colourful }).trim_end());
        }
        Err(error) => {
            complain(&format_args!("longshore: {error}"));
            let is_mistake = !matches!(error, ExplainError::Failed { .. });
            return if is_mistake { ExitCode::from(MISTAKE) } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}

/// How things are made to stand out.
#[derive(Clone, Copy)]
struct Ink {
    is_colourful: bool,
}

impl Ink {
    /// A heading.
    fn bold(self, text: &str) -> String {
        self.wrap(text, "\x1b[1m")
    }

    /// What a person should look at.
    fn red(self, text: &str) -> String {
        self.wrap(text, "\x1b[31m")
    }

    fn wrap(self, text: &str, code: &str) -> String {
        if self.is_colourful { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// All that was asked for, for people.
fn page(explained: &Explained, now: SystemTime, ink: Ink) -> String {
    let Explained { image, profile, store, tags, is_cut } = explained;
    let mut page = String::new();
    if tags.is_empty() {
        let _ = writeln!(page, "{}", ink.bold(&format!("{image}, profile {profile}, {store}")));
        let _ = writeln!(page, "\nThere are no tags of this image.");
    }
    for (tag, explanation) in tags {
        let gap = if page.is_empty() { "" } else { "\n" };
        let _ = writeln!(page, "{gap}{}", ink.bold(&format!("{image}:{tag}, profile {profile}, {store}")));
        match explanation {
            Ok(explanation) => page += &page_of(explanation, now, ink),
            Err(error) => {
                let _ = writeln!(page, "\n{}", ink.red(&format!("It could not be read: {error}.")));
            }
        }
    }
    if *is_cut {
        let _ = writeln!(page, "\nThere are more tags; ask for one of them by its name.");
    }
    page
}

/// What there is to say of one tag.
fn page_of(explanation: &Explanation, now: SystemTime, ink: Ink) -> String {
    let Explanation { story, blobs, .. } = explanation;
    let mut page = String::from("\n");
    for sentence in sentences(explanation, now) {
        let _ = writeln!(page, "{sentence}");
    }
    let mut table = |title: &str, rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            let _ = writeln!(page, "\n{}", ink.bold(title));
            page += &columns(&rows);
        }
    };
    table("Made of", story.sources.iter().map(|told| made_of(told, now, ink)).collect());
    table("Passed over", story.passed_over.iter().map(|over| vec![over.name.clone(), over.why.to_string()]).collect());
    let mut named: Vec<_> = blobs.iter().collect();
    named.sort_by_key(|(digest, seen)| (!seen.is_gone, std::cmp::Reverse(seen.size), **digest));
    let more = named.len().saturating_sub(MOST_NAMED);
    table("Blobs", named.into_iter().take(MOST_NAMED).map(|(digest, seen)| blob(digest, seen, now, ink)).collect());
    if more > 0 {
        let _ = writeln!(page, "  and {more} more, which --json has");
    }
    page
}

/// What happened, for who does not know how.
fn sentences(Explanation { story, cache, is_left_alone, of_s3, .. }: &Explanation, now: SystemTime) -> Vec<String> {
    let mut told = Vec::new();
    if !story.stands_in.is_empty() {
        told.push(format!("There is nothing under this tag; by its fallback {} stands in for it.", listed(&story.stands_in)));
    }
    told.push(match is_left_alone {
        true => "A rule says that it is an image to be run: it is served as it was pushed, whatever is in it.".to_owned(),
        false => outcome(story, *cache),
    });
    told.extend(gone(story));
    told.extend(rescued(story, *cache));
    if !story.no_room.is_empty() {
        told.push(format!("Even so not all of it has room: {}.", story.no_room));
    }
    for Told { name, found, .. } in &story.sources {
        told.extend(found.as_ref().and_then(|found| of_source(name, found)));
    }
    told.extend(of_s3.as_ref().map(|seen| seen_by_s3(seen, story, now)));
    told
}

/// What builds get that have BuildKit's own `type=s3`.
fn seen_by_s3(SeenByS3 { key, found }: &SeenByS3, story: &Story, now: SystemTime) -> String {
    let found = match found {
        FoundByS3::Nothing => "nothing".to_owned(),
        FoundByS3::Pushed(of) if story.sources.iter().any(|told| told.digest == *of) => "the same as it was pushed".to_owned(),
        FoundByS3::Pushed(of) => format!("what was pushed as {of}, which is not what is told of here"),
        FoundByS3::Exported(then) => {
            format!(
                "what one of them exported {}",
                age(*then, now).map_or_else(|| "just now".to_owned(), |age| format!("{age} ago"))
            )
        }
        FoundByS3::NoCache(error) => format!("no cache: {error}"),
    };
    format!("Builds with type=s3 find {found} ({key}).")
}

/// What the build gets, in a sentence.
fn outcome(story: &Story, cache: Option<ServedCache>) -> String {
    match (story.outcome, cache) {
        (Outcome::Nothing | Outcome::NotStored, _) if story.sources.is_empty() => {
            "Nothing is there: a build that imports it begins without a cache.".to_owned()
        }
        (Outcome::Nothing | Outcome::NotStored, _) => {
            "Nothing of it is of use: a build that imports it begins without a cache.".to_owned()
        }
        (Outcome::AsIs, None) => "It is an ordinary image: there is no cache in it.".to_owned(),
        (Outcome::AsIs, Some(cache)) => format!("A build that imports it gets it as it was pushed: {}.", known(cache.steps)),
        (Outcome::Made { united: 1, .. }, cache) => {
            format!("A build that imports it gets what can be used of it: {}.", known(cache.unwrap_or_default().steps))
        }
        (Outcome::Made { united, .. }, cache) => {
            let steps = known(cache.unwrap_or_default().steps);
            format!("A build that imports it gets the union of {united} caches: {steps}.")
        }
    }
}

/// How much a cache knows.
fn known(Steps { made, results, .. }: Steps) -> String {
    format!("{}, {results} of them with layers", number(made, "step"))
}

/// What of it the store has lost.
fn gone(story: &Story) -> Option<String> {
    let gone: std::collections::BTreeMap<_, _> =
        story.sources.iter().flat_map(|told| told.gone.iter().map(|digest| (*digest, told.blobs.get(digest)))).collect();
    if gone.is_empty() {
        return None;
    }
    let bytes: u64 = gone.values().filter_map(|size| size.copied()).sum();
    let found = || story.sources.iter().filter_map(|told| told.found.as_ref());
    let (had, has): (usize, usize) =
        found().fold((0, 0), |(had, has), found| (had + found.steps.results, has + found.usable.results));
    let blobs = if gone.len() == 1 { "1 blob is".to_owned() } else { format!("{} blobs are", gone.len()) };
    Some(format!("{blobs} gone from the store ({}): {} that had layers will run again.", size(bytes), number(had - has, "step")))
}

/// Why it is not in the form in which it was pushed.
fn rescued(story: &Story, cache: Option<ServedCache>) -> Option<String> {
    let limit = size(LIMIT as u64);
    match (story.outcome, cache) {
        (Outcome::Made { is_rescued: true, .. }, _) => Some(format!(
            "Its config would be larger than the {limit} that BuildKit reads, and be passed over without a word: \
             so it is served as the cache inside an image, which may be larger."
        )),
        (_, Some(cache)) if cache.config_bytes > LIMIT / 2 => {
            Some(format!("Its config has {} of the {limit} that BuildKit reads.", size(cache.config_bytes as u64)))
        }
        _ => None,
    }
}

/// What is wrong with a source.
fn of_source(name: &str, found: &Finding) -> Option<String> {
    match &found.error {
        Some(error) => Some(format!("{name} can't be read: {error}.")),
        None if !found.left_out.is_empty() => Some(format!("{name} has in it what no build could use: {}.", found.left_out)),
        None if found.steps.are_of_last_stage() => Some(format!(
            "{name} has layers of {} of {} alone, as mode=min exports it: with mode=max it has those of all stages.",
            found.steps.results,
            number(found.steps.made, "step")
        )),
        None => None,
    }
}

/// A source, in columns.
fn made_of(told: &Told, now: SystemTime, ink: Ink) -> Vec<String> {
    let Told { name, what, digest, pushed, blobs, gone, found } = told;
    let bytes: u64 = blobs.values().sum();
    let held = format!("{}, {}", number(blobs.len(), "blob"), size(bytes));
    let steps = found
        .as_ref()
        .filter(|found| found.error.is_none())
        .map_or_else(String::new, |found| format!("{}, {} usable", number(found.steps.made, "step"), found.usable.made));
    let config = found.as_ref().map_or_else(String::new, |found| format!("config {}", size(found.config_bytes as u64)));
    let what = match what {
        What::Cache => "cache",
        What::Image => "image",
        What::OfS3 => "of type=s3",
        What::Other => "something else",
    };
    let gone = if gone.is_empty() { String::new() } else { ink.red(&format!("{} gone", gone.len())) };
    let pushed = format!("pushed {}", age(*pushed, now).map_or_else(|| "just now".to_owned(), |age| format!("{age} ago")));
    vec![name.clone(), what.to_owned(), digest.to_string(), pushed, held, steps, config, gone]
}

/// A blob, in columns.
fn blob(digest: &Digest, Seen { size: bytes, last_modified, is_gone }: &Seen, now: SystemTime, ink: Ink) -> Vec<String> {
    let state = match last_modified {
        _ if *is_gone => ink.red("gone"),
        Some(then) => age(*then, now).map_or_else(|| "new".to_owned(), |age| format!("{age} old")),
        None => String::new(),
    };
    vec![digest.to_string(), size(*bytes), state]
}

/// Rows in columns, which are as wide as their widest text.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
    let widths: Vec<_> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).filter(|(_, width)| **width > 0).map(|(text, width)| format!("{text:width$}"));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// How long ago something was, in its largest unit; `None` if that is less than a second.
fn age(then: SystemTime, now: SystemTime) -> Option<String> {
    let seconds = now.duration_since(then).unwrap_or(Duration::ZERO).as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    units.iter().find(|(_, unit)| seconds >= *unit).map(|(name, unit)| format!("{} {name}", seconds / unit))
}

/// A number of bytes in the unit that leaves it between 1 and 1024.
fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn listed(names: &[String]) -> String {
    names.join(" and ")
}

/// All that was asked for, for programs. Times are in seconds since 1970, sizes in bytes.
fn in_json(explained: &Explained, now: SystemTime) -> Value {
    let tags = explained.tags.iter().map(|(tag, explanation)| match explanation {
        Ok(explanation) => tag_in_json(tag.as_str(), explanation, now),
        Err(error) => json!({"tag": tag.as_str(), "error": error}),
    });
    json!({
        "image": explained.image.as_str(),
        "profile": explained.profile,
        "store": explained.store,
        "asked": seconds(now),
        "tags": tags.collect::<Vec<_>>(),
        "moreTags": explained.is_cut,
    })
}

fn tag_in_json(tag: &str, explanation: &Explanation, now: SystemTime) -> Value {
    let Explanation { story, cache, blobs, of_s3, .. } = explanation;
    let (served, united, is_rescued) = match story.outcome {
        Outcome::Nothing | Outcome::NotStored => ("nothing", 0, false),
        Outcome::AsIs => ("as pushed", 1, false),
        Outcome::Made { united, is_rescued } => ("derived", united, is_rescued),
    };
    json!({
        "tag": tag,
        "served": served,
        "united": united,
        "rescued": is_rescued,
        "explanation": sentences(explanation, now),
        "typeS3": of_s3.as_ref().map(of_s3_in_json),
        "standsIn": story.stands_in,
        "cache": cache.map(|cache| json!({
            "configBytes": cache.config_bytes, "steps": cache.steps.made, "stepsWithLayers": cache.steps.results,
            "mode": if cache.steps.are_of_last_stage() { "min" } else { "max" },
        })),
        "sources": story.sources.iter().map(source_in_json).collect::<Vec<_>>(),
        "passedOver": story.passed_over.iter().map(|it| json!({"name": it.name, "why": it.why.to_string()})).collect::<Vec<_>>(),
        "blobs": blobs.iter().map(|(digest, seen)| json!({
            "digest": digest.to_string(), "size": seen.size, "lastModified": seen.last_modified.map(seconds), "gone": seen.is_gone,
        })).collect::<Vec<_>>(),
    })
}

fn of_s3_in_json(SeenByS3 { key, found }: &SeenByS3) -> Value {
    let (found, of, exported) = match found {
        FoundByS3::Nothing => ("nothing", None, None),
        FoundByS3::Pushed(of) => ("pushed", Some(of.to_string()), None),
        FoundByS3::Exported(then) => ("exported", None, Some(seconds(*then))),
        FoundByS3::NoCache(_) => ("no cache", None, None),
    };
    json!({"key": key, "found": found, "of": of, "exported": exported})
}

fn source_in_json(told: &Told) -> Value {
    let found = told.found.as_ref();
    json!({
        "name": told.name,
        "digest": told.digest.to_string(),
        "pushed": seconds(told.pushed),
        "blobs": told.blobs.len(),
        "bytes": told.blobs.values().sum::<u64>(),
        "gone": told.gone.iter().map(Digest::to_string).collect::<Vec<_>>(),
        "configBytes": found.map(|found| found.config_bytes),
        "steps": found.map(|found| found.steps.made),
        "stepsUsable": found.map(|found| found.usable.made),
        "error": found.and_then(|found| found.error.clone()),
        "leftOut": found.map(|found| found.left_out.to_string()),
    })
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
