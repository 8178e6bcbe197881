use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::{Value, json};

use super::queue::{MOST_WAITING, Target};
use super::*;

const SOON: Duration = Duration::from_secs(20);

fn line() -> Line<'static> {
    Line {
        event: Event::Denied,
        identity: Some("user \"a\"\n\u{85}\u{2028}b\\".into()),
        image: Some("org/app".into()),
        bytes: Some(7),
        result: "denied",
        reason: Some("é=- x".into()),
        ..Line::default()
    }
}

fn file(path: &Path, format: Format) -> AuditFile {
    AuditFile { path: path.to_owned(), format }
}

fn kept(audit: &Audit, path: &Path, format: Format) -> Queueing {
    let kept = audit.open(Some(&file(path, format))).unwrap();
    audit.put_in_force(kept);
    Queueing(audit.clone())
}

/// An audit whose lines are waited for.
struct Queueing(Audit);

impl Queueing {
    fn settle(&self) {
        assert!(self.0.file().unwrap().queue.settle(SOON));
    }
}

#[test]
fn a_line_is_one_line_with_the_same_fields_in_the_same_order() {
    for line in [line(), Line::default()] {
        let text = line.written(Format::Text);
        let json: Value = serde_json::from_str(&line.written(Format::Json)).unwrap();

        assert_eq!(text.matches(|c: char| c.is_control() || c == '\u{2028}').count(), 1, "{text:?}");
        assert_eq!(json.as_object().unwrap().len(), line.fields().len());
        for (key, value) in line.fields().into_iter().skip(1) {
            assert_eq!(json[key], value, "{key}");
        }
    }
    let text = line().written(Format::Text);
    let rest = text.split_once("Z\" ").unwrap().1;
    assert_eq!(
        rest,
        "event=\"denied\" identity=\"user \\\"a\\\"\\n\\u0085\\u2028b\\\\\" profile=- image=\"org/app\" tag=- digest=- bytes=7 \
         verb=- result=\"denied\" reason=\"é=- x\" changed=-\n"
    );
}

#[test]
fn no_value_is_longer_than_it_is_worth() {
    let long = Line { reason: Some("ä".repeat(5000).into()), ..Line::default() };
    let json: Value = serde_json::from_str(&long.written(Format::Json)).unwrap();

    assert_eq!(json["reason"], "ä".repeat(1000) + "…");
}

#[test]
fn a_file_is_added_to_and_only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let mask = Mask::default();
    mask.add(&"MARK\"ed".into());
    let audit = Audit::new(mask, Counter::default());
    let told = |reason: &'static str| Line { reason: Some(reason.into()), ..Line::default() };

    let queueing = kept(&audit, &path, Format::Json);
    audit.tell(&told("it was MARK\"ed so"));
    queueing.settle();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // A process that died has left half a line.
    fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"time\"").unwrap();
    let next = Audit::new(Mask::default(), Counter::default());
    let queueing = kept(&next, &path, Format::Json);
    next.tell(&told("second"));
    queueing.settle();

    let lines: Vec<_> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let reason = |line: &str| serde_json::from_str::<Value>(line).unwrap()["reason"].clone();
    assert_eq!([reason(&lines[0]), reason(&lines[2])], [json!("it was *** so"), json!("second")]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640, "the mode that it has stays");
    let fresh = folder.path().join("fresh");
    kept(&audit, &fresh, Format::Text).settle();
    assert_eq!(fs::metadata(&fresh).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let audit = Audit::default();
    let queueing = kept(&audit, &path, Format::Text);
    let tell = |reason: &'static str| {
        audit.tell(&Line { reason: Some(reason.into()), ..Line::default() });
        queueing.settle();
    };

    tell("first");
    fs::rename(&path, &old).unwrap();
    tell("second");
    fs::remove_file(&path).unwrap();
    tell("third");
    // Where no new one can be made the old one goes on.
    fs::rename(&path, folder.path().join("audit.log.2")).unwrap();
    fs::create_dir(&path).unwrap();
    tell("fourth");

    let reasons = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split("reason=").nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&old), ["\"first\" changed=-"]);
    assert_eq!(reasons(&folder.path().join("audit.log.2")), ["\"third\" changed=-", "\"fourth\" changed=-"]);
}

#[test]
fn a_file_that_cannot_be_opened_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let audit = Audit::default();
    let queueing = kept(&audit, &path, Format::Text);

    assert!(audit.open(Some(&file(&folder.path().join("no/audit.log"), Format::Text))).is_err());
    assert!(audit.open(Some(&file(folder.path(), Format::Text))).is_err());
    audit.tell(&Line::default());
    queueing.settle();

    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

/// Keeps lines once it is let, and fails while it is to.
struct Stubborn {
    turns: Receiver<bool>,
    kept: Arc<Mutex<Vec<String>>>,
}

impl Target for Stubborn {
    fn keep(&mut self, line: &str) -> io::Result<()> {
        if !self.turns.recv().unwrap_or(true) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.kept.lock().unwrap().push(line.to_owned());
        Ok(())
    }
}

#[test]
fn what_cannot_be_kept_is_counted_and_holds_up_nobody() {
    let (turn, turns) = sync_channel(MOST_WAITING * 2);
    let (counter, kept) = (Counter::default(), Arc::default());
    let target = Stubborn { turns, kept: Arc::clone(&kept) };
    let queue = Queue::before(target, "x".into(), counter.clone(), |lines| format!("gap of {lines}")).unwrap();

    // It takes none: one is in its hands at most, and as many as may wait.
    for number in 0..MOST_WAITING + 11 {
        queue.keep(number.to_string());
    }
    assert!((10..=11).contains(&counter.get()), "{}", counter.get());
    let lost = counter.get();
    assert!(!queue.settle(Duration::ZERO));

    // Its disk is full for two, and then it takes all of them.
    for is_kept in [false, false] {
        turn.send(is_kept).unwrap();
    }
    drop(turn);
    assert!(queue.settle(SOON));
    assert_eq!(counter.get(), lost + 2);
    let kept = kept.lock().unwrap();
    assert_eq!(kept[0], format!("gap of {}", lost + 2));
    assert_eq!((kept[1].as_str(), kept.len() as u64), ("2", MOST_WAITING as u64 + 11 - lost - 2 + 1));
}
