//! Digests: the addresses of blobs and manifests.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256, Sha512};

/// The address of a blob or manifest: the hash of its bytes.
///
/// Written `<algorithm>:<lowercase hex>`; image-spec v1.1.0, Descriptor, "Digests".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Digest {
    /// 32 bytes of SHA-256.
    Sha256([u8; 32]),
    /// 64 bytes of SHA-512.
    Sha512([u8; 64]),
}

/// A registered hash algorithm; image-spec v1.1.0, Descriptor, "Registered Algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256, which every client speaks.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// Why a text is not a digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// No `:` between algorithm and hash.
    #[error("a digest is written <algorithm>:<hex>")]
    Malformed,
    /// Well formed perhaps, but not a hash that is computed here.
    #[error("unsupported digest algorithm; sha256 and sha512 are supported")]
    UnsupportedAlgorithm,
    /// Not as many lowercase hex digits as the algorithm has.
    #[error("a {algorithm} digest has {hex_digits} lowercase hex digits")]
    Hash {
        /// What stood before the `:`.
        algorithm: Algorithm,
        /// How many digits should have followed it.
        hex_digits: usize,
    },
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// Which hash this is.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The hash itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(hash) => hash,
            Self::Sha512(hash) => hash,
        }
    }
}

impl Algorithm {
    /// Every algorithm that digests here are made with.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), HEXLOWER.encode(self.as_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, hex) = text.split_once(':').ok_or(InvalidDigest::Malformed)?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(InvalidDigest::UnsupportedAlgorithm),
        };
        let wrong = || InvalidDigest::Hash { algorithm, hex_digits: algorithm.hash_len() * 2 };
        let hash = HEXLOWER.decode(hex.as_bytes()).map_err(|_| wrong())?;
        match algorithm {
            Algorithm::Sha256 => hash.try_into().map(Self::Sha256).map_err(|_| wrong()),
            Algorithm::Sha512 => hash.try_into().map(Self::Sha512).map_err(|_| wrong()),
        }
    }
}

/// A hash in the making.
#[derive(Clone)]
pub enum Hasher {
    /// On its way to a [`Digest::Sha256`].
    Sha256(Sha256),
    /// On its way to a [`Digest::Sha512`].
    Sha512(Sha512),
}

impl Hasher {
    /// The hash of nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Adds `bytes` to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(hasher.finalize().into()),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Hasher(sha256)",
            Self::Sha512(_) => "Hasher(sha512)",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_printed_parses_back() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"hello");

            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }

    #[test]
    fn the_digest_of_nothing_is_the_well_known_one() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
    }

    #[test]
    fn anything_but_an_algorithm_and_its_lowercase_hex_is_refused() {
        let wrong = |algorithm, hex_digits| InvalidDigest::Hash { algorithm, hex_digits };
        for (text, why) in [
            ("", InvalidDigest::Malformed),
            (&EMPTY[7..], InvalidDigest::Malformed),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", InvalidDigest::UnsupportedAlgorithm),
            ("SHA256:e3b0", InvalidDigest::UnsupportedAlgorithm),
            (":e3b0", InvalidDigest::UnsupportedAlgorithm),
            ("sha256:", wrong(Algorithm::Sha256, 64)),
            (&EMPTY[..70], wrong(Algorithm::Sha256, 64)),
            (&format!("{EMPTY}0"), wrong(Algorithm::Sha256, 64)),
            (&EMPTY.to_uppercase().replace("SHA", "sha"), wrong(Algorithm::Sha256, 64)),
            (&EMPTY.replace("sha256", "sha512"), wrong(Algorithm::Sha512, 128)),
            (&EMPTY.replace("e3", "../"), wrong(Algorithm::Sha256, 64)),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_written_just_so(text in "(sha256|sha512|sha1|SHA256)?:?[0-9a-fA-F]{0,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn every_hash_has_a_digest_that_reads_back(hash in any::<[u8; 32]>()) {
            prop_assert_eq!(Digest::Sha256(hash).to_string().parse(), Ok(Digest::Sha256(hash)));
        }
    }
}
