//! What many clients did to a few registers, and whether each operation could have happened at one instant between its call
//! and its answer.
//!
//! Every write writes another value, so it is known which write a read has seen, and no search is needed (Gibbons and
//! Korach, "Testing shared memories", 1997). A value and all who saw it must lie together in the order of instants: from
//! the first answer among them to the last call the register certainly held the value. No two values may have such times
//! that overlap, and no value may have its only possible instants within such a time of another.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// The value of a register that nobody has written to.
pub(crate) const NOTHING: u64 = 0;

/// An operation with a known outcome, or a write of which nobody knows whether it was done.
#[derive(Clone, Copy, Debug)]
struct Operation {
    writes: bool,
    value: u64,
    called: u64,
    /// For ever later, if nobody knows.
    answered: u64,
}

/// Operations in the order of their answers, by register.
pub(crate) struct History {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_value: u64,
    registers: BTreeMap<usize, Vec<Operation>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), state: Mutex::default() }
    }

    /// The time of a call, or of an answer.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    /// A value that nobody else writes.
    pub(crate) fn next_value(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.last_value += 1;
        state.last_value
    }

    /// A write that was acknowledged now, or of which nobody knows.
    pub(crate) fn wrote(&self, register: usize, value: u64, called: u64, acknowledged: bool) {
        let answered = if acknowledged { self.now() } else { u64::MAX };
        self.add(register, Operation { writes: true, value, called, answered });
    }

    /// A read that was answered now.
    pub(crate) fn read(&self, register: usize, value: u64, called: u64) {
        self.add(register, Operation { writes: false, value, called, answered: self.now() });
    }

    fn add(&self, register: usize, operation: Operation) {
        self.state.lock().unwrap().registers.entry(register).or_default().push(operation);
    }

    /// How many operations have a known outcome.
    pub(crate) fn len(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.registers.values().flatten().filter(|operation| operation.answered < u64::MAX).count()
    }

    /// Says what contradicts what, if anything does.
    pub(crate) fn check(&self) -> Result<(), String> {
        let state = self.state.lock().unwrap();
        state.registers.iter().try_for_each(|(register, operations)| {
            check(operations).map_err(|error| format!("register {register}: {error}"))
        })
    }
}

/// One value of a register, with its write and its reads.
#[derive(Clone, Copy, Debug)]
struct Value {
    value: u64,
    written: u64,
    first_answer: u64,
    last_call: u64,
    is_read: bool,
    acknowledged: bool,
}

fn check(operations: &[Operation]) -> Result<(), String> {
    let mut values = BTreeMap::from([(NOTHING, Value::new(NOTHING, 0, 0))]);
    for write in operations.iter().filter(|operation| operation.writes) {
        values.insert(write.value, Value::new(write.value, write.called, write.answered));
    }
    for read in operations.iter().filter(|operation| !operation.writes) {
        let value =
            values.get_mut(&read.value).ok_or_else(|| format!("nobody wrote what was read: {read:?}"))?;
        if read.answered < value.written {
            return Err(format!("it was read before it was written: {read:?}"));
        }
        value.is_read = true;
        value.first_answer = value.first_answer.min(read.answered);
        value.last_call = value.last_call.max(read.called);
    }
    // Nobody knows of it, so it may never have happened.
    values.retain(|_, value| value.is_read || value.acknowledged);
    let (mut certain, possible): (Vec<Value>, Vec<Value>) =
        values.into_values().partition(|value| value.first_answer < value.last_call);
    certain.sort_by_key(|value| value.first_answer);
    for pair in certain.windows(2) {
        if pair[1].first_answer < pair[0].last_call {
            return Err(format!("two values at one time: {pair:?}"));
        }
    }
    for value in possible {
        // The only one that may contain it is the last that begins before it.
        let after = certain.partition_point(|other| other.first_answer < value.last_call);
        if after > 0 && value.first_answer < certain[after - 1].last_call {
            return Err(format!(
                "a value within the time of another one: {value:?}, {:?}",
                certain[after - 1]
            ));
        }
    }
    Ok(())
}

impl Value {
    fn new(value: u64, called: u64, answered: u64) -> Self {
        let acknowledged = answered < u64::MAX;
        Self {
            value,
            written: called,
            first_answer: answered,
            last_call: called,
            is_read: false,
            acknowledged,
        }
    }
}

fn write(value: u64, called: u64, answered: u64) -> Operation {
    Operation { writes: true, value, called, answered }
}

fn read(value: u64, called: u64, answered: u64) -> Operation {
    Operation { writes: false, value, called, answered }
}

#[test]
fn a_read_sees_what_was_acknowledged_before_it() {
    assert!(check(&[write(1, 1, 2), read(1, 3, 4)]).is_ok());
    assert!(check(&[write(1, 1, 2), read(NOTHING, 3, 4)]).is_err(), "the write is lost");
    assert!(check(&[write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)]).is_err(), "the read is stale");
    assert!(check(&[read(1, 1, 2), write(1, 3, 4)]).is_err(), "the read saw the future");
    assert!(check(&[read(9, 1, 2)]).is_err(), "nobody wrote it");
}

#[test]
fn what_is_under_way_is_seen_or_not_but_never_forgotten_again() {
    assert!(check(&[write(1, 1, 9), read(NOTHING, 2, 3), read(1, 4, 5)]).is_ok());
    assert!(check(&[write(1, 1, 9), read(1, 2, 3), read(NOTHING, 4, 5)]).is_err());
    assert!(check(&[write(1, 1, 9), write(2, 1, 9), read(1, 2, 3), read(2, 4, 5)]).is_ok());
    assert!(check(&[write(1, 1, 9), write(2, 1, 9), read(1, 2, 3), read(2, 4, 5), read(1, 6, 7)]).is_err());
}

#[test]
fn what_nobody_knows_happens_late_or_never() {
    let late = write(1, 1, u64::MAX);
    assert!(check(&[late, read(NOTHING, 5, 6)]).is_ok());
    assert!(check(&[late, write(2, 2, 3), read(1, 5, 6)]).is_ok());
    assert!(check(&[late, read(1, 2, 3), write(2, 4, 5), read(1, 6, 7)]).is_err(), "it happens once");
}
