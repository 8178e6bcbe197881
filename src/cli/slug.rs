//! `longshore slug`: what stands for a ref in a tag.

use std::process::ExitCode;

use crate::app;

use super::{MISTAKE, complain, say};

/// Says it.
pub(super) fn run(git_ref: &str) -> ExitCode {
    match app::slug(git_ref) {
        Some(slug) => {
            say(&slug);
            ExitCode::SUCCESS
        }
        None => {
            complain(&format_args!(
                "longshore: {git_ref:?} is no ref of a branch, a tag, or a pull or merge request, such as refs/heads/main"
            ));
            ExitCode::from(MISTAKE)
        }
    }
}
