//! What came out, and how it is shown.

mod bars;
mod goals;
mod json;
mod machine;
mod pictures;
mod readme;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::sides::Side;

/// One figure of one side.
#[derive(Clone, Debug)]
pub struct Reading {
    pub row: String,
    pub unit: Unit,
    pub value: f64,
}

impl Reading {
    pub fn new(row: &str, unit: Unit, value: f64) -> Self {
        Self { row: row.to_owned(), unit, value }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    Milliseconds,
    Seconds,
    MegabytesPerSecond,
    Megabytes,
    CpuSecondsPerGib,
    Count,
    /// Asked of the store.
    Requests,
    /// What these cost when they are made a thousand times.
    DollarsPerThousand,
}

impl Unit {
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Megabytes => "MB",
            Self::CpuSecondsPerGib => "s/GiB",
            Self::Count => "",
            Self::Requests => "requests",
            Self::DollarsPerThousand => "dollars per thousand",
        }
    }
}

/// All figures so far.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were first read.
    rows: Vec<Row>,
    failures: Vec<Failure>,
}

/// The same figure of all sides.
#[derive(Debug)]
struct Row {
    name: String,
    unit: Unit,
    samples: BTreeMap<Side, Vec<f64>>,
}

/// A side that could not be measured once.
#[derive(Debug)]
struct Failure {
    case: &'static str,
    side: Side,
    why: String,
}

impl Report {
    pub fn add(&mut self, side: Side, readings: Vec<Reading>) {
        for reading in readings {
            let known = self.rows.iter().position(|row| row.name == reading.row && row.unit == reading.unit);
            let index = known.unwrap_or_else(|| {
                self.rows.push(Row { name: reading.row, unit: reading.unit, samples: BTreeMap::new() });
                self.rows.len() - 1
            });
            self.rows[index].samples.entry(side).or_default().push(reading.value);
        }
    }

    pub fn add_failure(&mut self, case: &'static str, side: Side, why: String) {
        self.failures.push(Failure { case, side, why });
    }

    pub fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// The whole report, to be read.
    pub fn markdown(&self) -> String {
        [table::figures(self), table::requests(self), goals::list(self), table::foot(self)].join("\n")
    }

    /// Puts the report into `folder`: to be read, for programs, and as pictures.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let links = pictures::links(Path::new(""));
        fs::write(folder.join("peers.md"), format!("# Longshore beside its peers\n\n{links}\n{}", self.markdown()))?;
        fs::write(folder.join("peers.json"), json::document(self))?;
        pictures::draw(self, folder)
    }

    /// Puts what a reader wants to know first into the README of the project at `root`; the pictures are in `folder` of it.
    pub fn write_to_readme(&self, root: &Path, folder: &Path) -> io::Result<()> {
        let part = [pictures::links(folder), table::figures(self), table::requests(self), table::foot(self)].join("\n");
        readme::update(&root.join("README.md"), &part)
    }

    fn row(&self, name: &str, unit: Unit) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name && row.unit == unit)
    }

    /// The median of what `side` has in a row, if it was measured.
    fn median(&self, name: &str, unit: Unit, side: Side) -> Option<f64> {
        self.row(name, unit)?.median(side)
    }
}

impl Row {
    fn median(&self, side: Side) -> Option<f64> {
        let mut samples = self.samples.get(&side)?.clone();
        samples.sort_by(f64::total_cmp);
        let middle = samples.len() / 2;
        let is_even = samples.len().is_multiple_of(2);
        Some(if is_even { f64::midpoint(samples[middle - 1], samples[middle]) } else { samples[middle] })
    }
}
