//! Topic patterns (client.md 5.3): when does a pattern match a topic?
//!
//! Topics and patterns are split at `.` and compared segment by segment, with regard to case. `*` stands for exactly
//! one segment, `#` for any number of them, also none; both only when they are a segment of their own. The empty
//! text has no segments, `.` has two empty ones. No text is invalid.
//!
//! One oddity of the protocol is kept: two or more `#` at the end want at least one segment (`a.#.#` does not match
//! `a`). A pattern is therefore brought into a normal form when it is read, in which the textbook rules hold.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A pattern that was read. Two patterns are equal when they match the same way segment by segment, however they
/// are written: `a.#.*` equals `a.*.#`.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    /// In each run of wildcards all `One` come first, then at most one `Any`.
    steps: Box<[Step]>,
}

/// One segment of a pattern in normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment<'a> {
    /// Exactly this text, which may be empty.
    Text(&'a str),
    /// `*`: exactly one segment.
    One,
    /// `#`: any number of segments, also none.
    Any,
}

/// A segment, its text as a range of bytes of the pattern's text.
#[derive(Clone, Copy)]
enum Step {
    Text { start: usize, end: usize },
    One,
    Any,
}

impl Pattern {
    pub fn parse(text: &str) -> Pattern {
        let mut steps = Vec::new();
        let mut run = Run::default();
        let mut start = 0;
        for word in segments(text) {
            match word {
                "*" => run.one(),
                "#" => run.any(),
                _ => {
                    run.end(&mut steps);
                    steps.push(Step::Text { start, end: start + word.len() });
                }
            }
            start += word.len() + 1;
        }
        run.end_of_pattern(&mut steps);
        Pattern { text: text.into(), steps: steps.into() }
    }

    /// As it was written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// In normal form: in each run of wildcards `*` before `#`, and at most one `#`.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.steps.iter().map(|&step| self.segment(step))
    }

    /// Whether it has no wildcard, so that it matches the topic that is its text and nothing else.
    pub fn is_literal(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Text { .. }))
    }

    /// Every topic that matches begins with this text.
    pub fn literal_prefix(&self) -> &str {
        let leading = self.steps.iter().map_while(|step| match step {
            Step::Text { end, .. } => Some(*end),
            Step::One | Step::Any => None,
        });
        leading.last().and_then(|end| self.text.get(..end)).unwrap_or("")
    }

    /// Whether a message on `topic` is for this pattern. Takes time proportional to the number of segments of both,
    /// multiplied in the worst case, and no memory.
    pub fn matches(&self, topic: &str) -> bool {
        let mut words = segments(topic);
        let mut at = 0;
        // Where to go on when a later segment does not fit: behind the last `Any`, which then takes one more word.
        let mut retry = None;
        loop {
            let here = words.clone();
            let Some(word) = words.next() else { break };
            let fits = match self.steps.get(at) {
                Some(Step::Any) => {
                    at += 1;
                    retry = Some((at, here.clone()));
                    words = here;
                    continue;
                }
                Some(Step::One) => true,
                Some(&Step::Text { start, end }) => self.text.get(start..end) == Some(word),
                None => false,
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((behind, mut from)) = retry else { return false };
            from.next();
            at = behind;
            words = from.clone();
            retry = Some((behind, from));
        }
        self.steps.iter().skip(at).all(|step| matches!(step, Step::Any))
    }

    fn segment(&self, step: Step) -> Segment<'_> {
        match step {
            Step::Text { start, end } => Segment::Text(self.text.get(start..end).unwrap_or("")),
            Step::One => Segment::One,
            Step::Any => Segment::Any,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Pattern) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Pattern) -> Ordering {
        self.segments().cmp(other.segments())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// Whether a message on `topic` is for `pattern`.
pub fn matches(pattern: &Pattern, topic: &str) -> bool {
    pattern.matches(topic)
}

/// The segments of a topic or of the text of a pattern; none for the empty text.
pub fn segments(text: &str) -> std::str::Split<'_, char> {
    let mut words = text.split('.');
    if text.is_empty() {
        words.next();
    }
    words
}

/// A run of wildcards while a pattern is read.
#[derive(Default)]
struct Run {
    ones: usize,
    any: bool,
    /// How many `#` stand at its end.
    last_anys: usize,
}

impl Run {
    fn one(&mut self) {
        self.ones += 1;
        self.last_anys = 0;
    }

    fn any(&mut self) {
        self.any = true;
        self.last_anys += 1;
    }

    fn end(&mut self, steps: &mut Vec<Step>) {
        steps.extend(std::iter::repeat_n(Step::One, self.ones));
        steps.extend(self.any.then_some(Step::Any));
        *self = Run::default();
    }

    fn end_of_pattern(&mut self, steps: &mut Vec<Step>) {
        // The protocol's oddity: when the topic is used up, only one more `#` is looked at.
        if self.last_anys > 1 {
            self.ones += 1;
        }
        self.end(steps);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule of client.md 5.3 word for word, one pattern at a time, without regard to cost.
    pub(in crate::core::pubsub) fn matches_by_the_book(pattern: &str, topic: &str) -> bool {
        fn go(pattern: &[&str], topic: &[&str]) -> bool {
            match (pattern, topic) {
                ([] | ["#"], []) => true,
                (_, []) | ([], _) => false,
                (["#", rest @ ..], _) => (0..=topic.len()).any(|n| go(rest, &topic[n..])),
                ([first, rest @ ..], [word, words @ ..]) => {
                    (*first == "*" || first == word) && go(rest, words)
                }
            }
        }
        go(&segments(pattern).collect::<Vec<_>>(), &segments(topic).collect::<Vec<_>>())
    }

    /// Patterns and topics over few words, so that they often meet.
    pub(in crate::core::pubsub) fn pattern_text() -> impl Strategy<Value = String> {
        let word = prop_oneof![Just("a"), Just("b"), Just(""), Just("*"), Just("*"), Just("#"), Just("#")];
        proptest::collection::vec(word, 0..7).prop_map(|words| words.join("."))
    }

    pub(in crate::core::pubsub) fn topic_text() -> impl Strategy<Value = String> {
        let word = prop_oneof![Just("a"), Just("a"), Just("b"), Just(""), Just("*"), Just("#")];
        proptest::collection::vec(word, 0..7).prop_map(|words| words.join("."))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn agrees_with_the_book(pattern in pattern_text(), topic in topic_text()) {
            prop_assert_eq!(Pattern::parse(&pattern).matches(&topic), matches_by_the_book(&pattern, &topic));
        }

        #[test]
        fn what_matches_begins_with_the_literal_prefix(pattern in pattern_text(), topic in topic_text()) {
            let pattern = Pattern::parse(&pattern);
            prop_assert!(!pattern.matches(&topic) || topic.starts_with(pattern.literal_prefix()));
            prop_assert!(!pattern.is_literal() || pattern.matches(&topic) == (**pattern.text() == *topic));
        }

        #[test]
        fn equal_patterns_match_the_same(one in pattern_text(), other in pattern_text(), topic in topic_text()) {
            let (one, other) = (Pattern::parse(&one), Pattern::parse(&other));
            prop_assert!(one != other || one.matches(&topic) == other.matches(&topic));
        }
    }

    #[test]
    fn rows_observed_on_the_wire() {
        for &(pattern, topic, delivered) in ROWS {
            assert_eq!(Pattern::parse(pattern).matches(topic), delivered, "{pattern:?} on {topic:?}");
            assert_eq!(matches_by_the_book(pattern, topic), delivered, "the book: {pattern:?} on {topic:?}");
        }
    }

    #[test]
    fn the_way_it_is_written_does_not_make_a_pattern_another() {
        for (one, other) in [("a.#.*", "a.*.#"), ("#.#.a", "#.a"), ("a.#.#", "a.#.*"), ("#.*.#.#", "*.*.#")] {
            assert_eq!(Pattern::parse(one), Pattern::parse(other));
        }
        assert_ne!(Pattern::parse("a.#"), Pattern::parse("a.#.#"));
        assert_eq!(&**Pattern::parse("a.#.*").text(), "a.#.*");
    }

    #[test]
    fn many_wildcards_on_a_long_topic_take_no_time_to_speak_of() {
        let topic = vec!["a"; 2000].join(".");
        assert!(!Pattern::parse(&format!("{}.b", vec!["#.a"; 200].join("."))).matches(&topic));
        assert!(Pattern::parse(&vec!["#.a"; 200].join(".")).matches(&topic));
    }

    /// Pattern, topic, whether the reference delivered.
    pub(in crate::core::pubsub) const ROWS: &[(&str, &str, bool)] = &[
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("a.*", "a.", true),
        ("a.#", "a", true),
        ("a.#", "a.b", true),
        ("a.#", "a.b.c", true),
        ("#", "a", true),
        ("#", "a.b.c", true),
        ("#", "", true),
        ("*", "a", true),
        ("*", "a.b", false),
        ("*", "", false),
        ("*.b", "a.b", true),
        ("#.b", "b", true),
        ("#.b", "a.b", true),
        ("#.b", "a.c.b", true),
        ("a.#.b", "a.b", true),
        ("a.#.b", "a.x.b", true),
        ("a.#.b", "a.x.y.b", true),
        ("a.#.b", "a.x.y", false),
        ("a.#.#", "a", false),
        ("a.#.#", "a.x", true),
        ("a.*.#", "a", false),
        ("a.*.#", "a.b", true),
        ("a.#.*", "a", false),
        ("a.#.*", "a.b", true),
        ("a.#.*", "a.b.c", true),
        ("a..b", "a..b", true),
        ("a.*.b", "a..b", true),
        ("", "", true),
        ("", "a", false),
        ("A.b", "a.b", false),
        ("a.b*", "a.bc", false),
        ("a.b*", "a.b*", true),
        ("a.b#", "a.bc", false),
        ("*.#", "a", true),
        ("#.#", "a", true),
        ("#.#", "", false),
        (".", ".", true),
        ("*.*", ".", true),
        ("a.", "a.", true),
        ("a.", "a", false),
        ("a.*", "A.b", false),
        ("a.#", "b.a", false),
        ("a.#", "a.", true),
        ("#", ".", true),
        ("*.b", "b", false),
        ("*.b", ".b", true),
        ("*.b", "a.a.b", false),
        ("#.b", "b.a", false),
        ("a.#.b", "a.b.b", true),
        ("a.#.#", "a.x.y", true),
        ("a.*.#", "a.b.c.d", true),
        ("a..b", "a.b", false),
        ("a.*.b", "a.x.b", true),
        ("a.*.b", "a.b", false),
        ("A.b", "A.b", true),
        ("a.b*", "a.b", false),
        ("a.b#", "a.b#", true),
        ("*.#", "a.b", true),
        ("*.#", "", false),
        ("#.#", "a.b", true),
        (".", "", false),
        ("*.*", "a.b", true),
        ("*.*", "a", false),
        ("a.*.*", "a.b.c", true),
        ("a.*.*", "a.b", false),
        ("*.x.#.y", "a.x.y", true),
        ("*.x.#.y", "a.x.1.2.y", true),
        ("*.x.#.y", "x.y", false),
        ("#.m.#", "m", true),
        ("#.m.#", "a.m", true),
        ("#.m.#", "m.b", true),
        ("#.m.#", "a.m.b", true),
        ("#.m.#", "a.b", false),
        ("größe.*", "größe.ä", true),
        ("größe.*", "grösse.ä", false),
        ("with blank.*", "with blank.x y", true),
        ("a.b.c", "a.b.c", true),
        ("a.b.c", "a.b", false),
        ("a.b.c", "a.b.c.d", false),
        ("**", "a", false),
        ("**", "**", true),
        ("a.##", "a.b", false),
        ("a.##", "a.##", true),
        ("a.+", "a.b", false),
        ("a.+", "a.+", true),
    ];
}
