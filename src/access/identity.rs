//! Who somebody is, and which of them a grant means.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::slug::slug;
use super::text_pattern::{Claims, TextPattern};

/// Most characters of what somebody says of themselves that are repeated.
const MAX_NAME: usize = 200;

/// What a pattern calls the slug of the ref that a token was issued for.
pub(super) const REF_SLUG: &str = "ref_slug";

/// What a pattern calls the name of a user.
pub(super) const USER: &str = "user";

/// What a pattern calls the name in a certificate.
pub(super) const CERTIFICATE: &str = "certificate";

/// What a pattern calls the subject of a certificate.
const SUBJECT: &str = "subject";

/// The claims that say for which ref a token was issued, as GitHub and GitLab have them.
const REFS: [&str; 2] = ["ref", "ref_path"];

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Somebody who did not say.
    Anonymous,
    /// One who has a password here.
    User {
        /// What they are called.
        name: Arc<str>,
        /// The groups that they are in.
        groups: Arc<[Box<str>]>,
    },
    /// One who has shown a certificate.
    Certified(Arc<Certificate>),
    /// A job that its CI system vouches for.
    Issued {
        /// What the configuration calls the issuer.
        issuer: Arc<str>,
        /// What its token says.
        claims: Arc<BTreeMap<String, Vec<String>>>,
    },
}

/// Who a certificate says that its holder is, in two kinds of words: an authority may let its clients choose what they are
/// called in one of them, so that neither is ever taken for the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Its names in DNS, and its URIs, which have a colon.
    pub names: Box<[String]>,
    /// The whole of whom it was issued to, such as `O=org/OU=ci/CN=builder-1`; `None` where it does not say.
    pub subject: Option<Box<str>>,
}

/// Whom a grant means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, also who does not say who they are.
    Anyone,
    /// Users with passwords: by name, by group, or both.
    User {
        /// What they are called.
        name: Option<TextPattern>,
        /// A group that they are in.
        group: Option<TextPattern>,
    },
    /// Those who have shown a certificate with such a name in it.
    Certified(TextPattern),
    /// Those who have shown a certificate that was issued to such a subject.
    Subject(TextPattern),
    /// Jobs that this issuer vouches for, whose claims are all like these.
    Issued {
        /// What the configuration calls the issuer.
        issuer: Box<str>,
        /// Patterns on claims by their names.
        claims: BTreeMap<Box<str>, TextPattern>,
    },
}

impl Identity {
    /// What a claim of a token says, all of it where it says several things.
    pub(super) fn values(&self, claim: &str) -> &[String] {
        match self {
            Self::Issued { claims, .. } => claims.get(claim).map_or(&[], Vec::as_slice),
            Self::Anonymous | Self::User { .. } | Self::Certified(_) => &[],
        }
    }

    fn ref_slug(&self) -> Option<String> {
        REFS.iter().filter_map(|claim| single(self.values(claim))).find_map(slug)
    }
}

impl Claims for Identity {
    fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Anonymous => None,
            Self::User { name: own, .. } => (name == USER).then_some(Cow::Borrowed(own)),
            Self::Certified(shown) if name == SUBJECT => shown.subject.as_deref().map(Cow::Borrowed),
            Self::Certified(shown) => single(&shown.names).filter(|_| name == CERTIFICATE).map(Cow::Borrowed),
            Self::Issued { .. } if name == REF_SLUG => self.ref_slug().map(Cow::Owned),
            Self::Issued { .. } => single(self.values(name)).map(Cow::Borrowed),
        }
    }
}

/// What the fields of a token say: texts, numbers and truths as they are written, lists of them as several values.
/// What stands deeper says nothing.
#[must_use]
pub fn claims(fields: &Map<String, Value>) -> BTreeMap<String, Vec<String>> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let values = |value: &Value| match value {
        Value::Array(items) => items.iter().filter_map(scalar).collect(),
        value => scalar(value).into_iter().collect::<Vec<_>>(),
    };
    let claims = fields.iter().map(|(name, value)| (name.clone(), values(value)));
    claims.filter(|(_, values)| !values.is_empty()).collect()
}

/// What a claim says that says one thing.
fn single(values: &[String]) -> Option<&str> {
    match values {
        [only] => Some(only),
        _ => None,
    }
}

impl Who {
    /// Whether `identity` is one of them.
    #[must_use]
    pub fn means(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (Self::Anyone, _) => true,
            (Self::User { name, group }, Identity::User { name: own, groups }) => {
                let is_called = name.as_ref().is_none_or(|pattern| pattern.matches(own, identity));
                let is_in = |pattern: &TextPattern| groups.iter().any(|group| pattern.matches(group, identity));
                is_called && group.as_ref().is_none_or(is_in)
            }
            (Self::Certified(pattern), Identity::Certified(shown)) => {
                shown.names.iter().any(|name| pattern.matches(name, identity))
            }
            (Self::Subject(pattern), Identity::Certified(shown)) => {
                shown.subject.as_ref().is_some_and(|subject| pattern.matches(subject, identity))
            }
            (Self::Issued { issuer, claims }, Identity::Issued { issuer: own, .. }) => {
                let says = |claim: &str, pattern: &TextPattern| {
                    identity.values(claim).iter().any(|value| pattern.matches(value, identity))
                };
                **issuer == **own && claims.iter().all(|(claim, pattern)| says(claim, pattern))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Identity {
    /// Fit to be told to the one who it is, and to be logged: in printable characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::User { name, .. } => write!(f, "user {}", printable(name)),
            Self::Certified(shown) => match (&*shown.names, &shown.subject) {
                ([], Some(subject)) => write!(f, "certificate of {}", printable(subject)),
                (names, _) => write!(f, "certificate {}", printable(&names.join(" "))),
            },
            Self::Issued { issuer, .. } => match single(self.values("sub")) {
                Some(subject) => write!(f, "{issuer}: {}", printable(subject)),
                None => f.write_str(issuer),
            },
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().take(MAX_NAME).map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl fmt::Display for Who {
    /// As it is written in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |key: &str, pattern: &TextPattern| format!("{key} = {:?}", pattern.as_str());
        let pairs: Vec<String> = match self {
            Self::Anyone => return f.write_str("\"anyone\""),
            Self::User { name, group } => {
                let name = name.iter().map(|pattern| pair("user", pattern));
                name.chain(group.iter().map(|pattern| pair("group", pattern))).collect()
            }
            Self::Certified(pattern) => vec![pair(CERTIFICATE, pattern)],
            Self::Subject(pattern) => vec![pair(SUBJECT, pattern)],
            Self::Issued { issuer, claims } => {
                let issuer = std::iter::once(format!("issuer = {issuer:?}"));
                issuer.chain(claims.iter().map(|(claim, pattern)| pair(claim, pattern))).collect()
            }
        };
        write!(f, "{{ {} }}", pairs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(claims: &[(&str, &[&str])]) -> Identity {
        let values = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        let claims = claims.iter().map(|(claim, its)| ((*claim).to_owned(), values(its))).collect();
        Identity::Issued { issuer: "github".into(), claims: Arc::new(claims) }
    }

    #[test]
    fn the_slug_is_that_of_the_ref_that_says_what_it_is() {
        for (claims, expected) in [
            (&[("ref", &["refs/pull/7/merge"][..])][..], Some("pr-7")),
            (&[("ref", &["main"]), ("ref_path", &["refs/heads/main"])], Some("main")),
            (&[("ref", &["refs/heads/a"]), ("ref_path", &["refs/heads/main"])], Some("a")),
            (&[("ref", &["main"])], None),
            (&[("ref", &["refs/heads/a", "refs/heads/main"])], None),
            // A claim of that name is somebody's own word.
            (&[("ref_slug", &["main"])], None),
            (&[], None),
        ] {
            assert_eq!(job(claims).claim(REF_SLUG).as_deref(), expected, "{claims:?}");
        }
    }

    #[test]
    fn a_token_is_no_user_whatever_it_says() {
        let token = job(&[("user", &["alice"]), ("group", &["ops"]), ("issuer", &["gitlab"])]);
        let pattern = |text: &str| Some(TextPattern::on_claim(text).unwrap());

        assert!(!Who::User { name: pattern("*"), group: None }.means(&token));
        assert!(!Who::User { name: None, group: pattern("**") }.means(&token));
        assert!(!Who::Issued { issuer: "gitlab".into(), claims: BTreeMap::new() }.means(&token));
        assert!(!Who::Issued { issuer: "github".into(), claims: BTreeMap::new() }.means(&Identity::Anonymous));
    }

    #[test]
    fn all_claims_must_be_like_their_patterns_and_one_value_of_each_is_enough() {
        let who = |claims: &[(&str, &str)]| {
            let pattern = |(claim, text): &(&str, &str)| ((*claim).into(), TextPattern::on_claim(text).unwrap());
            Who::Issued { issuer: "github".into(), claims: claims.iter().map(pattern).collect() }
        };
        let token = job(&[("repository", &["org/app"]), ("teams", &["a", "b"])]);
        for (claims, expected) in [
            (&[][..], true),
            (&[("repository", "org/*")], true),
            (&[("repository", "org/*"), ("teams", "b")], true),
            (&[("repository", "org/*"), ("teams", "c")], false),
            (&[("repository", "*")], false),
            (&[("missing", "**")], false),
        ] {
            assert_eq!(who(claims).means(&token), expected, "{claims:?}");
        }
    }

    #[test]
    fn a_subject_is_no_name_and_a_name_no_subject() {
        let of = |names: &[&str], subject: Option<&str>| {
            let names = names.iter().map(|&name| name.to_owned()).collect();
            Identity::Certified(Arc::new(Certificate { names, subject: subject.map(Into::into) }))
        };
        let pattern = |text: &str| TextPattern::on_claim(text).unwrap();
        for (who, shown, expected) in [
            (Who::Certified(pattern("builder-*")), of(&["builder-1"], None), true),
            (Who::Certified(pattern("builder-*")), of(&[], Some("builder-1")), false),
            (Who::Certified(pattern("**")), of(&[], Some("CN=builder-1")), false),
            (Who::Subject(pattern("O=org/CN=builder-*")), of(&[], Some("O=org/CN=builder-1")), true),
            (Who::Subject(pattern("O=org/CN=builder-*")), of(&["O=org/CN=builder-1"], None), false),
            (Who::Subject(pattern("O=org/CN=builder-*")), of(&[], Some("O=org/OU=x/CN=builder-1")), false),
            (Who::Subject(pattern("O=org/CN=builder-*")), of(&[], Some("O=org/CN=builder-1/CN=x")), false),
            (Who::Subject(pattern("**")), of(&["builder-1"], None), false),
        ] {
            assert_eq!(who.means(&shown), expected, "{who} {shown}");
        }
        assert_eq!(of(&[], Some("CN=a")).claim(SUBJECT).as_deref(), Some("CN=a"));
        assert_eq!(of(&["a"], Some("CN=b")).claim(CERTIFICATE).as_deref(), Some("a"));
        assert_eq!(of(&[], Some("CN=a")).to_string(), "certificate of CN=a");
    }

    #[test]
    fn nothing_that_somebody_is_called_breaks_a_line() {
        let user = Identity::User { name: "a\nb\u{1b}[31m".into(), groups: Arc::new([]) };

        assert_eq!(user.to_string(), "user a?b?[31m");
    }
}
