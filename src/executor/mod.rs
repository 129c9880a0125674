//! The replicated state machine: evaluates on the leader, applies on every node, owns overlay and memtable.
//!
//! [`Executor::turn`] is the only way in: it takes what waits in its inbox and returns what the driver has to carry
//! out. A turn applies what is committed, publishes the view, drops from the overlay what the view now holds, releases
//! answers, evaluates what is queued, and proposes one entry.
//!
//! It runs wherever the driver lets it, one at a time; it knows no clock, thread, socket or disk of its own.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod admission;
mod apply;
mod backlog;
mod clock;
mod entry;
mod evaluate;
mod held;
mod leadership;
mod load;
mod message;
mod patience;
mod room;
mod stopwatch;
mod store;
mod turn;
mod watch;

pub use clock::{Clock, LeaderClock, Now};
pub use entry::{EntryBody, EntryError};
pub use load::Load;
pub use message::{Answer, Call, Deferred, Item, Message, Recipient, Step, Transaction, WatchCall};
pub use room::Reserve;
pub use store::{Published, Store};
pub use turn::{Error, Executor, Gauges, Input, Limits, Next, Output, Ran, Slow, Tuning};
pub use watch::Watch;
