//! `longshore can`: whether somebody may do something, and the rule that decides.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::path::Path;
use std::process::ExitCode;

use secrecy::SecretString;
use tokio::runtime::Builder;

use crate::app::{self, Question};
use crate::config::Config;

use super::words::Asked;
use super::{MISTAKE, complain, log, say};

/// Most bytes of a token that are read: more than any has that is taken.
const MAX_TOKEN: u64 = 64 * 1024;

/// Says the answer; it is 0 where it is yes, 1 where it is no.
pub(super) fn run(config: &Config, asked: &Asked) -> ExitCode {
    // Why the keys of an issuer cannot be had is said there.
    log::start(config.log);
    let claims = match asked.claims.as_ref().map(std::fs::read_to_string).transpose() {
        Ok(claims) => claims,
        Err(error) => return mistaken(&format_args!("the claims cannot be read: {error}")),
    };
    let token = match asked.token.as_deref().map(token).transpose() {
        Ok(token) => token,
        Err(error) => {
            return mistaken(&format_args!("the token cannot be read: {error}; --token takes a file, or - for standard input"));
        }
    };
    let question = Question { identity: asked.identity.clone(), claims, token, deed: asked.deed, object: asked.object.clone() };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return mistaken(&error),
    };
    match runtime.block_on(app::can(config, &question)) {
        Ok(decision) => {
            say(&decision);
            if decision.is_allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(mistake) => mistaken(&mistake),
    }
}

/// The token in a file, or of standard input: on the command line others could read it.
fn token(path: &Path) -> io::Result<SecretString> {
    let from: Box<dyn Read> = if path == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(path)?) };
    let mut text = String::new();
    from.take(MAX_TOKEN).read_to_string(&mut text)?;
    Ok(text.trim().to_owned().into())
}

fn mistaken(why: &dyn std::fmt::Display) -> ExitCode {
    complain(&format_args!("longshore: {why}"));
    ExitCode::from(MISTAKE)
}
