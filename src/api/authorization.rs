//! What a request says of who sends it (RFC 9110, 11.6.2, "Authorization"), and what it is told it could say.

use data_encoding::{BASE64, BASE64_NOPAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::SecretString;

use crate::access::{Presented, Unidentified};

/// Why it is not known who sends a request, or what for. The messages are fit to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unknown {
    /// Nobody says who they are.
    #[error("say who you are: this takes a user name and password, or a token")]
    Nobody,
    /// What is presented is not accepted.
    #[error(transparent)]
    Refused(#[from] Unidentified),
    /// What is presented makes no sense. Nothing of it is repeated.
    #[error("the Authorization header makes no sense")]
    Malformed,
    /// A pass that was fetched for something else.
    #[error("the token is for something else; fetch one for {0}")]
    OutOfScope(String),
}

/// What a client is asked for: a password (RFC 7617, "The 'Basic' HTTP Authentication Scheme"), or a token that it
/// fetches at `realm`, for `scope`.
pub(super) fn challenge(realm: Option<&str>, scope: Option<&str>) -> String {
    let Some(realm) = realm else { return "Basic realm=\"longshore\", charset=\"UTF-8\"".to_owned() };
    let scope = scope.map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
    format!("Bearer realm=\"{realm}\",service=\"longshore\"{scope}")
}

/// What `headers` present.
///
/// skopeo and podman send an empty name with an empty password where they have none: that is nothing.
///
/// # Errors
///
/// It makes no sense. Nothing of it is repeated.
pub(super) fn presented(headers: &HeaderMap) -> Result<Presented, Unknown> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        // Of two, a proxy and we could go by different ones.
        return if headers.contains_key(AUTHORIZATION) { Err(Unknown::Malformed) } else { Ok(Presented::Nothing) };
    };
    let (scheme, rest) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Unknown::Malformed)?;
    let rest = rest.trim_matches(' ');
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(rest).ok_or(Unknown::Malformed),
        "bearer" if !rest.is_empty() => Ok(Presented::Token(SecretString::from(rest.to_owned()))),
        _ => Err(Unknown::Malformed),
    }
}

fn basic(text: &str) -> Option<Presented> {
    let bytes = BASE64.decode(text.as_bytes()).or_else(|_| BASE64_NOPAD.decode(text.as_bytes())).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // No name has these, and none may break a line of the log.
    if text.contains(char::is_control) {
        return None;
    }
    Some(match (user, password) {
        ("", "") => Presented::Nothing,
        (user, password) => Presented::Password { user: user.to_owned(), password: SecretString::from(password.to_owned()) },
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use secrecy::ExposeSecret;

    use super::*;

    /// What is presented, in words.
    fn read(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Some(match presented(&headers).ok()? {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Password { user, password } => format!("{user} with {}", password.expose_secret()),
            Presented::Token(token) => format!("token {}", token.expose_secret()),
        })
    }

    fn encoded(text: &str) -> String {
        format!("Basic {}", BASE64.encode(text.as_bytes()))
    }

    #[test]
    fn names_passwords_and_tokens_are_read() {
        for (value, expected) in [
            (encoded("alice:right"), "alice with right"),
            (encoded("alice:a:b"), "alice with a:b"),
            (encoded("alice:"), "alice with "),
            (encoded(":token"), " with token"),
            (encoded("älice:ö"), "älice with ö"),
            (encoded(":"), "nothing"),
            (encoded("a:b").replace("Basic", "bAsIc"), "a with b"),
            (encoded("a:b").trim_end_matches('=').to_owned(), "a with b"),
            ("Bearer a.b.c".to_owned(), "token a.b.c"),
            ("bearer  a".to_owned(), "token a"),
        ] {
            assert_eq!(read(&[&value]).as_deref(), Some(expected), "{value}");
        }
        assert_eq!(read(&[]).as_deref(), Some("nothing"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic ???",
            "Bearer ",
            "Bearer",
            "Digest a",
            "Basic YQ==",
            &encoded("a\n:b"),
            &encoded("a:\0"),
        ] {
            assert_eq!(read(&[value]), None, "{value:?}");
        }
        let one = encoded("a:b");
        assert_eq!(read(&[&one, &one]), None);
    }
}
