//! What is wrong with a configuration: everything at once, by the names its author typed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::setting::Setting;

/// Where something was stated, as its author would name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    origin: Origin,
    name: String,
    /// Line and column of the file, counted from 1.
    position: Option<(usize, Option<usize>)>,
    /// Whether everybody on this machine can read it there.
    is_exposed: bool,
}

/// What a person would open to change something; in the order in which problems are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Flags and the store's word.
    CommandLine,
    /// Variables.
    Environment,
    /// The file of this name.
    File(Arc<str>),
    /// Nothing: it was left out.
    Unstated,
}

impl Place {
    /// A flag as it is typed, dashes included, or an argument by its name in the usage.
    pub fn flag(name: &str) -> Self {
        Self { origin: Origin::CommandLine, name: name.into(), position: None, is_exposed: false }
    }

    /// A variable of the environment.
    pub fn variable(name: &str) -> Self {
        Self { origin: Origin::Environment, name: name.into(), position: None, is_exposed: false }
    }

    /// A key of a file, on a line counted from 1.
    pub fn key(file: &Arc<str>, key: &str, line: usize) -> Self {
        Self { origin: Origin::File(Arc::clone(file)), name: key.into(), position: Some((line, None)), is_exposed: false }
    }

    /// A character of a file, both counted from 1.
    pub fn position(file: &Arc<str>, line: usize, column: usize) -> Self {
        Self {
            origin: Origin::File(Arc::clone(file)),
            name: String::new(),
            position: Some((line, Some(column))),
            is_exposed: false,
        }
    }

    /// A file as a whole.
    pub fn whole(file: &Arc<str>) -> Self {
        Self { origin: Origin::File(Arc::clone(file)), name: String::new(), position: None, is_exposed: false }
    }

    /// A setting that nobody stated.
    pub fn unstated(key: &str) -> Self {
        Self { origin: Origin::Unstated, name: key.into(), position: None, is_exposed: false }
    }

    /// The same, in a file that everybody on this machine can read, if that `is_exposed`.
    pub fn exposed(self, is_exposed: bool) -> Self {
        Self { is_exposed, ..self }
    }

    /// Whether everybody on this machine can read what stands there.
    pub fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    /// Whether it is in a file.
    pub fn is_in_file(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }

    /// What the value is called there.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The flag, the variable, or the file and line; with what stands there if that is not the key of `setting`.
    pub fn origin(&self, setting: &Setting) -> String {
        if !self.is_in_file() {
            return self.line();
        }
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let name = last(&self.name);
        let name = if name == last(setting.key) { String::new() } else { format!(" ({name})") };
        format!("{}{name}", self.line())
    }

    /// The flag, the variable, or the file and line.
    pub fn line(&self) -> String {
        let Origin::File(file) = &self.origin else { return self.name.clone() };
        let line = self.position.map(|(line, _)| format!(":{line}")).unwrap_or_default();
        format!("{file}{line}")
    }

    /// Its line and column as they are told, empty where there are none.
    fn position_text(&self) -> String {
        match self.position {
            None => String::new(),
            Some((line, None)) => format!("line {line}"),
            Some((line, Some(column))) => format!("line {line}, column {column}"),
        }
    }
}

impl fmt::Display for Place {
    /// Where a person would look.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.position) {
            (Origin::File(file), Some((line, _))) => write!(f, "{} in {file}, line {line},", self.name),
            _ => f.write_str(&self.name),
        }
    }
}

/// One thing that is wrong; `message` may have several lines and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    place: Place,
    message: String,
}

/// Everything that is wrong with a configuration. Displays as a few lines for the person who wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one; the same thing is never told twice.
    pub fn push(&mut self, place: Place, message: impl Into<String>) {
        let problem = Problem { place, message: message.into() };
        if !self.0.contains(&problem) {
            self.0.push(problem);
        }
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: Self) {
        for Problem { place, message } in others.0 {
            self.push(place, message);
        }
    }

    /// Only those of `setting`.
    pub fn of(mut self, setting: &Setting) -> Self {
        self.0.retain(|problem| problem.place.name == setting.key);
        self
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the problems of one origin, in columns and in the order of their lines.
    fn write_group(&self, f: &mut fmt::Formatter<'_>, origin: &Origin) -> fmt::Result {
        let mut group: Vec<&Problem> = self.0.iter().filter(|problem| problem.place.origin == *origin).collect();
        group.sort_by_key(|problem| problem.place.position);
        let rows: Vec<[String; 2]> =
            group.iter().map(|problem| [problem.place.name.clone(), problem.place.position_text()]).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1)];
        let plural = if group.len() == 1 { "" } else { "s" };
        write!(f, "{origin}: {} problem{plural}", group.len())?;
        for (row, problem) in rows.iter().zip(group) {
            let cells = row.iter().zip(widths).filter(|(_, width)| *width > 0);
            let start: String = cells.map(|(cell, width)| format!("{cell:width$}  ")).collect();
            let indent = format!("\n  {:1$}", "", start.chars().count());
            write!(f, "\n  {start}{}", problem.message.replace('\n', &indent))?;
        }
        Ok(())
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins: BTreeSet<&Origin> = self.0.iter().map(|problem| &problem.place.origin).collect();
        for (index, origin) in origins.into_iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            self.write_group(f, origin)?;
        }
        Ok(())
    }
}

impl fmt::Display for Origin {
    /// The title under which its problems are told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommandLine => "command line",
            Self::Environment => "environment",
            Self::File(name) => name,
            Self::Unstated => "configuration",
        })
    }
}

impl std::error::Error for Problems {}

/// The candidate that `typed` was most likely meant to be, if one is near.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (typed.chars().count() / 3).max(1);
    let distance = |candidate: &&str| strsim::damerau_levenshtein(typed, candidate);
    candidates.into_iter().filter(|candidate| distance(candidate) <= most).min_by_key(distance)
}

/// A suggestion to append to a problem, or nothing.
pub fn did_you_mean(meant: Option<impl fmt::Display>) -> String {
    meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_together_under_the_source_they_come_from() {
        let (mut problems, file) = (Problems::default(), Arc::from("config.toml"));
        problems.push(Place::key(&file, "server.drain", 3), "\"5\": no unit");
        problems.push(Place::key(&file, "profiles.default.stroe", 12), "there is no such key");
        problems.push(Place::flag("--bucket"), "\"X\": one line\nand another");

        assert_eq!(
            problems.to_string(),
            "command line: 1 problem\n\
             \x20 --bucket  \"X\": one line\n\
             \x20           and another\n\
             config.toml: 2 problems\n\
             \x20 server.drain            line 3   \"5\": no unit\n\
             \x20 profiles.default.stroe  line 12  there is no such key"
        );
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        for (typed, meant) in [("stroe", Some("store")), ("bukcet", Some("bucket")), ("zzz", None), ("s", None), ("", None)] {
            assert_eq!(nearest(typed, ["store", "bucket"]), meant, "{typed}");
        }
    }
}
