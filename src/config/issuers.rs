//! CI systems that vouch for jobs by tokens, as the file states them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layers::Word;
use super::problem::{Place, Problems};
use super::tables::{ISSUERS, Row, Tables, rows};
use super::units;
use crate::access::{Algorithm, Issuer, KeySet, TextPattern, Trust, is_of_a_key_pair, is_safe_url};
use crate::tls::trusted;

/// The keys of an issuer.
const ISSUER: [&str; 8] = ["name", "issuer", "audience", "jwks", "ca_bundle", "algorithms", "require", "session"];

/// How tokens may be signed where nothing is said: what CI systems use.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

/// The longest session.
const MAX_SESSION: Duration = Duration::from_secs(24 * 60 * 60);

/// Most bytes of a file of keys.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Issuers that serve everybody, by what their URL begins with, and the claims that tell whose job it is.
const PUBLIC: &[(&str, &[&str])] = &[
    (
        "https://token.actions.githubusercontent.com",
        &["repository_owner", "repository_owner_id", "repository", "repository_id", "enterprise", "enterprise_id", "sub"],
    ),
    ("https://gitlab.com", &["namespace_path", "namespace_id", "project_path", "project_id", "sub"]),
    ("https://agent.buildkite.com", &["organization_slug", "organization_id", "sub"]),
    ("https://accounts.google.com", &["email", "hd", "sub"]),
];

/// Issuers, and the files that were read for them.
pub fn issuers(tables: &Tables, problems: &mut Problems) -> (Vec<Issuer>, Vec<PathBuf>) {
    let (mut issuers, mut files) = (Vec::<Issuer>::new(), Vec::new());
    for row in rows(tables, ISSUERS) {
        let file = |key: &&str| row.text(key, &mut Problems::default()).map(|word| PathBuf::from(word.text));
        files.extend(["jwks", "ca_bundle"].iter().filter_map(file));
        let Some(issuer) = issuer(row, problems) else { continue };
        for (key, is_same) in
            [("name", issuers.iter().any(|it| it.name == issuer.name)), ("issuer", issuers.iter().any(|it| it.url == issuer.url))]
        {
            if is_same {
                problems.push(row.place_of(key).clone(), "another issuer has it too");
            }
        }
        issuers.push(issuer);
    }
    (issuers, files)
}

/// An issuer, unless something is wrong with it.
fn issuer(row: &Row, problems: &mut Problems) -> Option<Issuer> {
    row.refuse_others(&ISSUER, problems);
    for (key, such_as) in
        [("name", "github"), ("issuer", "https://token.actions.githubusercontent.com"), ("audience", "longshore")]
    {
        if !row.has(key) {
            problems.push(row.place.clone(), format!("needs {key}, such as {key} = {such_as:?}"));
        }
    }
    let name = row.text("name", problems).and_then(|word| checked(word, is_name, "1 to 64 letters, digits, - and _", problems));
    let url = row.text("issuer", problems).and_then(|word| {
        checked(word, is_safe_url, "a URL as the tokens have it, with https:// (or http:// on this machine)", problems)
    });
    let audiences = row.several("audience", problems);
    let algorithms = match row.has("algorithms") {
        true => row.list("algorithms", algorithm, problems),
        false => Some(ALGORITHMS.to_vec()),
    };
    let keys = or(row, "jwks", None, problems, |word, problems| keys(word, problems).map(Some));
    let trust = or(row, "ca_bundle", None, problems, |word, problems| trust(row, word, problems).map(Some));
    let session = or(row, "session", Duration::ZERO, problems, session);
    let require = require(row, problems);
    let (url, require) = (url?, require?);
    refuse_everybody(&url, &require, row.place_of("require"), problems);
    let issuer = Issuer {
        name: name?.as_str().into(),
        url,
        audiences: audiences?,
        algorithms: algorithms?,
        require,
        session: session?,
        keys: keys?,
        trust: trust?,
    };
    Some(issuer)
}

/// What is stated at `key`, as `read` has it; `unstated` where nothing is.
fn or<T>(
    row: &Row,
    key: &str,
    unstated: T,
    problems: &mut Problems,
    read: impl FnOnce(Word, &mut Problems) -> Option<T>,
) -> Option<T> {
    if row.has(key) { row.text(key, problems).and_then(|word| read(word, problems)) } else { Some(unstated) }
}

fn algorithm(text: &str) -> Result<Algorithm, &'static str> {
    let known = text.parse().ok().filter(|known| is_of_a_key_pair(*known));
    known.ok_or("must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA")
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(is_plain)
}

fn checked(word: Word, is_good: impl Fn(&str) -> bool, what: &str, problems: &mut Problems) -> Option<String> {
    let Word { text, place } = word;
    if is_good(&text) {
        return Some(text);
    }
    problems.push(place, format!("must be {what}"));
    None
}

fn session(Word { text, place }: Word, problems: &mut Problems) -> Option<Duration> {
    match units::duration(&text, &(Duration::ZERO..=MAX_SESSION)) {
        Ok(session) => Some(session),
        Err(error) => {
            problems.push(place, format!("{text:?}: {error}"));
            None
        }
    }
}

/// The certificates in a file, where anybody is asked who could show one of them.
fn trust(row: &Row, Word { text: path, place }: Word, problems: &mut Problems) -> Option<Trust> {
    let is_in_the_open = row.text("issuer", &mut Problems::default()).is_some_and(|word| word.text.starts_with("http://"));
    let read = match (row.has("jwks"), is_in_the_open) {
        (true, _) => Err("is of no use beside jwks: nobody is asked".to_owned()),
        (_, true) => Err("takes an issuer with https://".to_owned()),
        _ => trusted(Path::new(&path)).map_err(|mistake| mistake.to_string()),
    };
    match read {
        Ok(trust) => Some(trust),
        Err(message) => {
            problems.push(place, message);
            None
        }
    }
}

/// The keys in a file.
fn keys(Word { text: path, place }: Word, problems: &mut Problems) -> Option<KeySet> {
    let read = || {
        let metadata = std::fs::metadata(&path).map_err(|error| format!("cannot be read: {error}"))?;
        if metadata.len() > MAX_FILE_BYTES {
            return Err("is larger than 256 KiB".to_owned());
        }
        let text = std::fs::read(&path).map_err(|error| format!("cannot be read: {error}"))?;
        KeySet::parse(&text).map_err(|error| error.to_string())
    };
    match read() {
        Ok(keys) => Some(keys),
        Err(message) => {
            problems.push(place, format!("{path:?} {message}"));
            None
        }
    }
}

/// What the claims must be like.
fn require(row: &Row, problems: &mut Problems) -> Option<BTreeMap<Box<str>, TextPattern>> {
    if !row.has("require") {
        return Some(BTreeMap::new());
    }
    let Some(table) = row.table("require") else {
        problems.push(row.place_of("require").clone(), "must be a table, such as { repository_owner = \"org\" }");
        return None;
    };
    let patterns = table.patterns(problems)?;
    Some(patterns.into_iter().map(|(claim, pattern)| (claim.into(), pattern)).collect())
}

/// An issuer that serves everybody vouches for anybody's job: something must tell ours.
fn refuse_everybody(url: &str, require: &BTreeMap<Box<str>, TextPattern>, place: &Place, problems: &mut Problems) {
    let is_of = |host: &str| url.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let Some((_, claims)) = PUBLIC.iter().find(|(host, _)| is_of(host)) else { return };
    // What begins with a star, or within a component, is anybody's who takes such a name.
    let is_narrow = |claim: &str, pattern: &TextPattern| claims.contains(&claim) && !pattern.beginning().is_empty();
    if !require.iter().any(|(claim, pattern)| is_narrow(claim, pattern)) {
        let message = format!(
            "{url} vouches for everybody's jobs; require must say whose are meant, by one of {}, and not begin with a star",
            claims.join(", ")
        );
        problems.push(place.clone(), message);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::people::tests::of;

    /// An RSA key of 2048 bits and one that is for nothing.
    const JWKS: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}, {"kty": "oct", "k": "AA"}]}"#;

    fn load(issuer: &str) -> Result<crate::config::Config, String> {
        of(&format!("[[access.issuers]]\n{issuer}"))
    }

    const REST: &str = "name = \"ci\"\nissuer = \"https://ci.example\"\naudience = \"longshore\"\n";

    #[test]
    fn an_issuer_is_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let jwks = folder.path().join("jwks.json");
        std::fs::write(&jwks, JWKS).unwrap();
        let more = format!(
            "jwks = \"{}\"\nsession = \"6h\"\nalgorithms = [\"EdDSA\"]\nrequire = {{ org = \"ours\" }}\n\
             [[access.grants]]\nwho = {{ issuer = \"ci\", ref = \"refs/heads/*\" }}\nimages = [\"{{project}}/**\"]\n\
             tags = [\"cache-{{ref_slug}}\"]\nallow = [\"read\"]\n",
            jwks.display()
        );

        let config = load(&format!("{REST}{more}")).unwrap();

        let issuer = &config.access.issuers[0];
        assert_eq!((&*issuer.name, issuer.url.as_str(), issuer.session.as_secs()), ("ci", "https://ci.example", 6 * 3600));
        assert!(issuer.keys.is_some() && config.files.contains(&jwks));
        assert_eq!(
            config.access.grants[0].to_string(),
            "who { issuer = \"ci\", ref = \"refs/heads/*\" }, images {project}/**, tags cache-{ref_slug}, allow read"
        );
        assert_eq!(config.warnings, [""; 0]);
    }

    #[test]
    fn every_mistake_of_an_issuer_has_its_message() {
        for (text, message) in [
            ("name = \"ci\"\nissuer = \"https://ci.example\"".to_owned(), "access.issuers  line 1  needs audience"),
            (REST.replace("\"ci\"", "\"c i\""), "access.issuers.name  line 2  must be 1 to 64 letters"),
            (REST.replace("https://ci", "http://ci"), "access.issuers.issuer  line 3  must be a URL as the tokens have it"),
            (REST.replace("https://ci", "https://u@ci"), "must be a URL"),
            (format!("{REST}audiences = \"x\""), "there is no such key; did you mean audience?"),
            (REST.replace("\"longshore\"", "[]"), "is empty; name at least one"),
            (REST.replace("\"longshore\"", "1"), "must be a text or a list of texts, not a number"),
            (format!("{REST}session = \"2d\""), "access.issuers.session  line 5  \"2d\": must be at most 1d"),
            (format!("{REST}jwks = \"/no/such/file\""), "\"/no/such/file\" cannot be read: No such file"),
            (format!("{REST}jwks = \"/etc/hostname\""), "is no set of keys in JSON"),
            (format!("{REST}ca_bundle = \"/no/such/file\""), "access.issuers.ca_bundle  line 5  /no/such/file: cannot be read"),
            (format!("{REST}ca_bundle = \"/etc/hostname\""), "/etc/hostname: has no certificate in PEM"),
            (
                format!("{}ca_bundle = \"/x\"", REST.replace("https://ci.example", "http://localhost")),
                "takes an issuer with https://",
            ),
            (format!("{REST}algorithms = [\"HS256\"]"), "\"HS256\": must be one of RS256"),
            (format!("{REST}algorithms = [\"none\"]"), "\"none\": must be one of RS256"),
            (format!("{REST}require = \"x\""), "must be a table, such as"),
            (format!("{REST}require = {{ a = 1 }}"), "access.issuers.require.a  line 5  must be a text, not a number"),
            (format!("{REST}[[access.issuers]]\n{}", REST.replace("https://ci", "https://other")), "another issuer has it too"),
            (format!("{REST}[[access.issuers]]\n{}", REST.replace("\"ci\"", "\"other\"")), "another issuer has it too"),
        ] {
            let told = load(&text).unwrap_err();
            assert!(told.contains(message) && told.contains("1 problem\n"), "{text}\n{told}");
        }
        let grant = "[[access.grants]]\nwho = { issuer = \"cj\" }\nimages = [\"a\"]\nallow = [\"read\"]";
        let told = load(&format!("{REST}{grant}")).unwrap_err();
        assert!(told.contains("there is no issuer cj in access.issuers; did you mean ci?"), "{told}");
    }

    #[test]
    fn who_vouches_for_everybody_is_believed_of_some_only() {
        let with = |url: &str, require: &str| {
            load(&REST.replace("https://ci.example", url).replace("\"longshore\"", &format!("\"longshore\"\n{require}")))
        };
        for (url, require, is_fine) in [
            ("https://token.actions.githubusercontent.com", "", false),
            ("https://token.actions.githubusercontent.com", "require = { repository_owner = \"*\" }", false),
            ("https://token.actions.githubusercontent.com", "require = { repository = \"*/app\" }", false),
            ("https://token.actions.githubusercontent.com", "require = { repository_owner = \"org-*\" }", false),
            ("https://token.actions.githubusercontent.com", "require = { ref = \"refs/heads/main\" }", false),
            ("https://token.actions.githubusercontent.com", "require = { repository_owner = \"org\" }", true),
            ("https://token.actions.githubusercontent.com", "require = { repository = \"org/*\" }", true),
            ("https://token.actions.githubusercontent.com", "require = { sub = \"repo:org/app:**\" }", true),
            ("https://token.actions.githubusercontent.com/enterprise", "", false),
            ("https://gitlab.com", "require = { project_path = \"**\" }", false),
            ("https://gitlab.com", "require = { namespace_path = \"org\" }", true),
            ("https://agent.buildkite.com", "require = { pipeline_slug = \"app\" }", false),
            ("https://agent.buildkite.com", "require = { organization_slug = \"org\" }", true),
            ("https://accounts.google.com", "", false),
            ("https://gitlab.company.example", "", true),
            ("https://gitlab.com.example", "", true),
        ] {
            match with(url, require) {
                Ok(_) => assert!(is_fine, "{url} {require}"),
                Err(told) => assert!(!is_fine && told.contains("vouches for everybody's jobs"), "{url} {require}: {told}"),
            }
        }
    }
}
