//! All samples, for programs.

use serde_json::{Value, json};

use super::{Report, Row, goals, machine};
use crate::sides::Side;

/// Every sample of every side, and what failed.
pub fn document(report: &Report) -> String {
    let failures =
        report.failures.iter().map(|failure| json!({"case": failure.case, "side": failure.side.name(), "why": failure.why}));
    let document = json!({
        "machine": machine::describe(),
        "rows": report.rows.iter().map(row).collect::<Vec<_>>(),
        "goals": goals::check(report),
        "failures": failures.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn row(row: &Row) -> Value {
    let side = |side: &Side| {
        let figures = json!({"median": row.median(*side), "samples": row.samples[side]});
        (side.name().to_owned(), figures)
    };
    json!({"row": row.name, "unit": row.unit.symbol(), "sides": row.samples.keys().map(side).collect::<serde_json::Map<_, _>>()})
}
