//! The permissions that credentials need, as commands for Google's IAM.

use super::super::{Rights, Scope};

/// What the commands call the account, since nobody has told its name.
const ACCOUNT: &str = "ACCOUNT=longshore@PROJECT.iam.gserviceaccount.com";

/// Commands that give a service account what `rights` take in `scope`, and nothing else; with a key for the S3-compatible
/// API if it `has_hmac_key`.
///
/// Source: Cloud Storage, "IAM roles", "IAM conditions" (which need uniform access), "HMAC keys". Listing is about the bucket
/// and not about an object, so a condition must tell it by the prefix that is asked for.
#[must_use]
pub fn commands(scope: &Scope<'_>, rights: Rights, has_hmac_key: bool) -> Vec<String> {
    let role = match rights {
        Rights::Read => "roles/storage.objectViewer",
        Rights::Write => "roles/storage.objectUser",
    };
    let bucket = format!("gs://{}", scope.bucket);
    let condition = condition(scope).map(|condition| format!(" --condition={}", quoted(&condition))).unwrap_or_default();
    let uniform =
        (!condition.is_empty()).then(|| format!("gcloud storage buckets update {bucket} --uniform-bucket-level-access"));
    let member = "--member=\"serviceAccount:$ACCOUNT\"";
    let bind = format!("gcloud storage buckets add-iam-policy-binding {bucket} {member} --role={role}{condition}");
    let key = has_hmac_key.then(|| "gcloud storage hmac create \"$ACCOUNT\"".to_owned());
    [Some(ACCOUNT.to_owned()), uniform, Some(bind), key].into_iter().flatten().collect()
}

/// What narrows a role to the prefix, if there is one, as a dictionary that no character of it ends early (`gcloud topic
/// escaping`).
fn condition(scope: &Scope<'_>) -> Option<String> {
    if scope.prefix.is_empty() {
        return None;
    }
    let prefix = format!("{}/", scope.prefix.replace('\\', "\\\\").replace('"', "\\\""));
    let is_object = format!("resource.name.startsWith(\"projects/_/buckets/{}/objects/{prefix}\")", scope.bucket);
    let is_list = format!("api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \"\").startsWith(\"{prefix}\")");
    let expression = format!("{is_object} || {is_list}");
    let delimiter = ["~", "#", "%", ";", "@", "~#~"].into_iter().find(|delimiter| !expression.contains(delimiter))?;
    Some(format!("^{delimiter}^title=longshore{delimiter}expression={expression}"))
}

/// `text` as one word of a shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(prefix: &str, rights: Rights, has_hmac_key: bool) -> Vec<String> {
        commands(&Scope { role_arn: "", bucket: "ci-cache", prefix, kms_key: None, also: &[] }, rights, has_hmac_key)
    }

    #[test]
    fn a_role_is_narrowed_to_the_prefix_and_a_key_made_for_it() {
        assert_eq!(
            told("team/a", Rights::Write, true),
            [
                ACCOUNT,
                "gcloud storage buckets update gs://ci-cache --uniform-bucket-level-access",
                "gcloud storage buckets add-iam-policy-binding gs://ci-cache --member=\"serviceAccount:$ACCOUNT\" \
                 --role=roles/storage.objectUser --condition='^~^title=longshore~expression=resource.name.startsWith(\
                 \"projects/_/buckets/ci-cache/objects/team/a/\") || api.getAttribute(\"storage.googleapis.com/objectListPrefix\", \
                 \"\").startsWith(\"team/a/\")'",
                "gcloud storage hmac create \"$ACCOUNT\"",
            ]
        );
    }

    #[test]
    fn without_a_prefix_there_is_no_condition_and_a_token_needs_no_key() {
        assert_eq!(
            told("", Rights::Read, false),
            [
                ACCOUNT,
                "gcloud storage buckets add-iam-policy-binding gs://ci-cache --member=\"serviceAccount:$ACCOUNT\" \
                 --role=roles/storage.objectViewer",
            ]
        );
    }

    #[test]
    fn no_prefix_ends_the_word_or_the_text_that_it_stands_in() {
        let bind = told("it's ~ \"a\\", Rights::Read, false).remove(2);

        assert!(bind.contains(r#"'^#^title=longshore#expression="#), "{bind}");
        assert!(bind.contains(r#"objects/it'\''s ~ \"a\\/")"#), "{bind}");
    }
}
