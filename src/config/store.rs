//! Which store it is: one decision over all sources, before any of its settings is read.
//!
//! A source may state a store by name (`s3`, `folder`), in one word
//! (`s3://bucket/prefix`), or by nothing but a bucket or a path. The first
//! that does decides. A word is taken apart into the settings it stands for,
//! and what lower sources say of another kind of store is forgotten, so that
//! no store is ever asked with the keys of another.

use std::path::PathBuf;

use super::Store;
use super::bucket;
use super::credentials;
use super::environment::{GOCDNEXT_BUCKET, gocdnext_names};
use super::host;
use super::layers::{DEFAULT, Layer, Layers, Source};
use super::problem::Place;
use super::setting::{
    ACCESS_KEY_ID, ACL, BUCKET, CA_BUNDLE, CREDENTIALS, ENDPOINT, KIND, OBJECT_TAGS, PATH, PATH_STYLE, PREFIX, PROXY, REGION,
    REQUEST_PAYER, S3_BLOBS, S3_MANIFESTS, S3_NAME, S3_TAG, S3_WRITE, SECRET_ACCESS_KEY, SESSION_TOKEN, SSE, SSE_CUSTOMER_KEY,
    SSE_KMS_KEY_ID, STORAGE_CLASS, STORE, Setting,
};
use super::sources::Environment;

/// The settings that only a bucket has.
#[rustfmt::skip]
const OF_A_BUCKET: &[Setting] = &[
    BUCKET, PREFIX, KIND, REGION, ENDPOINT, PATH_STYLE, CREDENTIALS, ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, SSE,
    SSE_KMS_KEY_ID, SSE_CUSTOMER_KEY, STORAGE_CLASS, ACL, OBJECT_TAGS, REQUEST_PAYER, CA_BUNDLE, PROXY, S3_NAME, S3_TAG,
    S3_WRITE, S3_BLOBS, S3_MANIFESTS,
];

/// The settings that a store in one word stands for.
const OF_A_WORD: &[Setting] = &[PATH, BUCKET, PREFIX];

/// What a store can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A folder.
    Folder,
    /// A bucket.
    Bucket(Scheme),
}

/// What stands before the `://` of a bucket's word. Keys to one are no keys to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Anything that speaks S3; other settings say what.
    S3,
    /// Google Cloud Storage.
    Gs,
}

/// What one source says the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Statement {
    /// One of this kind; the rest is in other settings.
    Kind(StoreKind),
    /// A bucket whose scheme is for others to say.
    AnyBucket,
    /// All of it, in one word.
    Whole(StoreKind, Vec<(Setting, String)>),
}

/// Whether a word of the command line is meant as a store, and not as a command.
#[must_use]
pub fn is_store_word(word: &str) -> bool {
    word.contains('/') || word.starts_with('.')
}

/// Finds out what kind of store it is, and leaves in `layers` only what is said of that one.
///
/// `None` when the store's word is wrong, which has been told.
pub fn decide(layers: &mut Layers, environment: &Environment) -> Option<StoreKind> {
    let is_sound = layers.read(&STORE, statement_of).is_some() || layers.words(&STORE).is_none();
    if !is_sound {
        return None;
    }
    let statements: Vec<Option<Statement>> = layers.stack.iter().map(statement).collect();
    let kind = kind(&statements);
    let deciding = statements.iter().position(Option::is_some);
    refuse_what_is_stated_twice(layers, &statements);
    if layers.profile == DEFAULT && deciding.is_none_or(|index| layers.stack[index].source >= Source::Gocdnext) {
        refuse_gocdnext_without_bucket(layers, environment);
    }
    refuse_what_does_not_fit(layers, kind, deciding);
    for (layer, statement) in layers.stack.iter_mut().zip(statements) {
        keep_what_is_about(kind, layer, statement);
    }
    Some(kind)
}

/// The store of the profile.
pub fn store(layers: &mut Layers, kind: StoreKind, environment: &Environment) -> Option<Store> {
    Some(match kind {
        StoreKind::Folder => Store::Folder { path: folder(layers, environment)? },
        StoreKind::Bucket(scheme) => Store::S3(Box::new(bucket::s3(layers, scheme)?)),
    })
}

/// Tells what is wrong with the parts of a store of which nothing else is known, since its word is wrong; there is none.
pub fn tell_of_parts(layers: &mut Layers) -> Option<Store> {
    layers.read(&ENDPOINT, host::endpoint);
    credentials::check_texts(layers);
    None
}

/// What gocdnext says of its cache is about a bucket; when that went missing, the bytes must not end up in a folder.
fn refuse_gocdnext_without_bucket(layers: &mut Layers, environment: &Environment) {
    if environment.get(GOCDNEXT_BUCKET).is_some() {
        return;
    }
    for name in gocdnext_names(environment) {
        let message = format!("needs {GOCDNEXT_BUCKET} beside it: no bucket is stated, and no other store");
        layers.problems.push(Place::variable(name), message);
    }
}

impl Statement {
    /// What kind of store it says, if it says so.
    fn kind(&self) -> Option<StoreKind> {
        match self {
            Self::Kind(kind) | Self::Whole(kind, _) => Some(*kind),
            Self::AnyBucket => None,
        }
    }

    /// Whether it can be about a store of this kind.
    fn is_like(&self, kind: StoreKind) -> bool {
        self.kind().map_or(kind != StoreKind::Folder, |own| own == kind)
    }
}

/// What a source says the store is.
fn statement(layer: &Layer) -> Option<Statement> {
    if layer.words(&STORE).is_some() {
        return statement_of(&layer.word(&STORE)?.text).ok();
    }
    if layer.words(&BUCKET).is_some() {
        return Some(Statement::AnyBucket);
    }
    layer.words(&PATH).map(|_| Statement::Kind(StoreKind::Folder))
}

/// What the first source that speaks of a store says it is; a folder when none does.
fn kind(statements: &[Option<Statement>]) -> StoreKind {
    let mut statements = statements.iter().flatten();
    match statements.next() {
        None => StoreKind::Folder,
        Some(Statement::AnyBucket) => statements
            .find_map(|statement| statement.kind().filter(|kind| *kind != StoreKind::Folder))
            .unwrap_or(StoreKind::Bucket(Scheme::S3)),
        Some(Statement::Kind(kind) | Statement::Whole(kind, _)) => *kind,
    }
}

/// A source that states the store in one word has nothing to add in other settings.
fn refuse_what_is_stated_twice(layers: &mut Layers, statements: &[Option<Statement>]) {
    for (layer, statement) in layers.stack.iter().zip(statements) {
        let (Some(Statement::Whole(..)), Some(store)) = (statement, layer.word(&STORE)) else { continue };
        for word in OF_A_WORD.iter().filter_map(|setting| layer.word(setting)) {
            layers.problems.push(word.place.clone(), format!("{} says it already; one of the two is enough", store.place.name()));
        }
    }
}

/// What is stated for a bucket when the store is a folder, or the other way round, is a mistake in the source that
/// decides and in those above it. When no source states a store, keys and endpoint must not end in a folder.
fn refuse_what_does_not_fit(layers: &mut Layers, kind: StoreKind, deciding: Option<usize>) {
    let (strangers, message) = match (kind, deciding) {
        (StoreKind::Folder, None) => (OF_A_BUCKET, "is for a bucket, and no bucket is stated"),
        (StoreKind::Folder, Some(_)) => (OF_A_BUCKET, "is for a bucket, and the store is a folder"),
        (StoreKind::Bucket(_), _) => (&[PATH][..], "is for a folder, and the store is a bucket"),
    };
    let last = deciding.map_or(layers.stack.len(), |index| index + 1);
    for layer in layers.stack[..last].iter().filter(|layer| layer.source < Source::Gocdnext) {
        for word in strangers.iter().filter_map(|setting| layer.word(setting)) {
            layers.problems.push(word.place.clone(), message);
        }
    }
}

/// Leaves of a source what it has to say on a store of this kind, with a word taken apart.
fn keep_what_is_about(kind: StoreKind, layer: &mut Layer, statement: Option<Statement>) {
    match statement {
        Some(statement) if !statement.is_like(kind) => {
            layer.forget(OF_A_BUCKET);
            layer.forget(OF_A_WORD);
        }
        Some(Statement::Whole(_, parts)) => take_apart(layer, parts),
        _ => (),
    }
}

/// Puts the settings that a word stands for in the word's place.
fn take_apart(layer: &mut Layer, parts: Vec<(Setting, String)>) {
    let Some(place) = layer.word(&STORE).map(|word| word.place.clone()) else { return };
    layer.forget(OF_A_WORD);
    for (setting, text) in parts {
        layer.state_text(&setting, &text, &place);
    }
}

/// What a store's name or word says.
fn statement_of(text: &str) -> Result<Statement, &'static str> {
    const UNKNOWN: &str = "a store is s3://bucket/prefix, gs://bucket/prefix, /some/dir or ./dir; or s3, gs or folder, with the rest in other settings";
    match text.split_once("://") {
        Some(("s3", rest)) => bucket_word(Scheme::S3, rest),
        Some(("gs", rest)) => bucket_word(Scheme::Gs, rest),
        Some(("file", rest)) => folder_url(rest),
        Some(_) => Err(UNKNOWN),
        None if text == "s3" => Ok(Statement::Kind(StoreKind::Bucket(Scheme::S3))),
        None if text == "gs" => Ok(Statement::Kind(StoreKind::Bucket(Scheme::Gs))),
        None if text == "folder" => Ok(Statement::Kind(StoreKind::Folder)),
        None if is_store_word(text) => Ok(folder_word(text.into())),
        None => Err(UNKNOWN),
    }
}

/// `bucket/prefix`; the slash at the end that many write means nothing.
fn bucket_word(scheme: Scheme, text: &str) -> Result<Statement, &'static str> {
    if text.contains(['?', '#']) {
        return Err("only bucket and prefix; region and endpoint are settings of their own");
    }
    if text.contains('@') {
        return Err("only bucket and prefix; keys are settings of their own");
    }
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    if bucket.is_empty() {
        return Err("names no bucket: it is written s3://bucket/prefix, or gs://bucket/prefix for Google's");
    }
    if prefix.starts_with('/') {
        return Err(bucket::PREFIX_GRAMMAR);
    }
    Ok(Statement::Whole(StoreKind::Bucket(scheme), vec![(BUCKET, bucket.into()), (PREFIX, prefix.into())]))
}

/// The path of a `file://` URL, which names no machine but this one.
fn folder_url(text: &str) -> Result<Statement, &'static str> {
    let path = text.strip_prefix("localhost").unwrap_or(text);
    if !path.starts_with('/') {
        return Err("a folder's URL has three slashes and the whole path: file:///some/dir");
    }
    let path = percent_encoding::percent_decode_str(path).decode_utf8().map_err(|_| "the path is not UTF-8")?;
    Ok(folder_word(path.into()))
}

/// A folder at a path.
fn folder_word(path: String) -> Statement {
    Statement::Whole(StoreKind::Folder, vec![(PATH, path)])
}

/// The folder's path: as stated, or in the user's cache directory.
fn folder(layers: &mut Layers, environment: &Environment) -> Option<PathBuf> {
    if layers.words(&PATH).is_some() {
        return layers.read(&PATH, path);
    }
    if layers.profile != DEFAULT {
        layers.refuse(&STORE, "nothing says where to keep the bytes: state a folder or a bucket");
        return None;
    }
    let found = cache_directory(environment);
    if found.is_none() {
        layers.refuse(&STORE, "nothing says where to keep the bytes: state a folder or a bucket, or set HOME or XDG_CACHE_HOME");
    }
    found
}

/// `longshore` in the user's cache directory.
///
/// XDG Base Directory Specification 0.8, "Environment variables": a relative path in one is ignored.
fn cache_directory(environment: &Environment) -> Option<PathBuf> {
    let absolute = |name| environment.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("longshore"))
}

/// A path as it is written.
pub fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with('~') {
        return Err("~ means nothing here; write the path out, or ./~ for a folder of that name");
    }
    if text.contains('\0') {
        return Err("a path has no NUL in it");
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::loaded;

    /// With keys and a word on access, so that only the store is left to be told.
    fn stored(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<String, String> {
        let others = [("LONGSHORE_ANONYMOUS", "write"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let variables: Vec<_> = others.iter().chain(variables).copied().collect();
        loaded(flags, &variables, file).map(|Config { profiles, .. }| profiles[0].store.to_string())
    }

    #[test]
    fn one_word_is_a_whole_store() {
        for (word, store) in [
            ("/some/dir", "folder /some/dir"),
            ("./dir", "folder ./dir"),
            (".", "folder ."),
            ("a/b", "folder a/b"),
            ("file:///some/my%20dir", "folder /some/my dir"),
            ("file://localhost/dir", "folder /dir"),
            ("s3://ci-cache", "s3://ci-cache, region us-east-1"),
            ("s3://ci-cache/", "s3://ci-cache, region us-east-1"),
            ("s3://ci-cache/a/b/", "s3://ci-cache/a/b, region us-east-1"),
            ("gs://ci_cache/a", "gs://ci_cache/a, region auto, at https://storage.googleapis.com"),
        ] {
            assert_eq!(stored(&[("store", word)], &[], ""), Ok(store.into()), "{word}");
            assert_eq!(stored(&[], &[("LONGSHORE_STORE", word)], ""), Ok(store.into()), "{word}");
            assert_eq!(stored(&[], &[], &format!("[profiles.default]\nstore = {word:?}")), Ok(store.into()), "{word}");
        }
    }

    #[test]
    fn what_is_no_store_is_refused_with_what_would_be() {
        for (word, hint) in [
            ("s4", "a store is s3://"),
            ("az://container/x", "a store is s3://"),
            ("file://dir", "three slashes"),
            ("file:///%ff", "not UTF-8"),
            ("~/cache", "~ means nothing here"),
            ("s3://", "names no bucket"),
            ("s3:///a", "names no bucket"),
            ("s3://CI", "a bucket's name is"),
            ("s3://ci-cache//a", "a prefix is"),
            ("s3://ci-cache/a//b", "a prefix is"),
            ("s3://ci-cache/../b", "a prefix is"),
            ("s3://ci-cache?region=x", "settings of their own"),
            ("s3://id:secret@ci-cache", "settings of their own"),
        ] {
            let problems = stored(&[], &[("LONGSHORE_STORE", word)], "").expect_err(word);
            assert!(problems.starts_with("environment: 1 problem\n  LONGSHORE_STORE  ") && problems.contains(hint), "{problems}");
        }
    }

    #[test]
    fn the_sources_add_up_to_one_store() {
        let s3 = "[profiles.default]\nstore = \"s3\"\nbucket = \"in-file\"\nprefix = \"p\"\nendpoint = \"http://minio:9000\"";
        let word = "[profiles.default]\nstore = \"s3://in-file/p\"\nregion = \"r\"";
        let google = "[profiles.default]\nstore = \"gs://in-file/p\"";
        let folder = "[profiles.default]\nstore = \"folder\"\npath = \"/in-file\"";
        for (flags, variables, file, store) in [
            (&[][..], &[][..], s3, "s3://in-file/p, region us-east-1, at http://minio:9000"),
            (&[("bucket", "in-flag")], &[], s3, "s3://in-flag/p, region us-east-1, at http://minio:9000"),
            (&[("bucket", "in-flag")], &[], word, "s3://in-flag/p, region r"),
            (&[("bucket", "in-flag")], &[], google, "gs://in-flag/p, region auto, at https://storage.googleapis.com"),
            (&[("bucket", "in-flag")], &[], folder, "s3://in-flag, region us-east-1"),
            (&[("bucket", "in-flag")], &[], "", "s3://in-flag, region us-east-1"),
            (&[("prefix", "q")], &[], word, "s3://in-file/q, region r"),
            (&[("prefix", "")], &[], word, "s3://in-file, region r"),
            (&[("store", "s3://in-flag")], &[], s3, "s3://in-flag, region us-east-1, at http://minio:9000"),
            (&[("store", "gs://in-flag")], &[], s3, "gs://in-flag, region auto, at https://storage.googleapis.com"),
            (&[("store", "/in-flag")], &[], s3, "folder /in-flag"),
            (&[("store", "/in-flag")], &[("LONGSHORE_BUCKET", "in-variable")], s3, "folder /in-flag"),
            (&[("path", "/in-flag")], &[], folder, "folder /in-flag"),
            (&[("path", "/in-flag")], &[], s3, "folder /in-flag"),
            (&[], &[("LONGSHORE_STORE", "folder")], s3, "folder /home/user/.cache/longshore"),
            (&[], &[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")], s3, "s3://in-file/p, region a, at http://minio:9000"),
            (&[], &[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "")], s3, "s3://in-file/p, region b, at http://minio:9000"),
            (
                &[],
                &[("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "http://b")],
                word,
                "s3://in-file/p, region r, at http://b",
            ),
            (&[], &[("AWS_ENDPOINT_URL", "nonsense")], s3, "s3://in-file/p, region us-east-1, at http://minio:9000"),
            (
                &[],
                &[("AWS_REGION", "a"), ("AWS_ENDPOINT_URL", "http://a")],
                google,
                "gs://in-file/p, region auto, at https://storage.googleapis.com",
            ),
            (&[], &[("AWS_REGION", "a"), ("AWS_ENDPOINT_URL", "http://a")], "", "folder /home/user/.cache/longshore"),
            (
                &[],
                &[("LONGSHORE_BUCKET", "ci-cache"), ("LONGSHORE_ENDPOINT", "https://storage.googleapis.com/")],
                "",
                "gs://ci-cache, region auto, at https://storage.googleapis.com",
            ),
        ] {
            assert_eq!(stored(flags, variables, file), Ok(store.into()), "{flags:?} {variables:?} {file}");
        }
    }

    #[test]
    fn a_kind_brings_its_region_endpoint_and_style() {
        let amazons = [("AWS_REGION", "a"), ("AWS_ENDPOINT_URL", "http://a")];
        let b2 = "https://s3.us-west-004.backblazeb2.com";
        for (variables, settings, store, name, path_style) in [
            (&[][..], "", "s3://ci-cache, region us-east-1", "aws", false),
            (&[], "kind = \"aws\"", "s3://ci-cache, region us-east-1", "aws", false),
            (&[], "kind = \"gcs\"", "gs://ci-cache, region auto, at https://storage.googleapis.com", "gcs", true),
            (&amazons, "kind = \"gcs\"", "gs://ci-cache, region auto, at https://storage.googleapis.com", "gcs", true),
            (
                &[],
                "kind = \"gcs\"\nregion = \"eu\"\nendpoint = \"http://a\"\npath_style = false",
                "gs://ci-cache, region eu, at http://a",
                "gcs",
                false,
            ),
            (&amazons, "kind = \"garage\"", "s3://ci-cache, region a, at http://a", "garage", true),
            (&amazons[1..], "kind = \"garage\"", "s3://ci-cache, region garage, at http://a", "garage", true),
            (&[("LONGSHORE_ENDPOINT", b2)], "", &format!("s3://ci-cache, region us-west-004, at {b2}"), "b2", true),
            (
                &[("LONGSHORE_ENDPOINT", b2), ("LONGSHORE_KIND", "generic")],
                "",
                &format!("s3://ci-cache, region us-east-1, at {b2}"),
                "generic",
                true,
            ),
            (
                &[("LONGSHORE_ENDPOINT", "http://minio:9000")],
                "",
                "s3://ci-cache, region us-east-1, at http://minio:9000",
                "generic",
                true,
            ),
        ] {
            let keys = [("LONGSHORE_ACCESS_KEY_ID", "id"), ("LONGSHORE_SECRET_ACCESS_KEY", "s"), ("LONGSHORE_ANONYMOUS", "none")];
            let variables = [&keys, variables].concat();
            let file = format!("[profiles.default]\nbucket = \"ci-cache\"\n{settings}");

            let Store::S3(s3) = loaded(&[], &variables, &file).unwrap().profiles.remove(0).store else { panic!("a folder") };

            assert_eq!((s3.to_string().as_str(), s3.kind.name, s3.path_style), (store, name, path_style), "{settings}");
        }
    }

    #[test]
    fn what_contradicts_the_store_is_refused_where_it_stands() {
        for (flags, file, expected) in [
            (&[][..], "store = \"s3://ci-cache\"\nbucket = \"b\"", "bucket  line 3  profiles.default.store says it already"),
            (&[], "store = \"s3://ci-cache\"\nprefix = \"b\"", "prefix  line 3  profiles.default.store says it already"),
            (&[], "store = \"/dir\"\npath = \"/dir\"", "path  line 3  profiles.default.store says it already"),
            (&[], "store = \"s3\"\nbucket = \"ci-cache\"\npath = \"/dir\"", "path  line 4  is for a folder"),
            (&[], "bucket = \"ci-cache\"\npath = \"/dir\"", "path  line 3  is for a folder"),
            (&[], "store = \"folder\"\nregion = \"r\"", "region  line 3  is for a bucket, and the store is a folder"),
            (&[], "store = \"s3\"", "profiles.default.bucket  the store is a bucket, so its name must be stated"),
            (&[], "region = \"r\"", "region  line 2  is for a bucket, and no bucket is stated"),
            (&[("region", "r")], "store = \"folder\"", "--region  is for a bucket, and the store is a folder"),
            (&[("store", "s3://ci-cache"), ("bucket", "b")], "", "--bucket  STORE says it already"),
            (&[], "bucket = \"ci-cache\"\nregion = \"EU\"", "\"EU\": a region is"),
            (&[], "store = \"gs://ci-cache\"\nkind = \"r2\"", "kind  line 3  a gs:// store is of kind gcs"),
            (&[], "bucket = \"ci-cache\"\nkind = \"r2\"", "profiles.default.endpoint  a store of kind r2 can be anywhere"),
            (
                &[],
                "bucket = \"ci-cache\"\nkind = \"s3\"",
                "kind  line 3  \"s3\": must be one of aws, gcs, minio, ceph, r2, b2, garage, generic",
            ),
            (&[("kind", "AWS")], "bucket = \"ci-cache\"", "--kind  \"AWS\": must be one of aws, gcs,"),
            (&[("kind", "aws")], "store = \"folder\"", "--kind  is for a bucket, and the store is a folder"),
        ] {
            let problems = stored(flags, &[], &format!("[profiles.default]\n{file}")).expect_err(file);
            assert!(problems.contains(" 1 problem") && problems.contains(expected), "{problems}");
        }
    }

    #[test]
    fn keys_to_no_bucket_do_not_end_in_a_folder() {
        for name in
            ["LONGSHORE_PREFIX", "LONGSHORE_REGION", "LONGSHORE_ENDPOINT", "LONGSHORE_CREDENTIALS", "LONGSHORE_ACCESS_KEY_ID"]
        {
            let problems = stored(&[], &[(name, "default")], "").expect_err(name);
            assert!(problems.contains(&format!("{name}  is for a bucket, and no bucket is stated")), "{problems}");
        }
    }

    #[test]
    fn urls_have_the_bucket_in_the_path_where_there_is_an_endpoint() {
        for (flags, expected) in [
            (&[("store", "s3://ci-cache")][..], false),
            (&[("store", "s3://ci-cache"), ("path-style", "true")], true),
            (&[("store", "s3://ci-cache"), ("endpoint", "http://minio:9000")], true),
            (&[("store", "s3://ci-cache"), ("endpoint", "http://minio:9000"), ("path-style", "false")], false),
            (&[("store", "gs://ci-cache")], true),
        ] {
            let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("LONGSHORE_ANONYMOUS", "none")];
            let Store::S3(s3) = loaded(flags, &keys, "").unwrap().profiles.remove(0).store else { panic!("{flags:?}") };
            assert_eq!(s3.path_style, expected, "{flags:?}");
        }
    }

    #[test]
    fn the_cache_directory_is_the_users() {
        for (variables, expected) in [
            (&[("XDG_CACHE_HOME", "/cache")][..], Some("folder /cache/longshore")),
            (&[("XDG_CACHE_HOME", "cache")], Some("folder /home/user/.cache/longshore")),
            (&[("XDG_CACHE_HOME", "")], Some("folder /home/user/.cache/longshore")),
            (&[("HOME", "")], None),
            (&[("HOME", ""), ("XDG_CACHE_HOME", "/cache")], Some("folder /cache/longshore")),
        ] {
            let outcome = stored(&[], variables, "");
            assert_eq!(outcome.as_deref().ok(), expected, "{variables:?}");
            assert!(outcome.is_ok() || outcome.is_err_and(|problems| problems.contains("set HOME or XDG_CACHE_HOME")));
        }
    }
}
