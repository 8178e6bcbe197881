//! Manifests, read only as far as a registry must: what they refer to.
//!
//! A manifest's bytes are kept as they came; what is here is never written back.

use oci_spec::image::{Digest as SpecDigest, MediaType as SpecMediaType};
use serde::Deserialize;

use super::digest::{Digest, InvalidDigest};
use super::json;
use super::media_type::MediaType;

/// A manifest and what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What its bytes are.
    pub media_type: MediaType,
    /// What it is made of.
    pub kind: ManifestKind,
    /// The manifest that this one says something about;
    /// distribution-spec v1.1.1, "Pushing Manifests with Subject".
    pub subject: Option<Descriptor>,
}

/// What a manifest is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// A config and layers, all blobs. image-spec v1.1.0, "Image Manifest".
    Image {
        /// What describes the layers.
        config: Descriptor,
        /// The content, in order.
        layers: Vec<Descriptor>,
    },
    /// Other manifests, or blobs: BuildKit keeps cache layers in an index too.
    /// image-spec v1.1.0, "Image Index".
    Index(Vec<Descriptor>),
    /// A type that nothing is known of; it refers to nothing that matters here.
    Opaque,
}

/// What is referred to. image-spec v1.1.0, "Descriptor".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the bytes are, as somebody claims.
    pub media_type: String,
    /// The address of the bytes.
    pub digest: Digest,
    /// How many bytes, as somebody claims.
    pub size: u64,
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// JSON perhaps, but not an object.
    #[error("manifest invalid: not a JSON object")]
    NotAnObject,
    /// Not JSON, or not the fields that the media type asks for.
    #[error("manifest invalid: {0}")]
    Json(#[from] serde_json::Error),
    /// Not there, and nothing works without it.
    #[error("manifest invalid: missing field `{0}`")]
    Missing(&'static str),
    /// A digest in it is of no use.
    #[error("manifest invalid: digest {text:?}: {why}")]
    Digest {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        why: InvalidDigest,
    },
    /// It says itself that it is something else.
    #[error("manifest invalid: sent as {sent}, but its mediaType is {stated}")]
    MediaType {
        /// The type it was sent as.
        sent: MediaType,
        /// The type it states.
        stated: String,
    },
    /// Schema 1, or a schema nobody has heard of.
    #[error("manifest invalid: schemaVersion must be 2")]
    SchemaVersion,
}

/// The fields of a manifest that matter here. What else it says is its clients'
/// business, and a list that has nothing may be `null`: Go writes it so, and
/// BuildKit does for an image without layers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    schema_version: Option<u32>,
    media_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
}

/// The fields of a descriptor that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: SpecMediaType,
    digest: SpecDigest,
    size: u64,
}

impl Manifest {
    /// Reads `bytes` as a manifest of type `media_type`.
    ///
    /// # Errors
    ///
    /// Whatever makes it useless to every client; the message says where.
    pub fn parse(media_type: MediaType, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        // serde would take an array of a struct's fields for the struct.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(InvalidManifest::NotAnObject);
        }
        json::check(bytes)?;
        let fields: Fields = serde_json::from_slice(bytes)?;
        if let Some(stated) = &fields.media_type
            && !stated.eq_ignore_ascii_case(media_type.as_str())
        {
            return Err(InvalidManifest::MediaType { sent: media_type, stated: stated.clone() });
        }
        let subject = fields.subject.as_ref().map(Descriptor::read).transpose()?;
        let kind = match () {
            () if media_type.is_image() => fields.image()?,
            () if media_type.is_index() => fields.index()?,
            () => ManifestKind::Opaque,
        };
        Ok(Self { media_type, kind, subject })
    }

    /// Everything that it is made of.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        let (config, rest) = match &self.kind {
            ManifestKind::Image { config, layers } => (Some(config), &layers[..]),
            ManifestKind::Index(children) => (None, &children[..]),
            ManifestKind::Opaque => (None, &[][..]),
        };
        config.into_iter().chain(rest).map(|descriptor| &descriptor.digest)
    }

    /// Whether this is a BuildKit cache rather than something to run.
    ///
    /// Either form: config type `cacheconfig`, or an index with a child of that type.
    #[must_use]
    pub fn is_cache(&self) -> bool {
        let is_cache_config = |descriptor: &Descriptor| descriptor.media_type == MediaType::CACHE_CONFIG;
        match &self.kind {
            ManifestKind::Image { config, .. } => is_cache_config(config),
            ManifestKind::Index(children) => children.iter().any(is_cache_config),
            ManifestKind::Opaque => false,
        }
    }
}

impl Fields {
    fn image(&self) -> Result<ManifestKind, InvalidManifest> {
        self.require_schema_2()?;
        let config = self.config.as_ref().ok_or(InvalidManifest::Missing("config"))?;
        Ok(ManifestKind::Image { config: Descriptor::read(config)?, layers: Descriptor::read_all(self.layers.as_ref())? })
    }

    fn index(&self) -> Result<ManifestKind, InvalidManifest> {
        self.require_schema_2()?;
        Ok(ManifestKind::Index(Descriptor::read_all(self.manifests.as_ref())?))
    }

    fn require_schema_2(&self) -> Result<(), InvalidManifest> {
        if self.schema_version == Some(2) { Ok(()) } else { Err(InvalidManifest::SchemaVersion) }
    }
}

impl Descriptor {
    fn read(raw: &RawDescriptor) -> Result<Self, InvalidManifest> {
        let text = raw.digest.to_string();
        match text.parse() {
            Ok(digest) => Ok(Self { media_type: raw.media_type.to_string(), digest, size: raw.size }),
            Err(why) => Err(InvalidManifest::Digest { text, why }),
        }
    }

    fn read_all(raw: Option<&Vec<RawDescriptor>>) -> Result<Vec<Self>, InvalidManifest> {
        raw.into_iter().flatten().map(Self::read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(media_type: &str, manifest: &Value) -> Result<Manifest, InvalidManifest> {
        Manifest::parse(media_type.parse().unwrap(), manifest.to_string().as_bytes())
    }

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": Digest::sha256(media_type.as_bytes()).to_string(), "size": 7})
    }

    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

    #[test]
    fn both_forms_of_a_cache_are_known_as_one() {
        let image = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": descriptor(MediaType::CACHE_CONFIG), "layers": [descriptor(GZIP)]});
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(GZIP), descriptor(MediaType::CACHE_CONFIG)]});

        assert!(parse(MediaType::OCI_MANIFEST, &image).unwrap().is_cache());
        for media_type in [MediaType::OCI_INDEX, MediaType::DOCKER_LIST] {
            assert!(parse(media_type, &index).unwrap().is_cache(), "{media_type}");
        }
    }

    #[test]
    fn an_image_is_its_config_and_layers_in_order() {
        let config = "application/vnd.docker.container.image.v1+json";
        let layers = ["application/vnd.docker.image.rootfs.diff.tar.gzip", GZIP];
        let image = json!({"schemaVersion": 2, "config": descriptor(config), "layers": layers.map(descriptor)});

        let manifest = parse(MediaType::DOCKER_MANIFEST, &image).unwrap();

        let ManifestKind::Image { layers: found, .. } = &manifest.kind else { panic!("{manifest:?}") };
        assert_eq!(found.iter().map(|d| d.media_type.as_str()).collect::<Vec<_>>(), layers);
        assert!(!manifest.is_cache());
    }

    #[test]
    fn a_list_of_nothing_may_be_null_or_missing() {
        for layers in [json!({"layers": null}), json!({}), json!({"layers": []})] {
            let mut image = json!({"schemaVersion": 2, "config": descriptor(GZIP)});
            image.as_object_mut().unwrap().extend(layers.as_object().unwrap().clone());

            assert!(parse(MediaType::OCI_MANIFEST, &image).is_ok(), "{image}");
        }
        assert!(parse(MediaType::OCI_INDEX, &json!({"schemaVersion": 2, "manifests": null})).is_ok());
    }

    #[test]
    fn a_type_that_nobody_knows_is_taken_if_it_is_json() {
        let manifest = parse("application/vnd.example+json", &json!({"subject": descriptor(GZIP)})).unwrap();

        assert_eq!(manifest.kind, ManifestKind::Opaque);
        assert_eq!(manifest.subject.unwrap().size, 7);
    }

    #[test]
    fn what_no_client_could_use_is_refused_and_says_why() {
        let mut negative = descriptor(GZIP);
        negative["size"] = json!(-1);
        let mut md5 = descriptor(GZIP);
        md5["digest"] = json!("md5:00");
        for (media_type, manifest, why) in [
            (MediaType::OCI_MANIFEST, json!([null, null]), "not a JSON object"),
            (MediaType::OCI_MANIFEST, json!({"schemaVersion": 2}), "missing field `config`"),
            (
                MediaType::OCI_MANIFEST,
                json!({"schemaVersion": 1, "config": descriptor(GZIP), "layers": []}),
                "schemaVersion must be 2",
            ),
            (
                MediaType::OCI_MANIFEST,
                json!({"schemaVersion": 2, "config": descriptor(GZIP), "layers": [negative]}),
                "invalid value",
            ),
            (MediaType::OCI_MANIFEST, json!({"schemaVersion": 2, "config": md5, "layers": []}), "md5"),
            (MediaType::OCI_INDEX, json!({"schemaVersion": 2, "manifests": [{}]}), "missing field"),
            (MediaType::OCI_INDEX, json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "manifests": []}), "sent as"),
        ] {
            let message = parse(media_type, &manifest).unwrap_err().to_string();

            assert!(message.contains(why), "{manifest}: {message}");
        }
    }

    #[test]
    fn what_is_not_quite_json_or_nested_without_end_is_refused_wherever_it_stands() {
        let with = |field: &[u8]| {
            let image = json!({"schemaVersion": 2, "config": descriptor(GZIP), "layers": []}).to_string();
            let bytes = [b"{\"x\":", field, b",", &image.as_bytes()[1..]].concat();
            Manifest::parse(MediaType::OCI_MANIFEST.parse().unwrap(), &bytes)
        };
        assert!(with(b"[[1.5e3, \"\\u00e9\"], {\"y\": null}]").is_ok());
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));

        for field in [deep.as_bytes(), b"\"\xff\"", b"\"\\ud800\"", b"01", b"[1,]"] {
            assert!(with(field).is_err(), "{:.20}", String::from_utf8_lossy(field));
        }
    }
}
