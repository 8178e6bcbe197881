//! The words of the distribution and image specifications, as types that
//! cannot be wrong. Nothing here does I/O.

mod digest;
mod error_code;
mod json;
mod manifest;
mod media_type;
mod name;
mod pattern;
mod range;
mod tag;
mod tag_pattern;

pub use digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use error_code::ErrorCode;
pub use manifest::{Descriptor, InvalidManifest, Manifest, ManifestKind};
pub use media_type::{InvalidMediaType, MediaType};
pub use name::{InvalidName, RepoName};
pub use pattern::{InvalidPattern, Pattern, meets};
pub use range::{ByteRange, ChunkRange, InvalidChunkRange, InvalidRange};
pub use tag::{InvalidReference, InvalidTag, Reference, Tag};
pub use tag_pattern::{InvalidTagPattern, TagPattern};
