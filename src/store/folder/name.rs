//! How a key's component is called as a file.
//!
//! Some file systems take `Latest` and `latest` for one name, and some take
//! two spellings of `é` for one. So a file name has only lowercase letters,
//! digits and a few signs: capitals are written small and marked at the end,
//! all else is written `%` and hex. What a digest or repository name is made
//! of stands as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The file name of `component`; no other component has it, in any case.
///
/// `@` is never part of it, so a name with `@` in front is ours to use.
pub(super) fn encode(component: &str) -> String {
    let mut name = String::with_capacity(component.len());
    for byte in component.bytes() {
        match byte {
            _ if stands_as_it_is(byte) => name.push(byte.into()),
            b'A'..=b'Z' => name.push(byte.to_ascii_lowercase().into()),
            // A String takes whatever is written to it.
            _ => drop(write!(name, "%{byte:02x}")),
        }
    }
    let capitals = capitals(component);
    if !capitals.is_empty() {
        name.push('!');
        name.push_str(&capitals);
    }
    name
}

/// The component whose file name `name` is; `None` for a foreign file's.
pub(super) fn decode(name: &str) -> Option<Cow<'_, str>> {
    // What names a directory itself or its parent is no component of a key.
    if matches!(name, "" | "." | "..") {
        return None;
    }
    // Most names; a listing may go through hundreds of thousands of them.
    if name.bytes().all(stands_as_it_is) {
        return Some(name.into());
    }
    let (small, capitals) = name.split_once('!').unwrap_or((name, ""));
    let mut bytes: Vec<u8> = percent_encoding::percent_decode_str(small).collect();
    for (digit, four) in capitals.chars().zip(bytes.chunks_mut(4)) {
        let marks = digit.to_digit(16)?;
        for (_, byte) in four.iter_mut().enumerate().filter(|(at, _)| marks & (8 >> at) != 0) {
            byte.make_ascii_uppercase();
        }
    }
    let component = String::from_utf8(bytes).ok()?;
    (encode(&component) == name).then(|| component.into())
}

fn stands_as_it_is(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:+=,~".contains(&byte)
}

/// A hex digit for every four bytes, a bit for each that is a capital, without zeros at the end.
fn capitals(component: &str) -> String {
    let digit = |four: &[u8]| {
        let marks = four.iter().enumerate().filter(|(_, byte)| byte.is_ascii_uppercase()).map(|(at, _)| 8 >> at).sum();
        char::from_digit(marks, 16).unwrap_or('0')
    };
    let digits: String = component.as_bytes().chunks(4).map(digit).collect();
    digits.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_component_is_called() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (component, name) in [
            ("app", "app"),
            ("v1.2_x-y", "v1.2_x-y"),
            (&*digest, &*digest),
            ("Latest", "latest!8"),
            ("LATEST", "latest!fc"),
            ("v1-RC", "v1-rc!18"),
            ("_tmp", "_tmp"),
            ("@tmp", "%40tmp"),
            ("a!8", "a%218"),
            ("50%", "50%25"),
            ("é", "%c3%a9"),
        ] {
            assert_eq!(encode(component), name);
            assert_eq!(decode(name).as_deref(), Some(component));
        }
    }

    #[test]
    fn a_name_that_encodes_nothing_is_foreign() {
        for name in [
            "", ".", "..", "@tmp", "README", "a b", "%2e", "%2E%2e", "%4", "%c3", "a!", "a!0", "a!08", "0!8", "a!8!8", "a!g",
            "a~!88", "%C3%a9",
        ] {
            assert_eq!(decode(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_tag_of_128_capitals_fits_a_file_name() {
        assert!(encode(&"A".repeat(128)).len() <= 255);
    }

    proptest! {
        #[test]
        fn every_component_comes_back(component in "\\PC{1,40}") {
            prop_assume!(!matches!(&*component, "." | ".."), "no key has such a component");
            let name = encode(&component);
            prop_assert_eq!(decode(&name), Some(component.into()));
        }

        #[test]
        fn no_two_components_have_names_that_differ_only_in_case(some in proptest::collection::hash_set("[aA!%@8fF]{1,4}", 1..50)) {
            let mut names = HashMap::new();
            for component in some {
                if let Some(other) = names.insert(encode(&component).to_ascii_lowercase(), component.clone()) {
                    prop_assert!(false, "{} and {}", component, other);
                }
            }
        }
    }
}
