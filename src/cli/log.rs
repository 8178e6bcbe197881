//! The log, on standard error, and what must not show there or anywhere else.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write, stderr};
use std::sync::LazyLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, LogLevel};
use crate::secrets::Mask;

use super::complain;

/// A process has one log, one pair of outputs, and one hook for panics; so it has one mask over them.
static MASK: LazyLock<Mask> = LazyLock::new(Mask::default);

/// What no output of this process shows.
pub(super) fn mask() -> &'static Mask {
    &MASK
}

/// From now on a panic says no secret either.
pub(super) fn mask_panics() {
    std::panic::set_hook(Box::new(|panic| {
        complain(&format_args!("longshore {panic}"));
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            complain(&trace);
        }
    }));
}

/// Our own events at the level asked for; what libraries say only from warnings
/// up, since it is neither about what we do nor checked for secrets.
pub(super) fn start(log: Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let targets = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("longshore", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Masked(stderr())).with_ansi(stderr().is_terminal());
    let log_to = tracing_subscriber::registry().with(targets);
    match log.format {
        LogFormat::Text => log_to.with(lines).init(),
        LogFormat::Json => log_to.with(lines.json()).init(),
    }
}

/// What further lines of an event begin with.
const INDENT: &[u8] = b"    ";

/// An event whose further lines, if it has any, cannot be taken for other events: some of it may come from elsewhere.
fn one(event: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = event.split_at(event.len() - usize::from(event.ends_with(b"\n")));
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return event.into();
    }
    let lines: Vec<&[u8]> = text.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
    [&lines.join(&[b"\n", INDENT].concat()[..]), end].concat().into()
}

/// Writes what it is given under the mask. The log hands over an event as a whole.
struct Masked<W>(W);

impl<W: Write> Write for Masked<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(&one(&mask().apply_to_bytes(event)))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What was written, by all who write.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Masked<Self>;

        fn make_writer(&'a self) -> Self::Writer {
            Masked(self.clone())
        }
    }

    #[test]
    fn a_panic_says_no_secret() {
        let this = std::env::current_exe().unwrap();
        let words = ["--exact", "cli::log::tests::panics_with_a_secret", "--ignored", "--nocapture"];

        let output = std::process::Command::new(this).args(words).env("RUST_BACKTRACE", "1").output().unwrap();

        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("longshore panicked at src/cli/log.rs:") && told.contains("it was ***!"), "{told}");
        assert!(told.contains("panics_with_a_secret") && !told.contains("MARK"), "{told}");
    }

    #[test]
    #[ignore = "a_panic_says_no_secret runs it, in a process of its own"]
    fn panics_with_a_secret() {
        mask().add(&"MARK panic-test".into());
        mask_panics();
        panic!("it was {}!", "MARK panic-test");
    }

    #[test]
    fn no_event_looks_like_two() {
        let text = Lines::default();
        let to = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_writer(text.clone()).with_ansi(false));

        tracing::subscriber::with_default(to, || tracing::warn!(error = %"x\n2026 INFO forged\r2026 INFO too", "a\nb"));

        let told = String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
        assert!(told.contains("a\n    b") && told.ends_with("too\n"), "{told}");
        assert!(told.split(['\n', '\r']).skip(1).all(|line| line.is_empty() || line.starts_with("    ")), "{told:?}");
    }

    #[test]
    fn an_event_is_masked_in_messages_fields_and_spans_in_either_format() {
        // The mask is that of the whole process, so the value is one that no other test has.
        mask().add(&"MARK \"of\" log-test".into());
        let (text, json) = (Lines::default(), Lines::default());
        let both = tracing_subscriber::registry()
            .with(tracing_subscriber::fmt::layer().with_writer(text.clone()).with_ansi(true))
            .with(tracing_subscriber::fmt::layer().with_writer(json.clone()).json());

        tracing::subscriber::with_default(both, || {
            let value = "MARK \"of\" log-test";
            let _span = tracing::info_span!("request", value, debug = ?value).entered();
            tracing::info!(value, debug = ?Some(value), json = %serde_json::json!({"a": value}), "{value}");
        });

        for lines in [text, json] {
            let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            assert!(told.contains("***") && !told.contains("MARK") && !told.contains("log-test"), "{told}");
        }
    }
}
