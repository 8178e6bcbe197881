//! Who is in the middle of pushing.
//!
//! BuildKit sends layers, then the config, then the manifest, with pauses
//! between them in which no request is open. A server that is told to stop
//! waits for the manifest, or the build that is sending it fails.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::{Digest, RepoName};

/// How long after its last sign of life a push is still believed to go on.
const PAUSE: Duration = Duration::from_secs(30);

/// Most repositories remembered; past it the longest quiet one is forgotten.
const MAX_REPOSITORIES: usize = 4096;

/// Most blobs remembered of one repository; further ones wait for no manifest.
const MAX_BLOBS: usize = 1024;

/// The pushes that have sent blobs and not yet the manifest that names them.
///
/// By blob, since BuildKit pushes an image and its cache to one repository side
/// by side, and the manifest of the one does not end the other.
#[derive(Debug, Default)]
pub(super) struct Exports(Mutex<HashMap<RepoName, Export>>);

#[derive(Debug)]
struct Export {
    /// Bodies that are coming right now.
    uploads: usize,
    /// Uploads that were opened and whose bodies have not begun to come.
    opened: usize,
    /// Blobs and manifests that no manifest has named yet.
    unnamed: HashSet<Digest>,
    last_sign: Instant,
}

/// A blob on its way.
#[derive(Debug)]
pub(super) struct Uploading<'a> {
    exports: &'a Exports,
    name: &'a RepoName,
}

impl Exports {
    /// A client is about to send a blob of `name`.
    pub(super) fn open(&self, name: &RepoName) {
        self.touch(name, |export| export.opened += 1);
    }

    /// A body for `name` is coming, for as long as the returned value lives.
    pub(super) fn upload<'a>(&'a self, name: &'a RepoName) -> Uploading<'a> {
        self.touch(name, |export| {
            export.opened = export.opened.saturating_sub(1);
            export.uploads += 1;
        });
        Uploading { exports: self, name }
    }

    /// The blob or manifest `digest` of `name` has come, and something is to name it.
    pub(super) fn received(&self, name: &RepoName, digest: Digest) {
        self.touch(name, |export| {
            if export.unnamed.len() < MAX_BLOBS {
                export.unnamed.insert(digest);
            }
        });
    }

    /// A manifest of `name` has come that names `digests`: they wait for nothing any more.
    pub(super) fn complete<'a>(&self, name: &RepoName, digests: impl Iterator<Item = &'a Digest>) {
        let mut exports = self.lock();
        let Some(export) = exports.get_mut(name) else { return };
        for digest in digests {
            export.unnamed.remove(digest);
        }
        if !export.is_open() {
            exports.remove(name);
        }
    }

    /// Whether any push seems to be going on.
    pub(super) fn are_open(&self) -> bool {
        self.lock().values().any(Export::is_open)
    }

    fn touch(&self, name: &RepoName, change: impl FnOnce(&mut Export)) {
        let mut exports = self.lock();
        make_room(&mut exports);
        let export = exports.entry(name.clone()).or_insert_with(Export::new);
        change(export);
        export.last_sign = Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RepoName, Export>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Export {
    fn new() -> Self {
        Self { uploads: 0, opened: 0, unnamed: HashSet::new(), last_sign: Instant::now() }
    }

    fn is_open(&self) -> bool {
        let waits = self.opened > 0 || !self.unnamed.is_empty();
        self.uploads > 0 || waits && self.last_sign.elapsed() < PAUSE
    }
}

fn make_room(exports: &mut HashMap<RepoName, Export>) {
    if exports.len() < MAX_REPOSITORIES {
        return;
    }
    exports.retain(|_, export| export.is_open());
    let quiet = exports.iter().filter(|(_, export)| export.uploads == 0);
    if let Some(oldest) = quiet.min_by_key(|(_, export)| export.last_sign).map(|(name, _)| name.clone())
        && exports.len() >= MAX_REPOSITORIES
    {
        exports.remove(&oldest);
    }
}

impl Drop for Uploading<'_> {
    fn drop(&mut self) {
        if let Some(export) = self.exports.lock().get_mut(self.name) {
            export.uploads -= 1;
            export.last_sign = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepoName {
        text.parse().unwrap()
    }

    fn blob(text: &str) -> Digest {
        Digest::sha256(text.as_bytes())
    }

    fn push(exports: &Exports, name: &RepoName, digest: Digest) {
        exports.open(name);
        drop(exports.upload(name));
        exports.received(name, digest);
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_is_open_from_its_first_request_to_its_manifest() {
        let (exports, app) = (Exports::default(), name("app"));

        assert!(!exports.are_open());
        exports.open(&app);
        assert!(exports.are_open());
        push(&exports, &app, blob("layer"));
        drop(exports.upload(&app));
        assert!(exports.are_open());
        exports.complete(&app, [blob("layer")].iter());
        assert!(!exports.are_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_that_went_quiet_is_given_up_but_not_while_a_blob_is_coming() {
        let (exports, app) = (Exports::default(), name("app"));
        push(&exports, &app, blob("layer"));
        let uploading = exports.upload(&app);

        tokio::time::advance(PAUSE * 2).await;
        assert!(exports.are_open());
        drop(uploading);
        assert!(exports.are_open());
        tokio::time::advance(PAUSE).await;
        assert!(!exports.are_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_ends_no_push_but_its_own() {
        let (exports, app, other) = (Exports::default(), name("app"), name("other"));
        push(&exports, &app, blob("image layer"));
        push(&exports, &app, blob("cache layer"));
        push(&exports, &other, blob("layer"));

        exports.complete(&app, [blob("image layer")].iter());
        exports.complete(&other, [blob("layer")].iter());

        assert!(exports.are_open());
        exports.complete(&app, [blob("cache layer")].iter());
        assert!(!exports.are_open());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_remembered_than_the_bounds() {
        let exports = Exports::default();

        for number in 0..MAX_REPOSITORIES + 10 {
            push(&exports, &name(&format!("app{number}")), blob("layer"));
            exports.received(&name("many"), blob(&number.to_string()));
        }

        assert!(exports.lock().len() <= MAX_REPOSITORIES);
        assert!(exports.lock()[&name("many")].unnamed.len() <= MAX_BLOBS);
    }
}
