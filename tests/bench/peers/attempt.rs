//! Work that may fail without taking the rest with it.

use std::any::Any;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

/// How long work that took too long is waited for while it puts its things away.
const CLEAR_UP: Duration = Duration::from_secs(60);

/// Does `work`, inside a `LocalSet`; why it failed, when it panicked or was not done within `limit`.
pub async fn attempt<T: 'static>(limit: Duration, work: impl Future<Output = T> + 'static) -> Result<T, String> {
    if limit.is_zero() {
        return Err("no time was left".to_owned());
    }
    let mut task = AbortOnDropHandle::new(tokio::task::spawn_local(work));
    let Ok(ended) = tokio::time::timeout(limit, &mut task).await else {
        task.abort();
        let _ = tokio::time::timeout(CLEAR_UP, task).await;
        return Err(format!("not done within {limit:.0?}"));
    };
    ended.map_err(|error| error.try_into_panic().map_or_else(|error| error.to_string(), |panic| message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").to_owned()
}
