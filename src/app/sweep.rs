//! Sweeping a whole store, without serving it.

use std::error::Error as _;
use std::sync::Arc;

use super::{SetupError, surroundings};
use crate::config::{Config, Store};
use crate::metrics::ProfileMetrics;
use crate::registry::{Leftovers, Patience, Registry, RegistryError, Sweep, Swept};
use crate::store::{FolderStore, MemoryBudget, Misconfiguration, ObjectStore, S3Store, Share, StoreError};

/// Why a store was not swept, or not all of it. The messages are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A person must mend something first.
    #[error(transparent)]
    Setup(SetupError),
    /// The store failed.
    #[error("{store}: {error}{}", .error.source().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Failed {
        /// Which one.
        store: String,
        /// How.
        error: RegistryError,
    },
}

/// Sweeps the store of `config`, and tells of each image in which something was
/// left behind, and (`None`) of what was left behind in no image.
///
/// # Errors
///
/// What was told until then holds.
pub async fn sweep(config: Config, sweep: Sweep, mut tell: impl FnMut(Option<&str>, Leftovers)) -> Result<Swept, SweepError> {
    let (place, profile) = (config.profile.store.to_string(), config.profile.name);
    let mistake = |mistake| SweepError::Setup(SetupError::Store { profile: profile.clone(), mistake });
    let memory = Arc::new(MemoryBudget::new(config.store.upload_memory)).share();
    let store = as_it_is(config.profile.store, &profile, memory).await.map_err(mistake)?;
    let registry = Arc::new(Registry::new(store, Patience::with_bytes(config.store.patience)));
    let swept = registry.sweep(sweep, |name, found| tell(name.map(|name| name.as_str()), found)).await;
    swept.map_err(|error| match error {
        RegistryError::Store(StoreError::Misconfigured(wrong)) => mistake(wrong),
        error => SweepError::Failed { store: place, error },
    })
}

/// The store without anything made or cleared away in it, for who only wants to look.
async fn as_it_is(store: Store, profile: &str, memory: Share) -> Result<Arc<dyn ObjectStore>, Misconfiguration> {
    match store {
        Store::Folder { path } => Ok(Arc::new(FolderStore::at(&path)?)),
        Store::S3(bucket) => {
            Ok(Arc::new(S3Store::new(*bucket, &surroundings(profile), memory, ProfileMetrics::default()).await?))
        }
    }
}
