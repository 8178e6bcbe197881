//! `longshore policy`: the least that the keys of a profile must be allowed.

use std::process::ExitCode;

use crate::app::{self, Permissions};
use crate::config::Config;

use super::words::OfProfile;
use super::{MISTAKE, complain, say};

/// Says what is to be allowed, in a form to paste: a policy, or commands.
pub(super) fn run(config: &Config, OfProfile { profile, rights }: &OfProfile) -> ExitCode {
    match app::permissions(config, profile, *rights) {
        Ok(Permissions::None) => say(&format_args!("profile {profile} keeps its bytes in a folder, which takes no permissions")),
        Ok(Permissions::Policy(policy)) => say(&policy),
        Ok(Permissions::PolicyInOtherWords(kind, policy)) => {
            complain(&format_args!("longshore: a store of kind {kind} takes no such policies; allow the same in its own way"));
            say(&policy);
        }
        Ok(Permissions::Commands(commands)) => commands.iter().for_each(|command| say(command)),
        Err(mistake) => {
            complain(&format_args!("longshore: {mistake}"));
            return ExitCode::from(MISTAKE);
        }
    }
    ExitCode::SUCCESS
}
