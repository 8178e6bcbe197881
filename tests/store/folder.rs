//! What the folder store promises besides the contract: about its files, and about who else is at them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use longshore::store::{FolderStore, Misconfiguration, OCTET_STREAM, ObjectStore, StoreError};
use tempfile::TempDir;

use crate::bench::{PATIENCE, collect, content};
use crate::support::scratch;
use crate::words::{key, put, read};

/// Where the store keeps what is not finished.
pub const TEMPORARY: &str = "@tmp";

fn folder() -> (TempDir, FolderStore) {
    let folder = scratch("folder");
    let store = FolderStore::open(folder.path()).unwrap();
    (folder, store)
}

/// Everything below `path`, files and all else, by path, but for the temporary folder itself.
pub fn found_in(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            found.push(entry.path().strip_prefix(path).unwrap().to_str().unwrap().to_owned());
            open.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
        }
    }
    found.retain(|name| name != TEMPORARY);
    found.sort();
    found
}

async fn names(store: &FolderStore, prefix: &str) -> Vec<String> {
    let page = store.list(prefix, None, PATIENCE).await.unwrap();
    page.objects.iter().map(|object| object.key.to_string()).collect()
}

/// What an error says to the log.
fn told(error: StoreError) -> String {
    std::error::Error::source(&error).expect("a cause").to_string()
}

/// A file of the temporary folder as a writer that died two minutes ago leaves it.
pub fn leave_over(folder: &Path, name: &str) -> File {
    let file = File::create(folder.join(TEMPORARY).join(name)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(120)).unwrap();
    file
}

#[tokio::test]
async fn octets_are_the_whole_file_and_a_content_type_is_its_first_line() {
    let (folder, store) = folder();
    put(&store, "app/blobs/sha256:0a", "layer").await;
    store.put(&key("app/_oci/tags/v1"), "{}".into(), "text/json", PATIENCE).await.unwrap();

    assert_eq!(fs::read(folder.path().join("app/blobs/sha256:0a")).unwrap(), b"layer");
    assert_eq!(fs::read(folder.path().join("app/_oci/tags/v1")).unwrap(), b"#longshore content-type: text/json\n{}");
}

#[tokio::test]
async fn octets_that_begin_like_a_content_type_come_back() {
    let (_folder, store) = folder();
    let mut upload = store.upload(&key("uploaded"), None, PATIENCE).await.unwrap();
    for chunk in ["#longshore content-", "type: text/plain\n", "odd"] {
        upload.write(chunk.into()).await.unwrap();
    }
    upload.finish(None).await.unwrap();
    put(&store, "put", "#longshore content-type: text/plain\nodd").await;

    for name in ["uploaded", "put"] {
        let object = store.get(&key(name), None, PATIENCE).await.unwrap().unwrap();
        assert_eq!((object.meta.size, &*object.meta.content_type), (39, OCTET_STREAM), "{name}");
        assert_eq!(collect(object).await.unwrap(), b"#longshore content-type: text/plain\nodd", "{name}");
    }
}

#[tokio::test]
async fn keys_that_differ_in_case_are_files_that_differ_in_more() {
    let (folder, store) = folder();
    let tags = ["tags/LATEST", "tags/Latest", "tags/latest"];
    for tag in tags {
        put(&store, tag, tag).await;
    }

    assert_eq!(found_in(folder.path()), ["tags", "tags/latest", "tags/latest!8", "tags/latest!fc"]);
    for tag in tags {
        assert_eq!(read(&store, tag).await.unwrap(), tag);
    }
    assert_eq!(names(&store, "tags/").await, tags);
}

#[tokio::test]
async fn a_key_that_is_called_like_the_temporary_folder_is_another() {
    let (folder, store) = folder();
    leave_over(folder.path(), "x");

    put(&store, "@tmp/x", "mine").await;

    assert_eq!(fs::read(folder.path().join("@tmp/x")).unwrap(), b"");
    assert_eq!(names(&store, "").await, ["@tmp/x"]);
}

#[tokio::test]
async fn two_writes_at_one_moment_have_different_etags() {
    let (_folder, store) = folder();
    let mut etags = Vec::new();
    for _ in 0..300 {
        put(&store, "blob", "same").await;
        etags.push(store.head(&key("blob"), PATIENCE).await.unwrap().unwrap().etag);
    }

    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 300);
}

#[tokio::test]
async fn an_object_is_as_old_as_its_write_by_a_clock_without_steps() {
    let (_folder, store) = folder();
    for round in 0..50 {
        let before = SystemTime::now();
        put(&store, "blob", round.to_string()).await;

        let modified = store.head(&key("blob"), PATIENCE).await.unwrap().unwrap().last_modified;

        assert!(before <= modified && modified <= SystemTime::now(), "{before:?} {modified:?}");
    }
}

#[tokio::test]
async fn nothing_is_written_before_the_first_byte_and_nothing_stays_of_what_was_given_up() {
    let (folder, store) = folder();
    let mut uploads = Vec::new();
    for _ in 0..2 {
        uploads.push(store.upload(&key("app/blob"), Some(4_000_000), PATIENCE).await.unwrap());
    }
    assert_eq!(found_in(folder.path()), [""; 0]);
    for upload in &mut uploads {
        upload.write(content(2_000_000)).await.unwrap();
        upload.write(content(1_000)).await.unwrap();
    }

    drop(uploads.pop());
    uploads.pop().unwrap().abort().await;
    store.settle().await;

    assert_eq!(found_in(folder.path()), [""; 0]);
}

#[tokio::test]
async fn an_upload_that_no_disk_can_hold_is_refused_at_once() {
    let (_folder, store) = folder();

    let outcome = store.upload(&key("blob"), Some(u64::MAX), PATIENCE).await;

    assert!(matches!(outcome, Err(StoreError::TooLarge { .. })), "{outcome:?}");
}

#[tokio::test]
async fn images_nest_and_a_folder_that_is_empty_goes() {
    let (folder, store) = folder();
    let blobs = ["org/app/blobs/1", "org/app/worker/blobs/1", "org/blobs/1"];
    for blob in blobs {
        put(&store, blob, blob).await;
    }
    assert_eq!(names(&store, "org/app/").await, blobs[..2]);

    store.delete(&key("org/app/worker/blobs/1"), PATIENCE).await.unwrap();

    assert_eq!(found_in(folder.path()), ["org", "org/app", "org/app/blobs", "org/app/blobs/1", "org/blobs", "org/blobs/1"]);
    for blob in blobs {
        store.delete(&key(blob), PATIENCE).await.unwrap();
    }
    assert_eq!(found_in(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_folder_is_no_object_and_is_not_replaced_by_one() {
    let (_folder, store) = folder();
    put(&store, "org/app", "app").await;

    assert_eq!(store.head(&key("org"), PATIENCE).await.unwrap(), None);
    assert_eq!(read(&store, "org").await, None);
    store.delete(&key("org"), PATIENCE).await.unwrap();
    let outcome = store.put(&key("org"), "org".into(), OCTET_STREAM, PATIENCE).await;

    assert!(told(outcome.unwrap_err()).contains("/org: Is a directory"));
    assert_eq!(read(&store, "org/app").await.unwrap(), "app");
}

#[tokio::test]
async fn a_name_too_long_for_a_file_is_an_error_that_says_so() {
    let (folder, store) = folder();
    put(&store, "tags/short", "short").await;
    let long = format!("tags/{}", "a".repeat(256));

    assert_eq!(store.head(&key(&long), PATIENCE).await.unwrap(), None);
    store.delete(&key(&long), PATIENCE).await.unwrap();
    let outcome = store.put(&key(&long), "x".into(), OCTET_STREAM, PATIENCE).await;

    assert!(told(outcome.unwrap_err()).contains("File name too long"));
    assert_eq!(fs::read_dir(folder.path().join(TEMPORARY)).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_foreign_in_the_folder_is_neither_served_nor_listed_nor_waited_for() {
    let (folder, store) = folder();
    put(&store, "app/blob", "blob").await;
    let at = |name: &str| folder.path().join("app").join(name);
    fs::write(at("README"), "foreign").unwrap();
    fs::create_dir(at("empty")).unwrap();
    symlink("blob", at("link")).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), pipe, rustix::fs::Mode::RWXU, 0).unwrap();

    let outcome = store.get(&key("app/pipe"), None, PATIENCE).await;

    assert!(told(outcome.unwrap_err()).contains("app/pipe"));
    assert_eq!(names(&store, "").await, ["app/blob"]);
    assert_eq!(read(&store, "app/README").await, None);
}

/// The store's folder beside one that is none of its business, with links from the one into the other.
struct Linked {
    _both: TempDir,
    outside: PathBuf,
    store: FolderStore,
}

fn linked() -> Linked {
    let both = scratch("links");
    let (inside, outside) = (both.path().join("inside"), both.path().join("outside"));
    let store = FolderStore::open(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::create_dir(inside.join("app")).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(outside.join("secret"), inside.join("app/file")).unwrap();
    symlink(outside.join("new"), inside.join("app/dangling")).unwrap();
    symlink(&outside, inside.join("app/folder")).unwrap();
    symlink(&outside, inside.join("top")).unwrap();
    Linked { _both: both, outside, store }
}

#[tokio::test]
async fn no_symbolic_link_leads_out_of_the_folder() {
    for name in ["app/file", "app/dangling", "app/folder", "app/folder/secret", "app/folder/new", "top/secret", "top/new/er"] {
        let Linked { outside, store, _both } = linked();
        let (linked, link) = (key(name), name.split('/').take(2).collect::<Vec<_>>().join("/"));
        let link = link.strip_prefix("top/").map_or(link.as_str(), |_| "top");

        let head = told(store.head(&linked, PATIENCE).await.unwrap_err());
        let get = told(store.get(&linked, None, PATIENCE).await.unwrap_err());
        assert!(head.contains(link) && get.contains(link), "{name}: {head}, {get}");
        assert_eq!(names(&store, "").await, [""; 0], "{name}");
        assert_eq!(names(&store, name).await, [""; 0], "{name}");
        // Whether these two do anything is no matter.
        let _ = store.put(&linked, "overwritten".into(), OCTET_STREAM, PATIENCE).await;
        let _ = store.delete(&linked, PATIENCE).await;

        assert_eq!(found_in(&outside), ["secret"], "{name}");
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret", "{name}");
    }
}

#[tokio::test]
async fn temporary_files_are_not_made_through_a_symbolic_link() {
    let Linked { outside, store, _both } = linked();
    let temporary = outside.with_file_name("inside").join(TEMPORARY);
    fs::remove_dir(&temporary).unwrap();
    symlink(&outside, &temporary).unwrap();

    let put = store.put(&key("app/blob"), "blob".into(), OCTET_STREAM, PATIENCE).await;
    let open = FolderStore::open(&outside.with_file_name("inside"));

    assert!(put.is_err() && open.is_err(), "{put:?} {open:?}");
    assert_eq!(found_in(&outside), ["secret"]);
}

#[tokio::test]
async fn the_folder_itself_may_be_a_symbolic_link() {
    let both = scratch("links");
    fs::create_dir(both.path().join("disk")).unwrap();
    symlink("disk", both.path().join("link")).unwrap();

    let store = FolderStore::open(&both.path().join("link")).unwrap();
    put(&store, "app/blob", "blob").await;

    assert_eq!(fs::read(both.path().join("disk/app/blob")).unwrap(), b"blob");
}

#[tokio::test]
async fn a_folder_that_is_removed_meanwhile_is_made_again() {
    let (folder, store) = folder();
    put(&store, "app/blob", "old").await;
    fs::remove_dir_all(folder.path()).unwrap();

    assert_eq!(read(&store, "app/blob").await, None);
    assert_eq!(names(&store, "").await, [""; 0]);
    store.delete(&key("app/blob"), PATIENCE).await.unwrap();
    put(&store, "app/blob", "new").await;

    assert_eq!(read(&store, "app/blob").await.unwrap(), "new");
    store.probe(PATIENCE).await.unwrap();
}

#[test]
fn a_folder_that_cannot_be_is_told_with_its_reason() {
    let folder = scratch("folder");
    let path = folder.path().join("file/folder");
    fs::write(folder.path().join("file"), "").unwrap();

    let Misconfiguration::FolderNotWritable { path: named, reason } = FolderStore::open(&path).unwrap_err() else {
        panic!("another misconfiguration");
    };

    assert_eq!(named, path.display().to_string());
    assert!(reason.starts_with("Not a directory"), "{reason}");
}

#[test]
fn what_a_dead_writer_left_over_is_removed_and_nothing_else() {
    let (folder, _store) = folder();
    let temporary = folder.path().join(TEMPORARY);
    drop(leave_over(folder.path(), "dead"));
    let alive = leave_over(folder.path(), "alive");
    alive.lock().unwrap();
    File::create(temporary.join("young")).unwrap();
    fs::create_dir(temporary.join("foreign")).unwrap();
    File::open(temporary.join("foreign")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();

    FolderStore::open(folder.path()).unwrap();

    assert_eq!(found_in(&temporary), ["alive", "foreign", "young"]);
}

#[tokio::test]
async fn a_folder_that_is_only_looked_at_is_left_as_it_is_and_tells_what_was_left_over() {
    let (folder, _store) = folder();
    drop(leave_over(folder.path(), "dead"));
    let alive = leave_over(folder.path(), "alive");
    alive.lock().unwrap();
    File::create(folder.path().join(TEMPORARY).join("young")).unwrap();
    let a_minute_ago = SystemTime::now() - Duration::from_secs(60);

    let store = FolderStore::at(folder.path()).unwrap();

    let told = store.unfinished("", a_minute_ago, PATIENCE).await.unwrap().unwrap();
    assert_eq!(told.iter().map(|upload| &upload.key).collect::<Vec<_>>(), [&None]);
    assert_eq!(store.unfinished("app/blobs/", a_minute_ago, PATIENCE).await.unwrap(), Some(vec![]));
    assert_eq!(found_in(&folder.path().join(TEMPORARY)), ["alive", "dead", "young"]);
    store.discard(&told[0], PATIENCE).await.unwrap();
    store.discard(&told[0], PATIENCE).await.expect("it may be gone");
    assert_eq!(found_in(&folder.path().join(TEMPORARY)), ["alive", "young"]);

    let nowhere = folder.path().join("nowhere");
    let store = FolderStore::at(&nowhere).unwrap();
    assert_eq!(store.unfinished("", a_minute_ago, PATIENCE).await.unwrap(), Some(vec![]));
    assert!(!nowhere.exists());
}

#[test]
fn many_may_open_a_folder_with_leftovers_at_once() {
    for _ in 0..10 {
        let (folder, _store) = folder();
        for number in 0..100 {
            leave_over(folder.path(), &number.to_string());
        }

        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| FolderStore::open(folder.path()).unwrap());
            }
        });

        assert_eq!(found_in(folder.path()), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_gets_its_file_there_though_others_empty_its_folder() {
    let (_folder, store) = folder();
    let write_and_delete = async |name: &str| {
        for round in 0..300 {
            put(&store, name, round.to_string()).await;
            assert_eq!(read(&store, name).await.unwrap(), round.to_string());
            store.delete(&key(name), PATIENCE).await.unwrap();
        }
    };

    tokio::join!(write_and_delete("a/b/c/1"), write_and_delete("a/b/c/2"), write_and_delete("a/b/3"), write_and_delete("a/4"));
}

/// A file system of so many bytes, gone when dropped.
struct Disk(TempDir);

impl Disk {
    fn of(bytes: usize) -> Self {
        let folder = scratch("disk");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "disk"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "only root can mount");
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{:?} stays mounted", self.0.path());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_as_such_and_costs_nothing_but_the_write() {
    let disk = Disk::of(8 * 1024 * 1024);
    let store = FolderStore::open(disk.0.path()).unwrap();
    put(&store, "app/old", content(1_000_000)).await;
    let overwrite = store.put(&key("app/old"), content(10_000_000), OCTET_STREAM, PATIENCE).await;
    let mut upload = store.upload(&key("app/new"), None, PATIENCE).await.unwrap();
    let mut outcome = Ok(());
    while outcome.is_ok() {
        outcome = upload.write(content(1_500_000)).await;
    }

    let (again, finish) = (upload.write("more".into()).await, upload.finish(None).await);

    assert!(matches!(overwrite, Err(StoreError::Full(_))), "{overwrite:?}");
    assert!(matches!(outcome, Err(StoreError::Full(_))), "{outcome:?}");
    assert!(finish.is_err(), "{again:?} {finish:?}");
    assert_eq!(found_in(disk.0.path()), ["app", "app/old"]);
    assert_eq!(read(&store, "app/old").await.unwrap(), content(1_000_000));
    put(&store, "app/new", content(1_000_000)).await;
}
