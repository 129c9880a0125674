//! The outbox and the assembly, without a network between them.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use prost::Message as _;
use tokio_stream::Stream;

use super::{
    super::{
        assembly::Assembly,
        outbox::{BATCH_BYTES, Batches, Outbox},
    },
    append, heartbeat, is_append,
};
use crate::{
    proto,
    raft::{Body, Message},
};

fn opened(bytes_max: usize) -> (Arc<Outbox>, Batches) {
    let outbox = Arc::new(Outbox::new(bytes_max));
    let batches = outbox.reserve();
    outbox.open();
    (outbox, batches)
}

/// What leaves next; none if nothing waits.
fn next(batches: &mut Batches) -> Option<proto::Batch> {
    match std::pin::Pin::new(batches).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(batch) => Some(batch.expect("the stream goes on")),
        Poll::Pending => None,
    }
}

/// Takes all that waits, and puts it together again.
fn drain(batches: &mut Batches) -> Vec<Message> {
    let mut assembly = Assembly::new(1, 2, 80 << 20);
    let mut messages = Vec::new();
    while let Some(batch) = next(batches) {
        assembly.take(batch, &mut messages).unwrap();
    }
    messages
}

#[test]
fn what_waits_leaves_in_one_batch() {
    let (outbox, mut batches) = opened(1 << 20);
    for round in 0..100 {
        assert!(outbox.push(heartbeat(round)));
        assert!(outbox.push(append(round, &[100])));
    }
    let batch = next(&mut batches).unwrap();
    assert_eq!(batch.messages.len(), 200);
    assert!(next(&mut batches).is_none());
}

#[test]
fn heartbeats_pass_between_the_parts_of_a_large_entry() {
    let (outbox, mut batches) = opened(16 << 20);
    let large = append(5, &[1 << 20]);
    outbox.push(large.clone());
    let mut assembly = Assembly::new(1, 2, 1 << 20);
    let mut messages = Vec::new();
    let mut round = 0;
    while let Some(batch) = next(&mut batches) {
        let bytes = batch.encoded_len();
        assert!(bytes < BATCH_BYTES + 1000, "a batch of {bytes} bytes");
        assembly.take(batch, &mut messages).unwrap();
        if round < 4 {
            outbox.push(heartbeat(round));
            round += 1;
        }
    }
    let last = messages.pop().unwrap();
    assert_eq!(last, large);
    assert_eq!(messages, (0..4).map(heartbeat).collect::<Vec<_>>());
}

#[test]
fn an_outbox_is_bounded_but_takes_one_message_of_any_size() {
    let (outbox, mut batches) = opened(1000);
    assert!(outbox.push(append(0, &[5000])));
    assert!(!outbox.push(append(1, &[0])));
    assert!(outbox.push(heartbeat(1)), "what has no entries has a bound of its own");
    assert_eq!(drain(&mut batches).len(), 2);
    assert!(outbox.push(append(1, &[500])));
    assert!(!outbox.push(append(2, &[500])));
    let mut taken = 0_u64;
    while outbox.push(heartbeat(taken)) {
        taken += 1;
    }
    assert!((1000..100_000).contains(&taken), "{taken}");
    assert_eq!(drain(&mut batches).len() as u64, taken + 1);
    assert!(outbox.push(heartbeat(0)) && outbox.push(append(2, &[500])));
}

#[test]
fn nothing_waits_without_a_stream_or_for_the_next_one() {
    let outbox = Arc::new(Outbox::new(1000));
    assert!(!outbox.push(heartbeat(1)));
    let mut first = outbox.reserve();
    assert!(!outbox.push(heartbeat(1)), "it is being opened");
    assert!(next(&mut first).is_none());
    outbox.open();
    assert!(outbox.push(heartbeat(2)));
    outbox.close();
    assert!(!outbox.push(heartbeat(3)));
    let mut second = outbox.reserve();
    outbox.open();
    assert!(outbox.push(heartbeat(4)));
    let ended = std::pin::Pin::new(&mut first).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(ended, Poll::Ready(None)));
    assert_eq!(drain(&mut second), [heartbeat(4)]);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let (outbox, mut batches) = opened(16 << 20);
    outbox.push(append(5, &[600 << 10, 10]));
    let parts: Vec<proto::Batch> = std::iter::from_fn(|| next(&mut batches)).collect();
    assert_eq!(parts.len(), 3);
    let refused = |order: &[usize]| {
        let mut assembly = Assembly::new(1, 2, 1 << 20);
        let mut messages = Vec::new();
        let taken = order.iter().try_for_each(|at| assembly.take(parts[*at].clone(), &mut messages));
        assert!(messages.is_empty(), "{order:?}");
        taken.unwrap_err().to_string()
    };
    assert_eq!(refused(&[1]), "a part of a message without its beginning");
    assert_eq!(refused(&[0, 0]), "a message began before another was whole");
    assert_eq!(refused(&[0, 1, 1]), "an entry of more bytes than it said");
    assert_eq!(refused(&[0, 2]), "an entry began before another was whole");
}

proptest! {
    #[test]
    fn whatever_is_pushed_arrives_whole_and_in_order(
        sizes in proptest::collection::vec(
            proptest::option::of(proptest::collection::vec(
                prop_oneof![4 => 0..300_usize, 1 => 0..700_000_usize], 0..5)), 1..12),
        takes in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let (outbox, mut batches) = opened(1 << 30);
        let mut assembly = Assembly::new(1, 2, 80 << 20);
        let (mut pushed, mut messages) = (Vec::new(), Vec::new());
        for (number, (sizes, take)) in sizes.iter().zip(&takes).enumerate() {
            let message = match sizes {
                Some(sizes) => append(10 * number as u64, sizes),
                None => heartbeat(number as u64),
            };
            assert!(outbox.push(message.clone()));
            pushed.push(message);
            if *take && let Some(batch) = next(&mut batches) {
                assembly.take(batch, &mut messages).unwrap();
            }
        }
        while let Some(batch) = next(&mut batches) {
            assembly.take(batch, &mut messages).unwrap();
        }
        for kind in [true, false] {
            let of_kind = |all: &[Message]| -> Vec<Message> {
                all.iter().filter(|message| is_append(message) == kind).cloned().collect()
            };
            prop_assert_eq!(of_kind(&messages), of_kind(&pushed));
        }
    }
}

proptest! {
    /// What a stranger or a bad network makes of a batch is taken or refused; it neither panics nor grows.
    #[test]
    fn damaged_batches_are_taken_or_refused(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 0..6),
    ) {
        let (outbox, mut batches) = opened(1 << 30);
        for message in [append(0, &[10, 20]), append(2, &[300_000, 5]), heartbeat(1), append(4, &[7])] {
            outbox.push(message);
        }
        let mut assembly = Assembly::new(1, 2, 400_000);
        let mut messages = Vec::new();
        let mut damaged = vec![noise];
        while let Some(batch) = next(&mut batches) {
            // Near the ends, where the fields are.
            let mut bytes = batch.encode_to_vec();
            let length = bytes.len();
            for (place, bit) in &flips {
                let place = place.index(length.min(400));
                let place = if bit % 2 == 0 { place } else { length - 1 - place };
                bytes[place] ^= 1 << bit;
            }
            damaged.push(bytes);
        }
        for bytes in damaged {
            if let Ok(batch) = proto::Batch::decode(&*bytes)
                && assembly.take(batch, &mut messages).is_err()
            {
                break;
            }
        }
        prop_assert!(messages.iter().all(|message| message.from == 1 && message.to == 2));
    }
}

#[test]
fn a_message_of_many_entries_is_no_way_around_the_bound() {
    let mut assembly = Assembly::new(1, 2, 100);
    let mut message = append(0, &[]);
    let head = super::super::convert::to_wire(&message);
    let mut messages = Vec::new();
    let mut part = proto::Part { head: Some(head), ..proto::Part::default() };
    let refused = (0..10_000_u64).find_map(|round| {
        message = append(round * 1000, &[90; 1000]);
        let Body::Append { entries, .. } = &message.body else { unreachable!("it is an append") };
        part.entries = entries
            .iter()
            .map(|entry| super::super::convert::entry_to_wire(entry, entry.body.len()))
            .collect();
        let batch = proto::Batch { messages: Vec::new(), part: Some(std::mem::take(&mut part)), wall_ms: 0 };
        assembly.take(batch, &mut messages).err()
    });
    assert_eq!(refused.unwrap(), super::super::Malformed::MessageTooLarge);
}
