//! A folder that many use at once, and one that goes bad under its users.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use longshore::store::{FolderStore, Misconfiguration, OCTET_STREAM, StoreError};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::bench::{Bench, MIB, PATIENCE, content};
use crate::support::scratch;

/// A file system in memory, mounted with options of its own and gone when dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(options: &str) -> Self {
        let folder = scratch("tmpfs");
        mount(options, folder.path());
        Self(folder)
    }

    fn remount(&self, options: &str) {
        mount(&format!("remount,{options}"), self.path());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn mount(options: &str, path: &Path) {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).status();
    assert!(mounted.unwrap().success(), "only root can mount");
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Nothing to be done about a failure: it may be on the way out of a test that failed.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// The temporary files in the folder at `path`.
fn temporaries(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path.join("@tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// On a file system in memory, which is quick enough for many rounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_lists_while_folders_come_and_go_sees_no_error_and_nobody_loses_a_write() {
    const WRITERS: usize = 4;
    let disk = Tmpfs::mount("size=16m");
    let (mut writers, have_ended) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
    let lister = tokio::spawn({
        let (bench, have_ended) = (Bench::in_folder(disk.path()), Arc::clone(&have_ended));
        async move {
            while !have_ended.load(Ordering::Relaxed) {
                assert!(bench.names("").await.len() <= WRITERS);
                bench.store.folders("root/a/", PATIENCE).await.unwrap();
            }
        }
    });

    for writer in 0..WRITERS {
        // Each as if it were a process of its own.
        let bench = Bench::in_folder(disk.path());
        writers.spawn(async move {
            let name = format!("a/b/c/{writer}");
            for round in 0..300 {
                bench.put(&name, round.to_string()).await;
                assert_eq!(bench.read(&name).await.unwrap(), round.to_string().as_bytes());
                bench.delete(&name).await;
                assert!(bench.read(&name).await.is_none());
            }
        });
    }

    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    have_ended.store(true, Ordering::Relaxed);
    lister.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_that_many_put_and_delete_is_whole_or_absent() {
    let disk = Tmpfs::mount("size=64m");
    let (bench, mut all) = (Bench::in_folder(disk.path()), JoinSet::new());
    let of = |writer: u8| vec![writer; 300_000 + usize::from(writer)];
    for writer in 0..4 {
        let bench = bench.clone();
        all.spawn(async move {
            for round in 0..200 {
                bench.put("it", of(writer)).await;
                if round % 3 == 0 {
                    bench.delete("it").await;
                }
                let Some(read) = bench.read("it").await else { continue };
                assert!(read == of(read[0]), "{} bytes", read.len());
            }
        });
    }

    while let Some(writer) = all.join_next().await {
        writer.unwrap();
    }
    assert!(temporaries(disk.path()).is_empty());
}

#[tokio::test]
async fn an_upload_that_pauses_for_long_is_not_swept_by_who_opens_the_folder_next() {
    let folder = scratch("folder");
    let bench = Bench::in_folder(folder.path());
    let mut upload = bench.upload("it", None).await;
    for _ in 0..2 {
        upload.write(content(2 * MIB)).await.unwrap();
    }
    for temporary in temporaries(folder.path()) {
        File::open(temporary).unwrap().set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }

    let another = Bench::in_folder(folder.path());

    upload.finish(None).await.unwrap();
    assert_eq!(another.head("it").await.map(|meta| meta.size), Some(4 * MIB as u64));
}

#[tokio::test]
async fn whoever_leaves_in_the_middle_of_a_write_leaves_all_or_nothing() {
    let folder = scratch("folder");
    let bench = Bench::in_folder(folder.path());
    for round in 0..20 {
        let (uploaded, put) = (format!("uploaded{round}"), format!("put{round}"));
        let mut upload = bench.upload(&uploaded, None).await;
        upload.write(content(2 * MIB)).await.unwrap();

        let key = bench.key(&put);
        let mut finishing = upload.finish(None);
        let mut putting = bench.store.put(&key, content(2 * MIB), OCTET_STREAM, PATIENCE);
        for _ in 0..round % 4 {
            let _ = futures_util::poll!(&mut finishing);
            let _ = futures_util::poll!(&mut putting);
            tokio::task::yield_now().await;
        }
        drop((finishing, putting));
        bench.store.settle().await;

        for name in [uploaded, put] {
            assert!(bench.read(&name).await.is_none_or(|bytes| bytes == content(2 * MIB)), "{name}");
        }
        assert!(temporaries(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn what_is_given_up_leaves_no_file_once_all_is_settled() {
    let folder = scratch("folder");
    let bench = Bench::in_folder(folder.path());
    for _ in 0..50 {
        let mut upload = bench.upload("it", None).await;
        upload.write(content(2 * MIB)).await.unwrap();

        drop(upload);
        bench.store.settle().await;

        assert!(temporaries(folder.path()).is_empty());
    }
}

#[tokio::test]
async fn a_disk_without_room_for_another_file_is_full() {
    let disk = Tmpfs::mount("size=8m,nr_inodes=8");
    let bench = Bench::in_folder(disk.path());
    bench.put("there", "hello").await;

    let put = bench.store.put(&bench.key("a/b/c/d/e/f/g/h"), "hello".into(), OCTET_STREAM, PATIENCE).await;

    assert!(matches!(put, Err(StoreError::Full(_))), "{put:?}");
    assert!(temporaries(disk.path()).is_empty());
    assert_eq!(bench.read("there").await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_folder_on_a_read_only_disk_is_a_mistake_told_in_the_systems_words() {
    let disk = Tmpfs::mount("size=1m,ro");
    let path = disk.path().join("folder");

    let opened = FolderStore::open(&path);

    let Err(Misconfiguration::FolderNotWritable { path: told, reason }) = opened else { panic!("{opened:?}") };
    assert_eq!(told, path.display().to_string());
    assert!(reason.contains("Read-only file system"), "{reason}");
}

#[tokio::test]
async fn a_folder_that_becomes_read_only_says_so_and_is_still_read() {
    let disk = Tmpfs::mount("size=1m");
    let bench = Bench::in_folder(disk.path());
    bench.put("there", "hello").await;
    bench.store.probe(PATIENCE).await.unwrap();

    disk.remount("ro");

    let probed = bench.store.probe(PATIENCE).await;
    assert!(matches!(probed, Err(StoreError::Misconfigured(Misconfiguration::FolderNotWritable { .. }))), "{probed:?}");
    let put = bench.store.put(&bench.key("new"), "new".into(), OCTET_STREAM, PATIENCE).await;
    assert!(matches!(put, Err(StoreError::Denied(_))), "{put:?}");
    assert_eq!(bench.read("there").await.unwrap(), b"hello");
}
