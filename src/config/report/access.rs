//! What the tables say that people fill as they like: users, groups, issuers, grants, and how listeners greet.

use super::{BY_DEFAULT, InForce, kept};
use crate::config::Access;
use crate::config::layers::{Layers, Word};
use crate::config::setting::HTPASSWD;
use crate::config::tables::{Cell, GRANTS, GROUPS, ISSUERS, LISTENER_TLS, Row, Tables, USERS, rows};

/// What holds where an issuer does not say it.
const OF_ISSUERS: [(&str, &str); 4] = [
    ("algorithms", "RS256, ES256, EdDSA"),
    ("jwks", "(those that the issuer publishes)"),
    ("require", "(nothing)"),
    ("session", "0s"),
];

/// What is said of people, of whom `access` was made.
pub(super) fn people(layers: &Layers, tables: &Tables, access: &Access) -> Vec<InForce> {
    let mut told = users(layers, tables, access);
    told.extend(rows(tables, GROUPS).iter().flat_map(|row| cells(GROUPS, row, "")));
    for row in rows(tables, ISSUERS) {
        let section = format!("{ISSUERS}.{}", row.cell("name").map(|(_, name)| text(name)).unwrap_or_default());
        told.extend(cells(&section, row, "name"));
        let unsaid = OF_ISSUERS.iter().filter(|(key, _)| !row.has(key));
        told.extend(unsaid.map(|(key, value)| in_force(&section, key, (*value).to_owned(), BY_DEFAULT.to_owned())));
    }
    // By the numbers that they have wherever they are spoken of.
    for (index, (row, grant)) in rows(tables, GRANTS).iter().zip(&access.grants).enumerate() {
        told.push(in_force(GRANTS, &(index + 1).to_string(), grant.to_string(), row.place.line()));
    }
    told
}

/// How listeners greet their clients.
pub(super) fn greetings(tables: &Tables) -> Vec<InForce> {
    let greeting = |row: &Row| {
        let address = row.cell("").map(|(_, address)| text(address)).unwrap_or_default();
        let files = row.cells.iter().filter(|(key, ..)| !key.is_empty());
        let files: Vec<_> = files.map(|(key, _, file)| format!("{key} {}", text(file))).collect();
        in_force(LISTENER_TLS, &address, files.join(", "), row.place.line())
    };
    rows(tables, LISTENER_TLS).iter().map(greeting).collect()
}

/// Those who have passwords: in a table here, and in the file that is named.
fn users(layers: &Layers, tables: &Tables, access: &Access) -> Vec<InForce> {
    let here = rows(tables, USERS).iter().flat_map(|row| &row.cells);
    let here = here.map(|(name, place, hash)| in_force(USERS, name, kept(&text(hash)), place.line()));
    let mut told: Vec<InForce> = here.collect();
    if let Some(Word { text: file, .. }) = layers.word(&HTPASSWD) {
        let others = access.users.iter().filter(|user| !told.iter().any(|known| known.key == *user.name));
        let others: Vec<_> = others.map(|user| in_force(USERS, &user.name, kept(""), file.clone())).collect();
        told.extend(others);
    }
    told
}

/// All that stands in a table but the key `title`.
fn cells(section: &str, row: &Row, title: &str) -> Vec<InForce> {
    let cells = row.cells.iter().filter(|(key, ..)| key != title);
    cells.map(|(key, place, cell)| in_force(section, key, text(cell), place.line())).collect()
}

/// What stands at a key, as a person reads it.
fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::List(words) => words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(", "),
        Cell::Table(row) => {
            let pairs = row.cells.iter().map(|(key, _, cell)| format!("{key} = {:?}", text(cell)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Cell::Other(what) => (*what).to_owned(),
    }
}

fn in_force(section: &str, key: &str, value: String, origin: String) -> InForce {
    InForce { section: section.to_owned(), key: key.to_owned(), value, origin }
}
