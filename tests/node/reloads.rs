//! Every key of the configuration, changed while a node runs: what the key table says of it is what happens.
//!
//! Each key gets another value of its kind, alone, by a reload. Afterwards the running node and the file differ in exactly
//! the keys that need a restart, and the node says so. What the changes do is seen from outside below and in `ctl`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use mpreg::config::{self, Key, Kind, Reload, Rule, Value as Setting};
use serde_json::{Value, json};

use super::kit::*;

/// Sends orders to a node as `mpreg ctl` does, without a process for each.
struct Control(BufReader<UnixStream>);

impl Control {
    fn of(node: &Node) -> Control {
        let stream = UnixStream::connect(node.control_socket()).unwrap();
        stream.set_read_timeout(Some(TIME_MAX)).unwrap();
        Control(BufReader::new(stream))
    }

    fn ask(&mut self, verb: &str) -> Value {
        self.0.get_mut().write_all(format!("{{\"verb\": \"{verb}\"}}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

/// What goes with a key or a table, because it means nothing or contradicts itself without; on both sides of the change.
const BESIDE: &[(&str, &str)] = &[
    ("", "control.socket = \"DIR/control.sock\""),
    ("", "node.state_dir = \"DIR/state\""),
    ("node.role", "node.standalone = true"),
    ("tls", "tls.cert_file = \"DIR/cert.pem\""),
    ("tls", "tls.key_file = \"DIR/key.pem\""),
    ("tls.client_auth", "tls.ca_file = \"DIR/cert.pem\""),
    ("route.security.require_signatures", "route.security.allow_unsigned = false"),
    ("route.security.require_signatures", "route.security.signing_key = \"HEX\""),
    ("route.security.provider.type", "route.security.provider.source = \"DIR/keys\""),
];

/// Values where one made from the kind of the key would contradict something, or name what is not there; empty: none is
/// possible.
const VALUES: &[(&str, &str)] = &[
    ("config_version", ""),
    // Others set keys of their own.
    ("node.role", "\"ingress\""),
    ("peers.discover.type", "\"dns_srv\""),
    ("peers.discover.domain", "\"other.example\""),
    ("peers.discover.resolver", "\"127.0.0.1:9\""),
    ("tls.cert_file", "\"DIR/cert2.pem\""),
    ("tls.key_file", "\"DIR/key2.pem\""),
    ("tls.ca_file", "\"DIR/cert.pem\""),
    ("route.security.signing_key", "\"HEX\""),
    ("route.security.signing_key_file", "\"DIR/secret\""),
    ("route.security.signing_key_env", "\"TRIAL_SECRET\""),
    ("federation.mode", "\"permissive_bridging\""),
    ("control.socket", "\"DIR/other.sock\""),
    ("monitoring.token_file", "\"DIR/secret\""),
    ("monitoring.token_env", "\"TRIAL_SECRET\""),
    ("route.policy.applies_to", "\"neighbor-default\""),
    ("route.security.key.public_key_file", "\"DIR/secret\""),
    ("tenants.credential.token_file", "\"DIR/secret\""),
    ("tenants.credential.token_env", "\"TRIAL_SECRET\""),
];

/// Lists of tables, with the members that an element must have.
const ELEMENTS: &[(&str, &[&str])] = &[
    ("listen.endpoint", &["protocol = \"tcp\""]),
    ("peers.discover", &["type = \"static_file\"", "path = \"DIR/peers\""]),
    ("route.policy", &["direction = \"import\"", "applies_to = \"global\""]),
    ("route.security.key", &["cluster = \"b\"", "public_key = \"HEX\""]),
    ("link_state.areas.neighbor", &["cluster = \"b\"", "areas = [\"one\"]"]),
    ("link_state.areas.area", &["name = \"one\""]),
    ("link_state.areas.summary", &["from = \"one\"", "to = \"two\""]),
    ("federation.bridge", &["cluster = \"b\""]),
    ("discovery.policy.rule", &["namespace = \"a\""]),
    ("tenants.credential", &["tenant = \"a\"", "token = \"t\""]),
    ("function", &["name = \"t.f\"", "command = [\"python3\", \"-u\", \"WORKER\"]"]),
];

/// Members that need others beside them than the first ones of `ELEMENTS`; by the start of their path.
const MEMBERS: &[(&str, &[&str])] = &[
    ("peers.discover.type", &[]),
    ("peers.discover.domain", &["type = \"dns_srv\""]),
    ("peers.discover.service", &["type = \"dns_srv\""]),
    ("peers.discover.resolver", &["type = \"dns_srv\""]),
    ("peers.discover.use_tcp", &["type = \"dns_srv\""]),
    ("peers.discover.url", &["type = \"http\""]),
    ("peers.discover.consul", &["type = \"consul\""]),
    ("route.security.key.public_key_file", &["cluster = \"b\""]),
    ("route.policy.neighbor", &["direction = \"import\"", "applies_to = \"neighbor\""]),
    ("tenants.credential.token", &["tenant = \"a\""]),
];

/// Another value for a key, as TOML; `None` where this build has no other.
fn other(key: &Key) -> Option<String> {
    if let Some((_, value)) = VALUES.iter().find(|(path, _)| *path == key.path) {
        return (!value.is_empty()).then(|| (*value).to_owned());
    }
    let default = key.row.default_value();
    let text = match key.row.kind {
        Kind::Bool => (default != Some(Setting::Bool(true))).to_string(),
        Kind::Int { min, max } => match default {
            Some(Setting::Int(n)) if n < max => (n + 1).to_string(),
            Some(Setting::Int(n)) => (n - 1).to_string(),
            _ => min.max(1).to_string(),
        },
        Kind::Float { max, .. } => match default {
            Some(Setting::Float(x)) if x + 0.5 <= max => format!("{:?}", x + 0.5),
            Some(Setting::Float(x)) => format!("{:?}", x - 0.5),
            _ => "0.5".to_owned(),
        },
        Kind::Duration(_) => match default {
            Some(Setting::Duration(time)) => format!("\"{}ms\"", time.as_millis() + 1000),
            _ => "\"7s\"".to_owned(),
        },
        Kind::Size(_) => match default {
            Some(Setting::Size(bytes)) => (bytes + 4096).to_string(),
            _ => "65536".to_owned(),
        },
        Kind::Word(words) | Kind::WordOrNone(words) => {
            let mut words = words.words.iter().copied();
            format!("{:?}", words.find(|word| default != Some(Setting::Word(word)))?)
        }
        Kind::WordList(words) => format!("[{:?}]", words.words.last()?),
        Kind::Text(rule) => format!("{:?}", text(rule)),
        Kind::Texts(rule) => format!("[{:?}]", text(rule)),
        Kind::Secret => "\"another-secret\"".to_owned(),
        Kind::Time => "4102444800.0".to_owned(),
        Kind::Numbers(count) => format!("{:?}", vec![0.25; count]),
        Kind::Map => "{ a = \"b\" }".to_owned(),
        Kind::MapOfLists => "{ a = [\"b\"] }".to_owned(),
        Kind::Table(_) | Kind::Tables(_) => return None,
    };
    Some(text)
}

fn text(rule: Rule) -> &'static str {
    match rule {
        Rule::Any | Rule::Filled => "other",
        Rule::Url => "ws://127.0.0.1:9",
        Rule::HttpUrl => "http://127.0.0.1:9/",
        Rule::Host => "127.0.0.2",
        Rule::PortRange => "20000-20100",
        Rule::Network => "127.0.0.0/8",
        Rule::Hex32 => KEY,
        Rule::Version => "2.0.0",
    }
}

/// A node, its control, and what was not as the key table says.
struct Trial {
    node: Node,
    control: Control,
    faults: String,
}

impl Trial {
    fn new() -> Trial {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        for (cert, key) in [("cert.pem", "key.pem"), ("cert2.pem", "key2.pem")] {
            file(cert, made.cert.pem());
            file(key, made.signing_key.serialize_pem());
        }
        file("secret", KEY.to_owned());
        let node = Node::start_by(folder, &whole("", &[]), |mut command| {
            command.env("TRIAL_SECRET", KEY);
            command
        });
        let control = Control::of(&node);
        Trial { node, control, faults: String::new() }
    }

    /// Has a configuration read in which `key`, told as `path`, has another value than before.
    fn change(&mut self, key: &Key, path: &str, text: &str) {
        self.node.rewrite(text);
        let told = self.control.ask("reload");
        if told["ok"] != true {
            self.faults += &format!("{}: refused: {}\n", key.path, told["error"]);
            return;
        }
        let told = &told["result"];
        let row = told["changes"].as_array().unwrap().iter().find(|row| row["key"] == path);
        let reload = config::key(path).unwrap().row.reload;
        let class = match reload {
            Reload::Live => "live",
            Reload::Link => "link",
            Reload::Restart => "restart",
        };
        if row.is_none_or(|row| row["class"] != class) {
            self.faults += &format!("{}: not told as {class}: {told}\n", key.path);
        }
        let left: Vec<Value> = match self.control.ask("plan")["result"]["changes"].as_array() {
            Some(changes) => changes.iter().map(|change| change["key"].clone()).collect(),
            None => vec!["no plan".into()],
        };
        // What stands beside it and needs a restart was not there at the start either.
        let beside =
            BESIDE.iter().filter(|(of, _)| *of == path).map(|(_, text)| text.split(" = ").next().unwrap());
        let mut waits: Vec<&Key> = beside.chain([path]).filter_map(config::key).collect();
        waits.retain(|key| key.row.reload == Reload::Restart);
        waits.sort_by_key(|key| config::schema().iter().position(|other| other.path == key.path));
        let waits: Vec<Value> = waits.iter().map(|key| json!(key.path)).collect();
        if left != waits || told["needs_restart"] != json!(waits) || told["faults"] != json!([]) {
            self.faults += &format!("{}: left is {left:?}, told is {told}\n", key.path);
        }
    }

    fn end(self) {
        assert!(self.faults.is_empty(), "{}", self.faults);
        self.node.stop();
    }
}

/// These lines and what belongs to them; the comment keeps the kit from adding tables of its own.
fn whole(path: &str, lines: &[String]) -> String {
    let table = path.split('.').next().unwrap_or_default();
    let is_there =
        |text: &&str| lines.iter().any(|line| line.split(" = ").next() == text.split(" = ").next());
    let beside =
        BESIDE.iter().filter(|(of, _)| of.is_empty() || *of == table || *of == path).map(|(_, text)| *text);
    let beside: Vec<&str> = beside.filter(|text| !is_there(text)).collect();
    let text = format!("{}\n{}\n# [monitoring] [control]\n", lines.join("\n"), beside.join("\n"));
    text.replace("HEX", KEY).replace("WORKER", WORKER)
}

#[test]
fn every_key_does_what_its_class_says() {
    let mut trial = Trial::new();
    let mut seen = 0;
    for key in config::schema().iter().filter(|key| !key.in_list && config::is_served(key.row.module)) {
        let Some(value) = other(key) else { continue };
        trial.change(key, &key.path, &whole(&key.path, &[format!("{} = {value}", key.path)]));
        seen += 1;
    }
    println!("{seen} keys");
    trial.end();
}

#[test]
fn every_key_of_an_element_does_what_the_class_of_its_list_says() {
    let mut trial = Trial::new();
    let lists = config::schema().iter().filter(|key| !key.in_list && config::is_served(key.row.module));
    for list in lists.filter(|key| matches!(key.row.kind, Kind::Tables(_))) {
        let (_, required) = ELEMENTS.iter().find(|(path, _)| *path == list.path).expect(&list.path);
        let element = |members: &[String]| {
            whole(&list.path, &[format!("{} = [{{ {} }}]", list.path, members.join(", "))])
        };
        let required: Vec<String> = required.iter().map(|text| (*text).to_owned()).collect();
        trial.change(list, &list.path, &element(&required));
        let start = format!("{}.", list.path);
        let inner: Vec<String> = config::schema()
            .iter()
            .filter(|key| key.path.starts_with(&start) && matches!(key.row.kind, Kind::Tables(_)))
            .map(|key| format!("{}.", key.path))
            .collect();
        for key in config::schema().iter().filter(|key| config::is_served(key.row.module)) {
            let Some(name) = key.path.strip_prefix(&start) else { continue };
            let Some(value) = other(key).filter(|_| !inner.iter().any(|path| key.path.starts_with(path)))
            else {
                continue;
            };
            let is_same = |member: &&String| member.split(" = ").next() != Some(name);
            let special = MEMBERS.iter().find(|(path, _)| key.path.starts_with(path));
            let beside = special.map(|(_, members)| members.iter().map(|text| (*text).to_owned()).collect());
            let beside: Vec<String> = beside.unwrap_or_else(|| required.clone());
            let mut members: Vec<String> = beside.iter().filter(is_same).cloned().collect();
            members.push(format!("{name} = {value}"));
            trial.change(key, &list.path, &element(&members));
        }
    }
    trial.end();
}

/// Limits and times, each seen by what a client meets.
#[test]
fn what_clients_meet_follows_a_reload() {
    let base = "[[listen.endpoint]]\nprotocol = \"tcp\"\n".to_owned() + &function("t.slow", "");
    let node = Node::start(&base);
    let mut control = Control::of(&node);
    let mut live = |more: &str| {
        node.rewrite(&format!("{more}{base}"));
        let told = control.ask("reload");
        assert_eq!((&told["ok"], &told["result"]["needs_restart"]), (&json!(true), &json!([])), "{told}");
    };
    run(async |_| {
        let (mut busy, mut wire) = (node.wire().await, node.wire().await);
        live("[limits]\npending_calls_max = 1\n");
        busy.send(request("1", json!([command("c", "t.slow", json!(["x"]))]))).await;
        node.logged("the call", |line| line.contains("slow x begins"));
        let answer = wire.call("t.slow", json!(["y"])).await;
        assert!(answer["error"].to_string().contains("limits.pending_calls_max"), "{answer}");

        live("[discovery.rate_limit]\nrequests = 1\nwindow = \"1h\"\n");
        let query = json!([{ "entry_type": "functions" }]);
        wire.call("catalog_query", query.clone()).await;
        let answer = wire.call("catalog_query", query.clone()).await;
        assert!(!answer["error"].is_null(), "{answer}");
        live("[listen]\nadvertised_urls = [\"ws://edge.example:7\"]\n");
        let answer = wire.call("catalog_query", json!([{ "entry_type": "nodes" }])).await;
        assert!(answer["error"].is_null() && answer.to_string().contains("edge.example"), "{answer}");

        // Kept for who comes late, or not.
        let mut late = async |subscription: &str, topic: &str| {
            let mut late = node.wire().await;
            wire.publish(topic, json!("kept")).await;
            late.subscribe(subscription, topic, 60).await;
            wire.publish(topic, json!("new")).await;
            let first = late.next().await["message"]["payload"].clone();
            late.leave().await;
            first
        };
        live("");
        assert_eq!(late("a", "t.a").await, "kept");
        live("[limits]\nbacklog = 0\n");
        assert_eq!(late("b", "t.b").await, "new");
        live("[pubsub]\nbacklog_window = \"0s\"\n");
        assert_eq!(late("c", "t.c").await, "new");
        live("");
        assert_eq!(late("d", "t.d").await, "kept");

        let mut slow = node.wire().await;
        slow.subscribe("slow", "t.flood", 0).await;
        live("[pubsub]\nslow_subscriber = \"disconnect\"\noutbound_per_subscription = \"64KiB\"\n");
        let page = "x".repeat(256 * 1024);
        for _ in 0..64 {
            wire.publish("t.flood", json!(page)).await;
        }
        node.logged_text("slow_subscriber");

        live("[listen]\nidle_timeout = \"200ms\"\n");
        let mut idle = Wire::open(&node.endpoint("tcp"), &Default::default()).await;
        let (_, why) = idle.closed().await;
        assert!(why.is_empty() || why.contains("idle"), "{why}");
    });
}

const KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
