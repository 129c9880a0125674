//! Histories of operations, and whether each could have happened at one instant between its call and its answer.
//!
//! The search is that of Wing and Gong with Lowe's cache: operations are put in a row one by one, each only if it was called
//! before all that are left were answered, and a set of operations that led to the same state before is not tried again.
//! Reads are put in the row as soon as they fit. A text that only grows and is not the beginning of what is read later leads
//! nowhere.
//! An operation of which nobody knows whether it was done may take effect at any time after its call, or never.

use std::collections::HashSet;

/// Operations that one object may have: what was done is a set of bits.
const OPERATIONS_MAX: usize = 128;

/// What a search may try before it gives up: far more than a history of the simulation takes.
const TRIED_MAX: usize = 2_000_000;

/// A command on one key of an object; keys are numbered from 0 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get(usize),
    Set(usize, String),
    Append(usize, String),
    Increment(usize),
    /// The key is gone, since its time has come: nobody asks for it, and nobody is told.
    Expire(usize, String),
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Value(Option<String>),
    Number(u64),
}

/// One or more commands that take effect at once.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    /// What a key had to hold for the commands to be run: it was watched.
    pub(super) guard: Option<(usize, Option<String>)>,
    pub(super) commands: Vec<Command>,
    /// What was answered; none if nobody knows whether it was done.
    pub(super) replies: Option<Vec<Reply>>,
    pub(super) called: u64,
    /// For ever later, if nobody knows.
    pub(super) answered: u64,
    /// An operation that was sent before on the same connection.
    pub(super) after: Option<usize>,
}

/// What the keys of an object hold.
type State = Vec<Option<String>>;

impl Operation {
    /// The state after it; none if it cannot have been done in `state` and answered as it was.
    fn apply(&self, state: &State) -> Option<State> {
        if let Some((key, value)) = &self.guard
            && state[*key] != *value
        {
            return None;
        }
        let mut state = state.clone();
        for (at, command) in self.commands.iter().enumerate() {
            let reply = run(command, &mut state)?;
            if let Some(replies) = &self.replies
                && replies[at] != reply
            {
                return None;
            }
        }
        Some(state)
    }
}

/// Whether all of an object's commands make one text longer or read it.
fn only_grows(operations: &[Operation]) -> bool {
    let mut commands = operations.iter().flat_map(|operation| &operation.commands);
    commands.all(|command| matches!(command, Command::Get(0) | Command::Append(0, _)))
}

/// Whether a text that only grows can still become what an operation was answered.
fn can_become(operation: &Operation, text: &str) -> bool {
    let replies = operation.replies.iter().flatten();
    replies.zip(&operation.commands).all(|answered| match answered {
        (Reply::Value(value), _) => value.as_deref().unwrap_or_default().starts_with(text),
        (Reply::Number(length), Command::Append(_, more)) => (text.len() + more.len()) as u64 <= *length,
        (Reply::Number(_) | Reply::Ok, _) => true,
    })
}

fn run(command: &Command, state: &mut State) -> Option<Reply> {
    match command {
        Command::Get(key) => Some(Reply::Value(state[*key].clone())),
        Command::Set(key, value) => {
            state[*key] = Some(value.clone());
            Some(Reply::Ok)
        }
        Command::Append(key, text) => {
            let value = state[*key].get_or_insert_default();
            value.push_str(text);
            Some(Reply::Number(value.len() as u64))
        }
        Command::Increment(key) => {
            let number = state[*key].as_ref().map_or(Some(0), |value| value.parse::<u64>().ok())? + 1;
            state[*key] = Some(number.to_string());
            Some(Reply::Number(number))
        }
        Command::Expire(key, value) => {
            let holds = state[*key].as_ref() == Some(value);
            holds.then(|| state[*key] = None)?;
            Some(Reply::Ok)
        }
    }
}

/// Says why no order of the operations on an object of `keys` keys explains their answers, if none does.
pub(super) fn check(keys: usize, operations: &[Operation]) -> Result<(), String> {
    assert!(operations.len() <= OPERATIONS_MAX, "an object has no more than {OPERATIONS_MAX} operations");
    let mut search = Search::new(operations);
    if search.explains(0, &vec![None; keys]) {
        return Ok(());
    }
    let mut lines: Vec<_> = operations.iter().collect();
    lines.sort_by_key(|operation| operation.called);
    let lines: Vec<_> = lines.iter().map(|operation| format!("{operation:?}")).collect();
    Err(format!(
        "nothing explains more than {} of {} operations, of {} orders:\n{}",
        search.longest,
        operations.len(),
        search.tried.len(),
        lines.join("\n")
    ))
}

struct Search<'a> {
    operations: &'a [Operation],
    /// The operations in the order of their answers: those are tried first, so that a good history takes no search.
    order: Vec<usize>,
    /// All of which it is known that they were done.
    known: u128,
    only_grows: bool,
    tried: HashSet<(u128, State)>,
    longest: u32,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        let mut order: Vec<usize> = (0..operations.len()).collect();
        order.sort_by_key(|at| operations[*at].answered);
        let known = (0..operations.len()).filter(|at| operations[*at].replies.is_some());
        let known = known.fold(0, |known, at| known | 1 << at);
        let only_grows = only_grows(operations);
        Self { operations, order, known, only_grows, tried: HashSet::new(), longest: 0 }
    }

    fn explains(&mut self, done: u128, state: &State) -> bool {
        if self.known & !done == 0 {
            return true;
        }
        if !self.tried.insert((done, state.clone())) {
            return false;
        }
        if self.tried.len() > TRIED_MAX {
            return false;
        }
        self.longest = self.longest.max(done.count_ones());
        let operations = self.operations;
        let is_left = |at: &usize| done & 1 << *at == 0;
        let left: Vec<usize> = self.order.iter().copied().filter(is_left).collect();
        let text = state[0].as_deref().unwrap_or_default();
        if self.only_grows && !left.iter().all(|at| can_become(&operations[*at], text)) {
            return false;
        }
        let first_answer = left.first().map_or(u64::MAX, |at| operations[*at].answered);
        let may_be_next = |at: &usize| {
            let operation = &operations[*at];
            let waits = operation.after.is_some_and(|before| done & 1 << before == 0);
            operation.called <= first_answer && !waits
        };
        let next = left.into_iter().filter(may_be_next);
        let next: Vec<_> = next.filter_map(|at| Some((at, operations[at].apply(state)?))).collect();
        // What changes nothing and can be done now may as well be done now: no other order would explain more.
        if let Some((at, _)) = next.iter().find(|(_, after)| after == state) {
            return self.explains(done | 1 << at, state);
        }
        next.into_iter().any(|(at, after)| self.explains(done | 1 << at, &after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(called: u64, answered: u64, command: Command, reply: Reply) -> Operation {
        let replies = Some(vec![reply]);
        Operation { guard: None, commands: vec![command], replies, called, answered, after: None }
    }

    fn unknown(called: u64, command: Command) -> Operation {
        let commands = vec![command];
        Operation { guard: None, commands, replies: None, called, answered: u64::MAX, after: None }
    }

    fn set(called: u64, answered: u64, value: &str) -> Operation {
        done(called, answered, Command::Set(0, value.to_owned()), Reply::Ok)
    }

    fn get(called: u64, answered: u64, value: Option<&str>) -> Operation {
        done(called, answered, Command::Get(0), Reply::Value(value.map(str::to_owned)))
    }

    fn is_explained(operations: &[Operation]) -> bool {
        check(2, operations).is_ok()
    }

    #[test]
    fn a_read_sees_what_was_acknowledged_before_it() {
        assert!(is_explained(&[set(1, 2, "a"), get(3, 4, Some("a"))]));
        assert!(!is_explained(&[set(1, 2, "a"), get(3, 4, None)]), "the write is lost");
        assert!(!is_explained(&[set(1, 2, "a"), set(3, 4, "b"), get(5, 6, Some("a"))]), "the read is stale");
        assert!(!is_explained(&[get(1, 2, Some("a"))]), "nobody wrote it");
    }

    #[test]
    fn what_is_under_way_is_seen_or_not_but_never_forgotten_again() {
        let write = set(1, 9, "a");
        assert!(is_explained(&[write.clone(), get(2, 3, None), get(4, 5, Some("a"))]));
        assert!(!is_explained(&[write, get(2, 3, Some("a")), get(4, 5, None)]));
    }

    #[test]
    fn what_nobody_knows_happens_late_or_never() {
        let write = unknown(1, Command::Set(0, "a".to_owned()));
        assert!(is_explained(&[write.clone(), get(5, 6, None), get(7, 8, Some("a"))]));
        assert!(is_explained(&[write.clone(), set(2, 3, "b"), get(5, 6, Some("b"))]));
        assert!(is_explained(&[write.clone(), set(2, 3, "b"), get(5, 6, Some("a"))]));
        let again = [write.clone(), get(2, 3, Some("a")), set(4, 5, "b"), get(6, 7, Some("a"))];
        assert!(!is_explained(&again), "it happens once");
        assert!(!is_explained(&[get(0, 0, Some("a")), write]), "not before it was asked for");
    }

    #[test]
    fn a_counter_and_a_text_grow_once_for_each_command() {
        let increment = |called, answered, n| done(called, answered, Command::Increment(0), Reply::Number(n));
        assert!(is_explained(&[increment(1, 4, 2), increment(2, 3, 1)]));
        assert!(!is_explained(&[increment(1, 2, 1), increment(3, 4, 1)]), "an update is lost");
        assert!(!is_explained(&[increment(1, 2, 1), increment(3, 4, 3)]), "it was done twice");
        assert!(is_explained(&[unknown(1, Command::Increment(0)), increment(2, 3, 2)]));
        let append = |called, text: &str, n| {
            done(called, called + 1, Command::Append(0, text.to_owned()), Reply::Number(n))
        };
        assert!(is_explained(&[append(1, "a;", 2), append(3, "b;", 4), get(5, 6, Some("a;b;"))]));
        assert!(!is_explained(&[append(1, "a;", 2), append(3, "b;", 4), get(5, 6, Some("b;a;"))]));
    }

    #[test]
    fn a_transaction_is_seen_whole() {
        let both = Operation {
            commands: vec![Command::Set(0, "a".to_owned()), Command::Set(1, "a".to_owned())],
            replies: Some(vec![Reply::Ok, Reply::Ok]),
            ..set(1, 9, "")
        };
        let look = |first: Option<&str>, second: Option<&str>| Operation {
            commands: vec![Command::Get(0), Command::Get(1)],
            replies: Some([first, second].map(|value| Reply::Value(value.map(str::to_owned))).to_vec()),
            ..set(2, 3, "")
        };
        assert!(is_explained(&[both.clone(), look(None, None)]));
        assert!(is_explained(&[both.clone(), look(Some("a"), Some("a"))]));
        assert!(!is_explained(&[both, look(Some("a"), None)]), "it was torn");
    }

    #[test]
    fn a_watched_key_is_as_it_was_seen() {
        let swap = |called, from: &str, to: &str| Operation {
            guard: Some((0, Some(from.to_owned()))),
            ..set(called, called + 1, to)
        };
        assert!(is_explained(&[set(1, 2, "a"), swap(3, "a", "b"), swap(5, "b", "c")]));
        assert!(!is_explained(&[set(1, 2, "a"), swap(3, "a", "b"), swap(5, "a", "c")]));
    }

    #[test]
    fn a_key_that_expired_does_not_come_back() {
        let expires = unknown(1, Command::Expire(0, "a".to_owned()));
        assert!(is_explained(&[set(1, 2, "a"), expires.clone(), get(3, 4, Some("a")), get(5, 6, None)]));
        assert!(!is_explained(&[set(1, 2, "a"), expires, get(3, 4, None), get(5, 6, Some("a"))]));
    }

    #[test]
    fn commands_of_a_connection_are_done_in_their_order() {
        let write = Operation { after: None, ..set(1, 9, "a") };
        let read = Operation { after: Some(0), ..get(1, 9, None) };
        assert!(is_explained(&[write.clone(), Operation { after: None, ..read.clone() }]));
        assert!(!is_explained(&[write, read]), "the read overtook the write");
    }

    #[test]
    fn a_text_of_which_much_is_unknown_is_explained() {
        let append = |at: u64| unknown(at, Command::Append(0, format!("{at};")));
        let mut operations: Vec<Operation> = (10..40).map(append).collect();
        let text: String = (10..40).rev().map(|at| format!("{at};")).collect();
        operations.push(get(50, 51, Some(&text)));
        assert!(is_explained(&operations));
        operations.push(get(52, 53, Some("10;")));
        assert!(!is_explained(&operations), "what was read is gone");
    }
}
