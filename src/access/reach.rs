//! Which of several profiles a request is about: that of the most specific pattern that means its image, else the one that
//! serves whoever asks, else the one called `default`.
//!
//! One rule for all who want to know, whether they serve anybody or not.

use super::{Identity, Who};
use crate::oci::{Pattern, RepoName};

/// The profile of the images that are no other's.
const DEFAULT: &str = "default";

/// What requests find a profile by.
pub trait Reach {
    /// What it is called.
    fn name(&self) -> &str;
    /// The images that are its own, whoever asks.
    fn images(&self) -> &[Pattern];
    /// Those whose images it has, where no pattern means them.
    fn who(&self) -> &[Who];
}

/// Why a request is about no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    /// The image is nobody's.
    #[error("no profile has this image, and there is no profile default")]
    Nobodys,
    /// Two serve whoever asks, and neither goes before the other.
    #[error("the profiles {} and {} serve the same identity", .0[0], .0[1])]
    Torn([String; 2]),
}

/// The one of `profiles` that `image` belongs to, for `identity`.
///
/// # Errors
///
/// It is nobody's, or there is no telling whose.
pub fn reached<'a, P: Reach>(profiles: &'a [P], image: &RepoName, identity: &Identity) -> Result<&'a P, Unplaced> {
    let images = profiles.iter().flat_map(|profile| profile.images().iter().map(move |pattern| (pattern, profile)));
    Pattern::deciding(image, images).map_or_else(|| home(profiles, identity), Ok)
}

/// The one of `profiles` that has those images of `identity` which no pattern means.
///
/// # Errors
///
/// There is none, or there is no telling which.
pub fn home<'a, P: Reach>(profiles: &'a [P], identity: &Identity) -> Result<&'a P, Unplaced> {
    let mut serving = profiles.iter().filter(|profile| serves(*profile, identity));
    match (serving.next(), serving.next()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => Err(Unplaced::Torn([one, other].map(|profile| profile.name().to_owned()))),
        (None, _) => profiles.iter().find(|profile| profile.name() == DEFAULT).ok_or(Unplaced::Nobodys),
    }
}

/// Whether `profile` serves `identity`, who must have said who they are.
fn serves(profile: &impl Reach, identity: &Identity) -> bool {
    *identity != Identity::Anonymous && profile.who().iter().any(|who| who.means(identity))
}

impl<P: Reach> Reach for std::sync::Arc<P> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn images(&self) -> &[Pattern] {
        (**self).images()
    }

    fn who(&self) -> &[Who] {
        (**self).who()
    }
}

impl Who {
    /// Whether somebody could be one of both, as far as patterns tell.
    ///
    /// Somebody who is several things at once, such as in two groups, may be
    /// one of both all the same: that only they can tell.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Anyone, _) | (_, Self::Anyone) => true,
            (Self::User { name: Some(name), group }, Self::User { name: Some(its), group: its_group }) => {
                let are_apart = group.as_ref().zip(its_group.as_ref()).is_some_and(|(group, its)| !group.overlaps(its));
                name.overlaps(its) && !are_apart
            }
            (Self::User { group: Some(group), .. }, Self::User { group: Some(its), .. }) => group.overlaps(its),
            (Self::Certified(names), Self::Certified(its)) | (Self::Subject(names), Self::Subject(its)) => names.overlaps(its),
            (Self::Issued { issuer, claims }, Self::Issued { issuer: its_issuer, claims: its }) => {
                let is_apart = |(claim, pattern)| its.get(claim).is_some_and(|its| !its.overlaps(pattern));
                issuer == its_issuer && !claims.iter().any(is_apart)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::access::{Certificate, TextPattern};

    struct Stated(&'static str, Vec<Pattern>, Vec<Who>);

    impl Reach for Stated {
        fn name(&self) -> &str {
            self.0
        }

        fn images(&self) -> &[Pattern] {
            &self.1
        }

        fn who(&self) -> &[Who] {
            &self.2
        }
    }

    fn pattern(text: &str) -> TextPattern {
        TextPattern::on_claim(text).unwrap()
    }

    fn group(text: &str) -> Who {
        Who::User { name: None, group: Some(pattern(text)) }
    }

    fn named(name: &str, group: Option<&str>) -> Who {
        Who::User { name: Some(pattern(name)), group: group.map(pattern) }
    }

    fn issued(claims: &[(&str, &str)]) -> Who {
        let claims = claims.iter().map(|(claim, text)| ((*claim).into(), pattern(text)));
        Who::Issued { issuer: "gitlab".into(), claims: claims.collect() }
    }

    fn user(name: &str, groups: &[&str]) -> Identity {
        Identity::User { name: name.into(), groups: groups.iter().map(|&group| group.into()).collect() }
    }

    fn job(claims: &[(&str, &str)]) -> Identity {
        let claims = claims.iter().map(|(claim, value)| ((*claim).to_owned(), vec![(*value).to_owned()]));
        Identity::Issued { issuer: "gitlab".into(), claims: Arc::new(claims.collect::<BTreeMap<_, _>>()) }
    }

    fn certified(name: &str) -> Identity {
        Identity::Certified(Arc::new(Certificate { names: [name.to_owned()].into(), subject: None }))
    }

    fn images(patterns: &[&str]) -> Vec<Pattern> {
        patterns.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_image_goes_before_who_asks_and_that_before_the_default() {
        let profiles = [
            Stated("default", Vec::new(), Vec::new()),
            Stated("a", images(&["a/**"]), vec![group("a"), issued(&[("namespace", "a")])]),
            Stated("b", Vec::new(), vec![group("b"), Who::Certified(pattern("*.b"))]),
        ];
        for (image, identity, expected) in [
            ("app", Identity::Anonymous, Ok("default")),
            ("app", user("x", &[]), Ok("default")),
            ("app", user("x", &["a"]), Ok("a")),
            ("app", user("x", &["b"]), Ok("b")),
            ("a/app", user("x", &["b"]), Ok("a")),
            ("a/app", Identity::Anonymous, Ok("a")),
            ("app", job(&[("namespace", "a")]), Ok("a")),
            ("app", job(&[("namespace", "b")]), Ok("default")),
            ("app", certified("x.b"), Ok("b")),
            ("app", user("x", &["a", "b"]), Err(Unplaced::Torn(["a", "b"].map(str::to_owned)))),
            // Whose image it is needs no look at who asks.
            ("a/app", user("x", &["a", "b"]), Ok("a")),
        ] {
            let found = reached(&profiles, &image.parse().unwrap(), &identity).map(Reach::name);
            assert_eq!(found, expected, "{image} {identity}");
        }
        let without_default = &profiles[1..];
        assert_eq!(reached(without_default, &"app".parse().unwrap(), &user("x", &[])).map(Reach::name), Err(Unplaced::Nobodys));
    }

    #[test]
    fn nobody_is_served_who_does_not_say_who_they_are() {
        let profiles = [Stated("a", Vec::new(), vec![Who::Anyone])];

        assert_eq!(home(&profiles, &Identity::Anonymous).map(Reach::name), Err(Unplaced::Nobodys));
    }

    #[test]
    fn those_who_could_be_the_same_overlap() {
        for (one, other, expected) in [
            (group("team-a"), group("team-b"), false),
            (group("team-a"), group("team-*"), true),
            (named("alice", None), named("bob", None), false),
            (named("ci-*", None), named("*-a", None), true),
            (named("ci-*", Some("a")), named("*-a", Some("b")), false),
            (named("ci-*", Some("a")), named("*-a", None), true),
            (named("alice", Some("a")), group("a"), true),
            // Who is in the group only the users can tell.
            (named("alice", None), group("a"), false),
            (issued(&[("namespace", "a/**")]), issued(&[("namespace", "b/**")]), false),
            (issued(&[("namespace", "a/**")]), issued(&[("namespace", "a/b"), ("ref", "x")]), true),
            (issued(&[("namespace", "a")]), issued(&[("project", "b")]), true),
            (issued(&[]), issued(&[("project", "b")]), true),
            (issued(&[]), Who::Issued { issuer: "github".into(), claims: BTreeMap::new() }, false),
            (Who::Certified(pattern("*.a")), Who::Certified(pattern("*.b")), false),
            (Who::Certified(pattern("x.*")), Who::Certified(pattern("*.b")), true),
            (group("**"), issued(&[]), false),
        ] {
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (expected, expected), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn whoever_has_one_name_of_each_kind_and_is_one_of_both_is_told(
            one in "[ab*]{1,2}", other in "[ab*]{1,2}", more in prop::option::of("[ab*]{1,2}"), name in "[ab]{1,2}", kind in 0..4_u8,
        ) {
            let make = |text: &str, more: Option<&str>| match kind {
                0 => named(text, more),
                1 => group(text),
                2 => Who::Certified(pattern(text)),
                _ => issued(&[("a", Some(text)), ("b", more)].into_iter().filter_map(|(c, t)| Some((c, t?))).collect::<Vec<_>>()),
            };
            let (one, other) = (make(&one, more.as_deref()), make(&other, None));
            for identity in [
                user(&name, &[&name]), certified(&name), job(&[("a", &name), ("b", &name)]),
            ] {
                prop_assert!(!(one.means(&identity) && other.means(&identity)) || one.overlaps(&other), "{one} {other} {identity}");
            }
        }
    }
}
