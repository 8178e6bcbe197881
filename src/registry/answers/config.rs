//! Reading what describes a cache.

use bytes::Bytes;
use tokio::time::Instant;

use super::super::reading::whole;
use super::super::{Asker, RegistryError, Repository};
use crate::buildkit::MAX_CONFIG_BYTES;
use crate::oci::{Descriptor, Digest};

/// What came of reading a config.
#[derive(Clone, Debug)]
pub(in crate::registry) enum Config {
    Read(Bytes),
    /// The store says that it has none.
    Absent,
    /// It is more than is read.
    TooLarge,
    /// Nobody knows in time.
    Unknown,
}

impl Repository {
    /// The blob that `descriptor` names, a config. Who asks for the cache asks for that next, so it is kept for a while.
    pub(in crate::registry) async fn read_config(&self, descriptor: &Descriptor, until: Instant) -> Config {
        let digest = &descriptor.digest;
        if let Some(bytes) = self.registry.recent.find_blob(&self.image, digest) {
            return Config::Read(bytes);
        }
        if descriptor.size > MAX_CONFIG_BYTES as u64 {
            return Config::TooLarge;
        }
        let reading = tokio::time::timeout_at(until, self.fetch_config(digest));
        let read = reading.await.unwrap_or_else(|_| Err(super::super::late().into()));
        read.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error);
            tracing::warn!(repository = %self.name, %digest, %error, cause, "config of a cache not read in time");
            Config::Unknown
        })
    }

    async fn fetch_config(&self, digest: &Digest) -> Result<Config, RegistryError> {
        // A manifest may be read otherwise than it was when it was pushed, and then name what is none of its image's.
        if !self.holds(digest, Asker::Push).await? {
            return Ok(Config::Absent);
        }
        let (key, removals, asked) = (self.keys.blob(digest), self.registry.recent.removals(), self.index().asking());
        let object = self.store().get(&key, None, self.patience().pull).await?;
        self.note_answer(digest, object.as_ref().map(|object| &object.meta), asked);
        let Some(object) = object.filter(|object| !self.registry.corrupt.is_bad(&key, &object.meta.etag)) else {
            return Ok(Config::Absent);
        };
        let etag = object.meta.etag.clone();
        let Some(bytes) = whole(object, MAX_CONFIG_BYTES as u64).await? else { return Ok(Config::TooLarge) };
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            self.suspect(*digest, etag);
            return Err(RegistryError::Corrupt(*digest));
        }
        self.registry.recent.keep_blob(&self.image, digest, &bytes, removals);
        Ok(Config::Read(bytes))
    }
}
