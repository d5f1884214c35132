//! `mpreg ctl` and `mpreg config plan` with the built program: what an operator sees and can do while a node runs.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use mpreg::drive::dial::dial;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::{Value, json};

use super::kit::*;
use super::transports::{TLS, folder_with_authority, trust};

/// What a verb wrote, and how it ended.
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { status: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    fn good(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.good()).unwrap()
    }

    /// A failure: nothing on stdout, the reason on stderr.
    #[track_caller]
    fn failed(self, status: i32) -> String {
        assert_eq!((self.status, self.out.as_str()), (status, ""), "{}", self.err);
        self.err
    }
}

/// `mpreg ctl WORDS --socket ...` of a node.
fn ctl(node: &Node, words: &str) -> Said {
    let socket = node.control_socket();
    let mut args: Vec<&str> = ["ctl"].into_iter().chain(words.split(' ')).collect();
    args.extend(["--socket", &socket]);
    Said::of(program(&args).output().unwrap())
}

fn status(node: &Node) -> Value {
    ctl(node, "status --json").json()
}

/// Writes a configuration and has it read.
fn reload(node: &Node, text: &str) -> Said {
    node.rewrite(text);
    ctl(node, "reload")
}

#[test]
fn the_status_says_what_needs_somebody() {
    let other = Node::start("");
    let node = Node::start(&format!(
        "[peers]\nstatic = [\"{}\", \"ws://127.0.0.1:9\"]\n[limits]\nsubscriptions_per_connection = 1\n{}",
        other.url(),
        "[[function]]\nname = \"t.none\"\ncommand = [\"/nonexistent/worker\"]\n"
    ));
    run(async |_| {
        eventually("a peer, a failed dial and a failed worker", async || {
            let now = status(&node);
            now["links"]["peers"] == 1
                && now["links"]["unreached"][0]["fault"].is_string()
                && now["functions"][0]["last_exit"].is_string()
        })
        .await;
        let mut wire = node.wire().await;
        wire.subscribe("a", "x", 0).await;
        assert_eq!(wire.ask(subscribe("b", "x", 0)).await["success"], false);
        let now = status(&node);
        assert_eq!(now["health"], json!({ "state": "ready", "faults": [] }));
        let links = &now["links"];
        assert_eq!(
            (&links["seeds"], &links["seeds_reached"], &links["clients"]),
            (&json!(2), &json!(1), &json!(1))
        );
        let unreached = &links["unreached"][0];
        assert_eq!(unreached["url"], "ws://127.0.0.1:9");
        assert!(unreached["fault"].as_str().unwrap().contains("refused"), "{unreached}");
        assert!(unreached["failures"].as_u64() >= Some(1));
        let refusal = now["refusals"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["reason"] == "subscriptions_limit")
            .unwrap();
        assert_eq!(refusal["count"], 1);
        assert!(refusal["last_at"].as_f64().unwrap() > now["node"]["started_at"].as_f64().unwrap() - 2.0);
        assert!(refusal["last_text"].as_str().unwrap().contains("limit"), "{refusal}");
        assert_eq!(now["limits"][0]["key"], "limits.subscriptions_per_connection");
        assert_eq!(now["limits"][0]["share"], 1.0);
        assert_eq!(now["clock"]["peers"], 1);
        assert!(now["clock"]["ahead_seconds"].as_f64().unwrap().abs() < 2.0);
        assert!(now["memory"]["resident_bytes"].as_u64().unwrap() > 1 << 20);
        let events = now["events"].to_string();
        assert!(events.contains(&format!("{} is a peer", other.url())), "{events}");

        let page = ctl(&node, "status").good();
        for line in [
            "  health       ready",
            "! links        1 peers; 1 of 2 configured addresses reached; 1 clients",
            "ws://127.0.0.1:9: cannot connect to 127.0.0.1:9: Connection refused",
            "! functions    1 declared, 1 without all their workers",
            "! limits       1 nearly used up",
            "subscriptions_limit x1",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        let peers = ctl(&node, "peers").good();
        assert!(peers.contains(&other.url()) && peers.ends_with("[1 peers]\n"), "{peers}");
        let links = ctl(&node, "links --json").json();
        assert_eq!(links["links"][0]["dialled"], other.url());
        assert_eq!(links["unreached"][0]["url"], "ws://127.0.0.1:9");
        let catalog = ctl(&node, "catalog t.none --type function --json").json();
        assert_eq!((&catalog["total"], &catalog["left_out"]), (&json!(1), &json!(0)));
        assert_eq!(catalog["entries"][0]["node_id"], node.url());
        let cut = ctl(&node, "catalog --limit 1").good();
        assert!(cut.contains("of them left out"), "{cut}");
        assert!(ctl(&node, "catalog --type nothing").failed(2).contains("no type `nothing`"));
        assert!(ctl(&node, "routes").good().contains("[0 routes]"));
        assert!(ctl(&node, "functions").good().contains("t.none"));
    });
}

#[test]
fn only_one_node_runs_in_a_place_and_a_killed_one_leaves_it_free() {
    let mut node = Node::start("");
    let socket = node.control_socket();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let other = tempfile::tempdir().unwrap();
    let text = format!("[control]\nsocket = \"{socket}\"\n");
    let output = Said::of(refused(other.path(), &text));
    assert_eq!(output.status, 1);
    assert!(output.err.contains("another node runs here") && output.err.contains(&socket), "{}", output.err);
    assert!(ctl(&node, "status").good().contains("ready"));
    node.signal(Signal::KILL);
    node.ended();
    assert!(std::path::Path::new(&socket).exists());
    assert!(ctl(&node, "status").failed(69).contains("is it started?"));
    let second = Node::start(&text);
    assert_eq!(status(&second)["node"]["node_id"], second.url());
    let file = second.folder.path().join("node.toml").display().to_string();
    let by_file = Said::of(program(&["ctl", "status", "--config", &file, "--json"]).output().unwrap()).json();
    assert_eq!(by_file["node"]["node_id"], second.url());
    second.stop();
    assert!(!std::path::Path::new(&socket).exists());
}

#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: only root can act as another user");
        return;
    }
    let node = Node::start("");
    let socket = node.control_socket();
    let folder = node.folder.path();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder, 0o755);
    // Where the build is may be closed to others.
    let copy = folder.join("mpreg");
    std::fs::copy(env!("CARGO_BIN_EXE_mpreg"), &copy).unwrap();
    open(&copy, 0o755);
    let as_other = || {
        let mut command = Command::new(&copy);
        command.args(["ctl", "status", "--socket", &socket]).env_clear().uid(NOBODY).gid(NOBODY);
        Said::of(command.output().unwrap())
    };
    assert!(as_other().failed(77).contains("only root and the user of the node"));
    // Also where the file lets everybody connect: the kernel says who it is.
    open(std::path::Path::new(&socket), 0o666);
    let told = as_other().failed(77);
    assert!(told.contains("you are uid 65534"), "{told}");
    let refusals = status(&node)["refusals"].clone();
    assert_eq!(refusals[0]["reason"], "control_refused", "{refusals}");
    assert_eq!(refusals[0]["count"], 1);
}

const NOBODY: u32 = 65_534;

#[test]
fn what_is_no_order_is_answered_and_counted() {
    use std::io::{BufRead, BufReader, Write};
    let node = Node::start("");
    let say = |bytes: &[u8]| -> Value {
        let mut stream = UnixStream::connect(node.control_socket()).unwrap();
        stream.set_read_timeout(Some(TIME_MAX)).unwrap();
        let _ = stream.write_all(bytes);
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    for (bytes, told) in [
        (b"garbage\n".to_vec(), "this is no order"),
        (b"{\"verb\": \"status\", \"sudo\": true}\n".to_vec(), "unknown field"),
        (b"{\"verb\": \"dance\"}\n".to_vec(), "knows no order `dance`"),
        (b"{\"verb\": \"log\", \"seconds\": -1}\n".to_vec(), "no time"),
        (vec![b'x'; 70_000], "at most 65536 bytes"),
    ] {
        let answer = say(&bytes);
        assert_eq!((&answer["ok"], &answer["status"]), (&json!(false), &json!(2)));
        assert!(answer["error"].as_str().unwrap().contains(told), "{answer}");
    }
    let refusals = status(&node)["refusals"].clone();
    assert_eq!((&refusals[0]["reason"], &refusals[0]["count"]), (&json!("control_malformed"), &json!(3)));
}

#[test]
fn a_reload_answers_with_what_it_changed_or_with_every_fault() {
    let before = "[limits]\nsubscriptions_per_connection = 1\n";
    let node = Node::start(before);
    let told =
        reload(&node, "[limits]\nsubscriptions_per_connectio = 2\n[log]\nlevel = \"loud\"\n").failed(78);
    assert!(told.contains("nothing changed") && told.contains("2 errors"), "{told}");
    assert!(told.contains("did you mean `limits.subscriptions_per_connection`"), "{told}");
    assert!(told.contains("log.level"), "{told}");
    let now = status(&node);
    assert_eq!(now["reload"]["last"]["good"], false);
    assert!(ctl(&node, "status").good().contains("! reload"));
    run(async |_| {
        let mut wire = node.wire().await;
        wire.subscribe("a", "x", 0).await;
        assert_eq!(wire.ask(subscribe("b", "x", 0)).await["success"], false);
        let new = "[limits]\nsubscriptions_per_connection = 2\n[node]\ntags = [\"new\"]\n";
        let told = reload(&node, new).good();
        assert!(told.contains("live     limits.subscriptions_per_connection: 1 -> 2"), "{told}");
        assert!(told.contains("restart  node.tags: [] -> [\"new\"]"), "{told}");
        assert!(told.ends_with("reloaded; the rest takes effect after a restart\n"), "{told}");
        wire.subscribe("b", "x", 0).await;
        let now = status(&node);
        assert_eq!(now["reload"]["needs_restart"], json!(["node.tags"]));
        assert_eq!(now["reload"]["last"]["good"], true);
        // The same again: what needs a restart is told for as long as it differs.
        let again = ctl(&node, "reload --json").json();
        assert_eq!(again["changes"][0]["key"], "node.tags", "{again}");
        assert!(reload(&node, before).good().ends_with("reloaded\n"));
        assert!(ctl(&node, "reload").good().contains("nothing has changed"));
    });
}

#[test]
fn a_plan_tells_key_by_key_what_would_happen_and_changes_nothing() {
    let other = Node::start("");
    let text = format!("[peers]\nstatic = [\"{}\"]\n[limits]\nbacklog = \"1MiB\"\n", other.url());
    let node = Node::start(&text);
    run(async |_| {
        eventually("a link", async || status(&node)["links"]["peers"] == 1).await;
    });
    let folder = node.folder.path();
    let new = folder.join("new.toml");
    let new_text = "[limits]\nbacklog = \"2MiB\"\n[monitoring]\nenabled = false\n[fabric]\nmax_hops = 7\n";
    std::fs::write(&new, new_text).unwrap();
    let plan = |words: &[&str]| {
        let mut args = vec!["config", "plan", new.to_str().unwrap()];
        args.extend(words);
        Said::of(program(&args).output().unwrap())
    };
    let socket = node.control_socket();
    let told = plan(&["--running", "--socket", &socket]).good();
    assert!(told.contains("live     limits.backlog: \"1MiB\" -> \"2MiB\"  (new.toml:2)"), "{told}");
    assert!(told.contains("restart  fabric.max_hops: 5 -> 7"), "{told}");
    assert!(told.contains("links    peers.static: "), "{told}");
    assert!(told.contains(&format!("closes the link with {}", other.url())), "{told}");
    assert_eq!(status(&node)["links"]["peers"], 1, "nothing has changed");
    assert_eq!(status(&node)["reload"]["last"], Value::Null);
    let old = folder.join("node.toml").display().to_string();
    let apart = plan(&[&old, "--json"]).json();
    let keys: Vec<&str> =
        apart["changes"].as_array().unwrap().iter().map(|c| c["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["peers.static", "fabric.max_hops", "control.socket", "limits.backlog"]);
    assert!(plan(&[&old, "--running"]).failed(2).contains("not both"));
    std::fs::write(&new, "[limits]\nbacklog = 5.5\n").unwrap();
    assert!(plan(&["--socket", &socket]).failed(78).contains("limits.backlog"));
    assert!(plan(&[&old]).failed(78).contains("limits.backlog"));
}

#[test]
fn a_reload_that_nobody_confirms_is_undone() {
    let text = |max: u32| format!("[limits]\nsubscriptions_per_connection = {max}\n");
    let node = Node::start(&text(1));
    let limit = || {
        let now = status(&node);
        let rows = now["limits"].as_array().unwrap().clone();
        let row = rows.iter().find(|l| l["key"] == "limits.subscriptions_per_connection").unwrap();
        row["max"].as_u64().unwrap()
    };
    run(async |_| {
        node.rewrite(&text(2));
        let told = ctl(&node, "reload --confirm 300ms").good();
        assert!(told.contains("unless `mpreg ctl confirm` comes"), "{told}");
        eventually("the way back", async || limit() == 1).await;
        node.logged_text("not confirmed in time");
        assert!(ctl(&node, "confirm").failed(1).contains("no reload waits"));
        assert!(status(&node)["reload"]["confirm_until"].is_null());

        ctl(&node, "reload --confirm 1h").good();
        assert!(ctl(&node, "status").good().contains("! confirm"));
        assert!(ctl(&node, "confirm").good().contains("confirmed"));
        assert_eq!(limit(), 2);
        assert!(status(&node)["reload"]["confirm_until"].is_null());

        // What held before the first of two that nobody confirmed comes back.
        node.rewrite(&text(3));
        ctl(&node, "reload --confirm 1h").good();
        node.rewrite(&text(4));
        ctl(&node, "reload --confirm 300ms").good();
        eventually("the way back", async || limit() == 2).await;
        assert!(ctl(&node, "reload --confirm soon").failed(2).contains("wants a time"));
    });
}

#[test]
fn rules_applied_by_rpc_come_back_with_a_reload_that_is_undone() {
    let text = |default: &str| {
        format!(
            "[node]\nstate_dir = \"DIR/state\"\n[discovery.policy]\nenabled = true\ndefault = \"{default}\"\n"
        )
    };
    let node = Node::start(&text("allow"));
    let folder = node.folder.path().to_owned();
    run(async |_| {
        let mut wire = node.wire().await;
        let rules = json!([{ "namespace": "svc.mine", "owners": [], "visibility": ["default-cluster"] }]);
        wire.call(
            "namespace_policy_apply",
            json!([{ "rules": rules, "enabled": true, "default_allow": true }]),
        )
        .await;
        let mut has_rule =
            async || wire.call("namespace_policy_export", json!([])).await.to_string().contains("svc.mine");
        let is_stored = || folder.join("state").read_dir().unwrap().count() > 0;
        assert!(has_rule().await && is_stored());
        node.rewrite(&text("deny"));
        ctl(&node, "reload --confirm 300ms").good();
        eventually("the rules again", async || has_rule().await && is_stored()).await;
        node.logged_text("replace those that were applied by RPC");
        node.logged_text("not confirmed in time");
        // For good, they are gone.
        ctl(&node, "reload").good();
        assert!(!has_rule().await && !is_stored());
    });
    node.stop();
}

#[test]
fn functions_come_go_and_change_and_no_call_fails_by_it() {
    let add = function("t.add", "");
    let slow = function("t.slow", "environment = { RELEASE_FILE = \"DIR/release\" }");
    let node = Node::start(&(add.clone() + &slow));
    run(async |_| {
        let (mut wire, mut caller) = (node.wire().await, node.wire().await);
        assert_eq!(wire.call("t.add", json!([1, 2])).await["r"]["c"], 3);
        let pid = |node: &Node| {
            let line = node.logged("a pid", |line| line.contains("t.add (pid "));
            line.split("(pid ").nth(1).unwrap().split(')').next().unwrap().to_owned()
        };
        let before = pid(&node);
        caller.send(request("s", json!([command("c", "t.slow", json!(["kept"]))]))).await;
        node.logged_text("slow kept begins");
        // One goes, with a call under way; one comes; one stays as it is but for its version.
        let new =
            function("t.add", "version = \"2.0.0\"") + &function("t.given", "environment = { OWN = \"1\" }");
        let told = reload(&node, &new).good();
        assert!(told.contains("live     function: ~ t.add, + t.given, - t.slow"), "{told}");
        let answer = wire.call("t.given", json!([1])).await;
        assert_eq!(answer["r"]["c"]["args"], json!([1]), "{answer}");
        assert_eq!(wire.call("t.slow", json!(["x"])).await["error"]["code"], 1001);
        let mut asked = command("c", "t.add", json!([2, 3]));
        asked["version_constraint"] = json!("==2.0.0");
        assert_eq!(wire.ask(request("v", json!([asked]))).await["r"]["c"], 5);
        std::fs::write(node.folder.path().join("release"), "").unwrap();
        assert_eq!(caller.next().await["r"]["c"], "kept", "what ran has ended well");
        node.logged("the end of the worker", |line| line.contains("t.slow") && line.contains("was ended"));
        assert_eq!(node.count_logged("t.add (pid"), 1, "{before} serves it still: {:#?}", node.log());
        let shown = ctl(&node, "functions --json").json();
        let names: Vec<&str> =
            shown["functions"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["t.add", "t.given"]);
        // Another command means other processes, and nobody waits in vain meanwhile.
        let calls = async {
            for n in 0..200 {
                assert_eq!(wire.call("t.add", json!([n])).await["r"]["c"], n);
            }
        };
        let reloads = async {
            for n in 0..3 {
                let text = function("t.add", &format!("environment = {{ N = \"{n}\" }}"));
                smol::unblock({
                    let (folder, socket) = (node.folder.path().to_owned(), node.control_socket());
                    move || {
                        rewrite_in(&folder, &text);
                        let args = ["ctl", "reload", "--socket", &socket];
                        Said::of(program(&args).output().unwrap()).good()
                    }
                })
                .await;
            }
        };
        smol::future::zip(calls, reloads).await;
    });
    node.stop();
}

#[test]
fn certificates_are_live_their_paths_too_and_go_back_with_a_reload_that_is_undone() {
    let (folder, _authority) = folder_with_authority();
    let text = TLS.to_owned() + "[[listen.endpoint]]\nprotocol = \"wss\"\n";
    let node = Node::start_in(folder, &text);
    run(async |_| {
        let place = node.folder.path();
        let (url, old) = (node.endpoint("wss"), trust(place, None));
        Wire::open(&url, &old).await.leave().await;
        let ends = status(&node)["certificate"]["expires_at"].as_f64().unwrap();
        assert!(ends > status(&node)["now"].as_f64().unwrap(), "{ends}");
        // From another authority, so that a client sees which one is in use.
        let other = super::transports::Authority::new(place);
        other.issue(place, "second", ExtendedKeyUsagePurpose::ServerAuth);
        let new = trust(place, None);
        node.rewrite(&text.replace("server.", "second."));
        let told = ctl(&node, "reload --confirm 500ms").good();
        assert!(told.contains("live     tls.cert_file"), "{told}");
        Wire::open(&url, &new).await.leave().await;
        assert!(dial(&url, &old).await.is_err());
        eventually("the old certificate", async || dial(&url, &old).await.is_ok()).await;
        assert!(ctl(&node, "reload").good().contains("live     tls.key_file"));
        Wire::open(&url, &new).await.leave().await;
    });
}

#[test]
fn a_drained_node_finishes_what_runs_and_takes_new_work_again_after_it() {
    let slow = function("t.slow", "environment = { RELEASE_FILE = \"DIR/release\" }");
    let node = Node::start(&format!("[monitoring]\nport = 0\n{slow}"));
    let other = Node::start(&format!("[peers]\nstatic = [\"{}\"]\n", node.url()));
    let port: u16 = node.told("MPREG_MONITORING_URL=http://127.0.0.1:").parse().unwrap();
    let ready = || {
        let answer = exchange_raw(port, b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    run(async |_| {
        let (mut caller, mut wire, mut afar) = (node.wire().await, node.wire().await, other.wire().await);
        caller.send(request("s", json!([command("c", "t.slow", json!(["kept"]))]))).await;
        node.logged_text("slow kept begins");
        eventually("the function at the other node", async || other_offers(&mut afar, "t.slow").await).await;
        assert_eq!(ready(), "200");
        let told = ctl(&node, "drain").good();
        assert!(told.contains("draining") && told.contains("1 calls"), "{told}");
        assert_eq!(ready(), "503");
        let answer = wire.call("echo", json!([1])).await;
        assert!(answer["error"]["details"].as_str().unwrap().contains("draining"), "{answer}");
        assert!(wire.publish("a", json!(1)).await["error"].as_str().unwrap().contains("draining"));
        let refused = dial(&node.url(), &Default::default()).await.unwrap_err().to_string();
        assert!(refused.contains("503"), "{refused}");
        let answer = afar.call("t.slow", json!(["y"])).await;
        assert!(answer["error"]["details"].as_str().unwrap().contains("draining"), "{answer}");
        eventually("the word of the peer", async || {
            ctl(&other, "peers --json").json()["peers"][0]["status"] == "draining"
        })
        .await;
        let now = status(&node);
        assert_eq!(now["health"]["state"], "draining");
        assert_eq!(now["links"]["peers"], 1, "links stay");
        let refusals = now["refusals"].as_array().unwrap();
        assert!(refusals.iter().any(|r| r["reason"] == "draining" && r["count"] == 4), "{refusals:?}");
        std::fs::write(node.folder.path().join("release"), "").unwrap();
        assert_eq!(caller.next().await["r"]["c"], "kept");
        assert!(ctl(&node, "drain").good().contains("as before"));
        assert!(ctl(&node, "resume").good().contains("new work is taken"));
        assert_eq!(ready(), "200");
        assert_eq!(wire.call("echo", json!([1])).await["r"]["c"], 1);
        assert_eq!(afar.call("t.slow", json!(["z"])).await["r"]["c"], "z");
        node.wire().await.leave().await;
        eventually("the word of the peer", async || {
            ctl(&other, "peers --json").json()["peers"][0]["status"] == "ok"
        })
        .await;
        // A stop out of a drain is a stop like any other.
        ctl(&node, "drain").good();
    });
    node.stop();
}

async fn other_offers(wire: &mut Wire, fun: &str) -> bool {
    let answer = wire.call("catalog_query", json!([{ "entry_type": "functions" }])).await;
    answer.to_string().contains(fun)
}

#[test]
fn the_log_tells_more_for_a_while() {
    let node = Node::start("[log]\nlevel = \"warning\"\n");
    run(async |_| {
        assert_eq!(node.count_logged("INFO"), 0);
        let told = ctl(&node, "log info").good();
        assert!(told.contains("set           everything=info until it is taken back"), "{told}");
        node.logged_text("log: set while the node runs");
        let told = ctl(&node, "log node::operate=off node=debug --for 1h").good();
        assert!(told.contains("node=debug for 59 min") || told.contains("node=debug for 1 h"), "{told}");
        // Over a reload, too.
        reload(&node, "[log]\nlevel = \"error\"\n").good();
        node.wire().await.leave().await;
        node.logged("a debug line of the node", |line| line.contains("DEBUG"));
        assert!(ctl(&node, "log node=default info=default").failed(1).contains("nothing is set for `info`"));
        ctl(&node, "log node=default node::operate=default default").good();
        assert_eq!(ctl(&node, "log --json").json()["set"], json!([]));
        ctl(&node, "log drive=trace --for 200ms").good();
        eventually("its end", async || ctl(&node, "log --json").json()["set"] == json!([])).await;
        assert!(ctl(&node, "log --for 5m").failed(2).contains("--for goes with"));
        assert!(ctl(&node, "log node=loud").failed(2).contains("no level"));
        let told = ctl(&node, "log nod=debug").failed(2);
        assert!(told.contains("is called `nod`") && told.contains("node::control, "), "{told}");
    });
}

/// The figure of a thousand is in tests/bench/RESULTS.md; `MPREG_RELOADS` asks for any number.
#[test]
fn reloads_under_load_drop_no_connection_and_fail_no_call() {
    let reloads: usize = std::env::var("MPREG_RELOADS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let text = |n: usize| {
        let limit = 1000 + n;
        let credential = format!(
            "[tenants]\nenabled = true\n[[tenants.credential]]\ntenant = \"a\"\ntoken = \"token-{n}\"\n"
        );
        let rule =
            format!("[discovery.policy]\nenabled = true\n[[discovery.policy.rule]]\nnamespace = \"n{n}\"\n");
        let worker = function("t.add", &format!("summary = \"{n}\""));
        let changing = function("t.given", &format!("environment = {{ N = \"{}\" }}", n / 10));
        format!(
            "[log]\nlevel = \"warning\"\n[limits]\nsubscriptions_per_connection = {limit}\n{credential}{rule}{worker}{changing}"
        )
    };
    let node = Node::start(&text(0));
    let other = Node::start(&format!("[peers]\nstatic = [\"{}\"]\n", node.url()));
    let (socket, folder) = (node.control_socket(), node.folder.path().to_owned());
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    run_for(std::time::Duration::from_secs(20 + reloads as u64), async |_| {
        let mut afar = other.wire().await;
        eventually("the function at the other node", async || other_offers(&mut afar, "t.add").await).await;
        let caller = async |fun: &'static str, mut wire: Wire| {
            let mut calls = 0u64;
            while !is_done() {
                let answer = wire.call(fun, json!([calls])).await;
                assert!(answer["error"].is_null(), "{fun}: {answer}");
                calls += 1;
            }
            wire.leave().await;
            calls
        };
        let changes = async {
            for n in 1..=reloads {
                let (folder, socket, text) = (folder.clone(), socket.clone(), text(n));
                smol::unblock(move || {
                    rewrite_in(&folder, &text);
                    let args = ["ctl", "reload", "--socket", &socket];
                    Said::of(program(&args).output().unwrap()).good()
                })
                .await;
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        };
        let (one, two, three) = (node.wire().await, node.wire().await, node.wire().await);
        let callers = async {
            let first = smol::future::zip(caller("echo", one), caller("t.add", two));
            let second = smol::future::zip(caller("t.given", three), caller("t.add", afar));
            smol::future::zip(first, second).await
        };
        let (((a, b), (c, d)), ()) = smol::future::zip(callers, changes).await;
        assert!(a > 0 && b > 0 && c > 0 && d > 0);
        println!("{reloads} reloads, {} calls, none failed", a + b + c + d);
        let now = status(&node);
        assert_eq!(now["reload"]["reloads_total"], reloads);
        assert_eq!(now["links"]["peers"], 1);
        assert_eq!(ctl(&other, "peers --json").json()["peers"][0]["connected"], true);
        let events = status(&other)["events"].to_string();
        assert!(!events.contains("no link"), "{events}");
    });
}

/// One key after the other, each seen from outside.
#[test]
fn what_is_declared_live_changes_while_the_node_runs() {
    let slow = function("t.slow", "");
    let base = format!("[monitoring]\nport = 0\n[discovery.policy]\npersist = false\n{slow}");
    let with = |more: &str| format!("{more}{base}");
    let node = Node::start(&base);
    let port: u16 = node.told("MPREG_MONITORING_URL=http://127.0.0.1:").parse().unwrap();
    let metrics = |headers: &str| {
        let text =
            format!("GET /metrics/prometheus HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        exchange_raw(port, text.as_bytes())
    };
    run(async |_| {
        let mut wire = node.wire().await;
        let live = |text: &str, keys: &[&str]| {
            node.rewrite(text);
            let told = ctl(&node, "reload --json").json();
            let changes = told["changes"].as_array().unwrap();
            for key in keys {
                let class = |c: &Value| c["key"] == *key && c["class"] != "restart";
                assert!(changes.iter().any(class), "{key}: {told}");
            }
            assert_eq!(told["needs_restart"], json!([]), "{told}");
        };
        live(&with("[fabric]\nrpc_timeout = \"200ms\"\n"), &["fabric.rpc_timeout"]);
        let answer = wire.call("t.slow", json!(["x"])).await;
        // Whether the request or its worker ends first, and so which says it, is a matter of microseconds.
        let error = answer["error"].to_string();
        assert!(error.contains("timed out after 0.2 ") || error.contains("timed out after 0.19"), "{answer}");

        live(&with("[listen]\nmax_connections = 1\n"), &["listen.max_connections", "fabric.rpc_timeout"]);
        assert!(dial(&node.url(), &Default::default()).await.is_err(), "one is there already");
        live(&base, &["listen.max_connections"]);
        node.wire().await.leave().await;

        let guarded =
            base.replace("port = 0", "port = 0\ntoken = \"secret\"\ncors = { origins = [\"http://a\"] }");
        live(&guarded, &["monitoring.token", "monitoring.cors.origins"]);
        assert!(metrics("").starts_with("HTTP/1.1 401"));
        let shown = metrics("Authorization: Bearer secret\r\nOrigin: http://a\r\n");
        assert!(
            shown.starts_with("HTTP/1.1 200") && shown.contains("allow-origin: http://a"),
            "{shown:.300}"
        );
        live(
            &base.replace("port = 0", "port = 0\nprometheus = false"),
            &["monitoring.prometheus", "monitoring.token"],
        );
        assert!(metrics("").starts_with("HTTP/1.1 404"));

        live(
            &base.replace("persist = false", "persist = false\nenabled = true\ndefault = \"deny\""),
            &["discovery.policy.enabled", "discovery.policy.default"],
        );
        let answer = wire.call("namespace_status", json!([{ "namespace": "a" }])).await;
        assert_eq!(answer["r"]["c"]["allowed"], false, "{answer}");
        let closed = "[admin]\nmode = \"tenants\"\ntenants = [\"t\"]\n[tenants]\nenabled = true\ndefault = \"guest\"\n\
                      [[tenants.credential]]\ntenant = \"t\"\ntoken = \"token-of-t\"\n";
        live(&with(closed), &["admin.mode", "admin.tenants", "tenants.enabled", "tenants.default"]);
        let apply = json!([{ "rules": [] }]);
        let answer = wire.call("namespace_policy_apply", apply.clone()).await;
        assert!(answer["error"].to_string().contains("administrators"), "{answer}");
        live(&base, &["admin.mode"]);
        let answer = wire.call("namespace_policy_apply", apply).await;
        assert!(!answer["error"].to_string().contains("administrators"), "{answer}");

        live(&with("[log]\nformat = \"json\"\n"), &["log.format"]);
        node.logged("a line of JSON", |line| line.starts_with('{') && line.contains("reloaded"));
        live(&with("[node]\nstop_timeout = \"600ms\"\n"), &["node.stop_timeout"]);
        wire.send(request("s", json!([command("c", "t.slow", json!(["y"]))]))).await;
        node.logged("the call", |line| line.contains("slow y begins"));
        node.signal(Signal::TERM);
        node.logged("the time", |line| line.contains("stopping; at most 0.6 s"));
    });
}

#[test]
fn peers_and_federation_change_and_close_only_the_links_concerned() {
    let part = |cluster: &str, more: &str| {
        format!("[node]\ncluster_id = \"{cluster}\"\n[fabric]\ngossip_interval = \"200ms\"\n{more}")
    };
    let open = "[federation]\nmode = \"permissive_bridging\"\n\
                [federation.security]\nrequire_mutual_auth = false\nrequire_encryption = false\n";
    let node = Node::start(&part("a", ""));
    let own = Node::start(&part("a", ""));
    let seeds = format!("[peers]\nconnect = \"{}\"\n", node.url());
    let foreign = Node::start(&part("b", &format!("{seeds}{open}")));
    let peers = || {
        let told = ctl(&node, "peers --json").json();
        let all = told["peers"].as_array().unwrap().clone();
        let up = all.iter().filter(|p| p["connected"] == true);
        let mut up: Vec<String> = up.map(|p| p["node_id"].as_str().unwrap().to_owned()).collect();
        up.sort();
        up
    };
    run(async |_| {
        let connect = format!("[peers]\nconnect = \"{}\"\n", own.url());
        let told = reload(&node, &part("a", &connect)).good();
        assert!(told.contains("links    peers.connect"), "{told}");
        eventually("a link with the own one", async || peers() == [own.url()]).await;
        let refusals = status(&node)["refusals"].to_string();
        assert!(refusals.contains("cluster_refused"), "{refusals}");
        let told = reload(&node, &part("a", &format!("{connect}{open}"))).good();
        assert!(told.contains("links    federation.mode"), "{told}");
        let mut both = vec![own.url(), foreign.url()];
        both.sort();
        eventually("links with both", async || peers() == both).await;
        let told = reload(&node, &part("a", &connect)).good();
        let closes = format!("closes the link with {}", foreign.url());
        assert!(told.contains(&closes) && !told.contains(&format!("the link with {}", own.url())), "{told}");
        eventually("the end of the foreign one", async || peers() == [own.url()]).await;
        assert!(!status(&node)["events"].to_string().contains(&format!("no link to {}", own.url())));
    });
}
