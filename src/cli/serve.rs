//! `longshore serve`: what it does without a command, too.

use std::process::ExitCode;

use crate::config::Config;

/// Serves until it is told to stop.
pub fn run(_config: Config) -> ExitCode {
    eprintln!("serving is not built yet");
    ExitCode::FAILURE
}
