//! Planted bugs in what is kept beside the keys, and the checks that find them.

use super::super::{database, hash, key, string};
use super::*;
use crate::bugs::{self, Bug};

fn set(node: &mut Node, name: &[u8], at: Option<u64>) {
    node.run(0, |txn| {
        let key = txn.key(name);
        string::set(txn, &key, b"value", at)
    });
}

/// A command that writes a new key and fails.
fn fail_after_writing(node: &mut Node) {
    let mut drain = Drain::new(node.entry, node.stamp);
    let failed = node.step(&mut drain, 0, |txn| {
        string::append(txn, b"undone", b"x")?;
        Err::<(), _>(CommandError::Syntax.into())
    });
    assert!(failed.is_err());
    assert!(drain.is_empty(), "a command that failed needs no entry");
    node.end(drain);
}

#[test]
fn a_command_that_fails_changes_no_count() {
    let run = || {
        let mut node = Node::new(1);
        set(&mut node, b"kept", None);
        fail_after_writing(&mut node);
        set(&mut node, b"kept too", None);
        node.check()
    };
    assert_eq!(run(), Ok(()));
    assert!(bugs::with(Bug::RollbackForgetsCounts, run).is_err(), "the planted bug is not found");
}

#[test]
fn a_key_that_is_deleted_leaves_the_index_of_times() {
    let run = || {
        let mut node = Node::new(2);
        let at = node.stamp + 10;
        set(&mut node, b"k", Some(at));
        node.stamp = at;
        node.run(0, |txn| key::delete(txn, b"k"));
        node.check()
    };
    assert_eq!(run(), Ok(()));
    assert!(bugs::with(Bug::ExpiryForgetsTtlEntry, run).is_err(), "the planted bug is not found");
}

/// A hash that is too large for META.
fn large_hash(node: &mut Node, db: u32, name: &[u8]) {
    node.run(db, |txn| {
        let mut hash = hash::Editor::open(txn, name)?;
        for field in 0..600 {
            hash.set(format!("f{field}").as_bytes(), b"v")?;
        }
        hash.commit()
    });
}

fn graves(node: &Node) -> Vec<Vec<u8>> {
    node.live(&[DEAD]).map(|(key, _)| key[1..].to_vec()).collect()
}

#[test]
fn a_large_collection_dies_with_one_grave() {
    let mut node = Node::new(3);
    large_hash(&mut node, 0, b"h");
    node.check().unwrap();
    let keyspace = node.state.databases()[0].keyspace;
    let object = node.live_keys(keyspace)[0].1.object.unwrap();
    node.run(0, |txn| key::delete(txn, b"h"));
    let (_, batch) = node.in_flight.last().unwrap();
    assert!(batch.len() <= 4, "deleting is not O(1): {} effects", batch.len());
    node.check().unwrap();
    assert_eq!(graves(&node), [object.prefix().to_vec()]);
}

#[test]
fn a_flush_buries_the_keyspace_and_spares_what_was_moved_out_of_it() {
    let mut node = Node::new(4);
    large_hash(&mut node, 0, b"moved");
    large_hash(&mut node, 0, b"stays");
    node.run(0, |txn| key::move_to(txn, b"moved", 1));
    node.check().unwrap();
    let home = node.state.databases()[0].keyspace;
    node.run(0, |txn| database::flush(txn, 0));
    node.check().unwrap();
    let data = encoding::family_prefix(DATA, home).to_vec();
    assert!(!graves(&node).contains(&data), "the moved collection is buried alive");
    node.read(1, 0, |view| {
        assert_eq!(hash::Hash::open(view, b"moved")?.unwrap().len(), 600);
        let mut fields = 0;
        hash::Hash::open(view, b"moved")?.unwrap().each(|_, _| {
            fields += 1;
            Ok(())
        })?;
        assert_eq!(fields, 600);
        Ok(())
    })
    .unwrap();
    // Its death, here by a flush of where it lives now, ends the keyspace that it came from.
    node.run(0, |txn| database::flush(txn, 1));
    node.check().unwrap();
    assert!(graves(&node).contains(&data), "the retired keyspace is never buried");
    assert_eq!(node.live(&[DATA]).count(), 0);
}

#[test]
fn a_collection_that_comes_home_is_flushed_with_its_keyspace() {
    let mut node = Node::new(5);
    large_hash(&mut node, 0, b"h");
    node.run(0, |txn| key::move_to(txn, b"h", 1));
    node.run(1, |txn| key::move_to(txn, b"h", 2));
    node.run(2, |txn| key::move_to(txn, b"h", 0));
    node.run(0, |txn| key::rename(txn, b"h", b"g", false));
    node.check().unwrap();
    let system: Vec<_> = node.live(&[SYSTEM]).map(|(key, _)| key.to_vec()).collect();
    assert!(!system.iter().any(|key| key[1..].starts_with(b"away") || key[1..].starts_with(b"guest")));
    node.run(0, |txn| database::flush(txn, 0));
    node.check().unwrap();
    assert_eq!(node.live(&[DATA]).count(), 0);
}

#[test]
fn a_swap_carries_the_counts() {
    let mut node = Node::new(6);
    set(&mut node, b"a", None);
    node.run(0, |txn| {
        database::swap(txn, 0, 5);
        Ok(())
    });
    node.check().unwrap();
    assert_eq!(node.read(0, 0, |view| view.counts()).unwrap().keys, 0);
    assert_eq!(node.read(5, 0, |view| view.counts()).unwrap().keys, 1);
    assert!(node.read(5, 0, |view| view.exists(b"a")).unwrap());
}
