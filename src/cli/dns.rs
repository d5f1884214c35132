//! `mpreg client dns-*`: services that the gateway answers for, and names for nodes.
//!
//! Services are registered, listed and taken back through a node's calls, never through DNS itself. The two verbs
//! for labels need no node.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Map, Value};

use super::{
    node_label,
    output::{self, Failure, Outcome},
    remote::{Payload, Remote, pairs},
};

remote_verb! {
    /// register a service at a node
    #[argh(
        subcommand,
        name = "dns-register",
        example = "mpreg client dns-register --name web --namespace shop --port 8080 --target 192.0.2.8 --url ws://127.0.0.1:7000",
        example = "mpreg client dns-register --name db --namespace shop --port 5432 --target 192.0.2.9 --tag primary --metadata shard=3 --ttl 90",
        note = "The service belongs to the node and outlives this command; registering it again replaces it. It is found as NAME.NAMESPACE in the node's zones."
    )]
    struct DnsRegister {
        /// name of the service
        #[argh(option)]
        name: String,
        /// namespace of the service
        #[argh(option)]
        namespace: String,
        /// tcp or udp; default tcp
        #[argh(option, default = "String::from(PROTOCOL)")]
        protocol: String,
        /// port of the service
        #[argh(option)]
        port: u16,
        /// address or host name that serves it
        #[argh(option, arg_name = "address")]
        target: Vec<String>,
        /// tag for queries
        #[argh(option)]
        tag: Vec<String>,
        /// capability for queries
        #[argh(option)]
        capability: Vec<String>,
        /// text that goes with it
        #[argh(option, arg_name = "name=value")]
        metadata: Vec<String>,
        /// SRV priority, lowest first; default 0
        #[argh(option, default = "0", arg_name = "number")]
        priority: u16,
        /// SRV weight among equals; default 0
        #[argh(option, default = "0", arg_name = "number")]
        weight: u16,
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// life of the catalog entry in seconds
        #[argh(option, arg_name = "seconds")]
        ttl: Option<f64>,
    }
}

impl DnsRegister {
    pub fn run(self) -> Outcome {
        let remote = self.remote();
        let metadata = pairs("--metadata", &self.metadata)?;
        let payload = Payload::new()
            .put("name", Some(self.name))
            .put("namespace", Some(self.namespace))
            .put("protocol", Some(self.protocol))
            .put("port", Some(self.port))
            .list("targets", &self.target)
            .list("tags", &self.tag)
            .list("capabilities", &self.capability)
            .put("metadata", (!metadata.is_empty()).then_some(metadata))
            .put("priority", Some(self.priority))
            .put("weight", Some(self.weight))
            .put("scope", self.scope)
            .put("ttl_seconds", self.ttl)
            .done();
        let answer = remote.ask("dns_register", payload)?;
        remote.show(&answer, output::outline)
    }
}

remote_verb! {
    /// take a registered service back
    #[argh(
        subcommand,
        name = "dns-unregister",
        example = "mpreg client dns-unregister --name web --namespace shop --port 8080 --url ws://127.0.0.1:7000",
        note = "Ask the node at which it was registered. Exit status 1 when it holds no such service."
    )]
    struct DnsUnregister {
        /// name of the service
        #[argh(option)]
        name: String,
        /// namespace of the service
        #[argh(option)]
        namespace: String,
        /// tcp or udp; default tcp
        #[argh(option, default = "String::from(PROTOCOL)")]
        protocol: String,
        /// port of the service
        #[argh(option)]
        port: u16,
    }
}

impl DnsUnregister {
    pub fn run(self) -> Outcome {
        let remote = self.remote();
        let payload = Payload::new()
            .put("name", Some(self.name.as_str()))
            .put("namespace", Some(self.namespace.as_str()))
            .put("protocol", Some(self.protocol.as_str()))
            .put("port", Some(self.port))
            .done();
        let answer = remote.ask("dns_unregister", payload)?;
        if answer.get("removed") != Some(&Value::Bool(true)) {
            return Err(Failure::failed(format!(
                "this node holds no service {} in {} with {} port {}; see `mpreg client dns-list`",
                self.name, self.namespace, self.protocol, self.port
            )));
        }
        remote.show(&answer, output::outline)
    }
}

remote_verb! {
    /// list registered services, one a line
    #[argh(
        subcommand,
        name = "dns-list",
        example = "mpreg client dns-list --url ws://127.0.0.1:7000",
        example = "mpreg client dns-list --namespace shop --tag primary --json"
    )]
    struct DnsList {
        /// exact namespace
        #[argh(option)]
        namespace: Option<String>,
        /// exact name
        #[argh(option)]
        name: Option<String>,
        /// tcp or udp
        #[argh(option)]
        protocol: Option<String>,
        /// port of the service
        #[argh(option)]
        port: Option<u16>,
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// tag it must carry
        #[argh(option)]
        tag: Vec<String>,
        /// capability it must have
        #[argh(option)]
        capability: Vec<String>,
        /// entries of one page
        #[argh(option, arg_name = "number")]
        limit: Option<u32>,
        /// where the last page ended
        #[argh(option, arg_name = "token")]
        page_token: Option<String>,
    }
}

impl DnsList {
    pub fn run(self) -> Outcome {
        let remote = self.remote();
        let payload = Services {
            namespace: self.namespace,
            name: self.name,
            protocol: self.protocol,
            port: self.port,
            scope: self.scope,
            tags: self.tag,
            capabilities: self.capability,
            limit: self.limit,
            page_token: self.page_token,
        };
        show_services(&remote, "dns_list", payload, |items| output::table(SERVICE_COLUMNS, items))
    }
}

remote_verb! {
    /// show registered services in full
    #[argh(
        subcommand,
        name = "dns-describe",
        example = "mpreg client dns-describe --namespace shop --name web --url ws://127.0.0.1:7000"
    )]
    struct DnsDescribe {
        /// exact namespace
        #[argh(option)]
        namespace: Option<String>,
        /// exact name
        #[argh(option)]
        name: Option<String>,
        /// tcp or udp
        #[argh(option)]
        protocol: Option<String>,
        /// port of the service
        #[argh(option)]
        port: Option<u16>,
        /// local, zone, region or global
        #[argh(option)]
        scope: Option<String>,
        /// tag it must carry
        #[argh(option)]
        tag: Vec<String>,
        /// capability it must have
        #[argh(option)]
        capability: Vec<String>,
        /// entries of one page
        #[argh(option, arg_name = "number")]
        limit: Option<u32>,
        /// where the last page ended
        #[argh(option, arg_name = "token")]
        page_token: Option<String>,
    }
}

impl DnsDescribe {
    pub fn run(self) -> Outcome {
        let remote = self.remote();
        let payload = Services {
            namespace: self.namespace,
            name: self.name,
            protocol: self.protocol,
            port: self.port,
            scope: self.scope,
            tags: self.tag,
            capabilities: self.capability,
            limit: self.limit,
            page_token: self.page_token,
        };
        show_services(&remote, "dns_describe", payload, |items| {
            items.iter().map(|item| output::outline(item) + "\n").collect()
        })
    }
}

/// write the id of a node as a label that may stand in a DNS name
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "dns-node-encode",
    example = "mpreg client dns-node-encode ws://127.0.0.1:7000",
    note = "Ids of letters, digits and hyphens stay as they are; others become b32- and base32."
)]
pub struct DnsNodeEncode {
    /// id of a node
    #[argh(positional, arg_name = "NODE_ID")]
    node_id: String,
    /// print JSON and nothing else
    #[argh(switch)]
    json: bool,
}

impl DnsNodeEncode {
    pub fn run(self) -> Outcome {
        let label = node_label::encode(&self.node_id).map_err(Failure::failed)?;
        print_word(label, self.json)
    }
}

/// read the id of a node from its DNS label
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "dns-node-decode",
    example = "mpreg client dns-node-decode b32-o5ztulzpgezdolrqfyyc4mj2g4ydambq"
)]
pub struct DnsNodeDecode {
    /// label as it stands in a DNS name
    #[argh(positional, arg_name = "LABEL")]
    label: String,
    /// print JSON and nothing else
    #[argh(switch)]
    json: bool,
}

impl DnsNodeDecode {
    pub fn run(self) -> Outcome {
        let node_id = node_label::decode(&self.label).map_err(Failure::failed)?;
        print_word(node_id, self.json)
    }
}

/// The filters of both lists.
struct Services {
    namespace: Option<String>,
    name: Option<String>,
    protocol: Option<String>,
    port: Option<u16>,
    scope: Option<String>,
    tags: Vec<String>,
    capabilities: Vec<String>,
    limit: Option<u32>,
    page_token: Option<String>,
}

impl Services {
    fn payload(self) -> Map<String, Value> {
        Payload::new()
            .put("namespace", self.namespace)
            .put("name", self.name)
            .put("protocol", self.protocol)
            .put("port", self.port)
            .put("scope", self.scope)
            .list("tags", &self.tags)
            .list("capabilities", &self.capabilities)
            .put("limit", self.limit)
            .put("page_token", self.page_token)
            .done()
    }
}

fn show_services(
    remote: &Remote,
    fun: &str,
    services: Services,
    text: impl FnOnce(&[Value]) -> String,
) -> Outcome {
    let page = remote.ask(fun, services.payload())?;
    remote.show(&page, |page| {
        let items = page.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let next = page.get("next_page_token").and_then(Value::as_str);
        text(items) + &output::count_line(items.len(), "services", next)
    })
}

fn print_word(word: String, json: bool) -> Outcome {
    if json { output::print_json(&Value::String(word)) } else { output::print_line(&word) }
}

const PROTOCOL: &str = "tcp";
const SERVICE_COLUMNS: &[&str] = &[
    "namespace",
    "name",
    "protocol",
    "port",
    "targets",
    "priority",
    "weight",
    "tags",
    "capabilities",
    "metadata",
    "node_id",
];
