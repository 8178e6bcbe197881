//! `longshore sweep`: removes what unfinished uploads left in the store, all of it.

use std::fmt::Display;
use std::process::ExitCode;

use tokio::runtime::Builder;

use crate::app::{self, Leftovers, Sweep, SweepError, Swept};
use crate::config::Config;

use super::{MISTAKE, complain, log, say};

/// What keys need that may list unfinished uploads, and what does without.
const NOT_TOLD: &str = "the bucket does not list unfinished uploads; with s3:ListBucketMultipartUploads it may, \
    and a lifecycle rule that aborts incomplete multipart uploads does without";

/// Sweeps, or says what there is to sweep.
pub(super) fn run(config: Config, sweep: Sweep) -> ExitCode {
    log::start(config.log);
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, ExitCode::FAILURE),
    };
    let tell = |image: Option<&str>, found| say(&format_args!("{}: {}", image.unwrap_or("of no image"), counted(found, ", ")));
    match runtime.block_on(app::sweep(config, sweep, log::mask().clone(), tell)) {
        Ok(swept) => {
            if !swept.tells_uploads {
                complain(&format_args!("longshore: {NOT_TOLD}"));
            }
            say(&total(sweep, swept));
            ExitCode::SUCCESS
        }
        Err(error @ SweepError::Setup(_)) => failed(&error, ExitCode::from(MISTAKE)),
        Err(error @ SweepError::Failed { .. }) => failed(&error, ExitCode::FAILURE),
    }
}

fn failed(error: &dyn Display, status: ExitCode) -> ExitCode {
    complain(&format_args!("longshore: {error}"));
    status
}

/// What came of it all, in a line.
fn total(sweep: Sweep, Swept { leftovers, untidy, images, .. }: Swept) -> String {
    let did = match sweep {
        Sweep::Remove => "swept",
        Sweep::Look => "would sweep",
    };
    let found = if leftovers.is_empty() { "nothing".to_owned() } else { counted(leftovers, " and ") };
    let of = if untidy == 0 { String::new() } else { format!(" of {}", number(untidy, "image")) };
    format!("{did} {found}{of}; {} seen", number(images, "image"))
}

/// What was found, without what was not.
fn counted(found: Leftovers, and: &str) -> String {
    let counts = [(found.pieces, "piece"), (found.uploads, "unfinished upload")];
    let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| number(*count, what));
    counts.collect::<Vec<_>>().join(and)
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_what_there_was() {
        for (pieces, uploads, untidy, images, line) in [
            (3, 1, 2, 17, "swept 3 pieces and 1 unfinished upload of 2 images; 17 images seen"),
            (1, 0, 1, 1, "swept 1 piece of 1 image; 1 image seen"),
            (0, 2, 0, 0, "swept 2 unfinished uploads; 0 images seen"),
            (0, 0, 0, 5, "swept nothing; 5 images seen"),
        ] {
            let leftovers = Leftovers { pieces, uploads };
            assert_eq!(total(Sweep::Remove, Swept { leftovers, untidy, images, tells_uploads: true }), line);
        }
    }
}
