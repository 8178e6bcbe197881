//! A name for a branch, tag or pull request that can stand in a tag: no two refs share one.

use sha2::{Digest as _, Sha256};

/// Most characters of a slug.
const MAX_CHARS: usize = 80;

/// Hex digits of the ref's hash behind a name that had to be changed. With 8 of them, whoever may name a branch finds
/// within the hour a name that comes to the slug of another.
const HASH_CHARS: usize = 20;

/// What the slugs of tags and of pull requests begin with, and of branches never.
const TAG: &str = "tag-";
const PULL_REQUEST: &str = "pr-";

/// The slug of `git_ref`, such as `refs/heads/main`; `None` for what is no branch, tag, pull or merge request.
///
/// A name stands as it is where that can be told from every other; else it is
/// cleaned, and 20 digits of the ref's SHA-256 tell it apart. Two dashes in a
/// row are cleaned too: in a tag they separate the part of a job.
#[must_use]
pub fn slug(git_ref: &str) -> Option<String> {
    let (kind, name) = git_ref.strip_prefix("refs/")?.split_once('/')?;
    match (kind, name) {
        (_, "") => None,
        ("heads", name) => Some(named("", name, git_ref)),
        ("tags", name) => Some(named(TAG, name, git_ref)),
        ("pull" | "merge-requests", rest) => {
            let (number, _) = rest.split_once('/').filter(|(_, side)| !side.is_empty())?;
            is_number(number).then(|| format!("{PULL_REQUEST}{number}"))
        }
        _ => None,
    }
}

/// Whether `text` is a number as it would be written.
fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `prefix` and `name`, which is changed unless nothing else could come to the same.
fn named(prefix: &str, name: &str, git_ref: &str) -> String {
    let is_taken = prefix.is_empty() && [TAG, PULL_REQUEST].iter().any(|kind| name.starts_with(kind));
    if is_clean(name) && !is_taken && prefix.len() + name.len() <= MAX_CHARS && !has_hash(name) {
        return format!("{prefix}{name}");
    }
    let mut cleaned = format!("{prefix}{}", cleaned(name));
    cleaned.truncate(MAX_CHARS - HASH_CHARS - 1);
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(git_ref));
    format!("{}-{}", cleaned.trim_end_matches('-'), &hash[..HASH_CHARS])
}

fn is_clean(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    name.chars().all(is_plain) && !name.starts_with(['.', '-']) && !name.ends_with('-') && !name.contains("--")
}

/// Whether `name` ends as one does that was changed.
fn has_hash(name: &str) -> bool {
    let last = name.rsplit('-').next().unwrap_or_default();
    last.len() == HASH_CHARS && last.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `name` in small letters, with single dashes for everything that a slug has not.
fn cleaned(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
    let words: Vec<&str> = name.split(|c| !is_plain(c)).filter(|word| !word.is_empty()).collect();
    let text = words.join("-");
    let text = text.trim_start_matches(['.', '-']);
    if text.is_empty() { "ref".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::oci::Tag;

    fn hash(git_ref: &str) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(git_ref))[..20].to_owned()
    }

    #[test]
    fn a_name_that_is_clean_stands_as_it_is() {
        for (git_ref, expected) in [
            ("refs/heads/main", "main"),
            ("refs/heads/release-1.2", "release-1.2"),
            ("refs/tags/v1.0", "tag-v1.0"),
            ("refs/pull/7/merge", "pr-7"),
            ("refs/pull/7/head", "pr-7"),
            ("refs/merge-requests/12/head", "pr-12"),
        ] {
            assert_eq!(slug(git_ref).as_deref(), Some(expected), "{git_ref}");
        }
    }

    #[test]
    fn any_other_name_is_told_apart_by_its_hash() {
        let long = format!("refs/heads/{}", "a".repeat(81));
        for (git_ref, cleaned) in [
            ("refs/heads/Feature/X", "feature-x"),
            ("refs/heads/feature_x", "feature-x"),
            ("refs/heads/pr-7", "pr-7"),
            ("refs/heads/tag-v1", "tag-v1"),
            ("refs/heads/a--b", "a-b"),
            ("refs/heads/-a", "a"),
            ("refs/heads/a-", "a"),
            ("refs/heads/ä", "ref"),
            ("refs/heads/feature-x-0123456789abcdef0123", "feature-x-0123456789abcdef0123"),
            ("refs/heads/0123456789abcdef0123", "0123456789abcdef0123"),
            ("refs/tags/V1", "tag-v1"),
            (&long, &"a".repeat(59)),
        ] {
            assert_eq!(slug(git_ref), Some(format!("{cleaned}-{}", hash(git_ref))), "{git_ref}");
        }
    }

    #[test]
    fn what_is_no_branch_tag_or_request_has_none() {
        for git_ref in [
            "",
            "main",
            "refs/",
            "refs/heads",
            "refs/heads/",
            "refs/tags/",
            "refs/pull/7",
            "refs/pull/7/",
            "refs/pull/07/head",
            "refs/pull/x/head",
            "refs/pull//head",
            "refs/pull/123456789012345678901/head",
            "refs/notes/x",
            "heads/main",
            "REFS/heads/main",
        ] {
            assert_eq!(slug(git_ref), None, "{git_ref}");
        }
    }

    proptest! {
        #[test]
        fn every_slug_can_stand_in_a_tag_and_is_no_part(name in "\\PC{1,120}", kind in "heads|tags") {
            let slug = slug(&format!("refs/{kind}/{name}")).unwrap();

            prop_assert!(slug.len() <= MAX_CHARS && !slug.contains("--") && !slug.starts_with('-') && !slug.ends_with('-'), "{}", slug);
            prop_assert!(slug.parse::<Tag>().is_ok() && format!("cache-{slug}").parse::<Tag>().is_ok(), "{}", slug);
        }

        #[test]
        fn no_two_refs_share_a_slug(names in prop::collection::hash_set("(heads/|tags/)?(pr-|tag-|Tag-|a|A|[0-9a-f]{20}|-|_|\\.|7|/){1,6}", 2..40)) {
            let mut seen = HashMap::new();
            for name in names {
                let git_ref = format!("refs/{name}");
                let Some(slug) = slug(&git_ref) else { continue };
                if let Some(other) = seen.insert(slug.clone(), git_ref.clone()) {
                    prop_assert!(false, "{} and {} are both {}", other, git_ref, slug);
                }
            }
        }
    }
}
