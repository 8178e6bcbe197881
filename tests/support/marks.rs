//! Secrets that must show nowhere, and the search for them in every form that something might show them in.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

/// Fewest bytes of what is looked for: a shorter one might show by chance.
const MIN_BYTES: usize = 16;

/// A secret of 36 characters that no other test has, and that looks different in every form.
pub fn marked() -> String {
    format!("Mark/+=\"\\é{}", &Uuid::new_v4().simple().to_string()[..25])
}

/// Secrets, each with what it is and the forms that it has.
#[derive(Clone, Debug, Default)]
pub struct Marks(Vec<(String, Vec<String>)>);

impl Marks {
    /// Has `secret` looked for, which is called `what` where it is found.
    pub fn add(&mut self, what: &str, secret: &str) {
        if secret.len() >= MIN_BYTES {
            self.0.push((what.to_owned(), forms(secret)));
        }
    }

    /// Has those of `others` looked for as well.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// The secrets that show in `text`, each with the form in which it does.
    pub fn found_in(&self, text: &str) -> Vec<String> {
        let shown = |(what, forms): &(String, Vec<String>)| {
            let form = forms.iter().find(|form| text.contains(form.as_str()))?;
            Some(format!("{what} as {form}"))
        };
        self.0.iter().filter_map(shown).collect()
    }

    /// Panics when a secret shows in `text`, which is what `place` says.
    pub fn assert_absent(&self, place: &str, text: &str) {
        let found = self.found_in(text);
        assert!(found.is_empty(), "{place} shows {found:?}:\n{text}");
    }
}

/// As RFC 3986 has it.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `secret` as it is, percent-encoded, escaped as JSON and `Debug` do it, and in Base64 wherever it begins in that.
fn forms(secret: &str) -> Vec<String> {
    let quoted = |text: String| text[1..text.len() - 1].to_owned();
    let json = quoted(serde_json::to_string(secret).expect("text"));
    let mut forms = vec![secret.to_owned(), json.replace('/', "\\/"), quoted(format!("{secret:?}"))];
    forms.push(quoted(serde_json::to_string(&json).expect("text")));
    forms.push(json);
    for set in [NON_ALPHANUMERIC, COMPONENT] {
        let encoded = utf8_percent_encode(secret, set).to_string();
        forms.extend([with_small_digits(&encoded), encoded.replace("%20", "+"), encoded]);
    }
    for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
        forms.extend((0..3).map(|before| core(&encoding.encode(&[&[0; 2][..before], secret.as_bytes()].concat()), before)));
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Of the Base64 of a text that follows so many bytes, what stands there whatever those and the following bytes are.
fn core(base64: &str, before: usize) -> String {
    let whole_bytes = base64.len() * 6 / 8;
    base64[(before * 8).div_ceil(6)..whole_bytes * 8 / 6].to_owned()
}

/// `%2F` as `%2f`.
fn with_small_digits(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}%{}{}", part[..2].to_lowercase(), &part[2..]))
}
