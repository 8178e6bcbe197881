//! Holds the source to its floors: each uses only those below it.
//!
//! `tests/fuzz` shares some parsers by their paths; what else they used would not compile there.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the source has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom, besides itself. A module that is not here is a failure too.
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["app", "config", "secrets", "oci"]),
    (
        "app",
        &["server", "api", "access", "audit", "registry", "store", "oci", "config", "metrics", "secrets", "credentials", "tls"],
    ),
    ("server", &["api", "tls"]),
    ("tls", &[]),
    ("api", &["access", "audit", "registry", "store", "oci", "metrics", "secrets"]),
    ("access", &["audit", "registry", "oci"]),
    ("registry", &["store", "oci", "buildkit", "metrics"]),
    ("store", &["oci", "metrics", "credentials", "files"]),
    ("oci", &[]),
    ("buildkit", &["oci"]),
    ("audit", &["metrics", "secrets"]),
    ("metrics", &["oci"]),
    ("files", &[]),
    ("secrets", &["files"]),
    ("credentials", &["secrets", "metrics", "files"]),
    // What a store needs to know, the kinds there are, where keys come from, values that refer to secrets, what caches are called,
    // who may do what, where that is told, and TLS.
    ("config", &["oci", "buildkit", "store", "secrets", "credentials", "access", "audit", "files", "tls"]),
];

/// Crates that stop at a floor: what is above it speaks them, what is below must not.
const STOPS_AT: &[(&str, &[&str])] = &[
    ("http::", &["api", "server"]),
    ("hyper::", &["server"]),
    ("hyper_util::", &["server"]),
    ("clap::", &["cli"]),
    ("toml::", &["config"]),
    ("prometheus_client::", &["metrics"]),
    ("aws_sdk_s3::", &["store"]),
    ("aws_config::", &["credentials"]),
    ("aws_sdk_sts::", &["credentials"]),
];

/// A use of one module by another, or of a crate where it has no place.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    line: String,
    uses: String,
}

#[test]
fn each_floor_uses_only_those_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");

    let breaches: Vec<_> = rust_files(&source)
        .iter()
        .filter(|file| !file.ends_with("lib.rs"))
        .flat_map(|file| breaches(&module(&source, file), &fs::read_to_string(file).unwrap(), &file.display().to_string()))
        .collect();

    assert!(breaches.is_empty(), "{breaches:#?}");
}

#[test]
fn a_use_against_the_grain_is_found_however_it_is_written() {
    for (module, code, uses) in [
        ("store", "use crate::registry::Registry;", "registry"),
        ("store", "let x = crate::api::Api::new();", "api"),
        ("registry", "use crate::{oci::Digest, access::Profile};", "access"),
        ("registry", "use crate::{\n    oci::Digest,\n    server::{bind, serve},\n};", "server"),
        ("oci", "use longshore::store::Key;", "store"),
        ("registry", "use http::StatusCode;", "http::"),
        ("nowhere", "", "nowhere"),
    ] {
        let found: Vec<_> = breaches(module, code, "x.rs").into_iter().map(|breach| breach.uses).collect();

        assert_eq!(found, [uses], "{code}");
    }
    assert_eq!(breaches("registry", "use crate::store::Key; // not crate::api\nuse super::blobs;", "x.rs"), []);
}

fn breaches(module: &str, code: &str, file: &str) -> Vec<Breach> {
    let Some((_, may_use)) = MAY_USE.iter().find(|(floor, _)| *floor == module) else {
        return vec![Breach { line: file.to_owned(), uses: module.to_owned() }];
    };
    let code: String = code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let modules = used_modules(&code).into_iter().filter(|used| used != module && !may_use.contains(&used.as_str()));
    let crates = STOPS_AT.iter().filter(|(name, floors)| names(&code, name) && !floors.contains(&module));
    modules.chain(crates.map(|(name, _)| (*name).to_owned())).map(|uses| Breach { line: file.to_owned(), uses }).collect()
}

/// The modules of this package that `code` names, by a path or in a group of a `use`.
fn used_modules(code: &str) -> Vec<String> {
    ["crate::", "longshore::"].iter().flat_map(|root| code.split(root).skip(1)).flat_map(heads).collect()
}

/// The first names of the paths at the beginning of `rest`: one, or those of a `{…}` group.
fn heads(rest: &str) -> Vec<String> {
    let word = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let mut depth = 0;
    let mut heads = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(String::new()),
            _ => heads.last_mut().unwrap().push(c),
        }
    }
    heads.iter().map(|head| word(head)).filter(|head| !head.is_empty()).collect()
}

/// Whether `code` names a path that begins with `root`, rather than one that ends so.
fn names(code: &str, root: &str) -> bool {
    code.match_indices(root).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

/// The module right under `src` that `file` belongs to.
fn module(source: &Path, file: &Path) -> String {
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let rust = files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    rust.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}
