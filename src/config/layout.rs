//! Where things lie in a profile's store, and what `type=s3` clients of BuildKit have in the same one.

use super::layers::{Layers, Source};
use super::setting::{BUCKET, LAYOUT, S3_BLOBS, S3_MANIFESTS, S3_NAME, S3_TAG, S3_WRITE, SSE_CUSTOMER_KEY, Setting};
use crate::buildkit::S3Name;
use crate::oci::Tag;

/// Where in a store things lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each image's under its name.
    Image,
    /// The layers of all images in one place.
    Shared {
        /// What the keys of layers begin with.
        blobs_prefix: String,
        /// What the keys of caches of `type=s3` begin with.
        manifests_prefix: String,
    },
}

/// BuildKit's own `type=s3` clients in the same bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Clients {
    /// What they call a cache.
    pub name: S3Name,
    /// Which tag that is, where the name does not tell.
    pub tag: Tag,
    /// Whether what is pushed is written for them.
    pub write: bool,
}

/// What is said of such clients; any of it says that there are some.
pub const OF_S3_CLIENTS: &[Setting] = &[S3_NAME, S3_TAG, S3_WRITE, S3_BLOBS, S3_MANIFESTS];

/// Most bytes that a prefix of theirs may have: there are names and tags behind it.
const MAX_PREFIX_BYTES: usize = 100;

/// Where things lie: as stated, or as gocdnext's steps have them, in the bucket that it names.
pub fn layout(layers: &mut Layers) -> Option<Layout> {
    let is_shared = match layers.words(&LAYOUT) {
        Some(_) => layers.choose(&LAYOUT, |word| match word {
            "image" => Some(false),
            "shared" => Some(true),
            _ => None,
        })?,
        None => is_gocdnexts(layers),
    };
    if is_shared {
        return Some(Layout::Shared {
            blobs_prefix: layers.read(&S3_BLOBS, prefix).unwrap_or_else(|| "blobs/".into()),
            manifests_prefix: layers.read(&S3_MANIFESTS, prefix).unwrap_or_else(|| "manifests/".into()),
        });
    }
    for setting in [S3_BLOBS, S3_MANIFESTS] {
        if layers.words(&setting).is_some() {
            layers.refuse(&setting, "needs layout = \"shared\": else names that go on below an image's could lie there");
        }
    }
    Some(Layout::Image)
}

/// The clients that are stated, or gocdnext's steps; `None` where there are none.
pub fn s3_clients(layers: &mut Layers, layout: Option<&Layout>) -> Option<S3Clients> {
    let is_shared = matches!(layout?, Layout::Shared { .. });
    let are_gocdnexts = is_shared && is_gocdnexts(layers);
    if !are_gocdnexts && OF_S3_CLIENTS.iter().all(|setting| layers.words(setting).is_none()) {
        return None;
    }
    if layers.words(&SSE_CUSTOMER_KEY).is_some() {
        layers.refuse(&SSE_CUSTOMER_KEY, "is a key that type=s3 clients do not have, so there can be no s3_clients");
    }
    let by_layout = if is_shared { "{image}" } else { "{tag}" };
    let name: S3Name = layers.read(&S3_NAME, str::parse).or_else(|| by_layout.parse().ok())?;
    if name.tells_tags() && layers.words(&S3_TAG).is_some() {
        layers.refuse(&S3_TAG, format!("says nothing, as the name {name} has {{tag}}"));
    }
    let tag: Tag = layers.read(&S3_TAG, str::parse).or_else(|| "cache".parse().ok())?;
    let write = layers.choose(&S3_WRITE, |word| word.parse().ok());
    Some(S3Clients { name, tag, write: write.unwrap_or(are_gocdnexts) })
}

/// Whether the bucket is the one that gocdnext names.
fn is_gocdnexts(layers: &Layers) -> bool {
    layers.source(&BUCKET) == Some(Source::Gocdnext)
}

/// What keys begin with, as `type=s3` takes it: the rest follows without a slash between.
fn prefix(text: &str) -> Result<String, &'static str> {
    let is_plain = |component: &str| !matches!(component, "" | "." | ".." | "_oci") && !component.contains(char::is_control);
    if text.len() <= MAX_PREFIX_BYTES && format!("{text}x").split('/').all(is_plain) {
        return Ok(text.into());
    }
    Err(
        "what keys begin with, such as blobs/: nothing empty, ., .. or _oci between slashes, no control characters, at most 100 bytes",
    )
}

#[cfg(test)]
mod tests {
    use crate::config::tests::loaded;
    use crate::config::{Layout, Profile};

    /// The profile of a bucket that these lines are about, or what is wrong.
    fn profile(variables: &[(&str, &str)], lines: &str) -> Result<Profile, String> {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("LONGSHORE_ANONYMOUS", "none")];
        let variables: Vec<_> = variables.iter().copied().chain(keys).collect();
        Ok(loaded(&[], &variables, &format!("[profiles.default]\n{lines}"))?.profiles.remove(0))
    }

    /// What the profile says of its layout and clients, in a line.
    fn told(variables: &[(&str, &str)], lines: &str) -> Result<String, String> {
        let Profile { layout, s3_clients, .. } = profile(variables, lines)?;
        let layout = match layout {
            Layout::Image => "image".to_owned(),
            Layout::Shared { blobs_prefix, manifests_prefix } => format!("shared {blobs_prefix} {manifests_prefix}"),
        };
        let clients = s3_clients.map(|clients| format!(", {} is {}, write {}", clients.name, clients.tag, clients.write));
        Ok(layout + &clients.unwrap_or_default())
    }

    const GOCDNEXT: [(&str, &str); 1] = [("GOCDNEXT_LAYER_CACHE_BUCKET", "cache")];

    #[test]
    fn images_lie_apart_unless_it_is_stated_or_gocdnexts_bucket() {
        let bucket = "bucket = \"ci-cache\"\n";
        for (variables, lines, expected) in [
            (&[][..], bucket, "image"),
            (&[], "store = \"/dir\"\nlayout = \"shared\"", "shared blobs/ manifests/"),
            (&[], &format!("{bucket}s3_clients = {{ write = true }}"), "image, {tag} is cache, write true"),
            (&[], &format!("{bucket}s3_clients = {{ name = \"ci\", tag = \"main\" }}"), "image, ci is main, write false"),
            (
                &[],
                &format!("{bucket}layout = \"shared\"\n[profiles.default.s3_clients]\nblobs_prefix = \"team-b/\""),
                "shared team-b/ manifests/, {image} is cache, write false",
            ),
            (&GOCDNEXT, "", "shared blobs/ manifests/, {image} is cache, write true"),
            (&GOCDNEXT, "s3_clients = { write = false, tag = \"x\" }", "shared blobs/ manifests/, {image} is x, write false"),
            (&GOCDNEXT, "layout = \"image\"", "image"),
            (&GOCDNEXT, bucket, "image"),
            (&[("LONGSHORE_LAYOUT", "shared")], bucket, "shared blobs/ manifests/"),
        ] {
            assert_eq!(told(variables, lines).as_deref(), Ok(expected), "{variables:?} {lines}");
        }
    }

    #[test]
    fn variables_of_gocdnext_that_a_profile_is_given_mean_the_same() {
        let file = "[profiles.team]\nimages = [\"team/*\"]\n[profiles.team.env]\nGOCDNEXT_LAYER_CACHE_BUCKET = \"cache\"\n\
            AWS_ACCESS_KEY_ID = \"id\"\nAWS_SECRET_ACCESS_KEY = \"{{secret:A}}\"\n";
        let config = loaded(&[], &[("LONGSHORE_ANONYMOUS", "none"), ("LONGSHORE_SECRET_A", "a")], file).unwrap();

        let Profile { layout, s3_clients, .. } = &config.profiles[0];

        assert!(matches!(layout, Layout::Shared { .. }));
        assert!(s3_clients.as_ref().is_some_and(|clients| clients.write));
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_by_its_key() {
        for (lines, expected) in [
            ("layout = \"flat\"", "layout  line 3  \"flat\": must be one of image, shared"),
            ("s3_clients = { blobs_prefix = \"b/\" }", "s3_clients.blobs_prefix  line 3  needs layout = \"shared\""),
            ("s3_clients = { name = \"{branch}\" }", "s3_clients.name  line 3  \"{branch}\": a name is text in which"),
            ("s3_clients = { tag = \"x\" }", "s3_clients.tag  line 3  says nothing, as the name {tag} has {tag}"),
            ("s3_clients = { name = \"x\", tag = \"-\" }", "s3_clients.tag  line 3  \"-\": a tag has 1 to 128"),
            ("s3_clients = { write = \"yes\" }", "s3_clients.write  line 3  must be true or false, not a text"),
            ("s3_clients = { prefix = \"x/\" }", "s3_clients.prefix  line 3  there is no such key"),
            (
                "layout = \"shared\"\ns3_clients = { blobs_prefix = \"/b\" }",
                "s3_clients.blobs_prefix  line 4  \"/b\": what keys begin with",
            ),
            (
                "sse_customer_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\ns3_clients = { write = true }",
                "sse_customer_key  line 3  is a key that type=s3 clients do not have",
            ),
        ] {
            let problems = profile(&[], &format!("bucket = \"ci-cache\"\n{lines}")).expect_err(lines);
            assert!(problems.contains(" 1 problem\n") && problems.contains(expected), "{problems}");
        }
        let folder = profile(&[], "store = \"/dir\"\ns3_clients = { write = true }").unwrap_err();
        assert!(folder.contains("s3_clients.write  line 3  is for a bucket, and the store is a folder"), "{folder}");
    }
}
