//! How long things take, and how much may be under way.

/// The times of the protocol, in µs of CLOCK_BOOTTIME. Those of all nodes should be equal.
///
/// Invariant: `heartbeat_us < promise_us <= election_us`, `promise_us <= promise_us_max`.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two rounds of heartbeats.
    pub heartbeat_us: u64,
    /// For how long a voter that answers a heartbeat gives nobody else a vote.
    pub promise_us: u64,
    /// The longest promise that any node may ask for: a voter that starts does not know what it promised before.
    pub promise_us_max: u64,
    /// A follower that hears no leader campaigns after this, and up to twice as long.
    pub election_us: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_us: 30_000, promise_us: 100_000, promise_us_max: 1_000_000, election_us: 150_000 }
    }
}

impl Timing {
    /// How long a leader may count on the promises that a round was answered with, from when the round was sent. A fifth
    /// is for clocks that do not run at the same rate.
    pub(super) fn lease_us(&self) -> u64 {
        self.promise_us / 5 * 4
    }

    /// How long a transfer may take before it is given up.
    pub(super) fn transfer_us(&self) -> u64 {
        2 * self.election_us
    }

    pub(super) fn check(&self) {
        assert!(self.heartbeat_us < self.promise_us, "a promise must outlast a round of heartbeats");
        assert!(self.promise_us <= self.election_us, "nobody may campaign while it has promised not to vote");
        assert!(self.promise_us <= self.promise_us_max, "a node that starts waits for the longest promise");
    }
}

/// Bounds on memory and messages, in bytes of entries' bodies; and on the log, in bytes of its records.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Appended by this leader and not committed; one entry is always admitted.
    pub uncommitted_bytes_max: usize,
    /// Sent to one follower and not acknowledged; one entry is always sent.
    pub inflight_bytes_max: usize,
    /// In one message; one entry always fits.
    pub message_bytes_max: usize,
    /// Kept in memory, by a leader for followers that are behind, beyond what it has not applied itself; by a follower of what
    /// it has not applied. The rest is read from the log.
    pub cache_bytes_max: usize,
    /// Given out to be applied and not known to be applied; one entry is always given out.
    pub unapplied_bytes_max: usize,
    /// Kept in the log of what is in tables, for members that are behind; by every node that is not the only member, since
    /// it may lead when they come back. Nothing when the disk is short of room.
    pub kept_bytes: u64,
    /// Kept in the log of what is in tables, by a leader, for a follower that takes entries as they come. When the disk is
    /// short of room it is no more than what may be on its way ([`Bounds::inflight_bytes_max`]).
    pub kept_bytes_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            uncommitted_bytes_max: 64 << 20,
            inflight_bytes_max: 8 << 20,
            message_bytes_max: 1 << 20,
            cache_bytes_max: 16 << 20,
            unapplied_bytes_max: 16 << 20,
            kept_bytes: 64 << 20,
            kept_bytes_max: 256 << 20,
        }
    }
}
