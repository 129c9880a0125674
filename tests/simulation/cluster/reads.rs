//! Reads: from the lease, after a permit, on followers, and through the executor. None may miss what was acknowledged before.

use std::{collections::VecDeque, sync::Arc};

use sisyphusdb::{
    executor::{Clock, Input, Message, Published, Recipient},
    lsm::Access,
    raft,
};

use super::{
    super::client::{self, Mailbox, bulk, call},
    Cluster, Question, Read,
};

impl Cluster {
    /// A read arrives at a connection: with a lease it is served at once, else a permit is asked for.
    pub(super) fn begin_to_read(&mut self, at: usize) {
        let client = self.rng.usize(..self.clients.len());
        let read = Read { client, acknowledged: self.clients[client].0.acknowledged };
        let machine = &mut self.machines[at];
        let Some(up) = &mut machine.up else { return };
        if let Some(permit) = up.core.lease_permit(&machine.clock) {
            self.met.lease_reads += 1;
            let published = Arc::clone(&up.core.published(&permit));
            return self.serve(at, &published, read);
        }
        self.next_read += 1;
        up.asked.push((self.next_read, read));
        self.step_raft(at, raft::Input::Read(self.next_read));
    }

    pub(super) fn read(&mut self, at: usize) {
        let Some(up) = &mut self.machines[at].up else { return };
        let published = up.core.store().published();
        let ready = up.permitted.iter().position(|(_, index)| *index <= published.view.index());
        let Some(ready) = ready else { return };
        let (read, _) = up.permitted.swap_remove(ready);
        match published.clock {
            Some(_) => self.met.index_reads += 1,
            None => self.met.follower_reads += 1,
        }
        self.serve(at, &published, read);
    }

    /// Asks a node's executor for the string of a client, and looks at the answers to what was asked before.
    pub(super) fn ask_executor(&mut self, at: usize) {
        let questions = std::mem::take(&mut self.questions);
        for question in questions {
            match question.mailbox.take() {
                None => self.questions.push(question),
                Some(Err(_)) => {}
                Some(Ok(reply)) => {
                    let n = bulk(&reply).map_or(0, |text| text.parse().unwrap());
                    self.met.executor_reads += 1;
                    self.check_read(question.to, question.read, n);
                }
            }
        }
        if self.machines[at].up.is_none() {
            return;
        }
        let client = self.rng.usize(..self.clients.len());
        let read = Read { client, acknowledged: self.clients[client].0.acknowledged };
        self.next_read += 1;
        let mailbox = Mailbox::new(self.next_read);
        let recipient: Arc<dyn Recipient> = Arc::<Mailbox>::clone(&mailbox);
        let items = VecDeque::from([call(&["GET", &format!("string:{}", client + 1)])]);
        self.submit(at, Input::Message(Message::new(recipient, items)));
        self.questions.push(Question { mailbox, read, to: at });
    }

    fn serve(&self, at: usize, published: &Published, read: Read) {
        let machine = &self.machines[at];
        let view = published.view(Access::Disk, 0, machine.clock.now(), 0);
        let name = format!("string:{}", read.client + 1);
        let reply = client::read(&view, &["GET", &name]).expect("the disk is well");
        let n = bulk(&reply).map_or(0, |text| text.parse().unwrap());
        self.check_read(at, read, n);
    }

    fn check_read(&self, at: usize, read: Read, n: u64) {
        let client = &self.clients[read.client].0;
        let id = self.machines[at].id;
        assert!(read.acknowledged <= n, "node {id} read {n} after {} was acknowledged", read.acknowledged);
        assert!(n <= client.submitted, "node {id} read {n}, which was never asked for");
    }
}
