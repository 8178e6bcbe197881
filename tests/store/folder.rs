//! What the folder store promises besides: no way out of it, nothing left behind, and a full disk survived.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use longshore::store::{FolderStore, Misconfiguration, StoreError};
use rustix::fs::{FlockOperation, flock};

use crate::bench::{Bench, MIB, content, write};
use crate::support::scratch;

/// Everything in `folder` and below that is a file, and no temporary one.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir() && !path.is_symlink());
    files.into_iter().chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

#[tokio::test]
async fn no_symbolic_link_leads_out() {
    let (inside, outside) = (scratch("inside"), scratch("outside"));
    let bench = Bench::at(inside.path());
    bench.put("folder/object", "ours").await;
    let root = inside.path().join("root");
    let secret = outside.path().join("secret");
    fs::write(&secret, "theirs").unwrap();
    symlink(&secret, root.join("file")).unwrap();
    symlink(outside.path(), root.join("link")).unwrap();

    for name in ["file", "link/secret"] {
        assert!(bench.get(name, None).await.is_err(), "{name}");
        assert!(bench.store.head(&bench.key(name), Duration::ZERO).await.is_err(), "{name}");
    }
    let put = bench.store.put(&bench.key("link/new"), "x".into(), "text/plain", Duration::ZERO).await;
    assert!(matches!(put, Err(StoreError::Unavailable(_))), "{put:?}");
    let listed = bench.store.list("", None, Duration::ZERO).await.unwrap();
    assert_eq!(listed.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["root/folder/object"]);
    assert_eq!(files(outside.path()), [secret.as_path()]);
    assert_eq!(fs::read(&secret).unwrap(), b"theirs");
}

#[tokio::test]
async fn an_object_is_never_read_from_what_is_no_file() {
    let folder = scratch("folder");
    let bench = Bench::at(folder.path());
    bench.put("a/b", "x").await;
    assert!(Command::new("mkfifo").arg(folder.path().join("root/pipe")).status().unwrap().success());

    for name in ["a", "pipe", "a/b/c"] {
        assert!(bench.get(name, None).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn what_a_dead_process_left_is_swept_and_what_a_live_one_writes_is_not() {
    let folder = scratch("folder");
    drop(FolderStore::open(folder.path()).unwrap());
    let temporary = folder.path().join("@tmp");
    let age = SystemTime::now() - Duration::from_secs(3600);
    let old = |name: &str| {
        let file = fs::File::create(temporary.join(name)).unwrap();
        file.set_modified(age).unwrap();
        file
    };
    drop(old("dead"));
    let live = old("live");
    flock(&live, FlockOperation::LockExclusive).unwrap();
    fs::write(temporary.join("young"), "").unwrap();

    FolderStore::open(folder.path()).unwrap();

    let mut left: Vec<_> = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [OsStr::new("live"), OsStr::new("young")]);
}

#[tokio::test]
async fn an_upload_leaves_no_file_however_it_ends() {
    let folder = scratch("folder");
    let bench = Bench::at(folder.path());
    for finished in [true, false] {
        let mut upload = bench.upload("it", None).await;
        write(&mut *upload, content(3 * MIB)).await.unwrap();
        if finished {
            upload.finish(None).await.unwrap();
        } else {
            drop(upload);
        }
        bench.store.settle().await;

        assert_eq!(fs::read_dir(folder.path().join("@tmp")).unwrap().count(), 0, "{finished}");
    }
}

#[tokio::test]
async fn blobs_lie_pure_and_names_that_differ_in_case_lie_apart_on_any_file_system() {
    let folder = scratch("folder");
    let bench = Bench::at(folder.path());
    bench.put_as("Tag", "upper", "a/b").await;
    bench.put_as("tag", "lower", "a/b").await;
    bench.put_as("blob", "#longshore content-type: is how a blob may begin\n", "application/octet-stream").await;
    bench.put_as("pure", "bytes", "application/octet-stream").await;

    assert_eq!(bench.read("Tag").await.unwrap(), b"upper");
    assert_eq!(bench.read("tag").await.unwrap(), b"lower");
    assert_eq!(bench.read("blob").await.unwrap(), b"#longshore content-type: is how a blob may begin\n");
    assert_eq!(fs::read(folder.path().join("root/pure")).unwrap(), b"bytes");
    let names: Vec<_> = files(folder.path()).iter().map(|path| path.to_str().unwrap().to_lowercase()).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "{names:?}");
}

/// A small disk, gone when dropped.
struct Disk(PathBuf);

impl Disk {
    fn of(at: &Path, size: &str) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).status();
        assert!(mounted.unwrap().success(), "mounting needs root");
        Self(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_harms_nothing_else() {
    let folder = scratch("disk");
    let _disk = Disk::of(folder.path(), "8m");
    let bench = Bench::at(folder.path());
    bench.put("before", "kept").await;

    let mut upload = bench.upload("large", Some(16 * MIB)).await;
    let outcome = match write(&mut *upload, content(16 * MIB)).await {
        Ok(()) => upload.finish(None).await.map(drop),
        Err(error) => Err(error),
    };

    assert!(matches!(outcome, Err(StoreError::Full(_))), "{outcome:?}");
    bench.store.settle().await;
    assert_eq!(bench.read("large").await, None);
    assert_eq!(bench.read("before").await.unwrap(), b"kept");
    bench.put("after", vec![0; 4 * MIB]).await;
    assert_eq!(bench.read("after").await.unwrap().len(), 4 * MIB);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_told_with_the_reason() {
    let folder = scratch("folder");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();

    let refused = FolderStore::open(&file.join("below")).unwrap_err();

    let Misconfiguration::FolderNotWritable { path, reason } = refused else { panic!("{refused:?}") };
    assert!(path.ends_with("file/below") && reason.contains("Not a directory"), "{path}: {reason}");
}

#[tokio::test]
async fn a_folder_that_is_removed_while_in_use_is_made_again() {
    let parent = scratch("folder");
    let folder = parent.path().join("cache");
    let bench = Bench::at(&folder);
    bench.put("a/b", "x").await;

    fs::remove_dir_all(&folder).unwrap();

    assert_eq!(bench.read("a/b").await, None);
    bench.put("a/b", "y").await;
    assert_eq!(bench.read("a/b").await.unwrap(), b"y");
    assert!(folder.join("root/a/b").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_one_empties_is_there_for_another_who_fills_it() {
    let folder = scratch("folder");
    let (one, other) = (Bench::at(folder.path()), Bench::at(folder.path()));
    let deleting = tokio::spawn(async move {
        for _ in 0..300 {
            one.put("deep/down/one", "1").await;
            one.delete("deep/down/one").await;
        }
    });

    for round in 0..300 {
        other.put("deep/down/other", round.to_string()).await;
        assert_eq!(other.read("deep/down/other").await.unwrap(), round.to_string().as_bytes());
        other.delete("deep/down/other").await;
    }

    deleting.await.unwrap();
    assert!(!folder.path().join("root").exists());
}
