//! All grants, found by who asks for which image without looking at the others.

use std::collections::HashMap;

use super::grant::Grant;
use super::identity::{Identity, Who};
use super::text_pattern::TextPattern;
use crate::oci::RepoName;

/// Grants by their place, in the order in which they are stated.
#[derive(Debug, Default)]
pub struct Grants {
    all: Vec<Grant>,
    anyone: ByImage,
    /// By the beginning of a user's name, or of a group's.
    users: HashMap<Box<str>, ByImage>,
    groups: HashMap<Box<str>, ByImage>,
    /// By the beginning of a name in a certificate.
    certificates: HashMap<Box<str>, ByImage>,
    /// By the beginning of whom a certificate was issued to.
    subjects: HashMap<Box<str>, ByImage>,
    issuers: HashMap<Box<str>, OfIssuer>,
}

/// Places of grants by what the names of their images begin with.
#[derive(Debug, Default)]
struct ByImage(HashMap<Box<str>, Vec<usize>>);

/// Grants for the tokens of one issuer: by the claim that tells most of them apart, and by what it begins with.
#[derive(Debug, Default)]
struct OfIssuer {
    whoever: ByImage,
    claims: HashMap<Box<str>, HashMap<Box<str>, ByImage>>,
}

impl Grants {
    /// These, in the order in which they are to be named where several decide the same.
    #[must_use]
    pub fn new(all: Vec<Grant>) -> Self {
        let mut grants = Self { all, ..Self::default() };
        let counts = counts(&grants.all);
        for (place, grant) in std::mem::take(&mut grants.all).into_iter().enumerate() {
            grants.of(&grant.who, &counts).add(&grant.images, place);
            grants.all.push(grant);
        }
        grants
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.all.iter()
    }

    /// Those that are about `identity` and `image`, each with its place, counted from 0.
    #[must_use]
    pub fn about(&self, identity: &Identity, image: &RepoName) -> Vec<(usize, &Grant)> {
        let mut places = Vec::new();
        let mut look = |by_image: Option<&ByImage>| by_image.into_iter().for_each(|found| found.find(image, &mut places));
        look(Some(&self.anyone));
        match identity {
            Identity::Anonymous => {}
            Identity::User { name, groups } => {
                beginnings(name).for_each(|beginning| look(self.users.get(beginning)));
                groups.iter().flat_map(|group| beginnings(group)).for_each(|beginning| look(self.groups.get(beginning)));
            }
            Identity::Certified(shown) => {
                let (names, subject) = (shown.names.iter(), shown.subject.iter());
                names.flat_map(|name| beginnings(name)).for_each(|beginning| look(self.certificates.get(beginning)));
                subject.flat_map(|subject| beginnings(subject)).for_each(|beginning| look(self.subjects.get(beginning)));
            }
            Identity::Issued { issuer, .. } => {
                let Some(of_issuer) = self.issuers.get(&**issuer) else { return self.at(places, identity, image) };
                look(Some(&of_issuer.whoever));
                for (claim, by_value) in &of_issuer.claims {
                    let values = identity.values(claim).iter();
                    values.flat_map(|value| beginnings(value)).for_each(|beginning| look(by_value.get(beginning)));
                }
            }
        }
        self.at(places, identity, image)
    }

    /// The grants at `places` that are indeed about both.
    fn at(&self, mut places: Vec<usize>, identity: &Identity, image: &RepoName) -> Vec<(usize, &Grant)> {
        places.sort_unstable();
        places.dedup();
        let grants = places.into_iter().map(|place| (place, &self.all[place]));
        grants.filter(|(_, grant)| grant.is_about(identity, image)).collect()
    }

    /// Where a grant for `who` is looked for.
    fn of(&mut self, who: &Who, counts: &HashMap<[String; 3], usize>) -> &mut ByImage {
        let beginning = |pattern: &TextPattern| pattern.beginning().into();
        match who {
            Who::Anyone => &mut self.anyone,
            Who::User { name: Some(name), .. } => self.users.entry(beginning(name)).or_default(),
            Who::User { group: Some(group), .. } => self.groups.entry(beginning(group)).or_default(),
            Who::Certified(name) => self.certificates.entry(beginning(name)).or_default(),
            Who::Subject(subject) => self.subjects.entry(beginning(subject)).or_default(),
            Who::User { name: None, group: None } => self.users.entry("".into()).or_default(),
            Who::Issued { issuer, claims } => {
                let of_issuer = self.issuers.entry(issuer.clone()).or_default();
                let rarest = claims.iter().min_by_key(|(claim, pattern)| counts.get(&counted(issuer, claim, pattern)));
                let Some((claim, pattern)) = rarest else { return &mut of_issuer.whoever };
                of_issuer.claims.entry(claim.clone()).or_default().entry(beginning(pattern)).or_default()
            }
        }
    }
}

/// How many of `grants` ask for a claim that begins the same.
fn counts(grants: &[Grant]) -> HashMap<[String; 3], usize> {
    let mut counts = HashMap::new();
    for grant in grants {
        let Who::Issued { issuer, claims } = &grant.who else { continue };
        for (claim, pattern) in claims {
            *counts.entry(counted(issuer, claim, pattern)).or_default() += 1;
        }
    }
    counts
}

fn counted(issuer: &str, claim: &str, pattern: &TextPattern) -> [String; 3] {
    [issuer, claim, pattern.beginning()].map(str::to_owned)
}

impl ByImage {
    fn add(&mut self, images: &[TextPattern], place: usize) {
        for pattern in images {
            self.0.entry(pattern.beginning().into()).or_default().push(place);
        }
    }

    fn find(&self, image: &RepoName, places: &mut Vec<usize>) {
        beginnings(image.as_str()).filter_map(|beginning| self.0.get(beginning)).for_each(|found| places.extend(found));
    }
}

/// What `text` begins with, in whole components: nothing, one of them, and so on to all of it.
fn beginnings(text: &str) -> impl Iterator<Item = &str> {
    let slashes = text.match_indices('/').map(|(slash, _)| slash).filter(|slash| *slash > 0);
    let none = (!text.is_empty()).then_some(0);
    none.into_iter().chain(slashes).chain([text.len()]).map(|end| &text[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::access::grant::Verb;

    fn grant(who: Who, image: &str) -> Grant {
        let (images, tags) = (vec![TextPattern::on_image(image).unwrap()], vec![TextPattern::on_tag("*").unwrap()]);
        Grant { who, images, tags, allow: vec![Verb::Read], discards: false, skips: false }
    }

    fn user(name: &str) -> Identity {
        Identity::User { name: name.into(), groups: ["ci".into()].into() }
    }

    fn job(claims: &[(&str, String)]) -> Identity {
        let claims = claims.iter().map(|(claim, value)| ((*claim).to_owned(), vec![value.clone()])).collect();
        Identity::Issued { issuer: "github".into(), claims: std::sync::Arc::new(claims) }
    }

    fn who_user(name: &str) -> Who {
        Who::User { name: Some(TextPattern::on_claim(name).unwrap()), group: None }
    }

    fn who_issued(claims: &[(&str, String)]) -> Who {
        let pattern = |(claim, text): &(&str, String)| ((*claim).into(), TextPattern::on_claim(text).unwrap());
        Who::Issued { issuer: "github".into(), claims: claims.iter().map(pattern).collect::<BTreeMap<_, _>>() }
    }

    #[test]
    fn beginnings_are_whole_components() {
        assert_eq!(beginnings("a/bc/d").collect::<Vec<_>>(), ["", "a", "a/bc", "a/bc/d"]);
        assert_eq!(beginnings("").collect::<Vec<_>>(), [""]);
        assert_eq!(beginnings("/a").collect::<Vec<_>>(), ["", "/a"]);
    }

    /// The quickest of many turns at finding what is about `identity` and `image`.
    fn fastest(grants: &Grants, identity: &Identity, image: &RepoName) -> Duration {
        let once = || {
            let began = Instant::now();
            for _ in 0..20 {
                assert_eq!(std::hint::black_box(grants.about(identity, image)).len(), 1);
            }
            began.elapsed()
        };
        (0..50).map(|_| once()).min().unwrap()
    }

    /// Many grants that are alike: what they are told apart by, and the one of a number.
    type Shape = (&'static str, fn(usize) -> Grant);

    // The whole cost of a decision: what was found is a handful.
    #[test]
    fn ten_thousand_grants_cost_little_more_than_ten() {
        let shapes: [Shape; 5] = [
            ("users", |n| grant(who_user(&format!("user-{n}")), "org/**")),
            ("images", |n| grant(Who::Anyone, &format!("org/app-{n}/**"))),
            ("repositories", |n| {
                grant(who_issued(&[("repository", format!("org/app-{n}")), ("ref", "refs/heads/main".into())]), "org/**")
            }),
            ("owners", |n| grant(who_issued(&[("repository", format!("org-{n}/*"))]), "**")),
            ("images of one owner", |n| grant(who_issued(&[("repository", "org/*".into())]), &format!("org/app-{n}"))),
        ];
        let image: RepoName = "org/app-7".parse().unwrap();
        let claims = |repository: &str| job(&[("repository", repository.into()), ("ref", "refs/heads/main".into())]);
        for ((name, make), identity) in shapes.into_iter().zip([
            user("user-7"),
            Identity::Anonymous,
            claims("org/app-7"),
            claims("org-7/app"),
            claims("org/app-7"),
        ]) {
            let [few, many] = [10, 10_000].map(|count| Grants::new((0..count).map(make).collect()));

            let (few, many) = (fastest(&few, &identity, &image), fastest(&many, &identity, &image));

            assert!(many <= few * 10, "{name}: {few:?} with 10, {many:?} with 10000");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_about_somebody_and_an_image_is_found(
            rows in prop::collection::vec(("[ab*]{1,2}(/[ab*]{1,2})?", "(a|b|\\*\\*|a\\*)(/(a|b|\\*\\*|\\{user\\}|\\{repository\\}))?", 0..5_u8), 1..20),
            name in "[ab]{1,2}(/[ab])?",
            image in "[ab](/[ab]){0,2}",
        ) {
            let grants = rows.iter().map(|(who, image, kind)| {
                let pattern = || TextPattern::on_claim(who).unwrap();
                let who = match kind {
                    0 => Who::Anyone,
                    1 => Who::User { name: Some(pattern()), group: None },
                    2 => Who::User { name: None, group: Some(pattern()) },
                    3 => who_issued(&[("repository", who.clone())]),
                    _ => who_issued(&[("repository", who.clone()), ("ref", "**".into())]),
                };
                grant(who, image)
            });
            let grants = Grants::new(grants.collect());
            let image = image.parse().unwrap();
            for identity in [
                Identity::Anonymous,
                Identity::User { name: "x".into(), groups: [name.clone().into()].into() },
                user(&name),
                job(&[("repository", name.clone())]),
                job(&[("repository", name.clone()), ("ref", "r".into())]),
            ] {
                let expected: Vec<_> = grants.iter().enumerate().filter(|(_, grant)| grant.is_about(&identity, &image)).collect();
                prop_assert_eq!(grants.about(&identity, &image), expected);
            }
        }
    }
}
