//! Which pictures there are, and what they show.

use std::io;
use std::path::Path;

use super::bars::{Bars, Scale};
use super::{Report, Unit};
use crate::sides::Side;

/// A picture, as the README shows it.
struct Picture {
    file: &'static str,
    /// In words, for those who don't see it.
    shows: &'static str,
    bars: fn(&Report) -> Bars,
}

const PICTURES: [Picture; 3] = [
    Picture { file: "small.svg", shows: "Milliseconds for a new small layer", bars: small },
    Picture { file: "large.svg", shows: "Speed of a large layer", bars: large },
    Picture { file: "requests.svg", shows: "Requests to the bucket", bars: requests },
];

/// Draws all of which something was measured, into `folder`.
pub fn draw(report: &Report, folder: &Path) -> io::Result<()> {
    for picture in PICTURES {
        let bars = (picture.bars)(report);
        if !bars.is_empty() {
            bars.draw(&folder.join(picture.file)).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// What shows them in a Markdown file from which they lie in `folder`.
pub fn links(folder: &Path) -> String {
    let link = |picture: &Picture| format!("![{}]({})\n", picture.shows, folder.join(picture.file).display());
    PICTURES.iter().map(link).collect()
}

fn small(report: &Report) -> Bars {
    let mut bars = Bars::new("One new layer of 200 kB, pushed over one connection", "ms", Scale::Logarithmic);
    for latency in ["+0 ms", "+20 ms", "+100 ms"] {
        let row = format!("new small blob, {latency}, 1 connection");
        bars.add_group(&format!("store {latency}"), |side| report.median(&row, Unit::Milliseconds, side));
    }
    bars
}

fn large(report: &Report) -> Bars {
    let mut bars = Bars::new("1 GiB, as a share of what a client gets from the store itself", "%", Scale::Linear);
    for (label, row) in [
        ("push, 90/360 MB/s", "1 GiB push, 90 MB/s a connection, 360 MB/s in all"),
        ("pull, 90/360 MB/s", "1 GiB pull, 90 MB/s a connection, 360 MB/s in all"),
        ("push, no limit", "1 GiB push, no limit"),
        ("pull, no limit", "1 GiB pull, no limit"),
    ] {
        let speed = |side| report.median(row, Unit::MegabytesPerSecond, side);
        bars.add_group(label, |side| Some(100.0 * speed(side)? / speed(Side::Direct)?));
    }
    bars
}

fn requests(report: &Report) -> Bars {
    let mut bars = Bars::new("Requests to the bucket", "requests", Scale::Logarithmic);
    for (label, row) in [
        ("new 200 kB layer", "new small blob, +20 ms, 1 connection"),
        ("known layer", "HEAD of a known blob, +20 ms"),
        ("1 GiB push", "1 GiB push, 90 MB/s a connection, 360 MB/s in all"),
        ("1 GiB pull", "1 GiB pull, 90 MB/s a connection, 360 MB/s in all"),
        ("10 pullers", "10 pullers of one 256 MB layer, region"),
        ("2 GB export", "2 GB cache exported, region"),
        ("2 GB import", "2 GB cache imported, region"),
    ] {
        let median = |side| report.median(row, Unit::Requests, side);
        bars.add_group(label, |side| median(side).filter(|_| side != Side::OnDisk));
    }
    bars
}
