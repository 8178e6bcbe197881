//! Settings that hold until the process ends.

use crate::config::{Config, Log, Server, StoreLimits};

/// What a reload cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    pub(super) log: Log,
    /// Without certificates, which are changed.
    pub(super) server: Server,
    /// Which listeners have one.
    pub(super) has_tls: Vec<bool>,
    pub(super) store: StoreLimits,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        let mut server = config.server.clone();
        let has_tls = server.listeners.iter_mut().map(|listener| listener.tls.take().is_some()).collect();
        Self { log: config.log, server, has_tls, store: config.store }
    }

    /// The settings that are other in `next`.
    pub(super) fn changes(&self, next: &Self) -> Vec<&'static str> {
        let (Self { log, server, has_tls, store }, other) = (self, next);
        let settings = [
            ("log.format", log.format != other.log.format),
            ("log.level", log.level != other.log.level),
            ("server.listen", server.listeners != other.server.listeners),
            ("server.listeners.tls", *has_tls != other.has_tls),
            ("server.admin_listen", server.admin_listeners != other.server.admin_listeners),
            ("server.hosts", server.hosts != other.server.hosts),
            ("server.drain", server.drain != other.server.drain),
            ("server.max_connections", server.max_connections != other.server.max_connections),
            ("server.metrics_images", server.metrics_images != other.server.metrics_images),
            ("store.upload_memory", store.upload_memory != other.store.upload_memory),
            ("store.patience", store.patience != other.store.patience),
            ("store.max_requests", store.max_requests != other.store.max_requests),
            ("store.index_memory", store.index_memory != other.store.index_memory),
            ("store.index_ttl", store.index_ttl != other.store.index_ttl),
            ("store.touch_after", store.touch_after != other.store.touch_after),
            ("store.grace", store.grace != other.store.grace),
        ];
        let changed: Vec<_> = settings.into_iter().filter_map(|(setting, is_other)| is_other.then_some(setting)).collect();
        // One that is not in the table is told all the same.
        if changed.is_empty() && self != next { vec!["[server], [store] or [log]"] } else { changed }
    }
}
