//! `longshore secret`: what is in the file afterwards, what is said, and what never is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use longshore::secrets::{SealKey, SealedError, SealedFile};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{Outcome, command, file, longshore, longshore_told};
use crate::support::scratch;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// A folder with a file of sealed secrets, once there is one.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: scratch("secret") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// `longshore secret WORDS --file …`, with the key and `input`.
    fn call(&self, words: &[&str], input: &str) -> Outcome {
        self.call_with(words, input, &[("LONGSHORE_SECRET_KEY", KEY)])
    }

    fn call_with(&self, words: &[&str], input: &str, variables: &[(&str, &str)]) -> Outcome {
        longshore_told(input.as_bytes(), &self.arguments(words), variables)
    }

    fn arguments<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        let path = self.path().into_os_string().into_string().expect("a plain path");
        [&["secret"], words, &["--file", path.leak()]].concat()
    }

    /// What the file holds for who has `key`.
    fn read(&self, key: &str) -> Result<BTreeMap<String, String>, SealedError> {
        let key = SealKey::from_environment(&[("LONGSHORE_SECRET_KEY", key)].into_iter().collect()).expect("a key");
        let secrets = SealedFile::new(self.path()).read(&key)?;
        Ok(secrets.into_iter().map(|(name, it)| (name.to_string(), it.value.expose_secret().to_owned())).collect())
    }

    fn names_in_folder(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name")).collect()
    }
}

fn map(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// It ended well and said this.
fn said(outcome: &Outcome) -> &str {
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    &outcome.stdout
}

#[test]
fn what_is_set_is_listed_changed_and_removed() {
    let world = World::new();
    let path = world.path().display().to_string();

    assert_eq!(said(&world.call(&["set", "TEAM_A"], "MARK one\n")), format!("TEAM_A is now in {path}\n"));
    assert_eq!(said(&world.call(&["set", "team-b.key"], "MARK two")), format!("team-b.key is now in {path}\n"));
    assert_eq!(said(&world.call(&["set", "TEAM_A"], "MARK new\r\n")), format!("TEAM_A has a new value in {path}\n"));
    assert_eq!(world.read(KEY).unwrap(), map(&[("TEAM_A", "MARK new"), ("team-b.key", "MARK two")]));

    let outcome = world.call(&["list"], "");
    assert!(outcome.stderr.contains("no configuration was read, so who uses the secrets is not known"), "{}", outcome.stderr);
    let listed = outcome.stdout;
    let names: Vec<_> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["TEAM_A", "team-b.key"]);
    assert!(listed.lines().all(|line| line.ends_with('Z')), "{listed}");
    assert!(!listed.contains("MARK"), "{listed}");

    assert_eq!(said(&world.call(&["rm", "TEAM_A"], "")), format!("TEAM_A is no longer in {path}\n"));
    assert_eq!(world.read(KEY).unwrap(), map(&[("team-b.key", "MARK two")]));
    assert_eq!(world.names_in_folder(), ["secrets"]);
}

#[test]
fn a_pair_is_set_in_one_writing_or_not_at_all() {
    let world = World::new();
    let path = world.path().display().to_string();
    world.call(&["set", "ID"], "old-id");
    let pair = &["set", "ID", "--and", "KEY"];

    for (input, message) in [
        ("MARK", "longshore: standard input must have a line for each of 2 secrets, and has 1\n"),
        ("MARK\nMARK\nMARK\n", "a line for each of 2 secrets, and has 3\n"),
        ("MARK\n\n", "the value of KEY is empty"),
    ] {
        let outcome = world.call(pair, input);
        assert!(outcome.stderr.contains(message) && !outcome.stderr.contains("MARK"), "{input:?}: {}", outcome.stderr);
        assert_eq!((outcome.status, world.read(KEY).unwrap()), (Some(2), map(&[("ID", "old-id")])), "{input:?}");
    }
    let outcome = world.call(pair, "new-id\r\nMARK\n");

    assert_eq!(said(&outcome), format!("ID has a new value in {path}\nKEY is now in {path}\n"));
    assert_eq!(world.read(KEY).unwrap(), map(&[("ID", "new-id"), ("KEY", "MARK")]));
}

#[test]
fn a_list_tells_the_profiles_that_use_a_secret() {
    let world = World::new();
    for name in ["ID", "KEY_OF_TEAM", "OTHER"] {
        said(&world.call(&["set", name], "MARK"));
    }
    let config = world.folder.path().join("config.toml");
    let text = format!(
        "[secrets]\nsources = [\"sealed:{}\"]\n[profiles.team]\nimages = [\"team/*\"]\nstore = \"s3://team-cache\"\n\
         access_key_id = \"{{{{secret:ID}}}}\"\nsecret_access_key = \"{{{{secret:KEY_OF_TEAM}}}}\"\n",
        world.path().display()
    );
    fs::write(&config, text).expect("it is written");

    let arguments = ["secret", "list", "--config", config.to_str().expect("a plain path")];
    let outcome = longshore_told(b"", &arguments, &[("LONGSHORE_SECRET_KEY", KEY)]);

    let users: Vec<_> = said(&outcome).lines().map(|line| line.rsplit("Z  ").next().unwrap_or_default()).collect();
    assert_eq!(users, ["team", "team", "no profile"]);

    let work = |words: &[&str]| {
        let arguments = [&["secret"], words, &["--config", config.to_str().expect("a plain path")]].concat();
        longshore_told(b"", &arguments, &[("LONGSHORE_SECRET_KEY", KEY)])
    };
    assert_eq!(work(&["rm", "OTHER"]).stderr, "");
    assert_eq!(work(&["rm", "ID"]).stderr, "longshore: still in use: team\n");
    let broken = work(&["list"]);
    assert!(
        broken.stderr.contains("secret ID is in none of the sources") && broken.stdout.contains("KEY_OF_TEAM"),
        "{}",
        broken.stderr
    );
    assert!(!broken.stdout.contains("no profile"), "{}", broken.stdout);
}

#[test]
fn with_another_key_all_stays_and_the_old_key_opens_nothing() {
    let world = World::new();
    world.call(&["set", "A"], "a");
    let both = [("LONGSHORE_SECRET_KEY", KEY), ("LONGSHORE_SECRET_NEW_KEY", OTHER_KEY)];

    let outcome = world.call_with(&["rekey"], "", &both);

    let told = format!(
        "{}: 1 secret is sealed with the new key, which LONGSHORE_SECRET_KEY must be from now on\n",
        world.path().display()
    );
    assert_eq!(said(&outcome), told);
    assert_eq!(said(&world.call_with(&["rekey"], "", &both)), told, "it was broken off, and is done again");
    assert_eq!(world.read(OTHER_KEY).unwrap(), map(&[("A", "a")]));
    assert!(matches!(world.read(KEY), Err(SealedError::WrongKey { .. })));
}

#[test]
fn keys_may_stand_in_files_and_gocdnexts_is_taken() {
    let world = World::new();
    let key_file = world.folder.path().join("key");
    fs::write(&key_file, format!("{KEY}\n")).expect("it is ours");
    let key_file = key_file.to_str().expect("a plain path");

    said(&world.call_with(&["set", "A"], "a", &[("GOCDNEXT_SECRET_KEY", KEY)]));
    said(&world.call_with(&["set", "B"], "b", &[("LONGSHORE_SECRET_KEY_FILE", key_file), ("GOCDNEXT_SECRET_KEY", OTHER_KEY)]));
    assert_eq!(world.read(KEY).unwrap(), map(&[("A", "a"), ("B", "b")]));

    said(&world.call_with(&["rekey"], "", &[("LONGSHORE_SECRET_KEY", KEY), ("LONGSHORE_SECRET_NEW_KEY_FILE", key_file)]));
    assert_eq!(world.read(KEY).unwrap(), map(&[("A", "a"), ("B", "b")]));

    let both = [("LONGSHORE_SECRET_KEY_FILE", key_file), ("LONGSHORE_SECRET_NEW_KEY", OTHER_KEY)];
    let told = world.call_with(&["rekey"], "", &both).stdout;
    assert!(told.ends_with(&format!("which must stand in {key_file} from now on\n")), "{told}");
}

#[test]
fn the_file_may_be_named_by_the_configuration_though_the_rest_of_that_is_wrong() {
    let world = World::new();
    let sources =
        format!("[secrets]\nsources = [\"env\", \"sealed:{}\"]\n[profiles.default]\nstore = \"s3\"\n", world.path().display());
    let (_folder, config) = file(&sources);

    for arguments in [&["secret", "set", "A", "--config", &config], &["--config", &config, "secret", "set", "B"]] {
        said(&longshore_told(b"value", arguments, &[("LONGSHORE_SECRET_KEY", KEY)]));
    }
    said(&longshore_told(b"value", &["secret", "set", "C"], &[("LONGSHORE_SECRET_KEY", KEY), ("LONGSHORE_CONFIG", &config)]));

    assert_eq!(world.read(KEY).unwrap(), map(&[("A", "value"), ("B", "value"), ("C", "value")]));
}

#[test]
fn mistakes_end_with_2_name_the_mistake_and_change_nothing() {
    let world = World::new();
    world.call(&["set", "A"], "a");
    let before = fs::read(world.path()).expect("it was set");
    let key = [("LONGSHORE_SECRET_KEY", KEY)];
    for (words, input, variables, message) in [
        (&["set", "B"][..], "", &key[..], "longshore: the value of B is empty"),
        (&["set", "B", "--and", "B"], "MARK\nMARK\n", &key, "a secret is named twice"),
        (&["set", "B"], "\n", &key, "longshore: the value of B is empty"),
        (&["set", "B"], "MARK\nMARK", &key, "longshore: the value of B has a control character in it, such as a line break"),
        (&["set", "B"], "MARK\u{0}", &key, "longshore: the value of B has a control character in it"),
        (&["set", "B"], &"MARK".repeat(20_000), &key, "longshore: the value of B is larger than 64 KiB"),
        (&["set", "B", "MARK"], "", &key, "the value of a secret is read from standard input: others can read a command line"),
        (&["set", "B", "--MARK"], "", &key, "the value of a secret is read from standard input"),
        (&["set", "B", "-MARK", "MARK"], "", &key, "the value of a secret is read from standard input"),
        (&["set", "B=MARK"], "", &key, "a secret's name is 1 to 128 letters, digits"),
        (&["rm", "MARK MARK"], "", &key, "a secret's name is 1 to 128 letters, digits"),
        (&["set"], "", &key, "<NAME>"),
        (&["rm", "B"], "", &key, "secrets: has no secret B"),
        (&["set", "B"], "b", &[], "there is no key: set LONGSHORE_SECRET_KEY or LONGSHORE_SECRET_KEY_FILE to 64"),
        (&["set", "B"], "b", &[("LONGSHORE_SECRET_KEY", "MARK")], "LONGSHORE_SECRET_KEY: a key is 64 hexadecimal digits"),
        (&["set", "B"], "b", &[("LONGSHORE_SECRET_KEY", OTHER_KEY)], "is sealed with another key than LONGSHORE_SECRET_KEY has"),
        (&["list"], "", &[("GOCDNEXT_SECRET_KEY", OTHER_KEY)], "is sealed with another key than GOCDNEXT_SECRET_KEY has"),
        (&["list"], "", &[key[0], ("LONGSHORE_SECRET_KEY_FILE", "/x")], "are both set; one of the two is enough"),
        (&["rekey"], "", &key, "there is no key: set LONGSHORE_SECRET_NEW_KEY or LONGSHORE_SECRET_NEW_KEY_FILE"),
        (&["rekey"], "", &[key[0], ("LONGSHORE_SECRET_NEW_KEY", "")], "LONGSHORE_SECRET_NEW_KEY is empty"),
    ] {
        let outcome = world.call_with(words, input, variables);

        assert!(outcome.stderr.contains(message), "{words:?}: {message}\nis not in\n{}", outcome.stderr);
        assert!(!outcome.stderr.contains("MARK") && !outcome.stderr.contains(&KEY[1..]), "{}", outcome.stderr);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{words:?}");
    }
    assert_eq!(fs::read(world.path()).expect("it is there"), before);
    assert_eq!(world.names_in_folder(), ["secrets"]);
}

#[test]
fn a_file_that_is_none_damaged_or_not_named_is_told() {
    let world = World::new();
    let absent = world.call(&["list"], "");
    fs::write(world.path(), "[secrets]\n").expect("it is ours");
    let other = world.call(&["set", "A"], "a");
    let two = file("[secrets]\nsources = [\"sealed:/a\", \"sealed:/b\"]");
    let wrong = file("[secrets]\nsources = [\"vault:a\"]");
    let unnamed = |config: &str| longshore(&["secret", "list", "--config", config], &[("LONGSHORE_SECRET_KEY", KEY)]);
    for (outcome, message) in [
        (absent, "secrets: there is no such file; longshore secret set NAME makes it"),
        (other, "secrets: is not a file of sealed secrets"),
        (unnamed(&two.1), "secrets.sources has more than one sealed:/path"),
        (unnamed(&wrong.1), "secrets.sources  line 2  \"vault:a\": a source of secrets is sealed:/path"),
        (unnamed("/no/such/file"), "--config  \"/no/such/file\" cannot be read"),
        (longshore(&["secret", "list"], &[("LONGSHORE_SECRET_KEY", KEY)]), "which file? State --file"),
        (longshore(&["secret"], &[]), "set"),
        (
            longshore(&["secret", "set", "A", "--file", "/no/such/folder/secrets"], &[("LONGSHORE_SECRET_KEY", KEY)]),
            "the value of A is empty",
        ),
        (
            longshore_told(b"a", &["secret", "set", "A", "--file", "/no/such/folder/secrets"], &[("LONGSHORE_SECRET_KEY", KEY)]),
            "/no/such/folder/secrets: cannot be written: No such file or directory",
        ),
    ] {
        assert!(outcome.stderr.contains(message), "{message}\nis not in\n{}", outcome.stderr);
        assert_eq!(outcome.status, Some(2), "{message}");
    }
    assert_eq!(fs::read(world.path()).expect("it is there"), b"[secrets]\n");
}

#[test]
fn a_new_file_is_its_owners_and_another_keeps_owner_mode_and_links() {
    let world = World::new();
    let real = world.folder.path().join("real");
    world.call(&["set", "A"], "a");
    let of = |path: &Path| fs::metadata(path).map(|it| (it.mode() & 0o777, it.uid(), it.gid())).expect("it is there");
    assert_eq!(of(&world.path()).0, 0o600);

    fs::rename(world.path(), &real).expect("it is ours");
    symlink("real", world.path()).expect("it is ours");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("it is ours");
    chown(&real, Some(1234), Some(2345)).expect("the tests run as root");
    said(&world.call(&["set", "B"], "b"));

    assert_eq!(of(&real), (0o640, 1234, 2345));
    assert!(world.path().is_symlink());
    assert_eq!(world.read(KEY).unwrap(), map(&[("A", "a"), ("B", "b")]));
}

#[test]
fn two_that_write_at_once_do_not_lose_each_others_change() {
    let world = World::new();
    let names: Vec<String> = (0..12).map(|index| format!("N{index}")).collect();

    let calls: Vec<Child> =
        names.iter().map(|name| begun(&world, &["set", name], name, &[("LONGSHORE_SECRET_KEY", KEY)])).collect();
    for call in calls {
        let output = call.wait_with_output().expect("a child of ours");
        assert!(output.status.success(), "{output:?}");
    }

    assert_eq!(world.read(KEY).unwrap(), names.iter().map(|name| (name.clone(), name.clone())).collect());
}

#[test]
fn a_terminal_does_not_show_the_value() {
    let world = World::new();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let terminal =
        File::options().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.to_bytes())).expect("it is there");
    let mut call = command(&world.arguments(&["set", "A"]), &[("LONGSHORE_SECRET_KEY", KEY)]);
    let mut child = call.stdin(Stdio::from(terminal)).spawn().expect("the program runs");
    // It holds the terminal open as well.
    drop(call);

    let mut asked = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut asked).expect("it asks");
    let mut master = File::from(master);
    master.write_all(b"MARK typed\n").expect("it reads");
    let status = child.wait().expect("a child of ours");
    let mut shown = Vec::new();
    // A terminal that nobody has open any more ends with an error.
    let _ = master.read_to_end(&mut shown);

    assert_eq!(asked, "The value of A, which is not shown, and Enter:\n");
    assert!(status.success());
    assert_eq!(String::from_utf8_lossy(&shown), "");
    assert_eq!(world.read(KEY).unwrap(), map(&[("A", "MARK typed")]));
}

/// Begins `longshore secret WORDS`, and does not wait until it has ended.
fn begun(world: &World, words: &[&str], input: &str, variables: &[(&str, &str)]) -> Child {
    let mut child = command(&world.arguments(words), variables).spawn().expect("the program runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    child
}

/// When a call is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// After so long.
    After(Duration),
    /// As soon as it writes.
    Writing,
    /// As soon as the new file is in place.
    Replaced,
}

/// How many calls are killed.
const KILLS: u32 = 100;

/// The moments for that: a third all over the time that one call `took`, the others where it counts.
fn moments(took: Duration) -> impl Iterator<Item = Moment> {
    (0..KILLS).map(move |index| match index % 3 {
        0 => Moment::After(took * index / KILLS),
        1 => Moment::Writing,
        _ => Moment::Replaced,
    })
}

/// Kills `child` at `moment`, if it lives that long.
fn kill(world: &World, mut child: Child, moment: Moment) {
    let new = world.folder.path().join(".secrets.new");
    let in_place = || fs::metadata(world.path()).expect("it is always there").ino();
    let (old, began) = (in_place(), Instant::now());
    let is_time = || match moment {
        Moment::After(time) => began.elapsed() >= time,
        Moment::Writing => new.exists(),
        Moment::Replaced => in_place() != old,
    };
    while !is_time() && child.try_wait().expect("a child of ours").is_none() {
        std::thread::yield_now();
    }
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
}

/// A world whose file takes a while to write, and what is in it.
fn large_world() -> (World, BTreeMap<String, String>) {
    let world = World::new();
    let large: Vec<_> = (0..2).map(|index| (format!("LARGE{index}"), "x".repeat(60_000))).collect();
    for (name, value) in &large {
        world.call(&["set", name], value);
    }
    (world, large.into_iter().collect())
}

#[test]
fn who_is_killed_while_setting_leaves_the_old_or_the_new_file() {
    let (world, mut secrets) = large_world();
    let began = Instant::now();
    world.call(&["set", "A"], "first");
    secrets.insert("A".into(), "first".into());
    let (mut old, mut new) = (0, 0);

    for (index, moment) in moments(began.elapsed()).enumerate() {
        let value = format!("value {index}");
        kill(&world, begun(&world, &["set", "A"], &value, &[("LONGSHORE_SECRET_KEY", KEY)]), moment);

        let left = world.read(KEY).unwrap_or_else(|error| panic!("after {index}: {error}"));
        *(if left == secrets { &mut old } else { &mut new }) += 1;
        if left != secrets {
            secrets.insert("A".into(), value);
        }
        assert!(left == secrets, "after {index}: {:?}", left.keys());
    }

    assert!(old > 0 && new > 0, "{old} and {new}");
    said(&world.call(&["set", "A"], "last"));
    assert_eq!(world.names_in_folder(), ["secrets"]);
}

#[test]
fn who_is_killed_while_rekeying_leaves_the_old_or_the_new_file() {
    let (world, secrets) = large_world();
    let (mut key, mut other) = (KEY, OTHER_KEY);
    let rekey = |key, other| [("LONGSHORE_SECRET_KEY", key), ("LONGSHORE_SECRET_NEW_KEY", other)];
    let began = Instant::now();
    said(&world.call_with(&["rekey"], "", &rekey(KEY, KEY)));
    let (mut old, mut new) = (0, 0);

    for (index, moment) in moments(began.elapsed()).enumerate() {
        kill(&world, begun(&world, &["rekey"], "", &rekey(key, other)), moment);

        match world.read(key) {
            Ok(left) => assert!(left == secrets, "after {index}: {:?}", left.keys()),
            Err(SealedError::WrongKey { .. }) => {
                let left = world.read(other).unwrap_or_else(|error| panic!("after {index}: {error}"));
                assert!(left == secrets, "after {index}: {:?}", left.keys());
                (key, other) = (other, key);
                new += 1;
                continue;
            }
            Err(error) => panic!("after {index}: {error}"),
        }
        old += 1;
    }

    assert!(old > 0 && new > 0, "{old} and {new}");
    said(&world.call_with(&["rekey"], "", &rekey(key, other)));
    assert_eq!(world.names_in_folder(), ["secrets"]);
}
