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
mod tests;
