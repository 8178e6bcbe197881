//! Who is in the middle of pushing.
//!
//! BuildKit sends layers, then the config, then the manifest, with pauses
//! between them in which no request is open. A server that is told to stop
//! waits for the manifest, or the build that is sending it fails.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::RepoName;

/// How long after its last blob a push is still believed to go on.
const PAUSE: Duration = Duration::from_secs(30);

/// Most repositories remembered; past it the longest quiet one is forgotten.
const MAX_REPOSITORIES: usize = 4096;

/// The pushes that have sent blobs and not yet a manifest.
#[derive(Debug, Default)]
pub(super) struct Exports(Mutex<HashMap<RepoName, Export>>);

#[derive(Debug)]
struct Export {
    uploads: usize,
    last_blob: Instant,
}

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Uploading<'a> {
    exports: &'a Exports,
    name: &'a RepoName,
}

impl Exports {
    /// A blob of `name` is coming, for as long as the returned value lives.
    pub(super) fn upload<'a>(&'a self, name: &'a RepoName) -> Uploading<'a> {
        let mut exports = self.lock();
        make_room(&mut exports);
        let export = exports.entry(name.clone()).or_insert(Export { uploads: 0, last_blob: Instant::now() });
        export.uploads += 1;
        Uploading { exports: self, name }
    }

    /// The manifest of `name` has come: its blobs wait for nothing any more.
    pub(super) fn complete(&self, name: &RepoName) {
        let mut exports = self.lock();
        if exports.get(name).is_some_and(|export| export.uploads == 0) {
            exports.remove(name);
        }
    }

    /// Whether any push seems to be going on.
    pub(super) fn are_open(&self) -> bool {
        self.lock().values().any(Export::is_open)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RepoName, Export>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Export {
    fn is_open(&self) -> bool {
        self.uploads > 0 || self.last_blob.elapsed() < PAUSE
    }
}

fn make_room(exports: &mut HashMap<RepoName, Export>) {
    if exports.len() < MAX_REPOSITORIES {
        return;
    }
    exports.retain(|_, export| export.is_open());
    let quiet = exports.iter().filter(|(_, export)| export.uploads == 0);
    if let Some(oldest) = quiet.min_by_key(|(_, export)| export.last_blob).map(|(name, _)| name.clone())
        && exports.len() >= MAX_REPOSITORIES
    {
        exports.remove(&oldest);
    }
}

impl Drop for Uploading<'_> {
    fn drop(&mut self) {
        if let Some(export) = self.exports.lock().get_mut(self.name) {
            export.uploads -= 1;
            export.last_blob = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepoName {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_is_open_from_its_first_blob_to_its_manifest() {
        let (exports, app) = (Exports::default(), name("app"));

        assert!(!exports.are_open());
        drop(exports.upload(&app));
        assert!(exports.are_open());
        exports.complete(&app);
        assert!(!exports.are_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_that_went_quiet_is_given_up_but_not_while_a_blob_is_coming() {
        let (exports, app) = (Exports::default(), name("app"));
        let uploading = exports.upload(&app);

        tokio::time::advance(PAUSE * 2).await;
        assert!(exports.are_open());
        drop(uploading);
        assert!(exports.are_open());
        tokio::time::advance(PAUSE).await;
        assert!(!exports.are_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_does_not_end_the_push_of_another_image_nor_one_still_sending() {
        let (exports, app, other) = (Exports::default(), name("app"), name("other"));
        let _uploading = exports.upload(&app);
        drop(exports.upload(&other));

        exports.complete(&app);
        exports.complete(&other);

        assert!(exports.are_open());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_remembered_than_the_bound() {
        let exports = Exports::default();

        for number in 0..MAX_REPOSITORIES + 10 {
            drop(exports.upload(&name(&format!("app{number}"))));
        }

        assert!(exports.lock().len() <= MAX_REPOSITORIES);
    }
}
