//! The JSON of cache configs, as it is written and as it may be read.
//!
//! What is read is taken element by element, so that one that is no layer or
//! record costs nothing but itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::cache_config::{CacheResult, Input, InvalidConfig, Layer, MAX_CONFIG_BYTES, Record};
use super::draft::{Draft, NOWHERE, index};
use super::left_out::{LeftOut, Reason};
use super::timestamp::Timestamp;

/// Most elements of a list that are read. A layer or record has a digest, of 70
/// characters and more, so what is longer has others in it.
const MAX_ELEMENTS: usize = MAX_CONFIG_BYTES / 80;

/// Most layers that the `chains` of one config may name, counted again for each chain.
const MAX_CHAINED: usize = 1_000_000;

/// Serializes what can't fail to be.
#[allow(clippy::expect_used, reason = "lists, texts and numbers under names are JSON")]
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("values that are JSON")
}

/// A config as it is written; `A` is what is said about each layer.
#[derive(Serialize)]
pub(super) struct WireConfig<'a, A> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<WireLayer<A>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<WireRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longshore: Option<String>,
}

#[derive(Serialize)]
pub(super) struct WireLayer<A> {
    blob: String,
    #[serde(skip_serializing_if = "is_zero")]
    parent: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<A>,
}

#[derive(Serialize)]
pub(super) struct WireRecord<'a> {
    #[serde(rename = "layers", skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<WireResult>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<WireChain>,
    digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<Vec<WireInput<'a>>>,
}

#[derive(Serialize)]
pub(super) struct WireResult {
    layer: u32,
    #[serde(rename = "createdAt")]
    created: Timestamp,
}

#[derive(Serialize)]
pub(super) struct WireChain {
    pub layers: Vec<u32>,
    #[serde(rename = "createdAt")]
    pub created: Timestamp,
}

#[derive(Serialize)]
struct WireInput<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    selector: &'a str,
    link: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl<A> WireLayer<A> {
    pub fn of(layer: &Layer, annotations: Option<A>) -> Self {
        Self { blob: layer.blob.to_string(), parent: layer.parent.map_or(-1, i64::from), annotations }
    }
}

impl<'a> WireRecord<'a> {
    pub fn of(record: &'a Record) -> Self {
        let input = |input: &'a Input| WireInput { selector: &input.selector, link: input.link };
        Self {
            results: record.results.iter().map(|result| WireResult { layer: result.layer, created: result.created }).collect(),
            chains: Vec::new(),
            digest: record.digest.to_string(),
            inputs: record.inputs.iter().map(|inputs| inputs.iter().map(input).collect()).collect(),
        }
    }
}

/// A config as it is read: whatever stands in the lists.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct RawConfig<'a> {
    #[serde(borrow)]
    pub layers: Each<RawLayer<'a>>,
    #[serde(borrow)]
    pub records: Each<RawRecord<'a>>,
    #[serde(borrow)]
    pub longshore: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct RawLayer<'a> {
    #[serde(borrow)]
    pub blob: Cow<'a, str>,
    #[serde(default)]
    pub parent: i64,
    #[serde(borrow, default)]
    pub annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct RawRecord<'a> {
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(borrow, default)]
    layers: Option<Vec<RawResult<'a>>>,
    #[serde(borrow, default)]
    chains: Option<Vec<RawChain<'a>>>,
    #[serde(borrow, default)]
    inputs: Option<Vec<Option<Vec<RawInput<'a>>>>>,
}

#[derive(Deserialize)]
struct RawResult<'a> {
    #[serde(default)]
    layer: i64,
    #[serde(borrow, default, rename = "createdAt")]
    created: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawChain<'a> {
    #[serde(default)]
    layers: Option<Vec<i64>>,
    #[serde(borrow, default, rename = "createdAt")]
    created: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawInput<'a> {
    #[serde(borrow, default)]
    selector: Option<Cow<'a, str>>,
    #[serde(default)]
    link: i64,
}

/// A list, or nothing.
pub(super) struct Each<T> {
    /// The first [`MAX_ELEMENTS`]; `None` for each that is not an object like `T`.
    read: Vec<Option<T>>,
    /// How many more there are.
    beyond: usize,
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self { read: Vec::new(), beyond: 0 }
    }
}

impl<T> Each<T> {
    /// The elements that are read; the others are counted in `left_out`.
    pub fn take(self, left_out: &mut LeftOut) -> Vec<Option<T>> {
        left_out.add(Reason::TooMuch, self.beyond);
        self.read
    }

    /// The elements that could be read.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.read.iter().flatten()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EachVisitor(PhantomData))
    }
}

struct EachVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EachVisitor<T> {
    type Value = Each<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or null")
    }

    fn visit_unit<E>(self) -> Result<Each<T>, E> {
        Ok(Each::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Each<T>, A::Error> {
        let mut each = Each::default();
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if each.read.len() < MAX_ELEMENTS {
                each.read.push(object(element.get()));
            } else {
                each.beyond += 1;
            }
        }
        Ok(each)
    }
}

/// `json` as a `T`, if it is an object: serde would take a list for one, too.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok().filter(|_| json.starts_with('{'))
}

impl<'a> RawConfig<'a> {
    /// Reads `json` as a config, of which each element may still be anything.
    pub fn read(json: &'a [u8]) -> Result<Self, InvalidConfig> {
        read_json(json, b'{', "an object")
    }

    /// What of it makes sense by itself.
    pub fn draft(self, left_out: &mut LeftOut) -> Draft {
        let layers: Vec<_> = self.layers.take(left_out).iter().map(|layer| layer.as_ref().and_then(RawLayer::layer)).collect();
        left_out.add(Reason::LayerUnreadable, layers.iter().filter(|layer| layer.is_none()).count());
        draft(layers, self.records, left_out)
    }
}

/// `json`, if it is not too long and begins with `first`, which makes it `what`.
pub(super) fn read_json<'a, T: Deserialize<'a>>(json: &'a [u8], first: u8, what: &'static str) -> Result<T, InvalidConfig> {
    if json.len() > MAX_CONFIG_BYTES {
        return Err(InvalidConfig::TooLarge(json.len()));
    }
    if json.trim_ascii_start().first() != Some(&first) {
        return Err(InvalidConfig::Not(what));
    }
    Ok(serde_json::from_slice(json)?)
}

/// A draft of `layers` and `records`; records whose results are chains get the layers that these need.
pub(super) fn draft(layers: Vec<Option<Layer>>, records: Each<RawRecord<'_>>, left_out: &mut LeftOut) -> Draft {
    let mut chains = Chains { named: layers.len(), layers, known: HashMap::new(), room: MAX_CHAINED };
    let records: Vec<_> = records.take(left_out).into_iter().map(|record| record?.record(&mut chains, left_out)).collect();
    left_out.add(Reason::RecordUnreadable, records.iter().filter(|record| record.is_none()).count());
    Draft { layers: chains.layers, records }
}

impl RawLayer<'_> {
    pub fn layer(&self) -> Option<Layer> {
        let parent = if self.parent == -1 { None } else { Some(place(self.parent)) };
        Some(Layer { blob: self.blob.parse().ok()?, parent })
    }
}

/// A place in a list that somebody claims.
fn place(claimed: i64) -> u32 {
    u32::try_from(claimed).unwrap_or(NOWHERE)
}

impl RawRecord<'_> {
    fn record(self, chains: &mut Chains, left_out: &mut LeftOut) -> Option<Record> {
        let results = self.layers.into_iter().flatten().map(|result| result.result());
        let chained = self.chains.into_iter().flatten().map(|chain| chain.result(chains, left_out));
        let results: Vec<_> = results.chain(chained).collect();
        let (found, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Option::is_some);
        left_out.add(Reason::ResultUnusable, lost.len());
        let inputs = self.inputs.into_iter().flatten();
        Some(Record {
            digest: self.digest.parse().ok()?,
            inputs: inputs.map(|inputs| inputs.into_iter().flatten().map(RawInput::input).collect()).collect(),
            results: found.into_iter().flatten().collect(),
        })
    }
}

/// A time that is missing is Go's zero time; one that is none makes importers refuse everything.
fn created(claimed: Option<&str>) -> Option<Timestamp> {
    claimed.map_or(Some(Timestamp::ZERO), |text| text.parse().ok())
}

impl RawResult<'_> {
    fn result(&self) -> Option<CacheResult> {
        Some(CacheResult { layer: place(self.layer), created: created(self.created.as_deref())? })
    }
}

impl RawChain<'_> {
    fn result(&self, chains: &mut Chains, left_out: &mut LeftOut) -> Option<CacheResult> {
        let layers = self.layers.as_deref().unwrap_or_default();
        let created = created(self.created.as_deref())?;
        if layers.len() > chains.room {
            left_out.add(Reason::TooMuch, 1);
            return None;
        }
        chains.room -= layers.len();
        Some(CacheResult { layer: chains.top(layers)?, created })
    }
}

impl RawInput<'_> {
    fn input(self) -> Input {
        Input { link: place(self.link), selector: self.selector.unwrap_or_default().into() }
    }
}

/// Makes layers of chains, which name blobs by the config's own layers, whatever their parents.
struct Chains {
    /// How many layers the config itself has.
    named: usize,
    layers: Vec<Option<Layer>>,
    known: HashMap<Layer, u32>,
    /// How many layers may still be named.
    room: usize,
}

impl Chains {
    /// The last layer of a chain; `None` if there is none, or a layer it names is not there.
    fn top(&mut self, chain: &[i64]) -> Option<u32> {
        // Those that chains make are as many as a config could list, and no more.
        if self.layers.len() - self.named + chain.len() > MAX_ELEMENTS {
            return None;
        }
        let mut top = None;
        for at in chain {
            let blob = self.layers[..self.named].get(usize::try_from(*at).ok()?)?.as_ref()?.blob;
            let layer = Layer { blob, parent: top };
            let next = index(self.layers.len());
            let place = *self.known.entry(layer).or_insert(next);
            if place == next {
                self.layers.push(Some(layer));
            }
            top = Some(place);
        }
        top
    }
}
