//! The memory of the messages that all connections have in the executor together.
//!
//! A message takes its bytes before it is sent and gives them back when it is answered. Who finds too few waits, in
//! order, and reads nothing meanwhile, so that what its client sends stays with the client. Only whole messages take
//! bytes, and a message ends without another one's help: so nobody waits for ever for somebody who waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

/// Bytes of messages that may be in the executor at one time.
///
/// Invariant: `used <= bytes_max`, or there is one message, larger than that.
#[derive(Debug)]
pub struct InFlight {
    bytes_max: usize,
    used: AtomicUsize,
    /// Messages that wait for bytes.
    waiting: AtomicUsize,
    /// Held by the first of those who wait; the others wait for it, in order.
    first: Mutex<()>,
    freed: Notify,
}

/// Somebody who waits, and stops to if its task is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl InFlight {
    /// Memory for `bytes_max` bytes, all free.
    pub fn new(bytes_max: usize) -> Self {
        assert!(bytes_max > 0, "some message must be let in");
        Self {
            bytes_max,
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            first: Mutex::new(()),
            freed: Notify::new(),
        }
    }

    /// The most bytes that messages may take together.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes that messages take now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many messages wait for bytes.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes `bytes` for a message if they are free and nobody waits. Whoever gets them gives them back.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> bool {
        self.waiting() == 0 && self.claim(bytes)
    }

    /// Takes `bytes` for a message when they are free and everybody who came before has got theirs. Whoever gets them
    /// gives them back.
    pub async fn take(&self, bytes: usize) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _waiting = Waiting(&self.waiting);
        let _first = self.first.lock().await;
        // What is given back between the look and the wait is remembered by `Notify`.
        while !self.claim(bytes) {
            self.freed.notified().await;
        }
    }

    /// Takes `bytes` if they are free. A message larger than everything is let in when there is no other.
    fn claim(&self, bytes: usize) -> bool {
        let more = |used: usize| {
            let sum = used.checked_add(bytes)?;
            (used == 0 || sum <= self.bytes_max).then_some(sum)
        };
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Gives back what a message took.
    pub fn give_back(&self, bytes: usize) {
        let used = self.used.fetch_sub(bytes, Ordering::SeqCst);
        assert!(bytes <= used, "more is given back than was taken");
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }
}
