//! What Longshore promises of its speed, and whether it was kept in this run.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::table::significant;
use super::{Report, Unit};
use crate::sides::Side;

/// A promise: the figure of Longshore, or how many times another side's it is.
struct Goal {
    row: &'static str,
    unit: Unit,
    measure: Measure,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Measure {
    /// What Longshore has.
    Ours,
    /// Ours over that of another side.
    OursOver(Side),
    /// That of another side over ours.
    OverOurs(Side),
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use Measure::{Ours, OursOver, OverOurs};
use Side::{Direct, TypeS3};
use Unit::{Count, CpuSecondsPerGib, MegabytesPerSecond, Milliseconds, Seconds};

const fn goal(row: &'static str, unit: Unit, measure: Measure, bound: Bound) -> Goal {
    Goal { row, unit, measure, bound }
}

const GOALS: [Goal; 13] = [
    goal("new small blob, +20 ms, 1 connection", Milliseconds, OursOver(Direct), AtMost(1.4)),
    goal("new small blob, +20 ms, 4 connections", Milliseconds, OursOver(Direct), AtMost(1.4)),
    goal("re-push of a known blob after a restart, +20 ms", Milliseconds, Ours, AtMost(5.0)),
    goal("re-push of a known blob after a restart, +20 ms: LISTs for all 50", Count, Ours, AtMost(1.0)),
    goal("1 GiB push, 90 MB/s a connection, 360 MB/s in all", MegabytesPerSecond, OursOver(Direct), AtLeast(0.9)),
    goal("1 GiB pull, 90 MB/s a connection, 360 MB/s in all", MegabytesPerSecond, OursOver(Direct), AtLeast(0.9)),
    // 3.5 times one connection.
    goal("1 GiB pull, 90 MB/s a connection, 360 MB/s in all", MegabytesPerSecond, Ours, AtLeast(315.0)),
    goal("2 GB cache imported, region", Seconds, OverOurs(TypeS3), AtLeast(1.5)),
    goal("2 GB cache exported, region", Seconds, OverOurs(TypeS3), AtLeast(1.0)),
    goal("1 GiB push, no limit", MegabytesPerSecond, OursOver(Direct), AtLeast(0.75)),
    goal("1 GiB pull, no limit", MegabytesPerSecond, OursOver(Direct), AtLeast(0.55)),
    goal("processor time of 1 GiB push", CpuSecondsPerGib, Ours, AtMost(1.6)),
    goal("processor time of 1 GiB pull", CpuSecondsPerGib, Ours, AtMost(1.4)),
];

impl Goal {
    fn figure(&self, report: &Report) -> Option<f64> {
        let of = |side| report.median(self.row, self.unit, side);
        let ours = of(Side::Longshore)?;
        Some(match self.measure {
            Ours => ours,
            OursOver(side) => ours / of(side)?,
            OverOurs(side) => of(side)? / ours,
        })
    }

    fn is_met_by(&self, figure: f64) -> bool {
        match self.bound {
            AtMost(bound) => figure <= bound,
            AtLeast(bound) => figure >= bound,
        }
    }

    fn words(&self) -> String {
        let bound = match self.bound {
            AtMost(bound) => format!("at most {bound}"),
            AtLeast(bound) => format!("at least {bound}"),
        };
        match self.measure {
            Ours => format!("{}: {bound} {}", self.row, self.unit.symbol()).trim_end().to_owned(),
            OursOver(side) => format!("{}: {bound} × {}", self.row, side.name()),
            OverOurs(side) => format!("{}: {} {bound} × ours", self.row, side.name()),
        }
    }
}

/// The goals that this run says something about, in a list.
pub fn list(report: &Report) -> String {
    let mut text = String::new();
    for (goal, figure) in measured(report) {
        let outcome = if goal.is_met_by(figure) { "met" } else { "missed" };
        writeln!(text, "- {outcome}, {}: {}", goal.words(), significant(figure)).expect("a string");
    }
    text
}

/// The same for programs.
pub fn check(report: &Report) -> Vec<Value> {
    let line = |(goal, figure): (&Goal, f64)| json!({"goal": goal.words(), "figure": figure, "met": goal.is_met_by(figure)});
    measured(report).map(line).collect()
}

fn measured(report: &Report) -> impl Iterator<Item = (&'static Goal, f64)> {
    GOALS.iter().filter_map(|goal| Some((goal, goal.figure(report)?)))
}
