//! The words of BuildKit's cache, and what can be done with a cache that no
//! BuildKit does: heal it, unite it with others, get it past BuildKit's own
//! limit, and share it with `type=s3`. Pure functions on values; nothing here
//! does I/O.
//!
//! Every form is read into a [`Cache`] and written from one:
//!
//! ```text
//! manifest ── Contents::of ─┬─ CacheManifest::read(config) ─┐            ┌─ rescue(form) ── manifest + config
//!                           └─ ImageManifest::read(config) ─┼── Cache ───┤  (write, or write_inline past 1 MiB)
//! manifests/<name> ─────────── Cache::read_s3 ──────────────┘ heal,union └─ write_s3 ────── manifests/<name>
//! ```
//!
//! A [`Cache`] has one form, whoever wrote what it was read from, so what is
//! made here is the same on every replica, to the byte.

mod cache;
mod cache_config;
mod draft;
mod heal;
mod inline;
mod json;
mod left_out;
mod manifest;
mod order;
mod rescue;
mod s3_form;
mod s3_name;
mod timestamp;
mod union;

#[cfg(test)]
mod importer;
#[cfg(test)]
mod tests;

pub use cache::{Blob, Cache, Read};
pub use cache_config::{CacheConfig, CacheResult, Input, InvalidConfig, Layer, MAX_CONFIG_BYTES, Record};
pub use heal::Healed;
pub use inline::write_into_index;
pub use left_out::{LeftOut, Reason};
pub use manifest::{CacheManifest, Contents, Derived, Document, Form, ImageManifest, LayerDescriptor};
pub use rescue::IMPORT_LIMIT;
pub use s3_form::S3Read;
pub use s3_name::{InvalidS3Name, S3Name};
pub use timestamp::{InvalidTimestamp, Timestamp};
