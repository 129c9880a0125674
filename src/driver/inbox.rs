//! An inbox: what waits for a worker, and the worker itself while nobody drains.
//!
//! Who pushes takes the worker if it is there and becomes the drainer; otherwise the one who has it will see the item.
//! "The queue is empty, so the worker goes back" is one critical section, so no wake-up is lost, and nobody ever waits
//! for a drainer. The lock is a leaf: nothing is locked while it is held.

use std::collections::VecDeque;

use crate::sync::Mutex;

/// Items for one worker, and the worker when it is at home.
pub struct Inbox<T, W> {
    state: Mutex<State<T, W>>,
}

struct State<T, W> {
    queue: VecDeque<T>,
    worker: Option<Box<W>>,
}

impl<T, W> Inbox<T, W> {
    /// An empty inbox with its worker at home.
    pub fn new(worker: Box<W>) -> Self {
        Self { state: Mutex::new(State { queue: VecDeque::new(), worker: Some(worker) }) }
    }

    /// Appends `item`, and returns the worker if the caller is to drain.
    #[must_use = "the worker must drain the inbox and be put back"]
    pub fn push(&self, item: T) -> Option<Box<W>> {
        let mut state = self.lock();
        state.queue.push_back(item);
        state.worker.take()
    }

    /// Appends `item` for whoever drains; the caller will [`Inbox::take`] the worker itself, later.
    pub fn push_quietly(&self, item: T) {
        self.lock().queue.push_back(item);
    }

    /// Takes the worker if it is at home and something waits for it.
    #[must_use = "the worker must drain the inbox and be put back"]
    pub fn take(&self) -> Option<Box<W>> {
        let mut state = self.lock();
        if state.queue.is_empty() { None } else { state.worker.take() }
    }

    /// Takes the worker if it is at home, whether or not something waits.
    #[must_use = "the worker must be put back"]
    pub fn take_idle(&self) -> Option<Box<W>> {
        self.lock().worker.take()
    }

    /// Whether something waits and nobody drains.
    pub fn has_work_at_home(&self) -> bool {
        let state = self.lock();
        !state.queue.is_empty() && state.worker.is_some()
    }

    /// Moves what waits into `batch`, which must be empty, and gives the worker back to the caller; when nothing
    /// waits, puts the worker home instead.
    #[must_use = "the worker must go on draining if it is returned"]
    pub fn next(&self, worker: Box<W>, batch: &mut VecDeque<T>) -> Option<Box<W>> {
        assert!(batch.is_empty(), "a batch is served before the next one is taken");
        let mut state = self.lock();
        assert!(state.worker.is_none(), "there is one worker");
        if state.queue.is_empty() {
            state.worker = Some(worker);
            return None;
        }
        std::mem::swap(&mut state.queue, batch);
        Some(worker)
    }

    /// Puts the worker home although something may wait; the caller sees to it that it is taken again.
    pub fn put_back(&self, worker: Box<W>) {
        let mut state = self.lock();
        assert!(state.worker.is_none(), "there is one worker");
        state.worker = Some(worker);
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.lock().queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(not(sisyphus_loom))]
    fn lock(&self) -> std::sync::MutexGuard<'_, State<T, W>> {
        self.state.lock().expect("a panic ends the process, so no lock is poisoned")
    }

    #[cfg(sisyphus_loom)]
    fn lock(&self) -> loom::sync::MutexGuard<'_, State<T, W>> {
        self.state.lock().expect("a panic ends the process, so no lock is poisoned")
    }
}

#[cfg(all(test, not(sisyphus_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_pushes_first_drains_for_all() {
        let inbox = Inbox::new(Box::new("worker"));
        let worker = inbox.push(1).unwrap();
        assert!(inbox.push(2).is_none(), "the first one drains");
        let mut batch = VecDeque::new();
        let worker = inbox.next(worker, &mut batch).unwrap();
        assert_eq!(batch, [1, 2]);
        batch.clear();
        assert!(inbox.next(worker, &mut batch).is_none(), "nothing is left: the worker is home");
        assert!(inbox.take().is_none(), "nothing waits for it");
        inbox.push_quietly(3);
        assert!(inbox.take().is_some());
    }
}

#[cfg(all(test, sisyphus_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    /// Drains with `worker` until the inbox is empty.
    fn drain(inbox: &Inbox<u32, Vec<u32>>, mut worker: Box<Vec<u32>>) {
        let mut batch = VecDeque::new();
        while let Some(mut had) = inbox.next(worker, &mut batch) {
            had.extend(batch.drain(..));
            worker = had;
        }
    }

    #[test]
    fn no_wake_up_is_lost_and_nothing_is_served_twice() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new(Box::new(Vec::new())));
            let threads: Vec<_> = [1, 2]
                .into_iter()
                .map(|item| {
                    let inbox = Arc::clone(&inbox);
                    thread::spawn(move || {
                        if let Some(worker) = inbox.push(item) {
                            drain(&inbox, worker);
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert!(inbox.is_empty(), "somebody was to drain");
            let worker = inbox.push(3).expect("the worker is home");
            let mut served = *worker;
            served.sort_unstable();
            assert_eq!(served, [1, 2]);
        });
    }
}
