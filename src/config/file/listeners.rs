//! The long form of `server.listen`: a table for each address.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Reader, join, kind_of};
use crate::config::layers::Word;
use crate::config::problem::{Place, did_you_mean, nearest};
use crate::config::setting::LISTEN;
use crate::config::tables::{Cell, LISTENER_TLS};

/// What it is called.
pub(super) const LISTENERS: &str = "server.listeners";

impl Reader<'_> {
    /// Takes in the long form of `server.listen`.
    pub(super) fn listeners(&mut self, value: &Spanned<DeValue<'_>>, place: Place) {
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
