//! The rows of transactions. Dispatch itself queues, runs and forgets them.

use super::spec::{Command, KEYS, Transaction, access, flag};

/// The commands of this group.
pub(super) const COMMANDS: &[Command] = &[
    Command::transaction("DISCARD", "", Transaction::Discard)
        .flag(ANYWHERE)
        .fast()
        .doc("2.0.0", "Ends the transaction and forgets the commands queued in it.")
        .complexity("O(N), when N is the number of queued commands"),
    Command::transaction("EXEC", "", Transaction::Exec)
        .flag(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SKIP_SLOWLOG)
        .doc("1.2.0", "Runs the commands queued in the transaction, all as one entry.")
        .complexity("Depends on commands in the transaction"),
    Command::transaction("MULTI", "", Transaction::Multi)
        .flag(ANYWHERE)
        .fast()
        .doc("1.2.0", "Starts a transaction: what follows is queued."),
    Command::transaction("UNWATCH", "", Transaction::Unwatch)
        .flag(ANYWHERE)
        .fast()
        .doc("2.2.0", "Forgets the keys that were watched."),
    Command::transaction("WATCH", "key [key ...]", Transaction::Watch)
        .flag(ANYWHERE)
        .keys(KEYS)
        .access(access::RO)
        .fast()
        .doc("2.2.0", "Makes the next EXEC answer nil if one of the keys changes before it.")
        .complexity("O(1) for every key."),
];

/// The flags that these commands share.
const ANYWHERE: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY;
