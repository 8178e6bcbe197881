use secrecy::ExposeSecret;

use super::*;
use crate::credentials::Source;
use crate::secrets::Template;

/// The configuration of these flags, by their words, these variables and this file; or all that is wrong, as it is told.
pub fn loaded(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<Config, String> {
    let mut sources = Sources::default();
    for (word, value) in flags {
        let setting = SETTINGS.iter().find(|setting| setting.word == *word).expect(word);
        sources.flags.state(setting, vec![(*value).into()]);
    }
    sources.environment = [("HOME", "/home/user")].iter().chain(variables).copied().collect();
    sources.file = Some(File { path: "config.toml".into(), text: file.into(), is_exposed: false });
    load(&sources).map_err(|problems| problems.to_string())
}

/// What the store may cost when nobody says anything.
fn limits() -> StoreLimits {
    StoreLimits {
        upload_memory: 64 << 20,
        patience: Duration::from_mins(3),
        max_requests: 256,
        index_memory: 16 << 20,
        index_ttl: Duration::from_mins(10),
        touch_after: DAY * 3,
        grace: DAY * 7,
    }
}

#[test]
fn nothing_stated_is_a_folder_served_on_loopback() {
    let config = loaded(&[], &[], "").unwrap();

    assert_eq!(config.server.listeners, host::listeners("localhost:5000").unwrap());
    assert_eq!(config.server.admin_listeners, []);
    assert_eq!(config.server.hosts, [""; 0]);
    assert_eq!(config.server.drain, Duration::from_mins(2));
    assert_eq!((config.server.max_connections, config.server.metrics_images), (4096, 100));
    assert_eq!(config.access.anonymous, Anonymous::Write);
    assert_eq!(config.store, limits());
    assert_eq!(config.log, Log { format: LogFormat::Text, level: LogLevel::Info });
    assert_eq!(config.profiles[0].store.to_string(), "folder /home/user/.cache/longshore");
}

#[test]
fn a_flag_goes_before_a_variable_and_that_before_the_file() {
    let (flag, variable) = (&[("drain", "1s")], &[("LONGSHORE_DRAIN", "2s")]);
    let file = "[server]\ndrain = \"3s\"";
    for (flags, variables, file, seconds) in
        [(&flag[..], &variable[..], file, 1), (&[], variable, file, 2), (&[], &[], file, 3), (&[], &[], "", 120)]
    {
        assert_eq!(loaded(flags, variables, file).unwrap().server.drain, Duration::from_secs(seconds));
    }
}

#[test]
fn every_scalar_is_read_from_the_file() {
    let config = loaded(
        &[],
        &[],
        r#"
        [server]
        listen = ["0.0.0.0:80", "[::]:0"]
        admin_listen = ["127.0.0.1:9090"]
        hosts = ["Longshore.ci.svc", "10.0.0.7"]
        max_connections = 100
        metrics_images = 0
        [access]
        anonymous = "read"
        [store]
        upload_memory = "1GiB"
        patience = "1m30s"
        max_requests = 64
        index_memory = "2MiB"
        index_ttl = "1m"
        touch_after = "1d"
        grace = "3d"
        [secrets]
        sources = ["env", "dir:/"]
        [log]
        format = "json"
        level = "trace"
        [profiles.default]
        store = "s3"
        bucket = "ci-cache"
        prefix = "team/"
        region = "eu-central-1"
        endpoint = "https://objects.example"
        path_style = false
        access_key_id = "id"
        secret_access_key = "secret"
        session_token = "token"
        "#,
    )
    .unwrap();

    let addresses: Vec<String> = config.server.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:80", "[::]:0"]);
    assert_eq!(config.server.admin_listeners, host::listeners("127.0.0.1:9090").unwrap());
    assert_eq!(config.server.hosts, ["longshore.ci.svc", "10.0.0.7"]);
    assert_eq!((config.server.max_connections, config.server.metrics_images), (100, 0));
    assert_eq!(config.access.anonymous, Anonymous::Read);
    let expected = StoreLimits {
        upload_memory: 1 << 30,
        patience: Duration::from_secs(90),
        max_requests: 64,
        index_memory: 2 << 20,
        index_ttl: Duration::from_mins(1),
        touch_after: DAY,
        grace: DAY * 3,
    };
    assert_eq!(config.store, expected);
    assert_eq!(config.log, Log { format: LogFormat::Json, level: LogLevel::Trace });
    let Store::S3(s3) = &config.profiles[0].store else { panic!("a folder") };
    assert_eq!(s3.to_string(), "s3://ci-cache/team, region eu-central-1, at https://objects.example");
    assert!(!s3.path_style);
    let Source::Static { access_key_id, secret_access_key, session_token } = &s3.credentials else { panic!("no keys") };
    let text = |template: &Template| template.text().unwrap().expose_secret().to_owned();
    assert_eq!([text(access_key_id), text(secret_access_key)], ["id", "secret"]);
    assert_eq!(text(session_token.as_ref().unwrap()), "token");
}

#[test]
fn what_comes_from_several_sources_is_told_by_the_names_they_use() {
    let problems = loaded(
        &[("drain", "5")],
        &[("LONGSHORE_PATIENCE", "0s"), ("LONGSHORE_LOG_LEVEL", ""), ("LONGSHORE_BUKET", "b")],
        "[store]\nupload_memory = 5\n\n[server]\nlisten = [\n  \"127.0.0.1:1\",\n  \"nowhere\",\n]\n[profiles.ci]\n[profiles.default]\nstroe = \"s3\"\n",
    );

    assert_eq!(
        problems.unwrap_err(),
        r#"command line: 1 problem
  --drain  "5": a time is a whole number and its unit, such as 90s, 3m, 24h or 1m30s; the units are s, m, h and d
environment: 3 problems
  LONGSHORE_BUKET      there is no such variable; did you mean LONGSHORE_BUCKET?
  LONGSHORE_LOG_LEVEL  is empty; give it a value or take it away
  LONGSHORE_PATIENCE   "0s": must be at least 1s
config.toml: 3 problems
  store.upload_memory     line 2   must be a text with a unit, such as "64MiB", not a number
  server.listen           line 7   "nowhere": is an address and a port, such as 127.0.0.1:5000, [::1]:5000 or localhost:5000
  profiles.default.stroe  line 11  there is no such key; did you mean store?
configuration: 1 problem
  profiles.ci.store  nothing says where to keep the bytes: state a folder or a bucket"#
    );
}

#[test]
fn a_layer_in_use_outlasts_a_build_before_it_could_be_removed() {
    let file = |grace| format!("[store]\nindex_ttl = \"1h\"\ntouch_after = \"2d\"\ngrace = \"{grace}\"");

    let refused = loaded(&[], &[], &file("73h")).unwrap_err();

    assert!(loaded(&[], &[], &file("74h")).is_ok());
    let expected =
        "store.grace  line 4  must be more than 3d1h, which is store.touch_after, store.index_ttl and 24h for a build together";
    assert!(refused.contains(expected), "{refused}");
    let unstated = loaded(&[("touch-after", "6d")], &[], "").unwrap_err();
    assert!(unstated.contains("must be more than 7d10m,"), "{unstated}");
}

#[test]
fn sources_of_secrets_are_told_apart_from_whatever_else_is_wrong() {
    let sources = |text: &str| {
        let file = Some(File { path: "config.toml".into(), text: text.into(), is_exposed: false });
        let environment = [("LONGSHORE_BUKET", "b")].into_iter().collect();
        let found = secret_sources(&Sources { file, environment, ..Sources::default() });
        found.map(|sources| sources.len()).map_err(|problems| problems.to_string())
    };

    assert_eq!(sources("[server]\ndrain = 5\n[secrets]\nsources = [\"env\", \"dir:/run/secrets\"]"), Ok(2));
    assert_eq!(sources(""), Ok(1));
    for (text, told) in [
        ("[secrets]\nsources = [\"vault:x\"]", "secrets.sources  line 2  \"vault:x\": a source of secrets is sealed:/path"),
        ("[secrets]\nsources = 1", "secrets.sources  line 2  must be a list of texts, not a number"),
        ("[secrets]\nsources = []", "secrets.sources  line 2  is empty; name at least one"),
        ("[secrets", "not TOML"),
    ] {
        let refused = sources(text).unwrap_err();
        assert!(refused.contains(" 1 problem\n") && refused.contains(told), "{refused}");
    }
}

#[test]
fn a_mistake_shows_even_where_another_source_decides() {
    let problems = loaded(&[("drain", "5s")], &[], "[server]\ndrain = \"5\"").unwrap_err();

    assert!(problems.contains("server.drain  line 2"), "{problems}");
}

#[test]
fn nothing_that_is_told_or_printed_holds_a_secret() {
    const S3: &str = "[access]\nanonymous = \"write\"\n[profiles.default]\nbucket = \"ci-cache\"\n";
    let env = |name| vec![(name, "MARK MARK")];
    for (variables, file) in [
        (vec![("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "MARK"), ("AWS_SESSION_TOKEN", "MARK")], ""),
        (vec![], "access_key_id = \"id\"\nsecret_access_key = \"MARK\"\nsession_token = \"MARK\""),
        (env("LONGSHORE_SECRET_ACCESS_KEY"), ""),
        (env("LONGSHORE_ACCESS_KEY_ID"), ""),
        (env("LONGSHORE_SESSION_TOKEN"), ""),
        (env("AWS_SECRET_ACCESS_KEY"), ""),
        (env("LONGSHORE_SECRET_ACESS_KEY"), ""),
        (env("LONGSHORE_ACCESS_KEY"), ""),
        (vec![("LONGSHORE_ENDPOINT", "https://user:MARK@host")], ""),
        (vec![("AWS_ENDPOINT_URL", "https://user:MARK@host")], ""),
        (vec![("LONGSHORE_STORE", "s3://user:MARK@ci-cache/x")], ""),
        (vec![], "secret_access_key = \"MARK\""),
        (vec![], "secret_access_key = \"MARK\"\ncredentials = \"default\""),
        (vec![], "secret_access_key = \"MARK"),
        (vec![], "secret_access_key = MARK"),
        (vec![], "secret_access_key = \"\\MARK\""),
        (vec![], "secret_access_key = \"MARK\" MARK"),
        (vec![], "secret_access_key = \"MARK\"\nsecret_access_key = \"MARK\""),
        (vec![], "secret_access_key = [\"MARK\"]"),
        (vec![], "secret_access_key = { value = \"MARK\" }"),
        (vec![], "secret_access_key = \"{{MARK}}\""),
        (vec![], "secret_key = \"MARK\""),
    ] {
        let told = match loaded(&[], &variables, &format!("{S3}{file}")) {
            Ok(config) => format!("{config:?} {}", config.profiles[0].store),
            Err(problems) => problems,
        };
        assert!(!told.contains("MARK"), "{told}");
    }
}
