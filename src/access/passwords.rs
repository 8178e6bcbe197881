//! Users with passwords.
//!
//! A check is made to take long, so it is made off the event loop, a few at a
//! time, and its outcome is remembered for a minute: by a keyed hash, so that
//! no password is kept. Who is not known is checked like one who is, or how
//! long a refusal takes would tell their names.
//!
//! The hashes of users may differ in how long they take. So a name that nobody
//! has stands for the same one each time, as those of users do.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::Identity;
use super::authenticator::Known;
use super::memory::Memory;
use super::turns::{Crowded, Turns};

/// How long it is known that a password was right, which lets it be checked before those of others.
const FAMILIAR: Duration = Duration::from_secs(60 * 60);

/// Most bytes of a password: bcrypt looks at no more.
const MAX_BYTES: usize = 72;

/// The work of a hash that is taken: 2 to the power of it. More would let one request take seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// What a password must hash to.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Box<str>);

/// Why a text is no hash of a password. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasswordHash {
    /// Something else, perhaps the password.
    #[error("is no bcrypt hash, such as htpasswd -nB USER makes: $2y$10$ and 53 characters")]
    Form,
    /// Too much or too little work.
    #[error("has a cost that is not between {} and {}", COSTS.start(), COSTS.end())]
    Cost,
}

/// One who has a password here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// What they are called.
    pub name: Arc<str>,
    /// What their password hashes to.
    pub hash: PasswordHash,
    /// The groups that they are in.
    pub groups: Vec<Box<str>>,
}

/// The users and what was found out about passwords.
pub(super) struct Passwords {
    users: HashMap<Arc<str>, (PasswordHash, Identity)>,
    /// Of all users: one of them stands in for that of somebody who is not known.
    hashes: Vec<PasswordHash>,
    /// Says which one. The same as long as the users are, and nobody else knows it.
    stand_in: hmac::Key,
    memory: Memory,
    turns: Turns,
}

/// Who somebody is by their password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    /// `None` for a wrong password, or nobody who is known.
    pub(super) identity: Option<Identity>,
    /// Whether it was checked just now.
    pub(super) is_news: bool,
}

impl Passwords {
    pub(super) fn of(users: Vec<User>) -> Self {
        let hashes: Vec<_> = users.iter().map(|user| user.hash.clone()).collect();
        let all: Vec<&str> = hashes.iter().map(|hash| &*hash.0).collect();
        let stand_in = hmac::Key::new(hmac::HMAC_SHA256, all.concat().as_bytes());
        let identity = |User { name, hash, groups }: User| {
            let identity = Identity::User { name: Arc::clone(&name), groups: groups.into() };
            (name, (hash, identity))
        };
        Self {
            users: users.into_iter().map(identity).collect(),
            hashes,
            stand_in,
            memory: Memory::new().with_familiarity(FAMILIAR),
            turns: Turns::new(),
        }
    }

    /// The user who is called `name`.
    pub(super) fn user(&self, name: &str) -> Option<&Identity> {
        self.users.get(name).map(|(_, identity)| identity)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Who `name` with `password` is, which comes from `address`.
    pub(super) async fn check(&self, name: &str, password: &SecretString, address: IpAddr) -> Result<Checked, Crowded> {
        let mark = self.memory.mark(name, password.expose_secret());
        let recall = || {
            mark.and_then(|mark| self.memory.recall(&mark))
                .map(|known| Checked { identity: known.map(|known| known.identity), is_news: false })
        };
        if let Some(checked) = recall() {
            return Ok(checked);
        }
        let turn = match mark.as_ref().is_some_and(|mark| self.memory.is_familiar(mark)) {
            true => self.turns.of_the_familiar().await,
            false => self.turns.of_one_from(address).await?,
        };
        // Of several who ask the same at once, the others need not find out again.
        if let Some(checked) = recall() {
            return Ok(checked);
        }
        let (hash, identity) = self.candidate(name);
        let password = password.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let is_right = hash.is_of(&password);
            drop(turn);
            is_right
        });
        let is_right = checking.await.unwrap_or(false);
        let identity = identity.filter(|_| is_right);
        mark.into_iter().for_each(|mark| self.memory.remember(mark, identity.clone().map(Known::always), Duration::MAX));
        Ok(Checked { identity, is_news: true })
    }

    /// What the password is checked against, and who it would be.
    fn candidate(&self, name: &str) -> (PasswordHash, Option<Identity>) {
        if let Some((hash, identity)) = self.users.get(name) {
            return (hash.clone(), Some(identity.clone()));
        }
        let drawn = hmac::sign(&self.stand_in, name.as_bytes());
        let index = drawn.as_ref().iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte));
        let index = index % self.hashes.len().max(1);
        (self.hashes.get(index).cloned().unwrap_or(PasswordHash("".into())), None)
    }
}

impl PasswordHash {
    /// Whether it is what `password` hashes to.
    fn is_of(&self, password: &SecretString) -> bool {
        let bytes = password.expose_secret().as_bytes();
        let looked_at = &bytes[..bytes.len().min(MAX_BYTES)];
        let is_right = bcrypt::verify(looked_at, &self.0).unwrap_or(false);
        is_right && bytes.len() <= MAX_BYTES
    }
}

impl FromStr for PasswordHash {
    type Err = InvalidPasswordHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || {
            let (version, rest) = text.strip_prefix('$')?.split_once('$')?;
            let (cost, rest) = rest.split_once('$')?;
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/';
            let is_whole = ["2a", "2b", "2y"].contains(&version) && rest.len() == 53 && rest.chars().all(is_base64);
            let cost = cost.parse::<u32>().ok().filter(|_| cost.len() == 2)?;
            is_whole.then_some(cost)
        };
        let cost = form().ok_or(InvalidPasswordHash::Form)?;
        if COSTS.contains(&cost) { Ok(Self(text.into())) } else { Err(InvalidPasswordHash::Cost) }
    }
}

/// A hash can be tried against guesses.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.users.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::super::turns::MAX_IN_LINE;
    use super::*;

    fn user(name: &str, password: &str) -> User {
        let hash = bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string();
        User { name: name.into(), hash: hash.parse().unwrap(), groups: Vec::new() }
    }

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn check(passwords: &Passwords, name: &str, password: &str) -> (Option<String>, bool) {
        let Checked { identity, is_news } = passwords.check(name, &password.into(), HERE).await.unwrap();
        (identity.map(|identity| identity.to_string()), is_news)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_out_is_remembered_for_a_minute_whatever_it_was() {
        let passwords = Passwords::of(vec![user("alice", "right"), user("bob", "other")]);
        let alice = || Some("user alice".to_owned());
        for (name, password, expected) in
            [("alice", "right", alice()), ("alice", "wrong", None), ("carol", "right", None), ("bob", "right", None)]
        {
            assert_eq!(check(&passwords, name, password).await, (expected.clone(), true), "{name} {password}");
            assert_eq!(check(&passwords, name, password).await, (expected, false), "{name} {password}");
        }

        tokio::time::advance(Duration::from_secs(60)).await;

        assert_eq!(check(&passwords, "alice", "right").await, (alice(), true));
    }

    #[test]
    fn who_is_not_known_is_checked_like_one_who_is() {
        let passwords = Passwords::of(vec![user("alice", "right")]);

        let (known, is_known) = passwords.candidate("alice");
        let (unknown, is_nobody) = passwords.candidate("carol");

        assert_eq!(known, unknown);
        assert!(is_known.is_some() && is_nobody.is_none());
        assert!(unknown.is_of(&"right".into()), "it is a real check");
    }

    #[test]
    fn a_name_that_nobody_has_is_as_much_work_each_time_and_names_differ() {
        let passwords = |costs: &[u32]| {
            let user = |(n, cost): (usize, &u32)| {
                let hash = bcrypt::hash_with_salt("right", *cost, [7; 16]).unwrap().to_string();
                User { name: n.to_string().into(), hash: hash.parse().unwrap(), groups: Vec::new() }
            };
            Passwords::of(costs.iter().enumerate().map(user).collect())
        };
        let (one, other) = (passwords(&[4, 5]), passwords(&[4, 5]));
        let drawn = |passwords: &Passwords| (0..64).map(|n| passwords.candidate(&format!("nobody-{n}")).0).collect::<Vec<_>>();

        assert!(drawn(&one) == drawn(&one) && drawn(&one) == drawn(&other), "also after a reload");
        assert!(drawn(&one).contains(&one.hashes[0]) && drawn(&one).contains(&one.hashes[1]));
        assert!(passwords(&[]).candidate("nobody").1.is_none());
    }

    // The median of several, in turn; what else the machine does may make one of them long.
    #[tokio::test]
    async fn a_refusal_takes_as_long_for_a_name_that_nobody_has() {
        let hash = bcrypt::hash_with_salt("right", 8, [7; 16]).unwrap().to_string();
        let passwords = Passwords::of(vec![User { name: "alice".into(), hash: hash.parse().unwrap(), groups: Vec::new() }]);
        let mut times = [Vec::new(), Vec::new()];
        for attempt in 0..9 {
            for (name, times) in ["alice", "carol"].into_iter().zip(&mut times) {
                let began = Instant::now();
                assert_eq!(check(&passwords, name, &format!("wrong-{attempt}")).await, (None, true), "each is checked");
                times.push(began.elapsed());
            }
        }
        let [known, unknown] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2].as_secs_f64()
        });

        assert!((0.4..2.5).contains(&(known / unknown)), "{known} s against {unknown} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_from_one_address_keeps_nobody_out_and_the_line_ends_somewhere() {
        let passwords = Arc::new(Passwords::of(vec![user("alice", "right"), user("bob", "right")]));
        let (stranger, elsewhere) = (IpAddr::from([192, 0, 2, 66]), IpAddr::from([192, 0, 2, 1]));
        let right = SecretString::from("right");
        let of_alice = |address| passwords.check("alice", &right, address);
        assert!(passwords.check("bob", &"right".into(), stranger).await.unwrap().identity.is_some());
        tokio::time::advance(Duration::from_secs(60)).await;
        let flood: Vec<_> = (0..MAX_IN_LINE + 50)
            .map(|guess| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.check("alice", &guess.to_string().into(), stranger).await })
            })
            .collect();
        while flood.iter().filter(|guess| guess.is_finished()).count() < 40 {
            tokio::task::yield_now().await;
        }

        // Somebody else's first time, and the stranger's neighbour, who was right before.
        assert!(of_alice(elsewhere).await.unwrap().identity.is_some());
        let bob = passwords.check("bob", &"right".into(), stranger).await.unwrap();
        assert!(bob.identity.is_some() && bob.is_news);
        let done = flood.iter().filter(|guess| guess.is_finished()).count();
        assert!(done < 50 + 40, "they have waited for {done}, of which 50 were turned away at once");

        let answers = futures_util::future::join_all(flood).await;
        let crowded = answers.iter().filter(|answer| matches!(answer, Ok(Err(Crowded)))).count();
        assert!((40..=50).contains(&crowded), "some were done before the last came: {crowded}");
        assert!(answers.into_iter().all(|answer| answer.unwrap().map_or(true, |checked| checked.identity.is_none())));
        assert!(of_alice(stranger).await.is_ok(), "there is room again");
    }

    #[tokio::test]
    async fn a_password_is_all_of_it() {
        let long = "x".repeat(72);
        let passwords = Passwords::of(vec![user("alice", &long)]);

        assert!(check(&passwords, "alice", &long).await.0.is_some());
        assert_eq!(check(&passwords, "alice", &format!("{long}y")).await.0, None);
        assert_eq!(check(&passwords, "alic", &format!("e{long}")).await.0, None);
    }

    #[test]
    fn only_a_hash_that_takes_some_work_and_not_too_much_is_one() {
        let hash = |version: &str, cost: &str| format!("${version}${cost}${}", "a".repeat(53));
        for (text, expected) in [
            (hash("2y", "10"), Ok(())),
            (hash("2a", "04"), Ok(())),
            (hash("2b", "14"), Ok(())),
            (hash("2b", "15"), Err(InvalidPasswordHash::Cost)),
            (hash("2b", "03"), Err(InvalidPasswordHash::Cost)),
            (hash("2x", "10"), Err(InvalidPasswordHash::Form)),
            (hash("2y", "4"), Err(InvalidPasswordHash::Form)),
            (hash("2y", "10") + "a", Err(InvalidPasswordHash::Form)),
            ("$apr1$salt$hash".into(), Err(InvalidPasswordHash::Form)),
            ("password".into(), Err(InvalidPasswordHash::Form)),
        ] {
            assert_eq!(text.parse::<PasswordHash>().map(drop), expected, "{text}");
        }
    }
}
