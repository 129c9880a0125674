//! Admission: how fast commands are taken on while the tree lags behind with flushes and compactions.
//!
//! From a pressure ([`Debt::pressure`]) of 500 on, the effects of a drain have to be paid for with time before the next one:
//! little at first, a second for each MiB or so shortly before 1000, where nothing is taken on any more. So writes
//! become as slow as the tree can bear before it would have to stop them.

use super::clock::Now;
use crate::lsm::Debt;

/// Pressure from which on writes are slowed down.
pub(super) const PRESSURE_SLOW: u64 = 500;

/// Pressure at which nothing more is evaluated.
pub(super) const PRESSURE_MAX: u64 = 1000;

/// What may be owed before anyone waits: timers are not finer than this.
const OWED_US_MAX: u64 = 1_000;

/// When the next drain may begin.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// The tree is as far behind as this.
    pub(super) debt: Debt,
    /// Everything that was taken on is paid for by then.
    paid_at_us: u64,
    /// When commands last began to wait.
    waiting_since_us: Option<u64>,
    /// How long they have waited.
    pub(super) waited_us: u64,
}

impl Admission {
    /// Whether commands may be evaluated at `now`, while the tree is as far behind as `debt`.
    pub(super) fn admits(&mut self, debt: Debt, now: Now) -> bool {
        self.debt = debt;
        let admits = debt.pressure < PRESSURE_MAX && self.owed_us(now) <= OWED_US_MAX;
        if !admits {
            self.waiting_since_us.get_or_insert(now.boot_us);
        } else if let Some(since) = self.waiting_since_us.take() {
            self.waited_us += now.boot_us.saturating_sub(since);
        }
        admits
    }

    /// Takes note of a drain with `effects_bytes` of effects at `now`. Returns when the next may begin, in µs of
    /// CLOCK_BOOTTIME, if it has to wait.
    pub(super) fn took(&mut self, effects_bytes: usize, now: Now) -> Option<u64> {
        let over = self.debt.pressure.saturating_sub(PRESSURE_SLOW);
        let range = PRESSURE_MAX - PRESSURE_SLOW;
        // A µs for each byte at the end of the range, and the square of the way there.
        let price_us = effects_bytes as u64 * over * over / (range * range);
        self.paid_at_us = self.paid_at_us.max(now.boot_us) + price_us;
        (self.owed_us(now) > OWED_US_MAX).then_some(self.paid_at_us)
    }

    fn owed_us(&self, now: Now) -> u64 {
        self.paid_at_us.saturating_sub(now.boot_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_us: u64) -> Now {
        Now { boot_us, wall_ms: 0 }
    }

    fn debt(pressure: u64) -> Debt {
        Debt { pressure, ..Debt::default() }
    }

    #[test]
    fn nobody_waits_below_half_the_pressure() {
        let mut admission = Admission::default();
        assert!(admission.admits(debt(500), at(0)));
        assert_eq!(admission.took(1 << 30, at(0)), None);
        assert!(admission.admits(debt(500), at(0)));
        assert_eq!(admission.waited_us, 0);
    }

    #[test]
    fn effects_are_paid_for_with_time() {
        let mut admission = Admission::default();
        assert!(admission.admits(debt(750), at(0)));
        assert_eq!(admission.took(3_000, at(0)), None, "less than a timer can wait");
        assert_eq!(admission.took(40_000, at(0)), Some(10_750), "a quarter of a µs a byte");
        assert!(!admission.admits(debt(750), at(100)));
        assert!(!admission.admits(debt(600), at(9_000)));
        assert!(admission.admits(debt(600), at(10_750)));
        assert_eq!(admission.waited_us, 10_650);
        assert_eq!(admission.took(1_000, at(20_000)), None, "time that passes unused is not saved up");
    }

    #[test]
    fn all_wait_at_full_pressure() {
        let mut admission = Admission::default();
        assert!(!admission.admits(debt(1000), at(5)));
        assert!(!admission.admits(debt(1200), at(10)));
        assert!(admission.admits(debt(999), at(25)));
        assert_eq!(admission.waited_us, 20);
    }
}
