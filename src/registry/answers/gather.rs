//! Looking for what a tag can be answered with.

use std::cmp::Reverse;
use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::future::{join, join_all};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::super::{Asker, RegistryError, Repository, late};
use super::config::Config;
use super::rules::{Answering, Fallback, Kind, Parts, Target};
use super::source::{Content, Source};
use crate::oci::Tag;
use crate::store::{Listed, StoreError};

/// How many parts are read at once.
const PARTS_AT_ONCE: usize = 16;

/// Most pages of a listing of parts that are looked at, a thousand each.
const MOST_PAGES: usize = 8;

/// What there is to answer with.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The newest first.
    pub sources: Vec<Source>,
    /// Whether the only source is no cache as such: something that stays what it is.
    pub is_alone: bool,
    /// What could have been a source.
    pub passed_over: Vec<PassedOver>,
    /// What stands in for the tag, which is absent.
    pub stands_in: Vec<String>,
}

/// A tag that could have had a say in the answer, and has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// As a client would ask for it.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why a tag has no say in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A part that is older than the newest by so much.
    TooOld(Duration),
    /// A part beyond as many as there may be.
    TooMany,
    /// It is no cache, and holds none.
    NoCache,
    /// It could not be read in time.
    Unread,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(age) => write!(f, "{} h older than the newest part", age.as_secs() / 3600),
            Self::TooMany => f.write_str("enough newer parts"),
            Self::NoCache => f.write_str("no cache in it"),
            Self::Unread => f.write_str("not read in time"),
        }
    }
}

impl Gathered {
    fn alone(source: Source) -> Self {
        Self { sources: vec![source], is_alone: true, ..Self::default() }
    }

    fn add(&mut self, other: Self) {
        self.sources.extend(other.sources);
        self.passed_over.extend(other.passed_over);
        self.stands_in.extend(other.stands_in);
        self.sort();
    }

    /// Puts the newest first, and what is as old in the order of its name: so that replicas agree.
    fn sort(&mut self) {
        self.sources.sort_by_cached_key(|source| (Reverse(source.pushed), source.to_string()));
    }
}

impl Repository {
    /// What is under `tag`, and under the tags that are its parts.
    ///
    /// # Errors
    ///
    /// It could not be asked for. Parts that can't be read by `until` are left out.
    pub(super) async fn gather(&self, tag: &Tag, asker: Asker, until: Instant) -> Result<Gathered, RegistryError> {
        let (own, listed) = self.look_up(tag, asker, until).await;
        let own = match own? {
            Some(own) if self.stays_alone(&own.content) => return Ok(Gathered::alone(own)),
            own => own,
        };
        let listed = match listed {
            Ok(listed) => listed,
            // Where there is no telling whether there are any, the tag is not known to be absent.
            Err(error) if own.is_none() && error.lacks().is_none() => return Err(error.into()),
            Err(error) => {
                tracing::debug!(repository = %self.name, %tag, %error, "parts of a tag not listed in time, left out");
                Vec::new()
            }
        };
        let (chosen, passed_over) = self.choose(listed, own.as_ref().map(|own| own.pushed));
        let mut gathered = Gathered { sources: own.into_iter().collect(), passed_over, ..Gathered::default() };
        self.add_parts(&mut gathered, chosen, until).await;
        gathered.sort();
        Ok(gathered)
    }

    /// What is under `tag`, and what is listed as its parts; at once for an import, which waits for both.
    async fn look_up(
        &self,
        tag: &Tag,
        asker: Asker,
        until: Instant,
    ) -> (Result<Option<Source>, RegistryError>, Result<Vec<(Tag, Listed)>, StoreError>) {
        let listing = async { timeout_at(until, self.list_parts(tag)).await.unwrap_or_else(|_| Err(late())) };
        if asker == Asker::Import && !self.registry.answers.was_plain(&self.keys.tag(tag)) {
            return join(self.read_source(tag, until), listing).await;
        }
        // What it was last is most likely what it is: something without parts.
        let own = self.read_source(tag, until).await;
        let listed = match &own {
            Ok(Some(own)) if self.stays_alone(&own.content) => Ok(Vec::new()),
            _ => listing.await,
        };
        (own, listed)
    }

    /// What is under `tag`, of what was pushed and what a client of `type=s3` wrote the one that came last.
    async fn read_source(&self, tag: &Tag, until: Instant) -> Result<Option<Source>, RegistryError> {
        let (pushed, of_s3) = join(self.fetch_tag(tag, self.patience().pull), self.read_source_of_s3(tag, until)).await;
        let pushed = pushed?.map(|(manifest, meta)| self.source(tag, meta.last_modified, Content::of(manifest)));
        match of_s3 {
            Ok(of_s3) => Ok(newer(pushed, of_s3)),
            Err(error) if pushed.is_none() => Err(error),
            Err(error) => {
                tracing::warn!(repository = %self.name, %tag, %error, "what type=s3 clients have of a cache not read in time, left out");
                Ok(pushed)
            }
        }
    }

    async fn read_source_of_s3(&self, tag: &Tag, until: Instant) -> Result<Option<Source>, RegistryError> {
        let reading = timeout_at(until, self.read_s3_cache(tag, self.patience().pull));
        let found = reading.await.unwrap_or_else(|_| Err(late().into()))?;
        Ok(found.map(|cache| self.source(tag, cache.last_modified, Content::OfS3(cache))))
    }

    fn source(&self, tag: &Tag, pushed: SystemTime, content: Content) -> Source {
        Source { repository: self.clone(), tag: tag.clone(), pushed, content }
    }

    /// Whether `content` is what it is whatever its parts are: an image is there to be run.
    fn stays_alone(&self, content: &Content) -> bool {
        match (content, self.answering.kind) {
            (Content::Images(..) | Content::Other(_), _) | (_, Some(Kind::Image)) => true,
            (Content::Cache(..) | Content::OfS3(_), _) | (Content::Image(..), Some(Kind::Cache)) => false,
            (Content::Image(..), None) => true,
        }
    }

    /// The tags that are parts of `tag`.
    async fn list_parts(&self, tag: &Tag) -> Result<Vec<(Tag, Listed)>, StoreError> {
        let Answering { parts, kind, .. } = &*self.answering;
        if !parts.are_on || parts.whole_of(tag).is_some() || *kind == Some(Kind::Image) {
            return Ok(Vec::new());
        }
        let (tags, patience) = (self.keys.tags(), self.patience().pull);
        let prefix = format!("{tags}{tag}{}", parts.separator);
        let is_part = |listed: Listed| {
            let part: Tag = listed.key.as_str().strip_prefix(&tags)?.parse().ok()?;
            (parts.whole_of(&part) == Some(tag.as_str())).then_some((part, listed))
        };
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let page = self.store().list(&prefix, after.as_ref(), patience).await?;
            after = page.objects.last().map(|object| object.key.clone());
            found.extend(page.objects.into_iter().filter_map(is_part));
            if !page.is_truncated {
                return Ok(found);
            }
        }
        tracing::warn!(repository = %self.name, %tag, "too many parts of a tag; not all are looked at");
        Ok(found)
    }

    /// The parts that count, the newest first, beside a tag that was `pushed` then.
    fn choose(&self, listed: Vec<(Tag, Listed)>, pushed: Option<SystemTime>) -> (Vec<(Tag, Listed)>, Vec<PassedOver>) {
        let (chosen, others) = choose(listed, pushed, &self.answering.parts);
        let name = |tag: Tag| format!("{}:{tag}", self.name);
        (chosen, others.into_iter().map(|(tag, why)| PassedOver { name: name(tag), why }).collect())
    }

    /// Adds the parts that can be read by `until`.
    async fn add_parts(&self, gathered: &mut Gathered, chosen: Vec<(Tag, Listed)>, until: Instant) {
        let read = stream::iter(chosen).map(|(tag, listed)| async move {
            let reading = timeout_at(until, self.read_part(&tag, &listed, until));
            (reading.await.unwrap_or_else(|_| Err(late().into())), tag)
        });
        let read: Vec<_> = read.buffered(PARTS_AT_ONCE).collect().await;
        for (part, tag) in read {
            let name = format!("{}:{tag}", self.name);
            match part {
                Ok(Some(Ok(source))) => gathered.sources.push(source),
                Ok(Some(Err(why))) => gathered.passed_over.push(PassedOver { name, why }),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(part = name, %error, "part of a cache not read in time, left out");
                    gathered.passed_over.push(PassedOver { name, why: Why::Unread });
                }
            }
        }
    }

    /// The part `tag` as it was `listed`, if there is a cache in it; `None` where it went away meanwhile.
    async fn read_part(&self, tag: &Tag, listed: &Listed, until: Instant) -> Result<Option<Result<Source, Why>>, RegistryError> {
        let (answers, recent) = (&self.registry.answers, &self.registry.recent);
        let seen = answers.tagged(&listed.key, &listed.etag).and_then(|digest| recent.find(&self.image, &digest));
        let manifest = match seen {
            Some(manifest) => manifest,
            None => {
                let removals = recent.removals();
                let Some((manifest, meta)) = self.fetch_tag(tag, self.patience().pull).await? else { return Ok(None) };
                answers.note_tagged(&listed.key, &meta.etag, manifest.digest);
                recent.keep(&self.image, &manifest, removals);
                manifest
            }
        };
        self.note_evidence(&manifest);
        let source = self.source(tag, listed.last_modified, Content::of(manifest));
        let holds = self.holds_cache(&source, until).await;
        Ok(Some(if holds { Ok(source) } else { Err(Why::NoCache) }))
    }

    /// Whether `source` is a cache or has one in it; for all that is known by `until`.
    pub(super) async fn holds_cache(&self, source: &Source, until: Instant) -> bool {
        let (repository, content, answers) = (&source.repository, &source.content, &self.registry.answers);
        let key = repository.keys.tag(&source.tag);
        let holds = match content {
            Content::Cache(..) | Content::OfS3(_) => true,
            // It has none itself.
            Content::Images(..) | Content::Other(_) => return false,
            Content::Image(_, image) => match answers.holds_cache(&content.digest()) {
                Some(holds) => holds,
                None => match repository.read_config(&image.config, until).await {
                    Config::Read(config) => {
                        let content = content.clone();
                        let reading = self.registry.work_on_cache(move || matches!(content.read(&config), Ok(Some(_))));
                        let Ok(Some(holds)) = timeout_at(until, reading).await else { return false };
                        holds
                    }
                    Config::Absent | Config::TooLarge | Config::Unknown => return false,
                },
            },
        };
        answers.note_holds_cache(content.digest(), &key, holds);
        holds
    }

    /// What stands in for `tag`, which is absent.
    pub(super) async fn fall_back(&self, tag: &Tag, asker: Asker, until: Instant) -> Result<Gathered, RegistryError> {
        let Some(Fallback { to, is_union, .. }) = self.answering.fallback_of(tag) else { return Ok(Gathered::default()) };
        let mut gathered = Gathered::default();
        let mut failed = None;
        for stand_in in self.stand_ins(to, *is_union, (tag, asker, until)).await {
            match stand_in {
                Ok(stand_in) => gathered.add(stand_in),
                Err(error) => failed = Some(error),
            }
        }
        gathered.is_alone = matches!(&gathered.sources[..], [only] if only.repository.stays_alone(&only.content));
        // Perhaps there is one, and perhaps it comes before what was found: but something is better than nothing.
        failed.filter(|_| gathered.sources.is_empty()).map_or(Ok(gathered), Err)
    }

    /// What there is at `targets`: at all of them, or up to the first at which there is something.
    async fn stand_ins(
        &self,
        targets: &[Target],
        is_union: bool,
        (tag, asker, until): (&Tag, Asker, Instant),
    ) -> Vec<Result<Gathered, RegistryError>> {
        let targets = targets.iter().filter(|target| target.repository.is_some() || target.tag != *tag);
        if is_union {
            return join_all(targets.map(|target| self.stand_in(target, asker, until))).await;
        }
        let mut found = Vec::new();
        for target in targets {
            let stand_in = self.stand_in(target, asker, until).await;
            let is_found = stand_in.as_ref().is_ok_and(|found| !found.sources.is_empty());
            found.push(stand_in);
            if is_found {
                break;
            }
        }
        found
    }

    /// The caches under `target`, which stands in for a tag. What somebody may run is never what they asked for in vain.
    async fn stand_in(&self, target: &Target, asker: Asker, until: Instant) -> Result<Gathered, RegistryError> {
        let repository = target.repository.as_ref().unwrap_or(self);
        let mut gathered = repository.gather(&target.tag, asker, until).await?;
        if gathered.is_alone {
            let is_for_images = repository.answering.kind == Some(Kind::Image) || asker != Asker::Import;
            let source = &gathered.sources[0];
            if is_for_images || !repository.holds_cache(source, until).await {
                gathered.passed_over.push(PassedOver { name: source.to_string(), why: Why::NoCache });
                gathered.sources.clear();
            }
        }
        if let Some(first) = gathered.sources.first() {
            gathered.stands_in.push(format!("{}:{}", first.repository.name, target.tag));
        }
        Ok(gathered)
    }
}

/// The one that came last. What was pushed to be run stays, and of two of one second the one that would be gone if the
/// other had come after it: a push writes over what clients of `type=s3` have.
fn newer(pushed: Option<Source>, of_s3: Option<Source>) -> Option<Source> {
    match (pushed, of_s3) {
        (Some(pushed), Some(of_s3)) => {
            let is_older = !matches!(pushed.content, Content::Cache(..)) || of_s3.pushed < pushed.pushed;
            Some(if is_older { pushed } else { of_s3 })
        }
        (pushed, of_s3) => pushed.or(of_s3),
    }
}

/// A listed part, and why it doesn't count.
type Left = (Tag, Why);

fn choose(mut listed: Vec<(Tag, Listed)>, pushed: Option<SystemTime>, parts: &Parts) -> (Vec<(Tag, Listed)>, Vec<Left>) {
    listed.sort_by(|(one, left), (other, right)| right.last_modified.cmp(&left.last_modified).then_with(|| one.cmp(other)));
    let newest = listed.first().map(|(_, listed)| listed.last_modified).max(pushed);
    let (mut chosen, mut left) = (Vec::new(), Vec::new());
    for (tag, listed) in listed {
        let age = newest.and_then(|newest| newest.duration_since(listed.last_modified).ok()).unwrap_or_default();
        if age > parts.window {
            left.push((tag, Why::TooOld(age)));
        } else if chosen.len() >= parts.most {
            left.push((tag, Why::TooMany));
        } else {
            chosen.push((tag, listed));
        }
    }
    (chosen, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A part of that age in hours.
    fn part(tag: &str, age: u64) -> (Tag, Listed) {
        let last_modified = SystemTime::UNIX_EPOCH + Duration::from_secs((1000 - age) * 60 * 60);
        let key = format!("app/_oci/tags/{tag}").parse().unwrap();
        (tag.parse().unwrap(), Listed { key, size: 1, last_modified, etag: String::new() })
    }

    fn chosen(parts: &[(&str, u64)], own: Option<u64>, most: usize) -> Vec<String> {
        let pushed = own.map(|age| part("own", age).1.last_modified);
        let limits = Parts { most, ..Parts::default() };
        let (chosen, _) = choose(parts.iter().map(|(tag, age)| part(tag, *age)).collect(), pushed, &limits);
        chosen.into_iter().map(|(tag, _)| tag.to_string()).collect()
    }

    #[test]
    fn the_newest_parts_count_and_those_not_much_older() {
        let parts = [("c--a", 25), ("c--b", 24), ("c--d", 3), ("c--c", 3), ("c--e", 0)];
        for (own, most, expected) in [
            (None, 9, &["c--e", "c--c", "c--d", "c--b"][..]),
            (None, 2, &["c--e", "c--c"]),
            (Some(0), 9, &["c--e", "c--c", "c--d", "c--b"]),
            (Some(100), 9, &["c--e", "c--c", "c--d", "c--b"]),
        ] {
            assert_eq!(chosen(&parts, own, most), expected, "{own:?} {most}");
        }
        assert_eq!(chosen(&parts[..3], Some(0), 9), ["c--d", "c--b"], "the tag itself is the newest");
        assert_eq!(chosen(&parts[..2], None, 9), ["c--b", "c--a"]);
    }
}
