//! SCAN under mutation, and random picks.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{hash, key, string};
use super::*;

fn set(node: &mut Node, name: &[u8]) {
    node.run(0, |txn| {
        let key = txn.key(name);
        string::set(txn, &key, b"v", None)
    });
    node.apply_all();
}

#[test]
fn a_key_that_stays_is_shown_exactly_once_whatever_happens_to_others() {
    for seed in 0..20 {
        let mut node = Node::new(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        // A hash tag puts many keys into one slot: their order is that of h48 alone.
        let name = |number: u32| match number % 3 {
            0 => format!("{{tag}}:{number}").into_bytes(),
            _ => format!("key:{number}").into_bytes(),
        };
        for number in 0..300 {
            set(&mut node, &name(number));
        }
        let mut shown: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut cursor = 0;
        loop {
            let count = rng.u64(1..40);
            let mut page = 0;
            cursor = node
                .read(0, 0, |view| {
                    scan::scan(view, cursor, count, |name, _| {
                        page += 1;
                        *shown.entry(name.to_vec()).or_default() += 1;
                        Ok(())
                    })
                })
                .unwrap();
            assert!(cursor < 1 << 62, "seed {seed}");
            if cursor == 0 {
                break;
            }
            assert!(page >= count, "seed {seed}: a page of {page} where {count} were to be looked at");
            for _ in 0..10 {
                let volatile = format!("volatile:{}", rng.u32(..200)).into_bytes();
                if rng.bool() {
                    set(&mut node, &volatile);
                } else {
                    node.run(0, |txn| key::delete(txn, &volatile));
                    node.apply_all();
                }
            }
        }
        for number in 0..300 {
            assert_eq!(shown.get(&name(number)), Some(&1), "seed {seed}: {number}");
        }
        assert!(shown.values().all(|&times| times == 1), "seed {seed}: something was shown twice");
    }
}

#[test]
fn every_key_and_every_field_can_be_picked() {
    let mut node = Node::new(2);
    for number in 0..40 {
        set(&mut node, format!("k{number}").as_bytes());
    }
    node.run(1, |txn| {
        let mut hash = hash::Editor::open(txn, b"h")?;
        for field in 0..700 {
            hash.set(format!("f{field}").as_bytes(), b"v")?;
        }
        hash.commit()
    });
    node.apply_all();
    let tree = node.tree();
    let (mut keys, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..20_000 {
        let view = View::new(&tree, Access::Disk, &node.published, 0, 0, seed);
        if seed < 2_000 {
            keys.insert(scan::random_key(&view).unwrap().unwrap());
        }
        let view = View::new(&tree, Access::Disk, &node.published, 0, 1, seed);
        fields.insert(hash::Hash::open(&view, b"h").unwrap().unwrap().random().unwrap());
    }
    assert_eq!(keys.len(), 40);
    assert_eq!(fields.len(), 700);
    let view = View::new(&tree, Access::Disk, &node.published, 0, 2, 1);
    assert_eq!(scan::random_key(&view).unwrap(), None);
}

#[test]
fn a_long_walk_is_stopped_where_others_wait() {
    let mut node = Node::new(3);
    node.run(0, |txn| {
        let mut hash = hash::Editor::open(txn, b"h")?;
        for field in 0..1_500 {
            hash.set(format!("f{field}").as_bytes(), b"v")?;
        }
        hash.commit()
    });
    node.apply_all();
    let tree = node.tree();
    let view = View::new(&tree, Access::Memory, &node.published, 0, 0, 1);
    let hash = hash::Hash::open(&view, b"h").unwrap().unwrap();
    assert!(matches!(hash.each(|_, _| Ok(())), Err(Failure::Stop(Stop::Long))));
    assert!(hash.scan(0, 10, |_, _| Ok(())).unwrap() > 0);
}
