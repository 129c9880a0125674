//! Time, as an argument: the machine's clocks, and the leader's time that is made from them. **Rule (time)**.

/// Units of 10 ns, the 1 % of a µs, in a ms.
const PER_MS: u64 = 100_000;

/// What the machine's clocks showed at one instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// CLOCK_BOOTTIME in µs: it only goes forward, also while the machine sleeps.
    pub boot_us: u64,
    /// The wall clock in ms since the Unix epoch: it may jump.
    pub wall_ms: u64,
}

/// Where the time comes from: the machine, or a simulation.
pub trait Clock: Send + Sync {
    /// Both clocks.
    fn now(&self) -> Now;
    /// CLOCK_BOOTTIME alone, in ns, to time commands with.
    fn boot_ns(&self) -> u64;
}

/// The time of one leadership: it never goes back, and is pulled towards the wall clock by at most 1 % of what
/// elapses.
#[derive(Clone, Copy, Debug)]
pub struct LeaderClock {
    boot_us: u64,
    /// In units of 10 ns, so that the pull of a few µs is not rounded away.
    present: u64,
}

impl LeaderClock {
    /// Begins at the newer of the stamp taken over and the wall clock.
    pub fn new(stamp_ms: u64, now: Now) -> Self {
        Self { boot_us: now.boot_us, present: stamp_ms.max(now.wall_ms).saturating_mul(PER_MS) }
    }

    /// The present time at `now`, in ms since the Unix epoch.
    pub fn at(&self, now: Now) -> u64 {
        self.present_at(now) / PER_MS
    }

    /// Moves the clock on to `now` and returns the present time in ms.
    pub fn advance(&mut self, now: Now) -> u64 {
        *self = Self { present: self.present_at(now), boot_us: now.boot_us.max(self.boot_us) };
        self.present / PER_MS
    }

    fn present_at(&self, now: Now) -> u64 {
        let elapsed = now.boot_us.saturating_sub(self.boot_us) * 100;
        let unpulled = self.present + elapsed;
        let pull = elapsed / 100;
        now.wall_ms.saturating_mul(PER_MS).clamp(unpulled - pull, unpulled + pull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(boot_ms: u64, wall_ms: u64) -> Now {
        Now { boot_us: boot_ms * 1000, wall_ms }
    }

    #[test]
    fn it_begins_at_the_stamp_when_the_wall_clock_is_behind() {
        let clock = LeaderClock::new(5_000, now(0, 1_000));
        assert_eq!(clock.at(now(0, 1_000)), 5_000);
    }

    #[test]
    fn it_follows_the_wall_clock_by_one_percent_at_most() {
        let mut clock = LeaderClock::new(0, now(0, 1_000_000));
        assert_eq!(clock.advance(now(1_000, 1_001_000)), 1_001_000, "no difference, no pull");
        assert_eq!(clock.advance(now(2_000, 9_000_000)), 1_002_010, "a jump ahead is followed slowly");
        assert_eq!(clock.advance(now(3_000, 0)), 1_003_000, "and so is a jump back");
    }

    #[test]
    fn small_steps_pull_as_much_as_large_ones() {
        let mut clock = LeaderClock::new(0, now(0, 1_000_000));
        for step in 1..=100_000 {
            clock.advance(Now { boot_us: step * 10, wall_ms: 9_000_000 });
        }
        assert_eq!(clock.at(now(1_000, 9_000_000)), 1_001_010);
    }

    #[test]
    fn it_never_goes_back() {
        let mut clock = LeaderClock::new(0, now(100, 1_000));
        let before = clock.advance(now(200, 1_100));
        assert_eq!(clock.advance(now(150, 0)), before);
    }
}
