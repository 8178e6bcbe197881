//! What the tests stand on: servers on free ports, and doors to watch them through.
//!
//! Everything here talks to loopback only, keeps its files in directories of
//! its own, and is gone when the value that stands for it is dropped, or when
//! the test process ends, however that happens.

#![allow(dead_code, reason = "every test crate uses a part of it")]

pub mod broken_store;
pub mod buildkit;
pub mod ceph;
pub mod client;
pub mod distribution;
pub mod door;
pub mod fault;
pub mod image;
pub mod issuer;
pub mod jwt;
pub mod keeper;
pub mod longshore;
pub mod marks;
pub mod mc;
pub mod minio;
pub mod ports;
pub mod process;
pub mod project;
pub mod rclone;
pub mod s3_server;
pub mod shape;
pub mod strict;
pub mod token_service;
pub mod tools;
pub mod uploads;
pub mod versitygw;
pub mod weather;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory for one server or one build, gone when dropped.
///
/// It lies under `$LONGSHORE_TEST_TMP`, else `/tmp`.
pub fn scratch(name: &str) -> TempDir {
    scratch_in(&scratch_parent(), name)
}

/// The same in `parent`.
pub fn scratch_in(parent: &Path, name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("longshore-{name}-")).tempdir_in(parent).expect("a scratch directory")
}

/// Where scratch directories lie.
pub fn scratch_parent() -> PathBuf {
    std::env::var_os("LONGSHORE_TEST_TMP").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

/// Asks `probe` again and again until it answers; panics with `what` after `limit`.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
