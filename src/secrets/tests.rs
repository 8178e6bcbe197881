use std::fs::{remove_file, write};

use super::*;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Secrets of a folder `secrets` and a file `sealed` in `folder`, then of the environment.
struct World {
    folder: tempfile::TempDir,
    environment: Environment,
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        let environment = variables.iter().chain(&[("LONGSHORE_SECRET_KEY", KEY)]).copied().collect();
        Self { folder, environment }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn seal(&self, name: &str, text: &str) {
        let key = SealKey::from_environment(&self.environment).unwrap();
        let value = value(text.as_bytes()).unwrap();
        SealedFile::new(self.path("sealed")).set(&key, vec![(name.parse().unwrap(), value)]).unwrap();
    }

    /// `sources` with their paths in the folder.
    fn open(&self, sources: &[&str]) -> Result<Secrets, Vec<String>> {
        let at = |source: &&str| source.replace('@', &format!("{}/", self.folder.path().display())).parse().unwrap();
        let opened = Secrets::open(sources.iter().map(at).collect(), self.environment.clone());
        opened.map_err(|mistakes| self.told(&mistakes))
    }

    fn told(&self, mistakes: &[Mistake]) -> Vec<String> {
        mistakes.iter().map(|mistake| mistake.to_string().replace(self.folder.path().to_str().unwrap(), "@")).collect()
    }
}

fn get(secrets: &Secrets, name: &str) -> Result<String, String> {
    let value = secrets.get(&name.parse().unwrap());
    value.map(|value| value.expose_secret().to_owned()).map_err(|error| error.to_string())
}

#[test]
fn the_first_source_that_has_a_name_decides() {
    let world = World::new(&[("LONGSHORE_SECRET_A", "of env"), ("LONGSHORE_SECRET_B", "of env")]);
    world.seal("A", "of sealed");
    write(world.path("secrets/A"), "of dir").unwrap();
    write(world.path("single"), "of file").unwrap();
    for (sources, a) in [
        (&["sealed:@sealed", "env", "dir:@secrets", "file:A=@single"][..], "of sealed"),
        (&["env", "sealed:@sealed", "dir:@secrets"], "of env"),
        (&["dir:@secrets", "env"], "of dir"),
        (&["file:A=@single", "sealed:@sealed"], "of file"),
    ] {
        assert_eq!(get(&world.open(sources).unwrap(), "A").as_deref(), Ok(a), "{sources:?}");
    }
    assert_eq!(get(&world.open(&["dir:@secrets", "env"]).unwrap(), "B").as_deref(), Ok("of env"));
}

#[test]
fn a_value_that_cannot_be_used_is_told_to_who_refers_to_it_and_nothing_stands_in_for_it() {
    let world = World::new(&[("LONGSHORE_SECRET_EMPTY", ""), ("LONGSHORE_SECRET_A", "a"), ("LONGSHORE_SECRET_ACCESS_KEY", "no")]);
    for (name, bytes) in [("LINES", &b"MARK\nMARK"[..]), ("A", b"\n"), ("BYTES", b"MARK\xff")] {
        write(world.path("secrets").join(name), bytes).unwrap();
    }

    let secrets = world.open(&["dir:@secrets", "env"]).unwrap();

    let dir = format!("dir:{}", world.path("secrets").display());
    for (name, told) in [
        ("A", format!("secret A, from {dir}, is empty")),
        ("LINES", format!("secret LINES, from {dir}, has a control character in it, such as a line break")),
        ("BYTES", format!("secret BYTES, from {dir}, is not UTF-8")),
        ("EMPTY", "secret EMPTY, from env, is empty".into()),
        ("NONE", "secret NONE is in none of the sources".into()),
        (
            "ACCESS_KEY",
            "secret ACCESS_KEY is in none of the sources, and the environment cannot have it: \
             LONGSHORE_SECRET_ACCESS_KEY means something else"
                .into(),
        ),
    ] {
        assert_eq!(get(&secrets, name), Err(told));
    }
}

#[test]
fn every_source_that_cannot_be_read_is_told_at_once() {
    let world = World::new(&[]);
    write(world.path("plain"), "MARK").unwrap();

    let mistakes = world.open(&["sealed:@nowhere", "env", "sealed:@plain", "dir:@nowhere", "file:A=@nowhere"]).unwrap_err();

    assert_eq!(
        mistakes,
        [
            "sealed:@/nowhere: there is no such file; longshore secret set NAME makes it",
            "sealed:@/plain: is not a file of sealed secrets",
            "dir:@/nowhere: No such file or directory (os error 2)",
            "file:A=@/nowhere: No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn a_key_that_is_wrong_or_missing_opens_nothing() {
    let mut world = World::new(&[]);
    world.seal("A", "a");

    world.environment = [("LONGSHORE_SECRET_KEY", "f".repeat(64))].into_iter().collect();
    assert_eq!(
        world.open(&["sealed:@sealed"]).unwrap_err(),
        ["sealed:@/sealed: is sealed with another key than LONGSHORE_SECRET_KEY has"]
    );
    world.environment = Environment::default();
    assert!(world.open(&["sealed:@sealed"]).unwrap_err()[0].starts_with("sealed:@/sealed: there is no key: set LONGSHORE_"));
}

#[test]
fn a_reload_puts_all_that_has_changed_in_force_and_tells_the_names() {
    let world = World::new(&[]);
    for (name, text) in [("KEPT", "k"), ("CHANGED", "old"), ("REMOVED", "r")] {
        write(world.path("secrets").join(name), text).unwrap();
    }
    world.seal("SEALED", "old");
    let secrets = world.open(&["dir:@secrets", "sealed:@sealed"]).unwrap();
    let seen_elsewhere = secrets.clone();
    assert_eq!(secrets.reload(), Ok(Changes::default()));

    write(world.path("secrets/CHANGED"), "new").unwrap();
    write(world.path("secrets/ADDED"), "a").unwrap();
    remove_file(world.path("secrets/REMOVED")).unwrap();
    world.seal("SEALED", "new");
    let changes = secrets.reload().unwrap();

    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<SecretName>>();
    let expected = Changes { added: names(&["ADDED"]), changed: names(&["CHANGED", "SEALED"]), removed: names(&["REMOVED"]) };
    assert_eq!(changes, expected);
    assert_eq!(get(&seen_elsewhere, "CHANGED").as_deref(), Ok("new"));
    assert!(get(&seen_elsewhere, "REMOVED").is_err());
}

#[test]
fn a_reload_with_one_mistake_changes_nothing() {
    let world = World::new(&[]);
    write(world.path("secrets/A"), "a").unwrap();
    write(world.path("secrets/B"), "b").unwrap();
    world.seal("SEALED", "old");
    let secrets = world.open(&["dir:@secrets", "sealed:@sealed"]).unwrap();
    let whole = std::fs::read(world.path("sealed")).unwrap();
    write(world.path("secrets/A"), "new").unwrap();

    write(world.path("sealed"), &whole[..whole.len() / 2]).unwrap();
    let cut = world.told(&secrets.reload().unwrap_err());
    write(world.path("sealed"), &whole).unwrap();
    write(world.path("secrets/B"), "").unwrap();
    let emptied = world.told(&secrets.reload().unwrap_err());

    assert_eq!(cut, ["sealed:@/sealed: is damaged: it is not what was written; put back a copy of it"]);
    assert_eq!(emptied, ["secret B, from dir:@/secrets, is empty"]);
    assert_eq!([get(&secrets, "A"), get(&secrets, "B"), get(&secrets, "SEALED")].map(Result::unwrap), ["a", "b", "old"]);
    write(world.path("secrets/B"), "b").unwrap();
    assert_eq!(secrets.reload().unwrap().changed, ["A".parse().unwrap()]);
}

#[test]
fn what_is_read_anew_is_in_force_only_once_it_is_adopted() {
    let world = World::new(&[]);
    write(world.path("secrets/A"), "a").unwrap();
    let secrets = world.open(&["dir:@secrets"]).unwrap();
    write(world.path("secrets/A"), "new").unwrap();

    let next = secrets.reread().unwrap();

    assert_eq!([get(&secrets, "A"), get(&next, "A")].map(Result::unwrap), ["a", "new"]);
    assert_eq!(secrets.adopt(&next).changed, ["A".parse().unwrap()]);
    assert_eq!(get(&secrets, "A").as_deref(), Ok("new"));
}

#[test]
fn what_is_looked_up_at_one_moment_is_of_that_moment() {
    let world = World::new(&[]);
    write(world.path("secrets/A"), "a").unwrap();
    let secrets = world.open(&["dir:@secrets"]).unwrap();
    let moment = secrets.now();

    write(world.path("secrets/A"), "new").unwrap();
    secrets.reload().unwrap();

    assert_eq!([get(&moment, "A"), get(&secrets, "A")].map(Result::unwrap), ["a", "new"]);
}

#[test]
fn the_files_that_values_depend_on_are_told() {
    let world = World::new(&[]);
    world.seal("S", "s");
    write(world.path("secrets/A"), "a").unwrap();
    write(world.path("single"), "a").unwrap();

    let files = world.open(&["sealed:@sealed", "env", "dir:@secrets", "file:B=@single"]).unwrap().files();

    for name in ["sealed", "secrets", "secrets/A", "single"] {
        assert!(files.contains(&world.path(name)), "{name}: {files:?}");
    }
}

#[test]
fn a_file_that_everybody_may_read_is_exposed() {
    let world = World::new(&[]);
    let path = world.path("file");
    write(&path, "").unwrap();
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (directory, mode, exposed) in
        [(0o755, 0o600, false), (0o755, 0o640, false), (0o755, 0o644, true), (0o711, 0o604, true), (0o750, 0o644, false)]
    {
        allow(world.folder.path(), directory);
        allow(&path, mode);
        assert_eq!(is_exposed(&path), exposed, "{directory:o} {mode:o}");
    }
    assert!(!is_exposed(Path::new("/no/such/file")));
}

#[test]
fn plain_files_that_others_may_read_are_told_and_sealed_ones_are_not() {
    let mut world = World::new(&[]);
    world.seal("S", "s");
    for (name, text) in [("secrets/A", "a"), ("secrets/B", "b"), ("single", "a"), ("key", KEY)] {
        write(world.path(name), text).unwrap();
        std::fs::set_permissions(world.path(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    std::fs::set_permissions(world.path("secrets/B"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(world.path("sealed"), std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(world.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.environment = [("LONGSHORE_SECRET_KEY_FILE", world.path("key"))].into_iter().collect();

    let exposed = world.open(&["sealed:@sealed", "dir:@secrets", "file:B=@single"]).unwrap().exposed();

    assert_eq!(exposed, [world.path("key"), world.path("secrets/A"), world.path("single")]);
}

#[test]
fn nothing_of_a_value_is_printed() {
    let secrets = Secrets::of([("A", "MARK")]);

    assert!(!format!("{secrets:?} {:?}", secrets.get(&"A".parse().unwrap())).contains("MARK"));
}
