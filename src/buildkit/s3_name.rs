//! What `type=s3` calls a cache that registries know by an image and a tag.
//!
//! Such a client has one name for a cache, its attribute `name` (v0.32.2
//! `cache/remotecache/s3/s3.go`), which is whatever its pipeline says.

use std::fmt;
use std::str::FromStr;

use crate::oci::{RepoName, Tag};

/// Most bytes that stand in a name for themselves.
const MAX_LITERAL_BYTES: usize = 100;

/// How a name is made of an image and a tag: text in which `{image}` and `{tag}` stand for them.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Name(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Image,
    Tag,
}

/// A text that makes no names.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is text in which {{image}} and {{tag}} stand for these: no other braces, no ;, no control characters, nothing empty, . or .. between slashes, at most {MAX_LITERAL_BYTES} bytes besides"
)]
pub struct InvalidS3Name;

impl Part {
    fn text<'a>(&'a self, image: &'a RepoName, tag: &'a str) -> &'a str {
        match self {
            Self::Literal(text) => text,
            Self::Image => image.as_str(),
            Self::Tag => tag,
        }
    }
}

impl S3Name {
    /// What the cache that `image` has under `tag` is called.
    #[must_use]
    pub fn of(&self, image: &RepoName, tag: &Tag) -> String {
        self.0.iter().map(|part| part.text(image, tag.as_str())).collect()
    }

    /// What the names of all tags of `image` begin with, if the tag follows and that is all.
    #[must_use]
    pub fn before_tag(&self, image: &RepoName) -> Option<String> {
        let (Part::Tag, rest) = self.0.split_last()? else { return None };
        (!rest.contains(&Part::Tag)).then(|| rest.iter().map(|part| part.text(image, "")).collect())
    }

    /// Whether each tag has a name of its own.
    #[must_use]
    pub fn tells_tags(&self) -> bool {
        self.0.contains(&Part::Tag)
    }
}

impl FromStr for S3Name {
    type Err = InvalidS3Name;

    fn from_str(text: &str) -> Result<Self, InvalidS3Name> {
        let (mut parts, mut literal_bytes, mut rest) = (Vec::new(), 0, text);
        while !rest.is_empty() {
            let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            literal_bytes += literal.len();
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.into()));
            }
            rest = after;
            if let Some(after) = rest.strip_prefix("{image}") {
                parts.push(Part::Image);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{tag}") {
                parts.push(Part::Tag);
                rest = after;
            } else if !rest.is_empty() {
                return Err(InvalidS3Name);
            }
        }
        // An image and a tag are made of what may stand between slashes.
        let sample = text.replace("{image}", "a").replace("{tag}", "a");
        let is_plain = |component: &str| !matches!(component, "" | "." | "..") && !component.contains(is_strange);
        let is_name = literal_bytes <= MAX_LITERAL_BYTES && sample.split('/').all(is_plain);
        if is_name { Ok(Self(parts)) } else { Err(InvalidS3Name) }
    }
}

/// A client's `name` may be several, with `;` between them.
fn is_strange(c: char) -> bool {
    c.is_control() || matches!(c, '{' | '}' | ';')
}

impl fmt::Display for S3Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Image => f.write_str("{image}"),
            Part::Tag => f.write_str("{tag}"),
        })
    }
}

impl fmt::Debug for S3Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Name({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_and_a_tag_stand_where_their_names_do() {
        let (image, tag) = ("ghcr.io/org/app".parse().unwrap(), "cache".parse().unwrap());
        for (text, name, tells_tags, before) in [
            ("{tag}", "cache", true, Some("")),
            ("{image}", "ghcr.io/org/app", false, None),
            ("ci/{image}:{tag}", "ci/ghcr.io/org/app:cache", true, Some("ci/ghcr.io/org/app:")),
            ("{tag}.x", "cache.x", true, None),
            ("buildkit", "buildkit", false, None),
            ("{tag}{tag}", "cachecache", true, None),
        ] {
            let template: S3Name = text.parse().unwrap();

            assert_eq!(template.of(&image, &tag), name);
            assert_eq!((template.tells_tags(), template.to_string().as_str()), (tells_tags, text));
            assert_eq!(template.before_tag(&image).as_deref(), before, "{text}");
        }
    }

    #[test]
    fn what_would_be_no_key_or_several_names_is_refused() {
        let long = "x".repeat(MAX_LITERAL_BYTES + 1);
        for text in ["", "/x", "x/", "a//b", "../{tag}", ".", "{tags}", "{tag", "tag}", "{{tag}}", "a;b", "a\nb", &long] {
            assert_eq!(text.parse::<S3Name>(), Err(InvalidS3Name), "{text}");
        }
    }
}
