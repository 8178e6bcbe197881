//! Which things can be had, when each is made of others.
//!
//! Layers are made of a parent; records of inputs, each of which may be had in
//! one of several ways. What is read may lie: lead nowhere, or in a circle. A
//! thing can be had if for each of its parts there is a way to something that
//! can be had; ways are then given up until nothing leads back to itself.

use std::collections::BTreeSet;

/// One way to have one part of a thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The thing.
    pub of: u32,
    /// Which of its parts, counted from 0.
    pub part: u32,
    /// What the part may be; perhaps nothing that there is.
    pub to: u32,
}

/// How far each thing is from those made of nothing, by its longest way;
/// `None` for what can't be had.
///
/// `parts` is how many parts each has, `None` for what is out of the question.
/// A way is to be kept if it leads from a level to a lower one. Takes time and
/// memory in proportion to what is given, and a logarithm for what is in circles.
pub(super) fn levels(parts: &[Option<u32>], ways: &[Way]) -> Vec<Option<u32>> {
    let is_thing = |index: u32| parts.get(index as usize).is_some_and(Option::is_some);
    let ways: Vec<Way> = ways.iter().filter(|way| is_thing(way.to)).copied().collect();
    let mut making = Making::of(parts, &ways);
    while let Some(thing) = making.next() {
        for at in making.uses[thing as usize]..making.uses[thing as usize + 1] {
            let way = making.by_use[at as usize];
            making.offer(way);
        }
    }
    making.levels
}

/// Things being made of others, one after the other.
struct Making {
    levels: Vec<Option<u32>>,
    /// The level each would have at least.
    at_least: Vec<u32>,
    /// How many ways from each are not yet known to lead anywhere.
    waiting: Vec<u32>,
    /// How many parts of each have no way yet.
    lacking: Vec<u32>,
    /// Where each one's parts begin in `had`.
    parts: Vec<usize>,
    had: Vec<bool>,
    /// Where the ways to each begin in `by_use`.
    uses: Vec<u32>,
    by_use: Vec<Way>,
    /// What has all its ways.
    ready: Vec<u32>,
    /// What has a way for each part and may still get others: the first is taken when nothing is ready.
    enough: BTreeSet<u32>,
}

impl Making {
    fn of(parts: &[Option<u32>], ways: &[Way]) -> Self {
        let (uses, by_use) = by_use(parts.len(), ways);
        let mut waiting = vec![0; parts.len()];
        for way in ways {
            waiting[way.of as usize] += 1;
        }
        let mut starts = vec![0];
        for count in parts {
            starts.push(starts[starts.len() - 1] + count.unwrap_or(0) as usize);
        }
        let had = vec![false; starts[parts.len()]];
        let made_of_nothing = (0..).zip(parts).filter(|(_, count)| **count == Some(0)).map(|(thing, _)| thing).collect();
        Self {
            levels: vec![None; parts.len()],
            at_least: vec![0; parts.len()],
            waiting,
            lacking: parts.iter().map(|count| count.unwrap_or(u32::MAX)).collect(),
            parts: starts,
            had,
            uses,
            by_use,
            ready: made_of_nothing,
            enough: BTreeSet::new(),
        }
    }

    /// The next thing that can be had, now on its level.
    fn next(&mut self) -> Option<u32> {
        let thing = self.ready.pop().or_else(|| self.enough.pop_first())?;
        self.levels[thing as usize] = Some(self.at_least[thing as usize]);
        Some(thing)
    }

    /// Tells what `way` is from that what it leads to can be had.
    fn offer(&mut self, way: Way) {
        let (of, to) = (way.of as usize, way.to as usize);
        if self.levels[of].is_some() {
            return;
        }
        self.at_least[of] = self.at_least[of].max(self.levels[to].map_or(0, |level| level + 1));
        self.waiting[of] -= 1;
        let part = self.parts[of] + way.part as usize;
        if !std::mem::replace(&mut self.had[part], true) {
            self.lacking[of] -= 1;
        }
        match (self.lacking[of], self.waiting[of]) {
            (0, 0) => {
                self.enough.remove(&way.of);
                self.ready.push(way.of);
            }
            (0, _) => drop(self.enough.insert(way.of)),
            _ => {}
        }
    }
}

/// `ways` by what they lead to, and where those to each of `count` things begin.
fn by_use(count: usize, ways: &[Way]) -> (Vec<u32>, Vec<Way>) {
    let mut sorted = ways.to_vec();
    sorted.sort_by_key(|way| way.to);
    let mut starts = vec![0; count + 1];
    for way in ways {
        starts[way.to as usize + 1] += 1;
    }
    for at in 0..count {
        starts[at + 1] += starts[at];
    }
    (starts, sorted)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type Things = Vec<Vec<Vec<u32>>>;

    fn ways_of(things: &Things) -> Vec<Way> {
        let mut ways = Vec::new();
        for (of, parts) in (0..).zip(things) {
            for (part, alternatives) in (0..).zip(parts) {
                ways.extend(alternatives.iter().map(|to| Way { of, part, to: *to }));
            }
        }
        ways
    }

    fn levels_of(things: &Things) -> Vec<Option<u32>> {
        let parts: Vec<_> = things.iter().map(|parts| Some(parts.len() as u32)).collect();
        levels(&parts, &ways_of(things))
    }

    #[test]
    fn a_level_is_the_longest_way_to_what_is_made_of_nothing() {
        for (things, expected) in [
            (vec![vec![], vec![vec![0]], vec![vec![0, 1]]], vec![Some(0), Some(1), Some(2)]),
            (vec![vec![vec![1]], vec![vec![2]], vec![]], vec![Some(2), Some(1), Some(0)]),
            // Leads nowhere: to itself, out of range, or nothing for a part.
            (vec![vec![vec![0]], vec![vec![9]], vec![vec![]], vec![vec![2]]], vec![None, None, None, None]),
            // A circle that has a way in from outside is cut, and a thing in it that hasn't is found from there.
            (vec![vec![], vec![vec![0, 2]], vec![vec![1]]], vec![Some(0), Some(1), Some(2)]),
            // Part 1 has none, whatever part 0 has.
            (vec![vec![], vec![vec![0], vec![1]]], vec![Some(0), None]),
        ] {
            assert_eq!(levels_of(&things), expected, "{things:?}");
        }
    }

    #[test]
    fn a_long_chain_and_a_long_circle_are_no_trouble() {
        let count = 200_000;
        let chain: Things = (0..count).map(|at| if at == 0 { vec![] } else { vec![vec![at - 1]] }).collect();
        assert_eq!(levels_of(&chain)[count as usize - 1], Some(count - 1));

        let circle: Things = (0..count).map(|at| vec![vec![(at + 1) % count]]).collect();
        assert!(levels_of(&circle).iter().all(Option::is_none));
    }

    proptest! {
        #[test]
        fn what_can_be_had_has_a_lower_way_for_each_part_and_nothing_else_can(things in vec(vec(vec(0..9_u32, 0..3), 0..3), 0..8)) {
            let levels = levels_of(&things);

            let level = |to: u32| levels.get(to as usize).copied().flatten();
            for (thing, parts) in things.iter().enumerate() {
                if let Some(own) = levels[thing] {
                    prop_assert!(parts.iter().all(|ways| ways.iter().any(|to| level(*to).is_some_and(|level| level < own))));
                } else {
                    prop_assert!(parts.iter().any(|ways| ways.iter().all(|to| level(*to).is_none())));
                }
            }
        }
    }
}
