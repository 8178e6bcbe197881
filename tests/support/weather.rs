//! Bad weather before a store: faults by chance, each over before who asks loses patience.
//!
//! The chance has a seed. What befalls a request depends on that, on what it
//! asks for, and on how often it was asked before; only storms, in which
//! everything fails, come by the clock. So a seed that failed can be tried again.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use fastrand::Rng;
use http::{Method, Response};

use super::door::{Door, S3Operation, Seen};
use super::fault::{Fault, How, Strike};
use Sort::*;

/// How bad it gets.
#[derive(Clone, Copy, Debug)]
pub struct Climate {
    /// Of so many requests one is struck, where there is no storm.
    pub one_in: u64,
    /// How long anything stands still, at most.
    pub longest: Duration,
    /// How long one request may be struck again and again.
    pub limit: Duration,
    /// How long storms last, at most; there is one in each [`STORM_EVERY`].
    pub storm: Duration,
}

/// How often there is a storm.
const STORM_EVERY: Duration = Duration::from_secs(7);

/// The limit of what a pull asks first, which waits for 2 s and no longer.
const LIMIT_OF_PULLS: Duration = Duration::from_millis(300);

/// How far a clock goes wrong: more than any store takes.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// How many of the last faults are told.
const REMEMBERED: usize = 60;

/// What can befall a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sort {
    ServiceUnavailable,
    SlowDown,
    InternalError,
    Reset,
    AnswerLost,
    AnswerLate,
    ClockSkewed,
    KeysExpired,
    RequestBroken,
    RequestStill,
    AnswerBroken,
    AnswerStill,
    ErrorIn200,
    ErrorIn200ThoughDone,
}

/// What befalls any request.
const ANY: &[Sort] = &[ServiceUnavailable, SlowDown, InternalError, Reset, AnswerLost, AnswerLate, ClockSkewed, KeysExpired];

/// What everything fails with in a storm.
const STORMS: &[Sort] = &[ServiceUnavailable, SlowDown, InternalError, Reset, KeysExpired];

impl Sort {
    /// What befalls requests for `operation` besides.
    fn of(operation: S3Operation) -> &'static [Self] {
        match operation {
            S3Operation::PutObject | S3Operation::UploadPart => &[RequestBroken, RequestStill],
            S3Operation::GetObject | S3Operation::ListObjectsV2 => &[AnswerBroken, AnswerStill],
            S3Operation::CompleteMultipartUpload | S3Operation::CopyObject => &[ErrorIn200, ErrorIn200ThoughDone],
            _ => &[],
        }
    }

    /// Whether it takes a while, however often it is asked again.
    fn takes_time(self) -> bool {
        matches!(self, AnswerLate | RequestStill | AnswerStill)
    }
}

/// The weather at one door.
pub struct Weather {
    seed: u64,
    climate: Climate,
    began: Instant,
    is_over: AtomicBool,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    requests: usize,
    repeated: usize,
    struck: BTreeMap<Sort, usize>,
    /// How often each was asked for.
    asked: HashMap<String, u64>,
    /// Since when everybody who asks for one and the same is struck.
    since: HashMap<String, Instant>,
    last: VecDeque<String>,
}

/// The seed that `LONGSHORE_TEST_SOAK_SEED` says, else one by chance.
pub fn seed() -> u64 {
    number("LONGSHORE_TEST_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000))
}

/// The number in the variable `name`, if it is set.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

impl Weather {
    /// Begins at `door`, by the chance of `seed`.
    pub fn at(door: &Door, seed: u64, climate: Climate) -> Arc<Self> {
        let (is_over, records) = (AtomicBool::new(false), Mutex::default());
        let weather = Arc::new(Self { seed, climate, began: Instant::now(), is_over, records });
        let here = Arc::clone(&weather);
        door.trouble(move |seen| here.befall(seen));
        weather
    }

    /// Ends it.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// How many requests were struck.
    pub fn struck(&self) -> usize {
        self.records().struck.values().sum()
    }

    fn befall(&self, seen: &Seen) -> Option<Fault> {
        let (mut records, now) = (self.records(), Instant::now());
        records.requests += 1;
        if self.is_over.load(Ordering::SeqCst) {
            return None;
        }
        let (what, exactly) = (asked_for(seen), format!("{} {} {}", seen.method, seen.path, seen.query));
        let times = records.asked.entry(what.clone()).or_default();
        *times += 1;
        let (times, since) = (*times, records.since.get(&exactly).copied());
        records.repeated += usize::from(since.is_some());
        let mut chance = self.chance(&(&what, times));
        let sort = self.sort(seen, &mut chance).filter(|_| since.is_none_or(|since| now - since < self.limit(seen)));
        match sort {
            Some(_) => drop(records.since.entry(exactly).or_insert(now)),
            None => drop(records.since.remove(&exactly)),
        }
        let sort = sort?;
        *records.struck.entry(sort).or_default() += 1;
        records.last.push_back(format!("{:?} {sort:?}: {what}, {times}.", now - self.began));
        if records.last.len() > REMEMBERED {
            records.last.pop_front();
        }
        Some(self.fault(sort, seen, &mut chance))
    }

    /// The chance that belongs to `what` and nothing else.
    fn chance(&self, what: &impl Hash) -> Rng {
        let mut hasher = DefaultHasher::new();
        (self.seed, what).hash(&mut hasher);
        Rng::with_seed(hasher.finish())
    }

    fn sort(&self, seen: &Seen, chance: &mut Rng) -> Option<Sort> {
        if let Some(sort) = self.storm(self.began.elapsed()) {
            return Some(sort);
        }
        if chance.u64(0..self.climate.one_in) != 0 {
            return None;
        }
        let own = Sort::of(seen.operation());
        let sorts = if !own.is_empty() && chance.bool() { own } else { ANY };
        let sort = sorts[chance.usize(0..sorts.len())];
        (!sort.takes_time() || !is_of_a_pull(seen)).then_some(sort)
    }

    /// What everything fails with at that time, if there is a storm.
    fn storm(&self, at: Duration) -> Option<Sort> {
        let nth = at.as_millis() / STORM_EVERY.as_millis();
        let mut chance = self.chance(&nth);
        let length = self.climate.storm.mul_f64(0.5 + chance.f64() / 2.0);
        let begins = (STORM_EVERY - length).mul_f64(chance.f64());
        let sort = STORMS[chance.usize(0..STORMS.len())];
        let into = at.checked_sub(STORM_EVERY * u32::try_from(nth).ok()? + begins)?;
        (into < length).then_some(sort)
    }

    fn limit(&self, seen: &Seen) -> Duration {
        if is_of_a_pull(seen) { LIMIT_OF_PULLS } else { self.climate.limit }
    }

    fn fault(&self, sort: Sort, seen: &Seen, chance: &mut Rng) -> Fault {
        // Most stand still for a moment, and some for longer than anybody waits for them.
        let time = self.climate.longest.mul_f64(chance.f64().powi(2));
        let strike = |how| Strike { share: chance.clone().f64(), how };
        let answer = |status, code| answer(seen, status, code);
        match sort {
            ServiceUnavailable => Fault::Answered(answer(503, "ServiceUnavailable")),
            SlowDown => Fault::Answered(answer(503, "SlowDown")),
            InternalError => Fault::Answered(answer(500, "InternalError")),
            Reset => Fault::Reset,
            AnswerLost => Fault::AnswerLost,
            AnswerLate => Fault::Late(time),
            ClockSkewed => Fault::Answered(skewed(answer(403, "RequestTimeTooSkewed"))),
            KeysExpired => Fault::Answered(answer(400, "ExpiredToken")),
            RequestBroken => Fault::Request(strike(How::BreaksOff)),
            RequestStill => Fault::Request(strike(How::StandsStill(time))),
            AnswerBroken => Fault::Answer(strike(How::BreaksOff)),
            AnswerStill => Fault::Answer(strike(How::StandsStill(time))),
            ErrorIn200 => Fault::Answered(answer(200, "InternalError")),
            ErrorIn200ThoughDone => Fault::AnsweredOtherwise(answer(200, "InternalError")),
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("no panic")
    }
}

/// What `seen` asks for, in words that are the same in every run that has the same seed.
fn asked_for(seen: &Seen) -> String {
    let name = seen.path.rsplit('/').next().unwrap_or_default();
    let part = seen.query.split('&').find(|pair| pair.starts_with("partNumber=")).unwrap_or_default();
    format!("{:?} {name} {part}{}", seen.operation(), seen.header("range"))
}

/// Whether this is the first that an import asks for.
fn is_of_a_pull(seen: &Seen) -> bool {
    seen.operation() == S3Operation::GetObject && !seen.path.contains("/blobs/")
}

/// An error as S3 servers tell it; the answer to a HEAD has no body.
fn answer(seen: &Seen, status: u16, code: &str) -> Response<Bytes> {
    let error = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a test says so</Message></Error>");
    let body = if seen.method == Method::HEAD { Bytes::new() } else { error.into() };
    Response::builder().status(status).header("content-type", "application/xml").body(body).expect("an answer")
}

/// `answer`, by a clock that goes wrong.
fn skewed(mut answer: Response<Bytes>) -> Response<Bytes> {
    let date = DateTime::from(SystemTime::now() + SKEW).fmt(Format::HttpDate).expect("a time");
    answer.headers_mut().insert("date", date.parse().expect("a header"));
    answer
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.records();
        let struck: usize = records.struck.values().sum();
        write!(f, "seed {}: {} requests, {struck} struck, {} repeated", self.seed, records.requests, records.repeated)?;
        records.struck.iter().try_for_each(|(sort, times)| write!(f, "\n  {sort:?} {times}"))
    }
}

impl fmt::Debug for Weather {
    /// With the last that was done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.records().last.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
