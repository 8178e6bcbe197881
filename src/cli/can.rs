//! `longshore can`: whether somebody may do something, and the rule that decides.

use std::process::ExitCode;

use crate::app::{self, Question};
use crate::config::Config;

use super::words::Asked;
use super::{MISTAKE, complain, say};

/// Says the answer; it is 0 where it is yes, 1 where it is no.
pub(super) fn run(config: &Config, asked: &Asked) -> ExitCode {
    let claims = match asked.claims.as_ref().map(std::fs::read_to_string).transpose() {
        Ok(claims) => claims,
        Err(error) => return mistaken(&format_args!("the claims cannot be read: {error}")),
    };
    let question = Question { identity: asked.identity.clone(), claims, deed: asked.deed, object: asked.object.clone() };
    match app::can(config, &question) {
        Ok(decision) => {
            say(&decision);
            if decision.is_allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(mistake) => mistaken(&mistake),
    }
}

fn mistaken(why: &dyn std::fmt::Display) -> ExitCode {
    complain(&format_args!("longshore: {why}"));
    ExitCode::from(MISTAKE)
}
