//! A node that leads, is deposed and leads again, while its executor lags behind: its lease says nothing of what it
//! published before.

use std::sync::Arc;

use sisyphusdb::{
    bugs::{self, Bug},
    disk::{Disk, SimDisk},
    driver::{Core, Errand, Scratch, recover},
    log::Position,
    raft::{Body, Configuration, Input, Message, Proposal, ProposalId, Role},
};

use super::{full_disk::setup, world::SimClock};

/// Node 1 of three; the test says what the others say.
struct Node {
    core: Core,
    clock: SimClock,
    scratch: Scratch,
    round: u64,
}

impl Node {
    fn new() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let configuration = Configuration::of_voters([1, 2, 3].map(|id| (id, bytes::Bytes::new())));
        let clock = SimClock::default();
        let core = recover(&disk, sisyphusdb::driver::Setup { configuration, ..setup(1) }, &clock).unwrap();
        Self { core, clock, scratch: Scratch::default(), round: 0 }
    }

    fn now(&self) -> u64 {
        self.clock.us.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Steps `raft`, and lets the log write what follows.
    fn step(&mut self, input: Input) {
        self.core.step_raft(self.now(), input, &mut Vec::new());
        while let Some(log) = self.core.log.take() {
            let log = self.core.log_turn(log, &self.clock, &mut self.scratch).unwrap().unwrap();
            self.core.log.put_back(log);
        }
        for errand in self.core.take_errands() {
            if let Errand::Send(Message { body: Body::Heartbeat { round, .. }, .. }) = errand {
                self.round = round;
            }
        }
    }

    fn hear(&mut self, term: u64, body: Body) {
        self.step(Input::Message(Message { from: 2, to: 1, term, body }));
    }

    fn last(&self) -> Position {
        self.core.with_raft(|raft| raft.last())
    }

    /// Leads `term`, with its no-op committed and a lease; the executor knows nothing of it yet.
    fn lead(&mut self, term: u64) {
        self.clock.us.fetch_add(2_000_000, std::sync::atomic::Ordering::Relaxed);
        self.step(Input::Campaign);
        self.hear(term, Body::PreVoteReply { granted: true });
        self.hear(term, Body::VoteReply { granted: true });
        assert!(self.core.members().role == Role::Leader && self.core.members().term == term);
        let index = self.last().index;
        self.hear(term, Body::Matched { index });
        self.step(Input::Tick);
        self.hear(term, Body::HeartbeatReply { round: self.round, lag: 0 });
    }

    fn run_executor(&mut self) {
        let mut executor = self.core.executor.take().unwrap();
        while let Some(taken) = self.core.next_executor_batch(executor, &mut self.scratch) {
            executor = taken;
            self.core
                .executor_turn(&mut executor, &self.clock, false, &mut self.scratch, &mut Vec::new())
                .unwrap();
        }
    }
}

fn a_lease_is_good_for_what_its_leadership_has_applied() -> bool {
    let mut node = Node::new();
    node.lead(1);
    node.run_executor();
    assert!(node.core.lease_permit(&node.clock).is_some(), "it leads, and has applied its no-op");
    // Another leads term 2, and answers for writes of which this node hears nothing. Then this one leads again.
    node.hear(2, Body::Heartbeat { round: 1, promise_us: 100_000, commit: 1 });
    assert!(node.core.lease_permit(&node.clock).is_none(), "it was deposed");
    node.lead(3);
    let good = node.core.lease_permit(&node.clock).is_none();
    node.run_executor();
    assert!(node.core.lease_permit(&node.clock).is_some(), "it leads, and has applied its no-op");
    good
}

#[test]
fn a_lease_says_nothing_of_what_an_earlier_leadership_published() {
    assert!(a_lease_is_good_for_what_its_leadership_has_applied(), "what is published is of term 1");
    assert!(
        !bugs::with(Bug::LeaseOnOldView, a_lease_is_good_for_what_its_leadership_has_applied),
        "the planted bug is not found"
    );
}

/// A follower has read what is committed by the other two, while this leader's own disk has not written it.
fn a_lease_waits_for_what_followers_have_shown() -> bool {
    let mut node = Node::new();
    node.lead(1);
    node.run_executor();
    node.hear(1, Body::ReadIndex { read: 7 });
    assert!(node.core.lease_permit(&node.clock).is_some(), "everything is applied");
    let id = ProposalId { term: 1, chain: 1, n: 1 };
    let now = node.now();
    let proposal = Proposal { id, body: bytes::Bytes::from_static(b"entry") };
    node.core.step_raft(now, Input::Propose(proposal), &mut Vec::new());
    let index = node.last().index;
    for from in [2, 3] {
        let message = Message { from, to: 1, term: 1, body: Body::Matched { index } };
        node.core.step_raft(now, Input::Message(message), &mut Vec::new());
    }
    assert!(node.core.commit_index() == index, "two of three have it");
    node.core.lease_permit(&node.clock).is_none()
}

#[test]
fn a_lease_is_no_older_than_what_followers_have_shown() {
    assert!(a_lease_waits_for_what_followers_have_shown(), "a follower may have shown more");
    assert!(
        !bugs::with(Bug::LeaseBehindFollowers, a_lease_waits_for_what_followers_have_shown),
        "the planted bug is not found"
    );
}

/// What a node may read that was given a permit in term 1, when another leads term 2.
fn a_permit_is_of_its_term() -> bool {
    let mut node = Node::new();
    node.lead(1);
    node.run_executor();
    let permit = node.core.lease_permit(&node.clock).expect("it leads, and has applied its no-op");
    assert!(node.core.published(&permit).is_some());
    node.hear(2, Body::Heartbeat { round: 1, promise_us: 100_000, commit: 1 });
    node.core.published(&permit).is_none()
}

#[test]
fn a_permit_says_nothing_of_a_later_term() {
    assert!(a_permit_is_of_its_term(), "the leader of term 2 may not have applied what is read here");
    let good = bugs::with(Bug::PermitOfEarlierTerm, a_permit_is_of_its_term);
    assert!(!good, "the planted bug is not found");
}
