//! How clients reach us, and what they may do once they have.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::host;
use super::layers::{DEFAULT, Layers};
use super::people::People;
use super::problem::{Place, Problems};
use super::secrets;
use super::setting::{
    ADMIN_LISTEN, ALLOW_PLAIN_HTTP, ANONYMOUS, AUDIT_FILE, AUDIT_FORMAT, DRAIN, HOSTS, IMAGES, LISTEN, LOG_FORMAT,
    MAX_CONNECTIONS, METRICS_IMAGES, Setting, TOKEN_KEY, TOKEN_OLD_KEY, TOKEN_REALM, WHO,
};
use super::store::StoreKind;
use super::tables::{LISTENER_TLS, Row, Tables, rows};
use super::{Access, Anonymous, Listener, Server, TokenService};
use crate::audit::{AuditFile, Format};
use crate::secrets::{Secrets, Template};
use crate::tls::{Tls, TlsFiles};

/// Why anonymous access to a bucket must be stated.
const BUCKET_NEEDS_A_WORD: &str =
    "must be stated, since a bucket stands behind this server: code inside a RUN step can reach the port when
buildkitd uses host networking, and whoever can write the cache of main runs code in main's builds.
State --anonymous none, read or write: what clients without credentials may do.";

/// Why anonymous access from beyond this machine must be stated.
const NETWORK_NEEDS_A_WORD: &str = "must be stated, since this server listens beyond loopback: others can reach the port,
and whoever can write the cache of main runs code in main's builds.
State --anonymous none, read or write: what clients without credentials may do.";

/// How clients reach us.
pub fn server(layers: &mut Layers, tables: &Tables, files: &mut Vec<PathBuf>) -> Option<Server> {
    let mut listeners = listeners(layers, &LISTEN, &[]);
    for row in rows(tables, LISTENER_TLS) {
        let (address, tls) = tls(row, files, &mut layers.problems);
        let its: Vec<_> = host::listeners(&address).into_iter().flatten().map(|listener| listener.address).collect();
        let of_it = listeners.iter_mut().flatten().filter(|listener| its.contains(&listener.address));
        of_it.for_each(|listener| listener.tls.clone_from(&tls));
    }
    let admin_listeners = listeners.as_ref().and_then(|taken| self::listeners(layers, &ADMIN_LISTEN, taken));
    let hosts = layers.read_all(&HOSTS, host::host);
    let drain = layers.duration(&DRAIN, &(Duration::ZERO..=Duration::from_hours(1)));
    let max_connections = layers.number(&MAX_CONNECTIONS, &(1..=1_000_000));
    let metrics_images = layers.number(&METRICS_IMAGES, &(0..=10_000));
    Some(Server {
        listeners: listeners?,
        admin_listeners: admin_listeners?,
        hosts: hosts?,
        drain: drain?,
        max_connections: max_connections?,
        metrics_images: metrics_images?,
    })
}

/// The address of a listener, and what its clients are greeted with, unless something is wrong with that.
fn tls(row: &Row, files: &mut Vec<PathBuf>, problems: &mut Problems) -> (String, Option<Tls>) {
    const KEYS: [&str; 3] = ["cert", "key", "client_ca"];
    row.refuse_others(&[&KEYS[..], &[""]].concat(), problems);
    for key in KEYS[..2].iter().filter(|key| !row.has(key)) {
        problems.push(row.place.clone(), format!("needs {key}, a file in PEM"));
    }
    let mut file = |key: &str| row.text(key, problems).map(|word| PathBuf::from(word.text));
    let (address, stated) = (file("").unwrap_or_default(), KEYS.map(&mut file));
    files.extend(stated.iter().flatten().cloned());
    let address = address.to_string_lossy().into_owned();
    let [Some(cert), Some(key), client_ca] = stated else { return (address, None) };
    match Tls::read(&TlsFiles { cert, key, client_ca }) {
        Ok(tls) => (address, Some(tls)),
        Err(mistake) => {
            let says = |key: &&str| row.text(key, &mut Problems::default()).is_some_and(|word| *mistake.path == *word.text);
            let place = KEYS.iter().find(|key| says(key)).map_or(&row.place, |key| row.place_of(key));
            problems.push(place.clone(), mistake.to_string());
            (address, None)
        }
    }
}

/// Where to listen as `setting` says; no address twice, and none that is `taken`.
fn listeners(layers: &mut Layers, setting: &Setting, taken: &[Listener]) -> Option<Vec<Listener>> {
    let listeners = layers.read_all(setting, host::listeners)?.concat();
    for (index, Listener { address, .. }) in listeners.iter().enumerate() {
        if address.port() != 0 && listeners[..index].iter().chain(taken).any(|other| other.address == *address) {
            layers.refuse(setting, format!("{address} is stated twice"));
        }
    }
    Some(listeners)
}

/// Tells of listeners that name a profile there is not, and of profiles that nobody could ever reach.
pub fn refuse_what_leads_nowhere(layers: &mut Layers, server: &Server, profiles: &[Layers]) {
    let named: Vec<&str> = server.listeners.iter().filter_map(|listener| listener.profile.as_deref()).collect();
    for name in named.iter().filter(|name| !profiles.iter().any(|stated| stated.profile == **name)) {
        layers.refuse(&LISTEN, format!("there is no profile {name}"));
    }
    if server.admin_listeners.iter().any(|listener| listener.profile.is_some()) {
        layers.refuse(&ADMIN_LISTEN, "no profile has a part in this one");
    }
    let says = |stated: &Layers, setting| stated.words(setting).is_some_and(|words| !words.is_empty());
    let leads_to = |stated: &Layers| says(stated, &IMAGES) || says(stated, &WHO);
    let is_reached = |stated: &Layers| stated.profile == DEFAULT || leads_to(stated) || named.contains(&&*stated.profile);
    for Layers { profile, .. } in profiles.iter().filter(|stated| !is_reached(stated)) {
        let place = Place::unstated(&format!("profiles.{profile}"));
        layers.problems.push(place, "has no images, and no listener names it, and who names nobody: nothing would ever use it");
    }
}

/// Who may do what: `people` of their own, and everybody else.
pub fn access(layers: &mut Layers, anonymous: Option<Anonymous>, people: People, secrets: Option<&Secrets>) -> Option<Access> {
    let allow_plain_http = layers.read(&ALLOW_PLAIN_HTTP, |text| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false"),
    });
    let tokens = tokens(layers, secrets);
    let audit = audit(layers);
    let People { users, issuers, grants, .. } = people;
    Some(Access { anonymous: anonymous?, allow_plain_http: allow_plain_http?, users, issuers, tokens, grants, audit })
}

/// The file in which it is kept who did what.
fn audit(layers: &mut Layers) -> Option<AuditFile> {
    let path = layers.read(&AUDIT_FILE, audit_path);
    let format = layers.choose(&AUDIT_FORMAT, |word| match word {
        "text" => Some(Format::Text),
        "json" => Some(Format::Json),
        _ => None,
    });
    if layers.word(&AUDIT_FORMAT).is_some() && layers.word(&AUDIT_FILE).is_none() {
        layers
            .refuse(&AUDIT_FORMAT, format!("needs {} beside it; the log is written as {} says", AUDIT_FILE.key, LOG_FORMAT.key));
    }
    Some(AuditFile { path: path?, format: format.unwrap_or(Format::Text) })
}

fn audit_path(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match () {
        () if path.is_dir() => Err("is a folder; name a file in it".into()),
        () if !folder.is_dir() => Err(format!("there is no folder {}; make it first", folder.display())),
        () => Ok(path.to_owned()),
    }
}

/// Where tokens are fetched and what they are signed with, both of which it takes.
fn tokens(layers: &mut Layers, secrets: Option<&Secrets>) -> Option<TokenService> {
    let realm = layers.read(&TOKEN_REALM, |text| match text.split_once("://") {
        Some(("http" | "https", rest)) if is_plain_url(rest) => Ok(text.to_owned()),
        _ => Err("is a URL such as https://cache.example/token"),
    });
    let mut keys = Vec::new();
    for setting in [TOKEN_KEY, TOKEN_OLD_KEY] {
        keys.extend(layers.read(&setting, |text| key(text, secrets)).flatten());
    }
    for (stated, other) in [(TOKEN_REALM, TOKEN_KEY), (TOKEN_KEY, TOKEN_REALM), (TOKEN_OLD_KEY, TOKEN_KEY)] {
        if layers.word(&stated).is_some() && layers.word(&other).is_none() {
            layers.refuse(&stated, format!("needs {} beside it", other.key));
        }
    }
    realm.filter(|_| !keys.is_empty()).map(|realm| TokenService { realm, keys })
}

fn is_plain_url(rest: &str) -> bool {
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()) && !rest.contains(['"', '@', '#', ',', '\\'])
}

/// A key that nobody guesses; `None` where secrets cannot be had at all, which has been told.
fn key(text: &str, secrets: Option<&Secrets>) -> Result<Option<SecretString>, String> {
    let template = text.parse::<Template>().map_err(|error| error.to_string())?;
    match secrets::resolved(&template, secrets).map_err(|error| error.to_string())? {
        Some(key) if key.expose_secret().len() < 32 => Err("has less than 32 bytes; openssl rand -hex 32 makes one".into()),
        key => Ok(key),
    }
}

/// What clients may do who do not say who they are. It must be stated where the wrong guess would let strangers write into
/// builds, by whichever of `servers` they come in; nothing, where anything is stated of others, as `has_people` tells.
pub fn anonymous<'a>(
    layers: &mut Layers,
    servers: impl IntoIterator<Item = &'a Server>,
    stores: &[StoreKind],
    has_people: bool,
) -> Option<Anonymous> {
    if layers.words(&ANONYMOUS).is_some() {
        return stated(layers);
    }
    if has_people {
        return Some(Anonymous::None);
    }
    let is_bucket = stores.iter().any(|store| matches!(store, StoreKind::Bucket(_)));
    let is_loopback = |server: &Server| server.listeners.iter().all(|listener| listener.address.ip().is_loopback());
    if is_bucket {
        layers.refuse(&ANONYMOUS, BUCKET_NEEDS_A_WORD);
    } else if !servers.into_iter().all(is_loopback) {
        layers.refuse(&ANONYMOUS, NETWORK_NEEDS_A_WORD);
    }
    Some(Anonymous::Write)
}

/// What somebody said clients may do.
fn stated(layers: &mut Layers) -> Option<Anonymous> {
    layers.choose(&ANONYMOUS, |word| match word {
        "none" => Some(Anonymous::None),
        "read" => Some(Anonymous::Read),
        "write" => Some(Anonymous::Write),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::config::Anonymous;
    use crate::config::tests::loaded;

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[test]
    fn only_a_folder_on_loopback_is_open_without_a_word() {
        for (flags, why) in [
            (vec![], None),
            (vec![("listen", "127.0.0.2:1,[::1]:1")], None),
            (vec![("listen", "0.0.0.0:1")], Some("listens beyond loopback")),
            (vec![("listen", "127.0.0.1:1,192.0.2.1:1")], Some("listens beyond loopback")),
            (vec![("listen", "[::]:1")], Some("listens beyond loopback")),
            (vec![("store", "s3://ci-cache")], Some("a bucket stands behind")),
            (vec![("store", "s3://ci-cache"), ("listen", "[::]:1")], Some("a bucket stands behind")),
        ] {
            match (loaded(&flags, &KEYS, ""), why) {
                (Ok(config), None) => assert_eq!(config.access.anonymous, Anonymous::Write, "{flags:?}"),
                (Err(problems), Some(why)) => {
                    assert!(problems.contains(why) && problems.contains("State --anonymous"), "{problems}")
                }
                (outcome, _) => panic!("{flags:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_word_is_enough_everywhere() {
        for (word, anonymous) in [("none", Anonymous::None), ("read", Anonymous::Read), ("write", Anonymous::Write)] {
            let flags = [("store", "s3://ci-cache"), ("listen", "[::]:1"), ("anonymous", word)];
            assert_eq!(loaded(&flags, &KEYS, "").unwrap().access.anonymous, anonymous);
        }
        assert!(loaded(&[("anonymous", "all")], &[], "").unwrap_err().contains("\"all\": must be one of none, read, write"));
    }

    // The port goes on being open to others until the next start.
    #[test]
    fn a_word_that_is_taken_back_must_not_open_the_listeners_in_force() {
        let wide = loaded(&[("listen", "0.0.0.0:1"), ("anonymous", "none")], &[], "").unwrap().server;
        let sources = |words| crate::config::Sources {
            file: Some(crate::config::File { path: "config.toml".into(), text: words, is_exposed: false }),
            environment: [("HOME", "/home/user")].into_iter().collect(),
            ..Default::default()
        };

        let refused = crate::config::load_beside(&sources(String::new()), &wide).unwrap_err().to_string();

        assert!(refused.contains("access.anonymous") && refused.contains("listens beyond loopback"), "{refused}");
        let stated = crate::config::load_beside(&sources("[access]\nanonymous = \"read\"".into()), &wide).unwrap();
        assert_eq!(stated.access.anonymous, Anonymous::Read);
    }

    // Whoever mends the keys first should not find out only then that a word is missing.
    #[test]
    fn the_missing_word_is_told_together_with_missing_keys() {
        let problems = loaded(&[("store", "s3://ci-cache")], &[], "").unwrap_err();

        assert!(problems.contains("access.anonymous") && problems.contains("profiles.default.credentials"), "{problems}");
    }

    #[test]
    fn no_address_is_listened_on_twice_unless_its_port_is_free_to_choose() {
        assert!(loaded(&[("listen", "127.0.0.1:1,localhost:1")], &[], "").unwrap_err().contains("127.0.0.1:1 is stated twice"));
        let twice = loaded(&[("listen", "127.0.0.1:1"), ("admin-listen", "127.0.0.1:1")], &[], "").unwrap_err();
        assert!(twice.contains("--admin-listen") && twice.contains("127.0.0.1:1 is stated twice"), "{twice}");
        assert_eq!(loaded(&[("listen", "127.0.0.1:0, 127.0.0.1:0")], &[], "").unwrap().server.listeners.len(), 2);
    }

    #[test]
    fn the_long_form_of_listen_says_the_same() {
        let [short, long] = [
            "[server]\nlisten = [\"[::1]:1\", \"localhost:2\"]",
            "[[server.listeners]]\naddress = \"[::1]:1\"\n[[server.listeners]]\naddress = \"localhost:2\"",
        ]
        .map(|file| loaded(&[], &[], file).unwrap().server.listeners);

        assert_eq!(short, long);
    }

    #[test]
    fn every_mistake_of_a_listeners_tls_has_its_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("empty"), "").unwrap();
        let empty = path("empty");
        for (tls, message) in [
            ("1".to_owned(), "server.listeners.tls  line 3  must be a table, not a number"),
            ("{}".into(), "needs cert, a file in PEM"),
            (format!("{{ cert = \"{empty}\" }}"), "server.listeners.tls  line 3  needs key, a file in PEM"),
            (format!("{{ cert = \"{empty}\", key = \"{empty}\" }}"), "empty: has no certificate in PEM"),
            (format!("{{ cert = \"/no/such\", key = \"{empty}\" }}"), "/no/such: cannot be read: No such file"),
            (format!("{{ cert = 1, key = \"{empty}\" }}"), "server.listeners.tls.cert  line 3  must be a text, not a number"),
            (format!("{{ crt = \"{empty}\", key = \"{empty}\" }}"), "there is no such key; did you mean cert?"),
        ] {
            let told = loaded(&[], &[], &format!("[[server.listeners]]\naddress = \"127.0.0.1:1\"\ntls = {tls}")).unwrap_err();
            assert!(told.contains(message), "{tls}: {told}");
        }
    }

    #[test]
    fn tokens_take_a_realm_and_a_key_that_nobody_guesses() {
        let table = |text: &str| format!("[access.token]\n{text}");
        let (realm, long) = ("realm = \"https://cache.example/token\"\n", "k".repeat(32));
        for (text, expected) in [
            (format!("{realm}key = \"{long}\""), Ok(1)),
            (format!("{realm}key = \"{long}\"\nprevious_key = \"{long}\""), Ok(2)),
            (String::new(), Ok(0)),
            (realm.to_owned(), Err("access.token.realm  line 2  needs access.token.key beside it")),
            (format!("key = \"{long}\""), Err("access.token.key  line 2  needs access.token.realm beside it")),
            (format!("{realm}key = \"MARK\""), Err("has less than 32 bytes; openssl rand")),
            (format!("{realm}key = \"{{{{secret:NONE}}}}\""), Err("secret NONE is in none of the sources")),
            (format!("realm = \"cache.example\"\nkey = \"{long}\""), Err("is a URL such as")),
            (format!("realm = \"https://a\\\",x=\\\"\"\nkey = \"{long}\""), Err("is a URL such as")),
        ] {
            match (loaded(&[], &[], &table(&text)), expected) {
                (Ok(config), Ok(keys)) => assert_eq!(config.access.tokens.map_or(0, |tokens| tokens.keys.len()), keys, "{text}"),
                (Err(told), Err(why)) => assert!(told.contains(why) && !told.contains("MARK"), "{text}: {told}"),
                (outcome, _) => panic!("{text}: {:?}", outcome.map(|config| config.access)),
            }
        }
    }

    #[test]
    fn an_empty_list_of_hosts_takes_back_those_of_the_file() {
        let file = "[server]\nhosts = [\"a\"]";

        assert_eq!(loaded(&[], &[("LONGSHORE_HOSTS", "b, C")], file).unwrap().server.hosts, ["b", "c"]);
        assert_eq!(loaded(&[], &[("LONGSHORE_HOSTS", "")], file).unwrap().server.hosts, [""; 0]);
    }
}
