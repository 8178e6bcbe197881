//! The part of the README that is written by this benchmark.

use std::fs;
use std::io;
use std::path::Path;

/// The lines between which the part lies.
const BEGIN: &str = "<!-- tests/bench/run writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// Puts `part` into the file at `path`, in place of what was there; a file without a place for it is left as it is.
pub fn update(path: &Path, part: &str) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    match splice(&text, part) {
        Some(new) => fs::write(path, new),
        None => Ok(()),
    }
}

fn splice(text: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{part}\n{END}{after}"))
}
