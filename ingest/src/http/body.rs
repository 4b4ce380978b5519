//! Reads request bodies, bounded in size, time and memory.
//!
//! In: a body as it arrives. Out: its bytes. Never: more memory for all
//! requests together than the budget: beyond it requests are refused, not queued.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// Most bytes read and thrown away, so that a sender that is still writing can read the refusal.
const DISCARD_BYTES_MAX: usize = 128 << 20;
/// Longest time spent on that.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// Unit of the budget: a semaphore counts to 2^29 at least.
const UNIT: usize = 1024;

/// Memory for the bodies and records of all requests together.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget(Arc::new(Semaphore::new((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// An empty share, given back when dropped.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), permit: None }
    }
}

/// What one request holds of the budget.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Makes this share at least `bytes` large, or refuses.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(UNIT).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| Refusal::Busy)?;
        let more = Arc::clone(&self.budget.0).try_acquire_many_owned(missing).map_err(|_| Refusal::Busy)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

/// Reads a whole body of at most `limit` bytes within `time`. On a refusal the rest is thrown away.
pub(super) async fn read(
    mut body: Body,
    headers: &HeaderMap,
    limit: usize,
    time: Duration,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    let result = match tokio::time::timeout(time, collect(&mut body, headers, limit, share)).await {
        Ok(result) => result,
        Err(_) => Err(Refusal::Slow { ms: time.as_millis() }),
    };
    if matches!(result, Err(Refusal::BodyTooLarge { .. } | Refusal::Busy)) {
        discard(body, headers).await;
    }
    result
}

/// Throws a body away, so that the sender, still writing, gets to read the answer.
pub(super) async fn discard(mut body: Body, headers: &HeaderMap) {
    if headers.contains_key(EXPECT) {
        // The sender waits for leave to write: the answer is enough.
        return;
    }
    let drain = async {
        let mut read = 0_usize;
        while let Some(Ok(frame)) = body.frame().await {
            read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if read > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    if tokio::time::timeout(DISCARD_TIMEOUT, drain).await.is_err() {
        tracing::debug!("a refused sender went on for too long");
    }
}

async fn collect(
    body: &mut Body,
    headers: &HeaderMap,
    limit: usize,
    share: &mut Share,
) -> Result<Bytes, Refusal> {
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Refusal::BodyTooLarge { limit });
    }
    let Some(first) = next_data(body).await? else { return Ok(Bytes::new()) };
    share.grow_to(first.len())?;
    // The announced length is believed only as far as memory that costs little when it was a lie.
    let mut whole = match announced {
        Some(length) if length == first.len() => return Ok(first),
        Some(length) => BytesMut::with_capacity(length.min(1 << 20)),
        None => BytesMut::new(),
    };
    let mut next = Some(first);
    while let Some(data) = next {
        let length = whole.len().saturating_add(data.len());
        if length > limit {
            return Err(Refusal::BodyTooLarge { limit });
        }
        share.grow_to(length)?;
        whole.extend_from_slice(&data);
        next = next_data(body).await?;
    }
    Ok(whole.freeze())
}

async fn next_data(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Refusal::Incomplete(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::{HeaderMap, HeaderValue};

    use super::{Budget, read};
    use crate::http::refusal::Refusal;

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let budget = Budget::new(1 << 20);
        let mut share = budget.share();
        let got = read(Body::from("abc"), &HeaderMap::new(), 3, SOON, &mut share).await.unwrap();
        assert_eq!(got, "abc");
        let over = read(Body::from("abcd"), &HeaderMap::new(), 3, SOON, &mut share).await;
        assert!(matches!(over, Err(Refusal::BodyTooLarge { limit: 3 })));
        let announced = HeaderMap::from_iter([(super::CONTENT_LENGTH, HeaderValue::from_static("99"))]);
        let over = read(Body::from("a"), &announced, 3, SOON, &mut share).await;
        assert!(matches!(over, Err(Refusal::BodyTooLarge { limit: 3 })));
    }

    #[tokio::test]
    async fn requests_beyond_the_budget_are_refused_until_memory_is_given_back() {
        let budget = Budget::new(4096);
        let mut first = budget.share();
        first.grow_to(3000).unwrap();
        first.grow_to(2000).unwrap();
        let mut second = budget.share();
        let busy = read(Body::from(vec![0_u8; 2000]), &HeaderMap::new(), 9999, SOON, &mut second).await;
        assert!(matches!(busy, Err(Refusal::Busy)));
        drop(first);
        assert_eq!(
            read(Body::from(vec![0_u8; 2000]), &HeaderMap::new(), 9999, SOON, &mut second)
                .await
                .unwrap()
                .len(),
            2000
        );
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let body = Body::from_stream(futures_stream(receiver));
        let slow =
            read(body, &HeaderMap::new(), 99, Duration::from_millis(20), &mut Budget::new(9999).share())
                .await;
        assert!(matches!(slow, Err(Refusal::Slow { ms: 20 })));
        drop(sender);
    }

    /// A stream that is pending until the sender goes away.
    fn futures_stream(
        receiver: tokio::sync::oneshot::Receiver<()>,
    ) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
        futures_util::stream::once(async move {
            let closed = receiver.await.is_err();
            Ok(bytes::Bytes::from(closed.to_string()))
        })
    }
}
