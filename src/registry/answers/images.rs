//! Images with caches in them, alone or in an index as buildx pushes them, beside what attests to how they were built.

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::super::{RegistryError, Repository};
use super::rules::Kind;
use super::source::{Content, Source};
use crate::oci::{Descriptor, MediaType};

/// Most children of an index that are looked at.
const MOST_CHILDREN: usize = 16;

impl Repository {
    /// The images that `only` is or names, if any of them has a cache in it; nothing where `only` is to be left alone.
    pub(super) async fn images_of(&self, only: &Source, until: Instant) -> Vec<Source> {
        if only.repository.answering.kind == Some(Kind::Image) {
            return Vec::new();
        }
        match &only.content {
            Content::Image(..) if self.holds_cache(only, until).await => vec![only.clone()],
            Content::Images(_, children) => self.images_in(only, children, until).await,
            _ => Vec::new(),
        }
    }

    async fn images_in(&self, index: &Source, children: &[Descriptor], until: Instant) -> Vec<Source> {
        let (answers, digest) = (&self.registry.answers, index.content.digest());
        if children.len() > MOST_CHILDREN || answers.holds_cache(&digest) == Some(false) {
            return Vec::new();
        }
        let is_image = |child: &&Descriptor| [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST].contains(&&*child.media_type);
        let children: Vec<_> = children.iter().filter(is_image).collect();
        let reading = join_all(children.iter().map(|child| index.child(child)));
        let Ok(Ok(images)) = timeout_at(until, reading).await.map(|read| read.into_iter().collect::<Result<Vec<_>, _>>()) else {
            return Vec::new();
        };
        let found: Vec<_> = images.into_iter().flatten().collect();
        let is_whole = found.len() == children.len();
        let images: Vec<_> = found.into_iter().filter(|child| matches!(child.content, Content::Image(..))).collect();
        let hold = join_all(images.iter().map(|image| self.holds_cache(image, until))).await;
        if hold.contains(&true) {
            return images;
        }
        // What is not there could come back, or is there for others.
        let is_plain = |image: &Source| answers.holds_cache(&image.content.digest()) == Some(false);
        if is_whole && images.iter().all(is_plain) {
            answers.note_holds_cache(digest, &index.repository.keys.tag(&index.tag), false);
        }
        Vec::new()
    }
}

impl Source {
    /// This index's `child`, if it is there.
    async fn child(&self, child: &Descriptor) -> Result<Option<Self>, RegistryError> {
        let Repository { registry, image, keys, .. } = &self.repository;
        let (recent, removals) = (&registry.recent, registry.recent.removals());
        let manifest = match recent.find(image, &child.digest) {
            Some(manifest) => Some(manifest),
            None => {
                let patience = self.repository.patience().pull;
                let fetched = self.repository.fetch_known(&keys.manifest(&child.digest), &child.digest, patience).await?;
                fetched.iter().for_each(|manifest| self.repository.note_evidence(manifest));
                fetched
            }
        };
        manifest.iter().for_each(|manifest| recent.keep(image, manifest, removals));
        Ok(manifest.map(|manifest| Self { content: Content::of(manifest), ..self.clone() }))
    }
}
