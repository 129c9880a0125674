//! Threads for those who block: flush, compaction, long or cold reads, and what the executor waits for.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, Sender},
    },
    thread,
};

use super::core::Fatal;

/// How much nicer than everything else compaction is.
const COMPACTION_NICE: i32 = 10;

type Work = Box<dyn FnOnce() -> Result<(), Fatal> + Send>;

/// Threads that take work of one kind, in order.
pub(super) struct Workers {
    work: Sender<Work>,
}

impl Workers {
    /// Starts `threads` threads called `name`; `nice` lowers their priority. They end when the sender is dropped.
    pub(super) fn start(name: &str, threads: usize, nice: Option<i32>) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(name.to_owned()).spawn(move || {
                if let Some(nice) = nice {
                    lower_priority(nice);
                }
                loop {
                    let next = queue.lock().expect("a panic ends the process").recv();
                    let Ok(work) = next else { break };
                    if let Err(fatal) = work() {
                        die(&fatal);
                    }
                }
            })?;
        }
        Ok(Self { work })
    }

    /// The one thread of flushes.
    pub(super) fn for_flush() -> std::io::Result<Self> {
        Self::start("flush", 1, None)
    }

    /// The one thread of compactions, at low priority.
    pub(super) fn for_compaction() -> std::io::Result<Self> {
        Self::start("compaction", 1, Some(COMPACTION_NICE))
    }

    /// Queues `work`.
    pub(super) fn run(&self, work: impl FnOnce() -> Result<(), Fatal> + Send + 'static) {
        self.work.send(Box::new(work)).expect("the workers live as long as their queue");
    }
}

/// Ends the node: acknowledged data is safe in the log, and nothing may be answered any more.
pub(super) fn die(fatal: &Fatal) -> ! {
    tracing::error!(error = %fatal, "this node cannot go on");
    panic!("{fatal}");
}

#[cfg(target_os = "linux")]
fn lower_priority(nice: i32) {
    // On Linux a nice value is a thread's own, and the thread's id names it.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), nice) {
        tracing::debug!(%error, "compaction keeps the normal priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn lower_priority(_: i32) {}
