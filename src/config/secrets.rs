//! Where secrets come from, and what is told of secrets that stand in files as they are.

use super::layers::{Layers, Word};
use super::setting::{SECRET_SOURCES, SETTINGS};
use super::sources::Environment;
use crate::secrets::{Secrets, Source, Template};

/// Opens the sources of secrets that are stated. What cannot be opened is told, and none of it is in force.
pub fn open(layers: &mut Layers, environment: &Environment) -> Secrets {
    let sources = layers.read_all(&SECRET_SOURCES, str::parse::<Source>);
    let sources = sources.unwrap_or_default();
    let variables = environment.variables().collect();
    match Secrets::open(sources, variables) {
        Ok(secrets) => secrets,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| layers.refuse(&SECRET_SOURCES, mistake.to_string()));
            Secrets::default()
        }
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
