//! Sweeping a whole store, without serving it.

use std::error::Error as _;
use std::sync::Arc;

use super::SetupError;
use super::running::{environment, layout};
use crate::config::{Config, Profile, Store};
use crate::credentials::Surroundings;
use crate::metrics::ProfileMetrics;
use crate::registry::{Leftovers, Patience, Registry, RegistryError, Sweep, Swept};
use crate::secrets::Mask;
use crate::store::{FolderStore, MemoryBudget, Misconfiguration, ObjectStore, S3Store, StoreError};

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

/// Sweeps the stores of `config`, and tells of each image in which something was
/// left behind, and (`None`) of what was left behind in no image. What is logged goes through `mask`.
///
/// # Errors
///
/// What was told until then holds.
pub async fn sweep(
    config: Config,
    sweep: Sweep,
    mask: Mask,
    mut tell: impl FnMut(Option<&str>, Leftovers),
) -> Result<Swept, SweepError> {
    let mut all: Option<Swept> = None;
    for profile in &config.profiles {
        let swept = sweep_one(profile, &config, sweep, &mask, &mut tell).await?;
        all = Some(all.map_or(swept, |all| all.and(swept)));
    }
    Ok(all.unwrap_or_default())
}

async fn sweep_one(
    profile @ Profile { name, store, .. }: &Profile,
    config: &Config,
    sweep: Sweep,
    mask: &Mask,
    tell: &mut impl FnMut(Option<&str>, Leftovers),
) -> Result<Swept, SweepError> {
    let mistake = |mistake| SweepError::Setup(SetupError::Store { profile: name.clone(), mistake });
    let surroundings = Surroundings {
        profile: name.clone(),
        secrets: config.secrets.clone(),
        environment: environment(),
        mask: mask.clone(),
        ..Surroundings::default()
    };
    let opened = as_it_is(store, &surroundings, config).await.map_err(mistake)?;
    let registry = Registry::new(opened, Patience::with_bytes(config.store.patience)).with_layout(layout(profile));
    let registry = Arc::new(registry);
    let swept = registry.sweep(sweep, |name, found| tell(name.map(|name| name.as_str()), found)).await;
    swept.map_err(|error| match error {
        RegistryError::Store(StoreError::Misconfigured(wrong)) => mistake(wrong),
        error => SweepError::Failed { store: store.to_string(), error },
    })
}

/// The store without anything made or cleared away in it, for who only wants to look.
pub(super) async fn as_it_is(
    store: &Store,
    surroundings: &Surroundings,
    config: &Config,
) -> Result<Arc<dyn ObjectStore>, Misconfiguration> {
    let memory = Arc::new(MemoryBudget::new(config.store.upload_memory)).share();
    match store {
        Store::Folder { path } => Ok(Arc::new(FolderStore::at(path)?)),
        Store::S3(bucket) => {
            Ok(Arc::new(S3Store::new((**bucket).clone(), surroundings, memory, ProfileMetrics::default()).await?))
        }
    }
}
