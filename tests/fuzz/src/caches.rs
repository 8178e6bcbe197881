//! What must be true of any cache that somebody may have pushed.
//!
//! An input is one or more manifests, configs and manifests of `type=s3`, one
//! a line. What is written is read by the model of BuildKit's importer too.

use crate::buildkit::{Cache, CacheConfig, Contents, Derived, Form, Read};
use crate::importer::{Imported, answer_alike, import, import_s3};
use crate::oci::Digest;

/// The model compares each step with each; what has more is only read and written.
const FEW: usize = 60;

/// A config reads back as itself, and an importer takes what is written.
pub fn cache_config(bytes: &[u8]) {
    if let Ok((config, _)) = CacheConfig::parse(bytes) {
        let (back, left_out) = CacheConfig::parse(&config.to_json()).expect("what was written");
        assert!(left_out.is_empty() && back == config, "{left_out}");
    }
    let _ = Contents::of(bytes);
    for Read { cache, .. } in caches(bytes) {
        let (derived, left_out) = cache.rescue(Form::Index);
        assert!(left_out.is_empty());
        assert_eq!(read(&derived).cache, cache);
        imported(&derived);
    }
}

/// The union of unions is the union of all, and healing it twice is healing it once.
pub fn cache_union(bytes: &[u8]) {
    let caches: Vec<_> = caches(bytes).map(|read| read.cache).collect();
    let all = Cache::union(&caches);
    for split in 0..=caches.len() {
        let (newer, older) = caches.split_at(split);
        assert_eq!(Cache::union(&[Cache::union(newer), Cache::union(older)]), all);
    }
    let is_missing = |digest: &Digest| digest.as_bytes()[0] % 2 == 0;
    let healed = all.heal(is_missing);
    assert_eq!(healed.cache.heal(is_missing).cache, healed.cache);
    assert!(healed.cache.blobs().len() + healed.missing.len() <= all.blobs().len());
}

/// The inline form answers like the config, and an image's own cache is read or refused.
pub fn cache_inline(bytes: &[u8]) {
    for Read { cache, .. } in caches(bytes).filter(|read| !read.cache.is_empty()) {
        let inline = cache.write_inline();
        assert_eq!(read(&inline).cache.config(), cache.config());
        if cache.config().records().len() < FEW {
            assert!(answer_alike(&imported(&inline), &imported(&cache.write(Form::Image))));
        }
    }
}

/// The form of `type=s3` answers like the manifest, and keeps its mark.
pub fn cache_s3(bytes: &[u8]) {
    let source = Digest::sha256(bytes);
    for Read { cache, .. } in caches(bytes) {
        let written = cache.write_s3(&source);
        let s3 = Cache::read_s3(&written).expect("what was written");
        assert!(s3.read.left_out.is_empty() && s3.written_for == Some(source));
        assert_eq!(s3.read.cache.config(), cache.config());
        let s3 = import_s3(&written).expect("what is written is taken");
        if cache.config().records().len() < FEW {
            assert!(answer_alike(&s3, &imported(&cache.write(Form::Image))));
        }
    }
}

/// Whatever can be read of the lines of `bytes`: each alone, or with the one before it as its manifest.
fn caches(bytes: &[u8]) -> impl Iterator<Item = Read> {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').take(8).collect();
    let pairs: Vec<_> = lines.windows(2).filter_map(|pair| of_manifest(pair[0], pair[1])).collect();
    let alone: Vec<_> = lines.iter().filter_map(|line| Some(Cache::read_s3(line).ok()?.read)).collect();
    pairs.into_iter().chain(alone)
}

fn of_manifest(manifest: &[u8], config: &[u8]) -> Option<Read> {
    match Contents::of(manifest)? {
        Contents::Cache(manifest) => manifest.read(config).ok(),
        Contents::Image(manifest) => manifest.read(config).ok()?,
        Contents::Images(_) => None,
    }
}

fn read(derived: &Derived) -> Read {
    let read = of_manifest(&derived.manifest.bytes, &derived.config.bytes).expect("what was written");
    assert!(read.left_out.is_empty(), "{}", read.left_out);
    read
}

fn imported(derived: &Derived) -> Imported {
    import(&derived.manifest.bytes, &derived.config.bytes).expect("what is written is taken")
}
