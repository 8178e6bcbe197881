//! Bytes that are hashed on their way to a client, who gets the last of them only if all are right.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::RegistryError;
use crate::oci::{Digest, Hasher};
use crate::store::{ByteStream, StoreError};

/// `body`, with its last bytes held back until all of it hashes to `digest`.
pub(super) fn verified(
    digest: Digest,
    length: u64,
    body: ByteStream,
) -> stream::BoxStream<'static, Result<Bytes, RegistryError>> {
    let state = (body, Some(Checking::of(digest, length)), length);
    stream::try_unfold(state, move |(mut body, mut checking, mut left)| async move {
        let chunk = body.try_next().await?;
        if let (Some(checking), Some(chunk)) = (&mut checking, &chunk) {
            checking.update(chunk).await;
            left = left.saturating_sub(chunk.len() as u64);
        }
        let is_last = left == 0 || chunk.is_none();
        if is_last
            && let Some(checking) = checking.take()
            && checking.finish().await? != digest
        {
            return Err(RegistryError::Corrupt(digest));
        }
        Ok(chunk.map(|chunk| (chunk, (body, checking, left))))
    })
    .boxed()
}

/// Bytes that are being hashed on their way to a client: in passing if they are
/// few, else beside it, so that they need not wait for that.
enum Checking {
    Passing(Box<Hasher>),
    Beside { chunks: mpsc::Sender<Bytes>, hashing: AbortOnDropHandle<Digest> },
}

impl Checking {
    /// Bodies from this length on are worth a task of their own.
    const LARGE: u64 = 1024 * 1024;

    /// Chunks that may be ahead of the hash.
    const AHEAD: usize = 4;

    fn of(digest: Digest, length: u64) -> Self {
        let mut hasher = Hasher::new(digest.algorithm());
        if length < Self::LARGE {
            return Self::Passing(Box::new(hasher));
        }
        let (sender, mut chunks) = mpsc::channel::<Bytes>(Self::AHEAD);
        let hashing = tokio::spawn(async move {
            while let Some(chunk) = chunks.recv().await {
                hasher.update(&chunk);
            }
            hasher.finish()
        });
        Self::Beside { chunks: sender, hashing: AbortOnDropHandle::new(hashing) }
    }

    async fn update(&mut self, chunk: &Bytes) {
        match self {
            Self::Passing(hasher) => hasher.update(chunk),
            // Where nobody takes them any more, there will be no digest either.
            Self::Beside { chunks, .. } => drop(chunks.send(chunk.clone()).await),
        }
    }

    /// The digest of everything.
    async fn finish(self) -> Result<Digest, StoreError> {
        match self {
            Self::Passing(hasher) => Ok(hasher.finish()),
            Self::Beside { chunks, hashing } => {
                drop(chunks);
                // It is lost only with the runtime, and then so is the client.
                hashing.await.map_err(|error| StoreError::Unavailable(error.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(parts: &'static [&'static str]) -> ByteStream {
        Box::pin(stream::iter(parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes())))))
    }

    async fn read(digest: &str, parts: &'static [&'static str]) -> (String, Option<RegistryError>) {
        let length = parts.iter().map(|part| part.len() as u64).sum();
        let mut body = verified(Digest::sha256(digest.as_bytes()), length, chunks(parts));
        let mut text = String::new();
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Err(error) => return (text, Some(error)),
            }
        }
        (text, None)
    }

    /// As many bytes as are hashed beside their way, in chunks, the last byte turned if they are to be wrong.
    fn large(is_wrong: bool) -> (Digest, u64, ByteStream) {
        let mut bytes = vec![7; usize::try_from(Checking::LARGE).unwrap() + 5];
        let digest = Digest::sha256(&bytes);
        *bytes.last_mut().unwrap() ^= u8::from(is_wrong);
        let chunks: Vec<_> = bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        (digest, bytes.len() as u64, Box::pin(stream::iter(chunks)))
    }

    #[tokio::test]
    async fn many_bytes_are_hashed_beside_their_way_and_held_back_all_the_same() {
        for is_wrong in [false, true] {
            let (digest, length, chunks) = large(is_wrong);

            let came: Vec<_> = verified(digest, length, chunks).collect().await;

            let bytes: u64 = came.iter().flatten().map(|chunk| chunk.len() as u64).sum();
            assert_eq!(came.iter().all(Result::is_ok), !is_wrong);
            assert_eq!(bytes < length, is_wrong, "{bytes} of {length}");
        }
    }

    #[tokio::test]
    async fn right_bytes_come_whole() {
        let (text, error) = read("hello world", &["hello", " ", "world"]).await;

        assert_eq!((text.as_str(), error.is_none()), ("hello world", true));
    }

    #[tokio::test]
    async fn nothing_is_not_taken_for_something() {
        assert!(matches!(read("hello", &[]).await, (_, Some(RegistryError::Corrupt(_)))));
        assert!(matches!(read("", &[]).await, (_, None)));
    }

    #[tokio::test]
    async fn wrong_bytes_never_come_to_their_end() {
        let (text, error) = read("hello world", &["hello", " ", "w0rld"]).await;

        assert_eq!(text, "hello ");
        assert!(matches!(error, Some(RegistryError::Corrupt(_))), "{error:?}");
    }
}
