//! Whose turn it is to have a password checked, which keeps a processor busy for a while.
//!
//! Whoever guesses passwords must not keep those out who know theirs. Who has
//! shown the same one rightly before goes past everybody else; the others wait
//! in a line for each address that they come from, and of each line one at a
//! time waits for a processor.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many checks run at once.
const AT_ONCE: usize = 2;

/// How many run besides, of those who were right before.
const OF_THE_FAMILIAR: usize = 1;

/// Most who wait in one line. All of a pod's builds may begin at once, and the first of them finds out for the others.
pub(super) const MAX_IN_LINE: usize = 256;

/// Hands out turns.
pub(super) struct Turns {
    processors: Arc<Semaphore>,
    of_the_familiar: Arc<Semaphore>,
    lines: Mutex<HashMap<IpAddr, Line>>,
}

/// Those from one address: how much room there is, and who is at its head.
#[derive(Clone)]
struct Line {
    room: Arc<Semaphore>,
    head: Arc<Semaphore>,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    _processor: Option<OwnedSemaphorePermit>,
    _in_line: Option<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>)>,
}

/// There is no more room in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            processors: Arc::new(Semaphore::new(AT_ONCE)),
            of_the_familiar: Arc::new(Semaphore::new(OF_THE_FAMILIAR)),
            lines: Mutex::default(),
        }
    }

    /// The turn of one who was right before.
    pub(super) async fn of_the_familiar(&self) -> Turn {
        Turn { _processor: Arc::clone(&self.of_the_familiar).acquire_owned().await.ok(), _in_line: None }
    }

    /// The turn of one from `address`, when it comes.
    pub(super) async fn of_one_from(&self, address: IpAddr) -> Result<Turn, Crowded> {
        let line = self.line(address);
        let room = line.room.try_acquire_owned().map_err(|_| Crowded)?;
        let head = line.head.acquire_owned().await.ok();
        let processor = Arc::clone(&self.processors).acquire_owned().await.ok();
        Ok(Turn { _processor: processor, _in_line: Some((room, head)) })
    }

    /// The line of `address`. Those in which nobody is are forgotten.
    fn line(&self, address: IpAddr) -> Line {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| Arc::strong_count(&line.head) > 1 || line.room.available_permits() < MAX_IN_LINE);
        let new = || Line { room: Arc::new(Semaphore::new(MAX_IN_LINE)), head: Arc::new(Semaphore::new(1)) };
        lines.entry(network(address)).or_insert_with(new).clone()
    }
}

/// What `address` shares with others that are most likely the same one's: whoever has an address of IPv6 has 2 to the 64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_addresses_has_one_line() {
        let of = |address: &str| network(address.parse().unwrap());

        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    #[tokio::test]
    async fn lines_in_which_nobody_is_are_forgotten() {
        let turns = Turns::new();
        for last in 0..100 {
            drop(turns.of_one_from([192, 0, 2, last].into()).await);
        }

        let turn = turns.of_one_from([192, 0, 2, 200].into()).await;

        assert_eq!(turns.lines.lock().unwrap().len(), 1);
        drop(turn);
    }
}
