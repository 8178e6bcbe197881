//! Those that are measured side by side.

mod direct;
mod registry;

pub use direct::Direct;
pub use registry::Registry;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Side {
    /// This program, on the bucket.
    Longshore,
    /// CNCF distribution, the registry that most others are made from, on the bucket.
    Distribution,
    /// The same on a local disk: a registry without a bucket.
    OnDisk,
    /// BuildKit's own cache back-end, which needs no registry.
    TypeS3,
    /// The fastest client at hand, on the bucket: the limit for anything that stands between.
    Direct,
}

impl Side {
    pub const ALL: [Self; 5] = [Self::Longshore, Self::Distribution, Self::OnDisk, Self::TypeS3, Self::Direct];

    /// As a column is headed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Longshore => "Longshore",
            Self::Distribution => "distribution, S3",
            Self::OnDisk => "distribution, disk",
            Self::TypeS3 => "BuildKit type=s3",
            Self::Direct => "direct S3",
        }
    }
}
