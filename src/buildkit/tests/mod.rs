//! What is true of every cache, whatever is done with it.

mod exported;
mod large;
mod lies;
mod made;
mod properties;

use super::importer::{self, Imported};
use super::{Cache, Contents, Derived, Form, Read};

/// The cache that `manifest` and its config are.
fn read(manifest: &[u8], config: &[u8]) -> Read {
    match Contents::of(manifest) {
        Some(Contents::Cache(manifest)) => manifest.read(config).expect("a cache config"),
        Some(Contents::Image(manifest)) => manifest.read(config).expect("an image config").unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// What a build finds in what was written.
fn imported(derived: &Derived) -> Imported {
    importer::import(&derived.manifest.bytes, &derived.config.bytes).expect("every importer takes what is written here")
}

/// What a build finds in `cache`.
fn asked(cache: &Cache) -> Imported {
    imported(&cache.write(Form::Image))
}
