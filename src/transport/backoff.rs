//! How long a node waits before it dials again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// Waits that double up to a second. Each is drawn between its half and its whole, so that nodes that lost each other at
/// the same time do not dial in step.
pub(super) struct Backoff {
    rng: fastrand::Rng,
    whole: Duration,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), whole: FIRST }
    }

    /// Returns the next wait.
    pub(super) fn next(&mut self) -> Duration {
        let half = self.whole / 2;
        self.whole = (self.whole * 2).min(LAST);
        half + half.mul_f64(self.rng.f64())
    }

    /// It worked: the next wait is a short one.
    pub(super) fn reset(&mut self) {
        self.whole = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new(1);
        let mut whole = FIRST;
        for _ in 0..10 {
            let wait = backoff.next();
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(LAST);
        }
        assert_eq!(whole, LAST);
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn two_nodes_do_not_dial_in_step() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(2));
        assert!((0..4).any(|_| one.next() != other.next()));
    }
}
