//! A cache config before it is believed, and how it gets its one form.
//!
//! In that form everything is made only of what stands before it; layers are
//! sorted by how deep they are, their blob and their parent; records by how far
//! they are from a source, their digest and their inputs; and what is the same
//! stands there once. So it depends on what was said, not on who said it or in
//! which order, and the union of such forms is associative.

use std::mem;

use super::cache_config::{CacheConfig, Layer, Record};
use super::left_out::{LeftOut, Reason};
use super::order::{Way, levels};

/// Stands for what is not there: no list is so long.
pub(super) const NOWHERE: u32 = u32::MAX;

/// Layers and records that may refer to what is not there, or to each other in circles;
/// `None` where something stood that is of no use.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub layers: Vec<Option<Layer>>,
    pub records: Vec<Option<Record>>,
}

impl Draft {
    /// What of it can be used, in its one form; the rest is counted in `left_out`.
    pub fn settle(self, left_out: &mut LeftOut) -> CacheConfig {
        let (layers, moved) = settle_layers(self.layers, left_out);
        let records = settle_records(self.records, &moved, left_out);
        CacheConfig { layers, records }
    }

    /// Adds the layers and records of `config` to those that are there.
    pub fn append(&mut self, config: &CacheConfig) {
        let (first_layer, first_record) = (index(self.layers.len()), index(self.records.len()));
        self.layers
            .extend(config.layers.iter().map(|layer| Some(Layer { parent: layer.parent.map(|at| at + first_layer), ..*layer })));
        self.records.extend(config.records.iter().map(|record| {
            let mut record = record.clone();
            record.inputs.iter_mut().flatten().for_each(|input| input.link += first_record);
            record.results.iter_mut().for_each(|result| result.layer += first_layer);
            Some(record)
        }));
    }
}

/// A place in a list, as it is written in a config.
pub(super) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NOWHERE)
}

fn settle_layers(layers: Vec<Option<Layer>>, left_out: &mut LeftOut) -> (Vec<Layer>, Vec<u32>) {
    let parts: Vec<_> = layers.iter().map(|layer| layer.as_ref().map(|layer| u32::from(layer.parent.is_some()))).collect();
    let ways = (0..).zip(&layers).filter_map(|(of, layer)| Some(Way { of, part: 0, to: layer.as_ref()?.parent? }));
    let levels = levels(&parts, &ways.collect::<Vec<_>>());
    left_out.add(Reason::LayerWithoutParent, lost(&parts, &levels));

    let (mut settled, mut moved) = (Vec::<Layer>::new(), vec![NOWHERE; layers.len()]);
    for level in by_level(&levels) {
        let first = settled.len();
        let place = |at: u32| {
            layers[at as usize].map(|layer| Layer { parent: layer.parent.map(|parent| moved[parent as usize]), ..layer })
        };
        let mut level: Vec<_> = level.into_iter().filter_map(|at| Some((place(at)?, at))).collect();
        level.sort_unstable();
        for (layer, at) in level {
            if settled.len() == first || settled.last() != Some(&layer) {
                settled.push(layer);
            }
            moved[at as usize] = index(settled.len() - 1);
        }
    }
    (settled, moved)
}

fn settle_records(mut records: Vec<Option<Record>>, layers: &[u32], left_out: &mut LeftOut) -> Vec<Record> {
    let parts: Vec<_> = records.iter().map(|record| record.as_ref().map(|record| index(record.inputs.len()))).collect();
    let levels = levels(&parts, &ways(&records));
    left_out.add(Reason::RecordUnreachable, lost(&parts, &levels));

    let (mut settled, mut moved) = (Vec::<Record>::new(), vec![NOWHERE; records.len()]);
    for level in by_level(&levels) {
        let first = settled.len();
        let mut level: Vec<_> = level.into_iter().filter_map(|at| Some((records[at as usize].take()?, at))).collect();
        for (record, at) in &mut level {
            let own = levels[*at as usize];
            let keeps = |link: u32| levels.get(link as usize).is_some_and(|level| level.is_some() && *level < own);
            settle_inputs(record, keeps, &moved, left_out);
            settle_results(record, layers, left_out);
        }
        level.sort_unstable_by(|(one, _), (other, _)| one.key().cmp(&other.key()));
        for (record, at) in level {
            match settled[first..].last_mut() {
                Some(last) if last.key() == record.key() => last.results.extend(record.results),
                _ => settled.push(record),
            }
            moved[at as usize] = index(settled.len() - 1);
        }
    }
    settled.iter_mut().for_each(sort_results);
    settled
}

fn ways(records: &[Option<Record>]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (of, record) in (0..).zip(records) {
        for (part, inputs) in (0..).zip(record.iter().flat_map(|record| &record.inputs)) {
            ways.extend(inputs.iter().map(|input| Way { of, part, to: input.link }));
        }
    }
    ways
}

/// Puts a record's links to where those records are now, in order and each once.
fn settle_inputs(record: &mut Record, keeps: impl Fn(u32) -> bool, moved: &[u32], left_out: &mut LeftOut) {
    for inputs in &mut record.inputs {
        let before = inputs.len();
        inputs.retain(|input| keeps(input.link));
        left_out.add(Reason::LinkAstray, before - inputs.len());
        inputs.iter_mut().for_each(|input| input.link = moved[input.link as usize]);
        inputs.sort_unstable();
        inputs.dedup();
    }
}

/// Puts a record's results on where their layers are now.
fn settle_results(record: &mut Record, moved: &[u32], left_out: &mut LeftOut) {
    let before = record.results.len();
    let layer = |at: u32| moved.get(at as usize).copied().unwrap_or(NOWHERE);
    record.results.retain(|result| layer(result.layer) != NOWHERE);
    record.results.iter_mut().for_each(|result| result.layer = layer(result.layer));
    left_out.add(Reason::ResultUnusable, before - record.results.len());
}

/// The newest last, each layer once: BuildKit before v0.21 takes the last, the newer ones look at the time.
fn sort_results(record: &mut Record) {
    record.results.sort_unstable_by(|one, other| one.layer.cmp(&other.layer).then(other.created.cmp(&one.created)));
    record.results.dedup_by_key(|result| result.layer);
    record.results.sort_unstable_by_key(|result| (result.created, result.layer));
}

/// How many things there were that can't be had.
fn lost(parts: &[Option<u32>], levels: &[Option<u32>]) -> usize {
    parts.iter().zip(levels).filter(|(parts, level)| parts.is_some() && level.is_none()).count()
}

/// The things of each level, from the lowest.
fn by_level(levels: &[Option<u32>]) -> Vec<Vec<u32>> {
    let count = levels.iter().flatten().max().map_or(0, |level| *level as usize + 1);
    let mut things = vec![Vec::new(); count];
    for (thing, level) in (0..).zip(levels) {
        if let Some(level) = level {
            things[*level as usize].push(thing);
        }
    }
    things
}

impl CacheConfig {
    /// Without records that lead to no result and layers that no result needs.
    ///
    /// What is left keeps its order, so the form stays the one it is.
    pub(super) fn strip(mut self) -> Self {
        let mut needed = vec![false; self.records.len()];
        let mut used = vec![false; self.layers.len()];
        for at in (0..self.records.len()).rev() {
            let record = &self.records[at];
            needed[at] |= !record.results.is_empty();
            if needed[at] {
                record.inputs.iter().flatten().for_each(|input| needed[input.link as usize] = true);
            }
            record.results.iter().for_each(|result| used[result.layer as usize] = true);
        }
        for at in (0..self.layers.len()).rev() {
            if let Some(parent) = self.layers[at].parent.filter(|_| used[at]) {
                used[parent as usize] = true;
            }
        }
        self.keep(&needed, &used);
        self
    }

    fn keep(&mut self, records: &[bool], layers: &[bool]) {
        let (new_record, new_layer) = (places(records), places(layers));
        let (mut kept_layers, mut kept_records) = (layers.iter(), records.iter());
        self.layers.retain(|_| kept_layers.next() == Some(&true));
        self.layers.iter_mut().filter_map(|layer| layer.parent.as_mut()).for_each(|parent| *parent = new_layer[*parent as usize]);
        self.records.retain(|_| kept_records.next() == Some(&true));
        for record in &mut self.records {
            record.inputs.iter_mut().flatten().for_each(|input| input.link = new_record[input.link as usize]);
            record.results.iter_mut().for_each(|result| result.layer = new_layer[result.layer as usize]);
        }
    }
}

/// Where each that is kept will be when the others are gone.
fn places(kept: &[bool]) -> Vec<u32> {
    let before = kept.iter().scan(0, |count, kept| Some(mem::replace(count, *count + u32::from(*kept))));
    before.collect()
}
