use std::collections::BTreeMap;

use super::*;

type Model = BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>;

fn random_model(rng: &mut fastrand::Rng, records: usize) -> Model {
    (0..records)
        .map(|_| {
            let key = (0..rng.usize(1..9)).map(|_| rng.u8(b'a'..b'd')).collect();
            let value = rng.bool().then(|| vec![rng.u8(..); rng.usize(..200)]);
            (key, (rng.u64(..) >> rng.u32(..64), value))
        })
        .collect()
}

fn contents(model: &Model, restart_interval: usize) -> Bytes {
    let mut builder = BlockBuilder::new(restart_interval);
    for (key, (age, value)) in model {
        builder.add(key, *age, value.as_deref());
    }
    let bytes = builder.bytes();
    let contents = Bytes::copy_from_slice(builder.finish());
    assert_eq!(contents.len(), bytes);
    contents
}

/// A key, and the index and value of its record.
type Current = (Vec<u8>, (u64, Option<Vec<u8>>));

fn current(iter: &BlockIter) -> Option<Current> {
    iter.valid().then(|| (iter.key().to_vec(), (iter.age(), iter.value().map(<[u8]>::to_vec))))
}

#[test]
fn every_record_is_found_and_nothing_else() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let size = rng.usize(1..80);
        let model = random_model(&mut rng, size);
        let block = Block::new(contents(&model, rng.usize(1..20))).unwrap();
        for (key, (age, value)) in &model {
            let hit = block
                .as_ref()
                .find(key)
                .unwrap()
                .unwrap_or_else(|| panic!("seed {seed}: {key:?} is missing"));
            assert_eq!(hit.age, *age);
            assert_eq!(hit.value.map(|range| block.bytes[range].to_vec()), *value);
        }
        for _ in 0..200 {
            let probe: Vec<u8> = (0..rng.usize(..9)).map(|_| rng.u8(b'`'..b'e')).collect();
            assert_eq!(
                block.as_ref().find(&probe).unwrap().is_some(),
                model.contains_key(&probe),
                "seed {seed}: {probe:?}"
            );
        }
    }
}

#[test]
fn a_random_walk_in_both_directions_sees_what_a_map_holds() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let size = rng.usize(1..60);
        let model = random_model(&mut rng, size);
        let mut iter = BlockIter::new(Block::new(contents(&model, rng.usize(1..20))).unwrap());
        for _ in 0..300 {
            let probe: Vec<u8> = (0..rng.usize(..9)).map(|_| rng.u8(b'`'..b'e')).collect();
            let here = iter.valid().then(|| iter.key().to_vec());
            let expected = match (rng.u8(..6), here) {
                (0, _) => {
                    iter.first().unwrap();
                    model.iter().next()
                }
                (1, _) => {
                    iter.last().unwrap();
                    model.iter().next_back()
                }
                (2, _) | (_, None) => {
                    iter.seek(&probe).unwrap();
                    model.range(probe..).next()
                }
                (3, _) => {
                    iter.seek_before(&probe).unwrap();
                    model.range(..probe).next_back()
                }
                (4, Some(here)) => {
                    iter.next().unwrap();
                    model.range(here..).nth(1)
                }
                (_, Some(here)) => {
                    iter.prev().unwrap();
                    model.range(..here).next_back()
                }
            };
            assert_eq!(current(&iter), expected.map(|(k, v)| (k.clone(), v.clone())), "seed {seed}");
        }
    }
}

#[test]
fn an_index_block_answers_with_the_first_key_at_or_after() {
    let mut rng = fastrand::Rng::with_seed(1);
    let model: BTreeMap<Vec<u8>, Vec<u8>> =
        (0..50).map(|n: u8| ((0..rng.usize(1..6)).map(|_| rng.u8(..4)).collect(), vec![n])).collect();
    let mut builder = BlockBuilder::new(1);
    for (key, value) in &model {
        builder.add(key, 0, Some(value));
    }
    let block = Block::new(Bytes::copy_from_slice(builder.finish())).unwrap();
    for _ in 0..500 {
        let probe: Vec<u8> = (0..rng.usize(..6)).map(|_| rng.u8(..5)).collect();
        let expected = model.range(probe.clone()..).next().map(|(_, value)| &value[..]);
        assert_eq!(block.as_ref().find_at_or_after(&probe, 0..usize::MAX).unwrap(), expected);
    }
}

fn sealed(contents: &[u8], compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Sealer::new().seal(contents, compress, 7, 4096, &mut out);
    out
}

#[test]
fn a_sealed_block_comes_back_compressed_or_not() {
    let contents: Vec<u8> = (0..4000u32).flat_map(|n| (n / 50).to_le_bytes()).collect();
    assert_eq!(unseal(sealed(&contents, false), 7, 4096).unwrap(), contents);
    let compressed = sealed(&contents, true);
    assert!(compressed.len() < contents.len() / 2);
    assert_eq!(unseal(compressed, 7, 4096).unwrap(), contents);
}

#[test]
fn a_block_that_does_not_compress_by_an_eighth_is_stored_as_it_is() {
    let mut rng = fastrand::Rng::with_seed(1);
    let contents: Vec<u8> = (0..4000).map(|_| rng.u8(..)).collect();
    assert_eq!(sealed(&contents, true).len(), contents.len() + TRAILER_BYTES);
}

#[test]
fn a_block_read_from_the_wrong_place_does_not_check() {
    let block = sealed(b"contents", false);
    assert!(unseal(block.clone(), 7, 4096).is_ok());
    assert!(unseal(block.clone(), 8, 4096).is_err());
    assert!(unseal(block, 7, 8192).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    for compress in [false, true] {
        let block = sealed(&[5; 200], compress);
        for bit in 0..block.len() * 8 {
            let mut bad = block.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(bad, 7, 4096).is_err(), "bit {bit}");
        }
        for cut in 0..block.len() {
            assert!(unseal(block[..cut].to_vec(), 7, 4096).is_err(), "cut to {cut} bytes");
        }
    }
}

#[test]
fn a_declared_length_is_not_allocated_before_it_is_plausible() {
    let mut body = u32::MAX.to_le_bytes().to_vec();
    body.extend_from_slice(&[0; 16]);
    assert_eq!(decompress(&body), Err(Malformed("a compressed block declares an impossible length")));
}

/// Contents that no builder made, under a good checksum: an error or some records, never a panic or an endless loop.
#[test]
fn arbitrary_contents_are_an_error_or_some_records() {
    for seed in 0..4000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let model = random_model(&mut rng, 12);
        let mut bytes = contents(&model, rng.usize(1..5)).to_vec();
        for _ in 0..rng.usize(1..6) {
            let at = rng.usize(..bytes.len());
            bytes[at] = rng.u8(..);
        }
        bytes.truncate(rng.usize(..=bytes.len()));
        let Ok(block) = Block::new(Bytes::from(bytes)) else { continue };
        let _ = block.as_ref().find(b"abc");
        let _ = block.as_ref().find_at_or_after(b"abc", 0..usize::MAX);
        let mut iter = BlockIter::new(block);
        let mut steps = 0;
        let mut walk = || -> Result<(), Malformed> {
            iter.first()?;
            while iter.valid() {
                iter.next()?;
                steps += 1;
                assert!(steps < 10_000, "seed {seed}: a walk that does not end");
            }
            iter.last()?;
            while iter.valid() {
                iter.prev()?;
                steps += 1;
                assert!(steps < 10_000, "seed {seed}: a walk that does not end");
            }
            iter.seek(b"b")?;
            iter.seek_before(b"b")
        };
        let _ = walk();
    }
}
