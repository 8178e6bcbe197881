//! The permissions that a session is narrowed to.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What is done with objects; what a role does not have, a session does not get either.
const OBJECTS: &[&str] = &[
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
];

/// What is done with the bucket.
const LIST: &str = "s3:ListBucket";

/// The same for uploads. It cannot be narrowed to a prefix (Service Authorization Reference, "Amazon S3"), so where there
/// is one nobody may: what uploads leave behind is then left to a lifecycle rule.
const LIST_UPLOADS: &str = "s3:ListBucketMultipartUploads";

/// What a session is for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The role, which tells the partition.
    pub role_arn: &'a str,
    /// The bucket's name.
    pub bucket: &'a str,
    /// What the keys of all objects begin with, without a `/` at either end; may be empty.
    pub prefix: &'a str,
    /// The key of the key management that objects are encrypted with: its ARN, or `*` for the default one.
    pub kms_key: Option<&'a str>,
    /// What else is done with objects, such as `s3:PutObjectAcl`; not every store knows every action.
    pub also: &'a [&'a str],
}

/// The session policy that allows what Longshore does in `scope`, and nothing outside it.
///
/// Source: IAM User Guide, "Session policies": what is allowed is what both it and the role allow.
#[must_use]
pub fn session_policy(scope: &Scope<'_>) -> String {
    let bucket = format!("arn:{}:s3:::{}", partition(scope.role_arn), scope.bucket);
    let prefix = if scope.prefix.is_empty() { String::new() } else { format!("{}/", literal(scope.prefix)) };
    let list = if prefix.is_empty() {
        json!({"Effect": "Allow", "Action": [LIST, LIST_UPLOADS], "Resource": bucket})
    } else {
        let below = json!({"StringLike": {"s3:prefix": format!("{prefix}*")}});
        json!({"Effect": "Allow", "Action": [LIST], "Resource": bucket, "Condition": below})
    };
    let actions = [OBJECTS, scope.also].concat();
    let objects = json!({"Effect": "Allow", "Action": actions, "Resource": format!("{bucket}/{prefix}*")});
    let keys =
        scope.kms_key.map(|key| json!({"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": key}));
    let statements: Vec<Value> = [Some(objects), Some(list), keys].into_iter().flatten().collect();
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// Amazon's own, China's or the government's; whoever else has roles takes Amazon's.
fn partition(role_arn: &str) -> &str {
    role_arn.split(':').nth(1).filter(|partition| partition.starts_with("aws")).unwrap_or("aws")
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

    // The longest prefix there may be: IAM takes 2048 characters (IAM User Guide, "Quotas").
    #[test]
    fn it_is_never_too_long() {
        let scope = Scope {
            role_arn: "arn:aws-us-gov:iam::1:role/a",
            bucket: &"b".repeat(63),
            prefix: &"p".repeat(400),
            kms_key: None,
            also: &["s3:PutObjectAcl"],
        };

        assert!(session_policy(&scope).len() < 2048);
    }
}
