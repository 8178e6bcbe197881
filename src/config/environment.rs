//! Settings from variables: our own, all of them known, gocdnext's, and a few of Amazon's.

use std::collections::BTreeMap;

use super::layers::{Layer, Source, Word};
use super::problem::{Place, Problems, did_you_mean, nearest};
use super::setting::{
    ACCESS_KEY_ID, BUCKET, CA_BUNDLE, CREDENTIALS, ENDPOINT, KEYS_SECTION, MAP, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN,
    SETTINGS, STORE, Setting,
};
use super::sources::Environment;
use crate::secrets::{InvalidSecretName, SecretName};

/// What our variables begin with.
const PREFIX: &str = "LONGSHORE_";

/// Names the configuration file.
pub const CONFIG: &str = "LONGSHORE_CONFIG";

/// Beginnings of names that are not settings: for tests, and for secrets and the key to sealed ones.
const RESERVED: &[&str] = &["LONGSHORE_TEST_", SECRETS];
const SECRETS: &str = "LONGSHORE_SECRET_";

/// What Amazon's variables mean here; of two for one setting, the first decides.
const AWS: &[(&str, Setting)] = &[
    ("AWS_REGION", REGION),
    ("AWS_DEFAULT_REGION", REGION),
    ("AWS_ENDPOINT_URL_S3", ENDPOINT),
    ("AWS_ENDPOINT_URL", ENDPOINT),
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
    ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
    ("AWS_SESSION_TOKEN", SESSION_TOKEN),
    ("AWS_CA_BUNDLE", CA_BUNDLE),
    (AWS_PROFILE, KEYS_SECTION),
];

/// Names a section of Amazon's shared files; it counts where there are no keys beside it.
const AWS_PROFILE: &str = "AWS_PROFILE";

/// What gocdnext tells a step about its layer cache, in a bucket.
const GOCDNEXT: &[(&str, Setting)] = &[
    (GOCDNEXT_BUCKET, BUCKET),
    ("GOCDNEXT_LAYER_CACHE_REGION", REGION),
    ("GOCDNEXT_LAYER_CACHE_ENDPOINT", ENDPOINT),
    (GOCDNEXT_NAME, MAP),
    (GOCDNEXT_BACKEND, STORE),
];

/// Names the bucket, without which the others are a mistake.
pub const GOCDNEXT_BUCKET: &str = "GOCDNEXT_LAYER_CACHE_BUCKET";

/// Names the one image that all are kept as.
const GOCDNEXT_NAME: &str = "GOCDNEXT_LAYER_CACHE_NAME";

/// Says what kind of store it is.
const GOCDNEXT_BACKEND: &str = "GOCDNEXT_LAYER_CACHE_BACKEND";

/// What gocdnext's variables begin with.
const GOCDNEXT_PREFIX: &str = "GOCDNEXT_LAYER_CACHE_";

/// What backends are called there and here.
const BACKENDS: &[(&str, &str)] = &[("s3", "s3"), ("gcs", "gs"), ("gs", "gs")];

/// Variables by name, with where they were stated.
pub type Variables = BTreeMap<String, Word>;

/// What `LONGSHORE_*` state. An empty one counts as stated, so a variable that was never filled in is not passed over.
pub fn longshore(environment: &Environment, problems: &mut Problems) -> Layer {
    let mut layer = Layer::new(Source::Environment);
    for name in environment.names().filter(|name| name.starts_with(PREFIX)) {
        let place = Place::variable(name);
        let value = environment.get(name).and_then(|value| value.to_str());
        match (SETTINGS.iter().find(|setting| setting.variable().as_deref() == Some(name)), value) {
            (Some(setting), Some(text)) => layer.state_text(setting, text, &place),
            (Some(_), None) => problems.push(place, "is not UTF-8"),
            (None, _) if name.strip_prefix(SECRETS).is_some_and(|name| name.parse::<SecretName>().is_err()) => {
                problems.push(place, format!("is no secret's: {InvalidSecretName}"));
            }
            (None, _) if is_known_otherwise(name, value.unwrap_or_default()) => (),
            (None, _) => problems.push(place, format!("there is no such variable{}", did_you_mean(meant_by(name)))),
        }
    }
    layer
}

/// What `AWS_*` state; an empty one counts as unset, as it does for Amazon's own tools.
pub fn aws(environment: &Environment) -> Layer {
    aws_layer(&variables(environment, AWS))
}

/// What `GOCDNEXT_LAYER_CACHE_*` state. An empty bucket is a mistake, since it was meant to be one;
/// the others are optional and may be left empty.
pub fn gocdnext(environment: &Environment, problems: &mut Problems) -> Layer {
    gocdnext_layer(&variables(environment, GOCDNEXT), problems)
}

/// The variables by which gocdnext says anything at all about its layer cache.
pub fn gocdnext_names(environment: &Environment) -> impl Iterator<Item = &str> {
    environment.names().filter(|name| name.starts_with(GOCDNEXT_PREFIX))
}

/// Variables of gocdnext's layer cache that mean nothing here.
pub fn unheeded(environment: &Environment) -> impl Iterator<Item = &str> {
    gocdnext_names(environment).filter(|name| !GOCDNEXT.iter().any(|(known, _)| known == name))
}

/// What the variables state that a file gives a profile. Others than those that count here are refused.
pub fn stated_in_file(variables: Variables, problems: &mut Problems) -> [Layer; 2] {
    let known: Vec<&str> = GOCDNEXT.iter().chain(AWS).map(|(name, _)| *name).collect();
    for (name, word) in variables.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        let meant = nearest(name, known.iter().copied());
        problems.push(word.place.clone(), format!("{name} means nothing here{}", did_you_mean(meant)));
    }
    [gocdnext_layer(&variables, problems), aws_layer(&variables)]
}

/// The variables of the process that are in `table`, where they are text.
fn variables(environment: &Environment, table: &[(&str, Setting)]) -> Variables {
    let word = |name: &str| Some(Word { text: environment.get(name)?.to_str()?.to_owned(), place: Place::variable(name) });
    table.iter().filter_map(|(name, _)| Some(((*name).to_owned(), word(name)?))).collect()
}

fn aws_layer(variables: &Variables) -> Layer {
    let mut layer = Layer::new(Source::Aws);
    for (name, setting) in AWS {
        let word = variables.get(*name).filter(|word| !word.text.is_empty());
        if let (Some(word), None) = (word, layer.words(setting)) {
            layer.state(setting, vec![word.clone()]);
        }
    }
    let keys = [ACCESS_KEY_ID, SECRET_ACCESS_KEY];
    match layer.word(&KEYS_SECTION).cloned() {
        Some(_) if keys.iter().any(|setting| layer.words(setting).is_some()) => layer.forget(&[KEYS_SECTION]),
        Some(Word { place, .. }) => layer.state(&CREDENTIALS, vec![Word { text: "file".into(), place }]),
        None => {}
    }
    layer
}

fn gocdnext_layer(variables: &Variables, problems: &mut Problems) -> Layer {
    let mut layer = Layer::new(Source::Gocdnext);
    for (name, setting) in GOCDNEXT {
        let Some(word) = variables.get(*name) else { continue };
        match word.text.as_str() {
            "" if *name == GOCDNEXT_BUCKET => problems.push(word.place.clone(), "is empty; give it a value or take it away"),
            "" => {}
            text if *name == GOCDNEXT_BACKEND => match BACKENDS.iter().find(|(theirs, _)| *theirs == text) {
                Some((_, ours)) => layer.state_text(setting, ours, &word.place),
                None => problems.push(word.place.clone(), format!("{text:?}: must be one of s3, gcs, gs")),
            },
            text if *name == GOCDNEXT_NAME => layer.state_text(setting, &format!("**={text}"), &word.place),
            _ => layer.state(setting, vec![word.clone()]),
        }
    }
    layer
}

/// The variable that an unknown one was most likely meant to be.
fn meant_by(name: &str) -> Option<String> {
    let known: Vec<String> = SETTINGS.iter().filter_map(Setting::variable).chain([CONFIG.into()]).collect();
    let without_prefix = known.iter().filter_map(|name| name.strip_prefix(PREFIX));
    nearest(name.strip_prefix(PREFIX)?, without_prefix).map(|meant| format!("{PREFIX}{meant}"))
}

/// Whether a variable of our prefix that is no setting has a right to be there.
fn is_known_otherwise(name: &str, value: &str) -> bool {
    name == CONFIG || RESERVED.iter().any(|reserved| name.starts_with(reserved)) || is_service_link(name, value)
}

/// Whether Kubernetes put it there because a Service has a name that begins with `longshore`.
///
/// Kubernetes documentation, "Service", "Environment variables": `{NAME}_SERVICE_HOST`, `{NAME}_SERVICE_PORT[_{PORT}]`,
/// `{NAME}_PORT` and `{NAME}_PORT_{NUMBER}_{PROTOCOL}[_PROTO|_PORT|_ADDR]`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_port = |rest: &str| rest.split_once('_').is_some_and(|(number, _)| number.parse::<u16>().is_ok());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_url)
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
        || name.strip_suffix("_PORT").and_then(|link| link.rsplit_once("_PORT_")).is_some_and(|(_, rest)| is_port(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(variables: &[(&str, &str)]) -> String {
        let mut problems = Problems::default();
        longshore(&variables.iter().copied().collect(), &mut problems);
        problems.to_string()
    }

    #[test]
    fn an_unknown_variable_is_refused_by_name() {
        assert_eq!(
            problems_of(&[("LONGSHORE_BUKET", "b"), ("PATH", "/bin")]),
            "environment: 1 problem\n  LONGSHORE_BUKET  there is no such variable; did you mean LONGSHORE_BUCKET?"
        );
        for (name, suggestion) in
            [("LONGSHORE_PORT", ""), ("LONGSHORE_", ""), ("LONGSHORE_CONFIGS", "; did you mean LONGSHORE_CONFIG?")]
        {
            assert!(
                problems_of(&[(name, "5000")]).ends_with(&format!("{name}  there is no such variable{suggestion}")),
                "{name}"
            );
        }
    }

    #[test]
    fn a_variable_that_can_be_no_secrets_is_refused() {
        for name in ["LONGSHORE_SECRET__A", "LONGSHORE_SECRET_", "LONGSHORE_SECRET_A B"] {
            let told = problems_of(&[(name, "x")]);
            assert!(told.contains(&format!("{name}  is no secret's: a secret's name is 1 to 128")), "{told}");
        }
    }

    #[test]
    fn what_kubernetes_and_later_versions_put_there_is_passed_over() {
        for (name, value) in [
            ("LONGSHORE_SERVICE_HOST", "10.0.0.1"),
            ("LONGSHORE_SERVICE_PORT", "5000"),
            ("LONGSHORE_SERVICE_PORT_HTTP", "5000"),
            ("LONGSHORE_PORT", "tcp://10.0.0.1:5000"),
            ("LONGSHORE_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("LONGSHORE_PORT_5000_TCP_PROTO", "tcp"),
            ("LONGSHORE_PORT_5000_TCP_PORT", "5000"),
            ("LONGSHORE_CI_PORT_5000_TCP_ADDR", "10.0.0.1"),
            ("LONGSHORE_TEST_ANYTHING", ""),
            ("LONGSHORE_SECRET_KEY", "00"),
            ("LONGSHORE_SECRET_TEAM_B", "x"),
            ("LONGSHORE_CONFIG", "/etc/longshore.toml"),
        ] {
            assert_eq!(problems_of(&[(name, value)]), "", "{name}");
        }
    }
}
