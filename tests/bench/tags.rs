//! What listing 200 000 tags a page at a time costs: `cargo bench --bench tags`.
//!
//! The tags are put into the store past Longshore, in which nothing but their
//! names matters. Every page is asked for once, in order, as a client does
//! that follows `Link`; on MinIO the listings are counted at a door. Then three
//! pages are asked for in turn, so that what else the machine does slows all
//! of them alike.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::Value;
use support::client::{Answer, ask};
use support::door::{Door, S3Operation};
use support::longshore::Launch;
use support::minio::Minio;

const TAGS: usize = 200_000;
const PAGE: usize = 1000;

/// Where the tags of image `bench` are.
const FOLDER: &str = "bench/_oci/tags";

/// How often a page is asked for to take the median.
const ROUNDS: usize = 20;

/// How long a server is left alone before its idle memory is read.
const SETTLE: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() {
    println!("| store | LISTs a page | first page | in the middle | last | idle | peak |");
    println!("|---|---|---|---|---|---|---|");

    let folder = support::scratch("bench-folder");
    fill(&folder.path().join(FOLDER));
    walk("folder", &Launch::on_folder(folder.path()), || "-".to_owned()).await;

    let minio = Minio::start().await;
    minio.make_bucket("bench");
    minio.rclone().fill("bench", &format!("tags/{FOLDER}"), &folder.path().join(FOLDER));
    let door = Door::open(minio.address);
    let lists = || (door.seen_operations(S3Operation::ListObjectsV2).len() as f64 / (TAGS / PAGE) as f64).to_string();
    walk("S3 (MinIO)", &Launch::on_bucket(&door, "bench", "tags"), lists).await;
}

/// Asks for every page, and some again and again; prints what that took.
async fn walk(store: &str, launch: &Launch, lists_a_page: impl Fn() -> String) {
    let server = launch.start().await;
    tokio::time::sleep(SETTLE).await;
    let idle = mb(server.resident_bytes());
    let (mut pages, mut tags, mut next) = (Vec::new(), Vec::new(), Some(format!("/v2/bench/tags/list?n={PAGE}")));
    while let Some(path) = next {
        let page = ask(server.address, "GET", &path).await;
        next = next_of(&page);
        tags.extend(tags_of(&page));
        pages.push(path);
    }
    assert!(tags.into_iter().eq((0..TAGS).map(tag)), "not every tag, once and in order");
    let (lists, peak) = (lists_a_page(), mb(server.peak_resident_bytes()));

    let [first, middle, last] = times(server.address, [0, pages.len() / 2, pages.len() - 1].map(|at| &*pages[at])).await;
    println!("| {store} | {lists} | {first} | {middle} | {last} | {idle} | {peak} |");
}

/// How long each page takes, asked for in turn.
async fn times(server: SocketAddrV4, pages: [&str; 3]) -> [String; 3] {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (page, times) in pages.iter().zip(&mut times) {
            let began = Instant::now();
            ask(server, "GET", page).await;
            times.push(began.elapsed());
        }
    }
    times.map(median)
}

fn tag(number: usize) -> String {
    format!("build-{number:06}")
}

fn tags_of(page: &Answer) -> Vec<String> {
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let page: Value = serde_json::from_slice(&page.body).unwrap();
    page["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// Where `Link` leads.
fn next_of(page: &Answer) -> Option<String> {
    let link = page.headers.get("link")?.to_str().unwrap();
    Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned())
}

/// Puts all tags into a folder.
fn fill(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for number in 0..TAGS {
        std::fs::write(folder.join(tag(number)), "{}").unwrap();
    }
}

fn median(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("{:.1} ms", times[times.len() / 2].as_secs_f64() * 1000.0)
}

fn mb(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
