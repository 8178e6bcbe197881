//! Settings from the file: TOML, every key known, every problem with its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Layer, Word};
use super::problem::{Place, Problems, Source, did_you_mean};
use super::setting::{Kind, LISTEN, SETTINGS, Setting};

/// The long form of `server.listen`: a table for each address.
const LISTENERS: &str = "server.listeners";

/// The file is not TOML, which has been told.
pub struct NotToml;

/// What a file states. Problems never repeat a line of it, since that may hold a secret.
pub fn layer(text: &str, problems: &mut Problems) -> Result<Layer, NotToml> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines(text);
    if errors.is_empty() {
        let mut reader = Reader { lines, layer: Layer::new(Source::File), problems };
        reader.table("", table.get_ref());
        return Ok(reader.layer);
    }
    for error in errors {
        let (line, column) = lines.position(error.span().map_or(0, |span| span.start));
        problems.push(Place::position(line, column), format!("not TOML: {}", error.message()));
    }
    Err(NotToml)
}

/// A text whose bytes are known by line and column.
#[derive(Clone, Copy)]
struct Lines<'a>(&'a str);

impl Lines<'_> {
    /// Line and column of a byte, counted from 1.
    fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.0.get(..byte).unwrap_or(self.0);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The line in which something stands.
    fn line<T>(&self, spanned: &Spanned<T>) -> usize {
        self.position(spanned.span().start).0
    }
}

/// Walks a file and takes in what it finds.
struct Reader<'a> {
    lines: Lines<'a>,
    layer: Layer,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    /// Takes in the table whose key is `section`, which is empty for the file itself.
    fn table(&mut self, section: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = join(section, key.get_ref());
            let place = Place::key(&path, self.lines.line(key));
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == path) {
                self.setting(setting, value, place);
            } else if path == LISTENERS {
                self.listeners(value, place);
            } else if is_section(&path) {
                match value.get_ref() {
                    DeValue::Table(table) => self.table(&path, table),
                    other => self.problems.push(place, format!("must be a table, not {}", kind_of(other))),
                }
            } else {
                self.problems.push(place, unknown(section, key.get_ref()));
            }
        }
    }

    /// Takes in one setting.
    fn setting(&mut self, setting: &Setting, value: &Spanned<DeValue<'_>>, place: Place) {
        let words = match (setting.kind, value.get_ref()) {
            (Kind::List(_), DeValue::Array(items)) => self.words(items.iter(), &place),
            (Kind::List(_), DeValue::String(text)) => Some(vec![Word { text: text.to_string(), place: place.clone() }]),
            (Kind::Boolean, DeValue::Boolean(value)) => Some(vec![Word { text: value.to_string(), place: place.clone() }]),
            (Kind::List(_) | Kind::Boolean, _) => None,
            (_, DeValue::String(text)) => Some(vec![Word { text: text.to_string(), place: place.clone() }]),
            _ => None,
        };
        match &words {
            None => self.problems.push(place, format!("must be {}, not {}", expected(setting.kind), kind_of(value.get_ref()))),
            Some(words) if words.is_empty() && !setting.may_be_empty() => {
                self.problems.push(place, "is empty; name at least one")
            }
            Some(_) => (),
        }
        self.layer.state(setting, words.unwrap_or_default());
    }

    /// The texts of a list, each on its own line; `None` if one of them is no text.
    fn words<'v>(&self, items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>, place: &Place) -> Option<Vec<Word>> {
        let word = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str()?.to_owned();
            Some(Word { text, place: Place::key(place.name(), self.lines.line(item)) })
        };
        items.map(word).collect()
    }

    /// Takes in the long form of `server.listen`.
    fn listeners(&mut self, value: &Spanned<DeValue<'_>>, place: Place) {
        let tables: Option<Vec<_>> = value.get_ref().as_array().map(|items| items.iter().collect());
        let mut words = Vec::new();
        for (index, item) in tables.into_iter().flatten().enumerate() {
            let path = format!("{LISTENERS}[{index}]");
            match item.get_ref() {
                DeValue::Table(table) => words.extend(self.listener(&path, table, self.lines.line(item))),
                other => self
                    .problems
                    .push(Place::key(&path, self.lines.line(item)), format!("must be a table, not {}", kind_of(other))),
            }
        }
        if value.get_ref().as_array().is_none() {
            let found = kind_of(value.get_ref());
            self.problems.push(place, format!("must be tables, each under [[{LISTENERS}]], not {found}"));
        } else if self.layer.words(&LISTEN).is_some() {
            self.problems.push(place, format!("{} is stated too; one of the two is enough", LISTEN.key));
        } else {
            self.layer.state(&LISTEN, words);
        }
    }

    /// The address of one listener, whose table has the key `path`.
    fn listener(&mut self, path: &str, table: &DeTable<'_>, line: usize) -> Option<Word> {
        let mut address = None;
        for (key, value) in table {
            let place = Place::key(&join(path, key.get_ref()), self.lines.line(key));
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("address", DeValue::String(text)) => address = Some(Word { text: text.to_string(), place }),
                ("address", other) => {
                    self.problems.push(place, format!("must be a text, not {}", kind_of(other)));
                    return None;
                }
                (key, _) => self.problems.push(place, format!("there is no such key{}", did_you_mean(key, ["address"]))),
            }
        }
        if address.is_none() {
            self.problems.push(Place::key(path, line), "needs an address, such as address = \"127.0.0.1:5000\"");
        }
        address
    }
}

/// The key of something in a table.
fn join(section: &str, key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let key = if is_bare { key.to_owned() } else { format!("{key:?}") };
    if section.is_empty() { key } else { format!("{section}.{key}") }
}

/// Whether settings stand in the table with this key, or in one inside it.
fn is_section(path: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// What to say of a key that does not exist: the nearest in its table, or where it does exist.
fn unknown(section: &str, key: &str) -> String {
    if section == "profiles" {
        return "only the profile default is supported so far".into();
    }
    let depth = if section.is_empty() { 0 } else { section.len() + 1 };
    let inside = SETTINGS
        .iter()
        .map(|setting| setting.key)
        .filter(|known| is_section(section) && known.starts_with(section) || depth == 0);
    let siblings = inside.filter_map(|known| known.get(depth..)?.split('.').next());
    let elsewhere = SETTINGS.iter().find(|setting| setting.key.rsplit('.').next() == Some(key)).map(|setting| setting.key);
    let suggestion = elsewhere.map_or_else(|| did_you_mean(key, siblings), |known| format!("; did you mean {known}?"));
    format!("there is no such key{suggestion}")
}

/// What a value should have been.
fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::List(_) => "a list of texts",
        Kind::Boolean => "true or false",
        Kind::Duration => "a text with a unit, such as \"90s\"",
        Kind::Size => "a text with a unit, such as \"64MiB\"",
        Kind::StoreWord | Kind::Text(_) | Kind::Choice(_) | Kind::Credential => "a text",
    }
}

/// What a value is.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
