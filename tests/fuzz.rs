//! Bytes that nobody meant: fresh seeds each time against all that reads from a socket or a disk.
//!
//! Each target runs for `FUZZ_SECONDS` (1 by default; `.ci/run` gives more) and prints its seed when it fails;
//! `FUZZ_SEED` runs that one seed again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use sisyphusdb::disk::{Disk, SimDisk};
use sisyphusdb::log::{self, Entry, EntryKind, HardState, Log, Operation};
use sisyphusdb::lsm::{self, Access, Batch, Cache, Family, Levels, Options, Position, Tree, Value};
use sisyphusdb::resp::{Limits, RequestCodec};

/// Says which seed it was, when a target panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("FUZZ_SEED={}", self.0);
        }
    }
}

fn fuzz(target: impl Fn(&mut Rng)) {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().unwrap());
    if let Some(seed) = number("FUZZ_SEED") {
        return target(&mut Rng::with_seed(seed));
    }
    let (start, patience) = (Instant::now(), Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(1)));
    let mut rounds = 0_u64;
    while start.elapsed() < patience {
        let seed = Seed(fastrand::u64(..));
        target(&mut Rng::with_seed(seed.0));
        rounds += 1;
    }
    // Shown with `--nocapture`: a target that is slow finds nothing.
    eprintln!("{rounds} rounds in {:.1} s", start.elapsed().as_secs_f64());
}

/// Damages bytes as disks, cables and hostile clients do: a bit, a sector, an end, a piece that is somewhere else.
fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let at = random.usize(..bytes.len());
    let end = (at + random.usize(1..600)).min(bytes.len());
    match random.u8(..7) {
        0 | 1 => bytes[at] ^= 1 << random.u8(..8),
        2 => bytes[at..end].fill(0),
        3 => random.fill(&mut bytes[at..end]),
        4 => bytes.truncate(at),
        5 => {
            let piece = bytes[at..end].to_vec();
            let to = random.usize(..=bytes.len() - piece.len());
            bytes[to..to + piece.len()].copy_from_slice(&piece);
        }
        _ => bytes.extend((0..random.usize(1..200)).map(|_| random.u8(..))),
    }
}

/// Feeds `input` in pieces; what came out, and the text of the error that ended it.
fn decode(input: &[u8], pieces: &[usize], limits: Limits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut codec, mut buffer, mut requests) = (RequestCodec::new(limits), BytesMut::new(), Vec::new());
    let mut rest = input;
    for piece in pieces.iter().copied().chain([usize::MAX]) {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        rest = later;
        buffer.extend_from_slice(now);
        loop {
            match codec.next_request(&mut buffer) {
                Ok(Some(args)) => requests.push(args.iter().map(<[u8]>::to_vec).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error.to_string())),
            }
        }
    }
    (requests, None)
}

#[test]
fn damaged_requests_are_requests_or_errors_wherever_they_are_cut() {
    fuzz(|random| {
        let mut input = Vec::new();
        for _ in 0..random.usize(1..6) {
            let count = random.usize(..5);
            input.extend_from_slice(format!("*{count}\r\n").as_bytes());
            for _ in 0..count {
                let word = vec![random.u8(..); random.usize(..40)];
                input.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                input.extend_from_slice(&word);
                input.extend_from_slice(b"\r\n");
            }
        }
        (0..random.usize(..4)).for_each(|_| damage(&mut input, random));
        let limits = Limits { bulk_bytes_max: 200, request_bytes_max: 2_000, authenticated: random.bool() };
        let pieces: Vec<usize> = (0..random.usize(..8)).map(|_| random.usize(..60)).collect();
        assert_eq!(decode(&input, &[], limits), decode(&input, &pieces, limits), "{}", input.escape_ascii());
    });
}

#[test]
fn damaged_batches_are_batches_or_corrupt() {
    fuzz(|random| {
        let mut builder = Batch::builder();
        for key in 0..random.u8(..20) {
            match random.bool() {
                true => builder.put(&[1, key], &vec![key; random.usize(..200)]),
                false => builder.delete(&[1, key]),
            };
        }
        let mut bytes = builder.finish().as_bytes().to_vec();
        (0..random.usize(..3)).for_each(|_| damage(&mut bytes, random));
        match Batch::decode(Bytes::from(bytes)) {
            Ok(batch) => assert_eq!(batch.iter().count(), batch.len()),
            Err(error) => assert!(matches!(error, lsm::Error::Corrupt { .. }), "{error}"),
        }
    });
}

/// All files below `dir`.
fn files(disk: &SimDisk, dir: &str, found: &mut Vec<(String, Vec<u8>)>) {
    for name in disk.list(dir).unwrap() {
        let path = format!("{dir}/{name}");
        match disk.contents(&path) {
            Ok(bytes) => found.push((path, bytes)),
            Err(_) => files(disk, &path, found),
        }
    }
}

/// A copy of the files below `dir`, of which one or two are damaged.
fn damaged(disk: &SimDisk, dir: &str, random: &mut Rng) -> SimDisk {
    let mut found = Vec::new();
    files(disk, dir, &mut found);
    for _ in 0..random.usize(1..3) {
        let victim = random.usize(..found.len());
        damage(&mut found[victim].1, random);
    }
    let copy = SimDisk::new(random.u64(..));
    for (path, bytes) in found {
        for (at, _) in path.match_indices('/') {
            copy.create_dir(&path[..at]).unwrap();
        }
        copy.create(&path).unwrap().write_at(&bytes, 0).unwrap();
    }
    copy
}

const LOG: log::Options = log::Options { segment_bytes: 4096, spares: 1 };

#[test]
fn a_damaged_log_is_a_prefix_or_corrupt() {
    fuzz(|random| {
        let disk = SimDisk::new(random.u64(..));
        disk.create_dir("log").unwrap();
        let mut entries = Vec::new();
        for epoch in 1..random.u64(2..4) {
            let (mut log, _) = Log::open(Arc::new(disk.clone()), "log", LOG, epoch).unwrap();
            log.write(&[Operation::HardState(HardState { term: epoch, vote: 1 })]).unwrap();
            for _ in 0..random.usize(1..12) {
                let group: Vec<Operation> = (0..random.usize(1..6))
                    .map(|_| {
                        let body = vec![random.u8(..); random.usize(..700)].into();
                        let index = entries.len() as u64 + 1;
                        entries.push(Entry { index, term: epoch, kind: EntryKind::Effects, body });
                        Operation::Entry(entries[entries.len() - 1].clone())
                    })
                    .collect();
                log.write(&group).unwrap();
                log.sync().unwrap();
                while random.bool() && log.idle().unwrap() {}
            }
        }
        let copy = damaged(&disk, "log", random);
        match Log::open(Arc::new(copy), "log", LOG, 99) {
            Ok((log, recovered)) => {
                let found = log.reader().entries(recovered.start.index + 1, usize::MAX).unwrap();
                assert_eq!(found, entries[..found.len()], "what is recovered must be what was written");
            }
            Err(error) => assert!(matches!(error, log::Error::Corrupt { .. }), "{error}"),
        }
    });
}

const FAMILIES: &[Family] = &[
    Family { name: "plain", skip_bits: None, filter: true, rows: false, block_bytes: 256 },
    Family { name: "uniform", skip_bits: Some(8), filter: true, rows: false, block_bytes: 256 },
];

fn open_tree(disk: &SimDisk) -> lsm::Result<Tree> {
    let levels =
        Levels { level0_runs: 2, base_bytes: 8 << 10, fan_out: 4, table_bytes: 4 << 10, compress_from: 1 };
    let options = Options { levels, ..Options::new(FAMILIES, Arc::new(Cache::new(1 << 20)), 16 << 10) };
    Tree::open(Arc::new(disk.clone()), "tree", options)
}

/// A tree with a few levels, all of it in tables.
fn grow(disk: &SimDisk, random: &mut Rng) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut tree = open_tree(disk).unwrap();
    let mut model = BTreeMap::new();
    let rounds = random.usize(1..6);
    for round in 0..rounds {
        for _ in 0..random.usize(1..8) {
            let mut writes = BTreeMap::new();
            for _ in 0..random.usize(1..30) {
                let key = vec![random.u8(..2), random.u8(..), random.u8(..4)];
                writes.insert(key, (random.u8(..5) > 0).then(|| vec![random.u8(..); random.usize(..100)]));
            }
            let mut builder = Batch::builder();
            for (key, value) in writes {
                match value {
                    Some(value) => {
                        builder.put(&key, &value);
                        model.insert(key, value);
                    }
                    None => {
                        builder.delete(&key);
                        model.remove(&key);
                    }
                }
            }
            let index = tree.applied().index + 1;
            tree.apply(Position { index, term: 1 }, &builder.finish());
        }
        tree.seal();
        while let Some(job) = tree.next_flush() {
            let installed = job.run().unwrap();
            tree.install(installed);
        }
        while let Some(job) = (round + 1 < rounds).then(|| tree.next_compaction()).flatten() {
            let installed = job.run().unwrap();
            tree.install(installed);
        }
    }
    model
}

fn scan(tree: &Tree) -> lsm::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let (mut cursor, mut found) = (tree.view().cursor(Access::Disk), BTreeMap::new());
    cursor.seek(&[0])?;
    while cursor.valid() {
        found.insert(cursor.key().to_vec(), cursor.value().to_vec());
        cursor.next()?;
    }
    Ok(found)
}

fn corrupt<T>(result: lsm::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(lsm::Error::Corrupt { .. }) => None,
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

#[test]
fn a_damaged_tree_answers_right_or_not_at_all() {
    fuzz(|random| {
        let disk = SimDisk::new(random.u64(..));
        let model = grow(&disk, random);
        let copy = damaged(&disk, "tree", random);
        let Some(tree) = corrupt(open_tree(&copy)) else { return };
        let mut value = Value::default();
        for (key, expected) in &model {
            value.clear();
            if let Some(found) = corrupt(tree.view().get(key, Access::Disk, &mut value)) {
                assert!(found && *value == **expected, "a wrong answer for {key:?}");
            }
        }
        if let Some(found) = corrupt(scan(&tree)) {
            assert_eq!(found, model, "a scan that reports no damage must be right");
        }
        let verified = corrupt(tree.verify().run()).is_some();
        assert!(!verified || corrupt(scan(&tree)).is_some(), "what was verified can be read");
    });
}
