//! Whether bytes are JSON at all.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Reads all of `bytes` as JSON and keeps nothing.
///
/// What a type has no field for is skipped unread, and so may hold whatever it
/// likes: texts that are none, or nesting that would be the end of a client.
/// Here nothing is skipped, and nesting ends at serde_json's own 128.
pub(super) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Anything>(bytes).map(drop)
}

/// Any JSON.
struct Anything;

impl<'de> Deserialize<'de> for Anything {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Anything {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while let Some(Self) = elements.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while let Some((Self, Self)) = entries.next_entry()? {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn json_is_told_from_what_is_not_quite_json() {
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for json in ["{}", "null", "[true, -1, 1.5e3, \"\\u00e9\", {\"a\": {}}]", &deep(127)] {
            assert!(check(json.as_bytes()).is_ok(), "{json:.20}");
        }
        for other in [&b""[..], b"{", b"[1,]", b"01", b"{} {}", b"\"\xff\"", b"\"\\ud800\"", deep(10_000).as_bytes()] {
            assert!(check(other).is_err(), "{:.20}", String::from_utf8_lossy(other));
        }
    }

    proptest! {
        #[test]
        fn what_passes_is_what_can_be_read(bytes in proptest::collection::vec(prop::sample::select(&b"{}[]\",:0-1.e\\ utrlfasn\xc3\xa9"[..]), 0..12)) {
            prop_assert_eq!(check(&bytes).is_ok(), serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}
