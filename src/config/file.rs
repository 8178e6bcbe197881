//! Settings from the file: TOML, every key known, every problem with its line.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::layers::{Layer, Word};
use super::problem::{Place, Problems, Source, did_you_mean, nearest};
use super::setting::{Kind, LISTEN, SETTINGS, Setting};

/// The long form of `server.listen`: a table for each address.
const LISTENERS: &str = "server.listeners";

/// The file is not TOML, which has been told.
pub struct NotToml;

/// What a file states. Problems never repeat a line of it, since that may hold a secret.
pub fn layer(text: &str, problems: &mut Problems) -> Result<Layer, NotToml> {
    let lines = Lines(text);
    match DeTable::parse(text) {
        Ok(table) => {
            let mut reader = Reader { lines, layer: Layer::new(Source::File), problems };
            reader.table("", table.get_ref());
            Ok(reader.layer)
        }
        // Only the first: those after it come of having lost the thread.
        Err(error) => {
            let (line, column) = lines.position(error.span().map_or(0, |span| span.start));
            problems.push(Place::position(line, column), format!("not TOML: {}", error.message()));
            Err(NotToml)
        }
    }
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
        let word = |text: &str| Some(vec![Word { text: text.into(), place: place.clone() }]);
        let words = match (setting.kind, value.get_ref()) {
            (Kind::List(_), DeValue::Array(items)) => self.words(items.iter(), &place),
            (Kind::Pairs(_), DeValue::Table(table)) => self.pairs(table, &place),
            (Kind::Boolean, DeValue::Boolean(value)) => word(&value.to_string()),
            (Kind::Boolean, _) => None,
            (_, DeValue::String(text)) => word(text),
            _ => None,
        };
        match &words {
            None => self.problems.push(place, mismatch(setting.kind, value.get_ref())),
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

    /// The entries of a table, each as `key=value` and percent-encoded; `None` if a value is no text.
    fn pairs(&self, table: &DeTable<'_>, place: &Place) -> Option<Vec<Word>> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let word = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let text = format!("{}={}", encoded(key.get_ref()), encoded(value.get_ref().as_str()?));
            Some(Word { text, place: Place::key(place.name(), self.lines.line(key)) })
        };
        table.iter().map(word).collect()
    }

    /// Takes in the long form of `server.listen`.
    fn listeners(&mut self, value: &Spanned<DeValue<'_>>, place: Place) {
        let DeValue::Array(items) = value.get_ref() else {
            let found = kind_of(value.get_ref());
            return self.problems.push(place, format!("must be tables, each under [[{LISTENERS}]], not {found}"));
        };
        if self.layer.words(&LISTEN).is_some() {
            self.problems.push(place, format!("{} is stated too; one of the two is enough", LISTEN.key));
        } else if items.is_empty() {
            self.problems.push(place, "is empty; name at least one");
        }
        let words = items.iter().filter_map(|item| self.listener(item)).collect();
        self.layer.state(&LISTEN, words);
    }

    /// The address of one listener.
    fn listener(&mut self, item: &Spanned<DeValue<'_>>) -> Option<Word> {
        let place = Place::key(LISTENERS, self.lines.line(item));
        let DeValue::Table(table) = item.get_ref() else {
            self.problems.push(place, format!("must be a table, not {}", kind_of(item.get_ref())));
            return None;
        };
        for key in table.keys().filter(|key| key.get_ref() != "address") {
            let place = Place::key(&join(LISTENERS, key.get_ref()), self.lines.line(key));
            self.problems.push(place, format!("there is no such key{}", did_you_mean(nearest(key.get_ref(), ["address"]))));
        }
        let Some((key, value)) = table.get_key_value("address") else {
            self.problems.push(place, "needs an address, such as address = \"127.0.0.1:5000\"");
            return None;
        };
        let place = Place::key(&join(LISTENERS, "address"), self.lines.line(key));
        let Some(text) = value.get_ref().as_str() else {
            self.problems.push(place, format!("must be a text, not {}", kind_of(value.get_ref())));
            return None;
        };
        Some(Word { text: text.into(), place })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::{CREDENTIALS, Fallback, PATH, SSE_CUSTOMER_KEY};
    use crate::config::tests::loaded;

    /// The example with every key in force, except those that stand in place of others.
    fn example(without: &[Setting]) -> String {
        let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
        let is_wanted = |line: &str| !without.iter().any(|setting| line.split(' ').next() == setting.key.rsplit('.').next());
        let lines = include_str!("../../config.example.toml").lines();
        let keys = lines.map(|line| line.strip_prefix('#').filter(|line| is_key(line)).unwrap_or(line));
        keys.filter(|line| is_wanted(line)).map(|line| format!("{line}\n")).collect()
    }

    fn problems_of(text: &str) -> String {
        let mut problems = Problems::none(Some("config.toml".into()));
        let _ = layer(text, &mut problems);
        problems.to_string()
    }

    #[test]
    fn the_example_has_every_key_with_its_default() {
        let mut problems = Problems::none(Some("config.example.toml".into()));
        let Ok(layer) = layer(&example(&[]), &mut problems) else { panic!("{problems}") };

        assert_eq!(problems.to_string(), "");
        for setting in SETTINGS {
            let words = layer.words(setting).expect(setting.key);
            if let Fallback::Value(default) = setting.default {
                assert_eq!(words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(","), default, "{setting:?}");
            }
        }
    }

    #[test]
    fn the_example_loads_as_it_is_and_in_force() {
        loaded(&[], &[], include_str!("../../config.example.toml")).unwrap();
        loaded(&[], &[], &example(&[PATH, CREDENTIALS, SSE_CUSTOMER_KEY])).unwrap();
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
