//! The command line: words in, an exit status out.
//!
//! 0 is success, 1 what went wrong at run time, 2 a mistake in words,
//! settings, credentials or set-up that a person must mend.

mod check;
mod log;
mod serve;
mod sweep;
mod welcome;
mod words;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::config::{self, Config, Flags, Problems, Sources};

use words::Command;

/// A mistake that a person must mend.
const MISTAKE: u8 = 2;

/// Does what the words of the command line say.
#[must_use]
pub fn run() -> ExitCode {
    let words = match words::parse(std::env::args_os()) {
        Ok(words) => words,
        Err(error) => {
            // Help goes to standard output, which may be closed by now; nobody is left to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(MISTAKE));
        }
    };
    let command = words.command;
    match configuration(words.flags, command) {
        Ok(config) => match command {
            Command::Serve => serve::run(config),
            Command::Check => check::run(&config),
            Command::Sweep(sweep) => sweep::run(config, sweep),
        },
        Err(problems) => {
            complain(&problems);
            ExitCode::from(MISTAKE)
        }
    }
}

/// The configuration that the flags, the environment and the file make together for `command`.
fn configuration(flags: Flags, command: Command) -> Result<Config, Problems> {
    let sources = Sources::gather(flags, std::env::vars_os().collect())?;
    match command {
        Command::Serve | Command::Check => config::load(&sources),
        Command::Sweep(_) => config::load_unserved(&sources),
    }
}

/// Says what went wrong. Nobody may be listening, and then the exit status must do.
fn complain(what: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
