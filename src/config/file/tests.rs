use super::*;
use crate::config::setting::{Fallback, HTPASSWD, PATH, SSE_CUSTOMER_KEY};
use crate::config::tests::loaded;

/// The example with every key in force, except those that stand in place of others.
fn example(without: &[Setting]) -> String {
    let is_key =
        |line: &str| line.starts_with('[') || (line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = "));
    let is_wanted = |line: &str| !without.iter().any(|setting| line.split(' ').next() == setting.key.rsplit('.').next());
    let lines = include_str!("../../../config.example.toml").lines();
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
            assert!(include_str!("../../../config.example.toml").contains(&format!("{last} = ")), "{setting:?}");
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
    loaded(&[], &[], include_str!("../../../config.example.toml")).unwrap();
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
        ("[profiles.default]\npath_style = \"true\"", "profiles.default.path_style  line 2  must be true or false, not a text"),
        ("anonymous = \"read\"", "anonymous  line 1  there is no such key; did you mean access.anonymous?"),
        ("[sever]", "sever  line 1  there is no such key; did you mean server?"),
        ("[server]\n\"a b\" = 1", "server.\"a b\"  line 2  there is no such key"),
        ("[server]\nlisteners = 1", "server.listeners  line 2  must be tables, each under [[server.listeners]], not a number"),
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
