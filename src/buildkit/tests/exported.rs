//! What a real buildkitd exported; see `fixtures/README.md`.

use super::super::importer::{answer_alike, import, import_s3};
use super::*;
use crate::buildkit::CacheConfig;
use crate::oci::{Digest, Manifest};

const IMAGE: &[u8] = include_bytes!("../fixtures/image.manifest.json");
const INDEX: &[u8] = include_bytes!("../fixtures/index.manifest.json");
const CONFIG: &[u8] = include_bytes!("../fixtures/image.config.json");
const INLINE: &[u8] = include_bytes!("../fixtures/inline.manifest.json");
const INLINE_CONFIG: &[u8] = include_bytes!("../fixtures/inline.config.json");
const S3: &[u8] = include_bytes!("../fixtures/s3.json");

#[test]
fn every_form_is_read_whole_and_answers_as_it_did() {
    for (manifest, config) in [(IMAGE, CONFIG), (INDEX, CONFIG), (INLINE, INLINE_CONFIG)] {
        let Read { cache, left_out } = read(manifest, config);

        assert!(left_out.is_empty(), "{left_out}");
        let original = import(manifest, config).unwrap();
        assert!(original.results() >= 5, "{original:?}");
        for form in [Form::Image, Form::Index, Form::DockerList] {
            assert!(answer_alike(&original, &imported(&cache.write(form))), "{form:?}");
        }
        assert!(answer_alike(&original, &imported(&cache.write_inline())));
    }
}

#[test]
fn one_build_is_one_cache_whichever_form_it_was_exported_in() {
    let image = read(IMAGE, CONFIG).cache;

    assert_eq!(read(INDEX, CONFIG).cache, image);
    let s3 = Cache::read_s3(S3).unwrap();
    assert_eq!((s3.read.cache, s3.written_for), (image, None));
    assert!(s3.read.left_out.is_empty());
}

#[test]
fn what_is_exported_is_written_in_as_many_bytes() {
    let cache = read(IMAGE, CONFIG).cache;

    let written = cache.write(Form::Image);

    // Other places have other numbers of digits.
    assert!(written.config.bytes.len().abs_diff(CONFIG.len()) < 10);
    let twice = IMAGE.len() - written.manifest.bytes.len();
    assert!(twice > 300, "a blob that BuildKit named twice is named once");
    assert_eq!(written.manifest.media_type, "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn a_registry_takes_every_form_that_is_written_for_what_it_is() {
    let cache = read(IMAGE, CONFIG).cache;

    for form in [Form::Image, Form::Index, Form::DockerList] {
        let derived = cache.write(form);
        let manifest = Manifest::parse(derived.manifest.media_type.parse().unwrap(), &derived.manifest.bytes).unwrap();

        assert!(manifest.is_cache(), "{form:?}");
        assert!(manifest.digests().any(|digest| *digest == derived.config.digest), "{form:?}");
        assert_eq!(derived.manifest.digest, Digest::sha256(&derived.manifest.bytes));
        let Some(Contents::Cache(read)) = Contents::of(&derived.manifest.bytes) else { panic!("{form:?}") };
        assert_eq!((read.form, read.config.size), (form, derived.config.bytes.len() as u64));
    }
    assert!(matches!(Contents::of(&cache.write_inline().manifest.bytes), Some(Contents::Image(_))));
}

#[test]
fn a_cache_without_a_layer_still_has_the_steps_that_do_not_need_it() {
    let cache = read(IMAGE, CONFIG).cache;
    let blob = |start: &str| *cache.blobs().keys().find(|digest| digest.to_string().starts_with(start)).unwrap();
    let (one, three) = (blob("sha256:29f3508"), blob("sha256:2af87af"));

    // The last layer of five takes its own step with it and no other.
    let without_three = cache.heal(|digest| *digest == three);
    assert_eq!(asked(&without_three.cache).results(), asked(&cache).results() - 1);
    assert_eq!(without_three.missing.into_keys().collect::<Vec<_>>(), [three]);

    // The third takes all that stand on it: two are left.
    let without_one = cache.heal(|digest| *digest == one).cache;
    assert_eq!(asked(&without_one).results(), 2);
    assert_eq!(without_one.blobs().len(), 2);
}

#[test]
fn a_type_s3_importer_finds_what_a_registry_had_and_sees_no_mark() {
    let source = Digest::sha256(IMAGE);

    let written = read(IMAGE, CONFIG).cache.write_s3(&source);

    assert!(answer_alike(&import_s3(S3).unwrap(), &import_s3(&written).unwrap()));
    assert_eq!(Cache::read_s3(&written).unwrap().written_for, Some(source));
}

#[test]
fn an_ordinary_image_has_no_cache_in_it() {
    let config = serde_json::from_slice::<serde_json::Value>(INLINE_CONFIG).unwrap();
    let mut config = config.as_object().unwrap().clone();
    config.remove("moby.buildkit.cache.v0");

    let Some(Contents::Image(image)) = Contents::of(INLINE) else { panic!("no image") };

    assert_eq!(image.read(&serde_json::to_vec(&config).unwrap()).unwrap(), None);
    assert!(image.read(INLINE_CONFIG).unwrap().is_some());
}

#[test]
fn where_a_layer_was_once_got_from_is_no_part_of_a_cache() {
    let source = "\"annotations\":{\"containerd.io/distribution.source.localhost\":\"app\",";
    let leaked = String::from_utf8_lossy(IMAGE).replace("\"annotations\":{", source);

    assert_eq!(read(leaked.as_bytes(), CONFIG), read(IMAGE, CONFIG));
}

#[test]
fn an_index_of_images_is_no_cache_itself() {
    let index = String::from_utf8_lossy(INDEX)
        .replace("application/vnd.buildkit.cacheconfig.v0", "application/vnd.oci.image.manifest.v1+json");

    let Some(Contents::Images(children)) = Contents::of(index.as_bytes()) else { panic!("no index") };

    assert_eq!(children.len(), 8);
}

#[test]
fn a_config_alone_keeps_what_a_manifest_would_decide_about() {
    let (config, left_out) = CacheConfig::parse(CONFIG).unwrap();

    assert_eq!((config.layers().len(), config.records().len(), left_out.is_empty()), (7, 11, true));
    assert_eq!(CacheConfig::parse(&config.to_json()).unwrap().0, config);
}
