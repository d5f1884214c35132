//! A queue in order of arrival whose entries belong to lanes, and from which the oldest entry of any lane can be
//! taken as well as the oldest of all, each in constant time.
//!
//! The lanes are kept by the caller, in whatever map it has, and every call on an entry passes its lane: the queue
//! knows no keys. A `Lane` must only ever be used with the queue that filled it. Places are reused, so the memory is
//! that of the most entries there ever were at once, and is given back when the queue runs empty.

/// The entries.
#[derive(Debug)]
pub struct LaneQueue<V> {
    slots: Vec<Slot<V>>,
    free: u32,
    head: u32,
    tail: u32,
    len: usize,
}

/// First and last entry of a lane.
#[derive(Debug)]
pub struct Lane {
    head: u32,
    tail: u32,
    len: u32,
}

#[derive(Debug)]
struct Slot<V> {
    /// None while the slot is free.
    value: Option<V>,
    previous: u32,
    /// Next in the queue, or the next free slot.
    next: u32,
    lane_next: u32,
}

impl<V> LaneQueue<V> {
    pub fn new() -> LaneQueue<V> {
        LaneQueue { slots: Vec::new(), free: NONE, head: NONE, tail: NONE, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The oldest of all. It is also the oldest of its lane, so `pop` with that lane takes it.
    pub fn front(&self) -> Option<&V> {
        self.slot(self.head)?.value.as_ref()
    }

    pub fn push(&mut self, lane: &mut Lane, value: V) {
        let slot = Slot { value: Some(value), previous: self.tail, next: NONE, lane_next: NONE };
        let at = self.place(slot);
        match self.slot_mut(self.tail) {
            Some(last) => last.next = at,
            None => self.head = at,
        }
        self.tail = at;
        match self.slot_mut(lane.tail) {
            Some(last) => last.lane_next = at,
            None => lane.head = at,
        }
        lane.tail = at;
        lane.len += 1;
        self.len += 1;
    }

    /// Takes the oldest entry of a lane.
    pub fn pop(&mut self, lane: &mut Lane) -> Option<V> {
        let at = lane.head;
        let free = self.free;
        let slot = self.slot_mut(at)?;
        let value = slot.value.take()?;
        let (previous, next, lane_next) = (slot.previous, slot.next, slot.lane_next);
        slot.next = free;
        self.free = at;
        match self.slot_mut(previous) {
            Some(slot) => slot.next = next,
            None => self.head = next,
        }
        match self.slot_mut(next) {
            Some(slot) => slot.previous = previous,
            None => self.tail = previous,
        }
        lane.head = lane_next;
        if lane_next == NONE {
            lane.tail = NONE;
        }
        lane.len -= 1;
        self.len -= 1;
        if self.len == 0 && self.slots.capacity() > KEPT_SLOTS {
            *self = LaneQueue::new();
        }
        Some(value)
    }

    /// The entries of a lane, oldest first.
    pub fn iter<'a>(&'a self, lane: &Lane) -> impl Iterator<Item = &'a V> {
        let mut at = lane.head;
        std::iter::from_fn(move || {
            let slot = self.slot(at)?;
            at = slot.lane_next;
            slot.value.as_ref()
        })
    }

    fn place(&mut self, slot: Slot<V>) -> u32 {
        let at = self.free;
        if let Some(free) = self.slot_mut(at) {
            let next_free = free.next;
            *free = slot;
            self.free = next_free;
            return at;
        }
        self.slots.push(slot);
        (self.slots.len() - 1) as u32
    }

    fn slot(&self, at: u32) -> Option<&Slot<V>> {
        self.slots.get(at as usize)
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<V>> {
        self.slots.get_mut(at as usize)
    }
}

impl Lane {
    pub fn new() -> Lane {
        Lane { head: NONE, tail: NONE, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

const NONE: u32 = u32::MAX;
/// A queue that once was longer gives its memory back when it is empty: most connections are idle.
const KEPT_SLOTS: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_plain_list(acts in proptest::collection::vec((0..3u8, 0..4usize), 0..300)) {
            let mut queue = LaneQueue::new();
            let mut lanes: [Lane; 4] = std::array::from_fn(|_| Lane::new());
            let mut list: VecDeque<(usize, u32)> = VecDeque::new();
            for (n, (act, lane)) in acts.into_iter().enumerate() {
                match act {
                    0 => {
                        queue.push(&mut lanes[lane], (lane, n as u32));
                        list.push_back((lane, n as u32));
                    }
                    1 => {
                        let place = list.iter().position(|e| e.0 == lane);
                        prop_assert_eq!(queue.pop(&mut lanes[lane]), place.and_then(|p| list.remove(p)));
                    }
                    _ => {
                        let oldest = queue.front().copied();
                        prop_assert_eq!(oldest, list.pop_front());
                        if let Some((lane, _)) = oldest {
                            prop_assert_eq!(queue.pop(&mut lanes[lane]), oldest);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), list.len());
                for (k, lane) in lanes.iter().enumerate() {
                    let of_lane: Vec<_> = list.iter().filter(|e| e.0 == k).copied().collect();
                    prop_assert_eq!((lane.len(), lane.is_empty()), (of_lane.len(), of_lane.is_empty()));
                    prop_assert_eq!(queue.iter(lane).copied().collect::<Vec<_>>(), of_lane);
                }
            }
        }
    }

    #[test]
    fn slots_are_reused_and_given_back() {
        let (mut queue, mut lane, mut blocked) = (LaneQueue::new(), Lane::new(), Lane::new());
        queue.push(&mut blocked, 0);
        for n in 0..10_000 {
            queue.push(&mut lane, n);
            if lane.len() > 100 {
                queue.pop(&mut lane);
            }
        }
        assert!(queue.slots.len() <= 102);
        while queue.pop(&mut lane).is_some() {}
        queue.pop(&mut blocked);
        assert_eq!((queue.is_empty(), queue.slots.capacity()), (true, 0));
        queue.push(&mut lane, 1);
        assert_eq!((queue.pop(&mut lane), queue.pop(&mut lane)), (Some(1), None));
    }
}
