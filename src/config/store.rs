//! Which store it is: one decision over all sources, before any of its settings is read.
//!
//! A source may state a store by name (`s3`, `folder`), in one word
//! (`s3://bucket/prefix`), or by nothing but a bucket or a path. The first
//! that does decides. A word is taken apart into the settings it stands for,
//! and what lower sources say of another kind of store is forgotten, so that
//! no store is ever asked with the keys of another.

use std::path::PathBuf;

use super::bucket;
use super::layers::{Layer, Layers};
use super::problem::Source;
use super::setting::{
    ACCESS_KEY_ID, BUCKET, CREDENTIALS, ENDPOINT, PATH, PATH_STYLE, PREFIX, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN, STORE,
    Setting,
};
use super::sources::Environment;
use super::{Profile, S3Dialect, Store};

/// The settings that only a bucket has.
const OF_A_BUCKET: &[Setting] =
    &[BUCKET, PREFIX, REGION, ENDPOINT, PATH_STYLE, CREDENTIALS, ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN];

/// The settings that a store in one word stands for.
const OF_A_WORD: &[Setting] = &[PATH, BUCKET, PREFIX];

/// What a store can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A folder.
    Folder,
    /// A bucket.
    Bucket(S3Dialect),
}

/// What one source says the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Statement {
    /// One of this kind; the rest is in other settings.
    Kind(StoreKind),
    /// A bucket whose dialect is for others to say.
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
pub fn decide(layers: &mut Layers) -> Option<StoreKind> {
    let is_sound = layers.read(&STORE, statement_of).is_some() || layers.words(&STORE).is_none();
    let statements: Vec<Option<Statement>> = layers.layers.iter().map(statement).collect();
    if !is_sound {
        return None;
    }
    let kind = kind(&statements);
    for (index, statement) in statements.iter().enumerate() {
        if statement.as_ref().is_some_and(|statement| !statement.is_like(kind)) {
            layers.layers[index].forget(OF_A_BUCKET);
            layers.layers[index].forget(OF_A_WORD);
        } else {
            refuse_what_is_stated_twice(layers, index, statement.as_ref());
        }
    }
    let deciding = statements.iter().position(Option::is_some);
    refuse_what_does_not_fit(layers, kind, deciding);
    for (layer, statement) in layers.layers.iter_mut().zip(statements) {
        if let Some(Statement::Whole(_, parts)) = statement.filter(|statement| statement.is_like(kind)) {
            take_apart(layer, parts);
        }
        if layer.source == Source::Aws && kind == StoreKind::Bucket(S3Dialect::Gcs) {
            layer.forget(&[REGION, ENDPOINT]);
        }
    }
    Some(kind)
}

/// The profile `default`.
pub fn profile(layers: &mut Layers, kind: StoreKind, environment: &Environment) -> Option<Profile> {
    let store = match kind {
        StoreKind::Folder => Store::Folder { path: folder(layers, environment)? },
        StoreKind::Bucket(dialect) => Store::S3(bucket::s3(layers, dialect)?),
    };
    Some(Profile { name: "default".into(), store })
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
            .unwrap_or(StoreKind::Bucket(S3Dialect::Aws)),
        Some(Statement::Kind(kind) | Statement::Whole(kind, _)) => *kind,
    }
}

/// A source that states the store in one word has nothing to add in other settings.
fn refuse_what_is_stated_twice(layers: &mut Layers, index: usize, statement: Option<&Statement>) {
    let layer = &layers.layers[index];
    if let (Some(Statement::Whole(..)), Some(store)) = (statement, layer.word(&STORE)) {
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
    let last = deciding.map_or(layers.layers.len(), |index| index + 1);
    for layer in layers.layers[..last].iter().filter(|layer| layer.source < Source::Aws) {
        for word in strangers.iter().filter_map(|setting| layer.word(setting)) {
            layers.problems.push(word.place.clone(), message);
        }
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
    const UNKNOWN: &str =
        "a store is s3://bucket/prefix, gs://bucket/prefix, /some/dir or ./dir; or s3 or folder, with the rest in other settings";
    match text.split_once("://") {
        Some(("s3", rest)) => bucket_word(S3Dialect::Aws, rest),
        Some(("gs", rest)) => bucket_word(S3Dialect::Gcs, rest),
        Some(("file", rest)) => folder_url(rest),
        Some(_) => Err(UNKNOWN),
        None if text == "s3" => Ok(Statement::Kind(StoreKind::Bucket(S3Dialect::Aws))),
        None if text == "folder" => Ok(Statement::Kind(StoreKind::Folder)),
        None if is_store_word(text) => Ok(folder_word(text.into())),
        None => Err(UNKNOWN),
    }
}

/// `bucket/prefix`; the slash at the end that many write means nothing.
fn bucket_word(dialect: S3Dialect, text: &str) -> Result<Statement, &'static str> {
    if text.contains(['?', '#']) {
        return Err("only bucket and prefix; region and endpoint are settings of their own");
    }
    if text.contains('@') {
        return Err("only bucket and prefix; keys are settings of their own");
    }
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    if prefix.starts_with('/') {
        return Err(bucket::PREFIX_GRAMMAR);
    }
    Ok(Statement::Whole(StoreKind::Bucket(dialect), vec![(BUCKET, bucket.into()), (PREFIX, prefix.into())]))
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
fn path(text: &str) -> Result<PathBuf, &'static str> {
    if text.starts_with('~') {
        return Err("~ means nothing here; write the path out, or ./~ for a folder of that name");
    }
    if text.contains('\0') {
        return Err("a path has no NUL in it");
    }
    Ok(text.into())
}
