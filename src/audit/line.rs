//! A line: the same fields in the same order, whatever it is about.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::{Format, TARGET};

/// Most characters of a value: some of them come from elsewhere.
const MAX_CHARACTERS: usize = 1000;

/// Something that was done, or was to be done. What is not known of it, or makes no sense for it, is left out.
#[derive(Clone, Debug, Default)]
pub struct Line<'a> {
    /// What happened.
    pub event: Event,
    /// Who it was; of a login that is refused, what they showed.
    pub identity: Option<Cow<'a, str>>,
    /// The profile that the image belongs to.
    pub profile: Option<Cow<'a, str>>,
    /// The image, as the client calls it.
    pub image: Option<Cow<'a, str>>,
    /// The tag; several with spaces between.
    pub tag: Option<Cow<'a, str>>,
    /// The digest of a blob or manifest.
    pub digest: Option<Cow<'a, str>>,
    /// How many bytes the request brought.
    pub bytes: Option<u64>,
    /// What was to be done and was denied, in the words of grants.
    pub verb: Option<Cow<'a, str>>,
    /// What came of it.
    pub result: &'static str,
    /// Why; of a denial the rule that decides.
    pub reason: Option<Cow<'a, str>>,
    /// What a reload has changed: `+NAME` and `-NAME` for profiles, `secret:NAME`, `grants:COUNT`, with spaces between.
    pub changed: Option<Cow<'a, str>>,
    /// Whether it happens to everybody all the time, so that a log is only to have it where it is to have everything.
    pub is_routine: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    /// Something was pushed.
    #[default]
    Write,
    /// Something was removed.
    Delete,
    /// Somebody may not do what they asked for.
    Denied,
    /// Somebody said who they are.
    Login,
    /// Settings were to be put in force.
    Reload,
    /// Lines are missing here.
    Loss,
}

impl Event {
    fn word(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Denied => "denied",
            Self::Login => "login",
            Self::Reload => "reload",
            Self::Loss => "loss",
        }
    }
}

impl Line<'_> {
    /// What stands in place of `lines` that could not be kept.
    pub(super) fn of_loss(lines: u64) -> Self {
        Self {
            event: Event::Loss,
            result: "lost",
            reason: Some(format!("{lines} lines could not be kept").into()),
            ..Self::default()
        }
    }

    /// The line in a file, with its end.
    pub(super) fn written(&self, format: Format) -> String {
        let fields = self.fields();
        let fields = fields.iter().map(|(key, value)| match (format, value) {
            (Format::Text, Value::Null) => format!("{key}=-"),
            (Format::Text, value) => format!("{key}={}", on_one_line(value)),
            (Format::Json, value) => format!("\"{key}\":{}", on_one_line(value)),
        });
        let fields: Vec<String> = fields.collect();
        match format {
            Format::Text => format!("{}\n", fields.join(" ")),
            Format::Json => format!("{{{}}}\n", fields.join(",")),
        }
    }

    pub(super) fn fields(&self) -> [(&'static str, Value); 12] {
        let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| Value::from(bounded(text))).into();
        [
            ("time", now().into()),
            ("event", self.event.word().into()),
            ("identity", text(&self.identity)),
            ("profile", text(&self.profile)),
            ("image", text(&self.image)),
            ("tag", text(&self.tag)),
            ("digest", text(&self.digest)),
            ("bytes", self.bytes.into()),
            ("verb", text(&self.verb)),
            ("result", self.result.into()),
            ("reason", text(&self.reason)),
            ("changed", text(&self.changed)),
        ]
    }

    /// Tells it in the log, which has the time and leaves out what is not known.
    pub(super) fn log(&self) {
        let Self { event, bytes, result, .. } = self;
        let text = |text: &'_ Option<Cow<'_, str>>| text.as_deref().map(bounded);
        let [identity, profile, image, tag] = [&self.identity, &self.profile, &self.image, &self.tag].map(text);
        let [digest, verb, reason, changed] = [&self.digest, &self.verb, &self.reason, &self.changed].map(text);
        let event = event.word();
        macro_rules! tell {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET, $level, event, identity, profile, image, tag, digest, bytes, verb, result, reason, changed
                )
            };
        }
        if self.is_routine { tell!(tracing::Level::DEBUG) } else { tell!(tracing::Level::INFO) }
    }
}

/// The time now, as the log has it.
fn now() -> String {
    let mut text = String::new();
    // A text takes whatever is written into it.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

/// As much of `text` as a line has room for.
fn bounded(text: &str) -> String {
    let mut characters = text.chars();
    let mut bounded: String = characters.by_ref().take(MAX_CHARACTERS).collect();
    if characters.next().is_some() {
        bounded.push('…');
    }
    bounded
}

/// `value` as JSON has it, with nothing in it that anybody could take for the end of a line.
fn on_one_line(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        // JSON lets these stand.
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}
