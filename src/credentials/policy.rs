//! The permissions that keys need, as Amazon's IAM writes them: those of a user or role, and those that a session is
//! narrowed to.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What is done with objects by who only reads.
const READING: &[&str] = &["s3:GetObject"];

/// The same by who writes. It is all that is needed; what else there is only tidies up.
const WRITING: &[&str] = &["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];

/// What a session takes of its role besides. What the role does not have, a session does not get either.
const TIDYING: &[&str] =
    &["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetObjectTagging", "s3:PutObjectTagging"];

/// What is done with the bucket.
const LIST: &str = "s3:ListBucket";

/// The same for uploads. It cannot be narrowed to a prefix (Service Authorization Reference, "Amazon S3"), so where there
/// is one nobody may: what uploads leave behind is then left to a lifecycle rule.
const LIST_UPLOADS: &str = "s3:ListBucketMultipartUploads";

/// What is done with the key of the key management (S3 User Guide, "Using server-side encryption with AWS KMS keys").
const DECRYPT: &[&str] = &["kms:Decrypt"];
const ENCRYPT: &[&str] = &["kms:GenerateDataKey", "kms:Decrypt"];

/// What keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// What keys are good for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The role's ARN or the beginning of any other: it tells the partition.
    pub role_arn: &'a str,
    /// The bucket's name.
    pub bucket: &'a str,
    /// What the keys of all objects begin with, without a `/` at either end; may be empty.
    pub prefix: &'a str,
    /// The key of the key management that objects are encrypted with: its id, ARN or alias, or `*` for the default one.
    pub kms_key: Option<&'a str>,
    /// What else writing objects takes, such as `s3:PutObjectAcl`; not every store knows every action.
    pub also: &'a [&'a str],
}

/// The policy of a user or role that allows what `rights` take in `scope`, and nothing else.
#[must_use]
pub fn policy(scope: &Scope<'_>, rights: Rights) -> String {
    let policy = match rights {
        Rights::Read => scope.allowing(READING, &[LIST], DECRYPT),
        Rights::Write => scope.allowing(&[WRITING, scope.also].concat(), &[LIST], ENCRYPT),
    };
    format!("{policy:#}")
}

/// The session policy that allows what Longshore does in `scope`, and nothing outside it.
///
/// Source: IAM User Guide, "Session policies": what is allowed is what both it and the role allow.
#[must_use]
pub fn session_policy(scope: &Scope<'_>) -> String {
    let also: Vec<_> = scope.also.iter().copied().filter(|action| !TIDYING.contains(action)).collect();
    let of_bucket = if scope.prefix.is_empty() { &[LIST, LIST_UPLOADS][..] } else { &[LIST] };
    scope.allowing(&[WRITING, TIDYING, &also].concat(), of_bucket, ENCRYPT).to_string()
}

impl Scope<'_> {
    /// The policy that allows these actions on objects, on the bucket, and on the key that encrypts.
    fn allowing(&self, on_objects: &[&str], on_bucket: &[&str], on_key: &[&str]) -> Value {
        let bucket = format!("arn:{}:s3:::{}", self.partition(), self.bucket);
        let prefix = if self.prefix.is_empty() { String::new() } else { format!("{}/", literal(self.prefix)) };
        let mut list = json!({"Effect": "Allow", "Action": on_bucket, "Resource": bucket});
        if !prefix.is_empty() {
            list["Condition"] = json!({"StringLike": {"s3:prefix": format!("{prefix}*")}});
        }
        let objects = json!({"Effect": "Allow", "Action": on_objects, "Resource": format!("{bucket}/{prefix}*")});
        let statements: Vec<Value> = [objects, list].into_iter().chain(self.key(on_key)).collect();
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    /// The statement that allows these actions on the key that encrypts, if there is one.
    ///
    /// A policy names keys by their ARN only; that of an alias is no key's (KMS Developer Guide, "Specifying KMS keys in IAM
    /// policy statements", "kms:ResourceAliases", "kms:ViaService").
    fn key(&self, actions: &[&str]) -> Option<Value> {
        let key = self.kms_key?;
        let of_account = |name: &str| format!("arn:{}:kms:*:*:key/{name}", self.partition());
        let (resource, condition) = match key.rsplit_once("alias/") {
            Some((_, alias)) => {
                let alias = json!({"ForAnyValue:StringEquals": {"kms:ResourceAliases": format!("alias/{alias}")}});
                (of_account("*"), Some(alias))
            }
            None if key == "*" => (key.to_owned(), Some(json!({"StringLike": {"kms:ViaService": "s3.*"}}))),
            None if key.starts_with("arn:") => (key.to_owned(), None),
            None => (of_account(key), None),
        };
        let mut statement = json!({"Effect": "Allow", "Action": actions, "Resource": resource});
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        Some(statement)
    }

    /// Amazon's own, China's or the government's; whoever else has roles takes Amazon's.
    fn partition(&self) -> &str {
        self.role_arn.split(':').nth(1).filter(|partition| partition.starts_with("aws")).unwrap_or("aws")
    }
}

/// `text` as a pattern that only it matches (IAM User Guide, "Policy variables", "Special characters").
fn literal(text: &str) -> String {
    text.chars().fold(String::new(), |mut pattern, c| {
        let _ = if matches!(c, '*' | '?' | '$') { write!(pattern, "${{{c}}}") } else { write!(pattern, "{c}") };
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(role_arn: &str, prefix: &str, kms_key: Option<&str>) -> Value {
        let scope = Scope { role_arn, bucket: "cache", prefix, kms_key, also: &["s3:PutObjectAcl"] };
        serde_json::from_str(&session_policy(&scope)).unwrap()
    }

    #[test]
    fn a_session_is_narrowed_to_a_bucket_and_a_prefix() {
        let narrowed = policy("arn:aws-cn:iam::1:role/a", "team/a", None);

        assert_eq!(narrowed["Statement"][0]["Resource"], "arn:aws-cn:s3:::cache/team/a/*");
        assert_eq!(narrowed["Statement"][1]["Resource"], "arn:aws-cn:s3:::cache");
        assert_eq!(narrowed["Statement"][1]["Condition"]["StringLike"]["s3:prefix"], "team/a/*");
        assert_eq!(narrowed["Statement"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn without_a_prefix_it_is_the_whole_bucket() {
        let narrowed = policy("arn:minio:iam:::role/a", "", Some("*"));

        assert_eq!(narrowed["Statement"][0]["Resource"], "arn:aws:s3:::cache/*");
        assert!(narrowed["Statement"][1].get("Condition").is_none());
        assert_eq!(narrowed["Statement"][1]["Action"], json!([LIST, LIST_UPLOADS]));
        assert_eq!(narrowed["Statement"][2]["Action"][0], "kms:GenerateDataKey");
    }

    #[test]
    fn a_prefix_that_looks_like_a_pattern_is_none() {
        assert_eq!(
            policy("arn:aws:iam::1:role/a", "a*?$", None)["Statement"][0]["Resource"],
            "arn:aws:s3:::cache/a${*}${?}${$}/*"
        );
    }

    #[test]
    fn a_policy_has_what_is_needed_and_nothing_else() {
        let scope =
            Scope { role_arn: "arn:aws", bucket: "cache", prefix: "team", kms_key: Some("*"), also: &["s3:PutObjectAcl"] };
        for (rights, on_objects, on_key) in [
            (Rights::Read, json!(["s3:GetObject"]), json!(["kms:Decrypt"])),
            (
                Rights::Write,
                json!(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:PutObjectAcl"]),
                json!(["kms:GenerateDataKey", "kms:Decrypt"]),
            ),
        ] {
            let policy: Value = serde_json::from_str(&super::policy(&scope, rights)).unwrap();

            let actions: Vec<_> =
                policy["Statement"].as_array().unwrap().iter().map(|statement| statement["Action"].clone()).collect();
            assert_eq!(actions, [on_objects, json!(["s3:ListBucket"]), on_key]);
            assert_eq!(policy["Statement"][1]["Condition"]["StringLike"]["s3:prefix"], "team/*");
        }
    }

    #[test]
    fn a_key_is_named_by_its_arn_or_told_by_its_alias() {
        const ARN: &str = "arn:aws:kms:eu-central-1:1:key/k";
        for (key, resource, condition) in [
            (ARN, ARN, None),
            ("1234abcd-12ab", "arn:aws:kms:*:*:key/1234abcd-12ab", None),
            ("alias/ci/cache", "arn:aws:kms:*:*:key/*", Some("alias/ci/cache")),
            ("arn:aws:kms:eu-central-1:1:alias/cache", "arn:aws:kms:*:*:key/*", Some("alias/cache")),
        ] {
            let statement = policy("arn:aws:iam::1:role/a", "", Some(key))["Statement"][2].clone();

            assert_eq!(statement["Resource"], resource);
            let alias = statement["Condition"]["ForAnyValue:StringEquals"]["kms:ResourceAliases"].as_str();
            assert_eq!(alias, condition, "{statement}");
        }
    }

    #[test]
    fn nothing_is_named_twice() {
        let scope = Scope { role_arn: "", bucket: "cache", prefix: "", kms_key: None, also: &["s3:PutObjectTagging"] };

        assert_eq!(session_policy(&scope).matches("s3:PutObjectTagging").count(), 1);
    }

    // The longest prefix there may be: IAM takes 2048 characters (IAM User Guide, "Quotas").
    #[test]
    fn it_is_never_too_long() {
        let scope = Scope {
            role_arn: "arn:aws-us-gov:iam::1:role/a",
            bucket: &"b".repeat(63),
            prefix: &"p".repeat(400),
            kms_key: None,
            also: &["s3:PutObjectAcl", "s3:PutObjectTagging"],
        };

        assert!(session_policy(&scope).len() < 2048);
    }
}
