//! What comes on a link before its STATUS: it is believed by nobody, and waits for the STATUS in bounded room.
//!
//! A reference node that is called by a client while it has only the link that we dialled opens one more, sends the
//! request on it and says STATUS at its next round. Nothing is done before that STATUS is accepted, and then all of
//! it, in its order. What waited in vain is refused when the link ends.

use super::*;

/// Messages of links that have not said STATUS.
#[derive(Debug, Default)]
pub(super) struct Early {
    links: BTreeMap<LinkId, Vec<(Duration, Bytes)>>,
    /// Whoever is there was turned away; until the link is closed.
    shut: BTreeSet<LinkId>,
    bytes: usize,
}

impl Early {
    /// False where there is no room.
    fn add(&mut self, link: LinkId, bytes: &Bytes, now: Now) -> bool {
        if self.shut.contains(&link) {
            return false;
        }
        let waiting = self.links.get(&link);
        let room_of_link = waiting.map_or(0, Vec::len) < MESSAGES_MAX;
        if !room_of_link || self.bytes + bytes.len() > BYTES_MAX {
            return false;
        }
        self.bytes += bytes.len();
        self.links.entry(link).or_default().push((now.mono, bytes.clone()));
        true
    }

    /// All that waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn take(&mut self, link: LinkId) -> Vec<(Duration, Bytes)> {
        let taken = self.links.remove(&link).unwrap_or_default();
        self.bytes -= taken.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        taken
    }
}

impl Fabric {
    /// Gossip or a message of somebody who has not said STATUS.
    pub(super) fn early(&mut self, link: LinkId, bytes: &Bytes, now: Now, out: &mut Vec<Action>) {
        // Who was dialled answers before it says anything else.
        if !self.membership.is_dialled(link) && !self.stopping && self.early.add(link, bytes, now) {
            refuse(out, Reason::MessageEarly, Some(link), "a message before an accepted STATUS waits for it");
        } else {
            refuse(out, Reason::NotEntitled, Some(link), "a message before an accepted STATUS");
        }
    }

    /// The other end has been accepted.
    pub(super) fn take_early(&mut self, link: LinkId, now: Now, out: &mut Vec<Action>) {
        for (came_at, bytes) in self.early.take(link) {
            if now.mono.saturating_sub(came_at) > AGE_MAX {
                refuse(out, Reason::NotEntitled, Some(link), "a message whose STATUS came too late");
            } else if let Ok(frame) = Frame::decode(&bytes) {
                self.frame(link, frame, &bytes, now, out);
            }
        }
    }

    /// Whoever is there has been turned away: nothing of it waits any more.
    pub(super) fn turn_away_early(&mut self, link: LinkId, out: &mut Vec<Action>) {
        self.drop_early(link, out);
        self.early.shut.insert(link);
    }

    /// The link is gone.
    pub(super) fn drop_early(&mut self, link: LinkId, out: &mut Vec<Action>) {
        self.early.shut.remove(&link);
        let count = self.early.take(link).len();
        if count > 0 {
            let text = format!("{count} messages of a link that never had an accepted STATUS");
            out.push(Action::Refused { reason: Reason::NotEntitled, link: Some(link), count, text });
        }
    }
}

/// Messages of one link that wait.
const MESSAGES_MAX: usize = 64;
/// All messages that wait, together.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Nobody waits longer for an answer (fabric.md 12.3).
const AGE_MAX: Duration = Duration::from_secs(30);
