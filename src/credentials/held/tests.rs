use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::super::grant::Secret;
use super::super::stated::{Reread, Stated};
use super::*;
use crate::secrets::{Secrets, Template};

/// A source that hands out the keys `id-1`, `id-2` and so on, as it is told to.
#[derive(Clone, Default)]
struct Issuer(Arc<Told>);

#[derive(Default)]
struct Told {
    asked: AtomicUsize,
    /// The next key's number.
    number: AtomicUsize,
    /// How long keys hold; `None` is for good.
    lifetime: Mutex<Option<Duration>>,
    /// How long it takes to answer.
    delay: Mutex<Duration>,
    is_down: Mutex<Option<Failure>>,
}

impl Issuer {
    fn of(lifetime: Option<Duration>) -> (Self, Arc<Keeper>) {
        let issuer = Self::default();
        *issuer.0.lifetime.lock().unwrap() = lifetime;
        let keeper = Keeper::new("team-a".to_owned(), "issuer", Box::new(issuer.clone()), Mask::default());
        (issuer, Arc::new(keeper))
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// It has other keys from now on.
    fn rotate(&self) {
        self.0.number.fetch_add(1, Ordering::SeqCst);
    }

    fn fails(&self, failure: Option<Failure>) {
        *self.0.is_down.lock().unwrap() = failure;
    }

    fn takes(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }
}

#[async_trait]
impl Fetch for Issuer {
    async fn fetch(&self) -> Result<Grant, Failure> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let delay = *self.0.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        if let Some(failure) = self.0.is_down.lock().unwrap().clone() {
            return Err(failure);
        }
        let lifetime = *self.0.lifetime.lock().unwrap();
        let lasts = lifetime.map_or(Lasts::ForGood, |lifetime| Lasts::Until(SystemTime::now() + lifetime));
        Grant::keys(&format!("id-{}", self.0.number.load(Ordering::SeqCst)), "secret", None, lasts)
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(10)
    }
}

async fn id(keeper: &Arc<Keeper>) -> String {
    keeper.get().await.unwrap().id
}

/// Lets what runs beside the test do what it can.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

const SHORT: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_cause_one_question() {
    let (issuer, keeper) = Issuer::of(None);
    issuer.takes(Duration::from_secs(1));

    let all = futures_util::future::join_all((0..50).map(|_| id(&keeper))).await;

    assert!(all.iter().all(|id| id == "id-0"));
    assert_eq!(issuer.asked(), 1);
    assert_eq!(id(&keeper).await, "id-0");
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_keys_are_fetched_takes_nothing_with_them() {
    let (issuer, keeper) = Issuer::of(None);
    issuer.takes(Duration::from_secs(1));

    let left = tokio::time::timeout(Duration::from_millis(10), keeper.get()).await;

    assert!(left.is_err());
    assert_eq!(id(&keeper).await, "id-0");
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_replaced_in_time_and_nobody_waits_for_it() {
    let (issuer, keeper) = Issuer::of(Some(SHORT));
    id(&keeper).await;
    issuer.rotate();
    issuer.takes(Duration::from_secs(2));

    tokio::time::sleep(SHORT / 2).await;
    assert_eq!((id(&keeper).await, issuer.asked()), ("id-0".to_owned(), 1));
    tokio::time::sleep(SHORT / 4).await;
    let asked_at = Instant::now();
    assert_eq!(id(&keeper).await, "id-0");
    assert_eq!(asked_at.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(3)).await;

    assert_eq!((id(&keeper).await, issuer.asked()), ("id-1".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_about_to_expire_are_waited_out_for_a_moment() {
    for (delay, told) in [(LAST_WAIT / 2, "id-1"), (LAST_WAIT * 2, "id-0")] {
        let (issuer, keeper) = Issuer::of(Some(SHORT));
        id(&keeper).await;
        issuer.rotate();
        issuer.takes(delay);

        tokio::time::sleep(SHORT - Duration::from_secs(2)).await;
        let asked_at = Instant::now();
        keeper.ready().await.unwrap();
        assert_eq!(asked_at.elapsed(), delay.min(LAST_WAIT));

        // Who has waited does not wait again when it comes to signing: that would be taken for the store's silence.
        // Neither does who comes later for the same refresh, or every import would be late while the source is down.
        keeper.ready().await.unwrap();
        assert_eq!((id(&keeper).await.as_str(), asked_at.elapsed()), (told, delay.min(LAST_WAIT)));
        assert_eq!(issuer.asked(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_old_ones_are_used_while_they_hold_and_then_it_is_an_error_that_says_why() {
    let (issuer, keeper) = Issuer::of(Some(SHORT));
    id(&keeper).await;
    issuer.fails(Some(Failure::passing("it is down")));

    let began = Instant::now();
    while began.elapsed() < SHORT - Duration::from_secs(1) {
        assert_eq!(id(&keeper).await, "id-0");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A third of the time, once a second.
    assert!((4..=9).contains(&issuer.asked()), "{}", issuer.asked());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let missing = keeper.get().await.err().unwrap();

    assert_eq!((missing.profile.as_str(), missing.is_passing), ("team-a", true));
    assert_eq!(missing.to_string(), "issuer: it is down");
    issuer.fails(None);
    tokio::time::sleep(PAUSES.0).await;
    assert_eq!(id(&keeper).await, "id-0");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_has_none_is_asked_once_a_second_however_many_ask() {
    let (issuer, keeper) = Issuer::of(None);
    issuer.fails(Some(Failure::lasting("nobody knows us")));

    for _ in 0..100 {
        assert!(keeper.get().await.is_err());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    assert!((4..=6).contains(&issuer.asked()), "{}", issuer.asked());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answers_is_given_up() {
    let (issuer, keeper) = Issuer::of(None);
    issuer.takes(Duration::from_secs(1000));
    let began = Instant::now();

    let missing = keeper.get().await.err().unwrap();

    assert_eq!(began.elapsed(), issuer.limit());
    assert!(missing.is_passing && missing.reason.contains("within 10s"), "{missing}");

    // Once that is known nobody waits so long to be told.
    tokio::time::sleep(PAUSES.0).await;
    let again = (Instant::now(), keeper.get().await.err().unwrap());
    assert_eq!((again.0.elapsed(), again.1.reason), (LAST_WAIT, missing.reason));
}

#[tokio::test(start_paused = true)]
async fn refused_keys_make_the_source_be_read_once_more_for_all_who_were_refused() {
    let (issuer, keeper) = Issuer::of(None);
    id(&keeper).await;
    let began = Instant::now();
    rest().await;
    issuer.rotate();
    issuer.takes(Duration::from_secs(1));

    let told = futures_util::future::join_all((0..10).map(|_| keeper.refused(began))).await;

    assert_eq!(told, [true; 10]);
    assert_eq!((id(&keeper).await, issuer.asked()), ("id-1".to_owned(), 2));
    // Who began with the old ones learns that there are others without a question.
    assert!(keeper.refused(began).await);
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_that_stay_wrong_do_not_hammer_their_source() {
    let (issuer, keeper) = Issuer::of(None);
    id(&keeper).await;

    for _ in 0..100 {
        assert!(!keeper.refused(Instant::now()).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // Ten seconds, a reading every three.
    assert_eq!(issuer.asked(), 1 + 4);
}

#[tokio::test(start_paused = true)]
async fn what_is_expired_when_it_comes_is_used_for_a_while_since_the_clock_may_be_off() {
    let (issuer, keeper) = Issuer::of(Some(Duration::ZERO));

    assert_eq!(id(&keeper).await, "id-0");
    tokio::time::sleep(BENEFIT_OF_DOUBT / 2).await;
    id(&keeper).await;

    assert_eq!(issuer.asked(), 1);
}

/// Keys that refer to the secret `A`.
fn stated(secrets: &[(&str, &str)], reread: Reread) -> Arc<Keeper> {
    let template = |text: &str| text.parse::<Template>().unwrap();
    let secrets = Secrets::of(secrets.iter().copied());
    let (access_key_id, secret_access_key) = (template("id"), template("x{{secret:A}}"));
    let stated = Stated { access_key_id, secret_access_key, session_token: None, secrets, reread };
    Arc::new(Keeper::new("team-a".to_owned(), "static", Box::new(stated), Mask::default()))
}

#[tokio::test]
async fn stated_keys_are_filled_in_from_the_secrets_or_missed_by_name() {
    let told = stated(&[("A", "1")], Reread::default()).get().await.unwrap();
    let missing = stated(&[], Reread::default()).get().await.err().unwrap();

    let Secret::Keys(keys) = told.secret else { panic!("a token") };
    assert_eq!((keys.access_key_id(), keys.secret_access_key()), ("id", "x1"));
    assert_eq!(missing.to_string(), "static: secret A is in none of the sources");
    assert!(!missing.is_passing);
}

#[tokio::test(start_paused = true)]
async fn stated_keys_that_are_refused_have_the_sources_of_secrets_read_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let reread = Reread::by(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    });
    let keeper = stated(&[("A", "1")], reread);
    keeper.get().await.unwrap();

    assert!(!keeper.refused(Instant::now()).await);
    assert!(!keeper.refused(Instant::now()).await);

    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

/// What is logged while `run` runs.
async fn logged(run: impl Future<Output = ()>) -> String {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&lines);
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_ansi(false);
    let subscriber = subscriber.with_writer(move || Lines(Arc::clone(&writer))).finish();
    // Of this thread, on which everything that the test begins runs too.
    let logging = tracing::subscriber::set_default(subscriber);
    run.await;
    drop(logging);
    let lines = lines.lock().unwrap().clone();
    String::from_utf8(lines).unwrap()
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_over_is_said_once_with_the_new_id_and_no_secret() {
    let (issuer, keeper) = Issuer::of(None);

    let said = logged(async {
        id(&keeper).await;
        assert!(!keeper.refused(Instant::now()).await);
        issuer.rotate();
        let began = Instant::now();
        tokio::time::sleep(READ_AGAIN).await;
        assert!(keeper.refused(began).await);
        id(&keeper).await;
    })
    .await;

    assert_eq!(said.lines().count(), 1, "{said}");
    let change = r#"credentials changed over profile="team-a" source="issuer" access_key_id="id-1""#;
    assert!(said.contains(change) && !said.contains(r#"="secret"#), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_out_is_masked_and_what_was_before_it_too() {
    let (secrets, mask) = (Secrets::of([("ID", "one"), ("SECRET", "first-secret")]), Mask::default());
    let stated = Stated {
        access_key_id: "{{secret:ID}}".parse().unwrap(),
        secret_access_key: "{{secret:SECRET}}".parse().unwrap(),
        session_token: None,
        secrets: secrets.clone(),
        reread: Reread::default(),
    };
    let keeper = Arc::new(Keeper::new("team-a".to_owned(), "static", Box::new(stated), mask.clone()));

    for (value, told) in [("first-secret", "*** second-secret one"), ("second-secret", "*** *** one")] {
        secrets.adopt(&Secrets::of([("ID", "one"), ("SECRET", value)]));
        keeper.get().await.unwrap();
        assert_eq!(mask.apply("first-secret second-secret one"), told);
    }
}
