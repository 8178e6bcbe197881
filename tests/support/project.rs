//! Things to build whose result no two builds make alike, unless the second took it from the first one's cache.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use super::{scratch, tools};

/// A build context with a `Dockerfile` that needs no network.
///
/// Every `RUN` step writes bytes from `/dev/urandom`. No other project shares
/// a step with it: a daemon that did not build this one has nothing of it.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// Two small layers, then the source, then a layer made from it; the result is copied into a last stage.
    pub fn new() -> Self {
        Self::with_layers(&[200_000, 30_000])
    }

    /// As [`new`](Self::new), with layers of these sizes in bytes before the source.
    pub fn with_layers(sizes: &[u64]) -> Self {
        let mut dockerfile = made_of(sizes);
        dockerfile.push_str(
            "COPY source /result/source\n\
             RUN /busybox head -c 10000 /dev/urandom > /result/made-from-source\n\
             FROM scratch\n\
             COPY --from=made /result /\n",
        );
        let project = Self::with_busybox(&dockerfile);
        project.change_source();
        project
    }

    /// A stage `stage-<index>` of layers of these sizes in bytes for each of `stages`, and a last one that needs them all.
    pub fn with_stages(stages: &[Vec<u64>]) -> Self {
        Self::staged(stages, "/result/end")
    }

    /// The same, with all that they made in the result.
    pub fn with_whole_stages(stages: &[Vec<u64>]) -> Self {
        Self::staged(stages, "/result")
    }

    fn staged(stages: &[Vec<u64>], needed: &str) -> Self {
        let (mut dockerfile, mut last) = (made_of(&[]), String::from("FROM scratch\n"));
        for (index, sizes) in stages.iter().enumerate() {
            writeln!(dockerfile, "FROM made AS stage-{index}\n{}", layers(&format!("{index}-"), sizes)).expect("a string");
            writeln!(dockerfile, "RUN echo {index} > /result/end").expect("a string");
            writeln!(last, "COPY --from=stage-{index} {needed} /of-{index}").expect("a string");
        }
        Self::with_busybox(&(dockerfile + &last))
    }

    /// A stage `job-<index>` for each of so many jobs, which makes `first-<index>` and from that `second-<index>`, of
    /// sizes that no other file has; see [`size_of_second`]. The last stage has all of them.
    pub fn of_jobs(jobs: usize) -> Self {
        let (mut dockerfile, mut last) = (made_of(&[]), String::from("FROM scratch\n"));
        for job in 0..jobs {
            let first = format!("RUN /busybox head -c {} /dev/urandom > /result/first-{job}", 20_000 + job);
            let second = format!("RUN /busybox head -c {} /dev/urandom > /result/second-{job}", size_of_second(job));
            writeln!(dockerfile, "FROM made AS job-{job}\n{first}\n{second}").expect("a string");
            writeln!(last, "COPY --from=job-{job} /result/first-{job} /result/second-{job} /").expect("a string");
        }
        Self::with_busybox(&(dockerfile + &last))
    }

    /// What `dockerfile` says, with a `busybox` in its context, and a `seed` that no other has.
    pub fn with_busybox(dockerfile: &str) -> Self {
        let project = Self::of(dockerfile);
        fs::copy(tools::debian_tool("busybox"), project.path().join("busybox")).expect("busybox is there");
        project.write_anew("seed");
        project
    }

    /// Nothing but `image`, as it is.
    pub fn from_image(image: &str) -> Self {
        Self::of(&format!("FROM {image}\n"))
    }

    fn of(dockerfile: &str) -> Self {
        let folder = scratch("project");
        fs::write(folder.path().join("Dockerfile"), dockerfile).expect("a file");
        Self { folder }
    }

    /// Where the context lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes the source another one.
    pub fn change_source(&self) {
        self.write_anew("source");
    }

    /// Writes what was never there before, with a time that no other file has.
    ///
    /// buildkitd sends itself only the files of a context that have another
    /// size or time than what it got before, be it from another project; and
    /// the system's clock stands still for milliseconds.
    fn write_anew(&self, file: &str) {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let mut file = fs::File::create(self.path().join(file)).expect("a file");
        file.write_all(Uuid::new_v4().to_string().as_bytes()).expect("room for it");
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000 + WRITTEN.fetch_add(1, Ordering::Relaxed));
        file.set_modified(time).expect("a file of ours");
    }
}

/// How many bytes the second file of a job has. Its layer has less than a thousand more.
pub fn size_of_second(job: usize) -> u64 {
    40_000 + 2_000 * job as u64
}

/// The lines of a stage `made` whose layers have these sizes in bytes.
fn made_of(sizes: &[u64]) -> String {
    let dockerfile = "FROM scratch AS made\n\
         SHELL [\"/busybox\", \"sh\", \"-c\"]\n\
         COPY busybox seed /\n\
         RUN /busybox mkdir /result\n";
    dockerfile.to_owned() + &layers("", sizes)
}

/// A line for each layer of one of these sizes in bytes. `stage` tells those of one stage from
/// those of another, for what two stages have in common is built only once.
fn layers(stage: &str, sizes: &[u64]) -> String {
    let mut lines = String::new();
    for (index, size) in sizes.iter().enumerate() {
        writeln!(lines, "RUN /busybox head -c {size} /dev/urandom > /result/layer-{stage}{index}").expect("a string");
    }
    lines
}

/// What a build put out: every file with its permissions and the hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, String>);

impl Tree {
    /// Everything under `folder`; panics when there is nothing.
    pub fn read(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        read_into(&mut files, folder, folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        assert!(!files.is_empty(), "{} is empty", folder.display());
        Self(files)
    }

    /// What is known of one file; panics when it is not there.
    pub fn file(&self, path: &str) -> &str {
        self.0.get(Path::new(path)).unwrap_or_else(|| panic!("no {path} in {self:?}"))
    }
}

fn read_into(files: &mut BTreeMap<PathBuf, String>, root: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            read_into(files, root, &path)?;
            continue;
        }
        let known = format!("{:o} {}", entry.metadata()?.permissions().mode(), digest_of(fs::File::open(&path)?)?);
        files.insert(path.strip_prefix(root).expect("below the root").to_owned(), known);
    }
    Ok(())
}

/// `sha256:…` of all that `bytes` yields, of which it never holds much.
pub fn digest_of(mut bytes: impl io::Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut bytes, &mut HashWriter(&mut hasher))?;
    Ok(format!("sha256:{}", HEXLOWER.encode(&hasher.finalize())))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
