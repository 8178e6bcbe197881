//! A part of the budget, given out first come, first served.
//!
//! Who waits is not overtaken by who needs less. Only who holds all that one
//! may hold is stepped over until some of it comes back.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Who shares the budget with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sharer(pub(super) u64);

/// Memory that is held until this is dropped.
pub(super) struct Permit {
    lane: Arc<Lane>,
    sharer: Sharer,
    bytes: u64,
}

/// So many bytes, shared by some, who may all have to wait.
#[derive(Debug)]
pub(super) struct Lane {
    bytes: u64,
    /// What one of those who share it commonly takes at a time.
    piece: u64,
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    free: u64,
    sharers: u64,
    held: HashMap<Sharer, u64>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    sharer: Sharer,
    bytes: u64,
    granting: oneshot::Sender<Permit>,
}

impl Lane {
    /// A lane of `bytes`, of which two pieces always remain for each other sharer.
    pub(super) fn new(bytes: u64, piece: u64) -> Arc<Self> {
        let line = Line { free: bytes, sharers: 0, held: HashMap::new(), waiting: VecDeque::new() };
        Arc::new(Self { bytes, piece, line: Mutex::new(line) })
    }

    /// How many bytes there are, held or not.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> u64 {
        self.bytes - self.line().free
    }

    /// Whether anybody waits here.
    pub(super) fn is_wanted(&self) -> bool {
        self.line().waiting.iter().any(|waiting| !waiting.granting.is_closed())
    }

    /// One more shares it.
    pub(super) fn join(&self) {
        self.line().sharers += 1;
    }

    /// One less shares it.
    pub(super) fn leave(self: &Arc<Self>) {
        self.line().sharers -= 1;
        self.grant();
    }

    /// Waits until `bytes` may be held.
    #[allow(clippy::expect_used, reason = "the line keeps who waits until they are granted what they wait for")]
    pub(super) async fn take(self: &Arc<Self>, sharer: Sharer, bytes: u64) -> Permit {
        // Dropped last: who gives up waiting may have been all that held up those behind.
        let _leaving = Leaving(self);
        let (granting, granted) = oneshot::channel();
        self.line().waiting.push_back(Waiting { sharer, bytes: bytes.min(self.bytes), granting });
        self.grant();
        granted.await.expect("granted before it is forgotten")
    }

    /// `bytes`, if nobody waits and `rest` remain free.
    pub(super) fn try_take(self: &Arc<Self>, sharer: Sharer, bytes: u64, rest: u64) -> Option<Permit> {
        let mut line = self.line();
        let is_free = line.waiting.is_empty() && line.free >= bytes + rest && self.may_hold(&line, sharer, bytes);
        is_free.then(|| self.hold(&mut line, sharer, bytes))
    }

    /// Lets those have their turn whose turn it is.
    fn grant(self: &Arc<Self>) {
        let granted = self.turns(&mut self.line());
        for (granting, permit) in granted {
            // Who left at this very moment gives it back at once.
            drop(granting.send(permit));
        }
    }

    fn turns(self: &Arc<Self>, line: &mut Line) -> Vec<(oneshot::Sender<Permit>, Permit)> {
        let (mut granted, mut stepped_over, mut still_waiting) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut is_full = false;
        for waiting in std::mem::take(&mut line.waiting) {
            let Waiting { sharer, bytes, ref granting } = waiting;
            if granting.is_closed() {
                continue;
            }
            if !is_full && !stepped_over.contains(&sharer) {
                if !self.may_hold(line, sharer, bytes) {
                    stepped_over.push(sharer);
                } else if bytes > line.free {
                    is_full = true;
                } else {
                    granted.push((waiting.granting, self.hold(line, sharer, bytes)));
                    continue;
                }
            }
            still_waiting.push_back(waiting);
        }
        line.waiting = still_waiting;
        granted
    }

    /// Whether `sharer` may hold `bytes` more. One piece it always may, so that it gets on.
    fn may_hold(&self, line: &Line, sharer: Sharer, bytes: u64) -> bool {
        let others = line.sharers.saturating_sub(1);
        let most = self.bytes.saturating_sub(others * 2 * self.piece).max(2 * self.piece);
        line.held.get(&sharer).is_none_or(|held| held + bytes <= most)
    }

    fn hold(self: &Arc<Self>, line: &mut Line, sharer: Sharer, bytes: u64) -> Permit {
        line.free -= bytes;
        *line.held.entry(sharer).or_default() += bytes;
        Permit { lane: Arc::clone(self), sharer, bytes }
    }

    fn give_back(self: &Arc<Self>, sharer: Sharer, bytes: u64) {
        let mut line = self.line();
        line.free += bytes;
        let held = line.held.entry(sharer).or_default();
        *held -= bytes;
        if *held == 0 {
            line.held.remove(&sharer);
        }
        drop(line);
        self.grant();
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who may be about to leave the line.
struct Leaving<'a>(&'a Arc<Lane>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.grant();
    }
}

impl Permit {
    /// A permit of its own for `bytes` of these.
    pub(super) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { lane: Arc::clone(&self.lane), sharer: self.sharer, bytes }
    }

    /// How many bytes it is for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether anybody waits for such memory.
    pub(super) fn is_wanted(&self) -> bool {
        self.lane.is_wanted()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.lane.give_back(self.sharer, self.bytes);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    const A: Sharer = Sharer(1);
    const B: Sharer = Sharer(2);

    type Taking = Pin<Box<dyn Future<Output = Permit>>>;

    fn lane(bytes: u64, piece: u64, sharers: usize) -> Arc<Lane> {
        let lane = Lane::new(bytes, piece);
        (0..sharers).for_each(|_| lane.join());
        lane
    }

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn held(lane: &Arc<Lane>, sharer: Sharer, bytes: u64) -> Permit {
        match poll(lane.take(sharer, bytes)) {
            Poll::Ready(permit) => permit,
            Poll::Pending => panic!("there is room"),
        }
    }

    fn waiting(lane: &Arc<Lane>, sharer: Sharer, bytes: u64) -> Taking {
        let lane = Arc::clone(lane);
        let mut taking: Taking = Box::pin(async move { lane.take(sharer, bytes).await });
        assert!(poll(taking.as_mut()).is_pending());
        taking
    }

    #[test]
    fn who_needs_much_is_not_overtaken_by_who_needs_little() {
        let lane = lane(10, 1, 1);
        let first = held(&lane, A, 8);
        let mut much = waiting(&lane, A, 10);
        let mut little = waiting(&lane, A, 1);
        assert!(lane.try_take(A, 1, 0).is_none());

        drop(first);
        let Poll::Ready(much) = poll(much.as_mut()) else { panic!("its turn") };
        assert!(poll(little.as_mut()).is_pending());

        drop(much);
        assert!(poll(little.as_mut()).is_ready());
    }

    #[test]
    fn who_stops_waiting_holds_nobody_up() {
        let lane = lane(10, 1, 1);
        let _first = held(&lane, A, 8);
        let much = waiting(&lane, A, 10);
        let mut little = waiting(&lane, A, 1);

        drop(much);

        assert!(poll(little.as_mut()).is_ready());
        assert_eq!((lane.held(), lane.is_wanted()), (8, false));
    }

    #[test]
    fn what_was_granted_to_who_never_looked_again_comes_back() {
        let lane = lane(10, 1, 1);
        let first = held(&lane, A, 10);
        let granted = waiting(&lane, A, 10);

        drop(first);
        assert_eq!(lane.held(), 10);
        drop(granted);

        assert_eq!(lane.held(), 0);
    }

    #[test]
    fn two_pieces_remain_for_each_other_and_one_alone_may_hold_all() {
        let lane = lane(10, 2, 2);
        let six: Vec<_> = (0..3).map(|_| held(&lane, A, 2)).collect();
        let mut more = waiting(&lane, A, 2);
        assert!(lane.try_take(A, 2, 0).is_none());

        let four = [held(&lane, B, 2), held(&lane, B, 2)];
        drop(four);
        assert!(poll(more.as_mut()).is_pending(), "even while nobody else wants it");

        lane.leave();
        let Poll::Ready(_more) = poll(more.as_mut()) else { panic!("alone now") };
        drop(six);
    }

    #[test]
    fn a_piece_larger_than_a_share_is_held_alone() {
        let lane = lane(10, 2, 2);
        let large = held(&lane, A, 9);

        assert!(poll(lane.take(A, 1)).is_pending());
        drop(large);
    }

    #[test]
    fn what_is_split_off_comes_back_by_itself() {
        let lane = lane(10, 1, 1);
        let mut permit = held(&lane, A, 8);
        let part = permit.split(3);

        drop(permit);
        assert_eq!(lane.held(), 3);
        drop(part);
        assert_eq!(lane.held(), 0);
    }

    /// What may happen to a lane, by numbers that choose among what there is.
    #[derive(Clone, Debug)]
    enum Step {
        Take(u64, u64),
        Poll(usize),
        Leave(usize),
        Drop(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..4_u64, 1..=10_u64).prop_map(|(sharer, bytes)| Step::Take(sharer, bytes)),
            (0..8_usize).prop_map(Step::Poll),
            (0..8_usize).prop_map(Step::Leave),
            (0..8_usize).prop_map(Step::Drop),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// However they take, wait, leave and give back, no more is held than there is, and in the end everybody had their turn.
        #[test]
        fn every_turn_comes_and_nothing_is_lost(steps in steps()) {
            let lane = lane(20, 2, 3);
            let (mut waiting, mut permits): (Vec<Taking>, Vec<Permit>) = Default::default();
            for step in steps {
                match step {
                    Step::Take(sharer, bytes) => {
                        let lane = Arc::clone(&lane);
                        waiting.push(Box::pin(async move { lane.take(Sharer(sharer), bytes).await }));
                    }
                    Step::Poll(nth) if nth < waiting.len() => {
                        let mut taking = waiting.remove(nth);
                        match poll(taking.as_mut()) {
                            Poll::Ready(permit) => permits.push(permit),
                            Poll::Pending => waiting.insert(nth, taking),
                        }
                    }
                    Step::Leave(nth) if nth < waiting.len() => drop(waiting.remove(nth)),
                    Step::Drop(nth) if nth < permits.len() => drop(permits.remove(nth)),
                    _ => {}
                }
                prop_assert!(lane.held() <= 20);
            }
            let mut idle_rounds = 0;
            while !waiting.is_empty() && idle_rounds < 2 {
                permits.clear();
                let before = waiting.len();
                waiting.retain_mut(|taking| match poll(taking.as_mut()) {
                    Poll::Ready(permit) => { permits.push(permit); false }
                    Poll::Pending => true,
                });
                idle_rounds = if waiting.len() < before { 0 } else { idle_rounds + 1 };
            }
            prop_assert!(waiting.is_empty());
            permits.clear();
            prop_assert_eq!(lane.held(), 0);
        }
    }
}
