//! Many patterns at once: which values belong to a pattern that matches this topic?
//!
//! A tree of pattern segments, walked with the set of all places where the topic could be in it; each place is in
//! that set once, so no mixture of `#` and long topics can make a match explode: it costs at most the length of the
//! topic times the size of the set. A value comes out once however many of its patterns match, and in order.
//! Removing a value frees the nodes and words that only it needed.

use std::collections::BTreeMap;

use super::pattern::{Pattern, Segment, segments};

/// Patterns and their values. `T` is something small: a number that stands for a subscriber.
#[derive(Debug)]
pub struct Trie<T> {
    nodes: Vec<Node<T>>,
    free_nodes: Vec<u32>,
    /// Every literal word of any pattern, so that a word of a topic is compared as text once, not at each node.
    words: BTreeMap<Box<str>, Word>,
    free_words: Vec<u32>,
    /// (node, word) to child. One map for all nodes: most nodes have a single child, and a map each would cost ten
    /// times the memory.
    edges: BTreeMap<(u32, u32), u32>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    /// Sorted.
    values: Vec<T>,
    one: u32,
    any: u32,
    /// How many edges of `Trie::edges` begin here.
    literals: u32,
    /// Reached by `#`: every further word leads here again.
    repeats: bool,
}

#[derive(Debug)]
struct Word {
    number: u32,
    /// How many edges use it.
    uses: u32,
}

impl<T: Copy + Ord> Trie<T> {
    pub fn new() -> Trie<T> {
        Trie {
            nodes: vec![Node::new(false)],
            free_nodes: Vec::new(),
            words: BTreeMap::new(),
            free_words: Vec::new(),
            edges: BTreeMap::new(),
            len: 0,
        }
    }

    /// False if the value already had this pattern (equal in normal form); nothing is counted twice.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> bool {
        let mut at = ROOT;
        for segment in pattern.segments() {
            at = self.child_or_new(at, segment);
        }
        let values = &mut self.node_mut(at).values;
        let Err(place) = values.binary_search(&value) else { return false };
        values.insert(place, value);
        self.len += 1;
        true
    }

    /// False if the value did not have this pattern.
    pub fn remove(&mut self, pattern: &Pattern, value: T) -> bool {
        let mut path = Vec::new();
        let mut at = ROOT;
        for segment in pattern.segments() {
            let Some(child) = self.child(at, segment) else { return false };
            path.push((at, segment, child));
            at = child;
        }
        let values = &mut self.node_mut(at).values;
        let Ok(place) = values.binary_search(&value) else { return false };
        values.remove(place);
        if values.len() * 4 < values.capacity() {
            values.shrink_to_fit();
        }
        self.len -= 1;
        for (parent, segment, child) in path.into_iter().rev() {
            if !self.node(child).is_empty() {
                break;
            }
            self.cut(parent, segment, child);
        }
        true
    }

    /// Appends to `out` the values whose patterns match, in order, each once.
    pub fn matches(&self, topic: &str, out: &mut Vec<T>) {
        let begin = out.len();
        let (mut places, mut next) = (Vec::with_capacity(SCRATCH), Vec::with_capacity(SCRATCH));
        self.enter(ROOT, &mut places);
        for text in segments(topic) {
            let word = self.words.get(text).map(|word| word.number);
            for &at in &places {
                let node = self.node(at);
                if node.repeats {
                    next.push(at);
                }
                if node.one != NONE {
                    self.enter(node.one, &mut next);
                }
                if let Some(word) = word
                    && node.literals > 0
                    && let Some(&child) = self.edges.get(&(at, word))
                {
                    self.enter(child, &mut next);
                }
            }
            // A `#` can be reached again from its parent while it is still there itself.
            next.sort_unstable();
            next.dedup();
            std::mem::swap(&mut places, &mut next);
            next.clear();
            if places.is_empty() {
                return;
            }
        }
        let mut sources = 0;
        for &at in &places {
            let values = &self.node(at).values;
            out.extend_from_slice(values);
            sources += usize::from(!values.is_empty());
        }
        if sources > 1 {
            let mut found = out.split_off(begin);
            found.sort_unstable();
            found.dedup();
            out.append(&mut found);
        }
    }

    /// How many pairs of pattern and value there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A place, and the `#` below it, which matches without taking a word. Normal form has no `#` below a `#`.
    fn enter(&self, at: u32, places: &mut Vec<u32>) {
        places.push(at);
        let any = self.node(at).any;
        if any != NONE {
            places.push(any);
        }
    }

    fn child(&self, at: u32, segment: Segment<'_>) -> Option<u32> {
        let node = self.node(at);
        match segment {
            Segment::One => Some(node.one).filter(|&child| child != NONE),
            Segment::Any => Some(node.any).filter(|&child| child != NONE),
            Segment::Text(text) => {
                self.words.get(text).and_then(|word| self.edges.get(&(at, word.number))).copied()
            }
        }
    }

    fn child_or_new(&mut self, at: u32, segment: Segment<'_>) -> u32 {
        if let Some(child) = self.child(at, segment) {
            return child;
        }
        let child = self.new_node(segment == Segment::Any);
        match segment {
            Segment::One => self.node_mut(at).one = child,
            Segment::Any => self.node_mut(at).any = child,
            Segment::Text(text) => {
                let word = self.use_word(text);
                self.edges.insert((at, word), child);
                self.node_mut(at).literals += 1;
            }
        }
        child
    }

    /// Takes the empty node `child` off its parent.
    fn cut(&mut self, parent: u32, segment: Segment<'_>, child: u32) {
        match segment {
            Segment::One => self.node_mut(parent).one = NONE,
            Segment::Any => self.node_mut(parent).any = NONE,
            Segment::Text(text) => {
                if let Some(word) = self.release_word(text) {
                    self.edges.remove(&(parent, word));
                    self.node_mut(parent).literals -= 1;
                }
            }
        }
        self.free_nodes.push(child);
    }

    fn new_node(&mut self, repeats: bool) -> u32 {
        let node = Node::new(repeats);
        if let Some(free) = self.free_nodes.pop() {
            *self.node_mut(free) = node;
            return free;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    fn use_word(&mut self, text: &str) -> u32 {
        if let Some(word) = self.words.get_mut(text) {
            word.uses += 1;
            return word.number;
        }
        // Numbers in use and free ones together are 0..n.
        let number = self.free_words.pop().unwrap_or(self.words.len() as u32);
        self.words.insert(text.into(), Word { number, uses: 1 });
        number
    }

    fn release_word(&mut self, text: &str) -> Option<u32> {
        let word = self.words.get_mut(text)?;
        let number = word.number;
        word.uses -= 1;
        if word.uses == 0 {
            self.words.remove(text);
            self.free_words.push(number);
        }
        Some(number)
    }

    // Node numbers come only from this trie, and none is kept after its node was freed.
    fn node(&self, at: u32) -> &Node<T> {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node<T> {
        &mut self.nodes[at as usize]
    }
}

impl<T: Copy + Ord> Default for Trie<T> {
    fn default() -> Trie<T> {
        Trie::new()
    }
}

impl<T> Node<T> {
    fn new(repeats: bool) -> Node<T> {
        Node { values: Vec::new(), one: NONE, any: NONE, literals: 0, repeats }
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.literals == 0 && self.one == NONE && self.any == NONE
    }
}

const ROOT: u32 = 0;
const NONE: u32 = u32::MAX;
/// Room for the places of an ordinary match, so that it allocates twice and no more.
const SCRATCH: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::tests::{ROWS, matches_by_the_book, pattern_text, topic_text};
    use super::*;

    fn found(trie: &Trie<u32>, topic: &str) -> Vec<u32> {
        let mut out = Vec::new();
        trie.matches(topic, &mut out);
        out
    }

    fn live_nodes<T>(trie: &Trie<T>) -> usize {
        trie.nodes.len() - trie.free_nodes.len()
    }

    #[derive(Debug, Clone)]
    enum Act {
        Insert(String, u32),
        Remove(String, u32),
        RemoveOneThatIsThere(usize),
        Match(String),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (pattern_text(), 0..6u32).prop_map(|(p, v)| Act::Insert(p, v)),
            1 => (pattern_text(), 0..6u32).prop_map(|(p, v)| Act::Remove(p, v)),
            2 => any::<usize>().prop_map(Act::RemoveOneThatIsThere),
            4 => topic_text().prop_map(Act::Match),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn agrees_with_a_list_of_patterns(acts in proptest::collection::vec(act(), 1..120)) {
            let mut trie = Trie::new();
            let mut list: Vec<(Pattern, u32)> = Vec::new();
            for act in acts {
                match act {
                    Act::Insert(text, value) => {
                        let pattern = Pattern::parse(&text);
                        let new = !list.contains(&(pattern.clone(), value));
                        prop_assert_eq!(trie.insert(&pattern, value), new);
                        if new {
                            list.push((pattern, value));
                        }
                    }
                    Act::Remove(text, value) => {
                        let pair = (Pattern::parse(&text), value);
                        let place = list.iter().position(|p| *p == pair);
                        prop_assert_eq!(trie.remove(&pair.0, value), place.is_some());
                        place.map(|p| list.swap_remove(p));
                    }
                    Act::RemoveOneThatIsThere(n) if !list.is_empty() => {
                        let (pattern, value) = list.swap_remove(n % list.len());
                        prop_assert!(trie.remove(&pattern, value));
                    }
                    Act::RemoveOneThatIsThere(_) => {}
                    Act::Match(topic) => {
                        let matching = list.iter().filter(|(p, _)| matches_by_the_book(p.text(), &topic));
                        let mut expected: Vec<u32> = matching.map(|(_, value)| *value).collect();
                        expected.sort_unstable();
                        expected.dedup();
                        prop_assert_eq!(found(&trie, &topic), expected);
                    }
                }
                prop_assert_eq!(trie.len(), list.len());
            }
            for (pattern, value) in list {
                trie.remove(&pattern, value);
            }
            prop_assert_eq!(live_nodes(&trie), 1);
            prop_assert!(trie.edges.is_empty() && trie.words.is_empty() && trie.is_empty());
        }
    }

    #[test]
    fn rows_observed_on_the_wire() {
        let mut all = Trie::new();
        for (i, &(pattern, topic, delivered)) in ROWS.iter().enumerate() {
            let mut alone = Trie::new();
            alone.insert(&Pattern::parse(pattern), 0);
            assert_eq!(found(&alone, topic).len(), usize::from(delivered), "{pattern:?} on {topic:?}");
            all.insert(&Pattern::parse(pattern), i as u32);
        }
        for (i, &(pattern, topic, delivered)) in ROWS.iter().enumerate() {
            assert_eq!(found(&all, topic).contains(&(i as u32)), delivered, "{pattern:?} on {topic:?}");
        }
    }

    #[test]
    fn appends_and_leaves_what_was_there() {
        let mut trie = Trie::new();
        for pattern in ["a.*", "a.#", "#.b", "#"] {
            trie.insert(&Pattern::parse(pattern), 7);
            trie.insert(&Pattern::parse(pattern), 3);
        }
        let mut out = vec![9, 9, 1];
        trie.matches("a.b", &mut out);
        assert_eq!(out, [9, 9, 1, 3, 7]);
    }

    #[test]
    fn nodes_and_words_are_used_again() {
        let mut trie = Trie::new();
        for round in 0..50u32 {
            let pattern = Pattern::parse(&format!("a.{round}.*.#"));
            assert!(trie.insert(&pattern, round));
            assert_eq!(found(&trie, &format!("a.{round}.x")), [round]);
            assert!(trie.remove(&pattern, round));
        }
        assert_eq!((trie.nodes.len(), live_nodes(&trie)), (5, 1));
        assert!(trie.words.is_empty() && trie.edges.is_empty());
    }

    #[test]
    fn wildcards_in_a_row_do_not_explode() {
        let mut trie = Trie::new();
        for n in 1..60u32 {
            trie.insert(&Pattern::parse(&vec!["#.a"; n as usize].join(".")), n);
            trie.insert(&Pattern::parse(&vec!["#"; n as usize].join(".")), 1000 + n);
        }
        assert_eq!(found(&trie, &vec!["a"; 500].join(".")).len(), 118);
    }

    #[test]
    fn a_hundred_thousand_patterns() {
        let mut trie = Trie::new();
        let patterns: Vec<_> =
            (0..100_000u32).map(|i| Pattern::parse(&format!("site.{}.{i}.*", i % 100))).collect();
        for (i, pattern) in patterns.iter().enumerate() {
            trie.insert(pattern, i as u32);
        }
        for i in (0..100_000).step_by(997) {
            assert_eq!(found(&trie, &format!("site.{}.{i}.x", i % 100)), [i]);
        }
        for (i, pattern) in patterns.iter().enumerate() {
            assert!(trie.remove(pattern, i as u32));
        }
        assert_eq!(live_nodes(&trie), 1);
    }
}
