//! Publish, subscribe and unsubscribe of one connection (client.md 5).
//!
//! A message is encoded once, whatever the number of subscribers. Which outlets it goes to is remembered per topic
//! and connection for as long as no subscription of the node changes, so that a publisher pays for the match once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::connection::{Connection, Served};
use super::hub::Hub;
use super::outlet::Outlet;
use crate::core::catalog::Text;
use crate::core::fabric::Event;
use crate::core::pubsub::pattern::Pattern;
use crate::core::pubsub::{Message, Refusal, Target, reserved};
use crate::core::time::Now;
use crate::wire::client::{Publish, Subscribe, Unsubscribe, write};

/// Where the messages of recent topics go, as one connection remembers it.
#[derive(Default)]
pub struct MatchCache {
    generation: u64,
    topics: HashMap<Box<str>, Arc<Audience>>,
}

/// Who hears a topic.
pub struct Audience {
    topic: Text,
    local: Vec<(Arc<Outlet>, Target)>,
    /// True where other nodes have subscribers.
    remote: bool,
    /// True for a topic that clients may publish to.
    open: bool,
}

/// Topics remembered per connection; one that publishes to more finds them by the trie.
const TOPICS_REMEMBERED_MAX: usize = 256;
/// Longer topics are not worth remembering.
const TOPIC_REMEMBERED_BYTES_MAX: usize = 512;

pub fn publish(connection: &mut Connection, wish: &Publish<'_>, now: Now) -> Served {
    let hub = connection.hub.clone();
    if let Some((reason, text)) = hub.takes_no_work() {
        hub.counters.count(reason);
        return connection.answer(|out| write::ack(out, &wish.u, Err(text)));
    }
    let audience = connection.matches.audience(&hub, &wish.topic);
    if !audience.open
        && let Err(refusal) = reserved::check_publish(&wish.topic)
    {
        hub.refused(refusal.reason, &connection.origin.address, &refusal.text);
        return connection.answer(|out| write::ack(out, &wish.u, Err(&refusal.text)));
    }
    hub.counters.published.fetch_add(1, Relaxed);
    if audience.local.is_empty() && !audience.remote && !hub.keeps_backlog() {
        return connection.answer(|out| write::ack(out, &wish.u, Ok(())));
    }
    let message = Arc::new(Message {
        topic: audience.topic.clone(),
        message_id: Text::from(&*wish.message_id),
        timestamp: wish.timestamp,
        body: write::notification_body(wish),
    });
    let lost = hub.spread(&audience, &message);
    hub.keep(message.clone(), now);
    if audience.remote {
        let (topic, message_id, timestamp) =
            (message.topic.clone(), message.message_id.clone(), message.timestamp);
        let message = write::message_of(&message.body);
        hub.control(Event::Publish { topic, message_id, timestamp, message });
    }
    connection.answer(|out| write::ack_with_losses(out, &wish.u, lost))
}

pub fn subscribe(connection: &mut Connection, wish: Subscribe, now: Now) -> Served {
    let hub = connection.hub.clone();
    let patterns: Vec<&str> = wish.patterns.iter().map(String::as_str).collect();
    let made: Result<Target, Refusal> = hub.with_subscriptions(|subscriptions| {
        let made = subscriptions.subscribe(connection.outlet.id(), &wish.subscription_id, &patterns, now)?;
        // Under the lock, so that nobody matches the subscription before its outlet lets deliveries in.
        if !made.replaced {
            connection.outlet.subscribed(&made.target);
        }
        Ok(made.target)
    });
    let target = match made {
        Ok(target) => target,
        Err(refusal) => {
            hub.refused(refusal.reason, &connection.origin.address, &refusal.text);
            return connection.answer(|out| write::ack(out, &wish.u, Err(&refusal.text)));
        }
    };
    let served = connection.answer(|out| write::ack(out, &wish.u, Ok(())));
    if wish.get_backlog && wish.backlog_seconds > 0 {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text)).collect();
        let kept = hub.kept(&patterns, wish.backlog_seconds as f64, now);
        connection.outlet.deliver_backlog(&hub.counters, &target, &kept);
    }
    if wish.get_backlog {
        let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text)).collect();
        let seconds = u64::try_from(wish.backlog_seconds).unwrap_or_default();
        hub.tell_stored_summaries(&connection.outlet, &target, &patterns, seconds, now);
    }
    hub.announce_subscription(&wish.subscription_id);
    served
}

pub fn unsubscribe(connection: &mut Connection, wish: &Unsubscribe<'_>) -> Served {
    let hub = connection.hub.clone();
    let ended = hub.with_subscriptions(|subscriptions| {
        subscriptions.unsubscribe(connection.outlet.id(), &wish.subscription_id)
    });
    match ended {
        Ok(target) => {
            connection.outlet.unsubscribed(&target);
            hub.announce_subscription(&wish.subscription_id);
            connection.answer(|out| write::ack(out, &wish.u, Ok(())))
        }
        Err(refusal) => {
            hub.counters.count(refusal.reason);
            connection.answer(|out| write::ack(out, &wish.u, Err(&refusal.text)))
        }
    }
}

impl MatchCache {
    /// Who hears `topic` now.
    fn audience(&mut self, hub: &Hub, topic: &str) -> Arc<Audience> {
        let generation = hub.subscriptions_generation();
        if generation != self.generation {
            self.generation = generation;
            self.topics.clear();
        }
        if let Some(known) = self.topics.get(topic) {
            return known.clone();
        }
        let audience = Arc::new(hub.audience(topic));
        if topic.len() <= TOPIC_REMEMBERED_BYTES_MAX {
            if self.topics.len() >= TOPICS_REMEMBERED_MAX {
                self.topics.clear();
            }
            self.topics.insert(topic.into(), audience.clone());
        }
        audience
    }
}

impl Hub {
    /// Looks up who hears `topic`: one match, and the outlets behind it.
    pub fn audience(&self, topic: &str) -> Audience {
        let (targets, remote) = self.with_subscriptions(|subscriptions| {
            (subscriptions.matches(topic), !subscriptions.remote_matches(topic).is_empty())
        });
        let local = self.outlets_of(&targets);
        Audience { topic: topic.into(), local, remote, open: !reserved::is_reserved(topic) }
    }

    /// Puts a message into the outlets of its audience; how many deliveries slow subscribers lost over it.
    pub fn spread(&self, audience: &Audience, message: &Arc<Message>) -> u64 {
        let outlets = audience.local.iter();
        let lost = outlets.map(|(outlet, target)| outlet.deliver(&self.counters, target, message)).sum();
        self.counters.delivered.fetch_add(audience.local.len() as u64, Relaxed);
        lost
    }

    /// Delivers to clients of this node what another node or this node itself published.
    pub fn deliver_here(&self, message: Arc<Message>, now: Now) {
        let audience = self.audience(&message.topic);
        self.spread(&audience, &message);
        self.keep(message, now);
    }
}
