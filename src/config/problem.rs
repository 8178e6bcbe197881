//! What is wrong with a configuration: everything at once, by the names its author typed.

use std::fmt;

use super::setting::Setting;

/// Where a configuration comes from, in the order in which one source goes before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Flags and the store's word.
    CommandLine,
    /// `LONGSHORE_*`.
    Environment,
    /// The file that `--config` names.
    File,
    /// `AWS_*`, for what they name elsewhere too.
    Aws,
    /// What holds when nobody says anything.
    Default,
}

/// Where a value was stated, as its author would name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    source: Source,
    name: String,
    /// Line and column of the file, counted from 1.
    position: Option<(usize, Option<usize>)>,
}

impl Place {
    /// A flag as it is typed, dashes included, or an argument by its name in the usage.
    pub fn flag(name: &str) -> Self {
        Self { source: Source::CommandLine, name: name.into(), position: None }
    }

    /// A variable of the environment.
    pub fn variable(source: Source, name: &str) -> Self {
        Self { source, name: name.into(), position: None }
    }

    /// A key of the file, on a line counted from 1.
    pub fn key(key: &str, line: usize) -> Self {
        Self { source: Source::File, name: key.into(), position: Some((line, None)) }
    }

    /// A character of the file, both counted from 1.
    pub fn position(line: usize, column: usize) -> Self {
        Self { source: Source::File, name: String::new(), position: Some((line, Some(column))) }
    }

    /// A setting that nobody stated.
    pub fn unstated(setting: &Setting) -> Self {
        Self { source: Source::Default, name: setting.key.into(), position: None }
    }

    /// What the value is called there.
    pub fn name(&self) -> &str {
        &self.name
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

/// One thing that is wrong; `message` may have several lines and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    place: Place,
    message: String,
}

/// Everything that is wrong with a configuration. Displays as a few lines for the person who wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
}

impl Problems {
    /// None so far; `file` is what the configuration file is called, if there is one.
    pub fn none(file: Option<String>) -> Self {
        Self { file: file.unwrap_or_default(), problems: Vec::new() }
    }

    /// Adds one; the same thing is never told twice.
    pub fn push(&mut self, place: Place, message: impl Into<String>) {
        let problem = Problem { place, message: message.into() };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Only those of `setting`.
    pub fn of(mut self, setting: &Setting) -> Self {
        self.problems.retain(|problem| problem.place.name == setting.key);
        self
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// The title under which the problems of `source` are told.
    fn title(&self, source: Source) -> &str {
        match source {
            Source::CommandLine => "command line",
            Source::Environment | Source::Aws => "environment",
            Source::File => &self.file,
            Source::Default => "configuration",
        }
    }

    /// Writes the problems that stand under one title, in columns and in the order of their lines.
    fn write_group(&self, f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
        let mut group: Vec<&Problem> = self.problems.iter().filter(|problem| self.title(problem.place.source) == title).collect();
        group.sort_by_key(|problem| problem.place.position);
        let rows: Vec<[String; 2]> =
            group.iter().map(|problem| [problem.place.name.clone(), problem.place.position_text()]).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1)];
        let plural = if group.len() == 1 { "" } else { "s" };
        write!(f, "{title}: {} problem{plural}", group.len())?;
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
        let mut titles: Vec<&str> = Vec::new();
        for source in [Source::CommandLine, Source::Environment, Source::File, Source::Aws, Source::Default] {
            let has_any = self.problems.iter().any(|problem| problem.place.source == source);
            if has_any && !titles.contains(&self.title(source)) {
                titles.push(self.title(source));
            }
        }
        for (index, title) in titles.into_iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "\n" })?;
            self.write_group(f, title)?;
        }
        Ok(())
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
        let mut problems = Problems::none(Some("config.toml".into()));
        problems.push(Place::key("server.drain", 3), "\"5\": no unit");
        problems.push(Place::key("profiles.default.stroe", 12), "there is no such key");
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
