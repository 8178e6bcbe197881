use super::*;
use crate::config::Config;
use crate::config::tests::loaded;

/// With keys and a word on access, so that only the store is left to be told.
fn stored(flags: &[(&str, &str)], variables: &[(&str, &str)], file: &str) -> Result<String, String> {
    let others = [("LONGSHORE_ANONYMOUS", "write"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let variables: Vec<_> = others.iter().chain(variables).copied().collect();
    loaded(flags, &variables, file).map(|Config { profiles, .. }| profiles[0].store.to_string())
}

#[test]
fn one_word_is_a_whole_store() {
    for (word, store) in [
        ("/some/dir", "folder /some/dir"),
        ("./dir", "folder ./dir"),
        (".", "folder ."),
        ("a/b", "folder a/b"),
        ("file:///some/my%20dir", "folder /some/my dir"),
        ("file://localhost/dir", "folder /dir"),
        ("s3://ci-cache", "s3://ci-cache, region us-east-1"),
        ("s3://ci-cache/", "s3://ci-cache, region us-east-1"),
        ("s3://ci-cache/a/b/", "s3://ci-cache/a/b, region us-east-1"),
        ("gs://ci_cache/a", "gs://ci_cache/a, region auto, at https://storage.googleapis.com"),
    ] {
        assert_eq!(stored(&[("store", word)], &[], ""), Ok(store.into()), "{word}");
        assert_eq!(stored(&[], &[("LONGSHORE_STORE", word)], ""), Ok(store.into()), "{word}");
        assert_eq!(stored(&[], &[], &format!("[profiles.default]\nstore = {word:?}")), Ok(store.into()), "{word}");
    }
}

#[test]
fn what_is_no_store_is_refused_with_what_would_be() {
    for (word, hint) in [
        ("s4", "a store is s3://"),
        ("az://container/x", "a store is s3://"),
        ("file://dir", "three slashes"),
        ("file:///%ff", "not UTF-8"),
        ("~/cache", "~ means nothing here"),
        ("s3://", "names no bucket"),
        ("s3:///a", "names no bucket"),
        ("s3://CI", "a bucket's name is"),
        ("s3://ci-cache//a", "a prefix is"),
        ("s3://ci-cache/a//b", "a prefix is"),
        ("s3://ci-cache/../b", "a prefix is"),
        ("s3://ci-cache?region=x", "settings of their own"),
        ("s3://id:secret@ci-cache", "settings of their own"),
    ] {
        let problems = stored(&[], &[("LONGSHORE_STORE", word)], "").expect_err(word);
        assert!(problems.starts_with("environment: 1 problem\n  LONGSHORE_STORE  ") && problems.contains(hint), "{problems}");
    }
}

#[test]
fn the_sources_add_up_to_one_store() {
    let s3 = "[profiles.default]\nstore = \"s3\"\nbucket = \"in-file\"\nprefix = \"p\"\nendpoint = \"http://minio:9000\"";
    let word = "[profiles.default]\nstore = \"s3://in-file/p\"\nregion = \"r\"";
    let google = "[profiles.default]\nstore = \"gs://in-file/p\"";
    let folder = "[profiles.default]\nstore = \"folder\"\npath = \"/in-file\"";
    for (flags, variables, file, store) in [
        (&[][..], &[][..], s3, "s3://in-file/p, region us-east-1, at http://minio:9000"),
        (&[("bucket", "in-flag")], &[], s3, "s3://in-flag/p, region us-east-1, at http://minio:9000"),
        (&[("bucket", "in-flag")], &[], word, "s3://in-flag/p, region r"),
        (&[("bucket", "in-flag")], &[], google, "gs://in-flag/p, region auto, at https://storage.googleapis.com"),
        (&[("bucket", "in-flag")], &[], folder, "s3://in-flag, region us-east-1"),
        (&[("bucket", "in-flag")], &[], "", "s3://in-flag, region us-east-1"),
        (&[("prefix", "q")], &[], word, "s3://in-file/q, region r"),
        (&[("prefix", "")], &[], word, "s3://in-file, region r"),
        (&[("store", "s3://in-flag")], &[], s3, "s3://in-flag, region us-east-1, at http://minio:9000"),
        (&[("store", "gs://in-flag")], &[], s3, "gs://in-flag, region auto, at https://storage.googleapis.com"),
        (&[("store", "/in-flag")], &[], s3, "folder /in-flag"),
        (&[("store", "/in-flag")], &[("LONGSHORE_BUCKET", "in-variable")], s3, "folder /in-flag"),
        (&[("path", "/in-flag")], &[], folder, "folder /in-flag"),
        (&[("path", "/in-flag")], &[], s3, "folder /in-flag"),
        (&[], &[("LONGSHORE_STORE", "folder")], s3, "folder /home/user/.cache/longshore"),
        (&[], &[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")], s3, "s3://in-file/p, region a, at http://minio:9000"),
        (&[], &[("AWS_DEFAULT_REGION", "b"), ("AWS_REGION", "")], s3, "s3://in-file/p, region b, at http://minio:9000"),
        (
            &[],
            &[("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "http://b")],
            word,
            "s3://in-file/p, region r, at http://b",
        ),
        (&[], &[("AWS_ENDPOINT_URL", "nonsense")], s3, "s3://in-file/p, region us-east-1, at http://minio:9000"),
        (
            &[],
            &[("AWS_REGION", "a"), ("AWS_ENDPOINT_URL", "http://a")],
            google,
            "gs://in-file/p, region auto, at https://storage.googleapis.com",
        ),
        (&[], &[("AWS_REGION", "a"), ("AWS_ENDPOINT_URL", "http://a")], "", "folder /home/user/.cache/longshore"),
        (
            &[],
            &[("LONGSHORE_BUCKET", "ci-cache"), ("LONGSHORE_ENDPOINT", "https://storage.googleapis.com/")],
            "",
            "gs://ci-cache, region auto, at https://storage.googleapis.com",
        ),
    ] {
        assert_eq!(stored(flags, variables, file), Ok(store.into()), "{flags:?} {variables:?} {file}");
    }
}

#[test]
fn a_kind_brings_its_region_endpoint_and_style() {
    let amazons = [("AWS_REGION", "a"), ("AWS_ENDPOINT_URL", "http://a")];
    let b2 = "https://s3.us-west-004.backblazeb2.com";
    for (variables, settings, store, name, path_style) in [
        (&[][..], "", "s3://ci-cache, region us-east-1", "aws", false),
        (&[], "kind = \"aws\"", "s3://ci-cache, region us-east-1", "aws", false),
        (&[], "kind = \"gcs\"", "gs://ci-cache, region auto, at https://storage.googleapis.com", "gcs", true),
        (&amazons, "kind = \"gcs\"", "gs://ci-cache, region auto, at https://storage.googleapis.com", "gcs", true),
        (
            &[],
            "kind = \"gcs\"\nregion = \"eu\"\nendpoint = \"http://a\"\npath_style = false",
            "gs://ci-cache, region eu, at http://a",
            "gcs",
            false,
        ),
        (&amazons, "kind = \"garage\"", "s3://ci-cache, region a, at http://a", "garage", true),
        (&amazons[1..], "kind = \"garage\"", "s3://ci-cache, region garage, at http://a", "garage", true),
        (&[("LONGSHORE_ENDPOINT", b2)], "", &format!("s3://ci-cache, region us-west-004, at {b2}"), "b2", true),
        (
            &[("LONGSHORE_ENDPOINT", b2), ("LONGSHORE_KIND", "generic")],
            "",
            &format!("s3://ci-cache, region us-east-1, at {b2}"),
            "generic",
            true,
        ),
        (
            &[("LONGSHORE_ENDPOINT", "http://minio:9000")],
            "",
            "s3://ci-cache, region us-east-1, at http://minio:9000",
            "generic",
            true,
        ),
    ] {
        let keys = [("LONGSHORE_ACCESS_KEY_ID", "id"), ("LONGSHORE_SECRET_ACCESS_KEY", "s"), ("LONGSHORE_ANONYMOUS", "none")];
        let variables = [&keys, variables].concat();
        let file = format!("[profiles.default]\nbucket = \"ci-cache\"\n{settings}");

        let Store::S3(s3) = loaded(&[], &variables, &file).unwrap().profiles.remove(0).store else { panic!("a folder") };

        assert_eq!((s3.to_string().as_str(), s3.kind.name, s3.path_style), (store, name, path_style), "{settings}");
    }
}

#[test]
fn what_contradicts_the_store_is_refused_where_it_stands() {
    for (flags, file, expected) in [
        (&[][..], "store = \"s3://ci-cache\"\nbucket = \"b\"", "bucket  line 3  profiles.default.store says it already"),
        (&[], "store = \"s3://ci-cache\"\nprefix = \"b\"", "prefix  line 3  profiles.default.store says it already"),
        (&[], "store = \"/dir\"\npath = \"/dir\"", "path  line 3  profiles.default.store says it already"),
        (&[], "store = \"s3\"\nbucket = \"ci-cache\"\npath = \"/dir\"", "path  line 4  is for a folder"),
        (&[], "bucket = \"ci-cache\"\npath = \"/dir\"", "path  line 3  is for a folder"),
        (&[], "store = \"folder\"\nregion = \"r\"", "region  line 3  is for a bucket, and the store is a folder"),
        (&[], "store = \"s3\"", "profiles.default.bucket  the store is a bucket, so its name must be stated"),
        (&[], "region = \"r\"", "region  line 2  is for a bucket, and no bucket is stated"),
        (&[("region", "r")], "store = \"folder\"", "--region  is for a bucket, and the store is a folder"),
        (&[("store", "s3://ci-cache"), ("bucket", "b")], "", "--bucket  STORE says it already"),
        (&[], "bucket = \"ci-cache\"\nregion = \"EU\"", "\"EU\": a region is"),
        (&[], "store = \"gs://ci-cache\"\nkind = \"r2\"", "kind  line 3  a gs:// store is of kind gcs"),
        (&[], "bucket = \"ci-cache\"\nkind = \"r2\"", "profiles.default.endpoint  a store of kind r2 can be anywhere"),
        (
            &[],
            "bucket = \"ci-cache\"\nkind = \"s3\"",
            "kind  line 3  \"s3\": must be one of aws, gcs, minio, ceph, r2, b2, garage, generic",
        ),
        (&[("kind", "AWS")], "bucket = \"ci-cache\"", "--kind  \"AWS\": must be one of aws, gcs,"),
        (&[("kind", "aws")], "store = \"folder\"", "--kind  is for a bucket, and the store is a folder"),
    ] {
        let problems = stored(flags, &[], &format!("[profiles.default]\n{file}")).expect_err(file);
        assert!(problems.contains(" 1 problem") && problems.contains(expected), "{problems}");
    }
}

#[test]
fn keys_to_no_bucket_do_not_end_in_a_folder() {
    for name in ["LONGSHORE_PREFIX", "LONGSHORE_REGION", "LONGSHORE_ENDPOINT", "LONGSHORE_CREDENTIALS", "LONGSHORE_ACCESS_KEY_ID"]
    {
        let problems = stored(&[], &[(name, "default")], "").expect_err(name);
        assert!(problems.contains(&format!("{name}  is for a bucket, and no bucket is stated")), "{problems}");
    }
}

#[test]
fn urls_have_the_bucket_in_the_path_where_there_is_an_endpoint() {
    for (flags, expected) in [
        (&[("store", "s3://ci-cache")][..], false),
        (&[("store", "s3://ci-cache"), ("path-style", "true")], true),
        (&[("store", "s3://ci-cache"), ("endpoint", "http://minio:9000")], true),
        (&[("store", "s3://ci-cache"), ("endpoint", "http://minio:9000"), ("path-style", "false")], false),
        (&[("store", "gs://ci-cache")], true),
    ] {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("LONGSHORE_ANONYMOUS", "none")];
        let Store::S3(s3) = loaded(flags, &keys, "").unwrap().profiles.remove(0).store else { panic!("{flags:?}") };
        assert_eq!(s3.path_style, expected, "{flags:?}");
    }
}

#[test]
fn the_cache_directory_is_the_users() {
    for (variables, expected) in [
        (&[("XDG_CACHE_HOME", "/cache")][..], Some("folder /cache/longshore")),
        (&[("XDG_CACHE_HOME", "cache")], Some("folder /home/user/.cache/longshore")),
        (&[("XDG_CACHE_HOME", "")], Some("folder /home/user/.cache/longshore")),
        (&[("HOME", "")], None),
        (&[("HOME", ""), ("XDG_CACHE_HOME", "/cache")], Some("folder /cache/longshore")),
    ] {
        let outcome = stored(&[], variables, "");
        assert_eq!(outcome.as_deref().ok(), expected, "{variables:?}");
        assert!(outcome.is_ok() || outcome.is_err_and(|problems| problems.contains("set HOME or XDG_CACHE_HOME")));
    }
}
