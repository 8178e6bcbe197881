//! Media types.

use std::fmt;
use std::str::FromStr;

/// Most characters a media type may have: 127 for each of its names (RFC 6838, 4.2).
const MAX_CHARS: usize = 255;

/// What kind of thing some bytes are: `type/subtype`, without parameters.
///
/// RFC 6838, 4.2, "Naming Requirements".
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MediaType(Box<str>);

/// A text that is no media type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type is written type/subtype")]
pub struct InvalidMediaType;

impl MediaType {
    /// An OCI image manifest; also the newer form of a BuildKit cache.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index; also the older form of a BuildKit cache.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// A Docker image manifest, version 2 schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// A Docker manifest list; also the older form of a BuildKit cache with `oci-mediatypes=false`.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// A BuildKit cache config: what makes a manifest a cache manifest.
    pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

    /// The type as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is one of the types that [`super::Manifest`] knows as an index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// Whether this is one of the types that [`super::Manifest`] knows as an image manifest.
    #[must_use]
    pub fn is_image(&self) -> bool {
        matches!(self.as_str(), Self::OCI_MANIFEST | Self::DOCKER_MANIFEST)
    }
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    /// Reads the type and drops parameters, which mean nothing for manifests
    /// (distribution-spec v1.1.1, "Pushing Manifests").
    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let (kind, subtype) = essence.split_once('/').ok_or(InvalidMediaType)?;
        if essence.len() <= MAX_CHARS && is_restricted_name(kind) && is_restricted_name(subtype) {
            Ok(Self(essence.to_ascii_lowercase().into()))
        } else {
            Err(InvalidMediaType)
        }
    }
}

/// `restricted-name` of RFC 6838, 4.2.
fn is_restricted_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_and_case_do_not_make_another_type() {
        for text in [
            MediaType::OCI_INDEX,
            "Application/Vnd.OCI.image.index.v1+json; charset=utf-8",
            " application/vnd.oci.image.index.v1+json",
        ] {
            assert_eq!(text.parse::<MediaType>().map(|m| m.to_string()), Ok(MediaType::OCI_INDEX.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_type_slash_subtype_is_refused() {
        for text in
            ["", "json", "/", "a/", "/b", "a/b/c", "a b/c", "a/b\r\nx", "*/*", "application/*", &format!("a/{}", "b".repeat(300))]
        {
            assert_eq!(text.parse::<MediaType>(), Err(InvalidMediaType), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_reads_back_as_itself(text in r"[ -~]{0,40}/?[ -~]{0,40}") {
            if let Ok(media_type) = text.parse::<MediaType>() {
                prop_assert_eq!(media_type.to_string().parse(), Ok(media_type));
            }
        }

        #[test]
        fn what_is_a_type_is_one_whatever_its_parameters(
            kind in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,20}",
            subtype in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,20}",
            parameters in "( *;[ -~]{0,20})?",
        ) {
            let essence = format!("{kind}/{subtype}");

            let media_type = format!("{essence}{parameters}").parse::<MediaType>();

            prop_assert_eq!(media_type.as_ref().map(MediaType::as_str), Ok(&*essence.to_ascii_lowercase()));
        }
    }
}
