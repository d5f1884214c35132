//! Counts of durations in buckets that grow with the value: each power of two is cut into 128 equal parts, so a
//! quantile is never more than 0.8 % above the true one, whatever its size. Recording never allocates.

/// A histogram of nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }

    pub fn record(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += 1;
            self.total += 1;
            self.max = self.max.max(value);
        }
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest recorded value (to 0.8 %) that at least this share of all values does not exceed; 0 when empty.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return last_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let shift = value.ilog2() - PARTS.ilog2();
    ((u64::from(shift) + 1) * PARTS + ((value >> shift) - PARTS)) as usize
}

/// The largest value that falls into a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let (shift, part) = (bucket / PARTS - 1, bucket % PARTS);
    // One less than the start of the next bucket, in an order that does not overflow in the last one.
    ((PARTS + part) << shift) + ((1 << shift) - 1)
}

/// Parts of a power of two.
const PARTS: u64 = 128;
/// Enough for every 64-bit value.
const BUCKETS: usize = 128 * (64 - 7 + 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_ends_close_above_it() {
        for exponent in 0..64 {
            for value in [1u64 << exponent, (1u64 << exponent) | 1, (1u64 << exponent) + (1 << exponent) / 3]
            {
                let end = last_of(bucket(value));
                assert!(bucket(value) < BUCKETS && end >= value, "{value}");
                assert!((end - value) as f64 <= value as f64 / 128.0, "{value} {end}");
            }
        }
        assert_eq!(last_of(bucket(u64::MAX)), u64::MAX);
        assert!((1..BUCKETS).all(|b| last_of(b - 1) < last_of(b) && bucket(last_of(b)) == b));
    }

    #[test]
    fn quantiles_agree_with_a_sorted_list() {
        let mut state = 7u64;
        let mut values = Vec::new();
        let mut histogram = Histogram::new();
        for _ in 0..10_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = state >> (20 + state % 40);
            values.push(value);
            histogram.record(value);
        }
        values.sort_unstable();
        for share in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let exact = values[((10_000.0 * share) as usize).max(1) - 1];
            let got = histogram.quantile(share);
            assert!(got >= exact && got as f64 <= exact as f64 * 1.008 + 1.0, "{share}: {got} for {exact}");
        }
    }

    #[test]
    fn merged_histograms_count_as_one() {
        let (mut a, mut b) = (Histogram::new(), Histogram::new());
        a.record(5);
        b.record(1_000_000);
        a.merge(&b);
        assert_eq!((a.total(), a.max(), a.quantile(0.5), a.quantile(1.0)), (2, 1_000_000, 5, 1_000_000));
        assert_eq!(Histogram::new().quantile(0.5), 0);
    }
}
