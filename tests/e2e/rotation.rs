//! Keys that are exchanged while builds run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::profiles::{config_file, write};
use crate::stage::{PREFIX, bucket_of, export, import, run};
use crate::support::door::{Door, Seen};
use crate::support::eventually;
use crate::support::longshore::{Launch, Longshore};
use crate::support::marks::marked;
use crate::support::mc::{Admin, fresh_id, least_policy};
use crate::support::project::Project;
use crate::support::s3_server::{S3Server, minio};

/// How long a change may take to be in force.
const SOON: Duration = Duration::from_secs(20);

/// A pair of keys as a store gives it out.
pub struct Pair {
    pub id: String,
    pub secret: String,
}

impl Pair {
    pub fn new() -> Self {
        Self { id: fresh_id(), secret: marked() }
    }
}

/// Longshore with a sealed file of its own, in which its keys are.
pub struct Replica {
    _folder: TempDir,
    pub config: PathBuf,
    pub launch: Launch,
}

impl Replica {
    /// Whose profile `default` is on `bucket` behind `back`, with `pair` sealed, and `more` in the configuration.
    pub fn new(back: &Door, bucket: &str, pair: &Pair, more: &str) -> Self {
        let (folder, config) = config_file();
        let (sealed, key, sealing) = (folder.path().join("secrets"), folder.path().join("key"), digits());
        write(&key, &sealing);
        let settings = format!(
            "[log]\nlevel = \"trace\"\n[secrets]\nsources = [\"sealed:{}\", \"env\"]\n\
             [profiles.default]\nstore = \"s3://{bucket}/{PREFIX}\"\nendpoint = \"http://{}\"\n\
             access_key_id = \"{{{{secret:CACHE_ID}}}}\"\nsecret_access_key = \"{{{{secret:CACHE_KEY}}}}\"\n{more}",
            sealed.display(),
            back.address
        );
        write(&config, &settings);
        let launch = Launch::configured(&config).env("LONGSHORE_SECRET_KEY_FILE", key.to_str().expect("a plain path"));
        let replica = Self { _folder: folder, config, launch: launch.keeping("the key to the sealed file", &sealing) };
        replica.keeping(pair).seal(pair)
    }

    /// With `pair`, which is to be sealed later, among what is to show nowhere.
    pub fn keeping(self, pair: &Pair) -> Self {
        Self { launch: self.launch.keeping("a sealed value", &pair.secret), ..self }
    }

    fn seal(self, pair: &Pair) -> Self {
        self.set(pair);
        self
    }

    /// Puts `pair` in the place of the one before, as an operator does.
    pub fn set(&self, pair: &Pair) {
        let set =
            self.launch.call(&["secret", "set", "CACHE_ID", "--and", "CACHE_KEY"], &format!("{}\n{}\n", pair.id, pair.secret));
        assert!(set.status.success(), "{set:?}");
    }
}

/// 64 hexadecimal digits.
fn digits() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

/// Builds that go on, each of which must succeed and find its cache, until they are told that it is enough.
struct Load {
    done: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    builders: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(front: &Arc<Door>, builders: usize) -> Self {
        let (done, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let builder = |name| {
            let (front, done, is_over) = (Arc::clone(front), Arc::clone(&done), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    build(&front, &format!("org/app-{name}:cache")).await;
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let builders = (0..builders).map(builder).collect();
        Self { done, is_over, builders }
    }

    /// Waits until so many more builds have succeeded, and panics with the one that failed.
    async fn go_on_for(&self, more: usize) {
        let before = self.done.load(Ordering::SeqCst);
        let went_on = || async {
            let is_enough = self.done.load(Ordering::SeqCst) >= before + more;
            (is_enough || self.builders.iter().any(JoinHandle::is_finished)).then_some(())
        };
        eventually("builds go on", Duration::from_secs(60), went_on).await;
    }

    async fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        for builder in self.builders {
            builder.await.expect("no build failed");
        }
    }
}

async fn build(front: &Door, image: &str) {
    let (project, cache) = (Project::new(), format!("type=registry,ref={}/{image}", front.address));
    let exported = export(&project, &format!("{cache},mode=max")).await;
    assert_eq!(import(&project, &cache).await, exported, "{image}");
}

/// Waits until `replica` has said that it uses other keys, and what made it so.
async fn changed_over(replica: &Longshore) {
    let reloaded = replica.line_with("settings reloaded", SOON).await;
    assert!(reloaded.contains("secrets=\"CACHE_ID CACHE_KEY\""), "{reloaded}");
    let changed = replica.line_with("credentials changed over", SOON).await;
    assert!(changed.contains("profile=\"default\""), "{changed}");
}

#[test]
fn keys_are_rotated_under_running_builds_and_no_build_notices() {
    run(async {
        let (admin, (bucket, back)) = (Admin::of(minio().await.address), bucket_of(S3Server::Minio).await);
        let (user, old, new) = (fresh_id(), Pair::new(), Pair::new());
        admin.add_user(&user, &marked(), &least_policy(&bucket));
        admin.add_key_of(&user, &old.id, &old.secret);
        let replicas = [(); 2].map(|()| Replica::new(&back, &bucket, &old, "").keeping(&new));
        let running = [replicas[0].launch.start().await, replicas[1].launch.start().await];
        let front = Arc::new(Door::open_in_turn(&[running[0].address, running[1].address]));
        let load = Load::on(&front, 2);
        load.go_on_for(2).await;

        admin.add_key_of(&user, &new.id, &new.secret);
        for (replica, running) in replicas.iter().zip(&running) {
            replica.set(&new);
            changed_over(running).await;
        }
        let refused = |seen: &&Arc<_>| Seen::status(seen) == Some(StatusCode::FORBIDDEN);
        assert_eq!(back.seen().iter().filter(refused).count(), 0, "half of a pair was used: {:#?}", back.seen());
        admin.remove_key(&old.id);
        let revoked = Instant::now();
        load.go_on_for(4).await;
        load.end().await;

        let signed_by = |pair: &Pair| back.seen().into_iter().filter(|seen| seen.signer() == pair.id).collect::<Vec<_>>();
        assert!(signed_by(&old).len() > 20 && signed_by(&new).len() > 20);
        assert!(signed_by(&old).iter().all(|seen| seen.came < revoked), "{:#?}", signed_by(&old));
    });
}
