//! When a job that found no room on the disk is tried again.

/// How long such a job is put off at first, in milliseconds. It doubles each time.
const DELAY_MS: u64 = 1_000;
/// How long at most: a merge writes a lot before it finds out that there is still no room.
const DELAY_MS_MAX: u64 = 64_000;

/// What is known of the room for jobs of one kind.
#[derive(Default)]
pub(super) struct Retry {
    /// 0: the last one had room.
    delay_ms: u64,
    /// When the first tick after the last one came.
    since_ms: Option<u64>,
    is_due: bool,
}

impl Retry {
    /// A job has given up.
    pub(super) fn put_off(&mut self) {
        let delay_ms = (2 * self.delay_ms).clamp(DELAY_MS, DELAY_MS_MAX);
        *self = Retry { delay_ms, since_ms: None, is_due: false };
    }

    /// It is `now_ms`.
    pub(super) fn tick(&mut self, now_ms: u64) {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        self.is_due |= now_ms.saturating_sub(since_ms) >= self.delay_ms;
    }

    /// Somebody waits for a job: it is not put off any longer.
    pub(super) fn hurry(&mut self) {
        self.is_due = true;
    }

    /// Whether a job may be tried.
    pub(super) fn is_due(&self) -> bool {
        !self.lacks_room() || self.is_due
    }

    /// Whether the last job found no room.
    pub(super) fn lacks_room(&self) -> bool {
        self.delay_ms > 0
    }
}
