//! Listings of a folder that are longer than a page.

use std::fs;

use longshore::store::{FolderStore, ObjectStore};

use crate::bench::PATIENCE;
use crate::support::scratch;
use crate::words::put;

/// All pages of what begins with `prefix`.
async fn listed(store: &FolderStore, prefix: &str) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_ref(), PATIENCE).await.unwrap();
        assert!(!page.is_truncated || page.objects.len() == 1000, "a page of {}", page.objects.len());
        after = page.objects.last().map(|object| object.key.clone());
        keys.extend(page.objects.into_iter().map(|object| object.key.to_string()));
        if !page.is_truncated {
            return keys;
        }
    }
}

#[tokio::test]
async fn a_long_listing_has_every_key_once_and_in_order_however_files_and_folders_mix() {
    let folder = scratch("folder");
    let store = FolderStore::open(folder.path()).unwrap();
    let mut keys = vec!["b/B".to_owned(), "b/Z/x".to_owned(), "é".to_owned()];
    for key in &keys {
        put(&store, key, "").await;
    }
    // `-` and `.` come before the slash, and digits after it.
    for (folder, number) in ["a", "a-", "a.b", "b", "b0"].iter().flat_map(|folder| (0..30).map(move |number| (folder, number))) {
        keys.extend(["", "-", ".x", "x"].map(|end| format!("{folder}/{number}.{end}")));
        keys.extend((0..20).map(|file| format!("{folder}/{number}/{file}")));
    }
    for key in &keys[3..] {
        fs::create_dir_all(folder.path().join(key).parent().unwrap()).unwrap();
        fs::write(folder.path().join(key), "").unwrap();
    }
    keys.sort();

    for prefix in ["", "a", "a/", "a-", "b/1", "b/12/", "b/Z", "c"] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert!(listed(&store, prefix).await == expected, "{prefix:?}");
    }
}
