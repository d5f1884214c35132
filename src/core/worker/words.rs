//! What a worker says besides its answers, made fit for a log: one line each, of bounded length, without control
//! characters, and not more often than a log can bear.

use std::time::Duration;

use crate::core::time::Now;

/// Lines of an error stream; what is longer than the limit is cut.
#[derive(Debug, Default)]
pub struct LogLines {
    line: Vec<u8>,
    cut: usize,
}

impl LogLines {
    /// Adds what was read and hands each line that is complete to `each`.
    pub fn add(&mut self, bytes: &[u8], mut each: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LOG_LINE_BYTES_MAX.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(&text[..room]);
            self.cut = self.cut.saturating_add(text.len() - room);
            if ended {
                self.end(&mut each);
            }
        }
    }

    /// Hands out a last line that has no end.
    pub fn end(&mut self, mut each: impl FnMut(String)) {
        if !self.line.trim_ascii().is_empty() {
            let text = printable(&self.line, LOG_LINE_BYTES_MAX);
            each(if self.cut > 0 { format!("{text}... ({} bytes more)", self.cut) } else { text });
        }
        self.line.clear();
        self.cut = 0;
    }
}

/// Lets some lines through and counts the others.
#[derive(Debug)]
pub struct Throttle {
    burst: u32,
    interval: Duration,
    /// When all permits will be back.
    full_at: Duration,
    suppressed: u64,
}

impl Throttle {
    /// Lets `burst` lines through at once, then one each `interval`.
    pub fn new(burst: u32, interval: Duration) -> Throttle {
        Throttle { burst, interval, full_at: Duration::ZERO, suppressed: 0 }
    }

    /// Whether one more line may be written now.
    pub fn admit(&mut self, now: Now) -> bool {
        let from = self.full_at.max(now.mono);
        let admitted = from + self.interval <= now.mono + self.interval * self.burst;
        if admitted {
            self.full_at = from + self.interval;
        } else {
            self.suppressed += 1;
        }
        admitted
    }

    /// How many lines were not written since this was last asked.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    pub fn has_suppressed(&self) -> bool {
        self.suppressed > 0
    }
}

/// Text from outside as one line of at most `chars_max` characters.
pub fn printable(bytes: &[u8], chars_max: usize) -> String {
    let bytes = &bytes[..bytes.len().min(chars_max.saturating_mul(4))];
    let text = String::from_utf8_lossy(bytes);
    let mut out: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect();
    out.truncate(out.trim_end().len());
    out
}

/// A longer line is no message for a person.
const LOG_LINE_BYTES_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_cut_and_cleaned() {
        let mut seen = Vec::new();
        let mut lines = LogLines::default();
        lines.add(b"first\nsec", |l| seen.push(l));
        lines.add(b"ond\x00\x1b[1m\n\n  \n", |l| seen.push(l));
        lines.add(&[b'x'; 3000], |l| seen.push(l));
        lines.add(b"\nlast", |l| seen.push(l));
        lines.end(|l| seen.push(l));
        let cut = format!("{}... (1000 bytes more)", "x".repeat(2000));
        assert_eq!(seen, ["first", "second  [1m", cut.as_str(), "last"]);
    }

    #[test]
    fn a_throttle_admits_a_burst_and_then_one_each_interval() {
        let mut throttle = Throttle::new(3, Duration::from_secs(1));
        let mut admitted = |at: f64| (0..5).filter(|_| throttle.admit(Now::at(0.0, at))).count();
        assert_eq!([admitted(10.0), admitted(10.5), admitted(11.0), admitted(30.0)], [3, 0, 1, 3]);
        assert_eq!(throttle.take_suppressed(), 2 + 5 + 4 + 2);
        assert!(!throttle.has_suppressed());
    }
}
