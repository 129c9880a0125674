//! Random commands against a map, with expiry, all databases, entries in flight and commands that are undone.

use std::collections::BTreeMap;

use super::super::{database, hash, key, string};
use super::*;
use crate::keyspace::key::Condition;

const DBS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

type Model = Vec<BTreeMap<Vec<u8>, (Value, Option<u64>)>>;

struct Run {
    node: Node,
    model: Model,
    rng: fastrand::Rng,
}

impl Run {
    fn new(seed: u64) -> Self {
        let model = vec![BTreeMap::new(); DBS as usize];
        Self { node: Node::new(seed), model, rng: fastrand::Rng::with_seed(seed) }
    }

    fn name(&mut self) -> Vec<u8> {
        format!("key:{}", self.rng.u32(..12)).into_bytes()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = match self.rng.u32(..20) {
            0 => self.rng.usize(60_000..140_000),
            1..4 => self.rng.usize(..200),
            _ => self.rng.usize(..12),
        };
        (0..length).map(|_| self.rng.u8(..)).collect()
    }

    /// The model without what is due.
    fn expire(&mut self) {
        let stamp = self.node.stamp;
        for database in &mut self.model {
            database.retain(|_, (_, at)| at.is_none_or(|at| at > stamp));
        }
    }

    /// One random command on both, inside `drain`; its answer must be the model's.
    fn command(&mut self, drain: &mut Drain) {
        self.expire();
        let db = self.rng.u32(..DBS);
        match self.rng.u32(..22) {
            0..4 => self.set(drain, db),
            4 => self.delete(drain, db),
            5 => self.append(drain, db),
            6 => self.set_range(drain, db),
            7..12 => self.hash_set(drain, db),
            12 | 13 => self.hash_delete(drain, db),
            14 | 15 => self.expire_key(drain, db),
            16 => self.persist(drain, db),
            17 => self.rename(drain, db),
            18 => self.copy(drain, db),
            19 => self.move_key(drain, db),
            20 => self.databases(drain),
            _ => self.undone(drain, db),
        }
    }

    fn set(&mut self, drain: &mut Drain, db: u32) {
        let (name, value) = (self.name(), self.bytes());
        let at = self.rng.bool().then(|| self.node.stamp + self.rng.u64(1..5_000));
        self.node
            .step(drain, db, |txn| {
                let key = txn.key(&name);
                string::set(txn, &key, &value, at)
            })
            .unwrap();
        self.model[db as usize].insert(name, (Value::String(value), at));
    }

    fn delete(&mut self, drain: &mut Drain, db: u32) {
        let name = self.name();
        let deleted = self.node.step(drain, db, |txn| key::delete(txn, &name)).unwrap();
        assert_eq!(deleted, self.model[db as usize].remove(&name).is_some());
    }

    fn append(&mut self, drain: &mut Drain, db: u32) {
        let (name, piece) = (self.name(), self.bytes());
        let answer = self.node.step(drain, db, |txn| string::append(txn, &name, &piece));
        let entry = self.model[db as usize].entry(name).or_insert((Value::String(Vec::new()), None));
        match &mut entry.0 {
            Value::String(text) => {
                text.extend_from_slice(&piece);
                assert_eq!(answer.unwrap(), text.len() as u64);
            }
            Value::Hash(_) => assert!(matches!(answer, Err(Failure::Client(CommandError::WrongType)))),
        }
    }

    fn set_range(&mut self, drain: &mut Drain, db: u32) {
        let (name, piece, offset) = (self.name(), self.bytes(), self.rng.usize(..100_000));
        let answer = self.node.step(drain, db, |txn| string::set_range(txn, &name, offset as u64, &piece));
        if piece.is_empty() && !self.model[db as usize].contains_key(&name) {
            assert_eq!(answer.unwrap(), 0);
            return;
        }
        let entry = self.model[db as usize].entry(name).or_insert((Value::String(Vec::new()), None));
        let Value::String(text) = &mut entry.0 else {
            assert!(matches!(answer, Err(Failure::Client(CommandError::WrongType))));
            return;
        };
        if !piece.is_empty() {
            text.resize(text.len().max(offset + piece.len()), 0);
            text[offset..offset + piece.len()].copy_from_slice(&piece);
        }
        assert_eq!(answer.unwrap(), text.len() as u64);
    }

    fn hash_set(&mut self, drain: &mut Drain, db: u32) {
        let name = self.name();
        let fields: Vec<_> = (0..self.rng.usize(1..12))
            .map(|_| {
                let longest = if self.rng.u8(..) == 0 { 100 } else { 50 };
                let value = vec![b'v'; self.rng.usize(..longest)];
                (format!("field:{}", self.rng.u32(..80)).into_bytes(), value)
            })
            .collect();
        let answer = self.node.step(drain, db, |txn| {
            let mut hash = hash::Editor::open(txn, &name)?;
            let mut new = 0;
            for (field, value) in &fields {
                new += usize::from(hash.set(field, value)?);
            }
            hash.commit()?;
            Ok(new)
        });
        let entry = self.model[db as usize].entry(name).or_insert((Value::Hash(BTreeMap::new()), None));
        match &mut entry.0 {
            Value::Hash(map) => {
                let before = map.len();
                map.extend(fields);
                assert_eq!(answer.unwrap(), map.len() - before);
            }
            Value::String(_) => assert!(matches!(answer, Err(Failure::Client(CommandError::WrongType)))),
        }
    }

    fn hash_delete(&mut self, drain: &mut Drain, db: u32) {
        let name = self.name();
        let fields: Vec<_> = (0..self.rng.usize(1..40))
            .map(|_| format!("field:{}", self.rng.u32(..80)).into_bytes())
            .collect();
        let answer = self.node.step(drain, db, |txn| {
            let mut hash = hash::Editor::open(txn, &name)?;
            let mut deleted = 0;
            for field in &fields {
                deleted += usize::from(hash.delete(field)?);
            }
            hash.commit()?;
            Ok(deleted)
        });
        match self.model[db as usize].get_mut(&name) {
            None => assert_eq!(answer.unwrap(), 0),
            Some((Value::String(_), _)) => {
                assert!(matches!(answer, Err(Failure::Client(CommandError::WrongType))));
            }
            Some((Value::Hash(map), _)) => {
                let before = map.len();
                fields.iter().for_each(|field| drop(map.remove(field)));
                assert_eq!(answer.unwrap(), before - map.len());
                if map.is_empty() {
                    self.model[db as usize].remove(&name);
                }
            }
        }
    }

    fn expire_key(&mut self, drain: &mut Drain, db: u32) {
        let (name, stamp) = (self.name(), self.node.stamp);
        let at = stamp as i64 + self.rng.i64(-500..5_000);
        let answer =
            self.node.step(drain, db, |txn| key::expire(txn, &name, at, Condition::default())).unwrap();
        assert_eq!(answer, self.model[db as usize].contains_key(&name));
        if let Some(entry) = self.model[db as usize].get_mut(&name) {
            entry.1 = Some(at as u64);
        }
    }

    fn persist(&mut self, drain: &mut Drain, db: u32) {
        let name = self.name();
        let answer = self.node.step(drain, db, |txn| key::persist(txn, &name)).unwrap();
        let before = self.model[db as usize].get_mut(&name).and_then(|entry| entry.1.take());
        assert_eq!(answer, before.is_some());
    }

    fn rename(&mut self, drain: &mut Drain, db: u32) {
        let (from, to) = (self.name(), self.name());
        let answer = self.node.step(drain, db, |txn| key::rename(txn, &from, &to, false));
        match self.model[db as usize].remove(&from) {
            Some(entry) => {
                assert!(answer.unwrap());
                self.model[db as usize].insert(to, entry);
            }
            None => assert!(matches!(answer, Err(Failure::Client(CommandError::NoSuchKey)))),
        }
    }

    fn copy(&mut self, drain: &mut Drain, db: u32) {
        let (from, to, to_db, replace) = (self.name(), self.name(), self.rng.u32(..DBS), self.rng.bool());
        let answer = self.node.step(drain, db, |txn| key::copy(txn, &from, &to, to_db, replace));
        if from == to && db == to_db {
            assert!(matches!(answer, Err(Failure::Client(CommandError::SameObject))));
            return;
        }
        let source = self.model[db as usize].get(&from).cloned();
        let happens = source.is_some() && (replace || !self.model[to_db as usize].contains_key(&to));
        assert_eq!(answer.unwrap(), happens);
        if let Some(source) = source.filter(|_| happens) {
            self.model[to_db as usize].insert(to, source);
        }
    }

    fn move_key(&mut self, drain: &mut Drain, db: u32) {
        let (name, to_db) = (self.name(), (db + 1) % DBS);
        let answer = self.node.step(drain, db, |txn| key::move_to(txn, &name, to_db)).unwrap();
        let happens =
            self.model[db as usize].contains_key(&name) && !self.model[to_db as usize].contains_key(&name);
        assert_eq!(answer, happens);
        if happens {
            let entry = self.model[db as usize].remove(&name).unwrap();
            self.model[to_db as usize].insert(name, entry);
        }
    }

    fn databases(&mut self, drain: &mut Drain) {
        let (left, right) = (self.rng.u32(..DBS), self.rng.u32(..DBS));
        if self.rng.bool() {
            self.node
                .step(drain, 0, |txn| {
                    database::swap(txn, left, right);
                    Ok(())
                })
                .unwrap();
            self.model.swap(left as usize, right as usize);
        } else {
            self.node.step(drain, 0, |txn| database::flush(txn, left)).unwrap();
            self.model[left as usize].clear();
        }
    }

    /// Commands that fail at their end leave nothing behind.
    fn undone(&mut self, drain: &mut Drain, db: u32) {
        let before = snapshot(&self.node, drain);
        let model = self.model.clone();
        let mark = drain.mark(&self.node.state);
        for _ in 0..self.rng.u32(1..4) {
            let _ = db;
            self.command(drain);
        }
        drain.rollback(&mut self.node.overlay, &mut self.node.state, mark);
        assert_eq!(snapshot(&self.node, drain), before, "the rollback left a trace");
        self.model = model;
    }

    /// Everything that a client can see, after an entry that carries the present stamp.
    fn compare(&mut self) {
        self.expire();
        self.node.run(0, |txn| txn.settle(Seen { due: Vec::new(), is_stamp_used: true }));
        self.node.apply_all();
        let stamp = self.node.published.stamp;
        let next = next_due(&self.node.tree(), Access::Disk, &self.node.overlay, &self.node.state).unwrap();
        if next.is_none_or(|at| at > stamp) {
            let times = self.model.iter().flat_map(BTreeMap::values).filter_map(|(_, at)| *at);
            assert_eq!(next, times.min());
        }
        for db in 0..DBS {
            let model = &self.model[db as usize];
            self.node
                .read(db, stamp, |view| {
                    let mut shown = Vec::new();
                    scan::each_key(view, |name, kind| {
                        shown.push((name.to_vec(), kind));
                        Ok(())
                    })?;
                    shown.sort_by(|left, right| left.0.cmp(&right.0));
                    let names: Vec<_> = shown.iter().map(|(name, _)| name).collect();
                    assert!(
                        model
                            .iter()
                            .filter(|(_, (_, at))| at.is_none_or(|at| at > stamp))
                            .map(|(name, _)| name)
                            .eq(names)
                    );
                    for (name, (value, at)) in model {
                        if at.is_none_or(|at| at > stamp) {
                            compare_key(view, name, value, *at)?;
                        }
                    }
                    Ok(())
                })
                .unwrap();
        }
    }
}

/// What a rollback must restore, bit by bit.
fn snapshot(node: &Node, drain: &Drain) -> String {
    let slots: Vec<_> = node.overlay.iter().collect();
    format!(
        "{slots:?} {} {:?} {:?} {:?} {:?} {}",
        node.overlay.bytes(),
        node.state.databases,
        node.state.next,
        node.state.map,
        drain.mark(&node.state),
        drain.is_empty()
    )
}

fn compare_key(view: &View<'_>, name: &[u8], value: &Value, at: Option<u64>) -> Result {
    let due = at.map_or(key::Due::Never, key::Due::At);
    assert_eq!(key::due(view, name)?, due);
    match value {
        Value::String(text) => {
            assert_eq!(&*string::get(view, name)?.unwrap(), &text[..]);
            assert_eq!(string::length(view, name)?, text.len() as u64);
            let middle = text.len() as i64 / 2;
            let range = string::range(view, name, middle, -2)?;
            // The end is moved to the first byte, not before it, as in Redis.
            let expected = text.get(text.len() / 2..text.len().saturating_sub(1).max(1)).unwrap_or_default();
            assert_eq!(range, expected);
        }
        Value::Hash(map) => {
            let hash = hash::Hash::open(view, name)?.unwrap();
            assert_eq!(hash.len(), map.len() as u64);
            let mut fields = BTreeMap::new();
            hash.each(|field, value| {
                assert!(fields.insert(field.to_vec(), value.to_vec()).is_none(), "a field was shown twice");
                Ok(())
            })?;
            assert_eq!(&fields, map);
            for (field, value) in map {
                assert!(hash.get(field, |found| found == Some(&value[..]))?);
            }
            assert!(hash.get(b"no such field", |found| found.is_none())?);
            let mut paged = BTreeMap::new();
            let mut cursor = 0;
            loop {
                cursor = hash.scan(cursor, 7, |field, value| {
                    paged.insert(field.to_vec(), value.to_vec());
                    Ok(())
                })?;
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(&paged, map);
            let (field, value) = hash.random()?;
            assert_eq!(map.get(&field), Some(&value));
            let mut sample = BTreeMap::new();
            hash.sample(5, |field, value| {
                sample.insert(field.to_vec(), value.to_vec());
                Ok(())
            })?;
            assert_eq!(sample.len(), map.len().min(5));
            assert!(sample.iter().all(|(field, value)| map.get(field) == Some(value)));
        }
    }
    Ok(())
}

fn run(seed: u64, drains: usize) -> std::result::Result<(), String> {
    let mut run = Run::new(seed);
    for _ in 0..drains {
        let mut drain = Drain::new(run.node.entry, run.node.stamp);
        for _ in 0..run.rng.u32(1..8) {
            run.command(&mut drain);
        }
        run.node.end(drain);
        while run.node.in_flight.len() > 3 || (run.rng.bool() && !run.node.in_flight.is_empty()) {
            run.node.apply_one();
        }
        if run.rng.u8(..) < 40 {
            run.node.check()?;
            run.compare();
        }
        run.node.stamp += run.rng.u64(..400);
        if run.rng.u8(..) < 30 {
            run.node.run(0, |txn| delete_due(txn, 5));
        }
    }
    run.node.check()?;
    run.compare();
    Ok(())
}

#[test]
fn random_commands_agree_with_the_model() {
    for seed in 0..60 {
        let result = std::panic::catch_unwind(|| run(seed, 80));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(broken)) => panic!("seed {seed}: {broken}"),
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}
