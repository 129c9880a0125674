//! Planted bugs: each switches one rule of the design off, and a test must notice.
//!
//! They are compiled in only with the feature `planted-bugs`, which the tests of this package switch on; in any other
//! build [`on`] is a constant `false` and costs nothing.
//!
//! One bug is of another kind: `with_handler_answering_ok` replaces the handler of one command, on all threads, to
//! show that the tests of that command would notice.

/// A planted bug. One is on at a time, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log reports a group as durable without fdatasync.
    AcknowledgeBeforeSync = 1,
    /// A read decides by the present time, not by the stamp of its view, whether a key exists.
    TimeByWallClock,
    /// Undoing a command leaves the counts of keys as the command made them.
    RollbackForgetsCounts,
    /// Deleting a key leaves its record in the TTL index.
    ExpiryForgetsTtlEntry,
    /// A memtable's links are stored Relaxed instead of Release.
    MemtablePublishRelaxed,
    /// A look-up takes the newest version of a key, whatever the index of its view.
    MemtableIgnoresView,
    /// A read fills the row cache although a newer effect has been applied.
    RowCacheStale,
    /// A compaction drops a tombstone although an older record of its key may lie below.
    TombstoneDroppedEarly,
    /// The manifest names tables that were not synced.
    EditBeforeTableSync,
    /// A flush records an index above the last entry of the memtable that it wrote.
    FlushIndexTooHigh,
    /// A compaction acts on graves that are not in tables yet.
    GraveFromMemtable,
    /// Recovery of the log cuts off a bad record although a later one says that it was synced.
    LogDamageTakenForTornTail,
    /// Recovery of the log goes on behind a bad record.
    LogHoleSkipped,
    /// The log begins a segment before the one before it is durable.
    LogOldSegmentUnsynced,
    /// Recovery of the log takes the old records of a recycled segment for current ones.
    LogRecycledRecordTaken,
    /// The executor gives answers out when their entry is proposed, not when it is applied.
    ReleaseAtProposal,
    /// Raft appends a proposal although the one before it in its chain was refused.
    ChainUnchecked,
    /// A change of a key does not mark those who watch it.
    WatchIgnored,
    /// A node starts although tables and log do not fit together.
    BootUnchecked,
    /// A read behind a write of the same pipeline runs at once, beside the executor.
    ReadOvertakesWrite,
    /// A connection's reads go on seeing what was published when its first permit was made.
    PermitKept,
    /// A node forms a cluster with those who have answered so far.
    FormsWithoutAll,
    /// A permit serves reads although the term has changed since it was given.
    PermitOfEarlierTerm,
    /// A lease serves reads from what was published by an earlier leadership of the same node.
    LeaseOnOldView,
    /// An answer that no entry of its own proves leaves without a permit made after it.
    AnswerWithoutPermit,
    /// A leader evaluates before the no-op of its term, and so all that is older, is applied here.
    LeadershipBeforeNoop,
    /// Counts and the next ids live in the leader's memory only, and in no entry.
    StateOutsideTree,
    /// A node forgets its vote when a leader of its term appears.
    RaftVoteForgotten,
    /// A candidate asks for votes, and leads, before its own vote is durable.
    RaftLeadBeforeVoteDurable,
    /// A voter does not look whether a candidate's log has what its own has.
    RaftVoteForOlderLog,
    /// A leader commits entries of an earlier term by counting.
    RaftCommitOfEarlierTerm,
    /// A leader serves reads before it has committed an entry of its term.
    RaftReadBeforeNoop,
    /// A follower drops what is behind the entries of a message, whether they contradict it or not.
    RaftTruncateUnchecked,
    /// A heartbeat tells a follower to commit what is not known to be in its log.
    RaftHeartbeatCommitsUnknown,
    /// A follower acknowledges its whole log, not what the message covers.
    RaftAcknowledgeLast,
    /// A follower acknowledges entries before they are durable.
    RaftAcknowledgeBeforeDurable,
    /// A leader counts itself towards the majority before its own log is durable.
    RaftCountSelfBeforeDurable,
    /// What becomes durable after a truncation counts for the entries that took its place.
    RaftDurableAfterTruncation,
    /// A snapshot carries no membership.
    RaftSnapshotWithoutMembership,
    /// A round of heartbeats serves reads that came after it was sent.
    RaftRoundServesLaterReads,
    /// A voter does not keep the promise that it gave with the answer to a heartbeat.
    RaftPromiseBroken,
    /// A voter that starts does not know that it may have promised something.
    RaftPromiseForgotten,
    /// The lease counts from the answers to a round, not from when it was sent.
    RaftLeaseFromAnswer,
    /// The lease goes on after the leadership was offered to another.
    RaftLeaseAfterTransfer,
    /// A leader changes the membership before it has committed an entry of its term, or while another change is pending.
    RaftChangeUnchecked,
    /// The voters change at once, without a joint configuration.
    RaftChangeNotJoint,
    /// A node says of its term, and of whom it voted for, what is not durable yet.
    RaftTermToldBeforeDurable,
    /// A snapshot takes the place of a log that has all that is in it, and more.
    RaftSnapshotOverLog,
    /// A read waits for nothing to be applied.
    RaftReadIndexForgotten,
    /// A leader reads by its lease what it has published, although a follower may have shown more.
    LeaseBehindFollowers,
    /// The log tries a failed sync again, and believes it.
    LogSyncRetried,
    /// What a leader has evaluated is answered when it is deposed, as if it were applied.
    AnswersOutliveLeadership,
    /// What may have been appended is reported as not done when the leadership ends.
    UnknownToldAsNotDone,
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Bug;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether `bug` is switched on for the code that runs on this thread.
    pub fn on(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }

    /// Runs `body` with `bug` switched on, on this thread.
    pub fn with<R>(bug: Bug, body: impl FnOnce() -> R) -> R {
        struct Restore(Option<Bug>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CHOSEN.set(self.0);
            }
        }
        let _restore = Restore(CHOSEN.replace(Some(bug)));
        body()
    }

    /// No command's number.
    const NO_HANDLER: u32 = u32::MAX;

    static REPLACED_HANDLER: AtomicU32 = AtomicU32::new(NO_HANDLER);

    /// Whether the command of this number only answers `+OK`, on all threads.
    pub fn handler_answers_ok(command: u16) -> bool {
        REPLACED_HANDLER.load(Ordering::Relaxed) == u32::from(command)
    }

    /// Runs `body` while the command of this number only answers `+OK`.
    pub fn with_handler_answering_ok<R>(command: u16, body: impl FnOnce() -> R) -> R {
        struct Restore;
        impl Drop for Restore {
            fn drop(&mut self) {
                REPLACED_HANDLER.store(NO_HANDLER, Ordering::Relaxed);
            }
        }
        REPLACED_HANDLER.store(u32::from(command), Ordering::Relaxed);
        let _restore = Restore;
        body()
    }
}

#[cfg(feature = "planted-bugs")]
pub use switch::{handler_answers_ok, on, with, with_handler_answering_ok};

/// Whether `bug` is switched on: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn on(_: Bug) -> bool {
    false
}

/// Whether a command's handler is replaced: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn handler_answers_ok(_: u16) -> bool {
    false
}
