//! Values that refer to secrets: `{{secret:NAME}}`, also inside other text.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use super::{InvalidSecretName, SecretName, Secrets, Unresolved};

/// What begins a reference.
const OPEN: &str = "{{";

/// What ends one.
const CLOSE: &str = "}}";

/// A value as it was written, with the secrets in it still by name. Its `Debug` shows the names and no text.
#[derive(Clone, PartialEq)]
pub struct Template(Vec<Piece>);

#[derive(Clone)]
enum Piece {
    Text(SecretString),
    Secret(SecretName),
}

/// A reference that is none. Nothing of the text is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedTemplate {
    /// `{{` and something else.
    #[error("after {{{{ comes secret:NAME}}}}, as in {{{{secret:CACHE_KEY}}}}")]
    Reference,
    /// No name between them.
    #[error(transparent)]
    Name(#[from] InvalidSecretName),
}

impl Template {
    /// A value that refers to nothing.
    #[must_use]
    pub fn of_text(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(SecretString::from(text.into()))])
    }

    /// The secrets that it refers to, in order.
    pub fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Secret(name) => Some(name),
            Piece::Text(_) => None,
        })
    }

    /// The text, where nothing is referred to.
    #[must_use]
    pub fn text(&self) -> Option<&SecretString> {
        match self.0.as_slice() {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value with every secret in its place, as `secrets` has them now.
    ///
    /// # Errors
    ///
    /// A secret cannot be had; nothing stands in for it.
    pub fn resolve(&self, secrets: &Secrets) -> Result<SecretString, Unresolved> {
        let mut value = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => value.push_str(text.expose_secret()),
                Piece::Secret(name) => value.push_str(secrets.get(name)?.expose_secret()),
            }
        }
        Ok(SecretString::from(value))
    }
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(text), Self::Text(other)) => text.expose_secret() == other.expose_secret(),
            (Self::Secret(name), Self::Secret(other)) => name == other,
            _ => false,
        }
    }
}

impl FromStr for Template {
    type Err = MalformedTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (reference, behind) = after.split_once(CLOSE).ok_or(MalformedTemplate::Reference)?;
            let name = reference.trim().strip_prefix("secret:").ok_or(MalformedTemplate::Reference)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned().into()));
            }
            pieces.push(Piece::Secret(name.parse()?));
            rest = behind;
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(Piece::Text(rest.to_owned().into()));
        }
        Ok(Self(pieces))
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(_) => "…",
            Piece::Secret(name) => name.as_str(),
        });
        f.debug_list().entries(pieces).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<String, String> {
        let secrets = Secrets::of([("A", "1"), ("team-b.key", "2")]);
        let template: Template = text.parse().map_err(|error: MalformedTemplate| error.to_string())?;
        template.resolve(&secrets).map(|value| value.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn references_are_filled_in_wherever_they_stand() {
        for (text, value) in [
            ("{{secret:A}}", "1"),
            ("x{{secret:A}}y{{secret:team-b.key}}", "x1y2"),
            ("{{ secret:A }}", "1"),
            ("plain", "plain"),
            ("", ""),
            ("}} {", "}} {"),
        ] {
            assert_eq!(resolved(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_or_leads_nowhere_is_refused() {
        for (text, why) in [
            ("{{secret:A", "after {{ comes secret:NAME}}"),
            ("{{A}}", "after {{ comes secret:NAME}}"),
            ("{{secret:}}", "a secret's name is"),
            ("{{secret:a b}}", "a secret's name is"),
            ("{{secret:B}}", "secret B is in none of the sources"),
        ] {
            let told = resolved(text).unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn nothing_but_names_is_printed() {
        let template: Template = "MARK{{secret:A}}".parse().unwrap();

        assert_eq!(format!("{template:?}"), r#"["…", "A"]"#);
        assert_eq!(template.names().map(SecretName::as_str).collect::<Vec<_>>(), ["A"]);
    }
}
