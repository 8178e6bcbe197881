//! What a request's query says, and the query that asks for the next page.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The first value of `key` in a query.
pub(super) fn query_value(query: &str, key: &str) -> Option<String> {
    query_values(query, key).next()
}

/// Every value of `key` in a query.
pub(super) fn query_values(query: &str, key: &str) -> impl Iterator<Item = String> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let values = pairs.filter(move |(name, _)| *name == key).map(|(_, value)| value.replace('+', " "));
    values.map(|value| percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

/// `text` as a value in a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The `Link` to the entries after `last`, at `path`, which has a query already (RFC 8288, 3, "Link Serialisation in HTTP Headers").
pub(super) fn next_page(path: &str, last: &str) -> String {
    format!("<{path}&last={}>; rel=\"next\"", escaped(last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_value_is_found_and_decoded() {
        for (query, value) in [
            ("digest=sha256%3Aab", Some("sha256:ab")),
            ("a=b&digest=sha256:ab", Some("sha256:ab")),
            ("digest", Some("")),
            ("xdigest=1", None),
            ("", None),
        ] {
            assert_eq!(query_value(query, "digest").as_deref(), value, "{query}");
        }
    }

    /// What `last` a client asks for that follows `link`.
    fn followed(link: &str) -> Option<String> {
        let (target, relation) = link.strip_prefix('<')?.split_once('>')?;
        let (_, query) = target.split_once('?')?;
        (relation == "; rel=\"next\"").then(|| query_value(query, "last"))?
    }

    proptest! {
        #[test]
        fn a_link_leads_to_what_comes_after_its_last_entry(last in any::<String>(), n in any::<usize>()) {
            let link = next_page(&format!("/v2/app/tags/list?n={n}"), &last);

            prop_assert_eq!(followed(&link), Some(last));
            prop_assert!(http::HeaderValue::try_from(&link).is_ok(), "{}", link);
        }

        #[test]
        fn a_filter_comes_back_with_the_link(wanted in any::<String>(), last in any::<String>()) {
            let link = next_page(&format!("/v2/app/referrers/x?artifactType={}", escaped(&wanted)), &last);
            let query = link.split_once('?').and_then(|(_, rest)| rest.split_once('>')).map(|(query, _)| query);

            prop_assert_eq!(query.and_then(|query| query_value(query, "artifactType")), Some(wanted));
        }

        #[test]
        fn any_query_can_be_read(query in any::<String>(), key in "[a-z]{0,3}") {
            let most = query.split('&').count();

            prop_assert!(query_values(&query, &key).count() <= most);
        }
    }
}
