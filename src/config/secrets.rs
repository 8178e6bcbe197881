//! Where secrets come from, and what is told of secrets that stand in files as they are.

use secrecy::SecretString;

use super::layers::{Layers, Word};
use super::setting::{SECRET_SOURCES, SETTINGS};
use super::sources::Environment;
use crate::secrets::{Secrets, Source, Template, Unresolved};

/// Opens the sources of secrets that are stated. What cannot be opened is told, and none of it is in force.
pub fn open(layers: &mut Layers, environment: &Environment) -> Option<Secrets> {
    let sources = layers.read_all(&SECRET_SOURCES, str::parse::<Source>);
    let stated = layers.words(&SECRET_SOURCES).map_or(0, <[Word]>::len);
    let sources = sources.filter(|sources| sources.len() == stated)?;
    let variables = environment.variables().collect();
    match Secrets::open(sources, variables) {
        Ok(secrets) => Some(secrets),
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| layers.refuse(&SECRET_SOURCES, mistake.to_string()));
            None
        }
    }
}

/// What `template` comes to; `None` where it refers to secrets that could not be read, which has been told.
pub fn resolved(template: &Template, secrets: Option<&Secrets>) -> Result<Option<SecretString>, Unresolved> {
    match secrets {
        None if template.names().next().is_some() => Ok(None),
        _ => template.resolve(secrets.unwrap_or(&Secrets::default())).map(Some),
    }
}

/// Warns of files of secrets that everybody on this machine can read; Kubernetes makes its own so.
pub fn warn_of_exposed(secrets: &Secrets, warnings: &mut Vec<String>) {
    let files = secrets.exposed();
    warnings.extend(files.iter().map(|path| format!("everybody on this machine can read the secrets in {}", path.display())));
}

/// Tells of secrets that stand in files as they are: a mistake where others can read the file, else worth a warning.
pub fn tell_of_literals(layers: &mut Layers, warnings: &mut Vec<String>) {
    for setting in SETTINGS.iter().filter(|setting| setting.is_secret()) {
        let words = layers.stack.iter().filter_map(|layer| layer.word(setting));
        for Word { place, .. } in words.filter(|word| is_literal(&word.text)).cloned().collect::<Vec<_>>() {
            if place.is_exposed() {
                let message = "a secret in a file that everybody on this machine can read; take that right away (chmod 600), \
                    or put {{secret:NAME}} in its place";
                layers.problems.push(place, message);
            } else if place.is_in_file() {
                warnings.push(format!("{place} holds a secret as it is; {{{{secret:NAME}}}} in its place can be rotated apart"));
            }
        }
    }
}

/// Whether a text is itself the secret.
fn is_literal(text: &str) -> bool {
    !text.is_empty() && text.parse::<Template>().is_ok_and(|template| template.names().next().is_none())
}

#[cfg(test)]
mod tests {
    use crate::config::tests::loaded;

    const TEAM: &str = "[profiles.team]\nimages = [\"team/*\"]\nstore = \"s3://team-cache\"\naccess_key_id = \"{{secret:ID}}\"\n\
        secret_access_key = \"{{secret:KEY}}\"\nsession_token = \"{{secret:TOKEN}}\"\n";

    fn told(variables: &[(&str, &str)], sources: &str) -> String {
        let file = format!("[access]\nanonymous = \"none\"\n[secrets]\nsources = [{sources}]\n{TEAM}");
        loaded(&[], variables, &file).map(|_| String::new()).unwrap_or_else(|told| told)
    }

    #[test]
    fn what_no_request_could_carry_is_a_mistake_by_the_name_of_the_secret() {
        for (id, key, token, rule) in [
            ("id", "k\u{e9}y", "token", ""),
            ("b\u{e9}", "key", "token", "with secret ID in it, is none: an access key id is letters"),
            ("\u{201c}id\u{201d}", "key", "token", "with secret ID in it, is none: an access key id is letters"),
            ("id", "k ey", "token", "with secret KEY in it, is none: a secret access key has no spaces"),
            ("id", "key", "to\u{a0}ken", "with secret TOKEN in it, is none: a session token is letters"),
            ("\u{feff}id", "key", "token", "secret ID, from env, has a byte order mark in it"),
        ] {
            let variables = [("LONGSHORE_SECRET_ID", id), ("LONGSHORE_SECRET_TOKEN", token)];
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("KEY"), key).unwrap();

            let told = told(&variables, &format!("\"env\", \"file:KEY={}/KEY\"", folder.path().display()));

            assert!(told.contains(rule) && told.is_empty() == rule.is_empty(), "{rule}: {told}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated() {
        for (setting, value) in [
            ("region", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            ("store", "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI/K7MDENG/x"),
            ("prefix", "//wJalrXUtnFEMI/K7MDENG"),
        ] {
            let rest =
                TEAM.replace("store = \"s3://team-cache\"\n", if setting == "store" { "" } else { "store = \"s3://cache\"\n" });
            let told = loaded(&[], &[], &format!("{rest}{setting} = \"{value}\"\n")).unwrap_err();

            assert!(told.contains(&format!("profiles.team.{setting}  ")), "{told}");
            assert!(!told.contains("AKIA") && !told.contains("wJalr"), "{told}");
        }
    }

    // What refers to it could be there or not; nobody knows.
    #[test]
    fn where_one_source_cannot_be_read_only_that_is_told() {
        let told = told(&[("LONGSHORE_SECRET_ID", "id")], "\"env\", \"dir:/no/such/folder\"");

        assert!(told.contains("1 problem\n") && told.contains("dir:/no/such/folder: No such file"), "{told}");
    }
}
