//! Images to push: random bytes in an OCI layout, and what is known of them.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::project::digest_of;
use super::scratch;

/// An image in a folder: an OCI layout which calls it `made`.
#[derive(Debug)]
pub struct Image {
    folder: TempDir,
    pub contents: Contents,
    blobs: Vec<Value>,
}

/// What an image is, whichever way its layers are packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The digest of its config; docker and podman call it the image's id.
    pub config: String,
    /// The digest of each layer, unpacked.
    pub layers: Vec<String>,
}

/// The tag of an [`Image`] in its layout.
pub const TAG: &str = "made";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How much is made, written and hashed at a time, in bytes.
const BLOCK: usize = 1024 * 1024;

impl Image {
    /// Of `layers` layers, each one file of `bytes` bytes that nothing makes smaller.
    pub fn random(layers: usize, bytes: u64) -> Self {
        let folder = scratch("image");
        let layout = folder.path().join("layout");
        fs::create_dir_all(layout.join("blobs/sha256")).expect("a folder");

        let (mut diff_ids, mut blobs) = (Vec::new(), Vec::new());
        for index in 0..layers {
            let (diff_id, blob) = add_layer(&layout, &format!("file-{index}"), bytes).expect("room for a layer");
            diff_ids.push(diff_id);
            blobs.push(blob);
        }
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let platform_config = json!({"architecture": architecture(), "os": "linux", "config": {}, "rootfs": rootfs});
        let config = add_json(&layout, "application/vnd.oci.image.config.v1+json", &platform_config);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": blobs});
        let mut manifest = add_json(&layout, MANIFEST, &manifest);
        let contents = Contents { config: text(&config["digest"]), layers: diff_ids };

        blobs.push(config);
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(layout.join("index.json"), index.to_string()).expect("a file");
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
        Self { folder, contents, blobs }
    }

    /// The OCI layout.
    pub fn layout(&self) -> PathBuf {
        self.folder.path().join("layout")
    }

    /// A tar file of the layout, made anew, which `docker load` takes too, as `name`.
    pub fn archive(&self, name: &str) -> PathBuf {
        let path = |blob: &Value| format!("blobs/{}", text(&blob["digest"]).replace(':', "/"));
        let (config, layers) = self.blobs.split_last().expect("a config");
        let layers: Vec<_> = layers.iter().map(path).collect();
        let for_docker = json!([{"Config": path(config), "RepoTags": [name], "Layers": layers}]);
        fs::write(self.layout().join("manifest.json"), for_docker.to_string()).expect("a file");

        let archive = self.folder.path().join("archive.tar");
        let tar = std::process::Command::new("tar").arg("-C").arg(self.layout()).arg("-cf").arg(&archive).arg(".").status();
        assert!(tar.expect("tar is there").success());
        archive
    }
}

/// The one image in an OCI layout, every blob of which must be what its name says; and the digest of its manifest.
pub fn pulled(layout: &Path) -> (Contents, String) {
    for entry in fs::read_dir(layout.join("blobs/sha256")).expect("a layout") {
        let path = entry.expect("an entry").path();
        let digest = digest_of(File::open(&path).expect("a blob")).expect("it can be read");
        assert!(digest.ends_with(path.file_name().and_then(|name| name.to_str()).expect("text")), "{}", path.display());
    }
    let read = |digest: &Value| {
        let blob = layout.join("blobs").join(text(digest).replace(':', "/"));
        read_json(&blob).unwrap_or_else(|error| panic!("{}: {error}", blob.display()))
    };
    let index = read_json(&layout.join("index.json")).expect("an index");
    let digest = &index["manifests"][0]["digest"];
    let manifest = read(digest);
    let config = &manifest["config"]["digest"];
    (Contents::of_config(&text(config), &read(config)), text(digest))
}

impl Contents {
    /// Of the image with this config.
    pub fn of_config(digest: &str, config: &Value) -> Self {
        Self { config: digest.to_owned(), layers: texts(&config["rootfs"]["diff_ids"]) }
    }
}

/// What an array holds; panics when it is none, or of something else than text.
pub fn texts(array: &Value) -> Vec<String> {
    array.as_array().unwrap_or_else(|| panic!("{array} is no array")).iter().map(text).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn read_json(path: &Path) -> io::Result<Value> {
    Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
}

/// As Go spells the architecture that the tests run on.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Adds a layer of one file to a layout; its digest unpacked, and the descriptor of it packed.
fn add_layer(layout: &Path, name: &str, bytes: u64) -> io::Result<(String, Value)> {
    let partial = layout.join("blobs/partial");
    // Random bytes don't get smaller, and nothing is gained by trying.
    let packed = GzEncoder::new(Hashing::new(File::create(&partial)?), Compression::none());
    let mut layer = Hashing::new(packed);

    layer.write_all(&tar_header(name, bytes))?;
    let (mut random, mut block) = (fastrand::Rng::new(), vec![0; BLOCK]);
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
        random.fill(&mut block[..now]);
        layer.write_all(&block[..now])?;
        left -= now as u64;
    }
    let padding = (512 - bytes % 512) % 512 + 1024;
    layer.write_all(&vec![0; usize::try_from(padding).expect("less than 2 KiB")])?;

    let (packed, diff_id, _) = layer.finish();
    let (_, digest, size) = packed.finish()?.finish();
    fs::rename(partial, layout.join("blobs").join(digest.replace(':', "/")))?;
    let descriptor = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size});
    Ok((diff_id, descriptor))
}

/// Adds a JSON document to a layout; its descriptor.
fn add_json(layout: &Path, media_type: &str, document: &Value) -> Value {
    let document = document.to_string();
    let digest = digest_of(document.as_bytes()).expect("memory can be read");
    fs::write(layout.join("blobs").join(digest.replace(':', "/")), &document).expect("a file");
    json!({"mediaType": media_type, "digest": digest, "size": document.len()})
}

/// The head of a plain file in a tar file (POSIX.1-1988, "ustar").
fn tar_header(name: &str, bytes: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, field: &str| header[at..at + field.len()].copy_from_slice(field.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{bytes:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

/// The digest of what packed bytes unpack to.
pub fn digest_unpacked(packed: &[u8]) -> String {
    let unpacked = if packed.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut unpacked).expect("gzip");
        digest_of(unpacked.as_slice())
    } else {
        digest_of(packed)
    };
    unpacked.expect("memory can be read")
}

/// Passes bytes on, and knows their hash.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Where the bytes went, their digest, and how many there were.
    fn finish(self) -> (W, String, u64) {
        (self.inner, format!("sha256:{}", HEXLOWER.encode(&self.hasher.finalize())), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
