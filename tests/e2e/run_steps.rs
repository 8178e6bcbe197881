//! What a step of a build can do to the server beside its daemon: where buildkitd uses the network of the host, a `RUN`
//! reaches every port that the daemon does.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use longshore::oci::Digest;
use longshore::registry::UploadId;

use crate::profiles::{config_file, write};
use crate::stage::{exporter, run};
use crate::support::buildkit::Build;
use crate::support::longshore::Launch;
use crate::support::project::Project;
use crate::support::scratch;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How long a line may take to be in the log.
const SOON: Duration = Duration::from_secs(20);

/// A request by its name, the status that it is to get, and the line of who did what.
struct Attempt {
    name: String,
    request: String,
    status: u16,
    told: String,
}

/// What a step tries that speaks HTTP by itself, to the server as it is called and by another name.
fn attempts(refused: u16) -> Vec<Attempt> {
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let (config, upload) = (Digest::sha256(b"{}"), UploadId::begin());
    let mut attempts = Vec::new();
    let of_blob = format!("digest=\"{config}\" bytes=2 ");
    for (name, host, status) in [("own", "localhost", refused), ("other", "cache.example", 421)] {
        for (part, line, body, fields) in [
            (
                "manifest",
                "PUT /v2/org/app/manifests/cache-main".to_owned(),
                manifest,
                format!("tag=\"cache-main\" bytes={} ", manifest.len()),
            ),
            ("blob", format!("PUT /v2/org/app/blobs/uploads/{upload}?digest={config}"), "{}", of_blob.clone()),
            ("small-blob", format!("POST /v2/org/app/blobs/uploads/?digest={config}"), "{}", of_blob.clone()),
        ] {
            let name = format!("{name}-{part}");
            let told = match status {
                421 => "image=\"org/app\" verb=\"write\" result=\"denied\" reason=\"this server is not called".to_owned(),
                _ => format!(
                    "event=\"denied\" identity=\"anonymous\" profile=\"default\" image=\"org/app\" {fields}verb=\"write\""
                ),
            };
            attempts.push(Attempt { name, request: request(&line, host, body), status, told });
        }
    }
    attempts
}

/// A command that sends a request. Its body comes a moment later: who answers without reading it may close the connection on
/// bytes that nobody will read, and the answer would be lost with it. The end comes later still, or it would break off the request.
fn request(line: &str, host: &str, body: &str) -> String {
    let head = format!("{line} HTTP/1.1\\r\\nHost: {host}\\r\\nContent-Type: {INDEX}\\r\\nContent-Length: {}", body.len());
    format!("(printf '{head}\\r\\nConnection: close\\r\\n\\r\\n'; /busybox sleep 0.2; printf '{body}'; /busybox sleep 0.3)")
}

/// A build each of whose steps sends a request to `port` of the host, and keeps the answer in a file.
fn project(attempts: &[Attempt], port: u16) -> Project {
    let mut dockerfile = String::from(
        "FROM scratch AS made\nSHELL [\"/busybox\", \"sh\", \"-c\"]\nCOPY busybox seed /\nRUN /busybox mkdir /result\n",
    );
    for Attempt { name, request, .. } in attempts {
        writeln!(dockerfile, "RUN {request} | /busybox nc 127.0.0.1 {port} > /result/{name}").expect("a string");
    }
    Project::with_busybox(&(dockerfile + "FROM scratch\nCOPY --from=made /result /\n"))
}

#[test]
fn a_step_that_pushes_by_itself_is_refused() {
    let writers = "[[access.grants]]\nwho = { user = \"alice\" }\nimages = [\"**\"]\nallow = [\"read\", \"write\", \"create\"]\n";
    for (anonymous, more, refused) in [("none", writers, 401), ("read", writers, 401), ("read", "", 403), ("none", "", 403)] {
        run(async {
            let ((folder, config), users) = (config_file(), if more.is_empty() { "" } else { "htpasswd = \"$/htpasswd\"\n" });
            let hash = bcrypt::hash_with_salt("right", 4, [7; 16]).expect("it is short");
            fs::write(folder.path().join("htpasswd"), format!("alice:{hash}\n")).expect("it is written");
            let text = format!("[access]\nanonymous = \"{anonymous}\"\n{users}{more}[profiles.default]\nstore = \"$/store\"\n");
            write(&config, &text.replace('$', folder.path().to_str().expect("a plain path")));
            let launch = Launch::bare(&["--config", config.to_str().expect("a plain path"), "--log-level", "debug"]).listening();
            let longshore = launch.start().await;
            let (attempts, output) = (attempts(refused), scratch("output"));
            let project = project(&attempts, longshore.address.port());

            exporter().await.must_build(&Build::of(project.path()).output_to(output.path())).await;

            for Attempt { name, status, told, .. } in &attempts {
                let answer = fs::read_to_string(output.path().join(name)).expect("the step has an answer");
                let is_answered = answer.starts_with(&format!("HTTP/1.1 {status} "));
                assert!(is_answered, "{anonymous} {name}: {answer}");
                longshore.line_with(told, SOON).await;
            }
            let names = |folder: &Path| {
                let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
                entries.collect::<Vec<_>>()
            };
            let store = folder.path().join("store");
            // What is half written lies in a folder of its own.
            let stored = [names(&store), names(&store.join("@tmp"))].concat();
            assert_eq!(stored, ["@tmp"], "{anonymous}");
        });
    }
}
