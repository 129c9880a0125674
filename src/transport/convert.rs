//! The messages of the Raft core as they are on the wire, and back. Every field goes both ways, and whatever a peer may
//! not say is an error: nothing is skipped.

use bytes::Bytes;

use super::malformed::Malformed;
use crate::{
    log::{Entry, EntryKind, Position},
    proto,
    raft::{Body, Configuration, Message},
};

/// Returns `message` as it is sent; its entries share their bytes.
pub(super) fn to_wire(message: &Message) -> proto::Message {
    use proto::message::Body as Wire;
    let body = match &message.body {
        Body::PreVote { last } => {
            Wire::PreVote(proto::PreVote { last_index: last.index, last_term: last.term })
        }
        Body::PreVoteReply { granted } => Wire::PreVoteReply(proto::PreVoteReply { granted: *granted }),
        Body::Vote { last, transfer } => {
            Wire::Vote(proto::Vote { last_index: last.index, last_term: last.term, transfer: *transfer })
        }
        Body::VoteReply { granted } => Wire::VoteReply(proto::VoteReply { granted: *granted }),
        Body::Append { previous, commit, entries } => Wire::Append(proto::Append {
            previous_index: previous.index,
            previous_term: previous.term,
            commit: *commit,
            entries: entries.iter().map(|entry| entry_to_wire(entry, entry.body.len())).collect(),
        }),
        Body::Matched { index } => Wire::Matched(proto::Matched { index: *index }),
        Body::Conflict { rejected, hint } => Wire::Conflict(proto::Conflict {
            rejected: *rejected,
            hint_index: hint.index,
            hint_term: hint.term,
        }),
        Body::Heartbeat { round, promise_us, commit } => {
            Wire::Heartbeat(proto::Heartbeat { round: *round, promise_us: *promise_us, commit: *commit })
        }
        Body::HeartbeatReply { round, lag } => {
            Wire::HeartbeatReply(proto::HeartbeatReply { round: *round, lag: *lag })
        }
        Body::TimeoutNow => Wire::TimeoutNow(proto::TimeoutNow {}),
        Body::ReadIndex { read } => Wire::ReadIndex(proto::ReadIndex { read: *read }),
        Body::ReadIndexReply { read, index, commit } => {
            Wire::ReadIndexReply(proto::ReadIndexReply { read: *read, index: *index, commit: *commit })
        }
        Body::OldTerm => Wire::OldTerm(proto::OldTerm {}),
    };
    proto::Message { from: message.from, to: message.to, term: message.term, body: Some(body) }
}

/// Returns `entry` with the first `present` bytes of its body; the others are to follow.
pub(super) fn entry_to_wire(entry: &Entry, present: usize) -> proto::Entry {
    proto::Entry {
        index: entry.index,
        term: entry.term,
        kind: u32::from(entry.kind as u8),
        body: entry.body.slice(..present),
        missing: (entry.body.len() - present) as u64,
    }
}

/// Reads a whole message.
pub(super) fn from_wire(message: proto::Message) -> Result<Message, Malformed> {
    use proto::message::Body as Wire;
    let body = match message.body.ok_or(Malformed::MessageKind)? {
        Wire::PreVote(body) => Body::PreVote { last: position(body.last_index, body.last_term) },
        Wire::PreVoteReply(body) => Body::PreVoteReply { granted: body.granted },
        Wire::Vote(body) => {
            Body::Vote { last: position(body.last_index, body.last_term), transfer: body.transfer }
        }
        Wire::VoteReply(body) => Body::VoteReply { granted: body.granted },
        Wire::Append(body) => {
            let previous = position(body.previous_index, body.previous_term);
            let entries = body.entries.into_iter().map(whole_entry).collect::<Result<Vec<_>, _>>()?;
            check_entries(message.term, previous, &entries)?;
            Body::Append { previous, commit: body.commit, entries }
        }
        Wire::Matched(body) => Body::Matched { index: body.index },
        Wire::Conflict(body) => {
            Body::Conflict { rejected: body.rejected, hint: position(body.hint_index, body.hint_term) }
        }
        Wire::Heartbeat(body) => {
            Body::Heartbeat { round: body.round, promise_us: body.promise_us, commit: body.commit }
        }
        Wire::HeartbeatReply(body) => Body::HeartbeatReply { round: body.round, lag: body.lag },
        Wire::TimeoutNow(proto::TimeoutNow {}) => Body::TimeoutNow,
        Wire::ReadIndex(body) => Body::ReadIndex { read: body.read },
        Wire::ReadIndexReply(body) => {
            Body::ReadIndexReply { read: body.read, index: body.index, commit: body.commit }
        }
        Wire::OldTerm(proto::OldTerm {}) => Body::OldTerm,
    };
    Ok(Message { from: message.from, to: message.to, term: message.term, body })
}

fn position(index: u64, term: u64) -> Position {
    Position { index, term }
}

fn whole_entry(entry: proto::Entry) -> Result<Entry, Malformed> {
    if entry.missing != 0 {
        return Err(Malformed::Parts("an entry lacks bytes in a whole message"));
    }
    entry_from_wire(entry.index, entry.term, entry.kind, entry.body)
}

/// Reads an entry whose body is whole.
pub(super) fn entry_from_wire(index: u64, term: u64, kind: u32, body: Bytes) -> Result<Entry, Malformed> {
    let kind = match kind {
        1 => EntryKind::Effects,
        2 => EntryKind::Noop,
        3 => EntryKind::Configuration,
        unknown => return Err(Malformed::EntryKind(unknown)),
    };
    if kind == EntryKind::Configuration && Configuration::decode(body.clone()).is_none() {
        return Err(Malformed::Configuration);
    }
    Ok(Entry { index, term, kind, body })
}

/// The core takes it for granted that entries follow one another, in the terms of leaders up to the present one.
pub(super) fn check_entries(term: u64, previous: Position, entries: &[Entry]) -> Result<(), Malformed> {
    let mut last = previous;
    for entry in entries {
        if last.index.checked_add(1) != Some(entry.index) || entry.term < last.term || term < entry.term {
            return Err(Malformed::Sequence(entry.position()));
        }
        last = entry.position();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, strategy::ValueTree as _};
    use prost::Message as _;

    use super::*;

    const TERM_MAX: u64 = 1000;

    fn positions() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u64>()).prop_map(|(index, term)| position(index, term))
    }

    fn entry_bodies() -> impl Strategy<Value = (EntryKind, Bytes)> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100)
                .prop_map(|body| (EntryKind::Effects, Bytes::from(body))),
            Just((EntryKind::Noop, Bytes::new())),
            (1..u64::MAX).prop_map(|id| (EntryKind::Configuration, Configuration::single(id).encode())),
        ]
    }

    /// Any message of the core: a new variant of [`Body`] makes `covered` fail to compile.
    fn bodies() -> impl Strategy<Value = Body> {
        let appends = (
            0..u64::MAX / 2,
            0..TERM_MAX,
            any::<u64>(),
            proptest::collection::vec((entry_bodies(), 0..3_u64), 0..8),
        );
        prop_oneof![
            positions().prop_map(|last| Body::PreVote { last }),
            any::<bool>().prop_map(|granted| Body::PreVoteReply { granted }),
            (positions(), any::<bool>()).prop_map(|(last, transfer)| Body::Vote { last, transfer }),
            any::<bool>().prop_map(|granted| Body::VoteReply { granted }),
            appends.prop_map(|(index, mut term, commit, bodies)| {
                let previous = position(index, term);
                let mut entries = Vec::new();
                for ((kind, body), later) in bodies {
                    term += later;
                    entries.push(Entry { index: index + 1 + entries.len() as u64, term, kind, body });
                }
                Body::Append { previous, commit, entries }
            }),
            any::<u64>().prop_map(|index| Body::Matched { index }),
            (any::<u64>(), positions()).prop_map(|(rejected, hint)| Body::Conflict { rejected, hint }),
            any::<[u64; 3]>().prop_map(|[round, promise_us, commit]| Body::Heartbeat {
                round,
                promise_us,
                commit
            }),
            any::<(u64, u64)>().prop_map(|(round, lag)| Body::HeartbeatReply { round, lag }),
            Just(Body::TimeoutNow),
            any::<u64>().prop_map(|read| Body::ReadIndex { read }),
            (any::<u64>(), any::<Option<u64>>(), any::<u64>())
                .prop_map(|(read, index, commit)| Body::ReadIndexReply { read, index, commit }),
            Just(Body::OldTerm),
        ]
    }

    fn number(body: &Body) -> usize {
        match body {
            Body::PreVote { .. } => 0,
            Body::PreVoteReply { .. } => 1,
            Body::Vote { .. } => 2,
            Body::VoteReply { .. } => 3,
            Body::Append { .. } => 4,
            Body::Matched { .. } => 5,
            Body::Conflict { .. } => 6,
            Body::Heartbeat { .. } => 7,
            Body::HeartbeatReply { .. } => 8,
            Body::TimeoutNow => 9,
            Body::ReadIndex { .. } => 10,
            Body::ReadIndexReply { .. } => 11,
            Body::OldTerm => 12,
        }
    }

    fn through_the_wire(message: &Message) -> Result<Message, Malformed> {
        let bytes = Bytes::from(to_wire(message).encode_to_vec());
        from_wire(proto::Message::decode(bytes).unwrap())
    }

    #[test]
    fn every_kind_of_message_survives_the_wire() {
        let mut met = [0_u32; 13];
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let strategy = (any::<u64>(), any::<u64>(), TERM_MAX * 2..u64::MAX, bodies());
        for _ in 0..2000 {
            let (from, to, term, body) = strategy.new_tree(&mut runner).unwrap().current();
            met[number(&body)] += 1;
            let message = Message { from, to, term, body };
            assert_eq!(through_the_wire(&message).unwrap(), message);
        }
        assert!(met.iter().all(|count| *count > 0), "{met:?}");
    }

    fn append(previous: Position, entries: Vec<Entry>) -> Message {
        Message { from: 1, to: 2, term: 5, body: Body::Append { previous, commit: 0, entries } }
    }

    #[test]
    fn entries_that_do_not_follow_one_another_are_refused() {
        let entry = |index, term| Entry { index, term, kind: EntryKind::Noop, body: Bytes::new() };
        let refused = |previous, entries| through_the_wire(&append(previous, entries)).unwrap_err();
        assert_eq!(refused(position(3, 2), vec![entry(5, 2)]), Malformed::Sequence(position(5, 2)));
        assert_eq!(refused(position(3, 2), vec![entry(4, 1)]), Malformed::Sequence(position(4, 1)));
        assert_eq!(refused(position(3, 2), vec![entry(4, 6)]), Malformed::Sequence(position(4, 6)));
        assert_eq!(refused(position(u64::MAX, 2), vec![entry(0, 2)]), Malformed::Sequence(position(0, 2)));
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        let mut message = to_wire(&Message { from: 1, to: 2, term: 1, body: Body::OldTerm });
        message.body = None;
        assert_eq!(from_wire(message).unwrap_err(), Malformed::MessageKind);
        assert_eq!(entry_from_wire(1, 1, 4, Bytes::new()).unwrap_err(), Malformed::EntryKind(4));
        assert_eq!(entry_from_wire(1, 1, 3, Bytes::from_static(b"?")).unwrap_err(), Malformed::Configuration);
        let entry = proto::Entry { index: 1, term: 1, kind: 1, body: Bytes::new(), missing: 1 };
        assert!(matches!(whole_entry(entry), Err(Malformed::Parts(_))));
    }
}
