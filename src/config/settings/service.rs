//! Keys of what a node serves: pub/sub, cache, queues and functions.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::Scope;
use crate::config::schema::*;

words! {
    /// What happens to a subscriber that reads too slowly.
    SlowSubscriber {
        DropOldest = "drop_oldest", "It loses its oldest waiting message.";
        DropNewest = "drop_newest", "It loses the newest message.";
        Disconnect = "disconnect", "It is disconnected.";
    }
}

words! {
    /// What leaves a full cache first.
    Eviction {
        S4lru = "s4lru", "By use, in four segments.";
        Lru = "lru", "The least recently used.";
        Lfu = "lfu", "The least often used.";
        Cost = "cost", "The cheapest to make again.";
    }
}

words! {
    /// In which order a queue gives its messages out.
    QueueType {
        Fifo = "fifo" ["delay"], "As they came.";
        Priority = "priority", "The most urgent first.";
    }
}

table! {
    /// `[pubsub]`
    Pubsub of "pubsub" {
        slow_subscriber: SlowSubscriber = "drop_oldest", Kind::Word(&SlowSubscriber::WORDS), Live, "What happens to a subscriber that reads too slowly: drop_oldest, drop_newest or disconnect.";
        outbound_per_subscription: u64 = "1MiB", BYTES, Live, "Bytes that wait for one subscription.";
        backlog_window: Duration = "300s", SPAN, Live, "How far back a new subscriber may ask; the bytes kept are limits.backlog.";
    }
}

table! {
    /// `[cache]`
    Cache of "cache" {
        enabled: bool = false, BOOL, Restart, "Whether the cache is served.";
        federation: bool = false, BOOL, Restart, "Whether values are shared with other clusters.";
        capacity: u64 = "512MiB", BYTES, Restart, "Bytes kept in memory (level 1).";
        disk_capacity: u64 = "1GiB", SIZE, Restart, "Bytes kept in the store (level 2); 0: none.";
        value_max: u64 = "8MiB", BYTES, Restart, "Largest value.";
        eviction: Eviction = "s4lru", Kind::Word(&Eviction::WORDS), Restart, "What leaves a full cache first: s4lru, lru, lfu or cost.";
        sync_interval: Duration = "300s", PERIOD, Restart, "How often caches of other clusters are compared.";
        gossip_interval: Duration = "30s", PERIOD, Restart, "How often the content is gossiped.";
    }
}

table! {
    /// `[queue]`
    Queue of "queue" {
        enabled: bool = false, BOOL, Restart, "Whether queues are served.";
        auto_create: bool = false, BOOL, Restart, "Whether sending to a queue that does not exist makes it.";
        queues_max: usize = 1000, SOME, Restart, "Most queues.";
        message_max: u64 = "1MiB", BYTES, Restart, "Largest message.";
        define: Vec<QueueDefine> = [], Kind::Tables(QueueDefine::ROWS), Restart, "Queues that exist from the start; a stored queue is never made smaller.";
    }
}

table! {
    /// `[[queue.define]]`, the members of `queue_create` (queue-cache-extension 3.2)
    QueueDefine of "queue" {
        queue: String = required, NAME, Restart, "Name of the queue.";
        r#type: QueueType = "fifo", Kind::Word(&QueueType::WORDS), Restart, "Order of its messages: fifo or priority.";
        max_size: u64 = 10000, SOME, Restart, "Most visible and delayed messages of a group, and most dead letters.";
        visibility_timeout_seconds: Duration = "30s", Kind::Duration(Duration::ZERO), Restart, "How long a received message is hidden from others, at most 12 hours.";
        max_receives: u32 = 4, COUNT, Restart, "Deliveries before a message becomes a dead letter; 0: unlimited.";
        retention_seconds: Option<Duration> = none, PERIOD, Restart, "How long a message is kept; absent: without end.";
        delay_seconds: Duration = "0s", SPAN, Restart, "How long a message is held back unless it says otherwise.";
        dedup_window_seconds: Duration = "0s", SPAN, Restart, "How long a dedup_id is remembered; 0: not at all.";
        dead_letter: bool = true, BOOL, Restart, "Whether messages beyond max_receives are kept as dead letters.";
        groups: Vec<String> = [""], Kind::Texts(Rule::Any), Restart, "Groups of consumers; each gets every message.";
        topics: Vec<String> = [], TEXTS, Restart, "Patterns of topics whose messages are copied into the queue.";
        durable: Option<bool> = none, BOOL, Restart, "Whether messages survive a restart; absent: where persistence is configured.";
    }
}

table! {
    /// `[[function]]`
    Function of "functions" {
        name: String = required, NAME, Live, "Name by which it is called.";
        id: String = "", TEXT, Live, "Id by which it can be called too; empty: the name.";
        version: String = "1.0.0", Kind::Text(Rule::Version), Live, "Version that callers can ask for.";
        resources: Vec<String> = [], TEXTS, Live, "Resources that callers can ask for.";
        tags: Vec<String> = [], TEXTS, Live, "Tags in the catalog.";
        scope: Scope = "zone", Kind::Word(&Scope::WORDS), Live, "How far it is visible: local, zone, region or global.";
        summary: String = "", TEXT, Live, "One line that says what it does.";
        command: Vec<String> = required, Kind::Texts(Rule::Any), Live, "The worker: program and arguments; a relative path is relative to the working directory.";
        instances: u32 = 1, Kind::Int { min: 1, max: 1024 }, Live, "Worker processes.";
        in_flight_max: u32 = 64, Kind::Int { min: 1, max: 1_000_000 }, Live, "Most calls that one worker has at a time; more wait.";
        timeout: Duration = "30s", PERIOD, Live, "How long a call may take.";
        restart_backoff: Duration = "1s", PERIOD, Live, "How long to wait before a worker that ended is started again.";
        idempotent: bool = false, BOOL, Live ["retries"], "Whether a call may be tried elsewhere when its outcome is unknown.";
        environment: BTreeMap<String, String> = {}, Kind::Map, Live, "Variables added to the environment of the worker.";
        user: String = "", TEXT, Live, "User that the worker runs as; empty: the user of the node.";
    }
}
