//! Looking into what of the sources of an answer is there still.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::time::Instant;

use super::super::manifests::StoredManifest;
use super::super::presence::Wanted;
use super::super::{Asker, Repository};
use super::Served;
use super::config::Config;
use super::decide::{Evidence, Finding};
use super::gather::Gathered;
use super::source::Source;
use crate::oci::{Digest, RepoName};

/// What is known of sources by the time that something must be decided.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    /// Of each source, the newest first; at least one.
    pub evidence: Arc<Vec<Evidence>>,
    /// How many bytes of configs are united at most.
    pub max_bytes: usize,
    /// What was found, if that is the sources' only one, or an index of them, and somebody may want to run it.
    pub alone: Option<StoredManifest>,
}

impl Repository {
    /// What is known by `until` of what was gathered; `None` of what is no cache for whoever asks.
    pub(super) async fn look_over(&self, gathered: &Gathered, asker: Asker, until: Instant) -> Option<Looked> {
        let only = gathered.sources.first().filter(|_| gathered.is_alone);
        let images = match only {
            Some(only) if asker == Asker::Import => self.images_of(only, until).await,
            _ => Vec::new(),
        };
        let sources = if gathered.is_alone { &images } else { &gathered.sources };
        if sources.is_empty() {
            return None;
        }
        let max_bytes = usize::try_from(self.answering.parts.max_bytes).unwrap_or(usize::MAX);
        let configs = join_all(within(sources, max_bytes).map(|(source, has_room)| source.read_config(has_room, until)));
        let (gone, configs) = join(gone(sources, until), configs).await;
        let evidence = sources.iter().zip(configs).map(|(source, config)| {
            let here = gone.get(&source.repository.image);
            let is_gone = |wanted: &Wanted| here.is_some_and(|gone| gone.contains(wanted));
            let gone = source.content.blobs().into_iter().filter(is_gone).map(|wanted| wanted.digest).collect();
            Evidence { source: source.clone(), config, gone }
        });
        let alone = only.and_then(|only| only.content.manifest()).cloned();
        Some(Looked { evidence: Arc::new(evidence.collect()), max_bytes, alone })
    }
}

impl Looked {
    /// What it is known by; `None` where not all of it is known.
    pub fn fingerprint(&self) -> Option<Digest> {
        let mut text = format!("{} {:?}", self.max_bytes, self.alone.as_ref().map(|alone| alone.digest));
        for Evidence { source, config, gone } in self.evidence.iter() {
            let read = match config {
                Config::Read(_) => "read",
                Config::Absent => "absent",
                Config::TooLarge => "too large",
                Config::Unknown => return None,
            };
            let mut gone: Vec<_> = gone.iter().map(Digest::to_string).collect();
            gone.sort();
            text += &format!("\n{} {read} {}", source.content.digest(), gone.join(" "));
        }
        Some(Digest::sha256(text.as_bytes()))
    }

    /// What can be served where nothing can be made: the first source that is whole as far as anybody knows. What
    /// somebody may want to run is theirs to judge.
    pub fn whole_by_itself(&self) -> Option<Served> {
        if self.alone.is_some() {
            return self.first();
        }
        let unread = Finding::default();
        let whole = self.evidence.iter().find(|evidence| evidence.is_whole(&unread));
        whole.and_then(|evidence| evidence.source.content.manifest()).map(Served::whole)
    }

    /// The first source, as it is, or the index that it is in.
    pub fn first(&self) -> Option<Served> {
        let first = || self.evidence.first()?.source.content.manifest();
        self.alone.as_ref().or_else(first).map(Served::whole)
    }
}

/// Each source, and whether its config has room beside those of the newer ones. What goes into a union can be less
/// than what is read for it, but not without bounds.
fn within(sources: &[Source], max_bytes: usize) -> impl Iterator<Item = (&Source, bool)> {
    let most = (max_bytes as u64).saturating_mul(2);
    sources.iter().scan(0_u64, move |sum, source| {
        let is_first = *sum == 0;
        *sum = sum.saturating_add(source.content.config().map_or(0, |config| config.size));
        Some((source, is_first || *sum <= most))
    })
}

/// What is gone of what was gathered, by image.
async fn gone(sources: &[Source], until: Instant) -> HashMap<RepoName, HashSet<Wanted>> {
    let mut wanted: HashMap<&RepoName, (&Repository, HashSet<Wanted>)> = HashMap::new();
    for source in sources {
        let (_, of_image) = wanted.entry(&source.repository.image).or_insert((&source.repository, HashSet::new()));
        of_image.extend(source.content.blobs());
    }
    let asked = wanted
        .into_iter()
        .map(|(image, (repository, wanted))| repository.gone(wanted, until).map(move |gone| (image.clone(), gone)));
    join_all(asked).await.into_iter().collect()
}
