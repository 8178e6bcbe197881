//! Rules by image: how pulls are answered.

use crate::oci::{Pattern, RepoName, Tag, TagPattern};
use crate::registry::{Answering, Fallback, Kind, Parts, Repository, Target};

/// What a profile says of how pulls of its images are answered.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Which parts of a tag count, where there are any.
    pub parts: Parts,
    /// What images are for. No two that say the same mean one image and are equally specific.
    pub images: Vec<ImageRule>,
    /// What stands in for tags. No two mean the same tag and are equally specific.
    pub fallbacks: Vec<FallbackRule>,
}

/// What some images are for.
#[derive(Clone, Debug)]
pub struct ImageRule {
    /// Which ones.
    pub image: Pattern,
    /// What they are for, if this says so.
    pub kind: Option<Kind>,
    /// Whether their tags have parts, if this says so.
    pub parts: Option<bool>,
}

/// What stands in for some tags.
#[derive(Clone, Debug)]
pub struct FallbackRule {
    /// Of which images.
    pub image: Pattern,
    /// Which tags.
    pub tag: TagPattern,
    /// Tags of the same image, or of another one.
    pub to: Vec<(Option<RepoName>, Tag)>,
    /// Whether all of them do that are there.
    pub is_union: bool,
}

impl Rules {
    /// How pulls of `image` are answered. Only what the client may read by its own name, by `may_read`, stands in for anything;
    /// where that is of another image, it is found in what `repository` has of it.
    pub(super) fn answering(
        &self,
        image: &RepoName,
        may_read: impl Fn(&RepoName, &Tag) -> bool,
        repository: impl Fn(&RepoName) -> Repository,
    ) -> Answering {
        let mut fallbacks: Vec<_> = self.fallbacks.iter().filter(|rule| rule.image.matches(image)).collect();
        // The most specific first.
        fallbacks.sort_by(|one, other| other.image.specificity(&one.image).then_with(|| other.tag.specificity(&one.tag)));
        let target = |(other, tag): &(Option<RepoName>, Tag)| {
            let other = other.as_ref().filter(|other| *other != image);
            let may_read = may_read(other.unwrap_or(image), tag);
            may_read.then(|| Target { repository: other.map(&repository), tag: tag.clone() })
        };
        let fallback = |rule: &FallbackRule| Fallback {
            tag: rule.tag.clone(),
            to: rule.to.iter().filter_map(target).collect(),
            is_union: rule.is_union,
        };
        Answering { fallbacks: fallbacks.into_iter().map(fallback).collect(), ..self.alone(image) }
    }

    /// The same where nothing stands in for anything, as it is for what stands in itself.
    pub(super) fn alone(&self, image: &RepoName) -> Answering {
        let are_on = self.deciding(image, |rule| rule.parts).unwrap_or(self.parts.are_on);
        let parts = Parts { are_on, ..self.parts.clone() };
        Answering { kind: self.deciding(image, |rule| rule.kind), parts, fallbacks: Vec::new() }
    }

    /// What stands between a tag of `image` and its parts, if tags have parts there.
    #[must_use]
    pub fn separator(&self, image: &RepoName) -> Option<&str> {
        self.alone(image).parts.are_on.then_some(&self.parts.separator)
    }

    /// What the most specific of the rules for `image` says that says anything.
    fn deciding<T>(&self, image: &RepoName, says: impl Fn(&ImageRule) -> Option<T>) -> Option<T> {
        let saying = self.images.iter().filter(|rule| rule.image.matches(image) && says(rule).is_some());
        saying.max_by(|one, other| one.image.specificity(&other.image)).and_then(says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(image: &str, kind: Option<Kind>, parts: Option<bool>) -> ImageRule {
        ImageRule { image: image.parse().unwrap(), kind, parts }
    }

    fn fallback(image: &str, tag: &str, to: &[(Option<&str>, &str)]) -> FallbackRule {
        let to = to.iter().map(|(image, tag)| (image.map(|image| image.parse().unwrap()), tag.parse().unwrap())).collect();
        FallbackRule { image: image.parse().unwrap(), tag: tag.parse().unwrap(), to, is_union: false }
    }

    #[test]
    fn of_each_thing_the_most_specific_rule_that_says_it_decides() {
        let images = vec![
            rule("org/**", Some(Kind::Image), Some(false)),
            rule("org/app", None, Some(true)),
            rule("org/cache", Some(Kind::Cache), None),
        ];
        let rules = Rules { images, ..Rules::default() };

        for (image, kind, parts) in [
            ("org/x", Some(Kind::Image), false),
            ("org/app", Some(Kind::Image), true),
            ("org/cache", Some(Kind::Cache), false),
            ("other", None, true),
        ] {
            let Answering { kind: found, parts: found_parts, .. } = rules.alone(&image.parse().unwrap());
            assert_eq!((found, found_parts.are_on), (kind, parts), "{image}");
        }
    }

    #[test]
    fn the_more_specific_image_goes_before_the_more_specific_tag_and_what_may_not_be_read_is_left_out() {
        let fallbacks = vec![
            fallback("org/*", "cache-x", &[(None, "a")]),
            fallback("org/app", "*", &[(Some("secret"), "b"), (Some("org/app"), "c")]),
            fallback("org/app", "cache-*", &[(None, "e")]),
            fallback("other", "*", &[(None, "f")]),
        ];
        let rules = Rules { fallbacks, ..Rules::default() };
        let image: RepoName = "org/app".parse().unwrap();
        let told =
            rules.answering(&image, |other, _| *other == image, |_| unreachable!()).fallbacks.into_iter().map(|fallback| {
                let to: Vec<_> = fallback.to.iter().map(|target| target.tag.as_str()).collect();
                format!("{} {}", fallback.tag, to.join(" "))
            });

        assert_eq!(told.collect::<Vec<_>>(), ["cache-* e", "* c", "cache-x a"]);
    }
}
