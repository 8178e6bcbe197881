//! What came of putting new settings in force, as it is told.

use crate::audit::{Audit, Event, Line};
use crate::secrets::SecretName;

/// What new settings have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Profiles that are new, or whose store is.
    pub opened: Vec<String>,
    /// Profiles that are gone.
    pub closed: Vec<String>,
    /// Secrets that are other than before.
    pub secrets: Vec<SecretName>,
    /// How many grants there are now, where they were read.
    pub grants: Option<usize>,
    /// Settings that were changed and are only heeded at the next start.
    pub later: Vec<&'static str>,
}

impl Reloaded {
    /// Says it to the log and to `audit`.
    pub(super) fn tell(&self, audit: &Audit) {
        let Self { opened, closed, secrets, later, .. } = self;
        let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
        tracing::info!(opened = opened.join(" "), closed = closed.join(" "), secrets = secrets.join(" "), "settings reloaded");
        if !later.is_empty() {
            tracing::warn!(settings = later.join(" "), "heeded at the next start only");
        }
        let changed = Some(self.changed().into());
        audit.tell(&Line { event: Event::Reload, result: "in force", changed, ..Line::default() });
    }

    /// What has changed, by name at most.
    fn changed(&self) -> String {
        let opened = self.opened.iter().map(|name| format!("+{name}"));
        let closed = self.closed.iter().map(|name| format!("-{name}"));
        let secrets = self.secrets.iter().map(|name| format!("secret:{name}"));
        let grants = self.grants.iter().map(|count| format!("grants:{count}"));
        opened.chain(closed).chain(secrets).chain(grants).collect::<Vec<_>>().join(" ")
    }
}

/// Says to the log and to `audit` that new settings are not in force, because of `problems`.
pub(super) fn tell_of_refused(problems: &str, audit: &Audit) {
    tracing::error!(%problems, "settings not reloaded; the old ones stay in force");
    audit.tell(&Line { event: Event::Reload, result: "refused", reason: Some(problems.into()), ..Line::default() });
}
