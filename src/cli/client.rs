//! `mpreg client`: call a function, and ask a node what it knows.
//!
//! Each verb is one call and one way to show its answer; the node does all filtering. The value of a call is
//! passed through as the node wrote it.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value, json};

use super::{
    dns,
    output::{self, Failure, Outcome},
    policy, pubsub,
    remote::{self, Limit, Payload, ask, json_or_text, parsed},
};
use crate::client::CallOptions;

/// talk to a node: call functions, publish and subscribe, look at what it knows
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "client")]
pub struct ClientGroup {
    #[argh(subcommand)]
    verb: ClientVerb,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum ClientVerb {
    Call(Call),
    Functions(Functions),
    ListPeers(ListPeers),
    Subscribe(pubsub::Subscribe),
    Publish(pubsub::Publish),
    DnsRegister(dns::DnsRegister),
    DnsUnregister(dns::DnsUnregister),
    DnsList(dns::DnsList),
    DnsDescribe(dns::DnsDescribe),
    DnsNodeEncode(dns::DnsNodeEncode),
    DnsNodeDecode(dns::DnsNodeDecode),
    NamespacePolicy(policy::PolicyGroup),
    ResolverCacheStats(ResolverCacheStats),
    ResolverResync(ResolverResync),
}

impl ClientGroup {
    pub fn run(self) -> Outcome {
        match self.verb {
            ClientVerb::Call(verb) => verb.run(),
            ClientVerb::Functions(verb) => verb.run(),
            ClientVerb::ListPeers(verb) => verb.run(),
            ClientVerb::Subscribe(verb) => verb.run(),
            ClientVerb::Publish(verb) => verb.run(),
            ClientVerb::DnsRegister(verb) => verb.run(),
            ClientVerb::DnsUnregister(verb) => verb.run(),
            ClientVerb::DnsList(verb) => verb.run(),
            ClientVerb::DnsDescribe(verb) => verb.run(),
            ClientVerb::DnsNodeEncode(verb) => verb.run(),
            ClientVerb::DnsNodeDecode(verb) => verb.run(),
            ClientVerb::NamespacePolicy(group) => group.run(),
            ClientVerb::ResolverCacheStats(verb) => verb.run(),
            ClientVerb::ResolverResync(verb) => verb.run(),
        }
    }
}

remote_verb! {
    /// call a function and print its value
    #[argh(
        subcommand,
        name = "call",
        example = "mpreg client call echo hello --url ws://127.0.0.1:7000",
        example = "mpreg client call svc.market.quote '{{\"symbol\": \"ABC\"}}' --locs market --timeout 2",
        example = "mpreg client call add 1 -5 --json",
        example = "mpreg client call echo -- --not-an-option",
        example = "mpreg client call echo hello --url wss://node.example:7443 --ca-file /etc/mpreg/ca.pem",
        example = "mpreg client call echo hello --url tcps://node.example:7444 --ca-file ca.pem --cert-file me.pem --key-file me.key",
        note = "A text value is printed bare, everything else as JSON; with --json the value is printed exactly as the node sent it.",
        note = "With --timeout the node is told as well and cancels the work; without it, the node's own limit holds."
    )]
    struct Call {
        /// name of the function
        #[argh(positional, arg_name = "FUN")]
        fun: String,
        /// its arguments, each read as JSON, or else as text
        #[argh(positional, arg_name = "ARGS")]
        args: Vec<String>,
        /// resource that the function must carry
        #[argh(option, arg_name = "resource")]
        locs: Vec<String>,
        /// id that the function must have
        #[argh(option, arg_name = "id")]
        function_id: Option<String>,
        /// version that the function must have, as in '>=1.2,<2'
        #[argh(option, arg_name = "constraint")]
        version_constraint: Option<String>,
        /// cluster that must run it
        #[argh(option, arg_name = "cluster")]
        target_cluster: Option<String>,
        /// seconds to wait for the value
        #[argh(option, arg_name = "seconds")]
        timeout: Option<f64>,
    }
}

impl Call {
    fn run(self) -> Outcome {
        let args = self.args.iter().map(|word| json_or_text(word)).collect::<Result<Vec<_>, _>>()?;
        let timeout = self.timeout.map(|t| remote::seconds("--timeout", t)).transpose()?;
        let remote = self.remote();
        let options = CallOptions {
            locs: self.locs,
            function_id: self.function_id,
            version_constraint: self.version_constraint,
            target_cluster: self.target_cluster,
            timeout,
        };
        let limit = timeout.map_or(Limit::None, Limit::Within);
        let value = remote.with_client(limit, async |client| {
            Ok(output::waiting(&self.fun, client.call(&self.fun, &args, &Map::new(), &options)).await?)
        })?;
        if remote.json {
            return output::print_line(value.get());
        }
        match parsed(&self.fun, &value)? {
            Value::String(text) => output::print_line(&text),
            value @ (Value::Array(_) | Value::Object(_)) => output::print_json(&value),
            // Numbers as they came: nothing is rounded on the way.
            _ => output::print_line(value.get()),
        }
    }
}

remote_verb! {
    /// list what is callable, and from where
    #[argh(
        subcommand,
        name = "functions",
        example = "mpreg client functions --url ws://127.0.0.1:7000",
        example = "mpreg client functions quote --resource market",
        example = "mpreg client functions --namespace svc.market --json",
        note = "One line for each function, version and node. All pages are fetched unless --limit is given."
    )]
    struct Functions {
        /// text that the name, namespace, id or summary must contain
        #[argh(positional, arg_name = "QUERY")]
        query: Option<String>,
        /// namespace (the name up to its last dot), with everything below it
        #[argh(option)]
        namespace: Option<String>,
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// cluster that offers it
        #[argh(option, arg_name = "cluster")]
        cluster_id: Option<String>,
        /// node that offers it
        #[argh(option, arg_name = "node")]
        node_id: Option<String>,
        /// exact name
        #[argh(option, arg_name = "name")]
        function_name: Option<String>,
        /// version it must have, as in '>=1.2,<2'
        #[argh(option, arg_name = "constraint")]
        version_constraint: Option<String>,
        /// resource it must carry
        #[argh(option)]
        resource: Vec<String>,
        /// tag it must carry
        #[argh(option)]
        tag: Vec<String>,
        /// capability its node must have
        #[argh(option)]
        capability: Vec<String>,
        /// stop after so many
        #[argh(option, arg_name = "number")]
        limit: Option<usize>,
    }
}

impl Functions {
    fn run(self) -> Outcome {
        let limit = self.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Err(Failure::usage("--limit wants a number above 0"));
        }
        let payload = |token: Option<String>, left: usize| {
            Payload::new()
                .put("query", self.query.clone())
                .put("namespace", self.namespace.clone())
                .put("scope", self.scope.clone())
                .put("cluster_id", self.cluster_id.clone())
                .put("node_id", self.node_id.clone())
                .put("function_name", self.function_name.clone())
                .put("version_constraint", self.version_constraint.clone())
                .list("resources", &self.resource)
                .list("tags", &self.tag)
                .list("capabilities", &self.capability)
                .put("limit", Some(left.min(PAGE_MAX)))
                .put("page_token", token)
                .done()
        };
        let remote = self.remote();
        let items = remote.with_client(Limit::Usual, async |client| {
            let (mut items, mut token) = (Vec::new(), None);
            loop {
                let left = limit - items.len();
                let page = ask(client, "rpc_list", payload(token, left), &CallOptions::default()).await?;
                let got = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let before = items.len();
                items.extend(got.iter().take(left).cloned());
                token = page.get("next_page_token").and_then(Value::as_str).map(str::to_owned);
                // A page without entries cannot bring the end nearer.
                if token.is_none() || items.len() == before || items.len() >= limit {
                    return Ok(items);
                }
            }
        })?;
        remote.show(&json!({ "items": items }), |_| {
            output::titled_table(FUNCTION_COLUMNS, &items)
                + &output::count_line(items.len(), "functions", None)
        })
    }
}

remote_verb! {
    /// list the other nodes that a node knows
    #[argh(
        subcommand,
        name = "list-peers",
        example = "mpreg client list-peers --url ws://127.0.0.1:7000",
        example = "mpreg client list-peers --scope zone --json"
    )]
    struct ListPeers {
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// only nodes of this cluster
        #[argh(option, arg_name = "cluster")]
        cluster_id: Option<String>,
        /// ask a node of this cluster instead
        #[argh(option, arg_name = "cluster")]
        target_cluster: Option<String>,
    }
}

impl ListPeers {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let payload = Payload::new().put("scope", self.scope).put("cluster_id", self.cluster_id).done();
        let options = CallOptions { target_cluster: self.target_cluster, ..CallOptions::default() };
        let peers = remote
            .with_client(Limit::Usual, async |client| ask(client, "list_peers", payload, &options).await)?;
        remote.show(&peers, |peers| {
            let rows = peers.as_array().map_or(&[][..], Vec::as_slice);
            output::table(PEER_COLUMNS, rows) + &output::count_line(rows.len(), "peers", None)
        })
    }
}

remote_verb! {
    /// show what a resolver holds in its cache and how often it helped
    #[argh(
        subcommand,
        name = "resolver-cache-stats",
        example = "mpreg client resolver-cache-stats --url ws://127.0.0.1:7000"
    )]
    struct ResolverCacheStats {}
}

impl ResolverCacheStats {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let stats = remote.ask("resolver_cache_stats", Map::new())?;
        remote.show(&stats, output::outline)
    }
}

remote_verb! {
    /// let a resolver fill its cache anew from the node's catalog
    #[argh(
        subcommand,
        name = "resolver-resync",
        example = "mpreg client resolver-resync --url ws://127.0.0.1:7000",
        note = "Exit status 1 when nothing was filled, as on a node that is no resolver."
    )]
    struct ResolverResync {}
}

impl ResolverResync {
    fn run(self) -> Outcome {
        let remote = self.remote();
        let answer = remote.ask("resolver_resync", Map::new())?;
        if answer.get("resynced") == Some(&Value::Bool(false)) {
            let why = output::plain(answer.get("error"));
            return Err(Failure::failed(format!("resolver_resync: nothing was filled: {why}")));
        }
        remote.show(&answer, output::outline)
    }
}

/// The largest page a node gives.
const PAGE_MAX: usize = 2000;
const FUNCTION_COLUMNS: &[(&str, &str)] = &[
    ("name", "identity.name"),
    ("version", "identity.version"),
    ("node", "node_id"),
    ("cluster", "cluster_id"),
    ("resources", "resources"),
    ("tags", "tags"),
    ("summary", "summary.summary"),
];
const PEER_COLUMNS: &[&str] =
    &["url", "cluster_id", "status", "scope", "region", "load.load_score", "load.active_clients", "locs"];
