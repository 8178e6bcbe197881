//! Configs that lie, and JSON that is no config.

use std::time::{Duration, Instant};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::buildkit::{CacheConfig, InvalidConfig, LeftOut, MAX_CONFIG_BYTES, Reason};
use crate::oci::Digest;

fn digest(name: &str) -> String {
    Digest::sha256(name.as_bytes()).to_string()
}

fn parse(config: &Value) -> (CacheConfig, LeftOut) {
    CacheConfig::parse(config.to_string().as_bytes()).unwrap()
}

#[test]
fn each_lie_is_left_out_and_told() {
    let layer = json!({"blob": digest("blob"), "parent": -1});
    let on = |layer: i64| json!({"layer": layer, "createdAt": "2026-11-22T04:02:41Z"});
    let root = json!({"digest": digest("root"), "layers": [on(0)]});
    for (layers, record, reason) in [
        (json!([layer, {"blob": digest("top"), "parent": 7}]), root.clone(), Reason::LayerWithoutParent),
        (json!([layer, {"blob": digest("top"), "parent": -2}]), root.clone(), Reason::LayerWithoutParent),
        (json!([layer, {"blob": digest("a"), "parent": 1}]), root.clone(), Reason::LayerWithoutParent),
        (
            json!([layer, {"blob": digest("a"), "parent": 2}, {"blob": digest("b"), "parent": 1}]),
            root.clone(),
            Reason::LayerWithoutParent,
        ),
        (json!([layer, {"blob": "sha256:short"}]), root.clone(), Reason::LayerUnreadable),
        (json!([layer, {"parent": 0}]), root.clone(), Reason::LayerUnreadable),
        (json!([layer, [digest("blob"), 0]]), root.clone(), Reason::LayerUnreadable),
        (json!([layer, {"blob": digest("a"), "parent": 1.5}]), root.clone(), Reason::LayerUnreadable),
        (json!([layer]), json!({"digest": "random:a"}), Reason::RecordUnreadable),
        (json!([layer]), json!({"layers": [on(0)]}), Reason::RecordUnreadable),
        (json!([layer]), json!("record"), Reason::RecordUnreadable),
        (json!([layer]), json!({"digest": digest("a"), "layers": [on(9)]}), Reason::ResultUnusable),
        (json!([layer]), json!({"digest": digest("a"), "layers": [on(-1)]}), Reason::ResultUnusable),
        (json!([layer]), json!({"digest": digest("a"), "layers": [{"layer": 0, "createdAt": "now"}]}), Reason::ResultUnusable),
        (json!([layer]), json!({"digest": digest("a"), "chains": [{"layers": [0, 9]}]}), Reason::ResultUnusable),
        (json!([layer]), json!({"digest": digest("a"), "chains": [{"layers": []}]}), Reason::ResultUnusable),
        (json!([layer]), json!({"digest": digest("a"), "chains": [{"layers": vec![0; 200_000]}]}), Reason::ResultUnusable),
        (json!([layer]), json!({"digest": digest("a"), "inputs": [[{"link": 9}]]}), Reason::RecordUnreachable),
        (json!([layer]), json!({"digest": digest("a"), "inputs": [[{"link": 1}]]}), Reason::RecordUnreachable),
        (json!([layer]), json!({"digest": digest("a"), "inputs": [[{"link": 0}], []]}), Reason::RecordUnreachable),
        (json!([layer]), json!({"digest": digest("a"), "inputs": [[{"link": 0}], null]}), Reason::RecordUnreachable),
        (json!([layer]), json!({"digest": digest("a"), "inputs": [[{"link": 0}, {"link": -3}]]}), Reason::LinkAstray),
        (json!([layer]), json!({"digest": digest("a"), "inputs": [[{"link": 0}, {"link": 1}]]}), Reason::LinkAstray),
    ] {
        let (config, left_out) = parse(&json!({"layers": layers, "records": [root, record]}));

        assert_eq!(left_out.iter().next().map(|(reason, _)| reason), Some(reason), "{layers} {record}: {left_out}");
        assert_eq!(config.layers().len(), 1, "{layers} {record}");
        assert_eq!(config.records()[0].results.len(), 1, "{layers} {record}");
    }
}

#[test]
fn unknown_keys_and_nothing_for_a_list_are_no_lies() {
    for config in [json!({}), json!({"layers": null, "records": null}), json!({"more": {"a": [1]}, "records": []})] {
        assert_eq!(parse(&config), Default::default(), "{config}");
    }
}

#[test]
fn what_is_no_config_at_all_is_refused() {
    for json in ["", "null", "[]", "[[],[]]", "{", "{\"layers\": 5}", "{} {}", "{\"layers\": [\"\u{1}\"]}"] {
        assert!(CacheConfig::parse(json.as_bytes()).is_err(), "{json}");
        assert!(Cache::read_s3(json.as_bytes()).is_err(), "{json}");
    }
    let long = format!("{{\"more\": \"{}\"}}", "x".repeat(MAX_CONFIG_BYTES));
    assert!(matches!(CacheConfig::parse(long.as_bytes()), Err(InvalidConfig::TooLarge(bytes)) if bytes == long.len()));
}

#[test]
fn what_is_no_manifest_of_a_cache_is_told_from_one() {
    let config = json!({"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": digest("c"), "size": 2});
    for manifest in [
        json!([]),
        json!({"config": config, "manifests": []}),
        json!({"mediaType": "application/vnd.oci.image.index.v1+json", "config": config}),
        json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "manifests": [config]}),
        json!({"config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0"}}),
        json!({"layers": []}),
    ] {
        assert_eq!(Contents::of(manifest.to_string().as_bytes()), None, "{manifest}");
    }
    let Some(Contents::Cache(cache)) =
        Contents::of(json!({"config": config, "layers": [5, {"digest": "x"}]}).to_string().as_bytes())
    else {
        panic!("descriptors of no use hide the others")
    };
    assert_eq!(cache.left_out.iter().collect::<Vec<_>>(), [(Reason::DescriptorUnusable, 2)]);
}

#[test]
fn an_image_of_other_layers_than_its_config_has_no_cache() {
    let manifest = json!({"config": {"mediaType": "a/b", "digest": digest("c"), "size": 2}, "layers": []}).to_string();
    let config = json!({"rootfs": {"diff_ids": [digest("d")]}, "moby.buildkit.cache.v0": "W10="}).to_string();

    let Some(Contents::Image(image)) = Contents::of(manifest.as_bytes()) else { panic!("no image") };

    assert!(matches!(image.read(config.as_bytes()), Err(InvalidConfig::Not(_))));
}

/// A config of `count` elements of `list`, each made by `element` of its number.
fn knotted(list: &str, count: usize, element: impl Fn(usize) -> String) -> Vec<u8> {
    let elements: Vec<_> = (0..count).map(element).collect();
    format!("{{\"{list}\":[{}]}}", elements.join(",")).into_bytes()
}

#[test]
fn as_much_as_is_read_takes_no_longer_however_it_is_knotted() {
    let (count, a) = (60_000, digest("a"));
    let record = |link: usize| format!("{{\"digest\":\"{a}\",\"inputs\":[[{{\"link\":{link}}}]]}}");
    let layer = |parent: i64| format!("{{\"blob\":\"{a}\",\"parent\":{parent}}}");
    let root = format!("{{\"digest\":\"{a}\"}}");
    for (knot, config, told) in [
        ("a circle of records", knotted("records", count, |at| record((at + 1) % count)), vec![Reason::RecordUnreachable]),
        ("a chain of records", knotted("records", count, |at| if at == 0 { root.clone() } else { record(at - 1) }), vec![]),
        ("a chain of layers", knotted("layers", count, |at| layer(at as i64 - 1)), vec![]),
        (
            "a circle of layers",
            knotted("layers", count, |at| layer((at as i64 + 1) % count as i64)),
            vec![Reason::LayerWithoutParent],
        ),
        (
            "records that are none",
            knotted("records", MAX_CONFIG_BYTES / 2 - 20, |_| "0".into()),
            vec![Reason::RecordUnreadable, Reason::TooMuch],
        ),
        (
            "records of nothing",
            knotted("records", MAX_CONFIG_BYTES / 3 - 20, |_| "{}".into()),
            vec![Reason::RecordUnreadable, Reason::TooMuch],
        ),
    ] {
        assert!(config.len() <= MAX_CONFIG_BYTES, "{knot}");
        let start = Instant::now();

        let (config, left_out) = CacheConfig::parse(&config).unwrap();

        assert_eq!(left_out.iter().map(|(reason, _)| reason).collect::<Vec<_>>(), told, "{knot}");
        assert!(start.elapsed() < Duration::from_secs(60), "{knot}: {:?}", start.elapsed());
        assert!(config.layers().len().max(config.records().len()) <= count, "{knot}");
    }
}

/// Any JSON, with the words of a cache in it.
fn anything() -> impl Strategy<Value = Value> {
    let words = vec![
        "layers",
        "records",
        "chains",
        "inputs",
        "link",
        "layer",
        "parent",
        "blob",
        "digest",
        "selector",
        "annotations",
        "manifests",
        "config",
        "mediaType",
        "size",
        "diffID",
        "createdAt",
        "rootfs",
        "diff_ids",
        "history",
        "moby.buildkit.cache.v0",
        "longshore",
    ];
    let texts = vec![
        digest("a"),
        digest("b"),
        "2026-11-22T04:02:41Z".into(),
        "application/vnd.buildkit.cacheconfig.v0".into(),
        "W10=".into(),
        String::new(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..4_i64).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(texts).prop_map(Value::from),
        ".{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(prop::sample::select(words.clone()).prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused(manifest in anything(), config in anything()) {
        let (manifest, config) = (manifest.to_string(), config.to_string());
        let cache = match Contents::of(manifest.as_bytes()) {
            Some(Contents::Cache(manifest)) => manifest.read(config.as_bytes()).ok(),
            Some(Contents::Image(manifest)) => manifest.read(config.as_bytes()).ok().flatten(),
            _ => None,
        };
        let s3 = Cache::read_s3(config.as_bytes()).map(|s3| s3.read).ok();
        for Read { cache, .. } in cache.into_iter().chain(s3) {
            imported(&cache.rescue(Form::Image).0);
        }
        let _ = CacheConfig::parse(config.as_bytes());
    }
}
