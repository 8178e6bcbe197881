//! What a profile states of its images, as those take it who answer.

use crate::access::{FallbackRule, ImageRule, Rules};
use crate::config::{self, ImageKind, Profile};
use crate::registry::{Kind, Parts};

/// How pulls of the images of `stated` are answered.
pub(super) fn rules(stated: &Profile) -> Rules {
    let config::Parts { separator, window, max, max_bytes } = stated.parts.clone();
    Rules {
        parts: Parts { are_on: true, separator, window, most: max, max_bytes },
        images: stated.rules.iter().map(image_rule).collect(),
        fallbacks: stated.fallbacks.iter().map(fallback).collect(),
    }
}

fn image_rule(rule: &config::Rule) -> ImageRule {
    let kind = rule.kind.map(|kind| match kind {
        ImageKind::Cache => Kind::Cache,
        ImageKind::Image => Kind::Image,
    });
    ImageRule { image: rule.image.clone(), kind, parts: rule.parts }
}

fn fallback(rule: &config::FallbackRule) -> FallbackRule {
    let config::FallbackRule { image, tag, to, is_union } = rule.clone();
    FallbackRule { image, tag, to, is_union }
}
