//! The tables, in Markdown.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Report, Row, Unit, machine};
use crate::sides::Side;

/// Everything but requests: what each side took, and how often that is what we took.
pub fn figures(report: &Report) -> String {
    let rows: Vec<_> = report.rows.iter().filter(|row| !matches!(row.unit, Unit::Requests | Unit::DollarsPerThousand)).collect();
    table(&rows, |row, side| {
        let value = row.median(side)?;
        let ratio = row.median(Side::Longshore).filter(|&ours| side != Side::Longshore && ours > 0.0).map(|ours| value / ours);
        let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({} ×)", significant(ratio)));
        Some(format!("{} {}", significant(value), row.unit.symbol()).trim_end().to_owned() + &ratio)
    })
}

/// What each side asked of the store, and what S3 takes for that.
pub fn requests(report: &Report) -> String {
    let rows: Vec<_> = report.rows.iter().filter(|row| row.unit == Unit::Requests).collect();
    let requests = table(&rows, |row, side| {
        let dollars = report.median(&row.name, Unit::DollarsPerThousand, side)?;
        Some(format!("{} · ${}", significant(row.median(side)?), significant(dollars)))
    });
    format!("Requests to the bucket · what S3 takes for a thousand of the row:\n\n{requests}")
}

fn table(rows: &[&Row], cell: impl Fn(&Row, Side) -> Option<String>) -> String {
    let present: BTreeSet<_> = rows.iter().flat_map(|row| row.samples.keys().copied()).collect();
    let sides: Vec<_> = Side::ALL.into_iter().filter(|side| present.contains(side)).collect();
    let mut text = String::from("| |");
    for side in &sides {
        write!(text, " {} |", side.name()).expect("a string");
    }
    writeln!(text, "\n|---|{}", "---|".repeat(sides.len())).expect("a string");
    for row in rows {
        write!(text, "| {} |", row.name).expect("a string");
        for &side in &sides {
            write!(text, " {} |", cell(row, side).as_deref().unwrap_or("–")).expect("a string");
        }
        text.push('\n');
    }
    text
}

/// What went wrong, and where and how all this was measured.
pub fn foot(report: &Report) -> String {
    let mut text = String::new();
    for failure in &report.failures {
        let why = failure.why.lines().next().unwrap_or_default();
        writeln!(text, "- {}, {}: failed: {why}", failure.case, failure.side.name()).expect("a string");
    }
    let runs = report.rows.iter().flat_map(|row| row.samples.values().map(Vec::len));
    let (fewest, most) = (runs.clone().min().unwrap_or(0), runs.max().unwrap_or(0));
    writeln!(
        text,
        "\nMedians of {fewest} to {most} samples, sides in turn; × is times what Longshore has. Small blob: 200 kB, with BuildKit's \
         request sequence; its direct S3 is one PutObject. Region: +20 ms for each request to the store, 90 MB/s a connection, \
         360 MB/s in all. Store: MinIO, on the same machine as everything else: {}. Prices: S3 Standard in us-east-1.",
        machine::describe()
    )
    .expect("a string");
    text
}

/// `value` with the digits that count: three, all before the point, none after it that say nothing.
pub fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        value if value >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}
