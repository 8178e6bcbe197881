//! What was found out about passwords and tokens, for a minute, without keeping any of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{hmac, rand::SystemRandom};
use tokio::time::Instant;

use super::authenticator::Known;

/// How long it is good for.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Most of it that is remembered.
const MAX_REMEMBERED: usize = 4096;

/// Who it was, by the keyed hash of what they presented.
pub(super) struct Memory {
    /// Without randomness nothing is remembered.
    key: Option<hmac::Key>,
    /// How long it is known of somebody that they were known.
    familiar_for: Duration,
    found: Mutex<HashMap<Mark, Found>>,
}

/// Stands for what somebody presented.
pub(super) type Mark = [u8; 32];

/// Who it was, if anybody, and until when that is remembered; and until when, that it was somebody.
struct Found {
    known: Option<Known>,
    until: Instant,
    familiar_until: Instant,
}

impl Memory {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        Self { key, familiar_for: Duration::ZERO, found: Mutex::default() }
    }

    /// The same, in which those who were known are familiar for so long.
    pub(super) fn with_familiarity(self, familiar_for: Duration) -> Self {
        Self { familiar_for, ..self }
    }

    /// What stands for both where they are remembered.
    pub(super) fn mark(&self, name: &str, secret: &str) -> Option<Mark> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        context.update(&(name.len() as u64).to_be_bytes());
        context.update(name.as_bytes());
        context.update(secret.as_bytes());
        context.sign().as_ref().try_into().ok()
    }

    /// What was found out, if it was.
    pub(super) fn recall(&self, mark: &Mark) -> Option<Option<Known>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(mark).filter(|found| Instant::now() < found.until).map(|found| found.known.clone())
    }

    /// Whether the same was presented before, not too long ago, and somebody was known by it.
    pub(super) fn is_familiar(&self, mark: &Mark) -> bool {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(mark).is_some_and(|found| found.known.is_some() && Instant::now() < found.familiar_until)
    }

    /// Remembers it, for `limit` at most.
    pub(super) fn remember(&self, mark: Mark, known: Option<Known>, limit: Duration) {
        let now = Instant::now();
        let mut remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, found| now < found.until.max(found.familiar_until));
        }
        if remembered.len() >= MAX_REMEMBERED {
            // Who guesses must not push out who knows.
            remembered.retain(|_, found| found.known.is_some());
        }
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, found| now < found.until);
        }
        if remembered.len() < MAX_REMEMBERED {
            let familiar_until = now + if known.is_some() { self.familiar_for } else { Duration::ZERO };
            remembered.insert(mark, Found { known, until: now + limit.min(REMEMBERED), familiar_until });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Option<Known> {
        Some(Known::always(crate::access::Identity::User { name: "alice".into(), groups: [].into() }))
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_forgotten_after_a_minute_or_earlier() {
        let memory = Memory::new();
        let [one, other] = ["one", "other"].map(|secret| memory.mark("alice", secret).unwrap());
        memory.remember(one, alice(), Duration::MAX);
        memory.remember(other, alice(), Duration::from_secs(10));

        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!((memory.recall(&one), memory.recall(&other)), (Some(alice()), None));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(memory.recall(&one), None);
    }

    #[test]
    fn a_name_does_not_run_into_its_secret() {
        let memory = Memory::new();

        assert_ne!(memory.mark("a", "bc"), memory.mark("ab", "c"));
        assert_ne!(memory.mark("a", "b"), Memory::new().mark("a", "b"), "keyed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_does_not_push_out_who_knows() {
        let memory = Memory::new();
        let mark = memory.mark("alice", "right").unwrap();
        memory.remember(mark, alice(), REMEMBERED);

        for guess in 0..2 * MAX_REMEMBERED {
            memory.remember(memory.mark("alice", &guess.to_string()).unwrap(), None, REMEMBERED);
        }

        assert!(memory.found.lock().unwrap().len() <= MAX_REMEMBERED);
        assert_eq!(memory.recall(&mark), Some(alice()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_known_is_familiar_for_longer_and_makes_room_for_who_is_known() {
        let memory = Memory::new().with_familiarity(2 * REMEMBERED);
        let mark = |name: usize| memory.mark(&name.to_string(), "right").unwrap();
        (0..MAX_REMEMBERED).for_each(|name| memory.remember(mark(name), alice(), REMEMBERED));
        memory.remember(mark(MAX_REMEMBERED), alice(), REMEMBERED);
        assert!(memory.is_familiar(&mark(0)) && !memory.is_familiar(&mark(MAX_REMEMBERED)), "there was no room");

        tokio::time::advance(REMEMBERED).await;

        assert_eq!((memory.recall(&mark(0)), memory.is_familiar(&mark(0))), (None, true));
        memory.remember(mark(MAX_REMEMBERED), alice(), REMEMBERED);
        memory.remember(mark(1), None, REMEMBERED);
        assert!(memory.is_familiar(&mark(MAX_REMEMBERED)) && !memory.is_familiar(&mark(1)));
        tokio::time::advance(2 * REMEMBERED).await;
        assert!(!memory.is_familiar(&mark(MAX_REMEMBERED)));
    }
}
