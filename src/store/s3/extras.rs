//! Tags and ACLs: they are asked for with every write, and done without where the keys may not give them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use tokio::time::Instant;

use super::Shared;
use super::absence::FORBIDDEN;
use super::fault::Fault;
use super::objects::S3Objects;
use super::retry::Attempt;
use super::rights::Right;
use crate::store::StoreError;

/// What a write does without; laid on a request, it says so to [`ObjectHeaders`](super::objects::ObjectHeaders).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Without(&'static [Right]);

/// Nothing is left out.
const NOTHING: Without = Without(&[]);

/// What may be left out, the least first.
const LESS: [Without; 3] = [Without(&[Right::Tag]), Without(&[Right::SetAcl]), Without(&[Right::Tag, Right::SetAcl])];

impl Storable for Without {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for Without {
    fn name(&self) -> &'static str {
        "Without"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(*self);
        Ok(())
    }
}

impl Without {
    /// Whether it leaves out what needs `right`.
    pub(super) fn leaves_out(self, right: Right) -> bool {
        self.0.contains(&right)
    }
}

/// What is stated of tags and ACLs, and what of it is left out for now.
#[derive(Debug)]
pub(super) struct Extras {
    stated: Vec<Right>,
    left_out: Mutex<Option<(Without, Instant)>>,
}

impl Extras {
    /// Those of `objects`, none of which is left out.
    pub(super) fn of(objects: &S3Objects) -> Self {
        let stated = [(!objects.tags.is_empty(), Right::Tag), (objects.acl.is_some(), Right::SetAcl)];
        let stated = stated.into_iter().filter(|(is_stated, _)| *is_stated).map(|(_, right)| right).collect();
        Self { stated, left_out: Mutex::default() }
    }

    /// What is left out; after a while all is asked for again, since it may be allowed by then.
    fn left_out(&self) -> Without {
        self.lock().filter(|(_, since)| since.elapsed() < FORBIDDEN).map_or(NOTHING, |(without, _)| without)
    }

    fn leave_out(&self, without: Without) {
        *self.lock() = Some((without, Instant::now()));
    }

    /// What else may be left out, besides `usual`.
    fn less_than(&self, usual: Without) -> impl Iterator<Item = Without> {
        let is_stated = |without: &Without| without.0.iter().all(|right| self.stated.contains(right));
        LESS.into_iter().filter(is_stated).filter(move |less| *less != usual)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Without, Instant)>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// What a write comes to, which is made again without tags or ACL where it is refused with them.
    pub(super) async fn write<T, F>(
        &self,
        patience: Duration,
        mut request: impl FnMut(Attempt, Without) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let (deadline, usual) = (Instant::now() + patience, self.extras.left_out());
        let outcome = self.attempts(patience, |attempt| request(attempt, usual)).await;
        let Err(StoreError::Denied(cause)) = &outcome else { return outcome };
        for less in self.extras.less_than(usual) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.attempts(left, |attempt| request(attempt, less)).await {
                Err(StoreError::Denied(_)) => {}
                Ok(written) => {
                    self.extras.leave_out(less);
                    less.0.iter().for_each(|right| self.rights.tell(*right, &cause.to_string()));
                    return Ok(written);
                }
                failed => return failed,
            }
        }
        self.rights.note(&outcome);
        outcome
    }
}
