//! What is true of every cache there could be.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::importer::{Chain, SEEDS, answer_alike, import, import_s3, merged};
use super::made::{blob, cache, honest, lying};
use super::*;
use crate::oci::Digest;

/// Neither reading nor writing is in the way of these.
fn blobs_without_more(cache: &Cache) -> Cache {
    let mut cache = cache.clone();
    cache.blobs.values_mut().for_each(|blob| blob.more.clear());
    cache
}

/// Whether none of the chain's blobs is one of `missing`.
fn stands(chain: &Chain, missing: &[Digest]) -> bool {
    !chain.iter().any(|blob| missing.iter().any(|digest| digest.to_string() == blob[0]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_an_importer_takes_is_answered_just_so_in_every_form(pushed in honest()) {
        let original = import(&pushed.manifest, &pushed.config).unwrap();

        let cache = pushed.read().cache;

        for form in [Form::Image, Form::Index, Form::DockerList] {
            prop_assert!(answer_alike(&original, &imported(&cache.write(form))));
        }
        prop_assert!(answer_alike(&original, &imported(&cache.write_inline())));
        prop_assert!(answer_alike(&original, &import_s3(&cache.write_s3(&blob(0))).unwrap()));
    }

    #[test]
    fn of_what_lies_the_rest_is_taken_by_every_importer(pushed in lying()) {
        let cache = pushed.read().cache;

        let written = asked(&cache);

        // An importer that takes all of it has a config without circles or links astray.
        if let Ok(original) = import(&pushed.manifest, &pushed.config) {
            prop_assert!(answer_alike(&original, &written));
        }
        prop_assert!(answer_alike(&written, &imported(&cache.write_inline())));
    }

    #[test]
    fn what_is_written_reads_back_as_itself(cache in cache()) {
        for form in [Form::Image, Form::Index, Form::DockerList] {
            let derived = cache.write(form);
            let back = read(&derived.manifest.bytes, &derived.config.bytes);
            prop_assert!(back.left_out.is_empty(), "{}", back.left_out);
            prop_assert_eq!(&back.cache, &cache);
        }
        let s3 = Cache::read_s3(&cache.write_s3(&blob(0))).unwrap();
        prop_assert!(s3.read.left_out.is_empty());
        prop_assert_eq!(s3.read.cache, blobs_without_more(&cache));
        if !cache.is_empty() {
            let inline = cache.write_inline();
            prop_assert_eq!(read(&inline.manifest.bytes, &inline.config.bytes).cache, cache);
        }
    }

    #[test]
    fn a_union_answers_what_any_of_its_caches_does(caches in vec(cache(), 1..4)) {
        let union = asked(&Cache::union(&caches));

        let each: Vec<_> = caches.iter().map(asked).collect();
        for seed in 0..SEEDS {
            for asking in &each {
                let answers: Vec<_> = each.iter().map(|cache| cache.answers(asking, seed)).collect();
                let expected: Vec<_> = (0..answers[0].len()).map(|step| merged(answers.iter().map(|answer| &answer[step]))).collect();
                prop_assert_eq!(union.answers(asking, seed), expected);
            }
        }
    }

    #[test]
    fn the_union_of_unions_is_the_union_of_all(a in cache(), b in cache(), c in cache()) {
        let all = Cache::union(&[a.clone(), b.clone(), c.clone()]);

        prop_assert_eq!(&Cache::union(&[a.clone(), Cache::union(&[b.clone(), c.clone()])]), &all);
        prop_assert_eq!(&Cache::union(&[Cache::union(&[a.clone(), b.clone()]), c.clone()]), &all);
        prop_assert_eq!(Cache::union(&[all.clone(), b.clone(), all.clone()]), all.clone());
        // Who is newer matters to descriptions of blobs alone, and here they agree.
        prop_assert_eq!(Cache::union(&[c, a.clone(), b]), all);
        prop_assert_eq!(Cache::union(&[a.clone(), a.clone()]), a);
    }

    #[test]
    fn healing_takes_what_stands_on_what_is_gone_and_nothing_else(cache in cache(), gone in btree_set(0..6_u8, 0..4)) {
        let gone: Vec<_> = gone.into_iter().map(blob).collect();

        let healed = cache.heal(|digest| gone.contains(digest));

        let (before, after) = (asked(&cache), asked(&healed.cache));
        for seed in 0..SEEDS {
            let mut expected = before.answers(&before, seed);
            expected.iter_mut().for_each(|chains| chains.retain(|chain, _| stands(chain, &gone)));
            prop_assert_eq!(after.answers(&before, seed), expected);
        }
        prop_assert!(healed.missing.keys().eq(cache.blobs().keys().filter(|digest| gone.contains(digest))));
    }

    #[test]
    fn healing_twice_is_healing_once(cache in cache(), gone in btree_set(0..6_u8, 0..4), more in btree_set(0..6_u8, 0..4)) {
        let is_in = |set: &std::collections::BTreeSet<u8>, digest: &Digest| set.iter().any(|number| blob(*number) == *digest);

        let once = cache.heal(|digest| is_in(&gone, digest)).cache;

        prop_assert_eq!(&once.heal(|digest| is_in(&gone, digest)).cache, &once);
        let both = cache.heal(|digest| is_in(&gone, digest) || is_in(&more, digest)).cache;
        prop_assert_eq!(once.heal(|digest| is_in(&more, digest)).cache, both);
    }

    #[test]
    fn everything_is_said_once_and_after_what_it_refers_to(cache in cache()) {
        let config = cache.config();
        let (layers, records) = (config.layers(), config.records());

        prop_assert!((0..).zip(layers).all(|(at, layer)| layer.parent.is_none_or(|parent| parent < at)));
        prop_assert!((1..layers.len()).all(|at| !layers[..at].contains(&layers[at])));
        for (at, record) in (0_u32..).zip(records) {
            let earlier = &records[..at as usize];
            prop_assert!(!earlier.iter().any(|other| (other.digest, &other.inputs) == (record.digest, &record.inputs)));
            prop_assert!(record.inputs.iter().all(|ways| !ways.is_empty() && ways.windows(2).all(|two| two[0] < two[1])));
            prop_assert!(record.inputs.iter().flatten().all(|way| way.link < at));
            // Whoever takes the last one takes the newest.
            prop_assert!(record.results.is_sorted_by_key(|result| result.created));
        }
    }

    #[test]
    fn nothing_is_kept_that_no_build_could_use(cache in cache()) {
        let config = cache.config();
        let on_top = |layer: usize| config.layers().iter().any(|it| it.parent == Some(layer as u32));
        let is_result = |layer: usize| config.records().iter().any(|record| record.results.iter().any(|result| result.layer == layer as u32));
        let is_way = |at: usize| config.records().iter().any(|record| record.inputs.iter().flatten().any(|input| input.link == at as u32));

        prop_assert!((0..config.layers().len()).all(|layer| on_top(layer) || is_result(layer)));
        prop_assert!((0..).zip(config.records()).all(|(at, record)| is_way(at) || !record.results.is_empty()));
        prop_assert!(cache.blobs().keys().all(|digest| config.layers().iter().any(|layer| layer.blob == *digest)));
    }
}
