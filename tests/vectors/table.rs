//! One fabric and what it does; the frames of everybody else are written by hand.

use std::time::Duration;

use bytes::Bytes;
use mpreg::core::catalog::{FunctionEntry, Scope, TransportEndpoint};
use mpreg::core::error::CallError;
use mpreg::core::fabric::{Action, Bridging, Call, Event, Execution, Fabric, Settings};
use mpreg::core::federation::{LinkFacts, Mode};
use mpreg::core::membership::{self, LinkId};
use mpreg::core::reason::Reason;
use mpreg::core::time::Now;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub struct Table {
    pub fabric: Fabric,
    cluster: String,
    wall: f64,
    pub seconds: f64,
    pub done: Vec<Action>,
    ids: u64,
    links: u64,
}

/// A node that lets every cluster in.
pub fn settings(node: &str, cluster: &str) -> Settings {
    let mut bridging = Bridging::none(&cluster.into());
    bridging.federation.mode = Mode::PermissiveBridging;
    bridging.federation.connections_per_cluster_max = 10;
    Settings {
        membership: membership::Settings {
            node_id: node.into(),
            cluster_id: cluster.into(),
            instance_id: "mine".into(),
            seeds: Vec::new(),
            gossip_interval_seconds: 5.0,
            goodbye_grace_seconds: 5.0,
            dial_backoff_seconds_max: 30.0,
            dial_parallelism_max: 8,
        },
        region: "local".into(),
        scope: Scope::Zone,
        resources: Vec::new(),
        capabilities: vec!["rpc".into()],
        tags: Vec::new(),
        transport_endpoints: vec![TransportEndpoint::internal(node)],
        advertised_urls: vec![node.into()],
        catalog_ttl_seconds: 120.0,
        catalog_entries_per_cluster_max: 1000,
        routing: true,
        hops_max: 5,
        calls_max: 10,
        floods: mpreg::core::fabric::FloodLimits::default(),
        gossip_bytes_max: 1 << 19,
        bridging,
        kin: true,
        chance_seed: 1,
    }
}

impl Table {
    pub fn new(settings: Settings, wall: f64) -> Table {
        let cluster = settings.membership.cluster_id.to_string();
        let fabric = Fabric::new(settings, Now::at(wall, 0.0));
        Table { fabric, cluster, wall, seconds: 0.0, done: Vec::new(), ids: 0, links: 0 }
    }

    pub fn now(&self) -> Now {
        Now::at(self.wall, self.seconds)
    }

    pub fn tell(&mut self, event: Event) {
        self.seconds += 0.000_1;
        self.fabric.handle(event, self.now(), &mut self.done);
    }

    /// Lets time pass, deadline by deadline.
    pub fn run(&mut self, seconds: f64) {
        let end = self.seconds + seconds;
        while let Some(at) = self.fabric.next_deadline().map(|d| d.as_secs_f64()).filter(|at| *at <= end) {
            self.seconds = self.seconds.max(at);
            self.tell(Event::Tick);
        }
        self.seconds = self.seconds.max(end);
    }

    pub fn serve(&mut self, functions: &[Value]) {
        let entry = |f: &Value| serde_json::from_value::<FunctionEntry>(f.clone()).unwrap();
        self.tell(Event::LocalFunctions(functions.iter().map(entry).collect()));
    }

    pub fn say(&mut self, link: u64, message: &Value) {
        self.tell(Event::Message { link: LinkId(link), bytes: Bytes::from(message.to_string()) });
    }

    /// A node comes in and is known by its descriptor; the answer is its link.
    pub fn join(&mut self, node: &str, cluster: &str) -> u64 {
        self.links += 1;
        let link = self.links;
        self.tell(Event::LinkOpened { link: LinkId(link), dialled: None, facts: LinkFacts::default() });
        self.say(link, &status(node, cluster));
        let descriptor = json!({"node_id": node, "cluster_id": cluster, "advertised_at": self.now().wall, "ttl_seconds": 60.0, "region": "local"});
        self.gossip(link, node, "catalog_update", json!({"cluster_id": cluster, "nodes": [descriptor]}));
        link
    }

    pub fn leave(&mut self, link: u64) {
        self.tell(Event::LinkClosed { link: LinkId(link) });
    }

    /// Gossip as its originator sends it first.
    pub fn gossip(&mut self, link: u64, from: &str, kind: &str, payload: Value) {
        self.ids += 1;
        let wall = self.now().wall;
        let message = json!({"role": "fabric-gossip", "payload": {"message_id": format!("{from}:{}", self.ids),
            "message_type": kind, "sender_id": from, "payload": payload, "vector_clock": {from: 1},
            "sequence_number": self.ids, "ttl": 9, "hop_count": 1, "max_hops": 5, "created_at": wall,
            "expires_at": wall + 300.0, "propagation_path": [from], "seen_by": []}});
        self.say(link, &message);
    }

    pub fn call(&mut self, id: &str, command: &str, cluster: &str, node: &str) {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        self.tell(Event::Call(Box::new(Call {
            request_id: id.into(),
            command: command.into(),
            function_id: None,
            version_constraint: None,
            resources: Vec::new(),
            cluster: cluster.into(),
            node: node.into(),
            args: raw("[1]"),
            kwargs: raw("{}"),
            deadline: self.now().mono + Duration::from_secs(30),
            patience: Duration::ZERO,
        })));
    }

    /// What was sent, with the links; forgets it along with everything else.
    pub fn sent(&mut self) -> Vec<(u64, Value)> {
        let done = std::mem::take(&mut self.done);
        let sent = done.iter().filter_map(|action| match action {
            Action::Send { link, bytes } => Some((link.0, serde_json::from_slice(bytes).unwrap())),
            _ => None,
        });
        sent.collect()
    }

    /// Messages of one role among what was sent.
    pub fn sent_as(&mut self, role: &str) -> Vec<(u64, Value)> {
        self.sent().into_iter().filter(|(_, message)| message["role"] == role).collect()
    }

    pub fn refused(&self, wanted: Reason) -> bool {
        self.done.iter().any(|a| matches!(a, Action::Refused { reason, .. } if *reason == wanted))
    }

    pub fn closes(&self, link: u64) -> bool {
        self.done.iter().any(|a| matches!(a, Action::Close { link: l, .. } if *l == LinkId(link)))
    }

    pub fn execution(&mut self) -> Option<Execution> {
        let at = self.done.iter().position(|a| matches!(a, Action::Execute(_)))?;
        match self.done.remove(at) {
            Action::Execute(execution) => Some(*execution),
            _ => None,
        }
    }

    /// How a call of ours ended.
    pub fn answered(&mut self) -> Option<Result<Box<RawValue>, CallError>> {
        let at = self.done.iter().position(|a| matches!(a, Action::CallAnswered { .. }))?;
        match self.done.remove(at) {
            Action::CallAnswered { outcome, .. } => Some(outcome),
            _ => None,
        }
    }

    /// A request of `from` as a reference node writes it, over the clusters in `federation_path`.
    pub fn request(&self, id: &str, command: &str, from: &str, headers: Value, payload: Value) -> Value {
        let mut message = json!({"role": "fabric-message", "payload": {"message_id": id,
            "topic": format!("mpreg.rpc.execute.{command}"), "message_type": "rpc", "delivery": "at_least_once",
            "payload": {"kind": "rpc-request", "request_id": id, "command": command, "args": [1], "kwargs": {}, "reply_to": from},
            "headers": {"correlation_id": id, "source_cluster": self.cluster, "routing_path": [from]},
            "timestamp": self.now().wall}});
        for (at, more) in [("headers", headers), ("payload", payload)] {
            for (name, value) in more.as_object().unwrap() {
                message["payload"][at][name] = value.clone();
            }
        }
        message
    }
}

pub fn status(node: &str, cluster: &str) -> Value {
    json!({"role": "server", "u": "s1", "server": {"what": "STATUS", "server_url": node, "cluster_id": cluster, "instance_id": "i1"}})
}

pub fn function(name: &str) -> Value {
    json!({"identity": {"name": name, "function_id": name, "version": "1.0.0"}})
}
