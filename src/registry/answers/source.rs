//! What an answer is made of.

use std::collections::HashSet;
use std::fmt;
use std::time::SystemTime;

use tokio::time::Instant;

use super::super::Repository;
use super::super::manifests::StoredManifest;
use super::super::presence::{Wanted, wanted};
use super::super::s3_clients::S3Cache;
use super::config::Config;
use crate::buildkit::{CacheManifest, Contents, Form, ImageManifest, InvalidConfig, Read};
use crate::oci::{Descriptor, Digest, Tag};

/// Something that is known under a tag.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Where it is, and its blobs are.
    pub repository: Repository,
    /// What it is called there.
    pub tag: Tag,
    /// When it came to be that, by the store's clock.
    pub pushed: SystemTime,
    /// What it is.
    pub content: Content,
}

/// What can be known under a tag. Whatever becomes a cache to be answered with is one of these.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A cache that was pushed.
    Cache(StoredManifest, CacheManifest),
    /// An image that was pushed, and that may hold a cache.
    Image(StoredManifest, ImageManifest),
    /// An index of manifests that was pushed, some of which may be such images.
    Images(StoredManifest, Vec<Descriptor>),
    /// Something else that was pushed, which no build has a use for.
    Other(StoredManifest),
    /// A cache that a client of `type=s3` wrote, which nobody else could read as it is.
    OfS3(S3Cache),
}

impl Content {
    pub fn of(manifest: StoredManifest) -> Self {
        match Contents::of(&manifest.bytes) {
            Some(Contents::Cache(cache)) => Self::Cache(manifest, cache),
            Some(Contents::Image(image)) => Self::Image(manifest, image),
            Some(Contents::Images(children)) => Self::Images(manifest, children),
            None => Self::Other(manifest),
        }
    }

    /// What whoever asks gets of it as it is, if it was pushed.
    pub fn manifest(&self) -> Option<&StoredManifest> {
        match self {
            Self::Cache(manifest, _) | Self::Image(manifest, _) | Self::Images(manifest, _) | Self::Other(manifest) => {
                Some(manifest)
            }
            Self::OfS3(_) => None,
        }
    }

    /// What it is known by.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Cache(manifest, _) | Self::Image(manifest, _) | Self::Images(manifest, _) | Self::Other(manifest) => {
                manifest.digest
            }
            Self::OfS3(cache) => cache.digest,
        }
    }

    /// What has to be read to know the cache.
    pub fn config(&self) -> Option<&Descriptor> {
        match self {
            Self::Cache(_, cache) => Some(&cache.config),
            Self::Image(_, image) => Some(&image.config),
            Self::Images(..) | Self::Other(_) | Self::OfS3(_) => None,
        }
    }

    /// The blobs that it cannot do without.
    pub fn blobs(&self) -> HashSet<Wanted> {
        match self {
            Self::Cache(_, cache) => wanted(cache.layers.iter().map(|layer| &layer.descriptor).chain([&cache.config])),
            Self::Image(_, image) => wanted(image.layers.iter().map(|layer| &layer.descriptor).chain([&image.config])),
            Self::Images(..) | Self::Other(_) => HashSet::new(),
            Self::OfS3(cache) => {
                let blobs = cache.read.cache.blobs().iter();
                blobs.map(|(digest, blob)| Wanted { digest: *digest, size: blob.size }).collect()
            }
        }
    }

    /// The form in which a cache made of it is written.
    pub fn form(&self) -> Form {
        match self {
            Self::Cache(_, cache) => cache.form,
            Self::Image(..) | Self::Images(..) | Self::Other(_) | Self::OfS3(_) => Form::Image,
        }
    }

    /// The cache that it is or holds, by its `config`; `None` if it holds none.
    pub fn read(&self, config: &[u8]) -> Result<Option<Read>, InvalidConfig> {
        match self {
            Self::Cache(_, cache) => cache.read(config).map(Some),
            Self::Image(_, image) => image.read(config),
            Self::Images(..) | Self::Other(_) => Ok(None),
            Self::OfS3(cache) => Ok(Some((*cache.read).clone())),
        }
    }
}

impl Source {
    /// What has to be read of it, besides what is known already, if there is room for that.
    pub async fn read_config(&self, has_room: bool, until: Instant) -> Config {
        match (&self.content, self.content.config()) {
            (Content::OfS3(cache), _) => Config::Read(cache.json.clone()),
            (_, Some(descriptor)) if has_room => self.repository.read_config(descriptor, until).await,
            (_, Some(_)) => Config::TooLarge,
            (_, None) => Config::Absent,
        }
    }

    /// Notes that it is used. What a client of `type=s3` wrote is kept as long as it is there.
    pub fn mark_used(&self) {
        if let Some(manifest) = self.content.manifest() {
            self.repository.mark_used(&manifest.digest);
        }
    }
}

impl fmt::Display for Source {
    /// As a client would ask for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository.name, self.tag)?;
        match &self.content {
            Content::OfS3(cache) => write!(f, " (type=s3, {})", cache.key),
            _ => Ok(()),
        }
    }
}
