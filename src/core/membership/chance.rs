//! Chance from a seed: the only randomness of the core, so that a run can be repeated. Not for secrets.

/// SplitMix64: small, fast, and good enough for jitter and for ids that need to be unique, not secret.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `value` plus or minus up to a quarter of it.
    pub fn jittered(&mut self, value: f64) -> f64 {
        let unit = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        value * (0.75 + unit / 2.0)
    }

    /// An id in the form of a random UUID.
    pub fn uuid(&mut self) -> String {
        let (high, low) = (self.draw(), self.draw());
        let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}
