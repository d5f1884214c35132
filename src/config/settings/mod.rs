//! The declared keys of the configuration and the typed settings made from them (cli-config 4.3).
//!
//! A key exists if and only if it has a row in one of these tables. Names of tables and keys are those of the
//! file. A field holds what is in force after all places were merged; defaults that depend on another key
//! (`dns.host` is `listen.host`) are already filled in.

mod discovery;
mod fabric;
mod node;
mod service;

pub use discovery::*;
pub use fabric::*;
pub use node::*;
pub use service::*;

use super::schema::*;

table! {
    /// Everything a node is told by its operator.
    Settings of "node" {
        config_version: u64 = 1, COUNT, Restart, "Version of this file format; a newer one than the program knows is refused.";
        node: Node = none, Kind::Table(Node::ROWS), Restart, "Who this node is.";
        listen: Listen = none, Kind::Table(Listen::ROWS), Restart, "Where clients and peers connect to.";
        tls: Tls = none, Kind::Table(Tls::ROWS), Restart, "Certificates, for wss and tcps endpoints and for outgoing wss and tcps links.";
        peers: Peers = none, Kind::Table(Peers::ROWS), Restart, "Which nodes this node links with.";
        fabric: Fabric = none, Kind::Table(Fabric::ROWS), Restart, "Gossip, catalog and calls between nodes.";
        route: Route = none, Kind::Table(Route::ROWS), Restart, "Announcements of routes between clusters.";
        link_state: LinkState = none, Kind::Table(LinkState::ROWS), Restart, "Link-state routing inside and between areas.";
        federation: Federation = none, Kind::Table(Federation::ROWS), Restart, "Which other clusters may connect, and what may cross.";
        discovery: Discovery = none, Kind::Table(Discovery::ROWS), Restart, "Questions about what is offered where.";
        tenants: Tenants = none, Kind::Table(Tenants::ROWS), Restart, "Who the clients are.";
        admin: Admin = none, Kind::Table(Admin::ROWS), Restart, "Who may change policy, resync resolvers and register services.";
        control: Control = none, Kind::Table(Control::ROWS), Restart, "The socket of mpreg ctl.";
        dns: Dns = none, Kind::Table(Dns::ROWS), Restart, "The DNS gateway.";
        pubsub: Pubsub = none, Kind::Table(Pubsub::ROWS), Restart, "Publishing and subscribing.";
        cache: Cache = none, Kind::Table(Cache::ROWS), Restart, "The cache.";
        queue: Queue = none, Kind::Table(Queue::ROWS), Restart, "The queues.";
        persistence: Persistence = none, Kind::Table(Persistence::ROWS), Restart, "What survives a restart, and where it is kept.";
        limits: Limits = none, Kind::Table(Limits::ROWS), Live, "Limits; each has a counter and says so when it is reached.";
        monitoring: Monitoring = none, Kind::Table(Monitoring::ROWS), Restart, "The HTTP endpoints for metrics and health.";
        log: Log = none, Kind::Table(Log::ROWS), Live, "The log, on stderr.";
        function: Vec<Function> = [], Kind::Tables(Function::ROWS), Live ["functions"], "Functions that this node offers through worker processes; each runs a command that speaks JSON-RPC 2.0, one message a line on stdin and stdout.";
    }
}

impl Settings {
    /// The node id as known to others, once the listener is bound: `node.id`, else the first advertised URL, else
    /// `ws://<listen.host>:<port>`. A port of 0 in `node.id` stands for the bound one.
    pub fn node_id(&self, bound_port: u16) -> String {
        if !self.node.id.is_empty() {
            return match self.node.id.strip_suffix(":0") {
                Some(rest) => format!("{rest}:{bound_port}"),
                None => self.node.id.clone(),
            };
        }
        match self.listen.advertised_urls.first() {
            Some(url) => url.clone(),
            None => url_of("ws", &self.listen.host, bound_port),
        }
    }

    /// Fills in the defaults that depend on other keys.
    pub(super) fn fill(&mut self, host_name: &str) {
        let or = |text: &mut String, other: &str| {
            if text.is_empty() {
                other.clone_into(text);
            }
        };
        or(&mut self.node.name, host_name);
        or(&mut self.dns.host, &self.listen.host);
        or(&mut self.dns.viewer.cluster, &self.node.cluster_id);
        or(&mut self.persistence.dir, &self.node.state_dir);
        for port in [&mut self.dns.udp_port, &mut self.dns.tcp_port] {
            if *port == 0 {
                *port = self.dns.port;
            }
        }
        for function in &mut self.function {
            or(&mut function.id, &function.name);
        }
        for bridge in &mut self.federation.bridge {
            or(&mut bridge.name, &format!("bridge_{}_to_{}", self.node.cluster_id, bridge.cluster));
        }
    }
}

/// `scheme://host:port`, an IPv6 address in brackets.
pub fn url_of(scheme: &str, host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_id_follows_the_bound_port() {
        let mut s = Settings::default();
        assert_eq!(s.node_id(7000), "ws://127.0.0.1:7000");
        s.listen.host = "::1".into();
        assert_eq!(s.node_id(7000), "ws://[::1]:7000");
        s.listen.advertised_urls = vec!["wss://edge.example.net:7443".into()];
        assert_eq!(s.node_id(7000), "wss://edge.example.net:7443");
        s.node.id = "ws://10.0.0.1:0".into();
        assert_eq!(s.node_id(7000), "ws://10.0.0.1:7000");
    }
}
