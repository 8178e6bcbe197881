//! Credentials that are held, and fetched anew in time.
//!
//! A refresh is a task of its own, since who asked for it may leave; all who
//! ask meanwhile wait for the same one, or go on with what is still good.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{Failure, NoCredentials};
use super::fetch::Fetch;
use super::grant::{Grant, Lasts};
use crate::secrets::Mask;

/// Before they expire credentials are refreshed: of the time that they hold, one in so many before its end …
const MARGIN_SHARE: u32 = 3;

/// … but no more than this.
const MAX_MARGIN: Duration = Duration::from_mins(5);

/// When so little is left a request waits for the refresh: a store that hears of it later would refuse it.
const LAST_CALL: Duration = Duration::from_secs(10);

/// How long after the refresh began it goes on with what still holds, or without any where the source has failed before:
/// an import has a second for what it asks first.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// How old what is cheap to look at may get before it is looked at again.
const LOOK: Duration = Duration::from_secs(5);

/// What is fetched and expired already is used for so long all the same: our clock may be off, and the store will say.
const BENEFIT_OF_DOUBT: Duration = Duration::from_mins(1);

/// How soon after a refusal a source is read because of another one.
const READ_AGAIN: Duration = Duration::from_secs(3);

/// The shortest and the longest pause after a refresh that failed.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Fetches from a source, and holds what it got.
pub(super) struct Keeper {
    profile: String,
    from: &'static str,
    fetch: Box<dyn Fetch>,
    mask: Mask,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Why the last refresh brought nothing, and when.
    failed: Option<(Failure, Instant)>,
    /// The refresh that runs.
    running: Option<Refresh>,
    /// When a refusal last made us read the source.
    read_again: Option<Instant>,
}

/// A refresh.
#[derive(Clone)]
struct Refresh {
    began: Instant,
    /// Nothing is ever sent: the other end is dropped when it is over, however it ends.
    over: watch::Receiver<()>,
}

impl Refresh {
    fn is_running(&self) -> bool {
        self.over.has_changed().is_ok()
    }

    async fn over(mut self) {
        let _ = self.over.changed().await;
    }

    /// Waits for it as long as it may still be in time for who cannot wait.
    async fn over_soon(self) {
        let _ = tokio::time::timeout_at(self.began + LAST_WAIT, self.over()).await;
    }
}

/// What is in force.
struct Held {
    grant: Grant,
    /// When it took the place of others; `None` for the first.
    since: Option<Instant>,
    times: Times,
}

/// What is due when.
#[derive(Clone, Copy, Default)]
struct Times {
    refresh: Option<Instant>,
    last_call: Option<Instant>,
    expires: Option<Instant>,
}

impl Keeper {
    /// Keeps what `fetch` brings for `profile`, and `mask` over it.
    pub(super) fn new(profile: String, from: &'static str, fetch: Box<dyn Fetch>, mask: Mask) -> Self {
        Self { profile, from, fetch, mask, state: Mutex::default() }
    }

    /// Waits as [`Self::get`] does, and for a moment where those there are are about to expire.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<Grant, NoCredentials> {
        if let Some(refresh) = self.last_call() {
            refresh.over_soon().await;
        }
        self.get().await
    }

    /// Some that are valid. Waits for a fetch where there are none.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Grant, NoCredentials> {
        if let Some(outcome) = self.at_hand() {
            return outcome;
        }
        if let Some(outcome) = self.now() {
            return outcome;
        }
        let (refresh, failure) = self.begun();
        let Some(failure) = failure else {
            refresh.over().await;
            return self.now().unwrap_or_else(|| Err(self.missing(Failure::passing("it did not answer in time"))));
        };
        // Who has patience asks again; who has none is to hear what is wrong.
        refresh.over_soon().await;
        self.now().unwrap_or_else(|| Err(self.missing(failure)))
    }

    /// See [`Credentials::refused`](super::Credentials::refused).
    pub(super) async fn refused(self: &Arc<Self>, began: Instant) -> bool {
        if self.fetch.at_hand().is_some() {
            // What has changed there may be in force already, and nobody has asked since.
            let _ = self.get().await;
        }
        if !self.changed_since(began) && self.may_read_again() {
            self.refreshed().await;
        }
        self.changed_since(began)
    }

    pub(super) fn changed_since(&self, began: Instant) -> bool {
        self.state().held.as_ref().and_then(|held| held.since).is_some_and(|since| since > began)
    }

    pub(super) fn id(&self) -> String {
        self.state().held.as_ref().map_or_else(|| format!("(none from {})", self.from), |held| held.grant.id.clone())
    }

    /// `failure`, and whose it is.
    pub(super) fn missing(&self, Failure { reason, is_passing }: Failure) -> NoCredentials {
        NoCredentials { profile: self.profile.clone(), from: self.from, reason, is_passing }
    }

    /// What needs no fetching. It is looked at and held in one go, so that what was looked at before does not come back.
    fn at_hand(&self) -> Option<Result<Grant, NoCredentials>> {
        let mut state = self.state();
        let stated = self.fetch.at_hand()?.map_err(|failure| self.missing(failure));
        Some(stated.inspect(|grant| self.hold(&mut state, grant.clone())))
    }

    /// What can be said without waiting. Sees to it that a refresh that is due begins.
    fn now(self: &Arc<Self>) -> Option<Result<Grant, NoCredentials>> {
        let (mut state, now) = (self.state(), Instant::now());
        if let Some(held) = state.held.as_ref().filter(|held| !held.times.are_over(now)) {
            let (grant, is_due) = (held.grant.clone(), held.times.refresh.is_some_and(|refresh| now >= refresh));
            if is_due && state.may_try(now) {
                self.run(&mut state);
            }
            return Some(Ok(grant));
        }
        let (failure, _) = state.failed.as_ref().filter(|(_, at)| now < *at + PAUSES.0)?;
        Some(Err(self.missing(failure.clone())))
    }

    /// The refresh of what is good for a moment only.
    fn last_call(self: &Arc<Self>) -> Option<Refresh> {
        let (mut state, now) = (self.state(), Instant::now());
        let is_last = |Held { times, .. }: &Held| times.last_call.is_some_and(|last| now >= last) && !times.are_over(now);
        (state.held.as_ref().is_some_and(is_last) && state.may_try(now)).then(|| self.run(&mut state))
    }

    /// Whether a refusal may make us read the source now: it was not read for one just before, or is being read.
    fn may_read_again(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let may = state.is_running() || state.read_again.is_none_or(|last| now >= last + READ_AGAIN);
        if may && !state.is_running() {
            state.read_again = Some(now);
        }
        may
    }

    /// Waits for the refresh that runs, or for one that begins now.
    async fn refreshed(self: &Arc<Self>) {
        self.begun().0.over().await;
    }

    /// The refresh that runs, or begins now, and why the one before it brought nothing.
    fn begun(self: &Arc<Self>) -> (Refresh, Option<Failure>) {
        let mut state = self.state();
        (self.run(&mut state), state.failed.as_ref().map(|(failure, _)| failure.clone()))
    }

    fn run(self: &Arc<Self>, state: &mut State) -> Refresh {
        if let Some(refresh) = state.running.as_ref().filter(|refresh| refresh.is_running()) {
            return refresh.clone();
        }
        let (running, over) = watch::channel(());
        let refresh = Refresh { began: Instant::now(), over };
        state.running = Some(refresh.clone());
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let limit = keeper.fetch.limit();
            let fetched = tokio::time::timeout(limit, keeper.fetch.fetch()).await;
            keeper.settle(fetched.unwrap_or_else(|_| Err(Failure::passing(format!("it did not answer within {limit:?}")))));
            drop(running);
        });
        refresh
    }

    fn settle(&self, fetched: Result<Grant, Failure>) {
        let mut state = self.state();
        match fetched {
            Ok(grant) => {
                state.failed = None;
                self.hold(&mut state, grant);
            }
            Err(failure) => {
                // Said when it begins; whoever finds nothing valid says it again.
                if state.failed.is_none() {
                    let (profile, source, reason) = (&self.profile, self.from, &failure.reason);
                    tracing::warn!(
                        profile,
                        source,
                        reason,
                        "no credentials could be fetched; those in use are used while they hold"
                    );
                }
                state.failed = Some((failure, Instant::now()));
            }
        }
    }

    /// Puts `grant` in force.
    fn hold(&self, state: &mut State, grant: Grant) {
        let now = Instant::now();
        let times = Times::of(grant.lasts, now);
        let is_same = state.held.as_ref().is_some_and(|held| held.grant.secret == grant.secret);
        if !is_same {
            // Requests that run may still tell of those before.
            let before = state.held.as_ref().map(|held| held.grant.secret.values()).unwrap_or_default();
            self.mask.hold(&format!("{} {}", self.profile, self.from), grant.secret.values().into_iter().chain(before));
        }
        let since = match &state.held {
            Some(held) if is_same => held.since,
            Some(_) => {
                tracing::info!(profile = self.profile, source = self.from, access_key_id = grant.id, "credentials changed over");
                Some(now)
            }
            None => {
                tracing::debug!(profile = self.profile, source = self.from, access_key_id = grant.id, "credentials in use");
                None
            }
        };
        state.held = Some(Held { grant, since, times });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_running(&self) -> bool {
        self.running.as_ref().is_some_and(Refresh::is_running)
    }

    /// Whether a refresh may begin: after one that failed there is a pause, shorter where less time is left.
    fn may_try(&self, now: Instant) -> bool {
        let Some((_, at)) = self.failed else { return true };
        let left = self.held.as_ref().and_then(|held| held.times.expires).map_or(PAUSES.1, |expires| expires - now);
        now >= at + (left / 10).clamp(PAUSES.0, PAUSES.1)
    }
}

impl Times {
    /// Of what was fetched `now`.
    fn of(lasts: Lasts, now: Instant) -> Self {
        let expires = match lasts {
            Lasts::ForGood => return Self::default(),
            Lasts::UntilReplaced => return Self { refresh: Some(now + LOOK), ..Self::default() },
            Lasts::Until(expires) => expires,
        };
        let left = expires.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero()).unwrap_or(BENEFIT_OF_DOUBT);
        // Replicas that began together do not all ask at the same time.
        let margin = (left / MARGIN_SHARE).min(MAX_MARGIN).mul_f64(0.75 + fastrand::f64() / 4.0);
        let at_last = |before: Duration| Some(now + (left - before));
        Self { refresh: at_last(margin), last_call: at_last((margin / 2).min(LAST_CALL)), expires: at_last(Duration::ZERO) }
    }

    fn are_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

#[cfg(test)]
mod tests;
