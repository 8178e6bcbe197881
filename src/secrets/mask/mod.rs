//! A second line under typed secrets: whatever is said, their values are not.
//!
//! A text is searched as it stands and as it reads once percent-encoding, form
//! encoding, or the escapes of JSON and of `Debug` are taken from it, twice at
//! most (an URL within JSON). In each reading the values are looked for as
//! they are and in Base64, also where that is a part of longer Base64.

mod finder;
mod reading;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

use finder::Finder;

/// What stands in place of a secret.
const STARS: &str = "***";

/// Fewest bytes of a value that is looked for: a shorter one is part of everything.
const MIN_BYTES: usize = 4;

/// Whose values those are that are never let go.
const EVERYBODY: &str = "";

/// The values that must not show. Clones are the same one.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Held>>);

#[derive(Default)]
struct Held {
    values: BTreeMap<String, Vec<SecretString>>,
    finder: Option<Arc<Finder>>,
}

impl Mask {
    /// From now on masks `value`, for good.
    pub fn add(&self, value: &SecretString) {
        self.change(|values| values.entry(EVERYBODY.to_owned()).or_default().push(value.clone()));
    }

    /// From now on masks `values` for `owner`, and no longer what it had before.
    pub fn hold(&self, owner: &str, values: impl IntoIterator<Item = SecretString>) {
        let held: Vec<SecretString> = values.into_iter().collect();
        self.change(|values| match held.is_empty() {
            true => drop(values.remove(owner)),
            false => drop(values.insert(owner.to_owned(), held)),
        });
    }

    /// `text` with `***` in place of every secret.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.apply_to_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    /// `bytes` with `***` in place of every secret.
    #[must_use]
    pub fn apply_to_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let finder = self.0.read().unwrap_or_else(PoisonError::into_inner).finder.clone();
        let Some(finder) = finder else { return Cow::Borrowed(bytes) };
        let mut found = Vec::new();
        reading::each(bytes, &mut |reading| found.extend(finder.find(reading.bytes()).map(|range| reading.origin(range))));
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        found.sort_unstable_by_key(|range| range.start);
        let (mut masked, mut done) = (Vec::with_capacity(bytes.len()), 0);
        for range in found {
            if range.start > done || masked.is_empty() {
                masked.extend_from_slice(&bytes[done..range.start]);
                masked.extend_from_slice(STARS.as_bytes());
            }
            done = done.max(range.end);
        }
        masked.extend_from_slice(&bytes[done..]);
        Cow::Owned(masked)
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<SecretString>>)) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut held.values);
        let mut values: Vec<&str> = held.values.values().flatten().map(ExposeSecret::expose_secret).collect();
        values.retain(|value| value.len() >= MIN_BYTES);
        values.sort_unstable();
        values.dedup();
        held.finder = Finder::new(&values).map(Arc::new);
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};
    use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let mask = Mask::default();
        mask.hold("test", values.iter().map(|value| SecretString::from(*value)));
        mask
    }

    #[test]
    fn a_secret_is_masked_in_all_its_forms() {
        let secret = r#"a+b/c "d\é="#;
        let mask = mask(&[secret]);
        for (form, masked) in [
            (secret.to_owned(), "***"),
            (format!("{secret}{secret}!"), "***!"),
            (serde_json::to_string(secret).unwrap(), "\"***\""),
            (format!("{secret:?}"), "\"***\""),
            (serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(), r#""\"***\"""#),
            (r#"a+b\/c \"d\\\u00E9="#.to_owned(), "***"),
            (r#"a\u{2b}b/c \"d\\é="#.to_owned(), "***"),
            (utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(), "***"),
            (utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().to_lowercase(), "***"),
            ("a%2Bb%2fc+%22d%5c%C3%a9%3D".to_owned(), "***"),
            (BASE64.encode(secret.as_bytes()), "***"),
            (BASE64URL.encode(secret.as_bytes()), "***"),
            (format!("x {} y", BASE64_NOPAD.encode(secret.as_bytes())), "x *** y"),
            (BASE64.encode(format!("user:{secret}").as_bytes()), "dXNlcj***"),
            (utf8_percent_encode(&BASE64.encode(secret.as_bytes()), NON_ALPHANUMERIC).to_string(), "***"),
        ] {
            assert_eq!(mask.apply(&form), masked, "{form}");
        }
    }

    #[test]
    fn what_overlaps_or_lies_within_another_leaves_nothing() {
        for (secrets, text, masked) in [
            (&["abcdef", "defghi"][..], "x abcdefghi y", "x *** y"),
            (&["abcd", "abcdefgh"], "abcdefgh abcd", "*** ***"),
            (&["bcde", "abcdef"], "abcdef bcde", "*** ***"),
            (&["aaaa"], "aaaaaa", "***"),
        ] {
            assert_eq!(mask(secrets).apply(text), masked, "{secrets:?}");
        }
    }

    #[test]
    fn nothing_else_is_touched() {
        let mask = mask(&["sesame-open", "abc", ""]);
        for text in ["", "abc", "sesame-ope", "%", "100 %", "a\\", "%zz\\u12", "\\ud800", "c2VzYW1lLW9w"] {
            assert!(matches!(mask.apply(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert!(matches!(Mask::default().apply("anything"), Cow::Borrowed("anything")));
    }

    #[test]
    fn bytes_that_are_no_text_are_masked_too() {
        assert_eq!(&*mask(&["sesame"]).apply_to_bytes(b"\xff sesame \xfe"), b"\xff *** \xfe");
    }

    #[test]
    fn what_nobody_holds_any_more_is_not_masked() {
        let mask = mask(&["sesame"]);
        let clone = mask.clone();
        mask.hold("other", ["sesame".into()]);

        mask.hold("test", ["thistle".into()]);
        assert_eq!(clone.apply("sesame thistle"), "*** ***");
        mask.hold("other", []);
        assert_eq!(clone.apply("sesame thistle"), "sesame ***");
        mask.add(&"barley".into());
        mask.hold("test", []);
        assert_eq!(clone.apply("sesame thistle barley"), "sesame thistle ***");
    }

    /// As `encodeURIComponent` and RFC 3986 have it.
    const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    /// As paths have it.
    const PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'<').add(b'>').add(b'\\');

    /// `secret` between `before` and `after`, in one form after the other.
    fn forms(before: &str, secret: &str, after: &str) -> Vec<String> {
        let text = format!("{before}{secret}{after}");
        let json = serde_json::to_string(&text).unwrap();
        let encoded = |set| utf8_percent_encode(&text, set).to_string();
        let lower = |text: String| {
            let part = |part: &str| format!("{}{}", part[..2].to_lowercase(), &part[2..]);
            text.split('%')
                .enumerate()
                .map(|(at, rest)| if at == 0 { rest.into() } else { format!("%{}", part(rest)) })
                .collect::<String>()
        };
        vec![
            text.clone(),
            json.clone(),
            format!("{text:?}"),
            serde_json::to_string(&json).unwrap(),
            serde_json::to_string(&serde_json::to_string(&json).unwrap()).unwrap(),
            encoded(NON_ALPHANUMERIC),
            lower(encoded(NON_ALPHANUMERIC)),
            encoded(COMPONENT),
            encoded(PATH),
            encoded(COMPONENT).replace("%20", "+"),
            serde_json::to_string(&encoded(COMPONENT)).unwrap(),
            BASE64.encode(text.as_bytes()),
            BASE64_NOPAD.encode(text.as_bytes()),
            BASE64URL.encode(text.as_bytes()),
            BASE64URL_NOPAD.encode(text.as_bytes()),
            utf8_percent_encode(&BASE64.encode(text.as_bytes()), NON_ALPHANUMERIC).to_string(),
        ]
    }

    /// What somebody who sees `text` could read in it.
    fn readable(text: &str) -> Vec<Vec<u8>> {
        let mut readable = Vec::new();
        reading::each(text.as_bytes(), &mut |reading| readable.push(reading.bytes().to_vec()));
        readable
    }

    fn contains(text: &[u8], part: &[u8]) -> bool {
        text.windows(part.len()).any(|window| window == part)
    }

    proptest! {
        #[test]
        fn no_form_of_a_secret_is_left(
            secret in "[ -~é€]{4,40}",
            before in "[ -~é]{0,20}",
            after in "[ -~é]{0,20}",
        ) {
            let mask = mask(&[&secret]);
            for form in forms(&before, &secret, &after) {
                let masked = mask.apply(&form);
                prop_assert!(masked.contains(STARS), "{form}\n{masked}");
                for reading in readable(&masked) {
                    prop_assert!(!contains(&reading, secret.as_bytes()), "{form}\n{masked}");
                }
            }
            for base64 in [BASE64.encode(secret.as_bytes()), BASE64URL_NOPAD.encode(secret.as_bytes())] {
                let core = &base64[..secret.len() * 4 / 3];
                let masked = mask.apply(&base64).into_owned();
                prop_assert!(!masked.contains(core), "{masked}");
            }
        }

        #[test]
        fn a_text_without_a_secret_stays_as_it_is(secret in "[A-Za-z0-9+/]{16,40}", text in "[ -~é\n]{0,200}") {
            prop_assume!(!text.contains(&secret));
            prop_assert!(matches!(mask(&[&secret]).apply(&text), Cow::Borrowed(_)));
        }

        #[test]
        fn nothing_that_is_written_makes_it_panic(secret in ".{4,20}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = mask(&[&secret]).apply_to_bytes(&bytes);
            let _ = mask(&[&secret]).apply(&String::from_utf8_lossy(&bytes));
        }
    }
}
