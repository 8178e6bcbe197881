//! Counting the requests to a store as they go out and are answered.

use std::time::Instant;

use aws_sdk_s3::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use crate::metrics::ProfileMetrics;

/// Counts what the SDK sends, by operation and status. An attempt that was
/// given up before its answer came is not counted.
#[derive(Debug)]
pub(super) struct Counting(pub(super) ProfileMetrics);

/// When a request went out.
#[derive(Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Sent(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Without one it never came to sending anything.
        if let (Some(Sent(sent)), Some(metadata)) = (config.load::<Sent>(), config.load::<Metadata>()) {
            let status = context.response().map(|response| response.status().as_u16());
            self.0.store_answered(metadata.name(), status, sent.elapsed());
        }
        Ok(())
    }
}
