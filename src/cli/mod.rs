//! The command line: words in, an exit status out.
//!
//! 0 is success, 1 what went wrong at run time, 2 a mistake in words,
//! settings, credentials or set-up that a person must mend.

mod can;
mod check;
mod config;
mod explain;
mod log;
mod policy;
mod prompt;
mod reload;
mod secret;
mod serve;
mod slug;
mod sweep;
mod welcome;
mod words;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::config::{self as settings, Config, Flags, Problems, Sources};

use words::{Command, Words};

/// A mistake that a person must mend.
const MISTAKE: u8 = 2;

/// Does what the words of the command line say.
#[must_use]
pub fn run() -> ExitCode {
    log::mask_panics();
    let Words { command, flags } = match words::parse(std::env::args_os()) {
        Ok(words) => words,
        Err(error) => {
            // Help goes to standard output, which may be closed by now; nobody is left to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(MISTAKE));
        }
    };
    match command {
        Command::Serve => {
            // Looked at before they are read, or a change in between would never be noticed.
            let seen = reload::glance(&settings::places(&flags, &std::env::vars_os().collect()));
            configured(&flags, settings::load, |config| serve::run(config, flags.clone(), seen))
        }
        Command::Check => configured(&flags, settings::load, |config| check::run(&config)),
        Command::Sweep(sweep) => configured(&flags, settings::load_unserved, |config| sweep::run(config, sweep)),
        Command::Config => configured_with(&flags, settings::in_force, |rows, _| config::run(&rows)),
        Command::Explain(asked) => configured(&flags, settings::load_unserved, |config| explain::run(config, &asked)),
        Command::Policy(asked) => configured(&flags, settings::load_unserved, |config| policy::run(&config, &asked)),
        Command::Secret(asked) => secret::run(asked, flags),
        Command::Can(asked) => configured(&flags, settings::load, |config| can::run(&config, &asked)),
        Command::Slug(git_ref) => slug::run(&git_ref),
    }
}

/// Does `work` with the configuration that the flags, the environment and the file make together.
fn configured(
    flags: &Flags,
    load: impl FnOnce(&Sources) -> Result<Config, Problems>,
    work: impl FnOnce(Config) -> ExitCode,
) -> ExitCode {
    let load = |sources: &Sources| load(sources).map(|config| ((), config));
    configured_with(flags, load, |(), config| work(config))
}

/// The same, with what else is made of them. No secret of the configuration is said from then on.
fn configured_with<T>(
    flags: &Flags,
    load: impl FnOnce(&Sources) -> Result<(T, Config), Problems>,
    work: impl FnOnce(T, Config) -> ExitCode,
) -> ExitCode {
    match Sources::gather(flags, &std::env::vars_os().collect()).and_then(|sources| load(&sources)) {
        Ok((made, config)) => {
            log::mask().hold("the configuration", config.secret_values());
            work(made, config)
        }
        Err(problems) => {
            complain(&problems);
            ExitCode::from(MISTAKE)
        }
    }
}

/// Says what came of it. Nobody may be listening, and then the exit status must do.
fn say(what: &dyn Display) {
    let _ = writeln!(std::io::stdout(), "{}", log::mask().apply(&what.to_string()));
}

/// Says what went wrong. Nobody may be listening, and then the exit status must do.
fn complain(what: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "{}", log::mask().apply(&what.to_string()));
}
