//! The kinds of endpoint that speak S3, and in what each differs: the one table of it.
//!
//! What all of them have in common is in [`PLAIN`], and in `client`: no
//! checksum headers or trailers (GCS, R2, B2, Ceph 16 and Garage each refuse
//! some), `Content-Length: 0` where there is no body (GCS, Ceph 16), no signed
//! `Accept-Encoding`, parts of equal size (R2), and no write whose correctness
//! hangs on a condition (Garage ignores them, B2 answers 501).

/// What may be expected of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct S3Kind {
    /// What it is called in settings.
    pub name: &'static str,
    /// Under which domains it is found, so that an endpoint tells its kind.
    pub domains: &'static [&'static str],
    /// Where it answers.
    pub endpoint: S3Endpoint,
    /// What requests are signed for when no region is stated.
    pub region: S3Region,
    /// Whether the bucket stands in the path of a URL and not in its host name.
    pub path_style: bool,
    /// The longest name a bucket may have.
    pub longest_bucket: usize,
    /// Whether a bucket's name may have `_` in it.
    pub has_underscores: bool,
    /// Whether keys are pairs made for its S3 API only: nothing that Amazon's tools find is one, and none has a session token.
    pub has_hmac_keys: bool,
    /// Whether objects can be given tags.
    pub has_tags: bool,
    /// Whether objects can be given canned ACLs.
    pub has_acls: bool,
    /// Whether permissions are given by policies as Amazon writes them.
    pub has_policies: bool,
    /// Whether one request can delete many objects (DeleteObjects), as the SDK asks for it. Nothing asks so
    /// yet: nothing deletes more than an upload's pieces before there is retention. What is known stands here already.
    pub deletes_many: bool,
    /// Whether it may be Ceph, which has a header of its own for the condition of a copy.
    pub copies_as_ceph: bool,
}

/// Where a kind of store answers when nobody says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Endpoint {
    /// Where the SDK finds it, by region.
    ByRegion,
    /// There.
    At(&'static str),
    /// Anywhere: it must be stated.
    Stated,
}

/// What a kind of store takes for a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Region {
    /// This word.
    Named(&'static str),
    /// The second label of its host, as in `s3.us-west-004.backblazeb2.com`.
    InHost,
}

/// What can be expected of anything that speaks S3, which is found where somebody says.
const PLAIN: S3Kind = S3Kind {
    name: "generic",
    domains: &[],
    endpoint: S3Endpoint::Stated,
    region: S3Region::Named("us-east-1"),
    // A bucket in the host name needs a name service and a certificate for each.
    path_style: true,
    // S3 User Guide, "General purpose bucket naming rules".
    longest_bucket: 63,
    has_underscores: false,
    has_hmac_keys: false,
    has_tags: true,
    has_acls: true,
    has_policies: true,
    // Costs requests where it is wrong, but never an object.
    deletes_many: false,
    copies_as_ceph: false,
};

/// Every kind, in the order in which they are told.
pub const KINDS: [S3Kind; 8] =
    [S3Kind::AWS, S3Kind::GCS, S3Kind::MINIO, S3Kind::CEPH, S3Kind::R2, S3Kind::B2, S3Kind::GARAGE, S3Kind::GENERIC];

/// The names of [`KINDS`].
pub const KIND_NAMES: [&str; KINDS.len()] = {
    let mut names = [""; KINDS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = KINDS[index].name;
        index += 1;
    }
    names
};

impl S3Kind {
    /// Amazon's own.
    pub const AWS: Self = Self {
        name: "aws",
        // AWS General Reference, "Amazon S3 endpoints"; the second is China's.
        domains: &["amazonaws.com", "amazonaws.com.cn"],
        endpoint: S3Endpoint::ByRegion,
        // S3 User Guide, "Virtual hosting of buckets": the other style is kept for old buckets only.
        path_style: false,
        deletes_many: true,
        ..PLAIN
    };

    /// Google Cloud Storage, through its XML API with HMAC keys.
    pub const GCS: Self = Self {
        name: "gcs",
        domains: &["storage.googleapis.com"],
        // Cloud Storage, "Interoperability", "Request endpoints".
        endpoint: S3Endpoint::At("https://storage.googleapis.com"),
        // Cloud Storage, "V4 signing process", "Credential scope": the location may be `auto`.
        region: S3Region::Named("auto"),
        // Cloud Storage, "Bucket names": up to 222 in names with dots.
        longest_bucket: 222,
        has_underscores: true,
        // Cloud Storage, "HMAC keys".
        has_hmac_keys: true,
        // Cloud Storage, "XML API headers": it has no x-amz-tagging.
        has_tags: false,
        // Off with uniform bucket-level access, and x-amz-acl has other words there ("Predefined ACLs").
        has_acls: false,
        // Cloud Storage, "IAM": it has roles.
        has_policies: false,
        // Cloud Storage, "Delete multiple objects": there since 2025, but untested with the checksum that the SDK sends.
        deletes_many: false,
        ..PLAIN
    };

    /// MinIO.
    pub const MINIO: Self = Self {
        name: "minio",
        // It takes x-amz-acl and forgets it.
        has_acls: false,
        // Older builds want a Content-MD5, which the SDK does not send (apache/arrow-rs#5414).
        deletes_many: false,
        ..PLAIN
    };

    /// Ceph's RADOS Gateway.
    pub const CEPH: Self = Self {
        name: "ceph",
        // The default zone group; it signs for any.
        region: S3Region::Named("default"),
        // Measured on 16.2.
        deletes_many: true,
        copies_as_ceph: true,
        ..PLAIN
    };

    /// Cloudflare R2.
    pub const R2: Self = Self {
        name: "r2",
        domains: &["r2.cloudflarestorage.com"],
        // R2, "S3 API compatibility", "Bucket region".
        region: S3Region::Named("auto"),
        // R2, "S3 API compatibility": x-amz-tagging and x-amz-acl are not implemented.
        has_tags: false,
        has_acls: false,
        // R2, "Authentication": a token reads, or reads and writes, whole buckets.
        has_policies: false,
        // R2 refuses the SDK's checksum with 501 (aws/aws-sdk-js-v3#6810).
        deletes_many: false,
        ..PLAIN
    };

    /// Backblaze B2.
    pub const B2: Self = Self {
        name: "b2",
        domains: &["backblazeb2.com"],
        region: S3Region::InHost,
        // Backblaze, "S3-Compatible API", "Unsupported features": object tags, and ACLs other than the bucket's.
        has_tags: false,
        has_acls: false,
        // Backblaze, "Application Keys": a key has capabilities, a bucket and a prefix.
        has_policies: false,
        // It refuses x-amz-checksum-*, without which the SDK sends none (iterate-ch/cyberduck#16107).
        deletes_many: false,
        ..PLAIN
    };

    /// Garage.
    pub const GARAGE: Self = Self {
        name: "garage",
        // Garage, "Configuration file format", `s3_region`; another one is refused.
        region: S3Region::Named("garage"),
        // Garage, "S3 compatibility status": neither ACLs nor tags.
        has_tags: false,
        has_acls: false,
        // Garage, "Configuring buckets": garage bucket allow --read --write.
        has_policies: false,
        // Measured on 2.5.
        deletes_many: true,
        ..PLAIN
    };

    /// Whatever else speaks S3.
    pub const GENERIC: Self = Self {
        // Many a hoster's store is Ceph under another name, and what does not know a header lets it be.
        copies_as_ceph: true,
        ..PLAIN
    };

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name == name)
    }

    /// The kind that a `scheme://host[:port]` is known for; Amazon's where there is none.
    #[must_use]
    pub fn of(endpoint: Option<&str>) -> Self {
        let Some(endpoint) = endpoint else { return Self::AWS };
        let host = host(endpoint);
        let is_under = |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        KINDS.into_iter().find(|kind| kind.domains.iter().any(is_under)).unwrap_or(Self::GENERIC)
    }

    /// What requests to an endpoint of this kind are signed for when no region is stated.
    #[must_use]
    pub fn region_at(self, endpoint: Option<&str>) -> String {
        match self.region {
            S3Region::Named(region) => region,
            S3Region::InHost => endpoint.and_then(|endpoint| host(endpoint).split('.').nth(1)).unwrap_or_default(),
        }
        .to_owned()
    }
}

/// The host of a `scheme://host[:port]`.
fn host(endpoint: &str) -> &str {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, authority)| authority);
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_tells_its_kind() {
        for (endpoint, kind, region) in [
            (None, "aws", "us-east-1"),
            (Some("https://s3.eu-central-1.amazonaws.com"), "aws", "us-east-1"),
            (Some("https://s3.cn-north-1.amazonaws.com.cn"), "aws", "us-east-1"),
            (Some("https://storage.googleapis.com"), "gcs", "auto"),
            (Some("https://storage.googleapis.com:443"), "gcs", "auto"),
            (Some("https://0123.r2.cloudflarestorage.com"), "r2", "auto"),
            (Some("https://0123.eu.r2.cloudflarestorage.com"), "r2", "auto"),
            (Some("https://s3.us-west-004.backblazeb2.com"), "b2", "us-west-004"),
            (Some("http://minio:9000"), "generic", "us-east-1"),
            (Some("https://notamazonaws.com"), "generic", "us-east-1"),
            (Some("https://amazonaws.com.example.org"), "generic", "us-east-1"),
            (Some("http://[::1]:9000"), "generic", "us-east-1"),
        ] {
            let guessed = S3Kind::of(endpoint);

            assert_eq!((guessed.name, guessed.region_at(endpoint).as_str()), (kind, region), "{endpoint:?}");
        }
    }

    #[test]
    fn a_kind_is_found_by_its_name_and_by_no_other() {
        for kind in KINDS {
            assert_eq!(S3Kind::named(kind.name), Some(kind));
        }
        for name in ["", "AWS", "s3", "gs", "google", "Minio", "aws "] {
            assert_eq!(S3Kind::named(name), None, "{name:?}");
        }
    }
}
