//! The command line: words in, an exit status out.
//!
//! 0 is success, 1 what went wrong at run time, 2 a mistake in words,
//! settings, credentials or set-up that a person must mend.

mod check;
mod serve;
mod welcome;
mod words;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::config::{self, Config, Problems, Sources};

use words::{Command, Words};

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
    match configuration(words) {
        Ok(config) => match command {
            Command::Serve => serve::run(config),
            Command::Check => check::run(&config),
        },
        Err(problems) => {
            complain(&problems);
            ExitCode::from(MISTAKE)
        }
    }
}

/// The configuration that the words, the environment and the file make together.
fn configuration(words: Words) -> Result<Config, Problems> {
    let sources = Sources::gather(words.flags, std::env::vars_os().collect())?;
    config::load(&sources)
}

/// Says what went wrong. Nobody may be listening, and then the exit status must do.
fn complain(what: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}
