//! What is counted, under the names by which Prometheus reads it.
//!
//! The floors say what happened, in their own words, to the handle that they
//! were given; which series that moves is decided here. Nothing here reads a
//! clock, does I/O or waits.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::oci::RepoName;

pub use prometheus_client::metrics::counter::Counter;

/// The content type of what [`Metrics::to_text`] gives (OpenMetrics 1.0.0, "Protocol Negotiation").
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of durations, in seconds: from an answer out of
/// memory to a layer that waits for a store that is down.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0];

/// Images told apart; the series of all further ones are those of this name,
/// which no image can have.
const OTHER_IMAGES: &str = "_other";

/// Everything that one process counts.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Arc<Families>,
}

/// What is counted of one profile.
#[derive(Clone)]
pub struct ProfileMetrics {
    families: Arc<Families>,
    profile: Arc<String>,
}

struct Families {
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram>,
    image_bytes: Family<ImageBytes, Counter>,
    images: Mutex<HashSet<RepoName>>,
    most_images: usize,
    store_requests: Family<StoreRequest, Counter>,
    store_request_seconds: Family<StoreOperation, Histogram>,
    store_is_well: Family<Profile, Gauge>,
    blob_questions: Family<BlobQuestion, Counter>,
    index_bytes: Family<Profile, Gauge>,
    refreshes: Family<Refresh, Counter>,
    cache_answers: Family<CacheAnswer, Counter>,
    audit_lines_lost: Counter,
    memory_bytes: Gauge,
    memory_held: OnceLock<Box<dyn Fn() -> u64 + Send + Sync>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Profile {
    profile: Arc<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    profile: Arc<String>,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    profile: Arc<String>,
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ImageBytes {
    profile: Arc<String>,
    image: String,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreOperation {
    profile: Arc<String>,
    operation: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreRequest {
    profile: Arc<String>,
    operation: String,
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BlobQuestion {
    profile: Arc<String>,
    answered_by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refresh {
    profile: Arc<String>,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheAnswer {
    profile: Arc<String>,
    work: &'static str,
}

/// What was done to a cache that somebody pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheWork {
    /// What needs layers that are gone was left out.
    Healed,
    /// It is several that were put together.
    United,
    /// It was put into a form that may be large.
    Rescued,
    /// It stands in for one that is absent.
    FellBack,
    /// Something was to be made of it that could not be stored.
    NotStored,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client.
    Received,
    /// To a client.
    Sent,
}

/// Who knew whether a blob is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The index knew that it is.
    IndexPresent,
    /// The index knew that it is not.
    IndexAbsent,
    /// The store was asked.
    Store,
}

impl Metrics {
    /// Nothing counted yet; the bytes of `most_images` images will be told apart.
    #[must_use]
    pub fn new(most_images: usize) -> Self {
        let families = Families::new(most_images);
        let mut registry = Registry::with_prefix("longshore");
        families.register(&mut registry);
        Self { registry: Arc::new(registry), families: Arc::new(families) }
    }

    /// What is counted of the profile `name`.
    #[must_use]
    pub fn profile(&self, name: &str) -> ProfileMetrics {
        ProfileMetrics { families: Arc::clone(&self.families), profile: Arc::new(name.to_owned()) }
    }

    /// The counter of lines of the audit that could not be kept.
    #[must_use]
    pub fn audit_lines_lost(&self) -> Counter {
        self.families.audit_lines_lost.clone()
    }

    /// Asks `held`, whenever all of this is told, how many bytes of memory bodies hold on their way; only the first counts.
    pub fn watch_memory(&self, held: impl Fn() -> u64 + Send + Sync + 'static) {
        // A process has one budget.
        let _ = self.families.memory_held.set(Box::new(held));
    }

    /// All of it, as [`CONTENT_TYPE`] says.
    #[must_use]
    pub fn to_text(&self) -> String {
        if let Some(held) = self.families.memory_held.get() {
            self.families.memory_bytes.set(gauge(held()));
        }
        let mut told = String::new();
        // A text takes whatever is written into it.
        let _ = text::encode(&mut told, &self.registry);
        told
    }
}

impl ProfileMetrics {
    /// A request of a client for `route` was answered with `status` after `elapsed`, all but the answer's body.
    pub fn answered(&self, route: &'static str, status: u16, elapsed: Duration) {
        let profile = || Arc::clone(&self.profile);
        self.families.requests.get_or_create(&Request { profile: profile(), route, status }).inc();
        self.families.request_seconds.get_or_create(&Route { profile: profile(), route }).observe(elapsed.as_secs_f64());
    }

    /// The counter of the bytes of bodies that go one way for `image`.
    #[must_use]
    pub fn image_bytes(&self, image: &RepoName, direction: Direction) -> Counter {
        let direction = match direction {
            Direction::Received => "received",
            Direction::Sent => "sent",
        };
        let labels = ImageBytes { profile: Arc::clone(&self.profile), image: self.families.told_apart(image), direction };
        self.families.image_bytes.get_or_create_owned(&labels)
    }

    /// A request was sent to the store; `status` is that of the answer, if there was one.
    pub fn store_answered(&self, operation: &str, status: Option<u16>, elapsed: Duration) {
        let result = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let profile = || Arc::clone(&self.profile);
        let operation = || operation.to_owned();
        self.families.store_requests.get_or_create(&StoreRequest { profile: profile(), operation: operation(), result }).inc();
        let labels = StoreOperation { profile: profile(), operation: operation() };
        self.families.store_request_seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    /// Whether the store answers as it should.
    pub fn store_is_well(&self, is_well: bool) {
        self.families.store_is_well.get_or_create(&Profile { profile: Arc::clone(&self.profile) }).set(i64::from(is_well));
    }

    /// A blob was to be made young again.
    pub fn refreshed(&self, is_done: bool) {
        let result = if is_done { "done" } else { "failed" };
        self.families.refreshes.get_or_create(&Refresh { profile: Arc::clone(&self.profile), result }).inc();
    }

    /// Somebody asked whether a blob is there.
    pub fn blob_asked(&self, answered_by: AnsweredBy) {
        let answered_by = match answered_by {
            AnsweredBy::IndexPresent => "index_present",
            AnsweredBy::IndexAbsent => "index_absent",
            AnsweredBy::Store => "store",
        };
        self.families.blob_questions.get_or_create(&BlobQuestion { profile: Arc::clone(&self.profile), answered_by }).inc();
    }

    /// A pull of a cache was answered, and `work` was done for it.
    pub fn cache_answered(&self, work: CacheWork) {
        let work = match work {
            CacheWork::Healed => "healed",
            CacheWork::United => "united",
            CacheWork::Rescued => "rescued",
            CacheWork::FellBack => "fell_back",
            CacheWork::NotStored => "not_stored",
        };
        self.families.cache_answers.get_or_create(&CacheAnswer { profile: Arc::clone(&self.profile), work }).inc();
    }

    /// How many bytes of memory the index of what is there takes.
    pub fn index_held(&self, bytes: u64) {
        self.families.index_bytes.get_or_create(&Profile { profile: Arc::clone(&self.profile) }).set(gauge(bytes));
    }
}

impl Families {
    fn new(most_images: usize) -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            image_bytes: Family::default(),
            images: Mutex::default(),
            most_images,
            store_requests: Family::default(),
            store_request_seconds: Family::new_with_constructor(seconds),
            store_is_well: Family::default(),
            blob_questions: Family::default(),
            index_bytes: Family::default(),
            refreshes: Family::default(),
            cache_answers: Family::default(),
            audit_lines_lost: Counter::default(),
            memory_bytes: Gauge::default(),
            memory_held: OnceLock::new(),
        }
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("requests", "Requests of clients that were answered", self.requests.clone());
        let help = "Time from a request's head to its answer's, with the request's body between them";
        registry.register_with_unit("request", help, Unit::Seconds, self.request_seconds.clone());
        registry.register_with_unit("image", "Bytes of bodies by image", Unit::Bytes, self.image_bytes.clone());
        let help = "Requests to the store by the status of the answer; none where there was no answer";
        registry.register("store_requests", help, self.store_requests.clone());
        let help = "Time from a request to the store to the head of its answer";
        registry.register_with_unit("store_request", help, Unit::Seconds, self.store_request_seconds.clone());
        registry.register("store_up", "1 while the store answers as it should, else 0", self.store_is_well.clone());
        let help = "Questions whether a blob is there by who knew";
        registry.register("blob_questions", help, self.blob_questions.clone());
        registry.register_with_unit("index", "Memory of the index of what is there", Unit::Bytes, self.index_bytes.clone());
        registry.register("blob_refreshes", "Blobs that were to be made young again", self.refreshes.clone());
        let help = "Pulls of caches by what was done to them; one may be counted for several";
        registry.register("cache_answers", help, self.cache_answers.clone());
        registry.register("audit_lines_lost", "Lines of the audit that could not be kept", self.audit_lines_lost.clone());
        registry.register_with_unit("memory_held", "Memory of bodies on their way", Unit::Bytes, self.memory_bytes.clone());
    }

    /// The name under which `image` is counted: its own for the first ones.
    fn told_apart(&self, image: &RepoName) -> String {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if !images.contains(image) {
            if images.len() >= self.most_images {
                return OTHER_IMAGES.to_owned();
            }
            images.insert(image.clone());
        }
        image.to_string()
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn gauge(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Default for ProfileMetrics {
    /// Counts that nobody is shown.
    fn default() -> Self {
        Metrics::new(0).profile("")
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl fmt::Debug for ProfileMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProfileMetrics({})", self.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_under_its_name() {
        let metrics = Metrics::new(1);
        let profile = metrics.profile("default");

        profile.answered("get_blob", 200, Duration::from_millis(3));
        profile.store_answered("GetObject", Some(200), Duration::from_millis(2));
        profile.store_answered("GetObject", None, Duration::from_millis(2));
        profile.store_is_well(false);
        profile.blob_asked(AnsweredBy::IndexPresent);
        profile.index_held(48);
        profile.refreshed(false);
        profile.cache_answered(CacheWork::Healed);
        metrics.audit_lines_lost().inc();
        metrics.watch_memory(|| 8);

        let text = metrics.to_text();
        for line in [
            r#"longshore_requests_total{profile="default",route="get_blob",status="200"} 1"#,
            r#"longshore_request_seconds_bucket{le="0.005",profile="default",route="get_blob"} 1"#,
            r#"longshore_store_requests_total{profile="default",operation="GetObject",result="200"} 1"#,
            r#"longshore_store_requests_total{profile="default",operation="GetObject",result="none"} 1"#,
            r#"longshore_store_request_seconds_count{profile="default",operation="GetObject"} 2"#,
            r#"longshore_store_up{profile="default"} 0"#,
            r#"longshore_blob_questions_total{profile="default",answered_by="index_present"} 1"#,
            r#"longshore_index_bytes{profile="default"} 48"#,
            r#"longshore_blob_refreshes_total{profile="default",result="failed"} 1"#,
            r#"longshore_cache_answers_total{profile="default",work="healed"} 1"#,
            "longshore_audit_lines_lost_total 1",
            "longshore_memory_held_bytes 8",
        ] {
            assert!(text.lines().any(|told| told == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn no_more_images_are_told_apart_than_allowed() {
        let metrics = Metrics::new(2);
        let profile = metrics.profile("default");

        for image in ["a", "b", "c", "d", "a"] {
            profile.image_bytes(&image.parse().unwrap(), Direction::Received).inc_by(1);
        }

        let text = metrics.to_text();
        for (image, bytes) in [("a", 2), ("b", 1), ("_other", 2)] {
            let line =
                format!("longshore_image_bytes_total{{profile=\"default\",image=\"{image}\",direction=\"received\"}} {bytes}");
            assert!(text.contains(&line), "{line}\n{text}");
        }
        assert!(!text.contains("\"c\""), "{text}");
    }
}
