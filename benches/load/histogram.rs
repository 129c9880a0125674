//! Latencies in buckets that are at most 1/32 wide.

const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) << SUB_BITS;

/// Counts of values, in whatever unit they come.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, value: u64, times: u64) {
        self.counts[bucket(value)] += times;
        self.total += times;
        self.max = self.max.max(value);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The value below which `per_mille` of 1,000 lie: the upper edge of its bucket, and never above the largest seen.
    pub(crate) fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_edge(place).min(self.max);
            }
        }
        self.max
    }
}

/// Values below 32 have a bucket each; above, each power of two has 32.
fn bucket(value: u64) -> usize {
    if value < SUB {
        return usize::try_from(value).expect("a value below 32");
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    let sub = (value >> shift) - SUB;
    usize::try_from((u64::from(shift + 1) << SUB_BITS) + sub).expect("there are less than 2,000 buckets")
}

fn upper_edge(place: usize) -> u64 {
    let place = place as u64;
    if place < SUB {
        return place;
    }
    let shift = (place >> SUB_BITS) - 1;
    let next = u128::from((place & (SUB - 1)) + SUB + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}
