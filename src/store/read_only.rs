//! A store for who only wants to look.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Key, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload};
use crate::oci::ByteRange;

/// Another store, in which nothing is changed through this.
#[derive(Debug)]
pub struct ReadOnly(Arc<dyn ObjectStore>);

impl ReadOnly {
    /// What is in `store`, and no more than a look at it.
    #[must_use]
    pub fn of(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }
}

fn refused<T>() -> Result<T, StoreError> {
    Err(StoreError::Denied("nothing is changed while somebody only looks".into()))
}

#[async_trait]
impl ObjectStore for ReadOnly {
    async fn head(&self, key: &Key, patience: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        self.0.head(key, patience).await
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, patience: Duration) -> Result<Option<Object>, StoreError> {
        self.0.get(key, range, patience).await
    }

    async fn put(&self, _: &Key, _: Bytes, _: &str, _: Duration) -> Result<(), StoreError> {
        refused()
    }

    async fn upload(&self, _: &Key, _: Option<u64>, _: Duration) -> Result<Box<dyn Upload>, StoreError> {
        refused()
    }

    async fn copy(&self, _: &Key, _: &str, _: &Key, _: Duration) -> Result<bool, StoreError> {
        refused()
    }

    async fn touch(&self, _: &Key, _: Duration) -> Result<bool, StoreError> {
        refused()
    }

    async fn delete(&self, _: &Key, _: Duration) -> Result<(), StoreError> {
        refused()
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, patience: Duration) -> Result<Page, StoreError> {
        self.0.list(prefix, after, patience).await
    }

    async fn folders(&self, prefix: &str, patience: Duration) -> Result<Vec<String>, StoreError> {
        self.0.folders(prefix, patience).await
    }

    async fn unfinished(
        &self,
        prefix: &str,
        before: SystemTime,
        patience: Duration,
    ) -> Result<Option<Vec<Unfinished>>, StoreError> {
        self.0.unfinished(prefix, before, patience).await
    }

    async fn discard(&self, _: &Unfinished, _: Duration) -> Result<(), StoreError> {
        refused()
    }

    async fn probe(&self, patience: Duration) -> Result<(), StoreError> {
        self.0.probe(patience).await
    }

    fn reconnect(&self) {
        self.0.reconnect();
    }

    async fn settle(&self) {
        self.0.settle().await;
    }
}
