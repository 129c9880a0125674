use super::super::tests::Node;
use super::*;
use crate::keyspace::WriteTxn;

fn set(txn: &mut WriteTxn<'_>, field: &[u8], value: &[u8]) -> Result {
    let mut hash = Editor::open(txn, b"h")?;
    hash.set(field, value)?;
    hash.commit()
}

fn encoding_of(node: &mut Node) -> &'static str {
    node.apply_all();
    node.read(0, 0, |view| crate::keyspace::key::encoding(view, b"h")).unwrap().unwrap()
}

#[test]
fn a_hash_leaves_meta_at_each_of_its_limits_and_not_before() {
    let mut node = Node::new(1);
    for field in 0..512 {
        node.run(0, |txn| {
            txn.state_mut().limits.hash_inline_entries_max = 64;
            set(txn, format!("{field}").as_bytes(), b"")
        });
        assert_eq!(encoding_of(&mut node), if field < 64 { "listpack" } else { "hashtable" }, "{field}");
    }
    node.check().unwrap();

    let mut node = Node::new(2);
    node.run(0, |txn| set(txn, b"f", &[b'v'; 64]));
    assert_eq!(encoding_of(&mut node), "listpack");
    node.run(0, |txn| set(txn, b"f", &[b'v'; 65]));
    assert_eq!(encoding_of(&mut node), "hashtable");
    node.run(0, |txn| set(txn, b"f", b"short"));
    assert_eq!(encoding_of(&mut node), "hashtable", "it never becomes small again");
    node.check().unwrap();

    let mut node = Node::new(3);
    let mut bytes = 0;
    for field in 0..40 {
        node.run(0, |txn| set(txn, format!("field {field:058}").as_bytes(), &[b'v'; 64]));
        bytes += 2 + 2 * 64;
        assert_eq!(encoding_of(&mut node), if bytes <= 2048 { "listpack" } else { "hashtable" }, "{field}");
    }
}

#[test]
fn a_small_hash_keeps_the_order_of_insertion() {
    let mut node = Node::new(4);
    for field in ["b", "a", "c"] {
        node.run(0, |txn| set(txn, field.as_bytes(), b"1"));
    }
    node.run(0, |txn| set(txn, b"a", b"a longer value"));
    node.apply_all();
    let mut fields = Vec::new();
    node.read(0, 0, |view| {
        Hash::open(view, b"h")?.unwrap().each(|field, _| {
            fields.push(field.to_vec());
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(fields, [b"b", b"a", b"c"]);
}

#[test]
fn a_sample_is_of_different_fields_and_each_has_its_chance() {
    for fields in [50, 800] {
        let mut node = Node::new(5);
        node.run(0, |txn| {
            let mut hash = Editor::open(txn, b"h")?;
            for field in 0..fields {
                hash.set(format!("{field}").as_bytes(), b"v")?;
            }
            hash.commit()
        });
        node.apply_all();
        let tree = node.tree();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..600 {
            let view = View::new(&tree, crate::lsm::Access::Disk, &node.published, 0, 0, seed);
            let mut different = std::collections::BTreeSet::new();
            let hash = Hash::open(&view, b"h").unwrap().unwrap();
            hash.sample(20, |field, _| {
                assert!(different.insert(field.to_vec()), "seed {seed}: a field was shown twice");
                Ok(())
            })
            .unwrap();
            assert_eq!(different.len(), 20);
            seen.extend(different);
        }
        assert_eq!(seen.len(), fields);
    }
}
