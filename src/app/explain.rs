//! Explaining what a build that imports a tag gets, without serving anybody.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::SetupError;
use super::policy::{NoSuchProfile, named};
use super::running::{environment, layout, s3_clients};
use crate::access::{self, Access, Identity, Profiles};
use crate::config::{Config, Profile};
use crate::credentials::Surroundings;
use crate::oci::{RepoName, Tag};
use crate::registry::{Belief, Explanation, Patience, Registry, RegistryError, Repository};
use crate::secrets::Mask;
use crate::store::{Misconfiguration, ReadOnly, StoreError};

/// Most tags that are explained in one go.
const MOST_TAGS: usize = 100;

/// How many at once.
const AT_ONCE: usize = 4;

/// An image, explained.
#[derive(Debug)]
pub struct Explained {
    /// Which one.
    pub image: RepoName,
    /// The profile that it belongs to.
    pub profile: String,
    /// Where that keeps its bytes.
    pub store: String,
    /// Its tags, or the one that was asked for; an error is told in words.
    pub tags: Vec<(Tag, Result<Explanation, String>)>,
    /// Whether there are more tags.
    pub is_cut: bool,
}

/// Why nothing was explained. The messages are for the operator.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// A person must mend something first.
    #[error(transparent)]
    Setup(SetupError),
    /// The image belongs to nobody, unless it is said whose is meant.
    #[error("no profile has {image} for its own, and there is no profile default; --profile says whose is meant: {}", .known.join(", "))]
    NoProfile {
        /// The image.
        image: RepoName,
        /// The profiles there are.
        known: Vec<String>,
    },
    /// There is no such profile.
    #[error(transparent)]
    NoSuchProfile(#[from] NoSuchProfile),
    /// The store failed.
    #[error("{store}: {error}{}", .error.source().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Failed {
        /// Which one.
        store: String,
        /// How.
        error: RegistryError,
    },
}

/// Explains what a build that imports `tag` of `image` gets; without a `tag`, for all that there are. Where it may be of
/// several profiles, by who asks, `profile` says whose is meant. Nothing is changed in the store. What is logged goes
/// through `mask`.
///
/// # Errors
///
/// Nothing could be found out.
pub async fn explain(
    config: Config,
    (image, tag): (RepoName, Option<Tag>),
    profile: Option<&str>,
    mask: Mask,
) -> Result<Explained, ExplainError> {
    if let Some(name) = profile {
        named(&config, name)?;
    }
    let mut profiles = Vec::new();
    for stated in &config.profiles {
        profiles.push(Arc::new(opened(stated, &config, &mask).await.map_err(|mistake| setup(stated, mistake))?));
    }
    let profiles = Profiles::new(profiles);
    let no_profile = || {
        let known = config.profiles.iter().map(|stated| stated.name.clone()).collect();
        ExplainError::NoProfile { image: image.clone(), known }
    };
    // A profile that is named is that of the image as the clients of its own listener would have it.
    let visit = profiles.visit(profile, image.clone(), &Identity::Anonymous).map_err(|_| no_profile())?;
    let stated = config.profiles.iter().find(|stated| stated.name == visit.profile().name()).ok_or_else(no_profile)?;
    let store = stated.store.to_string();
    let failed = |error| match error {
        RegistryError::Store(StoreError::Misconfigured(mistake)) => setup(stated, mistake),
        error => ExplainError::Failed { store: store.clone(), error },
    };
    let repository = visit.read().map_err(|_| no_profile())?;
    let is_one = tag.is_some();
    let (tags, is_cut) = match tag {
        Some(tag) => (vec![tag], false),
        None => tags(&repository).await.map_err(failed)?,
    };
    let explained = stream::iter(tags).map(|tag| explained(&repository, tag)).buffered(AT_ONCE).collect::<Vec<_>>().await;
    let mut told = Vec::new();
    for (tag, explanation) in explained {
        match explanation {
            Err(error) if is_one => return Err(failed(error)),
            explanation => told.push((tag, explanation.map_err(|error| error.to_string()))),
        }
    }
    Ok(Explained { image, profile: stated.name.clone(), store, tags: told, is_cut })
}

fn setup(stated: &Profile, mistake: Misconfiguration) -> ExplainError {
    ExplainError::Setup(SetupError::Store { profile: stated.name.clone(), mistake })
}

async fn explained(repository: &Repository, tag: Tag) -> (Tag, Result<Explanation, RegistryError>) {
    let explanation = repository.explain(&tag).await;
    (tag, explanation)
}

/// The tags of a repository, and whether there are more.
async fn tags(repository: &Repository) -> Result<(Vec<Tag>, bool), RegistryError> {
    let Some(page) = repository.list_tags(None, MOST_TAGS, |_| true).await? else { return Ok((Vec::new(), false)) };
    Ok((page.tags.iter().filter_map(|tag| tag.parse().ok()).collect(), page.is_truncated))
}

/// A profile to look into, and to change nothing in.
async fn opened(stated: &Profile, config: &Config, mask: &Mask) -> Result<access::Profile, Misconfiguration> {
    let surroundings = Surroundings {
        profile: stated.name.clone(),
        secrets: config.secrets.clone(),
        environment: environment(),
        mask: mask.clone(),
        ..Surroundings::default()
    };
    let store = super::sweep::as_it_is(&stated.store, &surroundings, config).await?;
    let patience = config.store.patience;
    let registry = Registry::new(Arc::new(ReadOnly::of(store)), Patience { pull: patience, push: patience, bytes: patience });
    // Nor is anything made young.
    let registry = registry.with_belief(Belief { touch_after: Duration::MAX, ..Belief::default() });
    let registry = registry.with_layout(layout(stated)).with_s3_clients(s3_clients(stated));
    Ok(super::running::profile(stated, Arc::new(registry), Access::Read))
}
