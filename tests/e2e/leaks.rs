//! Whatever is done and whatever goes wrong, nothing that is said shows a secret, in any form.
//!
//! Every [`Quay`](crate::stage::Quay) and every Longshore that is dropped
//! looks after what it said; here all kinds of secrets are in play at once,
//! and all ways to say something.

use std::fs;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Response, StatusCode};

use crate::profiles::write;
use crate::rotation::{Pair, Replica};
use crate::stage::{bucket_of, export, import, run};
use crate::support::door::{Door, S3Operation};
use crate::support::fault::Fault;
use crate::support::issuer::{Issuer, role_keys};
use crate::support::longshore::Longshore;
use crate::support::marks::marked;
use crate::support::mc::Admin;
use crate::support::project::Project;
use crate::support::s3_server::{S3Server, minio};
use crate::support::token_service::short_lived_role;
use crate::support::{client, eventually, ports};

/// How long a change may take to be in force.
const SOON: Duration = Duration::from_secs(20);

/// A customer key has this many bytes.
const KEY: &[u8] = b"Mark the customer key as it is..";

/// A replica with every kind of secret in play, on an empty bucket.
struct Treasury {
    /// Before MinIO.
    back: Door,
    replica: Replica,
    /// The pair in force, one whose secret is not MinIO's, and the one that comes after.
    pairs: [Pair; 3],
    /// Whose secret stands in the file.
    plain: Pair,
    /// What the first token service hands out.
    issued: String,
    bucket: String,
    metrics: SocketAddrV4,
    /// One whose keys are good, and one whose are not.
    token_services: [Issuer; 2],
}

impl Treasury {
    async fn open() -> Self {
        let (admin, (bucket, back)) = (Arc::new(Admin::of(minio().await.address)), bucket_of(S3Server::Minio).await);
        let ([first, wrong, last], plain, metrics) =
            ([Pair::new(), Pair::new(), Pair::new()], Pair::new(), ports::free_address());
        for pair in [&first, &last, &plain] {
            admin.add_key(&pair.id, &pair.secret);
        }
        let wrong = Pair { id: first.id.clone(), ..wrong };
        let [issued, refused, base, external] = [(); 4].map(|()| marked());
        let token = token_marked();
        let (of_session, of_token) = (refused.clone(), token.clone());
        let token_services = [
            short_lived_role(Arc::clone(&admin), &issued, Duration::from_secs(600)).await,
            Issuer::start(move |_| role_keys("AssumeRoleWithWebIdentity", ["NOBODY", &of_session, &of_token], SOON * 30)).await,
        ];
        let customer = BASE64.encode(KEY);
        let store = format!("store = \"s3://{bucket}/others\"\nendpoint = \"http://{}\"\n", back.address);
        let base_keys = format!("{{ source = \"static\", access_key_id = \"base\", secret_access_key = {base:?} }}");
        let more = format!(
            "[profiles.plain]\nimages = [\"plain/**\"]\n{store}access_key_id = {:?}\nsecret_access_key = {:?}\n\
             [profiles.role]\nimages = [\"role/**\"]\n{store}[profiles.role.credentials]\nsource = \"assume-role\"\n\
             role_arn = \"arn:aws:iam::1:role/a\"\nexternal_id = \"x{{{{secret:EXTERNAL}}}}\"\nfrom = {base_keys}\n\
             [profiles.customer]\nimages = [\"customer/**\"]\nstore = \"s3://{bucket}\"\nendpoint = \"https://{}\"\n\
             access_key_id = \"a\"\nsecret_access_key = {base:?}\nsse_customer_key = \"{customer}\"\n\
             [server]\nadmin_listen = [\"{metrics}\"]\n[store]\npatience = \"5s\"\n",
            plain.id,
            plain.secret,
            ports::free_address()
        );
        let mut replica = Replica::new(&back, &bucket, &first, &more).keeping(&wrong).keeping(&last);
        replica.launch = replica
            .launch
            .env("LONGSHORE_SECRET_EXTERNAL", &external)
            .env("AWS_ENDPOINT_URL_STS", &token_services[0].url())
            .keeping("a key to encrypt with", std::str::from_utf8(KEY).expect("it is text"))
            .keeping("a secret in the file", &plain.secret)
            .keeping("the secret of base keys", &base)
            .keeping("a secret that was issued", &issued)
            .keeping("a secret that was issued and is refused", &refused)
            .keeping("a session token", &token);
        Self { back, replica, pairs: [first, wrong, last], plain, issued, bucket, metrics, token_services }
    }

    /// Puts a mistake into the file, right beside a secret, until that has been told, by the server and by a command.
    async fn spoil(&self, longshore: &Longshore) {
        let Replica { config, launch, .. } = &self.replica;
        let right = fs::read_to_string(config).expect("it is there");
        write(config, &format!("{right}[profiles.typo]\nstore = \"s3://typo\"\nsecret_acess_key = {:?}\n", self.plain.secret));
        longshore.line_with("settings not reloaded", SOON).await;
        longshore.line_with("did you mean secret_access_key?", SOON).await;
        assert_eq!(launch.call(&["check"], "").status.code(), Some(2));
        write(config, &right);
    }

    /// Has the store's errors repeat all that it might know, in forms that it might choose.
    fn trouble(&self) {
        let (secret, [issued, plain]) = (self.pairs[0].secret.clone(), [&self.issued, &self.plain.secret]);
        let customer = BASE64.encode(KEY);
        let (json, base64) = (serde_json::to_string(&secret).expect("text"), BASE64.encode(secret.as_bytes()));
        let error =
            format!("<Error><Code>Mark</Code><Message>{secret} {json} {base64} {issued} {plain} {customer}</Message></Error>")
                .replace('&', "&amp;");
        self.back.trouble(move |seen| {
            let answer = Response::builder().status(StatusCode::BAD_REQUEST).body(Bytes::from(error.clone()));
            let is_it = [S3Operation::GetObject, S3Operation::ListObjectsV2].contains(&seen.operation());
            is_it.then(|| Fault::Answered(answer.unwrap()))
        });
    }
}

/// A secret of the characters that tokens have.
fn token_marked() -> String {
    marked().replace(['"', '\\', 'é'], "")
}

/// What an operator calls, and how it ends: the store of one profile is not there, and nobody can sweep it.
const COMMANDS: &[(&[&str], i32)] = &[
    (&["check"], 0),
    (&["config"], 0),
    (&["policy", "default"], 0),
    (&["secret", "list"], 0),
    (&["sweep", "--dry-run"], 1),
    (&["sweep"], 1),
    (&["secret", "rm", "NONE"], 2),
];

/// What a client is told of `image` that something is wrong with.
async fn refused(front: &Door, image: &str) -> StatusCode {
    client::ask(front.address, "GET", &format!("/v2/{image}/manifests/cache")).await.status
}

#[test]
fn no_secret_shows_in_anything_that_is_said() {
    run(async {
        let treasury = Treasury::open().await;
        let (launch, [_, wrong, last]) = (&treasury.replica.launch, &treasury.pairs);
        let mut longshore = launch.start().await;
        let front = Door::open(longshore.address);
        let cache = |image: &str| format!("type=registry,ref={}/{image}:cache", front.address);

        for image in ["org/app", "plain/app", "role/app"] {
            let project = Project::new();
            let exported = export(&project, &format!("{},mode=max", cache(image))).await;
            assert_eq!(import(&project, &cache(image)).await, exported, "{image}");
        }
        assert_eq!(refused(&front, "customer/app").await, StatusCode::SERVICE_UNAVAILABLE);
        treasury.trouble();
        assert_eq!(refused(&front, "org/app").await, StatusCode::SERVICE_UNAVAILABLE);
        treasury.back.trouble(|_| None);

        treasury.replica.set(wrong);
        longshore.line_with("settings reloaded", SOON).await;
        assert_eq!(refused(&front, "org/app").await, StatusCode::SERVICE_UNAVAILABLE);
        longshore.line_with("the secret access key does not belong to", SOON).await;
        treasury.replica.set(last);
        eventually("other keys are in force", SOON, || async {
            (refused(&front, "org/app").await == StatusCode::OK).then_some(())
        })
        .await;
        treasury.spoil(&longshore).await;

        for (words, status) in COMMANDS {
            let output = launch.call(words, "");
            assert_eq!(output.status.code(), Some(*status), "{words:?}: {output:?}");
        }
        let metrics = client::ask(treasury.metrics, "GET", "/metrics").await;
        launch.assert_hides("/metrics", &String::from_utf8_lossy(&metrics.body));
        assert!(metrics.body.len() > 1000, "{metrics:?}");
        for seen in front.seen() {
            launch.assert_hides(&seen.path, &seen.refusal());
        }
        assert!(front.seen().iter().any(|seen| !seen.refusal().is_empty()));
        longshore.assert_hides_secrets();
        longshore.terminate();
        longshore.ended(SOON).await;
        let log = longshore.log_to_end().await;
        launch.assert_hides("the log", &log);
        assert!(log.contains("Mark: *** \"***\" *** *** *** ***"), "{log}");
        // The mask is a second line: what it has hidden are ids that are kept as secrets, and what the store repeated.
        let others =
            log.lines().filter(|line| !["access_key_id", "access key id", "Mark: "].iter().any(|word| line.contains(word)));
        assert_eq!(others.filter(|line| line.contains("***")).collect::<Vec<_>>(), [""; 0]);
    });
}

#[test]
fn no_secret_shows_where_one_is_refused() {
    run(async {
        let treasury = Treasury::open().await;
        let ([first, wrong, _], token) = (&treasury.pairs, token_marked());
        let with_identity = format!(
            "[profiles.identity]\nimages = [\"identity/**\"]\nstore = \"s3://{}\"\nendpoint = \"http://{}\"\n\
             credentials = {{ source = \"web-identity\", role_arn = \"arn:aws:iam::1:role/a\", token_file = \"TOKEN\" }}\n",
            treasury.bucket, treasury.back.address
        );
        for (pair, more, told) in [
            (wrong, "", "the secret access key does not belong to access key id"),
            (first, with_identity.as_str(), "profile identity: "),
        ] {
            let replica = Replica::new(&treasury.back, &treasury.bucket, pair, "");
            let token_file = replica.config.with_file_name("token");
            write(&token_file, &token);
            let settings = fs::read_to_string(&replica.config).expect("it is there");
            write(&replica.config, &(settings + &more.replace("TOKEN", token_file.to_str().expect("a plain path"))));
            let launch = replica.launch.keeping("a token in a file", &token);
            let launch = launch.env("AWS_ENDPOINT_URL_STS", &treasury.token_services[1].url());
            let launch = launch.keeping_what(&treasury.replica.launch);

            // A start asks as well, and is over in two seconds, in which a busy store may not have answered.
            let swept = launch.call(&["sweep"], "");

            let said = String::from_utf8_lossy(&swept.stderr);
            assert_eq!(swept.status.code(), Some(2), "{said}");
            assert!(said.contains(told), "{said}");
        }
    });
}

#[test]
fn no_secret_shows_where_a_store_repeats_it_to_a_command() {
    run(async {
        let treasury = Treasury::open().await;
        let replica = Replica::new(&treasury.back, &treasury.bucket, &treasury.pairs[0], "");
        treasury.trouble();

        let swept = replica.launch.call(&["sweep"], "");

        let said = String::from_utf8_lossy(&swept.stderr);
        assert_eq!(swept.status.code(), Some(1), "{said}");
        assert!(said.contains("Mark: *** \"***\" ***"), "{said}");
    });
}
