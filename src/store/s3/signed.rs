//! When a request was signed, told with its answer.
//!
//! By that, and not by our clock, a store judges: once it has put us right,
//! requests are signed by its time whatever ours is, and when it was the
//! store's clock that was off, they are signed by that until it is mended.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::{BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat as Format};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

/// Lets [`skew`] know when a request was signed.
#[derive(Debug)]
pub(super) struct Signing;

/// When a request was signed, as it says itself.
#[derive(Clone, Copy, Debug)]
struct Signed(SystemTime);

impl Storable for Signed {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Signing {
    fn name(&self) -> &'static str {
        "Signing"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(signed) = context.request().headers().get("x-amz-date").and_then(time) {
            config.interceptor_state().store_put(Signed(signed));
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(signed) = config.load::<Signed>() {
            context.response_mut().add_extension(*signed);
        }
        Ok(())
    }
}

/// The time in an `x-amz-date`, such as `20261125T120000Z` (SigV4, "Elements of a request signature").
fn time(text: &str) -> Option<SystemTime> {
    let (date, clock) = text.split_at_checked(8)?;
    let part = |of: &str, range: std::ops::Range<usize>| of.get(range).map(str::to_owned);
    let (year, month, day) = (part(date, 0..4)?, part(date, 4..6)?, part(date, 6..8)?);
    let (hour, minute, second) = (part(clock, 1..3)?, part(clock, 3..5)?, part(clock, 5..7)?);
    let written = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    SystemTime::try_from(DateTime::from_str(&written, Format::DateTime).ok()?).ok()
}

/// How far the time that an answer bears is from that by which its request was signed.
pub(super) fn skew(response: &HttpResponse) -> Duration {
    let date = response.headers().get("date").and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    let theirs = date.and_then(|date| SystemTime::try_from(date).ok());
    let (Some(theirs), Some(Signed(ours))) = (theirs, response.extension::<Signed>().copied()) else { return Duration::ZERO };
    ours.duration_since(theirs).or_else(|_| theirs.duration_since(ours)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_signature_is_read_or_none() {
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        for (text, read) in [
            ("19700101T000001Z", at(1)),
            ("20261125T120000Z", at(1_795_608_000)),
            ("20261325T120000Z", None),
            ("20261125", None),
            ("2026112\u{e4}T120000Z", None),
            ("", None),
        ] {
            assert_eq!(time(text), read, "{text}");
        }
    }
}
