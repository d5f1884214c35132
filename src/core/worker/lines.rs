//! Bytes of a worker's output cut into lines, without copying and within a limit.
//!
//! A line beyond the limit is never held as a whole: its beginning and its end are searched for the id of the
//! call it answers, and the rest is thrown away. An endless line is given up.

use memchr::memchr;

use super::answer::{id_in_prefix, id_in_tail};

/// A buffer that bytes are read into and lines are taken from.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes before this one were handed out.
    start: usize,
    /// Bytes before this one hold no end of a line.
    searched: usize,
    /// Bytes from this one on are free.
    end: usize,
    line_bytes_max: usize,
    skipping: Option<Skipped>,
}

/// One line.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// Longer than the limit, but it says which call it answers.
    TooLong { id: u64 },
    /// Longer than the limit, and nobody can tell whose it is.
    Lost,
}

#[derive(Debug)]
struct Skipped {
    /// The line was handed out as too long or lost; the rest of it does not matter.
    told: bool,
    tail: Vec<u8>,
    bytes: usize,
}

impl Lines {
    pub fn new(line_bytes_max: usize) -> Lines {
        Lines {
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            end: 0,
            line_bytes_max: line_bytes_max.max(TAIL_BYTES),
            skipping: None,
        }
    }

    /// Free room to read into; report with `filled` how much of it was used.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.searched, self.end) = (0, 0, 0);
            if self.buffer.len() > READ_BYTES * 4 {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end < READ_BYTES / 4 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() - self.end < READ_BYTES {
                let size = (self.buffer.len() * 2).clamp(READ_BYTES, self.line_bytes_max + 2 * READ_BYTES);
                self.buffer.resize(size.max(self.end + READ_BYTES), 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.buffer.len());
    }

    /// The next line that is complete, or that is known to be too long.
    pub fn take(&mut self) -> Option<Line<'_>> {
        let Some(length) = memchr(b'\n', &self.buffer[self.searched..self.end]) else {
            self.searched = self.end;
            return self.too_long();
        };
        let line = self.start..self.searched + length;
        self.start = line.end + 1;
        self.searched = self.start;
        let skipping = self.skipping.take();
        if skipping.as_ref().is_some_and(|s| s.told) {
            return self.take();
        }
        let line = &self.buffer[line];
        if let Some(mut skipped) = skipping {
            skipped.add(line);
            return Some(match id_in_tail(&skipped.tail) {
                Some(id) => Line::TooLong { id },
                None => Line::Lost,
            });
        }
        if line.len() > self.line_bytes_max {
            return Some(match id_in_prefix(line).or_else(|| id_in_tail(line)) {
                Some(id) => Line::TooLong { id },
                None => Line::Lost,
            });
        }
        Some(Line::Whole(line))
    }

    /// What is left after the last end of a line.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn too_long(&mut self) -> Option<Line<'_>> {
        let held = &self.buffer[self.start..self.end];
        match &mut self.skipping {
            Some(skipped) => {
                skipped.add(held);
                self.start = self.end;
                let endless = !skipped.told && skipped.bytes / ENDLESS_FACTOR > self.line_bytes_max;
                skipped.told |= endless;
                endless.then_some(Line::Lost)
            }
            None if held.len() > self.line_bytes_max => {
                let id = id_in_prefix(held);
                let mut skipped = Skipped { told: id.is_some(), tail: Vec::new(), bytes: 0 };
                skipped.add(held);
                self.skipping = Some(skipped);
                self.start = self.end;
                id.map(|id| Line::TooLong { id })
            }
            None => None,
        }
    }
}

impl Skipped {
    fn add(&mut self, piece: &[u8]) {
        self.bytes = self.bytes.saturating_add(piece.len());
        if !self.told {
            self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
            self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
        }
    }
}

/// What a pipe holds, so that one read takes all there is.
const READ_BYTES: usize = 64 * 1024;
/// Room for `,"id":"<20 digits>"}` with generous blanks.
const TAIL_BYTES: usize = 128;
/// How often the limit a line may be skipped over before it counts as endless.
const ENDLESS_FACTOR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lines: &mut Lines, mut bytes: &[u8], piece: usize) -> Vec<String> {
        let mut seen = Vec::new();
        while !bytes.is_empty() {
            let space = lines.space();
            let n = bytes.len().min(piece).min(space.len());
            space[..n].copy_from_slice(&bytes[..n]);
            lines.filled(n);
            bytes = &bytes[n..];
            while let Some(line) = lines.take() {
                seen.push(match line {
                    Line::Whole(l) => String::from_utf8_lossy(l).into_owned(),
                    other => format!("{other:?}"),
                });
            }
        }
        seen
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = "one\n\ntwo and more\nthree\nrest";
        for piece in 1..text.len() {
            let mut lines = Lines::new(1000);
            assert_eq!(feed(&mut lines, text.as_bytes(), piece), ["one", "", "two and more", "three"]);
            assert_eq!(lines.rest(), b"rest");
        }
    }

    #[test]
    fn a_long_line_within_the_limit_comes_whole_and_its_room_is_given_back() {
        let mut lines = Lines::new(8_000_000);
        let long = "x".repeat(5_000_000);
        assert_eq!(feed(&mut lines, format!("{long}\nshort\n").as_bytes(), 70_000), [long.as_str(), "short"]);
        lines.space();
        assert!(lines.buffer.len() <= READ_BYTES * 4);
    }

    #[test]
    fn a_line_beyond_the_limit_names_its_call_or_is_lost_and_memory_stays_bounded() {
        let z = "z".repeat(400_000);
        for piece in [1000, 65_536, 1_000_000] {
            let mut lines = Lines::new(100_000);
            let text = format!("{{\"id\":3,\"result\":\"{z}\"}}\nnext\n");
            assert_eq!(feed(&mut lines, text.as_bytes(), piece), ["TooLong { id: 3 }", "next"]);
            let text = format!("{{\"result\":\"{z}\",\"id\":4}}\nnext\n");
            assert_eq!(feed(&mut lines, text.as_bytes(), piece), ["TooLong { id: 4 }", "next"]);
            assert_eq!(feed(&mut lines, format!("{z}\nnext\n").as_bytes(), piece), ["Lost", "next"]);
            assert!(lines.buffer.len() <= 100_000 + 2 * READ_BYTES);
        }
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let mut lines = Lines::new(1000);
        assert_eq!(feed(&mut lines, "z".repeat(200_000).as_bytes(), 65_536), ["Lost"]);
    }
}
