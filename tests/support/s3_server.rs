//! The S3 servers that stores are tested on, one of each for a test process.

use std::net::SocketAddrV4;

use tokio::sync::OnceCell;

use super::ceph::Ceph;
use super::minio::{ACCESS_KEY_ID, Minio, SECRET_ACCESS_KEY};
use super::rclone::Rclone;
use super::versitygw::Versitygw;

/// A server that is started when somebody first asks for it, and ends with the process.
///
/// They all take the same pair of keys, and any region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Server {
    Minio,
    Versitygw,
    Ceph,
}

/// The one MinIO of this process.
pub async fn minio() -> &'static Minio {
    static MINIO: OnceCell<Minio> = OnceCell::const_new();
    MINIO.get_or_init(Minio::start).await
}

async fn versitygw() -> &'static Versitygw {
    static VERSITYGW: OnceCell<Versitygw> = OnceCell::const_new();
    VERSITYGW.get_or_init(Versitygw::start).await
}

async fn ceph() -> &'static Ceph {
    static CEPH: OnceCell<Ceph> = OnceCell::const_new();
    CEPH.get_or_init(Ceph::start).await
}

impl S3Server {
    pub const ALL: [Self; 3] = [Self::Minio, Self::Versitygw, Self::Ceph];

    /// Where it listens.
    pub async fn address(self) -> SocketAddrV4 {
        match self {
            Self::Minio => minio().await.address,
            Self::Versitygw => versitygw().await.address,
            Self::Ceph => ceph().await.address,
        }
    }

    /// An independent client of it.
    pub async fn rclone(self) -> Rclone {
        Rclone::new(self.address().await, ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    }

    /// Makes an empty bucket called `name`.
    pub async fn make_bucket(self, name: &str) {
        assert!(self.rclone().await.make_bucket(name), "no bucket {name} on {self:?}");
    }
}
