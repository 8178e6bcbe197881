//! What there is to say about a cache as it is pushed.

use std::sync::Arc;

use super::super::WritableRepository;
use super::super::manifests::StoredManifest;
use super::decide::Steps;
use super::source::Content;
use crate::oci::{Reference, Tag};

impl WritableRepository {
    /// Tells whoever reads the log, later, what is odd about a cache that was just pushed.
    ///
    /// Its config came a moment before it, so it is most likely remembered; nothing is read for this.
    pub(in crate::registry) fn notice(&self, reference: &Reference, manifest: StoredManifest) {
        let Reference::Tag(tag) = reference else { return };
        let content = Content::of(manifest);
        let Content::Cache(_, cache) = &content else { return };
        let Some(config) = self.registry.recent.find_blob(&self.image, &cache.config.digest) else { return };
        // Whoever waits for an answer goes first.
        let Ok(turn) = Arc::clone(&self.registry.answering).try_acquire_owned() else { return };
        let (name, tag) = (self.name.clone(), tag.clone());
        self.registry.background.spawn_blocking(move || {
            let _turn = turn;
            if let Ok(Some(read)) = content.read(&config) {
                tell(name.as_str(), &tag, Steps::of(&read.cache));
            }
        });
    }
}

fn tell(image: &str, tag: &Tag, steps: Steps) {
    if steps.are_of_last_stage() {
        let Steps { made, results, .. } = steps;
        tracing::info!(image, %tag, steps = made, with_layers = results, "cache pushed with layers of its last stage alone, as mode=min exports it; with mode=max it has those of all");
    }
}
