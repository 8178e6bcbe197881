//! Settings from files: TOML, every key known, every problem with its line.

mod lines;
mod listeners;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::environment::Variables;
use super::layers::{Layer, Source, Word};
use super::problem::{Place, Problems, did_you_mean, nearest};
use super::setting::{ANY_KEY, CREDENTIALS, KEYS_FROM, Kind, SETTINGS, Setting};
use super::sources::{File, Sources};
use super::tables::{Cell, LISTENER_TLS, Row, TABLES, Tables};
use lines::Lines;
use listeners::LISTENERS;

/// The tables of listeners, as somebody may have meant them.
const LISTENING: [&str; 2] = [LISTENERS, LISTENER_TLS];

/// The table of profiles, and of the one whose keys stand for those of any.
const PROFILES: &str = "profiles";
const PROFILE: &str = "profiles.default";

/// The tables of a profile with the variables that it is given; what is in the second goes before the first.
const VARIABLES: [&str; 2] = ["env", "secrets"];

/// Keys in the table of a source of keys that are settings of their own outside it.
const IN_CREDENTIALS: &[(&str, &str)] = &[
    ("profiles.default.credentials.source", CREDENTIALS.key),
    ("profiles.default.credentials.access_key_id", "profiles.default.access_key_id"),
    ("profiles.default.credentials.secret_access_key", "profiles.default.secret_access_key"),
    ("profiles.default.credentials.session_token", "profiles.default.session_token"),
    ("profiles.default.credentials.from.source", KEYS_FROM.key),
];

/// A file is not TOML, which has been told.
pub struct NotToml;

/// What the files state.
pub struct Stated {
    /// About the server, and all that is not of a profile.
    pub layer: Layer,
    /// About each profile that they name.
    pub profiles: Vec<FileProfile>,
    /// What people fill as they like.
    pub tables: Tables,
}

/// What a file states about one profile.
pub struct FileProfile {
    /// What it is called.
    pub name: String,
    /// Its settings.
    pub layer: Layer,
    /// The variables that it is given.
    pub variables: Variables,
}

/// What the files state. Problems never repeat a line of them, since that may hold a secret.
pub fn read(sources: &Sources, problems: &mut Problems) -> Result<Stated, NotToml> {
    let mut stated = Stated { layer: Layer::new(Source::File), profiles: Vec::new(), tables: Tables::new() };
    let mut outcome = Ok(());
    if let Some(file) = &sources.file {
        outcome = Reader::of(file, &mut stated, problems).file();
    }
    for file in &sources.profiles {
        outcome = outcome.and(Reader::of(file, &mut stated, problems).profile_file(&file.path));
    }
    outcome.map(|()| stated)
}

/// Walks a file and takes in what it finds.
struct Reader<'a> {
    name: Arc<str>,
    is_exposed: bool,
    lines: Lines<'a>,
    stated: &'a mut Stated,
    /// The profile in whose table we are.
    profile: Option<FileProfile>,
    problems: &'a mut Problems,
}

/// A table: its key as it is typed, and as the table of settings has it.
#[derive(Clone, Copy)]
struct Section<'a> {
    typed: &'a str,
    known: &'a str,
}

impl<'a> Reader<'a> {
    fn of(file: &'a File, stated: &'a mut Stated, problems: &'a mut Problems) -> Self {
        let name = Arc::from(file.path.display().to_string());
        Self { name, is_exposed: file.is_exposed, lines: Lines::of(&file.text), stated, profile: None, problems }
    }

    /// Takes in the configuration file.
    fn file(mut self) -> Result<(), NotToml> {
        let table = self.parse()?;
        self.table(Section { typed: "", known: "" }, &table);
        Ok(())
    }

    /// Takes in a file that is one profile, called as the file is.
    fn profile_file(mut self, path: &std::path::Path) -> Result<(), NotToml> {
        let table = self.parse()?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let place = Place::whole(&self.name);
        self.profile(&name, "", &table, place);
        Ok(())
    }

    fn parse(&mut self) -> Result<DeTable<'a>, NotToml> {
        match DeTable::parse(self.lines.text) {
            Ok(table) => Ok(table.into_inner()),
            // Only the first: those after it come of having lost the thread.
            Err(error) => {
                let (line, column) = self.lines.position(error.span().map_or(0, |span| span.start));
                self.problems.push(Place::position(&self.name, line, column), format!("not TOML: {}", error.message()));
                Err(NotToml)
            }
        }
    }

    fn place<T>(&self, key: &str, at: &Spanned<T>) -> Place {
        Place::key(&self.name, key, self.lines.line(at)).exposed(self.is_exposed)
    }

    /// Takes in a table.
    fn table(&mut self, section: Section<'_>, table: &DeTable<'_>) {
        for (key, value) in table {
            let typed = join(section.typed, key.get_ref());
            let known = known(&join(section.known, key.get_ref()));
            let place = self.place(&typed, key);
            let setting = SETTINGS.iter().find(|setting| setting.key == known);
            match (setting, value.get_ref()) {
                (Some(setting), DeValue::Table(table)) if is_section(&known) => {
                    self.table(Section { typed: &typed, known: setting.key }, table);
                }
                (Some(setting), _) => self.setting(setting, value, place),
                (None, _) if known == LISTENERS => self.listeners(value, place),
                (None, _) if TABLES.iter().any(|(name, _)| *name == known) => self.rows(&known, value, place),
                (None, DeValue::Table(table)) if section.known == PROFILES => self.profile(key.get_ref(), &typed, table, place),
                (None, DeValue::Table(table)) if section.known == PROFILE && VARIABLES.contains(&&**key.get_ref()) => {
                    self.variables(&typed, table);
                }
                (None, DeValue::Table(table)) if is_section(&known) => {
                    self.table(Section { typed: &typed, known: &known }, table)
                }
                (None, other) if is_section(&known) || section.known == PROFILES => {
                    self.problems.push(place, format!("must be a table, not {}", kind_of(other)));
                }
                (None, _) => self.problems.push(place, unknown(section.known, key.get_ref())),
            }
        }
    }

    /// Takes in the table of a profile.
    fn profile(&mut self, name: &str, typed: &str, table: &DeTable<'_>, place: Place) {
        if !is_profile_name(name) {
            return self
                .problems
                .push(place, "a profile's name is 1 to 64 letters, digits, - and _, with a letter or digit first");
        }
        if self.stated.profiles.iter().any(|profile| profile.name == name) {
            return self.problems.push(place, format!("the profile {name} is stated in another file too"));
        }
        self.profile = Some(FileProfile { name: name.into(), layer: Layer::new(Source::File), variables: Variables::new() });
        self.table(Section { typed, known: PROFILE }, table);
        self.stated.profiles.extend(self.profile.take());
    }

    /// Takes in variables that a profile is given.
    fn variables(&mut self, typed: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let place = self.place(&join(typed, key.get_ref()), key);
            let Some(text) = value.get_ref().as_str() else {
                self.problems.push(place, format!("must be a text, not {}", kind_of(value.get_ref())));
                continue;
            };
            let is_secret = typed.ends_with(VARIABLES[1]);
            let Some(profile) = &mut self.profile else { continue };
            if is_secret || !profile.variables.contains_key(&**key.get_ref()) {
                profile.variables.insert(key.get_ref().to_string(), Word { text: text.into(), place });
            }
        }
    }

    /// Takes in one setting.
    fn setting(&mut self, setting: &Setting, value: &Spanned<DeValue<'_>>, place: Place) {
        let word = |text: &str| Some(vec![Word { text: text.into(), place: place.clone() }]);
        let words = match (setting.kind, value.get_ref()) {
            (Kind::List(_), DeValue::Array(items)) => self.words(items.iter(), &place),
            (Kind::Pairs(_), DeValue::Table(table)) => self.pairs(table, &place),
            (Kind::Tables(keys), DeValue::Array(items)) => Some(self.tables(keys, items.iter(), &place)),
            (Kind::Boolean, DeValue::Boolean(value)) => word(&value.to_string()),
            (Kind::Number, DeValue::Integer(value)) => word(value.as_str()),
            (Kind::Boolean | Kind::Number, _) => None,
            (_, DeValue::String(text)) => word(text),
            _ => None,
        };
        match &words {
            None => self.problems.push(place, mismatch(setting.kind, value.get_ref())),
            Some(words) if words.is_empty() && !setting.may_be_empty() => {
                self.problems.push(place, "is empty; name at least one");
            }
            Some(_) => (),
        }
        self.layer().state(setting, words.unwrap_or_default());
    }

    /// What is stated where we are.
    fn layer(&mut self) -> &mut Layer {
        self.profile.as_mut().map_or(&mut self.stated.layer, |profile| &mut profile.layer)
    }

    /// The texts of a list, each on its own line; `None` if one of them is no text.
    fn words<'v>(&self, items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>, place: &Place) -> Option<Vec<Word>> {
        let word = |item: &Spanned<DeValue<'_>>| {
            let text = item.get_ref().as_str()?.to_owned();
            Some(Word { text, place: self.place(place.name(), item) })
        };
        items.map(word).collect()
    }

    /// The entries of a table, each as `key=value` and percent-encoded; `None` if a value is no text.
    fn pairs(&self, table: &DeTable<'_>, place: &Place) -> Option<Vec<Word>> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let word = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let text = format!("{}={}", encoded(key.get_ref()), encoded(value.get_ref().as_str()?));
            Some(Word { text, place: self.place(place.name(), key) })
        };
        table.iter().map(word).collect()
    }

    /// What stands in tables with these keys, a word for each key: the number of its table, the key, and what it says.
    /// What is wrong with their form is told here.
    fn tables<'v>(
        &mut self,
        keys: &[(&'static str, Kind)],
        items: impl Iterator<Item = &'v Spanned<DeValue<'v>>>,
        place: &Place,
    ) -> Vec<Word> {
        let mut words = Vec::new();
        for (number, item) in items.enumerate() {
            let at = self.place(place.name(), item);
            let DeValue::Table(table) = item.get_ref() else {
                self.problems.push(at, format!("must be a table, not {}", kind_of(item.get_ref())));
                continue;
            };
            words.push(Word { text: number.to_string(), place: at });
            for (key, value) in table {
                let place = self.place(&join(place.name(), key.get_ref()), key);
                let known = keys.iter().find(|(known, _)| known == key.get_ref() || *known == ANY_KEY);
                match known.map(|(_, kind)| (*kind, said(*kind, value.get_ref()))) {
                    None => {
                        let meant = nearest(key.get_ref(), keys.iter().map(|(known, _)| *known));
                        self.problems.push(place, format!("there is no such key{}", did_you_mean(meant)));
                    }
                    Some((kind, None)) => self.problems.push(place, mismatch(kind, value.get_ref())),
                    Some((Kind::List(_), Some(said))) if said.is_empty() => {
                        self.problems.push(place, "is empty; name at least one");
                    }
                    Some((_, Some(said))) => words.push(Word { text: format!("{number} {}={said}", key.get_ref()), place }),
                }
            }
        }
        words
    }

    /// Takes in a table that people fill as they like, or a list of them.
    fn rows(&mut self, name: &str, value: &Spanned<DeValue<'_>>, place: Place) {
        let Some((name, is_list)) = TABLES.iter().find(|(table, _)| *table == name) else { return };
        let items: Option<Vec<_>> = match value.get_ref() {
            DeValue::Array(items) if *is_list => {
                let row = |item: &Spanned<DeValue<'_>>| self.row(name, item.get_ref(), self.place(name, item));
                items.iter().map(row).collect()
            }
            table if !is_list => self.row(name, table, place.clone()).map(|row| vec![row]),
            _ => None,
        };
        let form = if *is_list { format!("tables, each under [[{name}]]") } else { format!("a table, [{name}]") };
        match items {
            Some(rows) => drop(self.stated.tables.insert(name, rows)),
            None => self.problems.push(place, format!("must be {form}, not {}", kind_of(value.get_ref()))),
        }
    }

    /// A table as it stands; `None` if it is none.
    fn row(&self, name: &str, value: &DeValue<'_>, place: Place) -> Option<Row> {
        let DeValue::Table(table) = value else { return None };
        let cell = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let typed = join(name, key.get_ref());
            let place = self.place(&typed, key);
            let cell = match value.get_ref() {
                DeValue::String(text) => Cell::Text(text.to_string()),
                DeValue::Array(items) => {
                    self.words(items.iter(), &place).map_or(Cell::Other("a list of other things"), Cell::List)
                }
                table @ DeValue::Table(_) => self.row(&typed, table, place.clone()).map_or(Cell::Other("a table"), Cell::Table),
                other => Cell::Other(kind_of(other)),
            };
            (key.get_ref().to_string(), place, cell)
        };
        Some(Row { place, cells: table.iter().map(cell).collect() })
    }
}

/// What a value in a table of tables says, a list with commas between; `None` if it is of another kind.
fn said(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::List(_), DeValue::Array(items)) => {
            let items: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            Some(items?.join(","))
        }
        (Kind::Boolean, DeValue::Boolean(value)) => Some(value.to_string()),
        (Kind::List(_) | Kind::Boolean, _) => None,
        (_, value) => value.as_str().map(str::to_owned),
    }
}

/// A key as the table of settings has it.
fn known(key: &str) -> String {
    let alias = IN_CREDENTIALS.iter().find(|(inside, _)| *inside == key);
    alias.map_or(key, |(_, outside)| outside).to_owned()
}

fn is_profile_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain)
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
    let known = || SETTINGS.iter().map(|setting| setting.key).chain(TABLES.iter().map(|(name, _)| *name)).chain(LISTENING);
    let depth = if section.is_empty() { 0 } else { section.len() + 1 };
    let inside = known().filter(|known| is_section(section) && known.starts_with(section) || depth == 0);
    let siblings = inside.filter_map(|known| known.get(depth..)?.split('.').next());
    let is_elsewhere = |known: &&str| known.rsplit_once('.').is_some_and(|(other, last)| last == key && other != section);
    let elsewhere = known().find(is_elsewhere);
    format!("there is no such key{}", did_you_mean(elsewhere.or_else(|| nearest(key, siblings))))
}

/// What to say of a value that is not what the setting takes.
fn mismatch(kind: Kind, value: &DeValue<'_>) -> String {
    let found = match (kind, value) {
        (Kind::List(_), DeValue::Array(_)) | (Kind::Pairs(_), DeValue::Table(_)) => "of other things",
        _ => kind_of(value),
    };
    format!("must be {}, not {found}", expected(kind))
}

/// What a value should have been.
fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::List(_) => "a list of texts",
        Kind::Pairs(_) => "a table of texts, or a text",
        Kind::Tables(_) => "tables, each under its name in double brackets",
        Kind::Boolean => "true or false",
        Kind::Number => "a whole number",
        Kind::Duration => "a text with a unit, such as \"90s\"",
        Kind::Size => "a text with a unit, such as \"64MiB\"",
        Kind::StoreWord | Kind::Text(_) | Kind::Choice(_) | Kind::Credential => "a text",
    }
}

/// What a value is.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
