//! Atomics and locks: the standard library's, or loom's under `--cfg sisyphus_loom`.

#[cfg(not(sisyphus_loom))]
pub use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(sisyphus_loom)]
pub use loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Returns `count` words that are zero. The operating system hands out the pages on their first use, so that words
/// that are never touched cost address space only.
#[cfg(not(sisyphus_loom))]
pub fn zeroed_words(count: usize) -> Box<[AtomicU64]> {
    bytemuck::zeroed_slice_box(count)
}

/// Returns `count` words that are zero.
#[cfg(sisyphus_loom)]
pub fn zeroed_words(count: usize) -> Box<[AtomicU64]> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}
