//! Patterns on any text, in which claims of whoever asks may stand.
//!
//! `*` is any run without `/`, a component `**` is any number of components,
//! `{claim}` is what the asker's claim says, to the letter: no star in it is
//! one. Its slashes count only where it is a component by itself, or a claim
//! could reach into what stands beside it.

use std::borrow::Cow;
use std::fmt;

use crate::oci::{Pattern, Tag, meets};

/// Most bytes of a pattern.
const MAX_BYTES: usize = 512;

/// Most stars in one, so that matching takes a bounded time.
const MAX_STARS: usize = 16;

/// A component that stands for any number of them, none included.
const ANY_COMPONENTS: &str = "**";

/// A pattern on texts: names of images, tags, claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPattern {
    text: Box<str>,
    components: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Any,
    Pieces(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Star,
    Claim(Box<str>),
}

/// Why a text is no pattern on images, tags or claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTextPattern {
    /// Longer than anything it could match.
    #[error("a pattern has 1 to {MAX_BYTES} bytes and at most {MAX_STARS} stars")]
    Length,
    /// A brace that opens or closes nothing.
    #[error("{{ and }} stand around the name of a claim, as in cache-{{ref_slug}}")]
    Brace,
    /// A claim where none can be put in.
    #[error("no claim can stand here")]
    Claim,
    /// What no image could be called.
    #[error(transparent)]
    Image(#[from] crate::oci::InvalidPattern),
    /// What no tag could be.
    #[error(
        "a pattern on tags has letters, digits, dots, dashes, underscores, * and claims in braces, and begins with none of . and -"
    )]
    Tag,
}

/// What a claim says, if the asker has it and it says one thing.
pub trait Claims {
    /// What the claim `name` says.
    fn claim(&self, name: &str) -> Option<Cow<'_, str>>;
}

/// What a pattern is compared by: a byte, or a star.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Byte(u8),
    Star,
}

/// A component with its claims put in.
enum Filled {
    Any,
    Symbols(Vec<Symbol>),
}

impl TextPattern {
    /// A pattern on the value of a claim, in which no claim stands.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn on_claim(text: &str) -> Result<Self, InvalidTextPattern> {
        // Braces mean nothing in what is matched.
        Self::of(text, |component| Ok(stars(component)))
    }

    /// A pattern on names of images.
    ///
    /// # Errors
    ///
    /// It is none, or no image could be called so.
    pub fn on_image(text: &str) -> Result<Self, InvalidTextPattern> {
        let pattern = Self::of(text, pieces)?;
        pattern.likeness().parse::<Pattern>()?;
        Ok(pattern)
    }

    /// A pattern on tags.
    ///
    /// # Errors
    ///
    /// It is none, or no tag could be so.
    pub fn on_tag(text: &str) -> Result<Self, InvalidTextPattern> {
        let pattern = Self::of(text, pieces)?;
        let likeness = pattern.likeness().replace('*', "a");
        likeness.parse::<Tag>().map(|_| pattern).map_err(|_| InvalidTextPattern::Tag)
    }

    fn of(text: &str, pieces: impl Fn(&str) -> Result<Vec<Piece>, InvalidTextPattern>) -> Result<Self, InvalidTextPattern> {
        if text.is_empty() || text.len() > MAX_BYTES || text.matches('*').count() > MAX_STARS {
            return Err(InvalidTextPattern::Length);
        }
        let component = |text: &str| match text {
            ANY_COMPONENTS => Ok(Component::Any),
            text => pieces(text).map(Component::Pieces),
        };
        Ok(Self { text: text.into(), components: text.split('/').map(component).collect::<Result<_, _>>()? })
    }

    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means one text and no other.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let is_text = |piece: &Piece| matches!(piece, Piece::Text(_));
        self.components.iter().all(|component| matches!(component, Component::Pieces(pieces) if pieces.iter().all(is_text)))
    }

    /// Whether it means every text of one component.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        ["*", ANY_COMPONENTS].contains(&&*self.text)
    }

    /// Whether it means every text there is.
    #[must_use]
    pub fn is_whatever(&self) -> bool {
        *self.text == *ANY_COMPONENTS
    }

    /// The claims that stand in it.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let pieces = self.components.iter().flat_map(|component| match component {
            Component::Pieces(pieces) => &pieces[..],
            Component::Any => &[],
        });
        pieces.filter_map(|piece| match piece {
            Piece::Claim(name) => Some(&**name),
            Piece::Text(_) | Piece::Star => None,
        })
    }

    /// The components that everything it means begins with: all of it where it is exact.
    #[must_use]
    pub fn beginning(&self) -> &str {
        if self.is_exact() {
            return &self.text;
        }
        let special = self.text.find(['*', '{']).unwrap_or(self.text.len());
        self.text[..special].rfind('/').map_or("", |slash| &self.text[..slash])
    }

    /// Whether it means `text`, for whoever has `claims`.
    #[must_use]
    pub fn matches(&self, text: &str, claims: &impl Claims) -> bool {
        if self.is_exact() {
            return *self.text == *text;
        }
        let Some(own) = self.filled(claims) else { return false };
        let its: Vec<Filled> = text.split('/').map(|component| Filled::Symbols(bytes(component))).collect();
        meet(&own, &its)
    }

    /// Whether there can be a text that both mean, whatever the claims say.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        meet(&self.open(), &other.open())
    }

    /// Whether there can be a name that both mean, for whoever has `claims`.
    #[must_use]
    pub fn overlaps_names(&self, names: &Pattern, claims: &impl Claims) -> bool {
        let symbols = |component| match component {
            ANY_COMPONENTS => Filled::Any,
            component => Filled::Symbols(bytes(component).into_iter().map(Symbol::or_star).collect()),
        };
        let its: Vec<Filled> = names.as_str().split('/').map(symbols).collect();
        self.filled(claims).is_some_and(|own| meet(&own, &its))
    }

    /// The components with claims put in; none where one is missing, or has slashes and is no component by itself.
    fn filled(&self, claims: &impl Claims) -> Option<Vec<Filled>> {
        let mut filled = Vec::with_capacity(self.components.len());
        for component in &self.components {
            match component {
                Component::Any => filled.push(Filled::Any),
                Component::Pieces(pieces) => match &pieces[..] {
                    [Piece::Claim(name)] => {
                        let value = claims.claim(name).filter(|value| !value.split('/').any(str::is_empty))?;
                        filled.extend(value.split('/').map(|component| Filled::Symbols(bytes(component))));
                    }
                    pieces => filled.push(Filled::Symbols(symbols(pieces, claims)?)),
                },
            }
        }
        Some(filled)
    }

    /// The components with whatever a claim could say in its place.
    fn open(&self) -> Vec<Filled> {
        let symbols = |piece: &Piece| match piece {
            Piece::Text(text) => bytes(text),
            Piece::Star | Piece::Claim(_) => vec![Symbol::Star],
        };
        let component = |component: &Component| match component {
            Component::Pieces(pieces) if !matches!(pieces[..], [Piece::Claim(_)]) => {
                Filled::Symbols(pieces.iter().flat_map(symbols).collect())
            }
            // By itself a claim may have slashes.
            Component::Any | Component::Pieces(_) => Filled::Any,
        };
        self.components.iter().map(component).collect()
    }

    /// The pattern with a letter for each claim.
    fn likeness(&self) -> String {
        let component = |component: &Component| match component {
            Component::Any => ANY_COMPONENTS.to_owned(),
            Component::Pieces(pieces) => pieces.iter().map(likeness).collect(),
        };
        self.components.iter().map(component).collect::<Vec<String>>().join("/")
    }
}

impl Symbol {
    /// The same, where a star is one.
    fn or_star(self) -> Self {
        if self == Self::Byte(b'*') { Self::Star } else { self }
    }
}

/// Whether two rows of components can be the same text.
fn meet(left: &[Filled], right: &[Filled]) -> bool {
    let is_any = |component: &Filled| matches!(component, Filled::Any);
    meets(left, right, is_any, |left, right| match (left, right) {
        (Filled::Symbols(left), Filled::Symbols(right)) => meets(left, right, |symbol| *symbol == Symbol::Star, Symbol::eq),
        _ => false,
    })
}

/// A piece, or a letter for a claim.
fn likeness(piece: &Piece) -> &str {
    match piece {
        Piece::Text(text) => text,
        Piece::Star => "*",
        Piece::Claim(_) => "a",
    }
}

/// Pieces of one component with claims put in.
fn symbols(pieces: &[Piece], claims: &impl Claims) -> Option<Vec<Symbol>> {
    let mut symbols = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => symbols.extend(bytes(text)),
            Piece::Star => symbols.push(Symbol::Star),
            Piece::Claim(name) => {
                let value = claims.claim(name).filter(|value| !value.is_empty() && !value.contains('/'))?;
                symbols.extend(bytes(&value));
            }
        }
    }
    Some(symbols)
}

fn bytes(text: &str) -> Vec<Symbol> {
    text.bytes().map(Symbol::Byte).collect()
}

/// The pieces of a component without claims.
fn stars(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, part) in text.split('*').enumerate() {
        pieces.extend((index > 0).then_some(Piece::Star));
        pieces.extend((!part.is_empty()).then(|| Piece::Text(part.into())));
    }
    pieces
}

/// The pieces of a component in which claims may stand.
fn pieces(text: &str) -> Result<Vec<Piece>, InvalidTextPattern> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').ok_or(InvalidTextPattern::Brace)?;
        if name.is_empty() || name.contains(['{', '*']) || before.contains('}') {
            return Err(InvalidTextPattern::Brace);
        }
        found.extend(stars(before));
        found.push(Piece::Claim(name.into()));
        rest = behind;
    }
    if rest.contains('}') {
        return Err(InvalidTextPattern::Brace);
    }
    found.extend(stars(rest));
    Ok(found)
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Of(&'static [(&'static str, &'static str)]);

    impl Claims for Of {
        fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
            self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(*value))
        }
    }

    #[test]
    fn a_claim_means_what_it_says_to_the_letter() {
        let of = Of(&[("repo", "org/app"), ("slug", "pr-7"), ("star", "*"), ("slashes", "a//b"), ("none", ""), ("up", "../x")]);
        for (pattern, text, expected) in [
            ("{repo}", "org/app", true),
            ("{repo}/**", "org/app", true),
            ("{repo}/**", "org/app/x/y", true),
            ("x/{repo}", "x/org/app", true),
            ("x/{repo}", "x/org", false),
            // Half of a component must not become two.
            ("x-{repo}", "x-org/app", false),
            ("cache-{slug}", "cache-pr-7", true),
            ("cache-{slug}", "cache-pr-70", false),
            ("cache-{slug}*", "cache-pr-70", true),
            ("{star}", "anything", false),
            ("{star}", "*", true),
            ("cache-{star}", "cache-x", false),
            ("{slashes}", "a//b", false),
            ("{none}", "", false),
            ("cache-{none}", "cache-", false),
            ("{missing}", "missing", false),
            ("{missing}*", "x", false),
            ("{up}", "../x", true),
        ] {
            let pattern = TextPattern::of(pattern, pieces).unwrap();
            assert_eq!(pattern.matches(text, &of), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_star_stays_within_its_component_and_two_go_beyond() {
        for (pattern, text, expected) in [
            ("refs/heads/main", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/Main", false),
            ("refs/heads/*", "refs/heads/a", true),
            ("refs/heads/*", "refs/heads/a/b", false),
            ("refs/heads/**", "refs/heads/a/b", true),
            ("org/*", "org/", true),
            ("org/*", "org", false),
            ("org/*", "orgs/app", false),
            ("{x}", "{x}", true),
            ("repo:org/app:ref:*", "repo:org/app:ref:x", true),
        ] {
            let pattern = TextPattern::on_claim(pattern).unwrap();
            assert_eq!(pattern.matches(text, &Of(&[])), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_no_image_and_no_tag_could_be_is_no_pattern_on_them() {
        let long = "a".repeat(513);
        for text in [
            "",
            "A",
            "a//b",
            "a**",
            "{",
            "}",
            "{}",
            "a}b",
            "{a",
            "{a{b}}",
            "{a*}",
            "a:b",
            "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a",
            &long,
        ] {
            assert!(TextPattern::on_image(text).is_err(), "{text}");
        }
        for text in ["", "a/b", "{a}/b", ".a", "-{a}", "a b", "{", &long] {
            assert!(TextPattern::on_tag(text).is_err(), "{text}");
        }
        for text in ["*", "**", "cache-{ref_slug}", "{a}", "*--x", "V1.0_*"] {
            assert!(TextPattern::on_tag(text).is_ok(), "{text}");
        }
        for text in ["**", "{repository}", "{repository}/**", "org/{a}-x", "ghcr.io/*"] {
            assert!(TextPattern::on_image(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn patterns_that_can_mean_one_text_overlap() {
        for (left, right, expected) in [
            ("team-a/**", "team-b/**", false),
            ("team-a/**", "team-a", true),
            ("team-a/**", "team-a-b/**", false),
            ("team-*/x", "team-a/*", true),
            ("*-a", "b-*", true),
            ("*-a", "*-b", false),
            ("org/{user}", "org/a/b", true),
            ("org/x-{user}", "org/x-a", true),
            ("org/x-{user}", "org/y-*", false),
            ("{repository}/cache", "a/b/cache", true),
        ] {
            let [one, other] = [left, right].map(|text| TextPattern::of(text, pieces).unwrap());
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (expected, expected), "{left} {right}");
        }
        // What a claim says is known.
        let of = Of(&[("repository", "team-a/app")]);
        for (own, names, expected) in [
            ("{repository}/**", "team-a/**", true),
            ("{repository}/**", "team-b/**", false),
            ("{repository}", "*/app", true),
            ("{missing}", "**", false),
            ("team-*/**", "team-b/**", true),
            ("team-*", "team-b/x/**", false),
        ] {
            let pattern = TextPattern::on_image(own).unwrap();
            assert_eq!(pattern.overlaps_names(&names.parse().unwrap(), &of), expected, "{own} {names}");
        }
    }

    proptest! {
        #[test]
        fn whatever_two_match_they_overlap_on(
            left in r"((\*\*|[ab*]{1,3}|\{c\}|a\{c\})/){0,2}(\*\*|[ab*]{1,3}|\{c\})",
            right in r"((\*\*|[ab*]{1,3}|\{d\}|a\{d\})/){0,2}(\*\*|[ab*]{1,3}|\{d\})",
            text in r"[ab]{1,3}(/[ab]{1,3}){0,2}",
        ) {
            let of = Of(&[("c", "ab"), ("d", "a/b")]);
            let [one, other] = [&left, &right].map(|text| TextPattern::of(text, pieces).unwrap());
            prop_assert!(!(one.matches(&text, &of) && other.matches(&text, &of)) || one.overlaps(&other), "{left} {right} {text}");
            prop_assert_eq!(one.overlaps(&other), other.overlaps(&one));
            prop_assert!(one.overlaps(&one));
            if let (Ok(names), Ok(name)) = (right.parse::<Pattern>(), text.parse()) {
                prop_assert!(!(one.matches(&text, &of) && names.matches(&name)) || one.overlaps_names(&names, &of));
            }
        }
    }

    #[test]
    fn everything_that_a_pattern_means_begins_as_it_says() {
        for (pattern, beginning) in
            [("a/b", "a/b"), ("a/b*", "a"), ("a/b/**", "a/b"), ("a/{x}/b", "a"), ("**", ""), ("{x}", ""), ("a*", "")]
        {
            assert_eq!(TextPattern::of(pattern, pieces).unwrap().beginning(), beginning, "{pattern}");
        }
    }
}
