//! Every mistake in what says who may do what, and in how listeners greet: where it is, what is wrong, and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::longshore;
use crate::support::{scratch, tools};

/// What stands in the tables below for more.
const SHORT: &[(&str, &str)] = &[
    ("<issuer>", "[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = \"longshore\""),
    ("<anyone>", "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]\nallow = [\"read\"]"),
    ("<grant> ", "[[access.grants]]\n"),
    ("<rest>", "\nimages = [\"a\"]\nallow = [\"read\"]"),
    ("<listener>", "[[server.listeners]]\naddress = \"127.0.0.1:1\""),
    ("<realm>", "realm = \"https://cache.example/token\""),
    ("<key>", "0123456789abcdef0123456789abcdef"),
    ("<hash>", "$2y$10$wEMr3aKSJ2nLWPgd1.SXYe8vVLVHALBc7rCVCLTTMzqNXaGsKqdv2"),
];

const ACCESS: &[(&str, &str)] = &[
    ("[access]\nanonymos = \"read\"", "access.anonymos  line 2  there is no such key; did you mean anonymous?"),
    ("[access]\nanonymous = \"all\"", "access.anonymous  line 2  \"all\": must be one of none, read, write"),
    ("[access]\nanonymous = 1", "access.anonymous  line 2  must be a text, not a number"),
    ("[access]\nallow_plain_http = \"yes\"", "access.allow_plain_http  line 2  must be true or false, not a text"),
    ("acces = 1", "acces  line 1  there is no such key; did you mean access?"),
    ("[access]\ngrant = []", "access.grant  line 2  there is no such key; did you mean grants?"),
    ("[access]\nissuer = []", "access.issuer  line 2  there is no such key; did you mean issuers?"),
    ("[access]\nuser = 1", "access.user  line 2  there is no such key; did you mean users?"),
];

const PEOPLE: &[(&str, &str)] = &[
    ("[access]\nhtpaswd = \"/x\"", "access.htpaswd  line 2  there is no such key; did you mean htpasswd?"),
    (
        "[access]\nhtpasswd = \"/no/such\"",
        "access.htpasswd  line 2  \"/no/such\" cannot be read: No such file or directory (os error 2)",
    ),
    ("[access]\nhtpasswd = \"$/garbage\"", "access.htpasswd  line 2  line 1: is no name and hash with a colon between"),
    ("[access]\nhtpasswd = \"$\"", "access.htpasswd  line 2  \"$\" cannot be read: it is not a file"),
    ("[access]\nhtpasswd = \"\"", "access.htpasswd  line 2  is empty; give it a value or take it away"),
    (
        "[access.users]\nalice = \"plain\"",
        "access.users.alice  line 2  is no bcrypt hash, such as htpasswd -nB USER makes: $2y$10$ and 53 characters",
    ),
    ("[access.users]\nalice = 1", "access.users.alice  line 2  must be a text, not a number"),
    (
        "[access.users]\n\"a:b\" = \"<hash>\"",
        "access.users.\"a:b\"  line 2  a user's name is 1 to 255 characters without a colon",
    ),
    ("[access.users]\n\"\" = \"<hash>\"", "access.users.\"\"  line 2  a user's name is 1 to 255 characters without a colon"),
    ("[access.users]\nalice = \"{{secret:NO}}\"", "access.users.alice  line 2  secret NO is in none of the sources"),
    (
        "[access.users]\nalice = \"{{secret:NO\"",
        "access.users.alice  line 2  after {{ comes secret:NAME}}, as in {{secret:CACHE_KEY}}",
    ),
    ("[access]\nusers = \"x\"", "access.users  line 2  must be a table, [access.users], not a text"),
    ("[access.groups]\nops = \"a\"", "access.groups.ops  line 2  must be a list of texts, not a text"),
    ("[access.groups]\nops = []", "access.groups.ops  line 2  is empty; name at least one"),
    ("[access.groups]\nops = [1]", "access.groups.ops  line 2  must be a list of texts, not a list of other things"),
    ("[access.groups]\nops = 1", "access.groups.ops  line 2  must be a list of texts, not a number"),
];

const GRANTS: &[(&str, &str)] = &[
    ("[access.grants]\nwho = \"anyone\"", "access.grants  line 1  must be tables, each under [[access.grants]], not a table"),
    (
        "[[access.grants]]",
        "access.grants  line 1  needs who, such as who = { user = \"alice\" }\naccess.grants  line 1  needs images, such as images = [\"org/**\"]\naccess.grants  line 1  needs allow, such as allow = [\"read\", \"write\"]",
    ),
    ("<grant> who = { issuer = \"ci\" }<rest>", "access.grants.who.issuer  line 2  there is no issuer ci in access.issuers"),
    (
        "<grant> who = { usr = \"a\" }<rest>",
        "access.grants.who.usr  line 2  is a claim, which only an issuer's tokens have; name it beside, as in issuer = \"github\"",
    ),
    (
        "<grant> who = { user = \"a\", issuer = \"x\" }<rest>",
        "access.grants.who.issuer  line 2  there is no issuer x in access.issuers",
    ),
    (
        "<grant> who = \"everybody\"<rest>",
        "access.grants.who  line 2  \"everybody\": is \"anyone\", or a table such as { user = \"alice\" }",
    ),
    (
        "<grant> who = {}<rest>",
        "access.grants.who  line 2  names nobody: a user, a group, a certificate, its subject, or an issuer with claims",
    ),
    (
        "<grant> who = { user = \"\" }<rest>",
        "access.grants.who.user  line 2  \"\": a pattern has 1 to 512 bytes and at most 16 stars",
    ),
    ("<grant> who = { user = [\"a\"] }<rest>", "access.grants.who.user  line 2  must be a text, not a list"),
    (
        "<grant> who = { certificate = \"a\", user = \"b\" }<rest>",
        "access.grants.who.user  line 2  cannot stand beside certificate",
    ),
    ("<grant> who = { group = \"x\" }<rest>", "access.grants.who.group  line 2  there is no group x in access.groups"),
    (
        "<issuer>\n<grant> who = { issuer = \"cii\" }<rest>",
        "access.grants.who.issuer  line 6  there is no issuer cii in access.issuers; did you mean ci?",
    ),
    (
        "<issuer>\n<grant> who = { issuer = \"ci\", ref = \"\" }<rest>",
        "access.grants.who.ref  line 6  \"\": a pattern has 1 to 512 bytes and at most 16 stars",
    ),
    (
        "<issuer>\n<grant> who = { issuer = \"c*\" }<rest>",
        "access.grants.who.issuer  line 6  there is no issuer c* in access.issuers; did you mean ci?",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"\"]\nallow = [\"read\"]",
        "access.grants.images  line 3  \"\": a pattern has 1 to 512 bytes and at most 16 stars",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"A\"]\nallow = [\"read\"]",
        "access.grants.images  line 3  \"A\": a pattern is components with / between: lowercase letters, digits, . _ - and *, which is any run without /; a component ** is any number of components",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = []\nallow = [\"read\"]",
        "access.grants.images  line 3  is empty; name at least one",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a/**b\"]\nallow = [\"read\"]",
        "access.grants.images  line 3  \"a/**b\": a pattern is components with / between: lowercase letters, digits, . _ - and *, which is any run without /; a component ** is any number of components",
    ),
    ("<anyone>\ntags = [\"\"]", "access.grants.tags  line 5  \"\": a pattern has 1 to 512 bytes and at most 16 stars"),
    (
        "<anyone>\ntags = [\"a/b\"]",
        "access.grants.tags  line 5  \"a/b\": a pattern on tags has letters, digits, dots, dashes, underscores, * and claims in braces, and begins with none of . and -",
    ),
    ("<anyone>\ntags = []", "access.grants.tags  line 5  is empty; name at least one"),
    (
        "<anyone>\ntags = [\"{ref_slug\"]",
        "access.grants.tags  line 5  \"{ref_slug\": { and } stand around the name of a claim, as in cache-{ref_slug}",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]",
        "access.grants  line 1  needs allow, such as allow = [\"read\", \"write\"]",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]\nallow = []",
        "access.grants.allow  line 4  is empty; name at least one",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]\nallow = [\"push\"]",
        "access.grants.allow  line 4  \"push\": must be one of read, write, delete, create",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]\nallow = \"read\"",
        "access.grants.allow  line 4  must be a list of texts, not a text",
    ),
    ("<anyone>\npush = \"keep\"", "access.grants.push  line 5  \"keep\": must be \"discard\", or be left out"),
    ("<anyone>\npull = \"discard\"", "access.grants.pull  line 5  \"discard\": must be \"skip\", or be left out"),
    ("<anyone>\ntag = [\"a\"]", "access.grants.tag  line 5  there is no such key; did you mean tags?"),
    (
        "[[access.grants]]\nimages = [\"a\"]\nallow = [\"read\"]",
        "access.grants  line 1  needs who, such as who = { user = \"alice\" }",
    ),
    (
        "[[access.grants]]\nwho = \"anyone\"\nallow = [\"read\"]",
        "access.grants  line 1  needs images, such as images = [\"org/**\"]",
    ),
];

const ISSUERS: &[(&str, &str)] = &[
    (
        "[[access.issuers]]\nissuer = \"https://ci.example\"\naudience = \"longshore\"",
        "access.issuers  line 1  needs name, such as name = \"github\"",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\naudience = \"longshore\"",
        "access.issuers  line 1  needs issuer, such as issuer = \"https://token.actions.githubusercontent.com\"",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"",
        "access.issuers  line 1  needs audience, such as audience = \"longshore\"",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"http://ci.example\"\naudience = \"longshore\"",
        "access.issuers.issuer  line 3  must be a URL as the tokens have it, with https:// (or http:// on this machine)",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"ci.example\"\naudience = \"longshore\"",
        "access.issuers.issuer  line 3  must be a URL as the tokens have it, with https:// (or http:// on this machine)",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = \"\"",
        "access.issuers.audience  line 4  is empty; give it a value or take it away",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = [\"\"]",
        "access.issuers.audience  line 4  \"\": is empty; give it a value or take it away",
    ),
    ("<issuer>\nalgorithms = []", "access.issuers.algorithms  line 5  is empty; name at least one"),
    (
        "<issuer>\nalgorithms = [\"HS256\"]",
        "access.issuers.algorithms  line 5  \"HS256\": must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
    ),
    (
        "<issuer>\nrequire = { a = \"\" }",
        "access.issuers.require.a  line 5  \"\": a pattern has 1 to 512 bytes and at most 16 stars",
    ),
    ("<issuer>\nrequire = \"x\"", "access.issuers.require  line 5  must be a table, such as { repository_owner = \"org\" }"),
    ("<issuer>\nsession = 6", "access.issuers.session  line 5  must be a text, not a number"),
    ("<issuer>\nsession = \"25h\"", "access.issuers.session  line 5  \"25h\": must be at most 1d"),
    ("<issuer>\njwks = \"/no\"", "access.issuers.jwks  line 5  \"/no\" cannot be read: No such file or directory (os error 2)"),
    (
        "<issuer>\njwks = \"$/garbage\"",
        "access.issuers.jwks  line 5  \"$/garbage\" is no set of keys in JSON: {\"keys\": [...]} with 1 to 100",
    ),
    ("<issuer>\njwks = 1", "access.issuers.jwks  line 5  must be a text, not a number"),
    ("<issuer>\nrequires = 1", "access.issuers.requires  line 5  there is no such key; did you mean require?"),
    (
        "<issuer>\n[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci2.example\"\naudience = \"longshore\"",
        "access.issuers.name  line 6  another issuer has it too",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"https://token.actions.githubusercontent.com\"\naudience = \"longshore\"",
        "access.issuers  line 1  https://token.actions.githubusercontent.com vouches for everybody's jobs; require must say whose are meant, by one of repository_owner, repository_owner_id, repository, repository_id, enterprise, enterprise_id, sub, and not begin with a star",
    ),
    (
        "[[access.issuers]]\nname = \"ci\"\nissuer = \"https://gitlab.com\"\naudience = \"longshore\"\nrequire = { project_path = \"*\" }",
        "access.issuers.require  line 5  https://gitlab.com vouches for everybody's jobs; require must say whose are meant, by one of namespace_path, namespace_id, project_path, project_id, sub, and not begin with a star",
    ),
];

const TOKENS: &[(&str, &str)] = &[
    ("[access.token]\n<realm>", "access.token.realm  line 2  needs access.token.key beside it"),
    ("[access.token]\nkey = \"<key>\"", "access.token.key  line 2  needs access.token.realm beside it"),
    (
        "[access.token]\n<realm>\nkey = \"short\"",
        "access.token.key  line 3  has less than 32 bytes; openssl rand -hex 32 makes one",
    ),
    ("[access.token]\n<realm>\nkey = \"{{secret:NO}}\"", "access.token.key  line 3  secret NO is in none of the sources"),
    (
        "[access.token]\nrealm = \"cache\"\nkey = \"<key>\"",
        "access.token.realm  line 2  \"cache\": is a URL such as https://cache.example/token",
    ),
    (
        "[access.token]\n<realm>\nkey = \"<key>\"\nprevious_key = \"x\"",
        "access.token.previous_key  line 4  has less than 32 bytes; openssl rand -hex 32 makes one",
    ),
    ("[access.token]\nprevious_key = \"<key>\"", "access.token.previous_key  line 2  needs access.token.key beside it"),
    ("[access.token]\nrealms = \"x\"", "access.token.realms  line 2  there is no such key; did you mean realm?"),
    ("[access]\ntoken = 1", "access.token  line 2  must be a table, not a number"),
];

const TLS: &[(&str, &str)] = &[
    (
        "<listener>\ntls = {  }",
        "server.listeners.tls  line 3  needs cert, a file in PEM\nserver.listeners.tls  line 3  needs key, a file in PEM",
    ),
    ("<listener>\ntls = { cert = \"$/a.pem\" }", "server.listeners.tls  line 3  needs key, a file in PEM"),
    ("<listener>\ntls = { key = \"$/a.key\" }", "server.listeners.tls  line 3  needs cert, a file in PEM"),
    (
        "<listener>\ntls = { cert = \"/no\", key = \"$/a.key\" }",
        "server.listeners.tls.cert  line 3  /no: cannot be read: No such file or directory (os error 2)",
    ),
    (
        "<listener>\ntls = { cert = \"$/a.pem\", key = \"/no\" }",
        "server.listeners.tls.key  line 3  /no: cannot be read: No such file or directory (os error 2)",
    ),
    (
        "<listener>\ntls = { cert = \"$/empty\", key = \"$/a.key\" }",
        "server.listeners.tls.cert  line 3  $/empty: has no certificate in PEM",
    ),
    (
        "<listener>\ntls = { cert = \"$/broken.pem\", key = \"$/a.key\" }",
        "server.listeners.tls.cert  line 3  $/broken.pem: has a certificate that makes no sense; it must be X.509",
    ),
    (
        "<listener>\ntls = { cert = \"$/a.key\", key = \"$/a.pem\" }",
        "server.listeners.tls.cert  line 3  $/a.key: has no certificate in PEM",
    ),
    (
        "<listener>\ntls = { cert = \"$/a.pem\", key = \"$/b.key\" }",
        "server.listeners.tls.key  line 3  $/b.key: is not the key of the certificate in $/a.pem",
    ),
    (
        "<listener>\ntls = { cert = \"$/a.pem\", key = \"$/a.key\", client_ca = \"/no\" }",
        "server.listeners.tls.client_ca  line 3  /no: cannot be read: No such file or directory (os error 2)",
    ),
    (
        "<listener>\ntls = { cert = \"$/a.pem\", key = \"$/a.key\", client_ca = \"$/empty\" }",
        "server.listeners.tls.client_ca  line 3  $/empty: has no certificate in PEM",
    ),
    (
        "<listener>\ntls = { cert = \"$/a.pem\", key = \"$/a.key\", client_ca = \"$/broken.pem\" }",
        "server.listeners.tls.client_ca  line 3  $/broken.pem: has a certificate that makes no sense; it must be X.509",
    ),
    (
        "<listener>\ntls = { cert = \"$/large\", key = \"$/a.key\" }",
        "server.listeners.tls.cert  line 3  $/large: is larger than 1 MiB",
    ),
    (
        "<listener>\ntls = { cert = \"$\", key = \"$/a.key\" }",
        "server.listeners.tls.cert  line 3  $: cannot be read: Is a directory (os error 21)",
    ),
    (
        "<listener>\ntls = { cert = \"\", key = \"\" }",
        "server.listeners.tls.cert  line 3  is empty; give it a value or take it away\nserver.listeners.tls.key  line 3  is empty; give it a value or take it away",
    ),
    ("<listener>\ntls = { cert = [\"a\"], key = \"b\" }", "server.listeners.tls.cert  line 3  must be a text, not a list"),
    (
        "<listener>\ntls = { certificate = \"a\" }",
        "server.listeners.tls.certificate  line 3  there is no such key\nserver.listeners.tls  line 3  needs cert, a file in PEM\nserver.listeners.tls  line 3  needs key, a file in PEM",
    ),
    ("<listener>\ntls = \"x\"", "server.listeners.tls  line 3  must be a table, not a text"),
    ("<listener>\ntls = []", "server.listeners.tls  line 3  must be a table, not a list"),
    ("[server]\ntls = { cert = \"a\" }", "server.tls  line 2  there is no such key; did you mean server.listeners.tls?"),
    (
        "<listener>\ntls = { cert = \"$/a.pem\", key = \"$/a.key\", client_ca = \"\" }",
        "server.listeners.tls.client_ca  line 3  is empty; give it a value or take it away",
    ),
];

/// Files that are what they should be, and others that are not. `$` is the folder of them.
fn fill(folder: &Path) {
    for name in ["a", "b"] {
        let words = format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=a -keyout {name}.key -out {name}.pem"
        );
        let made = Command::new(tools::debian_tool("openssl"))
            .args(words.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{made:?}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [("empty", ""), ("garbage", "not pem\n"), ("broken.pem", broken), ("large", &"\0".repeat(2 << 20))] {
        fs::write(folder.join(name), text).expect("it is written");
    }
}

/// What is told of each of `rows` is just what it says.
fn check(rows: &[(&str, &str)]) {
    let folder = scratch("mistakes");
    fill(folder.path());
    let at = folder.path().to_str().expect("a plain path");
    for (text, expected) in rows {
        let (text, expected) = (
            text.replace('$', at),
            expected.replace("$/", &format!("{at}/")).replace("\"$\"", &format!("{at:?}")).replace("  $:", &format!("  {at}:")),
        );
        let text = SHORT.iter().fold(text, |text, (short, long)| text.replace(short, long));
        let (_folder, path) = crate::file(&text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");

        let outcome = longshore(&["check", "--config", &path], &[]);

        let told: Vec<_> = outcome
            .stderr
            .lines()
            .skip(1)
            .map(|line| {
                // Places stand in a column.
                let words = line.split("  ").map(str::trim).filter(|word| !word.is_empty());
                words.collect::<Vec<_>>().join("  ")
            })
            .collect();
        assert_eq!((outcome.status, told.join("\n")), (Some(2), expected), "{text}");
    }
}

#[test]
fn every_mistake_about_everybody_and_about_users_has_its_message() {
    check(ACCESS);
    check(PEOPLE);
}

#[test]
fn every_mistake_of_a_grant_has_its_message() {
    check(GRANTS);
}

#[test]
fn every_mistake_of_an_issuer_has_its_message() {
    check(ISSUERS);
}

#[test]
fn every_mistake_of_the_servers_own_tokens_has_its_message() {
    check(TOKENS);
}

#[test]
fn every_mistake_of_a_listeners_tls_has_its_message() {
    check(TLS);
}
