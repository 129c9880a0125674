//! How much of requests is in memory at one time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// A body that takes longer than this to arrive is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes that one permit stands for.
const PERMIT_BYTES: usize = 1024;

/// The memory for bodies, shared by all requests.
pub(super) struct Bodies {
    permits: Semaphore,
    permits_max: usize,
}

/// A body in memory. The memory counts as used until it is dropped.
pub(super) struct Received<'a> {
    pub(super) bytes: Bytes,
    _permit: SemaphorePermit<'a>,
}

impl Bodies {
    /// Bodies of at most `bytes_max` together.
    pub(super) fn new(bytes_max: u64) -> Self {
        let permits = usize::try_from(bytes_max).unwrap_or(usize::MAX) / PERMIT_BYTES;
        let permits_max = permits.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Self { permits: Semaphore::new(permits_max), permits_max }
    }

    /// Reads a body of at most `limit` bytes, once there is memory for it.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
        limit: usize,
    ) -> Result<Received<'_>, (StatusCode, String)> {
        let too_large =
            || (StatusCode::PAYLOAD_TOO_LARGE, format!("The body may have at most {limit} bytes."));
        let declared =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: usize| length > limit) {
            return Err(too_large());
        }
        let receive = async {
            // A body larger than all the memory is let in alone.
            let wanted = (declared.unwrap_or(limit) / PERMIT_BYTES + 1).min(self.permits_max);
            let wanted = u32::try_from(wanted).expect("there are no more permits than that");
            let permit = self.permits.acquire_many(wanted).await.expect("the semaphore is never closed");
            match Limited::new(body, limit).collect().await {
                Ok(body) => Ok(Received { bytes: body.to_bytes(), _permit: permit }),
                Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
                Err(error) => Err((StatusCode::BAD_REQUEST, format!("The body broke off: {error}"))),
            }
        };
        let late = |_| (StatusCode::REQUEST_TIMEOUT, "The body took too long.".to_string());
        timeout(BODY_TIMEOUT, receive).await.map_err(late)?
    }
}
