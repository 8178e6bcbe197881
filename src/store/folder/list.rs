//! Listing: the next keys in order, without holding more than a page of them.

use std::collections::BinaryHeap;

use super::open;
use super::problem::Problem;
use super::tree::Tree;
use crate::store::{Key, Listed, ObjectMeta, Page};

/// Most objects on a page, as many as S3 gives.
const PAGE: usize = 1000;

/// The first page of the keys that begin with `prefix` and come after `after`.
pub(super) fn page(tree: &Tree, prefix: &str, after: Option<&Key>) -> Result<Page, Problem> {
    let mut walk = Walk { tree, prefix, after: after.map_or("", Key::as_str), first: BinaryHeap::new() };
    walk.folder("")?;
    let is_truncated = walk.first.len() > PAGE;
    let mut keys = walk.first.into_sorted_vec();
    keys.truncate(PAGE);
    let objects = keys.iter().filter_map(|key| listed(tree, key).transpose()).collect::<Result<_, _>>()?;
    Ok(Page { objects, is_truncated })
}

/// The names of the folders in the folder at `prefix`.
pub(super) fn folders(tree: &Tree, prefix: &str) -> Result<Vec<String>, Problem> {
    let components: Vec<_> = prefix.split_terminator('/').collect();
    let mut folders = Vec::new();
    tree.visit(&components, |entry| {
        if entry.is_directory {
            folders.push(entry.component.into_owned());
        }
    })?;
    Ok(folders)
}

/// What a listing says of `key`, `None` when it is gone by now.
fn listed(tree: &Tree, key: &str) -> Result<Option<Listed>, Problem> {
    let Ok(key) = key.parse() else { return Ok(None) };
    let opened = open(tree, &key)?;
    let listed = |meta: ObjectMeta| Listed { key, size: meta.size, last_modified: meta.last_modified, etag: meta.etag };
    Ok(opened.map(|opened| listed(opened.meta)))
}

/// A walk through the folders that may hold keys of the page.
struct Walk<'a> {
    tree: &'a Tree,
    prefix: &'a str,
    after: &'a str,
    /// The smallest keys met so far, one more than a page, the largest on top.
    first: BinaryHeap<String>,
}

impl Walk<'_> {
    /// Visits the folder at `path`, which is empty or ends in `/`.
    fn folder(&mut self, path: &str) -> Result<(), Problem> {
        let components: Vec<_> = path.split_terminator('/').collect();
        let (mut key, mut folders) = (path.to_owned(), Vec::new());
        self.tree.visit(&components, |entry| {
            key.truncate(path.len());
            key.push_str(&entry.component);
            if !entry.is_directory {
                self.meet(&key);
                return;
            }
            key.push('/');
            if self.may_hold(&key) {
                folders.push(key.clone());
            }
        })?;
        // The early ones fill the page, and most of the others need no visit then.
        folders.sort();
        for below in folders {
            if self.may_hold(&below) {
                self.folder(&below)?;
            }
        }
        Ok(())
    }

    /// Whether a key that begins with `below` can be on the page.
    fn may_hold(&self, below: &str) -> bool {
        let may_match = below.starts_with(self.prefix) || self.prefix.starts_with(below);
        let may_follow = below > self.after || self.after.starts_with(below);
        may_match && may_follow && self.is_early(below)
    }

    /// Keeps `key` if it is one of the first, and copies it only then: a folder may hold hundreds of thousands.
    fn meet(&mut self, key: &str) {
        if key > self.after && key.starts_with(self.prefix) && self.is_early(key) {
            self.first.push(key.to_owned());
            if self.first.len() > PAGE + 1 {
                self.first.pop();
            }
        }
    }

    /// Whether there is room left, or something later to make it.
    fn is_early(&self, key: &str) -> bool {
        self.first.len() <= PAGE || self.first.peek().is_none_or(|last| key < last.as_str())
    }
}
