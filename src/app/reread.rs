//! Secrets that are read between two reloads, because keys that refer to them
//! are refused: others may be there already.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::ready;
use tokio::sync::Mutex as AsyncMutex;

use super::reloaded::Reloaded;
use super::running::{BETWEEN, Stand};
use crate::audit::Audit;
use crate::config::Store;
use crate::credentials::Reread;
use crate::secrets::{Mask, Secrets};

/// Reads `secrets` again, and puts what there is in force for all of `stands` or for none, unless somebody is `changing` them.
pub(super) fn reread(
    secrets: &Secrets,
    stands: &Arc<Mutex<Vec<Stand>>>,
    changing: &Arc<AsyncMutex<()>>,
    told: (&Mask, &Audit),
) -> Reread {
    // The stands hold what holds this.
    let (secrets, stands, changing) = (secrets.clone(), Arc::downgrade(stands), Arc::clone(changing));
    let told = (told.0.clone(), told.1.clone());
    let turns = Arc::new(AsyncMutex::new(()));
    Reread::by(move || {
        let (secrets, stands, changing, told) = (secrets.clone(), stands.clone(), Arc::clone(&changing), told.clone());
        // Where their files hang nobody else waits for them too.
        let Ok(turn) = Arc::clone(&turns).try_lock_owned() else { return ready(()).boxed() };
        let read = move || {
            let _turn = turn;
            let before = secrets.now();
            // What is wrong with them is told when their files are looked at.
            let (next, stands) = (secrets.reread().ok()?, stands.upgrade()?);
            let _alone = changing.try_lock().ok()?;
            let stands = stands.lock().unwrap_or_else(PoisonError::into_inner);
            put_in_force(&stands, &before, &next, (&told.0, &told.1));
            Some(())
        };
        async move {
            let _ = tokio::task::spawn_blocking(read).await;
        }
        .boxed()
    })
}

/// Puts `next` in force for `stands`, if those have what they had `before` it was read, and all of them can use it.
fn put_in_force(stands: &[Stand], before: &Secrets, next: &Secrets, (mask, audit): (&Mask, &Audit)) {
    let can_use = |stand: &Stand| match &stand.stated.store {
        Store::S3(bucket) => bucket.credentials.resolves_with(next),
        Store::Folder { .. } => true,
    };
    if !stands.iter().all(|stand| stand.secrets.is_as(before) && can_use(stand)) {
        return;
    }
    mask.hold(BETWEEN, next.values());
    let names = stands.iter().map(|stand| stand.secrets.adopt(next).names()).max_by_key(Vec::len).unwrap_or_default();
    if !names.is_empty() {
        Reloaded { secrets: names, ..Reloaded::default() }.tell(audit);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::app::Running;
    use crate::config::{self, File, Sources};

    /// Two profiles whose keys are the secrets `A` and `B` in `folder`, of stores that are not there.
    async fn running(folder: &std::path::Path) -> Running {
        let profile = |name: &str, secret: &str| {
            format!(
                "[profiles.{name}]\nimages = [\"{name}\"]\nstore = \"s3://cache\"\nendpoint = \"http://127.0.0.1:1\"\n\
                 access_key_id = \"{{{{secret:{secret}}}}}\"\nsecret_access_key = \"{{{{secret:{secret}}}}}\"\n"
            )
        };
        let text = format!(
            "[access]\nanonymous = \"none\"\n[secrets]\nsources = [\"dir:{}\"]\n{}{}",
            folder.display(),
            profile("a", "A"),
            profile("b", "B")
        );
        let file = File { path: "config.toml".into(), text, is_exposed: false };
        let config = config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        Running::start(config, Vec::new(), Mask::default()).await.unwrap()
    }

    fn values(stands: &[Stand]) -> Vec<String> {
        let get = |stand: &Stand, name: &str| stand.secrets.get(&name.parse().unwrap()).unwrap().expose_secret().to_owned();
        stands.iter().flat_map(|stand| [get(stand, "A"), get(stand, "B")]).collect()
    }

    #[tokio::test]
    async fn what_one_profile_has_read_again_comes_into_force_only_if_all_can_use_it_and_nothing_newer_is() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| write(folder.path().join(name), text).unwrap();
        put("A", "a-01");
        put("B", "b-01");
        let running = running(folder.path()).await;
        let (stands, mask, audit) = (running.stands(), Mask::default(), Audit::default());
        let told = (&mask, &audit);
        let before = stands[0].secrets.now();

        put("A", "a-02");
        for broken in ["", "b 2", "\u{feff}b-2"] {
            put("B", broken);
            put_in_force(&stands, &before, &before.reread().unwrap(), told);
            assert_eq!(values(&stands), ["a-01", "b-01", "a-01", "b-01"], "{broken:?}");
        }
        put("B", "b-02");
        let slow = before.reread().unwrap();
        put("B", "b-03");
        put_in_force(&stands, &before, &before.reread().unwrap(), told);
        assert_eq!(values(&stands), ["a-02", "b-03", "a-02", "b-03"]);
        assert_eq!(mask.apply("a-02 b-03"), "*** ***");

        put_in_force(&stands, &before, &slow, told);
        assert_eq!(values(&stands), ["a-02", "b-03", "a-02", "b-03"]);
    }
}
