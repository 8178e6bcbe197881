//! Users, groups and grants, as the file states them.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::path::PathBuf;

use super::issuers;
use super::layers::{Layers, Word};
use super::problem::{Problems, did_you_mean, nearest};
use super::rules;
use super::setting::{HTPASSWD, WHO as SERVED};
use super::tables::{Cell, GRANTS, GROUPS, ISSUERS, LISTENER_TLS, Row, TABLES, Tables, rows};
use super::users::{groups, htpasswd, users, warn_of_exposed};
use super::{Listener, Profile};
use crate::access::{Grant, Issuer, TextPattern, User, Verb, Who};
use crate::secrets::Secrets;

/// What the key of a grant stands in that means everybody.
const ANYONE: &str = "anyone";

/// The keys of a grant.
const GRANT: [&str; 6] = ["who", "images", "tags", "allow", "push", "pull"];

/// The keys of who is meant that are no claims.
const WHO: [&str; 5] = ["user", "group", "certificate", "subject", "issuer"];

/// Who is known, and who may do what.
#[derive(Default)]
pub struct People {
    /// Those who have passwords.
    pub users: Vec<User>,
    /// Those who vouch for jobs.
    pub issuers: Vec<Issuer>,
    /// Who may do what.
    pub grants: Vec<Grant>,
    /// Users that are named together.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What else was read.
    pub files: Vec<PathBuf>,
}

/// Whom a grant can name.
struct Known<'a> {
    groups: &'a BTreeMap<String, Vec<String>>,
    issuers: &'a [Issuer],
}

/// All that the file states of people. What is wrong with it is told, and left out.
pub fn people(layers: &mut Layers, tables: &Tables, secrets: Option<&Secrets>, warnings: &mut Vec<String>) -> People {
    let mut problems = Problems::default();
    let groups = groups(tables, &mut problems);
    let mut users = users(tables, secrets, &mut problems);
    warn_of_exposed(tables, warnings);
    layers.read(&HTPASSWD, |text| Ok::<_, String>(text.to_owned()));
    let file = layers.word(&HTPASSWD).filter(|word| !word.text.is_empty()).cloned();
    if let Some(file) = &file {
        users.extend(htpasswd(file, &users, &mut problems, warnings));
    }
    for user in &mut users {
        let is_in = |members: &[String]| members.iter().any(|member| **member == *user.name);
        user.groups = groups.iter().filter(|(_, members)| is_in(members)).map(|(group, _)| group.as_str().into()).collect();
    }
    let (issuers, mut files) = issuers::issuers(tables, &mut problems);
    let known = Known { groups: &groups, issuers: &issuers };
    let grants = rows(tables, GRANTS).iter().filter_map(|row| grant(row, &known, &mut problems)).collect();
    files.extend(file.map(|word| PathBuf::from(word.text)));
    layers.problems.extend(problems);
    let people = People { users, issuers, grants, groups, files };
    people.warn(rows(tables, LISTENER_TLS).iter().any(|row| row.has("client_ca")), warnings);
    people
}

/// Whether anything is stated of people, so that not everybody is meant.
pub fn are_stated(layers: &Layers, tables: &Tables) -> bool {
    TABLES.iter().any(|(name, _)| tables.contains_key(name)) || layers.word(&HTPASSWD).is_some()
}

/// A grant, unless something is wrong with it.
fn grant(row: &Row, known: &Known<'_>, problems: &mut Problems) -> Option<Grant> {
    row.refuse_others(&GRANT, problems);
    for key in ["who", "images", "allow"].into_iter().filter(|key| !row.has(key)) {
        problems.push(row.place.clone(), format!("needs {key}, such as {}", example(key)));
    }
    let who = who(row, known, problems);
    let images = row.list("images", TextPattern::on_image, problems);
    let tags = match row.has("tags") {
        true => row.list("tags", TextPattern::on_tag, problems),
        false => TextPattern::on_tag("*").ok().map(|all| vec![all]),
    };
    let allow = row.list("allow", verb, problems);
    let discards = choice(row, "push", "discard", problems);
    let skips = choice(row, "pull", "skip", problems);
    Some(Grant { who: who?, images: images?, tags: tags?, allow: allow?, discards: discards?, skips: skips? })
}

fn example(key: &str) -> &'static str {
    match key {
        "who" => "who = { user = \"alice\" }",
        "images" => "images = [\"org/**\"]",
        _ => "allow = [\"read\", \"write\"]",
    }
}

fn verb(text: &str) -> Result<Verb, &'static str> {
    let verbs = [Verb::Read, Verb::Write, Verb::Delete, Verb::Create];
    let verb = verbs.into_iter().find(|verb| verb.to_string() == text);
    verb.ok_or("must be one of read, write, delete, create")
}

/// Whether `key` says the one thing that it can say.
fn choice(row: &Row, key: &str, word: &str, problems: &mut Problems) -> Option<bool> {
    if !row.has(key) {
        return Some(false);
    }
    let Word { text, place } = row.text(key, problems)?;
    if text != word {
        problems.push(place, format!("{text:?}: must be {word:?}, or be left out"));
        return None;
    }
    Some(true)
}

/// Whom a grant means.
fn who(row: &Row, known: &Known<'_>, problems: &mut Problems) -> Option<Who> {
    let Some(table) = row.table("who") else {
        let Word { text, place } = row.text("who", problems)?;
        if text == ANYONE {
            return Some(Who::Anyone);
        }
        problems.push(place, format!("{text:?}: is \"{ANYONE}\", or a table such as {{ user = \"alice\" }}"));
        return None;
    };
    let patterns = table.patterns(problems)?;
    of_patterns(table, patterns, known, problems)
}

fn of_patterns(
    table: &Row,
    mut patterns: BTreeMap<&str, TextPattern>,
    known: &Known<'_>,
    problems: &mut Problems,
) -> Option<Who> {
    if let Some(issuer) = patterns.remove("issuer") {
        if !known.issuers.iter().any(|it| *it.name == *issuer.as_str()) {
            let meant = did_you_mean(nearest(issuer.as_str(), known.issuers.iter().map(|issuer| &*issuer.name)));
            problems.push(table.place_of("issuer").clone(), format!("there is no issuer {issuer} in {ISSUERS}{meant}"));
            return None;
        }
        let claims = patterns.into_iter().map(|(claim, pattern)| (claim.into(), pattern)).collect();
        return Some(Who::Issued { issuer: issuer.as_str().into(), claims });
    }
    let strange: Vec<_> = patterns.keys().filter(|key| !WHO.contains(key)).collect();
    if let Some(key) = strange.first() {
        let message = "is a claim, which only an issuer's tokens have; name it beside, as in issuer = \"github\"";
        problems.push(table.place_of(key).clone(), message);
        return None;
    }
    for (key, who) in [("certificate", Who::Certified as fn(TextPattern) -> Who), ("subject", Who::Subject)] {
        let Some(pattern) = patterns.remove(key) else { continue };
        if let Some(other) = patterns.keys().next() {
            problems.push(table.place_of(other).clone(), format!("cannot stand beside {key}"));
            return None;
        }
        return Some(who(pattern));
    }
    let (name, group) = (patterns.remove("user"), patterns.remove("group"));
    if name.is_none() && group.is_none() {
        problems.push(table.place.clone(), "names nobody: a user, a group, a certificate, its subject, or an issuer with claims");
        return None;
    }
    if let Some(unknown) = group.as_ref().filter(|group| group.is_exact() && !known.groups.contains_key(group.as_str())) {
        let meant = did_you_mean(nearest(unknown.as_str(), known.groups.keys().map(String::as_str)));
        problems.push(table.place_of("group").clone(), format!("there is no group {unknown} in {GROUPS}{meant}"));
        return None;
    }
    Some(Who::User { name, group })
}

impl People {
    /// Whom a profile serves, by what `of_profile` states. What is wrong with it is told, and left out.
    pub fn whom(&self, of_profile: &Layers, problems: &mut Problems) -> Vec<Who> {
        let known = Known { groups: &self.groups, issuers: &self.issuers };
        let row = |table: rules::Table| {
            let cells = table.says.into_iter().map(|(key, Word { text, place })| (key, place, Cell::Text(text)));
            Row { place: table.place, cells: cells.collect() }
        };
        let stated = rules::tables(of_profile, &SERVED).into_iter().map(row);
        stated.filter_map(|row| of_patterns(&row, row.patterns(problems)?, &known, problems)).collect()
    }

    /// Warns of what can never match, and is most likely a slip; certificates can be shown if it `takes_certificates`.
    fn warn(&self, takes_certificates: bool, warnings: &mut Vec<String>) {
        let names: BTreeSet<&str> = self.users.iter().map(|user| &*user.name).collect();
        for (group, members) in &self.groups {
            let strangers = members.iter().filter(|member| !names.contains(member.as_str()));
            warnings.extend(strangers.map(|name| format!("{GROUPS}.{group} names {name}, who has no password here")));
        }
        for (index, grant) in self.grants.iter().enumerate() {
            if let Some(why) = self.why_never(grant, takes_certificates) {
                warnings.push(format!("grant {} can never match: {why} ({grant})", index + 1));
            }
        }
        if !(self.users.is_empty() && self.issuers.is_empty()) && self.grants.is_empty() {
            warnings.push(format!("there are users or issuers, but no {GRANTS} that let them do anything"));
        }
    }

    /// Why nobody could ever make use of `grant`.
    fn why_never(&self, grant: &Grant, takes_certificates: bool) -> Option<String> {
        let is_one = |user: &User| {
            let identity = crate::access::Identity::User { name: user.name.clone(), groups: user.groups.clone().into() };
            grant.who.means(&identity)
        };
        let is_foreign = |claim: &&str| match grant.who {
            Who::Anyone => true,
            Who::User { .. } => *claim != "user",
            Who::Certified(_) | Who::Subject(_) => !["certificate", "subject"].contains(claim),
            Who::Issued { .. } => false,
        };
        let claims_of = |patterns: &[TextPattern]| {
            let claims = patterns.iter().map(|pattern| pattern.claims().find(is_foreign).map(str::to_owned));
            // One pattern that can match is enough.
            claims.collect::<Option<Vec<_>>>().and_then(|claims| claims.into_iter().next())
        };
        match &grant.who {
            Who::User { .. } if !self.users.iter().any(is_one) => Some("no user is so".into()),
            Who::Certified(_) | Who::Subject(_) if !takes_certificates => {
                Some("no listener has a client_ca whose certificates could be shown".into())
            }
            _ => {
                let claim = claims_of(&grant.images).or_else(|| claims_of(&grant.tags))?;
                Some(format!("nobody whom it means has the claim {claim}"))
            }
        }
    }
}

/// Warns of listeners on which who says who they are is refused.
pub fn warn_of_plain_http(allowed: bool, has_people: bool, listeners: &[Listener], warnings: &mut Vec<String>) {
    let is_open = |listener: &&Listener| listener.tls.is_none() && !listener.address.ip().is_loopback();
    for listener in listeners.iter().filter(is_open).filter(|_| has_people && !allowed) {
        let address = listener.address;
        warnings.push(format!(
            "{address} speaks plain HTTP, and takes no passwords and tokens; give it TLS, or set access.allow_plain_http"
        ));
    }
}

/// Warns of grants on images that no profile has.
pub fn warn_of_no_profile(grants: &[Grant], profiles: &[Profile], listeners: &[Listener], warnings: &mut Vec<String>) {
    let takes_all = profiles.iter().any(|profile| profile.name == super::layers::DEFAULT);
    if takes_all || listeners.iter().any(|listener| listener.profile.is_some()) {
        return;
    }
    let images = profiles.iter().flat_map(|profile| &profile.images);
    let images: Vec<_> = images.filter_map(|image| TextPattern::on_image(image.as_str()).ok()).collect();
    let is_had = |pattern: &TextPattern| images.iter().any(|image| image.overlaps(pattern));
    let served: Vec<&Who> = profiles.iter().flat_map(|profile| &profile.who).collect();
    // Only those who ask can tell more than of which kind they are.
    let is_served = |who: &Who| served.iter().any(|its| *who == Who::Anyone || discriminant(*its) == discriminant(who));
    for (index, grant) in grants.iter().enumerate() {
        if !grant.images.iter().any(is_had) && !is_served(&grant.who) {
            warnings.push(format!("grant {} can never match: no profile has such images ({grant})", index + 1));
        }
    }
}

#[cfg(test)]
pub mod tests {
    use crate::config::tests::loaded;
    use crate::config::{Anonymous, Config};

    pub const HASH: &str = "$2y$10$wEMr3aKSJ2nLWPgd1.SXYe8vVLVHALBc7rCVCLTTMzqNXaGsKqdv2";

    pub fn of(text: &str) -> Result<Config, String> {
        loaded(&[], &[("LONGSHORE_SECRET_BOB", HASH)], &text.replace("<H>", HASH))
    }

    #[test]
    fn users_groups_and_grants_are_what_they_say() {
        let config = of("[access]\nanonymous = \"read\"\n[access.users]\nalice = \"<H>\"\nbob = \"{{secret:BOB}}\"\n\
            [access.groups]\nops = [\"alice\"]\nall = [\"alice\", \"bob\"]\n\
            [[access.grants]]\nwho = { group = \"ops\" }\nimages = [\"org/**\"]\nallow = [\"read\", \"delete\"]\n\
            [[access.grants]]\nwho = \"anyone\"\nimages = [\"a\", \"b\"]\ntags = [\"x-*\"]\nallow = [\"read\"]\n\
            push = \"discard\"\npull = \"skip\"\n")
        .unwrap();

        let groups: Vec<_> = config.access.users.iter().map(|user| (&*user.name, user.groups.len())).collect();
        assert_eq!(groups, [("alice", 2), ("bob", 1)]);
        let grants: Vec<_> = config.access.grants.iter().map(ToString::to_string).collect();
        assert_eq!(
            grants,
            [
                "who { group = \"ops\" }, images org/**, tags *, allow read delete",
                "who \"anyone\", images a b, tags x-*, allow read, push discard, pull skip",
            ]
        );
        assert_eq!(config.warnings, [""; 0]);
    }

    #[test]
    fn where_anybody_has_a_part_nobody_else_has_one_unasked() {
        let grant = "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]\nallow = [\"read\"]\n";

        assert_eq!(of("").unwrap().access.anonymous, Anonymous::Write);
        assert_eq!(of(grant).unwrap().access.anonymous, Anonymous::None);
        assert_eq!(of("[access.users]\nalice = \"<H>\"").unwrap().access.anonymous, Anonymous::None);
    }

    #[test]
    fn every_mistake_of_a_grant_has_its_message() {
        let grant = |who: &str, more: &str| {
            format!("[access.users]\nalice = \"<H>\"\n[access.groups]\nops = [\"alice\"]\n[[access.grants]]\nwho = {who}\n{more}")
        };
        let rest = "images = [\"a\"]\nallow = [\"read\"]\n";
        for (text, message) in [
            (
                grant("{ user = \"alice\" }", "allow = [\"read\"]"),
                "access.grants  line 5  needs images, such as images = [\"org/**\"]",
            ),
            (grant("{ user = \"alice\" }", "images = [\"a\"]"), "needs allow, such as allow"),
            (
                grant("{ user = \"alice\" }", "images = [\"A\"]\nallow = [\"read\"]"),
                "access.grants.images  line 7  \"A\": a pattern is",
            ),
            (grant("{ user = \"alice\" }", &format!("{rest}tags = [\"a/b\"]")), "\"a/b\": a pattern on tags"),
            (grant("{ user = \"alice\" }", &format!("{rest}tags = [\"{{a\"]")), "stand around the name of a claim"),
            (grant("{ user = \"alice\" }", "images = []\nallow = [\"read\"]"), "is empty; name at least one"),
            (grant("{ user = \"alice\" }", "images = \"a\"\nallow = [\"read\"]"), "must be a list of texts, not a text"),
            (
                grant("{ user = \"alice\" }", "images = [\"a\"]\nallow = [\"push\"]"),
                "\"push\": must be one of read, write, delete, create",
            ),
            (grant("{ user = \"alice\" }", &format!("{rest}push = \"drop\"")), "\"drop\": must be \"discard\", or be left out"),
            (grant("{ user = \"alice\" }", &format!("{rest}pull = true")), "must be a text, not true or false"),
            (
                grant("{ user = \"alice\" }", &format!("{rest}alow = []")),
                "access.grants.alow  line 9  there is no such key; did you mean allow?",
            ),
            (grant("\"everyone\"", rest), "\"everyone\": is \"anyone\", or a table"),
            (grant("1", rest), "access.grants.who  line 6  must be a text, not a number"),
            (grant("{}", rest), "names nobody"),
            (grant("{ user = 1 }", rest), "must be a text, not a number"),
            (grant("{ user = \"\" }", rest), "a pattern has 1 to 512 bytes"),
            (grant("{ group = \"opps\" }", rest), "there is no group opps in access.groups; did you mean ops?"),
            (grant("{ issuer = \"github\" }", rest), "there is no issuer github"),
            (grant("{ repository = \"a\" }", rest), "access.grants.who.repository  line 6  is a claim"),
            ("[access]\ngrants = 1".into(), "access.grants  line 2  must be tables, each under [[access.grants]], not a number"),
            ("[access]\nusers = []".into(), "access.users  line 2  must be a table, [access.users], not a list"),
            ("[access.users]\nalice = \"MARK\"".into(), "access.users.alice  line 2  is no bcrypt hash"),
            ("[access.users]\nalice = \"{{secret:NONE}}\"".into(), "secret NONE is in none of the sources"),
            ("[access.users]\n\"a:b\" = \"<H>\"".into(), "a user's name is"),
            ("[access.groups]\nops = \"alice\"".into(), "access.groups.ops  line 2  must be a list of texts, not a text"),
            ("[access]\nallow_plain_http = 1".into(), "access.allow_plain_http  line 2  must be true or false, not a number"),
        ] {
            let told = of(&text).unwrap_err();
            assert!(told.contains(message) && told.contains("1 problem\n") && !told.contains("MARK"), "{text}\n{told}");
        }
    }

    #[test]
    fn what_is_not_as_safe_as_it_looks_is_warned_of() {
        let grant = "[[access.grants]]\nwho = \"anyone\"\nimages = [\"a\"]\nallow = [\"read\"]\n";
        for (text, warning) in [
            (
                format!("[server]\nlisten = [\"192.0.2.1:80\"]\n{grant}"),
                Some("192.0.2.1:80 speaks plain HTTP, and takes no passwords"),
            ),
            (format!("[server]\nlisten = [\"192.0.2.1:80\"]\n[access]\nallow_plain_http = true\n{grant}"), None),
            (format!("[server]\nlisten = [\"127.0.0.1:80\"]\n{grant}"), None),
            (format!("{grant}[profiles.default]\nstore = \"/x\"\nlayout = \"shared\"\n"), None),
            ("[profiles.default]\nstore = \"/x\"\nlayout = \"shared\"\n".into(), None),
        ] {
            let warnings = of(&text).unwrap().warnings.join("\n");
            assert!(warnings.contains(warning.unwrap_or("")), "{text}\n{warnings}");
            assert!(warning.is_some() || warnings.is_empty(), "{text}\n{warnings}");
        }
    }

    #[test]
    fn what_can_never_match_is_warned_of() {
        let users = "[access.users]\nalice = \"<H>\"\n";
        let grant = |who: &str, more: &str| format!("{users}[[access.grants]]\nwho = {who}\nallow = [\"read\"]\n{more}\n");
        for (text, warning) in [
            (
                grant("{ user = \"bob\" }", "images = [\"a\"]"),
                Some("grant 1 can never match: no user is so (who { user = \"bob\" }"),
            ),
            (grant("{ user = \"bo*\" }", "images = [\"a\"]"), Some("no user is so")),
            (grant("{ user = \"al*\" }", "images = [\"{user}/**\"]"), None),
            (grant("{ user = \"alice\" }", "images = [\"{repository}\"]"), Some("nobody whom it means has the claim repository")),
            (grant("\"anyone\"", "images = [\"a\"]\ntags = [\"{user}\"]"), Some("has the claim user")),
            (grant("\"anyone\"", "images = [\"a\"]\ntags = [\"{user}\", \"b\"]"), None),
            (
                grant("\"anyone\"", "images = [\"a/*\"]\n[profiles.team]\nimages = [\"b/**\"]\nstore = \"/x\""),
                Some("no profile has such images"),
            ),
            (
                grant("\"anyone\"", "images = [\"a/{user}-*\", \"a\"]\n[profiles.team]\nimages = [\"b/**\"]\nstore = \"/x\""),
                Some("no profile has such images"),
            ),
            (
                grant("{ user = \"alice\" }", "images = [\"a\"]\n[profiles.team]\nwho = [{ user = \"al*\" }]\nstore = \"/x\""),
                None,
            ),
            (
                grant(
                    "{ user = \"alice\" }",
                    "images = [\"a\"]\n[profiles.team]\nwho = [{ certificate = \"x\" }]\nstore = \"/x\"",
                ),
                Some("no profile has such images"),
            ),
            (grant("{ certificate = \"x\" }", "images = [\"a\"]"), Some("no listener has a client_ca")),
            (grant("{ subject = \"CN=x\" }", "images = [\"a\"]"), Some("no listener has a client_ca")),
            (grant("\"anyone\"", "images = [\"b/c\"]\n[profiles.team]\nimages = [\"b/**\"]\nstore = \"/x\""), None),
            (users.to_owned(), Some("there are users or issuers, but no access.grants")),
            (format!("{users}[access.groups]\nops = [\"bob\"]"), Some("access.groups.ops names bob, who has no password here")),
        ] {
            let warnings = of(&text).unwrap().warnings.join("\n");
            match warning {
                Some(warning) => assert!(warnings.contains(warning), "{text}\n{warnings}"),
                None => assert_eq!(warnings, "", "{text}"),
            }
        }
    }
}
