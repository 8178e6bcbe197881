//! Caches that are too large for an importer.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::buildkit::cache_config::{CacheResult, Input, Layer, Record};
use crate::buildkit::draft::Draft;
use crate::buildkit::{Blob, IMPORT_LIMIT, LeftOut, Timestamp};
use crate::oci::Digest;

/// A cache of `steps` steps in tens, one after the other, each with a layer of its own on one of `bases`;
/// what two of the same seed have in common is every other step.
fn large(seed: u32, steps: u32, bases: u32) -> Cache {
    let own = |at: u32| if at.is_multiple_of(2) { 0 } else { seed };
    let name = |what: &str, at: u32| Digest::sha256(format!("{what} {at} {}", own(at)).as_bytes());
    let mut draft = Draft::default();
    for base in 0..bases {
        draft.layers.push(Some(Layer { blob: name("base", base * 2), parent: base.checked_sub(1) }));
    }
    for at in 0..steps {
        let created =
            format!("2026-11-22T{:02}:{:02}:{:02}Z", at / 3600 % 24, at / 60 % 60, at % 60).parse::<Timestamp>().unwrap();
        draft.layers.push(Some(Layer { blob: name("blob", at), parent: bases.checked_sub(1) }));
        let selector = name("selector", at % 10).to_string().into();
        let inputs = if at % 10 == 0 { vec![] } else { vec![vec![Input { link: at - 1, selector }]] };
        draft.records.push(Some(Record {
            digest: name("step", at),
            inputs,
            results: vec![CacheResult { layer: bases + at, created }],
        }));
    }
    let blob = |digest: &Digest| Blob {
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
        size: 1_234_567,
        diff_id: Digest::sha256(digest.as_bytes()),
        created: Some(Timestamp::ZERO),
        more: BTreeMap::new(),
    };
    let blobs = draft.layers.iter().flatten().map(|layer| (layer.blob, blob(&layer.blob))).collect();
    Cache::of(draft, blobs, &mut LeftOut::default())
}

#[test]
fn a_config_that_importers_refuse_for_its_size_is_rescued_whole() {
    let cache = large(1, 4000, 3);
    assert!(cache.write(Form::Image).config.bytes.len() > IMPORT_LIMIT);

    let (rescued, left_out) = cache.rescue(Form::Image);

    assert!(left_out.is_empty(), "{left_out}");
    assert!(rescued.manifest.bytes.len() <= IMPORT_LIMIT, "{}", rescued.manifest.bytes.len());
    let back = read(&rescued.manifest.bytes, &rescued.config.bytes);
    assert!(back.left_out.is_empty());
    assert_eq!(back.cache, cache);
}

#[test]
fn a_cache_that_fits_is_written_as_it_would_be() {
    let cache = large(1, 100, 3);

    for form in [Form::Image, Form::Index] {
        assert_eq!(cache.rescue(form), (cache.write(form), LeftOut::default()));
    }
}

#[test]
fn where_even_the_names_of_the_layers_are_too_much_the_newest_results_stay() {
    let cache = large(1, 9000, 3);

    let (rescued, left_out) = cache.rescue(Form::Index);

    assert!(rescued.manifest.bytes.len() <= IMPORT_LIMIT && rescued.manifest.bytes.len() > IMPORT_LIMIT * 9 / 10);
    let back = read(&rescued.manifest.bytes, &rescued.config.bytes).cache;
    let results = |cache: &Cache| {
        cache.config().records().iter().flat_map(|record| record.results.clone()).map(|result| result.created).collect::<Vec<_>>()
    };
    let (kept, all) = (results(&back), results(&cache));
    let lost = all.len() - kept.len();
    assert_eq!(left_out.to_string(), format!("beyond what is read or written: {lost}"));
    assert!(lost > 1000 && kept.iter().min() >= all.iter().filter(|created| !kept.contains(created)).max());
}

#[test]
fn chains_without_end_take_a_bounded_form() {
    let cache = large(1, 2000, 3000);

    let (rescued, left_out) = cache.rescue(Form::Image);

    assert!(!left_out.is_empty());
    assert!(rescued.config.bytes.len() < 16 << 20, "{}", rescued.config.bytes.len());
}

#[test]
fn the_oldest_parts_go_when_all_are_too_large_together() {
    let caches = [large(1, 100, 3), large(2, 100, 3), large(3, 100, 3)];
    let bytes = caches[0].config().to_json().len();

    for (max_bytes, count) in [(0, 1), (bytes * 5 / 2, 2), (bytes * 4, 3)] {
        assert_eq!(Cache::newest_within(&caches, max_bytes), count, "{max_bytes}");
    }
    assert_eq!(Cache::newest_within(&[], 7), 0);
}

/// `cargo test --release --lib -- --ignored --nocapture ten_caches`
#[test]
#[ignore = "a measurement, which only a release build passes"]
fn ten_caches_of_3000_records_are_united_and_rescued_in_200_ms() {
    let pushed: Vec<_> = (1..=10).map(|seed| large(seed, 3000, 10).write(Form::Image)).collect();
    for _ in 0..3 {
        let start = time_on_cpu();
        let caches: Vec<_> = pushed.iter().map(|derived| read(&derived.manifest.bytes, &derived.config.bytes).cache).collect();
        let when_read = time_on_cpu();
        let union = Cache::union(&caches);
        let when_united = time_on_cpu();
        let (derived, left_out) = union.rescue(Form::Image);
        let end = time_on_cpu();

        let megabytes = pushed.iter().map(|derived| derived.config.bytes.len()).sum::<usize>() / 1_000_000;
        println!(
            "{megabytes} MB read in {:?}, {} records united in {:?}",
            when_read - start,
            union.config().records().len(),
            when_united - when_read
        );
        println!("rescued in {:?} to {} bytes ({left_out})", end - when_united, derived.config.bytes.len());
        assert!(end - when_read <= Duration::from_millis(200), "{:?}", end - when_read);
    }
}

/// How long this thread has run: what else the machine does is not counted.
fn time_on_cpu() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(counted.split(' ').next().unwrap().parse().unwrap())
}
