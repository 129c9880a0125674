//! One client: user, protocol, database, queue.
