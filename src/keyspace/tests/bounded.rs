//! What one command may write, and that a read ends where its reply does.

use super::super::{hash, key, string};
use super::*;

const MIB: usize = 1 << 20;

/// A node with a string of 8 MiB at `string` and a hash of as much at `hash`.
fn node() -> Node {
    let mut node = Node::new(1);
    node.run(0, |txn| {
        let name = txn.key(b"string");
        string::set(txn, &name, &vec![b'v'; 8 * MIB], None)
    });
    node.run(0, |txn| {
        let mut editor = hash::Editor::open(txn, b"hash")?;
        for field in 0..8_u8 {
            editor.set(&[field], &vec![b'v'; MIB])?;
        }
        editor.commit()
    });
    node.apply_all();
    node
}

#[test]
fn a_copy_that_is_too_large_ends_where_it_becomes_so() {
    for name in [&b"string"[..], b"hash"] {
        let mut node = node();
        let mut drain = Drain::new(node.entry, node.stamp);
        drain.allow(2 * MIB);
        let copied = node.step(&mut drain, 0, |txn| key::copy(txn, name, b"copy", 0, false));
        assert!(matches!(copied, Err(Failure::Client(CommandError::EffectsTooLarge))), "{copied:?}");
        assert!(drain.bytes() < 4 * MIB, "{} bytes were written", drain.bytes());
        assert!(node.overlay.is_empty(), "nothing of it is left");
    }
}

#[test]
fn what_is_allowed_counts_from_where_it_was_allowed() {
    let mut node = node();
    let mut drain = Drain::new(node.entry, node.stamp);
    for copy in [b"1", b"2", b"3"] {
        drain.allow(9 * MIB);
        let copied = node.step(&mut drain, 0, |txn| key::copy(txn, b"string", copy, 0, false));
        assert!(copied.unwrap());
        drain.check_bytes().unwrap();
    }
    assert!(drain.bytes() > 24 * MIB);
    let more = node.step(&mut drain, 0, |txn| key::copy(txn, b"string", b"4", 0, false));
    assert!(matches!(more, Err(Failure::Client(CommandError::EffectsTooLarge))), "{more:?}");
}

#[test]
fn a_walk_ends_where_what_it_shows_is_refused() {
    let node = node();
    let refuse = || Err(Failure::Client(CommandError::ReplyTooLarge));
    let mut shown = 0;
    let mut show = || {
        shown += 1;
        refuse()
    };
    node.read(0, 0, |view| {
        let hash = hash::Hash::open(view, b"hash")?.unwrap();
        assert!(hash.each(|_, _| show()).is_err());
        assert!(hash.scan(0, 10, |_, _| show()).is_err());
        assert!(hash.sample(2, |_, _| show()).is_err());
        assert!(hash.sample(8, |_, _| show()).is_err());
        assert!(scan::each_key(view, |_, _| show()).is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(shown, 5, "each ends at the first");
}

#[test]
fn what_is_counted_covers_what_the_log_will_hold() {
    let mut node = Node::new(1);
    let mut drain = Drain::new(node.entry, node.stamp);
    for number in 0..10_000_u32 {
        let set = node.step(&mut drain, 0, |txn| {
            let name = txn.key(&number.to_be_bytes());
            string::set(txn, &name, b"", None)
        });
        set.unwrap();
    }
    let counted = drain.bytes();
    let batch = drain.finish(&mut node.overlay, &mut node.state).unwrap();
    let encoded = batch.as_bytes().len();
    assert!(encoded <= counted + 1024, "{encoded} bytes were written and {counted} counted");
}
