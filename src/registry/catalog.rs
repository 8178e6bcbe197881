//! The catalog: which repositories there are.
//!
//! Names nest and no list of them is kept, so it is read off the store a
//! component at a time: one listing for each, in the order of the components.

use std::sync::Arc;

use super::keys::{self, Folder};
use super::{Registry, RegistryError};
use crate::oci::RepoName;

/// Most listings that one page may cost.
const LISTINGS: usize = 200;

/// A page of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// In the order of their components.
    pub names: Vec<RepoName>,
    /// Whether there may be more after the last of them.
    pub is_truncated: bool,
}

impl Registry {
    /// The repositories after `last`, `most` of them at most.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: they could not be listed.
    pub async fn catalog(self: &Arc<Self>, last: Option<&RepoName>, most: usize) -> Result<Catalog, RegistryError> {
        let last: Vec<_> = last.map(|name| name.components().map(str::to_owned).collect()).unwrap_or_default();
        let mut walk = Walk { registry: self, last, most, listings: 0, names: Vec::new() };
        let mut waiting = vec![Vec::new()];
        while let Some(components) = waiting.pop() {
            if walk.is_full() {
                return Ok(Catalog { names: walk.names, is_truncated: true });
            }
            // The next one in order is taken from the end.
            waiting.extend(walk.visit(components).await?.into_iter().rev());
        }
        Ok(Catalog { names: walk.names, is_truncated: false })
    }
}

/// A walk over the components of names, in order.
struct Walk<'a> {
    registry: &'a Arc<Registry>,
    last: Vec<String>,
    most: usize,
    listings: usize,
    names: Vec<RepoName>,
}

impl Walk<'_> {
    fn is_full(&self) -> bool {
        self.names.len() >= self.most || self.listings >= LISTINGS && !self.names.is_empty()
    }

    /// Notes the repository of `components`, if it is one; what lies below it and may come after `last`.
    async fn visit(&mut self, components: Vec<String>) -> Result<Vec<Vec<String>>, RegistryError> {
        self.listings += 1;
        let prefix = keys::below(&components);
        let folders = self.registry.store.folders(&prefix, self.registry.patience.bytes).await?;
        let (mut is_image, mut below) = (false, Vec::new());
        for name in folders {
            match self.registry.layout.folder(name) {
                Folder::OfImage => is_image = true,
                Folder::OfAll => {}
                Folder::Component(component) => below.push([&components[..], &[component]].concat()),
            }
        }
        if is_image
            && components > self.last
            && let Ok(name) = components.join("/").parse()
        {
            self.names.push(name);
        }
        below.retain(|name| *name >= self.last || self.last.starts_with(name));
        below.sort();
        Ok(below)
    }
}
