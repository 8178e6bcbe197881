//! Settings from files: TOML, every key known, every problem with its line.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::environment::Variables;
use super::layers::{Layer, Source, Word};
use super::problem::{Place, Problems, did_you_mean, nearest};
use super::setting::{ANY_KEY, CREDENTIALS, KEYS_FROM, Kind, LISTEN, SETTINGS, Setting};
use super::sources::{File, Sources};
use super::tables::{Cell, LISTENER_TLS, Row, TABLES, Tables};

/// The long form of `server.listen`: a table for each address.
const LISTENERS: &str = "server.listeners";

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
        Self { name, is_exposed: file.is_exposed, lines: Lines(&file.text), stated, profile: None, problems }
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
        match DeTable::parse(self.lines.0) {
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

    /// Takes in the long form of `server.listen`.
    fn listeners(&mut self, value: &Spanned<DeValue<'_>>, place: Place) {
        let DeValue::Array(items) = value.get_ref() else {
            let found = kind_of(value.get_ref());
            return self.problems.push(place, format!("must be tables, each under [[{LISTENERS}]], not {found}"));
        };
        if self.stated.layer.words(&LISTEN).is_some() {
            self.problems.push(place, format!("{} is stated too; one of the two is enough", LISTEN.key));
        } else if items.is_empty() {
            self.problems.push(place, "is empty; name at least one");
        }
        let words = items.iter().filter_map(|item| self.listener(item)).collect();
        self.stated.layer.state(&LISTEN, words);
    }

    /// One listener, as the short form has it: its address, and `=` and its profile if it names one.
    fn listener(&mut self, item: &Spanned<DeValue<'_>>) -> Option<Word> {
        const KEYS: [&str; 3] = ["address", "profile", "tls"];
        let place = self.place(LISTENERS, item);
        let DeValue::Table(table) = item.get_ref() else {
            self.problems.push(place, format!("must be a table, not {}", kind_of(item.get_ref())));
            return None;
        };
        for key in table.keys().filter(|key| !KEYS.contains(&&**key.get_ref())) {
            let place = self.place(&join(LISTENERS, key.get_ref()), key);
            self.problems.push(place, format!("there is no such key{}", did_you_mean(nearest(key.get_ref(), KEYS))));
        }
        if !table.contains_key("address") {
            self.problems.push(place, "needs an address, such as address = \"127.0.0.1:5000\"");
        }
        let profile = self.text_in(table, "profile");
        let Word { text, place } = self.text_in(table, "address")?;
        self.tls(table, &text);
        let text = profile.map_or(text.clone(), |Word { text: profile, .. }| format!("{text}={profile}"));
        Some(Word { text, place })
    }

    /// Takes in how the clients of the listener at `address` are greeted, if its table says so.
    fn tls(&mut self, table: &DeTable<'_>, address: &str) {
        let Some((key, value)) = table.get_key_value("tls") else { return };
        let place = self.place(LISTENER_TLS, key);
        match self.row(LISTENER_TLS, value.get_ref(), place.clone()) {
            Some(mut row) => {
                row.cells.push((String::new(), place, Cell::Text(address.to_owned())));
                self.stated.tables.entry(LISTENER_TLS).or_default().push(row);
            }
            None => self.problems.push(place, format!("must be a table, not {}", kind_of(value.get_ref()))),
        }
    }

    /// A text in the table of a listener.
    fn text_in(&mut self, table: &DeTable<'_>, key: &str) -> Option<Word> {
        let (key, value) = table.get_key_value(key)?;
        let place = self.place(&join(LISTENERS, key.get_ref()), key);
        let Some(text) = value.get_ref().as_str() else {
            self.problems.push(place, format!("must be a text, not {}", kind_of(value.get_ref())));
            return None;
        };
        Some(Word { text: text.into(), place })
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
    let depth = if section.is_empty() { 0 } else { section.len() + 1 };
    let inside = SETTINGS
        .iter()
        .map(|setting| setting.key)
        .filter(|known| is_section(section) && known.starts_with(section) || depth == 0);
    let siblings = inside.filter_map(|known| known.get(depth..)?.split('.').next());
    let is_elsewhere = |setting: &&Setting| setting.key.rsplit('.').next() == Some(key) && setting.section() != section;
    let elsewhere = SETTINGS.iter().find(is_elsewhere).map(|setting| setting.key);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::{Fallback, HTPASSWD, PATH, SSE_CUSTOMER_KEY};
    use crate::config::tests::loaded;

    /// The example with every key in force, except those that stand in place of others.
    fn example(without: &[Setting]) -> String {
        let is_key =
            |line: &str| line.starts_with('[') || (line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = "));
        let is_wanted = |line: &str| !without.iter().any(|setting| line.split(' ').next() == setting.key.rsplit('.').next());
        let lines = include_str!("../../config.example.toml").lines();
        let keys = lines.map(|line| line.strip_prefix('#').filter(|line| is_key(line)).unwrap_or(line));
        keys.filter(|line| is_wanted(line)).map(|line| format!("{line}\n")).collect()
    }

    fn stated(text: &str) -> (Option<Stated>, String) {
        let file = File { path: "config.toml".into(), text: text.into(), is_exposed: false };
        let mut problems = Problems::default();
        let stated = read(&Sources { file: Some(file), ..Sources::default() }, &mut problems).ok();
        (stated, problems.to_string())
    }

    fn problems_of(text: &str) -> String {
        stated(text).1
    }

    #[test]
    fn the_example_has_every_key_with_its_default() {
        let (stated, problems) = stated(&example(&[]));
        let stated = stated.expect(&problems);

        assert_eq!(problems, "");
        let layers: Vec<_> = [&stated.layer].into_iter().chain(stated.profiles.iter().map(|profile| &profile.layer)).collect();
        for setting in SETTINGS {
            if setting.key.contains(".credentials.") {
                let last = setting.key.rsplit('.').next().unwrap_or_default();
                assert!(include_str!("../../config.example.toml").contains(&format!("{last} = ")), "{setting:?}");
                continue;
            }
            let words = layers.iter().find_map(|layer| layer.words(setting)).expect(setting.key);
            if let Fallback::Value(default) = setting.default {
                assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(","), default, "{setting:?}");
            }
        }
    }

    #[test]
    fn the_example_loads_as_it_is_and_in_force() {
        loaded(&[], &[], include_str!("../../config.example.toml")).unwrap();
        let secrets = ["CACHE_KEY", "CACHE_TOKEN", "EXTERNAL_ID", "TEAM_B_HMAC", "TOKEN_KEY", "TOKEN_OLD_KEY"]
            .map(|name| format!("LONGSHORE_SECRET_{name}"));
        let secrets: Vec<_> = secrets.iter().map(|name| (name.as_str(), "thirty-two-bytes-of-a-secret-and-more")).collect();
        // The keys of one profile come from one source, and those of another stand in its own table.
        let example = example(&[PATH, SSE_CUSTOMER_KEY, HTPASSWD]).replacen("\ncredentials = \"default\"\n", "\n", 1);
        loaded(&[], &secrets, &example).unwrap();
    }

    #[test]
    fn what_is_not_toml_is_told_with_line_and_column() {
        for (text, position) in [
            ("[a\nb = 1", "line 1, column 3"),
            ("\n\na = ", "line 3, column 5"),
            ("a = 1\na = 2", "line 2, column 1"),
            ("a = [1,\nb=2\n[c", "line 2, column 2"),
        ] {
            let told = problems_of(text);
            assert!(told.starts_with(&format!("config.toml: 1 problem\n  {position}  not TOML: ")), "{told}");
        }
    }

    #[test]
    fn every_kind_of_misplaced_value_has_its_message() {
        for (text, message) in [
            ("server = 1", "server  line 1  must be a table, not a number"),
            ("[server]\nlisten = \"127.0.0.1:1\"", ""),
            ("[server]\nlisten = 1", "server.listen  line 2  must be a list of texts, not a number"),
            ("[server]\nlisten = [1]", "server.listen  line 2  must be a list of texts, not of other things"),
            ("[server]\nlisten = []", "server.listen  line 2  is empty; name at least one"),
            ("[store]\nmax_requests = 1.5", "store.max_requests  line 2  must be a whole number, not a number with a fraction"),
            ("[store]\nmax_requests = true", "store.max_requests  line 2  must be a whole number, not true or false"),
            ("[server]\ndrain = 1", "server.drain  line 2  must be a text with a unit, such as \"90s\", not a number"),
            ("[access]\nanonymous = true", "access.anonymous  line 2  must be a text, not true or false"),
            ("[profiles]\ndefault = []", "profiles.default  line 2  must be a table, not a list"),
            (
                "[profiles.default]\npath_style = \"true\"",
                "profiles.default.path_style  line 2  must be true or false, not a text",
            ),
            ("anonymous = \"read\"", "anonymous  line 1  there is no such key; did you mean access.anonymous?"),
            ("[sever]", "sever  line 1  there is no such key; did you mean server?"),
            ("[server]\n\"a b\" = 1", "server.\"a b\"  line 2  there is no such key"),
            (
                "[server]\nlisteners = 1",
                "server.listeners  line 2  must be tables, each under [[server.listeners]], not a number",
            ),
            ("[server]\nlisteners = []", "server.listeners  line 2  is empty; name at least one"),
            ("[server]\nlisteners = [1]", "server.listeners  line 2  must be a table, not a number"),
            ("[[server.listeners]]\naddress = 1", "server.listeners.address  line 2  must be a text, not a number"),
            ("[[server.listeners]]", "server.listeners  line 1  needs an address, such as address = \"127.0.0.1:5000\""),
            (
                "[[server.listeners]]\naddress = \"[::1]:1\"\nadress = 1",
                "server.listeners.adress  line 3  there is no such key; did you mean address?",
            ),
            (
                "[server]\nlisten = [\"[::1]:1\"]\n[[server.listeners]]\naddress = \"[::1]:2\"",
                "server.listeners  line 3  server.listen is stated too; one of the two is enough",
            ),
        ] {
            let expected = if message.is_empty() { String::new() } else { format!("config.toml: 1 problem\n  {message}") };
            assert_eq!(problems_of(text), expected, "{text}");
        }
    }
}
