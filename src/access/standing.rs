//! What somebody may do with an image, and the rule that decides it.

use std::fmt;

use super::Access;
use super::grant::{Grant, Part, Verb};
use super::grants::Grants;
use super::identity::Identity;
use super::text_pattern::TextPattern;
use crate::oci::{RepoName, Tag};

/// What stands between a tag and the part of it that one job pushes.
pub const PART_SEPARATOR: &str = "--";

/// What somebody may do with one image: all the rules that are about both.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    identity: &'a Identity,
    everybody: Access,
    grants: Vec<(usize, &'a Grant)>,
    /// What stands between a tag and its parts, where tags have parts.
    separator: Option<&'a str>,
}

/// What comes of wanting to do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling<'a> {
    /// It may be done.
    Allowed(Rule<'a>),
    /// It may not, and the client is not told so: a push is taken and not kept, a pull finds nothing.
    Instead(Rule<'a>),
    /// It may not.
    Denied,
}

/// A rule that decides. Its text is for the log and for whoever asks about the configuration, not for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule<'a> {
    /// What everybody may.
    Everybody(Access),
    /// A grant, and its place among all, counted from 0.
    Grant(usize, &'a Grant),
}

impl<'a> Standing<'a> {
    /// What `identity` may do with `image`, where everybody may what `everybody` says.
    #[must_use]
    pub fn new(grants: &'a Grants, everybody: Access, identity: &'a Identity, image: &RepoName) -> Self {
        Self { identity, everybody, grants: grants.about(identity, image), separator: Some(PART_SEPARATOR) }
    }

    /// The same, with `separator` between tags and their parts, if they have parts.
    #[must_use]
    pub fn with_separator(self, separator: Option<&'a str>) -> Self {
        Self { separator, ..self }
    }

    /// Who it is about.
    #[must_use]
    pub fn identity(&self) -> &'a Identity {
        self.identity
    }

    /// Whether they have any part in the image, and may be told what they lack.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.everybody > Access::None || !self.grants.is_empty()
    }

    /// Whether they may read some tag of every image, whatever it is called.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        let is_of_all = |grant: &Grant| grant.allow.contains(&Verb::Read) && grant.images.iter().any(TextPattern::is_whatever);
        self.everybody.includes(Verb::Read) || self.grants.iter().any(|(_, grant)| is_of_all(grant))
    }

    /// Whether `verb` may be done with `part`.
    ///
    /// Who changes the part `T--p` of a tag changes what readers of `T` get,
    /// and must be allowed the same there.
    #[must_use]
    pub fn rule(&self, verb: Verb, part: Part<'_>) -> Ruling<'a> {
        match part {
            Part::Tag(tag) if verb != Verb::Read => {
                let of_wholes = wholes(tag, self.separator).map(|whole| self.rule_of_one(verb, Part::Tag(&whole)));
                of_wholes.fold(self.rule_of_one(verb, part), Ruling::worse)
            }
            _ => self.rule_of_one(verb, part),
        }
    }

    fn rule_of_one(&self, verb: Verb, part: Part<'_>) -> Ruling<'a> {
        if self.everybody.includes(verb) {
            return Ruling::Allowed(Rule::Everybody(self.everybody));
        }
        let mut about = self.grants.iter().filter(|(_, grant)| grant.covers(part, self.identity));
        let rule = |(place, grant): &(usize, &'a Grant)| Rule::Grant(*place, grant);
        if let Some(found) = about.clone().find(|(_, grant)| grant.allow.contains(&verb)) {
            return Ruling::Allowed(rule(found));
        }
        about.find(|(_, grant)| grant.has_instead(verb)).map_or(Ruling::Denied, |found| Ruling::Instead(rule(found)))
    }
}

impl Access {
    /// Whether somebody who has this may do `verb`.
    pub(super) fn includes(self, verb: Verb) -> bool {
        match self {
            Self::None => false,
            Self::Read => verb == Verb::Read,
            Self::Write => true,
        }
    }
}

impl<'a> Ruling<'a> {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The rule that decides, in words.
    #[must_use]
    pub fn why(self) -> String {
        match self {
            Self::Allowed(rule) | Self::Instead(rule) => rule.to_string(),
            Self::Denied => "no grant allows it".to_owned(),
        }
    }

    /// The one of the two that lets less be done.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Denied, _) | (_, Self::Denied) => Self::Denied,
            (Self::Instead(_), _) => self,
            (Self::Allowed(_), Self::Instead(_)) => other,
            (Self::Allowed(_), Self::Allowed(_)) => self,
        }
    }
}

/// The tags that `tag` could be a part of, where this stands between.
fn wholes<'t>(tag: &'t Tag, separator: Option<&'t str>) -> impl Iterator<Item = Tag> + 't {
    let text = tag.as_str();
    let is_end = move |end: &usize| text.get(*end..).zip(separator).is_some_and(|(rest, separator)| rest.starts_with(separator));
    let ends = (1..text.len()).filter(is_end);
    ends.filter_map(|end| text.get(..end)?.parse().ok())
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody(access) => write!(f, "access.anonymous = \"{access}\""),
            Self::Grant(place, grant) => write!(f, "grant {}: {grant}", place + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::access::identity::Who;

    const READ: &[Verb] = &[Verb::Read];
    const WRITE: &[Verb] = &[Verb::Read, Verb::Write];
    const ALL: &[Verb] = &[Verb::Read, Verb::Write, Verb::Delete, Verb::Create];

    fn grant(git_ref: &str, tag: &str, allow: &[Verb]) -> Grant {
        let claims = [("repository", "org/*"), ("ref", git_ref)];
        let claims = claims.map(|(claim, text)| (claim.into(), TextPattern::on_claim(text).unwrap()));
        Grant {
            who: Who::Issued { issuer: "github".into(), claims: BTreeMap::from(claims) },
            images: vec![TextPattern::on_image("org/**").unwrap()],
            tags: vec![TextPattern::on_tag(tag).unwrap()],
            allow: allow.to_vec(),
            discards: false,
            skips: false,
        }
    }

    /// The grants of the example that the design is explained by.
    fn example() -> Vec<Grant> {
        vec![
            grant("refs/heads/main", "*", &[Verb::Read, Verb::Write, Verb::Create]),
            grant("**", "cache-{ref_slug}", WRITE),
            Grant { discards: true, ..grant("**", "cache-main", READ) },
        ]
    }

    fn job(git_ref: &str) -> Identity {
        let claims = [("repository", "org/app"), ("ref", git_ref)];
        let claims = claims.map(|(claim, value)| (claim.to_owned(), vec![value.to_owned()]));
        Identity::Issued { issuer: "github".into(), claims: Arc::new(claims.into()) }
    }

    /// How `identity` fares with a tag of `org/app`: `+`, `~` for instead, `-`; and the grant that decides, counted from 1.
    fn fares(grants: Vec<Grant>, identity: &Identity, verb: Verb, tag: &str) -> (char, usize) {
        let grants = Grants::new(grants);
        let standing = Standing::new(&grants, Access::None, identity, &"org/app".parse().unwrap());
        match standing.rule(verb, Part::Tag(&tag.parse().unwrap())) {
            Ruling::Allowed(Rule::Grant(place, _)) => ('+', place + 1),
            Ruling::Instead(Rule::Grant(place, _)) => ('~', place + 1),
            Ruling::Denied => ('-', 0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pull_request_reads_what_main_wrote_and_writes_its_own() {
        let (main, request) = (job("refs/heads/main"), job("refs/pull/7/merge"));
        for (identity, verb, tag, expected) in [
            (&main, Verb::Write, "cache-main", ('+', 1)),
            (&main, Verb::Create, "cache-main", ('+', 1)),
            (&main, Verb::Delete, "cache-main", ('-', 0)),
            (&main, Verb::Write, "cache-main--x", ('+', 1)),
            (&request, Verb::Read, "cache-main", ('+', 3)),
            (&request, Verb::Write, "cache-main", ('~', 3)),
            (&request, Verb::Write, "cache-pr-7", ('+', 2)),
            (&request, Verb::Create, "cache-pr-7", ('-', 0)),
            (&request, Verb::Read, "cache-pr-8", ('-', 0)),
            (&request, Verb::Write, "cache-pr-70", ('-', 0)),
            (&request, Verb::Write, "cache-main--x", ('-', 0)),
            (&request, Verb::Write, "cache-pr-7--x", ('-', 0)),
        ] {
            assert_eq!(fares(example(), identity, verb, tag), expected, "{identity} {verb} {tag}");
        }
    }

    #[test]
    fn a_part_of_a_tag_takes_what_the_tag_takes() {
        let request = job("refs/pull/7/merge");
        let parts = |more: Grant| [example(), vec![more]].concat();
        for (grants, tag, expected) in [
            (parts(grant("**", "*--x", ALL)), "cache-main--x", ('~', 3)),
            (vec![grant("**", "*--x", ALL)], "cache-main--x", ('-', 0)),
            (parts(grant("**", "*--x", ALL)), "cache-pr-7--x", ('+', 4)),
            (parts(grant("**", "*", ALL)), "cache-main--x", ('+', 4)),
            // Wherever the tag could end.
            (vec![grant("**", "*--x", ALL), grant("**", "a-", ALL)], "a---x", ('-', 0)),
            (vec![grant("**", "*--x", ALL), grant("**", "a-", ALL), grant("**", "a", ALL)], "a---x", ('+', 1)),
            (vec![grant("**", "*--x", ALL), grant("**", "a", ALL)], "a--b--x", ('-', 0)),
        ] {
            assert_eq!(fares(grants, &request, Verb::Write, tag), expected, "{tag}");
        }
    }

    #[test]
    fn what_everybody_may_nobody_needs_a_grant_for() {
        let grants = Grants::new(Vec::new());
        let (image, tag) = ("app".parse().unwrap(), "t".parse().unwrap());
        for (everybody, verb, expected) in [
            (Access::None, Verb::Read, false),
            (Access::Read, Verb::Read, true),
            (Access::Read, Verb::Write, false),
            (Access::Write, Verb::Delete, true),
            (Access::Write, Verb::Create, true),
        ] {
            let standing = Standing::new(&grants, everybody, &Identity::Anonymous, &image);
            assert_eq!(standing.rule(verb, Part::Tag(&tag)).is_allowed(), expected, "{everybody} {verb}");
            assert_eq!(standing.is_known(), everybody != Access::None);
        }
    }

    #[test]
    fn what_tags_share_takes_one_of_them_and_the_whole_takes_all() {
        let request = job("refs/pull/7/merge");
        let grants = Grants::new([example(), vec![grant("**", "old-*", ALL)]].concat());
        let standing = Standing::new(&grants, Access::None, &request, &"org/app".parse().unwrap());
        for (verb, part, expected) in [
            (Verb::Write, Part::Shared, true),
            (Verb::Delete, Part::Shared, true),
            (Verb::Delete, Part::Whole, false),
            (Verb::Write, Part::Whole, false),
        ] {
            assert_eq!(standing.rule(verb, part).is_allowed(), expected, "{verb} {part:?}");
        }
        let main = job("refs/heads/main");
        let standing = Standing::new(&grants, Access::None, &main, &"org/app".parse().unwrap());
        assert!(standing.rule(Verb::Write, Part::Whole).is_allowed());
        let elsewhere = Standing::new(&grants, Access::None, &main, &"other/app".parse().unwrap());
        assert!(!elsewhere.is_known());
    }
}
