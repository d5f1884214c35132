//! Topics that belong to the nodes (client.md 5.5).
//!
//! Exactly the topics whose first segment is `mpreg`: clients may subscribe to them but not publish on them, since
//! what nodes say there is believed. `mpregular.news`, `Mpreg.x` and `my.mpreg.x` are ordinary topics.

use super::pattern::segments;
use super::{Reason, Refusal};

/// On this topic a subscriber is told that messages for it were dropped; see `outbound::DropNotice`.
pub const DROPPED_TOPIC: &str = "mpreg.pubsub.dropped";

pub fn is_reserved(topic: &str) -> bool {
    segments(topic).next() == Some(RESERVED_SEGMENT)
}

/// Whether a client may publish on a topic.
pub fn check_publish(topic: &str) -> Result<(), Refusal> {
    if !is_reserved(topic) {
        return Ok(());
    }
    let topic: String = topic.chars().take(SHOWN_CHARACTERS).collect();
    Err(Refusal {
        reason: Reason::ReservedTopic,
        text: format!("topics below mpreg. belong to the nodes, a client cannot publish on {topic:?}"),
    })
}

pub const RESERVED_SEGMENT: &str = "mpreg";
/// A topic has no limit of its own; an error text has.
const SHOWN_CHARACTERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_segment_counts() {
        for topic in
            ["mpreg", "mpreg.", "mpreg.anything", "mpreg..x", "mpreg.discovery.delta.c1", DROPPED_TOPIC]
        {
            assert!(is_reserved(topic), "{topic}");
        }
        for topic in [
            "",
            ".",
            ".mpreg",
            "mpregular.news",
            "mpreg-x.y",
            "my.mpreg.discovery.delta",
            "Mpreg.x",
            " mpreg.x",
        ] {
            assert!(!is_reserved(topic), "{topic}");
            assert_eq!(check_publish(topic), Ok(()));
        }
    }

    #[test]
    fn the_refusal_says_why_and_stays_short() {
        let refusal = check_publish(&format!("mpreg.{}", "x".repeat(100_000))).unwrap_err();
        assert_eq!(refusal.reason, Reason::ReservedTopic);
        assert!(refusal.text.contains("mpreg.") && refusal.text.len() < 400);
    }
}
