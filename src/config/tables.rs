//! Tables that people fill as they like, where the table of settings has no rows for: as they stand in the file.

use std::collections::BTreeMap;

use super::layers::{EMPTY, Word};
use super::problem::{Place, Problems, did_you_mean, nearest};
use crate::access::TextPattern;

/// Users with what their passwords hash to.
pub const USERS: &str = "access.users";

/// Groups with the users in them.
pub const GROUPS: &str = "access.groups";

/// Who may do what.
pub const GRANTS: &str = "access.grants";

/// CI systems that vouch for jobs.
pub const ISSUERS: &str = "access.issuers";

/// How the clients of listeners are greeted: each with the listener's address.
pub const LISTENER_TLS: &str = "server.listeners.tls";

/// All of them that stand by themselves, and whether each is a list of tables.
pub const TABLES: &[(&str, bool)] = &[(USERS, false), (GROUPS, false), (ISSUERS, true), (GRANTS, true)];

/// The rows of those tables that are stated; one, or one for each table of a list.
pub type Tables = BTreeMap<&'static str, Vec<Row>>;

/// A table.
#[derive(Clone)]
pub struct Row {
    /// Where it stands.
    pub place: Place,
    /// Its keys, with where each stands.
    pub cells: Vec<(String, Place, Cell)>,
}

/// What stands at a key. It may be a secret, so it has no `Debug`.
#[derive(Clone)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A list of texts.
    List(Vec<Word>),
    /// A table.
    Table(Row),
    /// Something else: what, in words.
    Other(&'static str),
}

/// The rows of a table, if it is stated.
pub fn rows<'a>(tables: &'a Tables, name: &str) -> &'a [Row] {
    tables.get(name).map_or(&[], Vec::as_slice)
}

impl Row {
    /// What stands at a key, and where.
    pub fn cell(&self, key: &str) -> Option<(&Place, &Cell)> {
        self.cells.iter().find(|(known, ..)| known == key).map(|(_, place, cell)| (place, cell))
    }

    /// Whether it has the key.
    pub fn has(&self, key: &str) -> bool {
        self.cell(key).is_some()
    }

    /// The place of a key, or of the whole where it has none.
    pub fn place_of(&self, key: &str) -> &Place {
        self.cell(key).map_or(&self.place, |(place, _)| place)
    }

    /// Tells of keys other than those that are `known`.
    pub fn refuse_others(&self, known: &[&str], problems: &mut Problems) {
        for (key, place, _) in self.cells.iter().filter(|(key, ..)| !known.contains(&key.as_str())) {
            let meant = did_you_mean(nearest(key, known.iter().copied()));
            problems.push(place.clone(), format!("there is no such key{meant}"));
        }
    }

    /// The text at `key`, if it is there; what is none, and that it is empty, is told.
    pub fn text(&self, key: &str, problems: &mut Problems) -> Option<Word> {
        let (place, cell) = self.cell(key)?;
        let word = text(place, cell, problems)?;
        if word.text.is_empty() { told(problems, place, EMPTY) } else { Some(word) }
    }

    /// The texts at `key`, as `parse` reads them; what it refuses is told, and that there are none.
    pub fn list<T, E: ToString>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
        problems: &mut Problems,
    ) -> Option<Vec<T>> {
        let (place, cell) = self.cell(key)?;
        let words = match cell {
            Cell::List(words) if words.is_empty() => {
                problems.push(place.clone(), "is empty; name at least one");
                return None;
            }
            Cell::List(words) => words,
            Cell::Text(_) => return told(problems, place, "must be a list of texts, not a text"),
            Cell::Table(_) => return told(problems, place, "must be a list of texts, not a table"),
            Cell::Other(what) => return told(problems, place, &format!("must be a list of texts, not {what}")),
        };
        let mut read = Vec::new();
        for Word { text, place } in words {
            match parse(text) {
                Ok(value) => read.push(value),
                Err(error) => problems.push(place.clone(), format!("{text:?}: {}", error.to_string())),
            }
        }
        (read.len() == words.len()).then_some(read)
    }

    /// The texts at `key`, which may be one by itself; what is neither is told, and that there are none.
    pub fn several(&self, key: &str, problems: &mut Problems) -> Option<Vec<String>> {
        match self.cell(key)? {
            (_, Cell::Text(_)) => Some(vec![self.text(key, problems)?.text]),
            (_, Cell::List(_)) => self.list(key, |text| if text.is_empty() { Err(EMPTY) } else { Ok(text.to_owned()) }, problems),
            (place, Cell::Table(_)) => told(problems, place, "must be a text or a list of texts, not a table"),
            (place, Cell::Other(what)) => told(problems, place, &format!("must be a text or a list of texts, not {what}")),
        }
    }

    /// All keys with the patterns at them; what is none is told, and then there are none.
    pub fn patterns(&self, problems: &mut Problems) -> Option<BTreeMap<&str, TextPattern>> {
        let words = self.texts(problems);
        let mut patterns = BTreeMap::new();
        for (key, Word { text, place }) in words {
            match TextPattern::on_claim(&text) {
                Ok(pattern) => drop(patterns.insert(key, pattern)),
                Err(error) => problems.push(place, format!("{text:?}: {error}")),
            }
        }
        (patterns.len() == self.cells.len()).then_some(patterns)
    }

    /// What stands at `key`, if it is a table; what is none is told.
    pub fn table(&self, key: &str) -> Option<&Self> {
        match self.cell(key)? {
            (_, Cell::Table(row)) => Some(row),
            _ => None,
        }
    }

    /// All keys with their texts; what is no text is told.
    pub fn texts(&self, problems: &mut Problems) -> Vec<(&str, Word)> {
        let words = self.cells.iter().filter_map(|(key, place, cell)| Some((key.as_str(), text(place, cell, problems)?)));
        words.collect()
    }
}

fn text(place: &Place, cell: &Cell, problems: &mut Problems) -> Option<Word> {
    let what = match cell {
        Cell::Text(text) => return Some(Word { text: text.clone(), place: place.clone() }),
        Cell::List(_) => "a list",
        Cell::Table(_) => "a table",
        Cell::Other(what) => what,
    };
    told(problems, place, &format!("must be a text, not {what}"))
}

fn told<T>(problems: &mut Problems, place: &Place, message: &str) -> Option<T> {
    problems.push(place.clone(), message);
    None
}
