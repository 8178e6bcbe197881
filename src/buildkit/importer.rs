//! A model of BuildKit's importer: what a build finds in a cache.
//!
//! It reads the JSON itself, knows nothing of [`super::Cache`], and does what
//! v0.32.2 does: `cache/remotecache/import.go` (both manifest forms, the inline
//! form), `s3/s3.go` (`load`), `v1/parse.go` (what makes it refuse everything),
//! and `solver/cachemanager.go` (a step is found by its digest and, for each of
//! its inputs, one of the records that the input may come from).
//!
//! Two caches answer alike when for every step that either knows they have the
//! same chains of layers, described in the same way. A step is a record of one
//! of them with one way chosen for each input; which ones, a seed decides.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A chain of descriptors: digest, media type, size, diffID, when it was made.
pub type Chain = Vec<[String; 5]>;

/// A cache as an importer holds it.
#[derive(Debug, Default)]
pub struct Imported {
    records: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    digest: String,
    inputs: Vec<Vec<(String, usize)>>,
    /// When each chain was made.
    results: BTreeMap<Chain, String>,
}

/// Why an importer would use nothing at all.
pub type Refused = String;

type Provider = BTreeMap<String, [String; 5]>;

/// Imports what a registry has: `manifest` and the bytes of its config.
pub fn import(manifest: &[u8], config: &[u8]) -> Result<Imported, Refused> {
    let manifest = json(manifest)?;
    let all = |list: &str| manifest[list].as_array().cloned().unwrap_or_default();
    let (configs, layers): (Vec<_>, Vec<_>) =
        all("manifests").into_iter().chain(all("layers")).partition(|it| it["mediaType"] == CACHE_CONFIG);
    if configs.is_empty() && manifest["config"]["mediaType"] != CACHE_CONFIG {
        return import_inline(&layers, &json(config)?);
    }
    let provider = layers.iter().map(|layer| (text(&layer["digest"]), described(layer, &layer["annotations"])));
    parse(&json(config)?, &provider.collect())
}

/// Imports what is under `manifests/<name>` for `type=s3`.
pub fn import_s3(config: &[u8]) -> Result<Imported, Refused> {
    let config = json(config)?;
    let mut provider = Provider::new();
    for layer in config["layers"].as_array().into_iter().flatten() {
        let said = &layer["annotations"];
        if text(&said["diffID"]).is_empty() {
            return Err("cache layer with missing diffid".into());
        }
        let created = Some(text(&said["createdAt"])).filter(|created| created != "0001-01-01T00:00:00Z").unwrap_or_default();
        let blob = text(&layer["blob"]);
        provider.insert(
            blob.clone(),
            [blob, text(&said["mediaType"]), number(&said["size"], 0).to_string(), text(&said["diffID"]), created],
        );
    }
    parse(&config, &provider)
}

const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

fn json(bytes: &[u8]) -> Result<Value, Refused> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn described(layer: &Value, annotations: &Value) -> [String; 5] {
    let (diff_id, created) = (text(&annotations["containerd.io/uncompressed"]), text(&annotations["buildkit/createdat"]));
    [text(&layer["digest"]), text(&layer["mediaType"]), number(&layer["size"], 0).to_string(), diff_id, created]
}

fn import_inline(layers: &[Value], image: &Value) -> Result<Imported, Refused> {
    let diff_ids = image["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
    let Some(records) = image["moby.buildkit.cache.v0"].as_str() else { return Ok(Imported::default()) };
    if diff_ids.len() != layers.len() || layers.is_empty() {
        return Ok(Imported::default());
    }
    let records = json(&data_encoding::BASE64.decode(records.as_bytes()).map_err(|error| error.to_string())?)?;
    let history: Vec<_> =
        image["history"].as_array().into_iter().flatten().filter(|entry| entry["empty_layer"] != true).collect();
    assert!(history.len() >= layers.len(), "an importer would panic");
    let mut provider = Provider::new();
    for (at, layer) in layers.iter().enumerate() {
        let mut blob = described(layer, &layer["annotations"]);
        blob[3] = text(&diff_ids[at]);
        if let Some(created) = history[at]["created"].as_str() {
            blob[4] = created.to_owned();
        }
        provider.insert(blob[0].clone(), blob);
    }
    let linear =
        layers.iter().enumerate().map(|(at, layer)| serde_json::json!({"blob": layer["digest"], "parent": at as i64 - 1}));
    parse(&serde_json::json!({"layers": linear.collect::<Vec<_>>(), "records": records}), &provider)
}

fn parse(config: &Value, provider: &Provider) -> Result<Imported, Refused> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (layers, records) = (list(&config["layers"]), list(&config["records"]));
    let mut steps = Vec::new();
    for record in &records {
        let mut results = BTreeMap::new();
        for result in list(&record["layers"]) {
            let chain = chain(&layers, number(&result["layer"], 0), provider)?;
            note(&mut results, chain, &result);
        }
        for result in list(&record["chains"]) {
            let blobs: Result<Vec<_>, Refused> =
                list(&result["layers"]).iter().map(|at| at_layer(&layers, number(at, 0))).collect();
            let chain = blobs?.iter().map(|layer| provider.get(&text(&layer["blob"])).cloned()).collect();
            note(&mut results, chain, &result);
        }
        let ways =
            |input: &Value| list(input).iter().map(|way| (text(&way["selector"]), number(&way["link"], 0))).collect::<Vec<_>>();
        let inputs: Vec<_> = list(&record["inputs"]).iter().map(ways).collect();
        steps.push((text(&record["digest"]), inputs, results));
    }
    in_order(steps)
}

/// What is not there is 0 in Go, unless it says so.
fn number(value: &Value, missing: i64) -> i64 {
    value.as_i64().unwrap_or(missing)
}

fn note(results: &mut BTreeMap<Chain, String>, chain: Option<Chain>, result: &Value) {
    // A layer that doesn't say what it unpacks to fails the build that loads it.
    if let Some(chain) = chain.filter(|chain| chain.iter().all(|blob| !blob[3].is_empty())) {
        let created = text(&result["createdAt"]);
        let newest = results.entry(chain).or_default();
        *newest = newest.clone().max(created);
    }
}

fn at_layer(layers: &[Value], at: i64) -> Result<Value, Refused> {
    usize::try_from(at).ok().and_then(|at| layers.get(at)).cloned().ok_or_else(|| format!("invalid layer index {at}"))
}

fn chain(layers: &[Value], top: i64, provider: &Provider) -> Result<Option<Chain>, Refused> {
    let (mut chain, mut seen, mut at) = (Chain::new(), BTreeSet::new(), top);
    loop {
        if !seen.insert(at) {
            return Err("invalid looping layer".into());
        }
        let layer = at_layer(layers, at)?;
        let Some(blob) = provider.get(&text(&layer["blob"])) else { return Ok(None) };
        chain.insert(0, blob.clone());
        at = number(&layer["parent"], 0);
        if at == -1 {
            return Ok(Some(chain));
        }
    }
}

type Unordered = Vec<(String, Vec<Vec<(String, i64)>>, BTreeMap<Chain, String>)>;

/// The records with those first that others come from.
fn in_order(steps: Unordered) -> Result<Imported, Refused> {
    let mut places: Vec<Option<usize>> = vec![None; steps.len()];
    let mut records = Vec::new();
    loop {
        let mut moved = false;
        for (at, (digest, inputs, results)) in steps.iter().enumerate() {
            if places[at].is_some() {
                continue;
            }
            if inputs.iter().any(Vec::is_empty) {
                return Err(format!("invalid empty input for record {at}"));
            }
            let place = |link: &i64| usize::try_from(*link).ok().and_then(|link| places.get(link).copied().flatten());
            let ways: Option<Vec<Vec<_>>> = (inputs.iter())
                .map(|ways| ways.iter().map(|(selector, link)| Some((selector.clone(), place(link)?))).collect())
                .collect();
            if let Some(inputs) = ways {
                places[at] = Some(records.len());
                records.push(Step { digest: digest.clone(), inputs, results: results.clone() });
                moved = true;
            }
        }
        if !moved {
            let all = places.iter().all(Option::is_some);
            return if all { Ok(Imported { records }) } else { Err("looping record or invalid record ID".into()) };
        }
    }
}

impl Imported {
    /// How many records have results.
    pub fn results(&self) -> usize {
        self.records.iter().filter(|record| !record.results.is_empty()).count()
    }

    /// What `self` has for the steps of `asking`, each with the inputs that `seed` chooses.
    pub fn answers(&self, asking: &Self, seed: u64) -> Vec<BTreeMap<Chain, String>> {
        let mut found: Vec<BTreeSet<usize>> = Vec::new();
        for (at, step) in asking.records.iter().enumerate() {
            let chosen: Vec<_> =
                step.inputs.iter().enumerate().map(|(input, ways)| &ways[choice(seed, at, input, ways.len())]).collect();
            let is_found =
                |record: &Step| {
                    record.digest == step.digest
                        && record.inputs.len() == chosen.len()
                        && record.inputs.iter().zip(&chosen).all(|(ways, (selector, link))| {
                            ways.iter().any(|(own, to)| own == selector && found[*link].contains(to))
                        })
                };
            let matches = self.records.iter().enumerate().filter(|(_, record)| is_found(record)).map(|(at, _)| at).collect();
            found.push(matches);
        }
        found.iter().map(|records| merged(records.iter().map(|at| &self.records[*at].results))).collect()
    }
}

/// All chains, each with when it was last made.
pub fn merged<'a>(results: impl Iterator<Item = &'a BTreeMap<Chain, String>>) -> BTreeMap<Chain, String> {
    let mut all = BTreeMap::<Chain, String>::new();
    for (chain, created) in results.flatten() {
        let newest = all.entry(chain.clone()).or_default();
        *newest = newest.clone().max(created.clone());
    }
    all
}

/// One of `count`, always the same for the same arguments.
fn choice(seed: u64, record: usize, input: usize, count: usize) -> usize {
    let mixed = (seed ^ (record as u64) << 16 ^ (input as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 33) as usize % count
}

/// How many choices of inputs are tried.
pub const SEEDS: u64 = 4;

/// Whether the same steps are found in both, with the same layers.
pub fn answer_alike(one: &Imported, other: &Imported) -> bool {
    (0..SEEDS).all(|seed| [one, other].iter().all(|asking| one.answers(asking, seed) == other.answers(asking, seed)))
}
