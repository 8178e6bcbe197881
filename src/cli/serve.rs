//! `longshore serve`: what it does without a command, too.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Running};
use crate::config::{Config, Flags};

use super::reload::{Glance, Reloading, glance, tell_warnings};
use super::welcome::Welcome;
use super::{MISTAKE, complain, log};

/// How long file operations that are under way may take once all else has ended.
const LAST_OPERATIONS: Duration = Duration::from_secs(1);

/// Serves until it is told to stop. `flags` are those that the configuration is made of, and `seen` its files before that.
pub(super) fn run(config: Config, flags: Flags, seen: Glance) -> ExitCode {
    log::start(config.log);
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let status = runtime.block_on(serve(config, flags, seen));
    runtime.shutdown_timeout(LAST_OPERATIONS);
    status
}

async fn serve(config: Config, flags: Flags, seen: Glance) -> ExitCode {
    let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    let [Ok(interrupt), Ok(terminate), Ok(hangup)] = signals else {
        complain(&"longshore: the system lets nobody wait for signals");
        return ExitCode::FAILURE;
    };
    let (format, welcome) = (config.log.format, Welcome::of(&config));
    let seen =
        glance(&config.files).into_iter().map(|(path, now)| (path.clone(), seen.get(&path).cloned().unwrap_or(now))).collect();
    tell_warnings(&config);
    let app = match App::build(config, log::mask().clone()).await {
        Ok(app) => app,
        Err(mistakes) => {
            complain(&mistakes);
            return ExitCode::from(MISTAKE);
        }
    };
    let [addresses, admin] = app.addresses();
    welcome.say(format, &addresses, &admin);
    let (reloading, running) = (Reloading::new(flags, app.running(), hangup), app.running());
    tokio::select! {
        () = app.serve(stop(interrupt, terminate, running)) => {}
        () = reloading.go_on(seen) => {}
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// Ready at the first signal to stop. The second ends the process at once.
async fn stop(mut interrupt: Signal, mut terminate: Signal, running: Arc<Running>) {
    signalled(&mut interrupt, &mut terminate).await;
    tracing::info!("stopping once running exports have ended; a second signal stops at once");
    tokio::spawn(async move {
        signalled(&mut interrupt, &mut terminate).await;
        tracing::warn!("stopped at once");
        running.settle_audit().await;
        std::process::exit(1);
    });
}

async fn signalled(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn failed(error: &std::io::Error) -> ExitCode {
    complain(&format_args!("longshore: {error}"));
    ExitCode::FAILURE
}
