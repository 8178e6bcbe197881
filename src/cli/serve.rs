//! `longshore serve`: what it does without a command, too.

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Entrance};
use crate::config::Config;

use super::welcome::Welcome;
use super::{MISTAKE, complain, log};

/// How long file operations that are under way may take once all else has ended.
const LAST_OPERATIONS: Duration = Duration::from_secs(1);

/// Serves until it is told to stop.
pub(super) fn run(config: Config) -> ExitCode {
    log::start(config.log);
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let status = runtime.block_on(serve(config));
    runtime.shutdown_timeout(LAST_OPERATIONS);
    status
}

async fn serve(config: Config) -> ExitCode {
    let (interrupt, terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let (format, welcome) = (config.log.format, Welcome::of(&config));
    let app = match App::build(config, log::mask().clone()).await {
        Ok(app) => app,
        Err(mistake) => {
            complain(&format_args!("longshore: {mistake}"));
            return ExitCode::from(MISTAKE);
        }
    };
    welcome.say(format, &app.addresses(Entrance::Registry), &app.addresses(Entrance::Admin));
    app.serve(stop(interrupt, terminate)).await;
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// Ready at the first signal to stop. The second ends the process at once.
async fn stop(mut interrupt: Signal, mut terminate: Signal) {
    signalled(&mut interrupt, &mut terminate).await;
    tracing::info!("stopping once running exports have ended; a second signal stops at once");
    tokio::spawn(async move {
        signalled(&mut interrupt, &mut terminate).await;
        tracing::warn!("stopped at once");
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
